//! What differs between two states, and which events that means. Pure.
//!
//! This is where a new event type is raised. Its name stands in [`EventType`], its payload's schema in docs/events/.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::canonical::at;
use super::event::{Draft, EventType};
use super::field::Kind::{self, Decimal, Text, TextList, Time};
use super::names::shown_as;
use super::submission::{State, column};

/// The names of the fields that differ, two levels deep (`kyc.result`, `data.name`, `kyc.attempts`), sorted.
pub fn changed_fields(before: &State, after: &State) -> Vec<String> {
    let mut names = BTreeSet::new();
    members(before.value(), after.value(), "", &mut names);
    names.into_iter().collect()
}

fn members(before: &Value, after: &Value, prefix: &str, names: &mut BTreeSet<String>) {
    let none = Map::new();
    let (b, a) = (before.as_object().unwrap_or(&none), after.as_object().unwrap_or(&none));
    for key in b.keys().chain(a.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (b.get(key), a.get(key));
        if old == new {
            continue;
        }
        let key = shown_as(key);
        let objects = old.or(new).is_some_and(Value::is_object) && new.or(old).is_some_and(Value::is_object);
        if prefix.is_empty() && objects {
            let count = names.len();
            members(old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null), &format!("{key}."), names);
            if names.len() > count {
                continue;
            }
        }
        names.insert(format!("{prefix}{key}"));
    }
}

/// The events of a submission that is seen for the first time and is older than the import: one, in place of the rest.
pub fn history(state: &State) -> Vec<Draft> {
    let body = json!({"from": null, "to": state.kyc_result(), "aml_status": state.aml_status()});
    vec![Draft::new(EventType::SubmissionImported, "", body)]
}

/// The events of a change, in the order of [`EventType`]; `before` is `None` for a submission that is new.
pub fn news(before: Option<&State>, after: &State) -> Vec<Draft> {
    let mut drafts = Vec::new();
    if before.is_none() {
        drafts.push(Draft::new(EventType::SubmissionCreated, "", json!({"from": null, "to": after.kyc_result()})));
    }
    attempts(before, after, &mut drafts);
    kyc(before, after, &mut drafts);
    aml(before, after, &mut drafts);
    bank_and_injection(before, after, &mut drafts);
    if let Some(before) = before {
        let body = json!({"changed": changed_fields(before, after)});
        drafts.push(Draft::new(EventType::SubmissionUpdated, "", body));
    }
    drafts
}

fn attempts(before: Option<&State>, after: &State, drafts: &mut Vec<Draft>) {
    const PATH: &[&str] = &["kyc", "attempts"];
    let (old, new) = (before.map_or(&[][..], |state| state.list(PATH)), after.list(PATH));
    let keyed = Keyed::new(&[old, new], &[&["attemptCnt"]], Otherwise::Place);
    let (old, new) = (keyed.of(old), keyed.of(new));
    let before = by_key(&old);
    for (key, attempt) in &new {
        match before.get(key).copied() {
            None => drafts.push(keyed_draft(EventType::KycAttemptAdded, key, None, Some(attempt), attempt_codes)),
            Some(was) if was != *attempt => {
                drafts.push(keyed_draft(EventType::KycAttemptChanged, key, Some(was), Some(attempt), attempt_codes));
            }
            Some(_) => {}
        }
    }
    drafts.sort_by_key(|draft| draft.kind);
}

fn kyc(before: Option<&State>, after: &State, drafts: &mut Vec<Draft>) {
    let (from, to) = (before.and_then(State::kyc_result), after.kyc_result());
    if from != to {
        // The vendor says that it was pending, and no poll saw it so.
        let pending_at = after.text(&["pending_at"]);
        let newly_pending = pending_at.is_some() && pending_at != before.and_then(|state| state.text(&["pending_at"]));
        let inferred = to != Some("pending") && from != Some("pending") && newly_pending;
        let body = json!({"from": from, "to": to, "codes": after.comment_codes(), "reviewer": reviewer(after)});
        drafts.push(Draft { inferred, ..Draft::new(EventType::KycResultChanged, "", body) });
    } else if let Some(before) = before {
        const DETAILS: &[&[&str]] = &[&["kyc", "commentCode"], &["kyc", "comment"], &["reviewer"]];
        let differs = |path: &&&[&str]| at(before.value(), path) != at(after.value(), path);
        let fields: Vec<String> = DETAILS.iter().filter(differs).map(|path| path.join(".")).collect();
        if !fields.is_empty() {
            // Comments are free text and may name a person: only codes are told.
            let side = |state: &State| json!({"codes": state.comment_codes(), "reviewer": reviewer(state)});
            let body = json!({"from": side(before), "to": side(after), "result": to, "fields": fields});
            drafts.push(Draft::new(EventType::KycDetailChanged, "", body));
        }
    }
}

