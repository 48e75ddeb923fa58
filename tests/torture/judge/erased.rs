//! P7: nothing is erased that the vendor did not twice deny by id, and what is erased is nowhere.

use std::collections::BTreeSet;

use serde_json::Value;

use super::history::Versions;
use super::served::{Answer, Kind, micros};
use super::state::{State, left_of_deleted};
use super::{Evidence, Violation, broken};

/// Shorter texts could stand anywhere.
const TELLING: usize = 8;

/// So many microseconds must lie between two denials: `erasure.confirm_after` of the histories, and what the first one may
/// have been under way longer than the second.
const CONFIRM_AFTER: i64 = 1_000_000 - 200_000;

/// Looks at every receipt.
pub fn confirmed_and_gone(
    evidence: &Evidence,
    answers: &[Answer],
    versions: &Versions,
    violations: &mut Vec<Violation>,
) {
    for (id, versions) in versions {
        for version in versions.iter().filter(|version| version.deletes()) {
            let Some(receipt) = evidence.receipts(id).find(|row| row["version"] == version.number) else {
                violations.push(broken("P7", id, "something was erased without a receipt"));
                continue;
            };
            let executed_at = micros(&receipt["executed_at"]).unwrap_or_default();
            let denials = answers.iter().filter(|answer| answer.at <= executed_at && denies(answer, id, receipt));
            let denials: Vec<i64> = denials.map(|answer| answer.at).collect();
            let apart = denials.last().zip(denials.first()).map_or(0, |(last, first)| last - first);
            if denials.len() < 2 || apart < CONFIRM_AFTER {
                let what = format!("it was erased after {} denials by id in {apart} microseconds", denials.len());
                violations.push(broken("P7", id, what));
            }
        }
    }
    let everybody: Vec<&State> = answers.iter().flat_map(|answer| answer.items.values()).collect();
    for receipt in evidence.rows("erasure_receipts") {
        let id = receipt["submission_id"].as_str().unwrap_or_default();
        if receipt["mode"] != "erase" || !receipt["reappeared_at"].is_null() {
            continue;
        }
        let fields: BTreeSet<&str> =
            receipt["fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let erased = |name: &str| match receipt["kind"].as_str() {
            Some("fields") => fields.contains(name),
            _ => !left_of_deleted(name),
        };
        let shown: Vec<&State> = answers.iter().filter_map(|answer| answer.items.get(id)).collect();
        let mut texts = BTreeSet::new();
        let mut others = BTreeSet::new();
        for state in &shown {
            for (name, value) in *state {
                // Codes stay, in events.
                let told = ["kyc.attempts", "aml.matches", "bank_verification.type", "Injection_action.type"]
                    .contains(&name.as_str());
                let mut here = BTreeSet::new();
                leaves(value, &mut here);
                here.retain(|text| !told || !is_code(text));
                (if erased(name) { &mut texts } else { &mut others }).extend(here);
            }
        }
        for state in everybody.iter().filter(|state| !shown.iter().any(|own| std::ptr::eq(*own, **state))) {
            state.values().for_each(|value| leaves(value, &mut others));
        }
        let telling = texts.difference(&others).filter(|text| text.len() >= TELLING && !text.starts_with("number "));
        if let Some(left) =
            telling.into_iter().find(|text| evidence.dump.contains(&Value::from(text.as_str()).to_string()))
        {
            violations.push(broken("P7", id, format!("{left:?} was erased and is still there")));
        }
    }
}

/// Whether an answer by id does not show what was erased.
fn denies(answer: &Answer, id: &str, receipt: &Value) -> bool {
    if !matches!(&answer.kind, Kind::Id(asked) if asked == id) {
        return false;
    }
    let Some(shown) = answer.items.get(id) else { return true };
    match receipt["kind"].as_str() {
        Some("gone") => false,
        Some("blanked") => shown.keys().all(|name| left_of_deleted(name)),
        _ => {
            let mut fields = receipt["fields"].as_array().into_iter().flatten().filter_map(Value::as_str);
            fields.all(|name| !shown.contains_key(name))
        }
    }
}

fn is_code(text: &str) -> bool {
    text.chars()
        .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || "_-".contains(character))
}

fn leaves(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(into.insert(text.clone())),
        Value::Array(all) => all.iter().for_each(|one| leaves(one, into)),
        Value::Object(all) => all.values().for_each(|one| leaves(one, into)),
        _ => {}
    }
}
