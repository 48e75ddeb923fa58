//! Whether a submission's versions are what the applied answers showed, each change once and in order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate};
use serde_json::Value;

use super::served::{Answer, Kind, micros};
use super::state::{State, erasable, left_of_deleted, normal, state};
use super::{Evidence, Violation, broken};

/// A row of `submission_versions`.
#[derive(Debug)]
pub struct Version {
    pub number: i64,
    pub cause: String,
    pub view: String,
    pub state: State,
    /// The transaction that wrote it.
    pub xmin: i64,
    /// Lease epoch and request, by which answers are applied in order.
    pub request: (i64, i64),
}

impl Version {
    /// Whether it is a deletion that was carried out.
    pub fn deletes(&self) -> bool {
        ["erased", "removed"].contains(&self.cause.as_str())
    }
}

/// Every submission's versions, in order.
pub type Versions = BTreeMap<String, Vec<Version>>;

/// Reads the rows.
pub fn versions(rows: &[Value]) -> Versions {
    let mut all = Versions::new();
    for row in rows {
        let whole = |name: &str| row[name].as_i64().unwrap_or_default();
        let version = Version {
            number: whole("version"),
            cause: row["cause"].as_str().unwrap_or_default().to_owned(),
            view: row["view"].as_str().unwrap_or_default().to_owned(),
            state: state(&normal(&row["item"])),
            xmin: whole("xmin"),
            request: (whole("lease_epoch"), whole("request_no")),
        };
        all.entry(row["submission_id"].as_str().unwrap_or_default().to_owned()).or_default().push(version);
    }
    all.values_mut().for_each(|versions| versions.sort_by_key(|version| version.number));
    all
}

/// What an erasure took out of the versions of a submission, too, so that they can no longer be compared in it.
pub fn taken_out<'a>(evidence: &'a Evidence, id: &str) -> impl Fn(&str) -> bool + use<'a> {
    let receipts: Vec<_> = evidence.receipts(id).filter(|row| row["mode"] == "erase").collect();
    move |field| {
        receipts.iter().any(|row| match row["kind"].as_str() {
            // What repeats `data` elsewhere goes with the first field of it.
            Some("fields") => {
                let fields = || row["fields"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let repeated = ["aml.raw_data", "kyc.attempts"].contains(&field);
                fields().any(|one| one == field || (repeated && one.starts_with("data.")))
            }
            _ => !left_of_deleted(field),
        })
    }
}

/// P1, P2: each applied answer is reflected, and each version is what an answer showed.
pub fn explained(
    evidence: &Evidence,
    answers: &[Answer],
    applied: &BTreeSet<u64>,
    versions: &Versions,
    violations: &mut Vec<Violation>,
) {
    let mut ids: BTreeSet<&String> = versions.keys().collect();
    ids.extend(answers.iter().filter(|answer| applied.contains(&answer.number)).flat_map(|answer| answer.items.keys()));
    for id in ids {
        let none = Vec::new();
        let versions = versions.get(id).unwrap_or(&none);
        if versions.iter().zip(1..).any(|(version, number)| version.number != number) {
            violations.push(broken("P2", id, "its versions are not numbered from 1 on"));
        }
        let gone = taken_out(evidence, id);
        for pair in versions.windows(2) {
            let deleted = pair[1].deletes();
            let back = pair[1].cause == "reappeared";
            if pair[0].state == pair[1].state && !deleted && !back && !versions.iter().any(|one| one.cause == "erased")
            {
                let causes: Vec<_> = versions.iter().map(|one| format!("{} by {}", one.cause, one.view)).collect();
                let what = format!("version {} changes nothing (versions: {causes:?})", pair[1].number);
                violations.push(broken("P2", id, what));
            }
            if pair[0].cause == "erased" && !(back && pair[1].view == "id") && evidence.gone(id) {
                violations.push(broken("P7", id, format!("version {} brings back who was deleted", pair[1].number)));
            }
        }
        let compared: Vec<State> = versions.iter().map(|version| without(&version.state, &gone)).collect();
        let chain = Chain { versions, states: &compared, thin: evidence.thin };
        // How many of the versions there may be after each answer.
        let mut counts = BTreeSet::from([0]);
        for answer in answers {
            let by_id = matches!(&answer.kind, Kind::Id(asked) if asked == id);
            let shown = answer.items.get(id).map(|shown| without(shown, &gone));
            if shown.is_none() && !by_id {
                continue;
            }
            let must = applied.contains(&answer.number);
            let next: BTreeSet<usize> =
                counts.iter().flat_map(|count| chain.after(*count, &answer.kind, shown.as_ref(), must)).collect();
            if next.is_empty() {
                let at = counts.first().copied().unwrap_or_default();
                let what = format!(
                    "what request {} showed is not version {at} or {}{}",
                    answer.number,
                    at + 1,
                    chain.why(at, shown.as_ref())
                );
                violations.push(broken("P1", id, what));
                break;
            }
            counts = next;
        }
        let last = counts.last().copied().unwrap_or_default();
        if last < versions.len() && !counts.is_empty() && violations.last().is_none_or(|last| last.submission != *id) {
            let what = format!("version {} was never served{}", last + 1, chain.why(last, None));
            violations.push(broken("P2", id, what));
        }
    }
}

