//! A list item and an item read by id are two views of one submission: each may leave out what the other shows.
//!
//! [`merge`] lays an answer over what is stored. A field that is absent is kept if this view has never shown it of this
//! submission; else it was removed. What the vendor's customers can have removed (personal data) is kept until a second
//! look by id confirms it; see [`super::erasure`].

use serde_json::{Map, Value};

use super::canonical::at;
pub use super::names::{Fields, fields};
use super::names::{documented, each, find, held, name};

/// The dashboard's words for a deleted submission; where they stand in the JSON is not documented.
pub const MARKER: &str = "Deleted Submission";

/// Fields that can be deleted at the vendor's (DELETE /submission/partial names most of them), by their first level.
const ERASABLE: &[&str] = &[
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
    "image",
];

/// What a deleted submission may still show: nothing of it tells who somebody is.
const LEFT_OF_DELETED: &[&str] = &[
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

/// Whether a field's absence from this answer is believed only when it is confirmed. `applicant_id` is documented for
/// approved submissions alone: it goes with the approval.
pub fn erasable(field: &str, answer: &Value) -> bool {
    let approved = || at(answer, &["kyc", "result"]).is_some_and(|result| result == "approved");
    ERASABLE.contains(&first_level(field)) && (field != "applicant_id" || approved())
}

fn first_level(field: &str) -> &str {
    field.split('.').next().unwrap_or(field)
}

/// Whether a field stays when a submission is gone.
pub fn left_of_deleted(field: &str) -> bool {
    LEFT_OF_DELETED.contains(&field)
}

/// A member of an item, or of an object in it.
type Path = (Option<String>, String);

/// Whether an answer shows more than what is left of a deleted submission.
pub fn personal(answered: &Fields) -> bool {
    answered.iter().any(|field| ERASABLE.contains(&first_level(field)) && !left_of_deleted(field))
}

/// The item without some fields. `submission_id` stays; an object that is emptied goes too.
pub fn without(item: &Value, gone: impl Fn(&str) -> bool) -> Value {
    let Value::Object(item) = item else { return item.clone() };
    let mut left = Map::new();
    for (key, value) in item {
        match value {
            _ if key == "submission_id" => {}
            Value::Object(members) if !members.is_empty() => {
                let kept: Map<_, _> =
                    members.iter().filter(|(member, _)| !gone(&name(Some(key), member))).map(own).collect();
                if !kept.is_empty() {
                    left.insert(key.clone(), Value::Object(kept));
                }
                continue;
            }
            _ if gone(&name(None, key)) => continue,
            _ => {}
        }
        left.insert(key.clone(), value.clone());
    }
    Value::Object(left)
}

fn own((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// What stands against a new answer.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// The stored item.
    pub stored: &'a Value,
    /// What this view has shown of this submission.
    pub shown: &'a Fields,
    /// Fields whose removal was carried out.
    pub removed: &'a Fields,
    /// Those of them that may not come back by this answer: lists lag.
    pub sticky: &'a Fields,
}

/// An answer laid over what is stored.
#[derive(Debug)]
pub struct Merged {
    /// The item that results.
    pub item: Value,
    /// What this view has shown now or before, and what has not been removed since.
    pub shown: Fields,
    /// Fields that are missing, may have been deleted, and are kept for now.
    pub lost: Fields,
    /// Whether the answer looks like a submission that was deleted as a whole.
    pub blanked: bool,
    /// Whether the screening was missing and is kept.
    pub screening_missing: bool,
    /// Fields that were removed and are shown again.
    pub returned: Fields,
    /// Fields that were removed, are shown again, and may not come back by this answer.
    pub refused: Fields,
    /// Fields that the answer itself shows.
    pub answered: Fields,
}

impl Merged {
    /// Whether something of the answer was not taken over, so that it must be looked at again next time.
    pub fn held(&self) -> bool {
        !self.lost.is_empty() || self.screening_missing || !self.refused.is_empty()
    }
}

/// Lays an answer over what is stored.
pub fn merge(mut item: Value, before: &Before<'_>) -> Merged {
    let marked = strip_markers(&mut item, before.stored);
    let returned: Fields = fields(&item).intersection(before.removed).cloned().collect();
    let (refused, returned): (Fields, Fields) = returned.into_iter().partition(|field| before.sticky.contains(field));
    if !refused.is_empty() {
        item = without(&item, |field| refused.contains(field));
    }
    let answered = fields(&item);
    let mut merged = Merged {
        shown: answered.clone(),
        lost: Fields::new(),
        blanked: false,
        screening_missing: false,
        returned,
        refused,
        answered,
        item,
    };
    let (Value::Object(stored), Value::Object(item)) = (before.stored, &mut merged.item) else { return merged };
    let absent = absent(item, stored);
    let removed_now = |path: &Path| {
        let name = name(path.0.as_deref(), &path.1);
        before.shown.contains(&name) && !before.removed.contains(&name)
    };
    let answer = Value::Object(item.clone());
    let bare = merged.answered.iter().all(|field| left_of_deleted(field));
    merged.blanked = (marked || bare)
        && absent.iter().any(|path| removed_now(path) && erasable(&name(path.0.as_deref(), &path.1), &answer));
    let silent = silent_screening(item);
    for path in absent {
        let field = name(path.0.as_deref(), &path.1);
        if removed_now(&path) {
            let screening = field == "aml" || field.starts_with("aml.");
            if merged.blanked || erasable(&field, &answer) {
                merged.lost.insert(field.clone());
            } else if screening && (silent || field == "aml.currentstatus") {
                // A screening that is missing while the rest is there is neither "cleared" nor an erasure.
                merged.screening_missing = true;
            } else {
                continue;
            }
            merged.shown.insert(field);
        }
        keep(item, stored, path);
    }
    merged
}

/// Whether `aml` is missing, null or empty.
fn silent_screening(item: &Map<String, Value>) -> bool {
    item.get("aml").is_none_or(|aml| aml.is_null() || aml.as_object().is_some_and(Map::is_empty))
}

/// Takes the words "Deleted Submission" out of the fields that name a person, unless they were stored as they are.
fn strip_markers(item: &mut Value, stored: &Value) -> bool {
    let marker = |value: &Value| value.as_str().is_some_and(|text| text.trim().eq_ignore_ascii_case(MARKER));
    let mut marked = false;
    let mut strip = |map: &mut Map<String, Value>, key: &str, stored: Option<&Value>| {
        if map.get(key).is_some_and(marker) && !stored.is_some_and(marker) {
            map.remove(key);
            marked = true;
        }
    };
    let Value::Object(item) = item else { return false };
    strip(item, "email", stored.get("email"));
    if let Some(Value::Object(data)) = item.get_mut("data") {
        for key in ["name", "full_name", "first_name", "last_name", "full_name_en"] {
            strip(data, key, at(stored, &["data", key]));
        }
    }
    marked
}

/// The fields of the stored item that an answer lacks. An empty object is no loss.
fn absent(item: &Map<String, Value>, stored: &Map<String, Value>) -> Vec<Path> {
    let mut absent = Vec::new();
    each(stored, |parent, key, value| {
        let missing = match parent {
            None => find(item, None, key).is_none() && !value.as_object().is_some_and(Map::is_empty),
            Some(parent) => match find(item, None, parent) {
                None => true,
                Some(Value::Object(members)) => find(members, Some(documented(None, parent)), key).is_none(),
                // Of another type now: what it says counts.
                Some(_) => false,
            },
        };
        if missing {
            absent.push((parent.map(str::to_owned), key.to_owned()));
        }
    });
    absent
}

/// Takes a field over from another item.
fn keep(item: &mut Map<String, Value>, from: &Map<String, Value>, (parent, key): Path) {
    let Some(parent) = parent else {
        if let Some(value) = from.get(&key) {
            item.insert(key, value.clone());
        }
        return;
    };
    let Some(value) = from.get(&parent).and_then(|members| members.get(&key)) else { return };
    // The answer may spell the object in the other way: two of it would be a change.
    let spelled = held(item, None, &parent).map_or(parent, |(spelled, _)| spelled.clone());
    let members = item.entry(spelled).or_insert(Value::Null);
    if !members.is_object() {
        *members = Value::Object(Map::new());
    }
    if let Value::Object(members) = members {
        members.insert(key, value.clone());
    }
}

/// The stored item with what an answer shows and no earlier view could: the state as it would have been at first sight.
/// `None`: there is nothing of the kind.
pub fn first_sight(stored: &Value, answer: &Value, could_show: impl Fn(&str) -> bool) -> Option<Value> {
    let (Value::Object(stored), Value::Object(answer)) = (stored, answer) else { return None };
    let mut sight = stored.clone();
    let mut new: Vec<Path> = absent(stored, answer);
    new.retain(|(parent, key)| !could_show(&name(parent.as_deref(), key)));
    if new.is_empty() {
        return None;
    }
    new.into_iter().for_each(|path| keep(&mut sight, answer, path));
    Some(Value::Object(sight))
}

/// Whether an item takes back what an answer by id had changed: every field that it would change has the value of
/// before. Lists may lag.
pub fn restores(changed: &[String], differs_from_before: &[String]) -> bool {
    !changed.is_empty() && !changed.iter().any(|field| differs_from_before.contains(field))
}

#[cfg(test)]
mod tests;
