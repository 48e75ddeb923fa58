//! The `aml` object.
//!
//! "Not Screened" is the vendor's wording for "screened, and nothing found". That it ran shows in the object's
//! presence alone.

use serde_json::{Value, json};

use super::rng::Rng;
use super::script::Step;

/// What `step` makes of the object `before`.
pub(super) fn screened(seed: u64, n: u64, count: u64, step: Step, before: Option<Value>, name: &str) -> Value {
    let mut rng = Rng::of(seed, n ^ (count << 48), "aml");
    let mut matches = match before {
        Some(mut aml) => match aml["matches"].take() {
            Value::Array(matches) => matches,
            _ => Vec::new(),
        },
        None => Vec::new(),
    };
    match step {
        Step::RedFlag => {
            for _ in 0..rng.between(1, 3) {
                matches.push(one_match(&mut rng, name));
            }
        }
        Step::MatchAdded => matches.push(one_match(&mut rng, name)),
        Step::MatchRemoved => drop(matches.pop()),
        _ => matches.clear(),
    }
    let raw = json!({"search_name": name, "total_hits": matches.len(), "sources": ["sanctions", "pep", "adverse_media"],
                     "search_id": rng.word(12)});
    if matches.is_empty() {
        return json!({"currentstatus": "Not Screened", "risk_level_summary": "Not Screened", "raw_data": raw});
    }
    // The summary is written "High", the matches "HIGH".
    let summary = [("HIGH", "High"), ("MEDIUM", "Medium"), ("LOW", "Low")]
        .into_iter()
        .find(|(level, _)| matches.iter().any(|one| one["risk_level"] == *level))
        .map_or("Low", |(_, summary)| summary);
    json!({"currentstatus": "Red Flag", "risk_level_summary": summary, "matches": matches, "raw_data": raw})
}

fn one_match(rng: &mut Rng, name: &str) -> Value {
    let tenths = rng.between(900, 1_000);
    let score =
        if rng.chance(20) { json!(format!("{}.{}", tenths / 10, tenths % 10)) } else { json!(tenths as f64 / 10.0) };
    let icons = ["PEP", "SAN", "INS", "RRE", "PEP-LINKED", "PEP-FORMER"];
    let first = rng.pick(&icons);
    let second = rng.pick(&icons);
    json!({"risk_level": rng.pick(&["HIGH", "MEDIUM", "MEDIUM", "LOW", "LOW"]), "score": score,
           "resource_id": format!("res{}", rng.word(16)), "argos_number": format!("A{}", rng.digits(10)),
           "risk_icons": if first == second { vec![first] } else { vec![first, second] }, "name": name})
}
