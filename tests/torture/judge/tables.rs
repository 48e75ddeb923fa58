//! Whether the tables agree with each other, and with the vendor.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::history::{Versions, taken_out};
use super::state::{State, erasable, normal, red_flag, state, text};
use super::{Evidence, Violation, broken};

/// P3: a version and its events were written by one transaction, and by one that moved a walk if a list showed it.
pub fn one_commit(evidence: &Evidence, versions: &Versions, violations: &mut Vec<Violation>) {
    let xmin = |id: &str, number: i64| {
        let version = versions.get(id)?.iter().find(|version| version.number == number)?;
        Some((version.xmin, version.view == "list" || version.view == "aml"))
    };
    let moved: BTreeSet<i64> = evidence.rows("progress").iter().filter_map(|row| row["xid"].as_i64()).collect();
    for row in evidence.rows("outbox") {
        let (Some(id), Some(number)) = (row["submission_id"].as_str(), row["version"].as_i64()) else { continue };
        // An erasure writes older versions and payloads again.
        if evidence.receipts(id).next().is_some() {
            continue;
        }
        let Some((written, by_list)) = xmin(id, number) else { continue };
        if row["xmin"] != written {
            violations.push(broken(
                "P3",
                id,
                format!("version {number} and its events were written by two transactions"),
            ));
        }
        if by_list && !moved.contains(&written) {
            violations.push(broken("P3", id, format!("version {number} was written without its walk's place")));
        }
    }
}

/// P4, P5: in the order of transactions neither the lease's epoch nor the request goes back.
pub fn one_writer(versions: &Versions, violations: &mut Vec<Violation>) {
    for (id, versions) in versions {
        let order = |pair: &[super::history::Version]| pair[0].request > pair[1].request;
        if versions.windows(2).any(order) {
            violations.push(broken("P4", id, "an older answer was applied after a newer one"));
        }
    }
    // An erasure writes older versions anew, which then carry its transaction.
    let unerased = versions.values().filter(|versions| versions.iter().all(|one| !one.deletes()));
    let mut all: Vec<_> = unerased.flatten().map(|version| (version.xmin, version.request)).collect();
    all.sort_unstable();
    if all.windows(2).any(|pair| pair[0].1 > pair[1].1) {
        violations.push(broken("P5", "", "a former leader, or an older answer, was written after a newer one"));
    }
}

/// P3: the current row is the last version, children follow from it, and the counts are right.
pub fn agree(evidence: &Evidence, versions: &Versions, violations: &mut Vec<Violation>) {
    let mut results: BTreeMap<String, i64> = BTreeMap::new();
    let mut flags = 0;
    let children =
        |table: &str, id: &str| evidence.rows(table).iter().filter(|row| row["submission_id"] == *id).count();
    for row in evidence.rows("submissions") {
        let id = row["submission_id"].as_str().unwrap_or_default();
        let now = state(&normal(&row["item"]));
        let last = versions.get(id).and_then(|versions| versions.last());
        if last.is_none_or(|last| row["version"] != last.number || now != last.state) {
            violations.push(broken("P3", id, "the current row is not its last version"));
        }
        let length = |name: &str| now.get(name).and_then(Value::as_array).map_or(0, Vec::len);
        let bank = usize::from(now.keys().any(|name| name.starts_with("bank_verification.")));
        for (table, expected) in
            [("attempts", length("kyc.attempts")), ("aml_matches", length("aml.matches")), ("bank_verifications", bank)]
        {
            let held = children(table, id);
            if held != expected {
                violations.push(broken("P3", id, format!("{table} holds {held} rows instead of {expected}")));
            }
        }
        for (column, name) in [("kyc_result", "kyc.result"), ("aml_currentstatus", "aml.currentstatus")] {
            if row[column].as_str() != text(&now, name) {
                violations.push(broken("P3", id, format!("the column {column} is not what {name} says")));
            }
        }
        if row["gone_at"].is_null() {
            *results.entry(text(&now, "kyc.result").unwrap_or("none").to_owned()).or_default() += 1;
            flags += i64::from(red_flag(&now));
        }
    }
    for id in versions.keys() {
        if !evidence.rows("submissions").iter().any(|row| row["submission_id"] == **id) {
            violations.push(broken("P3", id, "there are versions without a current row"));
        }
    }
    let counted = |name: &str, label: &str| {
        let row = evidence.rows("counters").iter().find(|row| row["name"] == *name && row["label"] == *label);
        row.and_then(|row| row["value"].as_i64()).unwrap_or(0)
    };
    for (label, expected) in &results {
        let held = counted("submissions", label);
        if held != *expected {
            violations.push(broken(
                "P3",
                "",
                format!("{held} submissions are counted as {label} instead of {expected}"),
            ));
        }
    }
    if counted("red_flags_open", "") != flags {
        violations.push(broken(
            "P3",
            "",
            format!("{} Red Flags are counted as open instead of {flags}", counted("red_flags_open", "")),
        ));
    }
}

/// P11: payloads carry states and codes. Whatever is personal in a history is marked as a taint.
pub fn impersonal(evidence: &Evidence, violations: &mut Vec<Violation>) {
    for row in evidence.rows("outbox") {
        if row["payload"].to_string().to_lowercase().contains("taint") {
            let id = row["submission_id"].as_str().unwrap_or_default();
            violations.push(broken("P11", id, format!("the payload of {} holds personal data", row["type"])));
        }
    }
}

/// P13: what the mirror still lacks of the vendor's state. P10: what is no submission is in the quarantine.
pub fn differences(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    let stored: BTreeMap<&str, &Value> =
        evidence.rows("submissions").iter().filter_map(|row| Some((row["submission_id"].as_str()?, row))).collect();
    for item in &evidence.truth {
        let Some(id) = item["submission_id"].as_str() else { continue };
        let there = state(&normal(item));
        let Some(row) = stored.get(id) else {
            violations.push(broken("P13", id, "it is not in the mirror"));
            continue;
        };
        let here = state(&normal(&row["item"]));
        let out = taken_out(evidence, id);
        // Where lists lack them, they are seen with the next change that lists show (docs/modes.md).
        let late = |name: &str| evidence.thin && ["kyc.attempts", "updated_at"].contains(&name);
        let differs: Vec<&String> = there
            .iter()
            .filter(|(name, value)| here.get(*name) != Some(value) && !out(name) && !late(name))
            .map(|(name, _)| name)
            .chain(here.keys().filter(|name| !there.contains_key(*name) && !kept(name, &there)))
            .collect();
        if !differs.is_empty() {
            violations.push(broken("P13", id, format!("the mirror differs in {differs:?}")));
        }
    }
    // A person decides where too much vanished at once.
    if evidence.rows("erasure_holds").is_empty() {
        let there: BTreeSet<&str> = evidence.truth.iter().filter_map(|item| item["submission_id"].as_str()).collect();
        let left = stored.iter().filter(|(id, row)| row["gone_at"].is_null() && !there.contains(*id));
        violations.extend(left.map(|(id, _)| broken("P13", id, "it is gone, and still in the mirror")));
    }
    for text in &evidence.spoiled {
        if !evidence.rows("quarantine").iter().any(|row| row["body"] == *text) {
            violations.push(broken("P10", "", format!("the quarantine does not hold {text}")));
        }
    }
    violations
}

/// Whether the mirror may go on holding what the vendor no longer shows: until it is confirmed.
fn kept(name: &str, there: &State) -> bool {
    let bare = !there.keys().any(|name| erasable(name, there) && !super::state::left_of_deleted(name));
    name.starts_with("aml") || bare || erasable(name, there)
}