fn aml(before: Option<&State>, after: &State, drafts: &mut Vec<Draft>) {
    // A screening that is missing now (in a blanked submission) is not "cleared".
    if after.value().get("aml").is_none_or(|aml| aml.as_object().is_some_and(Map::is_empty)) {
        return;
    }
    let (from, to) = (before.and_then(State::aml_status), after.aml_status());
    let risk = |state: &State| state.text(&["aml", "risk_level_summary"]).map(str::to_owned);
    let (risk_from, risk_to) = (before.and_then(risk), risk(after));
    if from != to {
        drafts.push(Draft::new(
            EventType::AmlStatusChanged,
            "",
            json!({"from": from, "to": to, "risk_level": risk_to}),
        ));
    }
    let body = json!({"from": from, "to": to, "risk_level": risk_to, "matches": after.list(&["aml", "matches"]).len()});
    match (before.is_some_and(State::red_flag), after.red_flag()) {
        (false, true) => drafts.push(Draft::new(EventType::AmlRedFlagRaised, "", body)),
        // An aml object without a status does not say that the flag is gone.
        (true, false) if to.is_some() => drafts.push(Draft::new(EventType::AmlRedFlagCleared, "", body)),
        _ => {}
    }
    const PATH: &[&str] = &["aml", "matches"];
    let (old, new) = (before.map_or(&[][..], |state| state.list(PATH)), after.list(PATH));
    let keyed = Keyed::new(&[old, new], &[&["resource_id"], &["argos_number"]], Otherwise::Content);
    let (old, new) = (keyed.of(old), keyed.of(new));
    let (was, is) = (by_key(&old), by_key(&new));
    let mut matches = Vec::new();
    for (key, found) in &new {
        match was.get(key).copied() {
            None => matches.push(keyed_draft(EventType::AmlMatchAdded, key, None, Some(found), match_codes)),
            Some(was) if was != *found => {
                matches.push(keyed_draft(EventType::AmlMatchChanged, key, Some(was), Some(found), match_codes));
            }
            Some(_) => {}
        }
    }
    for (key, was) in &old {
        if !is.contains_key(key) {
            matches.push(keyed_draft(EventType::AmlMatchRemoved, key, Some(was), None, match_codes));
        }
    }
    matches.sort_by_key(|draft| draft.kind);
    drafts.extend(matches);
    if risk_from != risk_to {
        drafts.push(Draft::new(EventType::AmlRiskChanged, "", json!({"from": risk_from, "to": risk_to})));
    }
}

fn bank_and_injection(before: Option<&State>, after: &State, drafts: &mut Vec<Draft>) {
    let pair = |key: &str| (before.and_then(|state| state.value().get(key)), after.value().get(key));
    let (from, to) = pair("bank_verification");
    if from != to && to.is_some() {
        let body = json!({"from": from.map(bank_codes), "to": to.map(bank_codes)});
        drafts.push(Draft::new(EventType::BankVerificationChanged, "", body));
    }
    let (from, to) = pair("Injection_action");
    if from != to && to.is_some() {
        const NAMES: &[(&str, Kind)] = &[("type", Text), ("time", Time)];
        let body = json!({"from": pick(from, NAMES), "to": pick(to, NAMES)});
        drafts.push(Draft::new(EventType::InjectionPerformed, "", body));
    }
}

