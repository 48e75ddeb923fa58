//! The vendor's log: which whole answers there were, and which of them somebody went on from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::state::{State, normal, state};
use super::{Violation, broken};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A page of a list.
    List,
    /// A page of screenings alone.
    Aml,
    /// One submission.
    Id(String),
}

/// A cursor: id and date.
type Key = (String, String);

/// A whole answer that holds a list of items.
#[derive(Debug)]
pub struct Answer {
    /// Its place among the requests.
    pub number: u64,
    /// When the request came in, in microseconds.
    pub at: i64,
    pub kind: Kind,
    /// The key that was asked with: id and date.
    pub from: Option<Key>,
    /// Its `nextpageKey`.
    pub next: Option<Key>,
    /// What it says of whom; where an id stands twice, the later place counts.
    pub items: BTreeMap<String, State>,
}

/// All whole answers with items, in the order of their requests.
pub fn answers(log: &[Value]) -> Vec<Answer> {
    let mut answers: Vec<_> = log.iter().filter_map(answer).collect();
    answers.sort_by_key(|answer| answer.number);
    answers
}

fn answer(served: &Value) -> Option<Answer> {
    let body: Value = serde_json::from_str(served["answer"].as_str()?).ok()?;
    let asked = parameters(served);
    let by_id = asked.contains_key("submission_id");
    let none = Vec::new();
    // Asked for one submission, an object without a list says that there is none.
    let list = body["Items"].as_array().or((by_id && body.is_object() && body["success"].is_null()).then_some(&none));
    let list = list.filter(|_| served["status"] == 200)?;
    let kind = match (asked.get("submission_id"), asked.get("request_type")) {
        (Some(id), _) => Kind::Id(id.clone()),
        (None, Some(_)) => Kind::Aml,
        (None, None) => Kind::List,
    };
    let key = &body["nextpageKey"];
    let next = key["id"].as_str().map(|id| (id.to_owned(), text(&key["created_at"])));
    let from = asked.get("nextpage_id").map(|id| (id.clone(), asked.get("nextpage_date").cloned().unwrap_or_default()));
    let items = list.iter().filter_map(|item| {
        let id = item["submission_id"].as_str().filter(|id| !id.is_empty())?;
        Some((id.to_owned(), state(&normal(item))))
    });
    let (number, at) = (served["number"].as_u64()?, micros(&served["at"])?);
    Some(Answer { number, at, kind, from, next, items: items.collect() })
}

/// The request's parameters, from the URL and from the body.
fn parameters(served: &Value) -> BTreeMap<String, String> {
    let query = served["query"].as_str().unwrap_or_default();
    let mut all: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    if let Ok(Value::Object(body)) = serde_json::from_str(served["body"].as_str().unwrap_or_default()) {
        all.extend(body.iter().map(|(name, value)| (name.clone(), text(value))));
    }
    all
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A moment in microseconds.
pub fn micros(value: &Value) -> Option<i64> {
    Some(chrono::DateTime::parse_from_rfc3339(value.as_str()?).ok()?.timestamp_micros())
}

/// How many microseconds the log of requests rounds off at the most.
const ROUNDED: i64 = 2_000;

/// The numbers of the requests whose answers were taken over, as the walks say that went on from them. A place that no
/// whole answer led to breaks P3.
pub fn applied(answers: &[Answer], progress: &[Value], violations: &mut Vec<Violation>) -> BTreeSet<u64> {
    let mut applied = BTreeSet::new();
    let mut last: BTreeMap<&str, (&Value, i64, Option<Key>)> = BTreeMap::new();
    for row in progress.iter().filter(|row| row["by_id"] == false) {
        let (walk, page) = (&row["started_at"], row["pages"].as_i64().unwrap_or_default());
        let key = row["cursor_id"].as_str().map(|id| (id.to_owned(), text(&row["cursor_date"])));
        let before = last.insert(row["lane"].as_str().unwrap_or_default(), (walk, page, key.clone()));
        let before = before.filter(|before| before.0 == walk);
        // A walk that led nowhere begins anew.
        if before.as_ref().is_some_and(|before| before.1 == page) || page == 0 {
            continue;
        }
        let (walked, from) = before.map_or((0, None), |before| (before.1, before.2));
        if page != walked + 1 {
            violations.push(broken("P3", "", format!("after page {walked} of a walk comes {row}")));
        }
        let Some((at, began)) = micros(&row["at"]).zip(micros(walk)) else { continue };
        let place = |at: i64| answers.partition_point(|answer| answer.at <= at);
        let since = answers.get(place(began - ROUNDED)..place(at)).unwrap_or_default();
        let mut lists = since.iter().rev().filter(|answer| !matches!(answer.kind, Kind::Id(_)));
        match lists.find(|answer| answer.from == from && answer.next == key) {
            Some(answer) => drop(applied.insert(answer.number)),
            None => violations.push(broken("P3", "", format!("no whole answer led to {row}"))),
        }
    }
    applied
}
