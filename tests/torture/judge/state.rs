//! What an item says, so that two items can be compared: a flat map from names (`kyc.result`) to values.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// An item's members, two levels deep. Links, nulls and the form of numbers do not matter.
pub type State = BTreeMap<String, Value>;

/// Numbers, also when they are sent as text.
const NUMBERS: &[&str] = &[
    "attemptCnt",
    "faceSimilarityScore",
    "livenessScore",
    "score",
    "probability",
    "quality",
    "Screen_play",
    "Paper_printed",
    "Replace_portraits",
    "retry_count",
    "recognition_score",
    "argos_score",
];
/// Lists, also when a single text is sent.
const LISTS: &[&str] = &["comment", "commentCode", "retryCode", "retryMsg", "risk_icons"];
const LINKS: &[&str] = &["image", "selfieImage"];

/// The state of an item.
pub fn state(item: &Value) -> State {
    let mut state = State::new();
    let Value::Object(members) = plain("", item) else { return state };
    for (name, value) in members {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                state.extend(inner.into_iter().map(|(member, value)| (format!("{name}.{member}"), value)));
            }
            _ if name == "submission_id" => {}
            // An object that has lost its members says nothing.
            Value::Object(_) => {}
            value => drop(state.insert(name, value)),
        }
    }
    state
}

fn plain(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, value)| !value.is_null() && !LINKS.contains(&name.as_str()));
            let spelled = |name: &str| match name {
                "injection_action" => "Injection_action".to_owned(),
                "retry_countj" => "retry_count".to_owned(),
                name => name.to_owned(),
            };
            Value::Object(
                kept.map(|(name, value)| (spelled(name), plain(&spelled(name), value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(all) => Value::Array(all.iter().map(|value| plain("", value)).collect()),
        Value::String(_) if LISTS.contains(&name) => Value::Array(vec![value.clone()]),
        Value::String(text) if NUMBERS.contains(&name) => number(text).unwrap_or_else(|| value.clone()),
        Value::Number(digits) => number(&digits.to_string()).unwrap_or_else(|| value.clone()),
        other => other.clone(),
    }
}

/// Precise enough for what the simulator sends.
fn number(text: &str) -> Option<Value> {
    text.trim().parse::<f64>().ok().map(|number| Value::String(format!("number {number}")))
}

/// Wraps an object that should be a list, as one document has it.
pub fn normal(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(list) = item.get_mut("additional_list").filter(|list| list.is_object()) {
        *list = Value::Array(vec![list.take()]);
    }
    item
}

/// The text of a member.
pub fn text<'a>(state: &'a State, name: &str) -> Option<&'a str> {
    state.get(name).and_then(Value::as_str)
}

/// The list of a member.
pub fn list<'a>(state: &'a State, name: &str) -> &'a [Value] {
    state.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether a status is the one that nobody may miss.
pub fn red_flag(state: &State) -> bool {
    text(state, "aml.currentstatus").is_some_and(|status| status.eq_ignore_ascii_case("red flag"))
}

/// What can be deleted at the vendor's, and is believed only when it is confirmed (docs/erasure.md).
pub fn erasable(name: &str, state: &State) -> bool {
    const NAMES: &[&str] = &[
        "data",
        "email",
        "userid",
        "applicant_id",
        "additional_list",
        "OCR_raw",
        "ocr",
        "review",
        "duplicated_information",
        "custom_duplicated_information",
        "Injection_action",
        "bank_verification",
        "memo",
    ];
    let first = name.split('.').next().unwrap_or(name);
    // Documented for approved submissions alone.
    NAMES.contains(&first) && (name != "applicant_id" || text(state, "kyc.result") == Some("approved"))
}

/// What stays of a submission that was deleted as a whole.
pub fn left_of_deleted(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "created_at",
        "updated_at",
        "kyc_result_at",
        "pending_at",
        "kyc.result",
        "kyc.commentCode",
        "aml.currentstatus",
        "aml.risk_level_summary",
        "data.idType",
    ];
    NAMES.contains(&name)
}