impl Evidence {
    /// Whether a submission was once deleted as a whole, and not only blanked.
    fn gone(&self, id: &str) -> bool {
        self.receipts(id).any(|row| row["kind"] == "gone")
    }
}

fn without(state: &State, gone: impl Fn(&str) -> bool) -> State {
    state.iter().filter(|(name, _)| !gone(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

struct Chain<'a> {
    versions: &'a [Version],
    states: &'a [State],
    thin: bool,
}

impl Chain<'_> {
    /// How many versions there may be after an answer, if there were so many before it.
    fn after(&self, count: usize, kind: &Kind, shown: Option<&State>, must: bool) -> Vec<usize> {
        let mut after = Vec::new();
        let before = count.checked_sub(1).map(|last| &self.states[last]);
        // A page of screenings says too little to make a submission of it.
        let too_little = *kind == Kind::Aml && count == 0;
        if !must
            || too_little
            || shown.is_none_or(|shown| before.is_some_and(|before| self.stays(count, before, kind, shown)))
        {
            after.push(count);
        }
        if let Some(next) = self.versions.get(count) {
            let deleted = next.deletes();
            let by_id = matches!(kind, Kind::Id(_));
            let becomes = |shown| self.becomes(before, kind, shown, &self.states[count]);
            if if deleted { by_id } else { shown.is_some_and(becomes) } {
                after.push(count + 1);
            }
        }
        after
    }

    /// Whether an answer shows nothing that is not stored.
    fn stays(&self, count: usize, before: &State, kind: &Kind, shown: &State) -> bool {
        let last = &self.versions[count - 1];
        // A list does not bring back who was deleted, and what an answer by id had changed it must not take back.
        let held = last.cause == "erased"
            || (last.view == "id" && count > 1 && restores(shown, before, &self.states[count - 2]))
            || last.cause == "removed";
        held || (shown.iter().all(|(name, value)| before.get(name) == Some(value))
            && before.keys().filter(|name| !shown.contains_key(*name)).all(|name| self.may_keep(name, kind, shown)))
    }

    /// Whether what an answer shows, laid over the state before, is this state.
    fn becomes(&self, before: Option<&State>, kind: &Kind, shown: &State, after: &State) -> bool {
        let empty = State::new();
        let before = before.unwrap_or(&empty);
        shown.iter().all(|(name, value)| after.get(name) == Some(value))
            && after
                .iter()
                .filter(|(name, _)| !shown.contains_key(*name))
                .all(|(name, value)| before.get(name) == Some(value) && self.may_keep(name, kind, shown))
            && before
                .keys()
                .filter(|name| !shown.contains_key(*name) && !after.contains_key(*name))
                .all(|name| !must_keep(name, shown))
    }

    /// Whether a member that an answer does not show may stay as it was.
    fn may_keep(&self, name: &str, kind: &Kind, shown: &State) -> bool {
        let bare = shown.keys().all(|name| left_of_deleted(name));
        self.thin || bare || *kind != Kind::List || must_keep(name, shown)
    }

    /// The members in which an answer, or a version, differs from the version before; for a person.
    fn why(&self, count: usize, shown: Option<&State>) -> String {
        let before = count.checked_sub(1).map(|last| &self.states[last]);
        let next = self.states.get(count);
        let differs = |a: Option<&State>, b: Option<&State>| {
            let none = State::new();
            let (a, b) = (a.unwrap_or(&none), b.unwrap_or(&none));
            let names: BTreeSet<_> = a.keys().chain(b.keys()).filter(|name| a.get(*name) != b.get(*name)).collect();
            format!("{names:?}")
        };
        let causes: Vec<_> =
            self.versions.iter().map(|version| format!("{} by {}", version.cause, version.view)).collect();
        let of_shown = shown.map_or(String::new(), |shown| {
            format!(
                "; shown against version {count}: {}, against the next: {}",
                differs(before, Some(shown)),
                differs(Some(shown), next)
            )
        });
        format!(" (versions: {causes:?}; the next one differs in {}{of_shown})", differs(before, next))
    }
}

/// Whether what an answer shows otherwise is what stood there before.
fn restores(shown: &State, now: &State, before: &State) -> bool {
    shown
        .iter()
        .filter(|(name, value)| now.get(*name) != Some(value))
        .all(|(name, value)| before.get(name) == Some(value))
}

/// What is kept although an answer lacks it: a screening, or its status, and what is believed to be deleted only when it is
/// confirmed.
fn must_keep(name: &str, shown: &State) -> bool {
    let unscreened = !shown.keys().any(|name| name.starts_with("aml."));
    let screening = name == "aml.currentstatus" || (unscreened && (name == "aml" || name.starts_with("aml.")));
    screening || erasable(name, shown)
}

/// A submission that is older than the import is history, unless its day had been read completely: then it is news.
pub fn news_or_history(evidence: &Evidence, versions: &Versions, violations: &mut Vec<Violation>) {
    let Some(project) = evidence.rows("projects").first() else { return };
    let Some(began) = micros(&project["import_started_at"]) else { return };
    for (id, versions) in versions {
        let Some(first) = versions.first() else { continue };
        // An erasure writes older versions anew: which transaction wrote the first one is no longer known.
        if evidence.receipts(id).next().is_some() {
            continue;
        }
        let Some(created) = first.state.get("created_at").and_then(micros) else { continue };
        let day = DateTime::from_timestamp_micros(created).unwrap_or_default().date_naive();
        let history = created < began && !covered(evidence.rows("progress"), day, first.xmin);
        let said = first.cause == "history";
        if said != history {
            let (is, says) = if history { ("history", "news") } else { ("news", "history") };
            violations.push(broken("P1", id, format!("created {day}, it is {is}, and was taken for {says}")));
        }
    }
}

/// Whether a walk that covers a day had come to its end before a transaction.
fn covered(progress: &[Value], day: NaiveDate, xmin: i64) -> bool {
    let date = |value: &Value| value.as_str().and_then(|text| text.parse::<NaiveDate>().ok());
    progress.iter().any(|row| {
        // Days are covered with the last page of a list; pages of screenings may follow.
        let complete = row["by_id"] == false
            && if row["view"] == "aml" { row["cursor_id"].is_null() } else { !row["completed_at"].is_null() };
        let earlier = row["xid"].as_i64().is_some_and(|xid| xid < xmin);
        let days = match (date(&row["from_day"]), date(&row["to_day"])) {
            (Some(first), Some(last)) => first <= day && day <= last,
            _ => micros(&row["started_at"])
                .and_then(DateTime::from_timestamp_micros)
                .is_some_and(|started| day <= started.date_naive()),
        };
        complete && earlier && days
    })
}
