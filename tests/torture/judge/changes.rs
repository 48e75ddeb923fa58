//! The events that a version must have told, by docs/events/README.md: exactly these, once each, in this order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::history::{Version, Versions};
use super::state::{State, list, red_flag, text};
use super::{Evidence, Violation, broken};

/// An event's type, and where it says so, from what to what.
type Told = (String, Option<(Value, Value)>);

/// P1, P2: the outbox against the versions.
pub fn told(evidence: &Evidence, versions: &Versions, violations: &mut Vec<Violation>) {
    let mut events: BTreeMap<(&str, i64), Vec<&Value>> = BTreeMap::new();
    for row in evidence.rows("outbox") {
        if let (Some(id), Some(version)) = (row["submission_id"].as_str(), row["version"].as_i64()) {
            events.entry((id, version)).or_default().push(row);
        }
    }
    for (id, versions) in versions {
        let whole = !evidence.receipts(id).any(|row| row["mode"] == "erase");
        for (place, version) in versions.iter().enumerate() {
            let mut rows = events.remove(&(id.as_str(), version.number)).unwrap_or_default();
            rows.sort_by_key(|row| row["position"].as_i64());
            if rows.iter().zip(0..).any(|(row, ordinal)| row["ordinal"] != ordinal) {
                violations.push(broken("P1", id, format!("the events of version {} are out of order", version.number)));
            }
            let before = place.checked_sub(1).map(|last| &versions[last]);
            let Some(mut expected) = expected(before, version, versions[0].cause == "history") else { continue };
            let mut told: Vec<Told> = rows.iter().map(|row| heard(row)).collect();
            if !whole {
                // Part of what they told about is erased from the versions, too.
                let kept = |told: &Told| told.1.is_some();
                expected.retain(kept);
                told.retain(kept);
            }
            if told != expected {
                let what =
                    format!("version {} ({}) told {told:?} instead of {expected:?}", version.number, version.cause);
                violations.push(broken(if told.len() < expected.len() { "P1" } else { "P2" }, id, what));
            }
        }
    }
    for (id, version) in events.keys() {
        violations.push(broken("P2", id, format!("there are events of version {version}, which does not exist")));
    }
}

fn heard(row: &Value) -> Told {
    let kind = row["type"].as_str().unwrap_or_default().to_owned();
    let tells = ["kyc.result_changed", "aml.status_changed"].contains(&kind.as_str());
    let sides = tells.then(|| (row["payload"]["from"].clone(), row["payload"]["to"].clone()));
    (kind, sides)
}

/// `None`: what only another view showed for the first time is mixed with a change.
fn expected(before: Option<&Version>, version: &Version, history: bool) -> Option<Vec<Told>> {
    let event = |kind: &str| (kind.to_owned(), None);
    let after = &version.state;
    Some(match (before, version.cause.as_str()) {
        (None, "history") => vec![event("submission.imported")],
        (None, _) => {
            let mut events = vec![event("submission.created")];
            news(&State::new(), after, &mut events);
            events
        }
        (Some(_), "view") if history => Vec::new(),
        (Some(before), "erased" | "removed") => {
            let mut events = vec![event("submission.erased")];
            events.extend((before.state != *after).then(|| event("submission.updated")));
            events
        }
        (Some(before), cause) => {
            let other_view = cause == "change" && history && before.view != version.view;
            if other_view {
                return None;
            }
            let mut events = Vec::new();
            events.extend((cause == "reappeared").then(|| event("submission.reappeared")));
            if before.state != *after {
                news(&before.state, after, &mut events);
                events.push(event("submission.updated"));
            }
            events
        }
    })
}

fn news(before: &State, after: &State, events: &mut Vec<Told>) {
    let mut event = |kind: &str| events.push((kind.to_owned(), None));
    let (added, changed, _) = matched(list(before, "kyc.attempts"), list(after, "kyc.attempts"), &["attemptCnt"], true);
    (0..added).for_each(|_| event("kyc.attempt_added"));
    (0..changed).for_each(|_| event("kyc.attempt_changed"));
    // A member, and its own members, if it has some.
    let part = |state: &State, name: &str| -> State {
        let own =
            |other: &&String| other.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        state.keys().filter(own).map(|name| (name.clone(), state[name].clone())).collect()
    };
    let sides = |name: &str| (json!(text(before, name)), json!(text(after, name)));
    if text(before, "kyc.result") != text(after, "kyc.result") {
        events.push(("kyc.result_changed".to_owned(), Some(sides("kyc.result"))));
    } else if !before.is_empty()
        && ["kyc.commentCode", "kyc.comment", "reviewer"].iter().any(|name| part(before, name) != part(after, name))
    {
        events.push(("kyc.detail_changed".to_owned(), None));
    }
    if after.keys().any(|name| name.starts_with("aml.")) {
        aml(before, after, sides("aml.currentstatus"), events);
    }
    for (object, kind) in
        [("bank_verification", "bank_verification.changed"), ("Injection_action", "injection.performed")]
    {
        let now = part(after, object);
        if !now.is_empty() && now != part(before, object) {
            events.push((kind.to_owned(), None));
        }
    }
}

fn aml(before: &State, after: &State, status: (Value, Value), events: &mut Vec<Told>) {
    let cleared = red_flag(before) && !red_flag(after) && !status.1.is_null();
    if status.0 != status.1 {
        events.push(("aml.status_changed".to_owned(), Some(status)));
    }
    let mut event = |kind: &str| events.push((kind.to_owned(), None));
    if !red_flag(before) && red_flag(after) {
        event("aml.red_flag_raised");
    } else if cleared {
        event("aml.red_flag_cleared");
    }
    let (old, new) = (list(before, "aml.matches"), list(after, "aml.matches"));
    let (added, changed, removed) = matched(old, new, &["resource_id", "argos_number"], false);
    (0..added).for_each(|_| event("aml.match_added"));
    (0..changed).for_each(|_| event("aml.match_changed"));
    (0..removed).for_each(|_| event("aml.match_removed"));
    if before.get("aml.risk_level_summary") != after.get("aml.risk_level_summary") {
        event("aml.risk_changed");
    }
}

/// How many elements were added, changed and removed: matched by the first name that is unique in both lists, else by
/// place or by content.
fn matched(old: &[Value], new: &[Value], names: &[&str], by_place: bool) -> (usize, usize, usize) {
    let unique = |list: &[Value], name: &str, value: &Value| list.iter().filter(|one| one[name] == *value).count() <= 1;
    let keys = |list: &[Value]| -> Vec<String> {
        let key = |(place, one): (usize, &Value)| {
            let named = names.iter().find(|name| {
                let value = &one[**name];
                !value.is_null() && unique(old, name, value) && unique(new, name, value)
            });
            match named {
                Some(name) => format!("{name} {}", one[*name]),
                None if by_place => format!("at {place}"),
                None => format!("is {one}"),
            }
        };
        let keys: Vec<String> = list.iter().enumerate().map(key).collect();
        let nth = |place: usize| keys[..place].iter().filter(|key| **key == keys[place]).count();
        (0..keys.len()).map(|place| format!("{} #{}", keys[place], nth(place))).collect()
    };
    let (old_keys, new_keys) = (keys(old), keys(new));
    let find = |key: &String| old_keys.iter().position(|old| old == key);
    let added = new_keys.iter().filter(|key| find(key).is_none()).count();
    let differs = |(key, one): &(&String, &Value)| find(key).is_some_and(|place| old[place] != **one);
    let changed = new_keys.iter().zip(new).filter(differs).count();
    let removed = old_keys.iter().filter(|key| !new_keys.contains(key)).count();
    (added, changed, removed)
}