/// Who decided, in the documented words. Another text may be a person's name.
fn reviewer(state: &State) -> Option<&str> {
    state.text(&["reviewer"]).map(|who| if ["system", "agent"].contains(&who) { who } else { "other" })
}

fn attempt_codes(attempt: &Value) -> Value {
    const NAMES: &[(&str, Kind)] = &[
        ("attemptCnt", Decimal),
        ("verificationResult", Text),
        ("ocrResult", Text),
        ("idBarcodeResult", Text),
        ("errorCode", Text),
        ("retryCode", TextList),
        ("faceSimilarityScore", Decimal),
        ("livenessScore", Decimal),
    ];
    pick(Some(attempt), NAMES)
}

fn match_codes(found: &Value) -> Value {
    const NAMES: &[(&str, Kind)] = &[
        ("resource_id", Text),
        ("argos_number", Text),
        ("risk_level", Text),
        ("score", Decimal),
        ("risk_icons", TextList),
    ];
    pick(Some(found), NAMES)
}

fn bank_codes(bank: &Value) -> Value {
    const NAMES: &[(&str, Kind)] = &[("result", Text), ("type", Text), ("bank_code", Text), ("retry_count", Decimal)];
    pick(Some(bank), NAMES)
}

/// The named members of an object, those left out that are absent or of another type than documented. Payloads are made
/// of these: neither personal data nor a type that the events' schemas do not know gets in, whatever the vendor sends.
fn pick(object: Option<&Value>, names: &[(&str, Kind)]) -> Value {
    let Some(object) = object else { return Value::Null };
    let kept = names.iter().filter_map(|(name, kind)| Some(((*name).to_owned(), column(*kind, object.get(name)?)?)));
    Value::Object(kept.collect())
}

fn keyed_draft(
    kind: EventType,
    key: &Key,
    from: Option<&Value>,
    to: Option<&Value>,
    codes: fn(&Value) -> Value,
) -> Draft {
    let body = json!({"from": from.map(codes), "to": to.map(codes)});
    Draft { place: key.1, ..Draft::new(kind, &key.0, body) }
}

/// What tells one element of a list from the others, and its place among those with an equal key.
type Key = (String, u32);

fn by_key<'k, 'v>(list: &'k [(Key, &'v Value)]) -> HashMap<&'k Key, &'v Value> {
    list.iter().map(|(key, value)| (key, *value)).collect()
}

/// How an element is told apart that no field tells apart.
enum Otherwise {
    Place,
    Content,
}

/// Matches the elements of two lists: by the first field that is unique in both lists, else by place or content.
struct Keyed<'p> {
    fields: &'p [&'p [&'p str]],
    otherwise: Otherwise,
    counts: HashMap<(usize, usize, String), usize>,
}

impl<'p> Keyed<'p> {
    fn new(lists: &[&[Value]], fields: &'p [&'p [&'p str]], otherwise: Otherwise) -> Self {
        let mut counts = HashMap::new();
        for (which, list) in lists.iter().enumerate() {
            for element in *list {
                for (i, field) in fields.iter().enumerate() {
                    if let Some(value) = at(element, field) {
                        *counts.entry((which, i, value.to_string())).or_default() += 1;
                    }
                }
            }
        }
        Self { fields, otherwise, counts }
    }

    fn of<'v>(&self, list: &'v [Value]) -> Vec<(Key, &'v Value)> {
        let mut seen: HashMap<String, u32> = HashMap::new();
        let keyed = list.iter().enumerate().map(|(place, element)| {
            let unique = self.fields.iter().enumerate().find_map(|(i, field)| {
                let value = at(element, field)?.to_string();
                let twice = |which| self.counts.get(&(which, i, value.clone())).is_some_and(|count| *count > 1);
                (!twice(0) && !twice(1)).then(|| format!("{}={value}", field.join(".")))
            });
            let key = unique.unwrap_or_else(|| match self.otherwise {
                Otherwise::Place => format!("place={place}"),
                Otherwise::Content => format!("content={element}"),
            });
            let among_equals = seen.entry(key.clone()).or_default();
            *among_equals += 1;
            ((key, *among_equals - 1), element)
        });
        keyed.collect()
    }
}

#[cfg(test)]
mod tests;
