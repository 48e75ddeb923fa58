//! What is odd in the vendor's answers: counted by kind, and by name where a name tells more. Never holds data.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::canonical::at;
use super::field::{ALIASES, ATTEMPT, CHILDREN, MATCH, SUBMISSION};
use super::names::{OTHER, shown_as};
use super::submission::{KYC_RESULTS, is_known_aml_status};

/// The kinds of [`Drift`], for metrics that stand at 0 from the start.
pub const DRIFT_KINDS: &[&str] = &[
    "bad_field",
    "replaced_characters",
    "aml_missing",
    "field_vanished",
    "unknown_aml_status",
    "unknown_kyc_result",
    "unknown_field",
    "outside_window",
    "other_submissions",
    "digest_differs",
    "not_encrypted",
];

/// The most names that one page, or one project's table, can hold; what comes after them is called
/// [`OTHER`], too.
pub const MOST_NAMES: usize = 200;

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Named {
    /// A field that no document names: its path, two levels deep; `attempts.x` and `matches.x` inside the lists.
    Field,
    /// A value that no document names, of a field whose values they list: `kyc.result=...`, `aml.currentstatus=...`.
    Value,
}

impl Named {
    /// The name in tables and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Field => "unknown_field",
            Self::Value => "unknown_value",
        }
    }
}

/// What was odd in an answer: counted, logged without values, never a reason to stop. Reads like the map of its kinds.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct Drift {
    kinds: BTreeMap<&'static str, u64>,
    /// Unknown fields and values, by name.
    #[serde(skip)]
    pub names: BTreeMap<(Named, String), u64>,
}

impl Deref for Drift {
    type Target = BTreeMap<&'static str, u64>;

    fn deref(&self) -> &Self::Target {
        &self.kinds
    }
}

impl Drift {
    /// Nothing odd.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what another answer showed.
    pub fn add(&mut self, other: Self) {
        other.kinds.into_iter().for_each(|(kind, count)| *self.kinds.entry(kind).or_default() += count);
        other.names.into_iter().for_each(|((named, name), count)| self.name(named, name, count));
    }

    fn name(&mut self, named: Named, name: String, count: u64) {
        let key = (named, name);
        let room = self.names.len() < MOST_NAMES || self.names.contains_key(&key);
        let key = if room { key } else { (named, OTHER.to_owned()) };
        *self.names.entry(key).or_default() += count;
    }
}

/// Adds to a count of [`Drift`].
pub fn drift(counts: &mut Drift, kind: &'static str) {
    *counts.kinds.entry(kind).or_default() += 1;
}

/// Counts, by name, the fields and values of an item that no document names.
pub fn names(item: &Value, counts: &mut Drift) {
    let Value::Object(item_map) = item else { return };
    let mut fields = BTreeSet::new();
    for (key, value) in item_map.iter().filter(|(_, value)| !value.is_null()) {
        match KNOWN.get(key.as_str()) {
            None => {
                fields.insert(shown_as(key).to_owned());
            }
            Some(Some(inner)) => unknown_members(value.as_object(), inner, key, &mut fields),
            Some(None) => {}
        }
    }
    for (path, known, prefix) in
        [(&["kyc", "attempts"], &*KNOWN_ATTEMPT, "attempts"), (&["aml", "matches"], &*KNOWN_MATCH, "matches")]
    {
        for child in at(item, path).and_then(Value::as_array).into_iter().flatten() {
            unknown_members(child.as_object(), known, prefix, &mut fields);
        }
    }
    if !fields.is_empty() {
        drift(counts, "unknown_field");
    }
    fields.into_iter().for_each(|name| counts.name(Named::Field, name, 1));
    unknown_value(item, &["kyc", "result"], |result| KYC_RESULTS.contains(&result), counts);
    unknown_value(item, &["aml", "currentstatus"], is_known_aml_status, counts);
}

fn unknown_value(item: &Value, path: &[&str], known: impl Fn(&str) -> bool, counts: &mut Drift) {
    let Some(value) = at(item, path).filter(|value| !value.is_null()) else { return };
    if !value.as_str().is_some_and(known) {
        counts.name(Named::Value, format!("{}={}", path.join("."), value_name(value)), 1);
    }
}

fn unknown_members(object: Option<&Map<String, Value>>, known: &Inner, prefix: &str, names: &mut BTreeSet<String>) {
    let members = object.into_iter().flatten().filter(|(_, value)| !value.is_null());
    names.extend(
        members.filter(|(key, _)| !known.contains(key.as_str())).map(|(key, _)| format!("{prefix}.{}", shown_as(key))),
    );
}

fn value_name(value: &Value) -> &str {
    let Some(text) = value.as_str() else { return OTHER };
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_- ".contains(c));
    // Plain characters are one byte each.
    if plain { &text[..text.len().min(64)] } else { OTHER }
}

type Inner = BTreeSet<&'static str>;

/// Known fields of an item; for the objects whose members the documents list, those too. All others are known whole.
static KNOWN: LazyLock<BTreeMap<&'static str, Option<Inner>>> = LazyLock::new(|| {
    let mut known: BTreeMap<&'static str, Option<Inner>> = BTreeMap::from([("submission_id", None)]);
    let children = CHILDREN.iter().map(|(path, _)| *path).filter(|path| path.len() > 1);
    let bank = CHILDREN.iter().filter(|(path, _)| path.len() == 1);
    let bank: Vec<[&'static str; 2]> =
        bank.flat_map(|(path, fields)| fields.iter().map(|f| [path[0], f.path[0]])).collect();
    for path in SUBMISSION.iter().map(|field| field.path).chain(children).chain(bank.iter().map(|path| &path[..])) {
        let inner = known.entry(path[0]).or_default();
        if let Some(name) = path.get(1) {
            inner.get_or_insert_default().insert(name);
        }
    }
    for (object, other, documented) in ALIASES {
        match object.first() {
            None => drop(known.insert(other, known.get(documented).cloned().flatten())),
            Some(object) => {
                known.entry(object).or_default().get_or_insert_default().insert(other);
            }
        }
    }
    known
});

static KNOWN_ATTEMPT: LazyLock<Inner> = LazyLock::new(|| ATTEMPT.iter().map(|field| field.path[0]).collect());
static KNOWN_MATCH: LazyLock<Inner> = LazyLock::new(|| MATCH.iter().map(|field| field.path[0]).collect());

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(item: &Value) -> Vec<String> {
        let mut counts = Drift::new();
        names(item, &mut counts);
        counts.names.keys().map(|(named, name)| format!("{} {name}", named.as_str())).collect()
    }

    #[test]
    fn documented_fields_are_known_in_every_spelling() {
        let item = json!({"submission_id": "s", "email": "a@b", "data": {"name": "n", "cf1": 1}, "image": {"any": "x"},
            "kyc": {"result": "approved", "attempts": [{"attemptCnt": 1, "liveness": {"new": 1}}]},
            "aml": {"currentstatus": "red flag ", "matches": [{"score": 1}], "raw_data": {"x": 1}},
            "bank_verification": {"retry_countj": 1, "retry_count": 2}, "injection_action": {"type": "address"},
            "Injection_action": {"time": "t"}, "memo": {"text": "t"}, "project_options": {"policy_new": 1}});
        assert_eq!(named(&item), Vec::<String>::new());
    }

    #[test]
    fn p11_unknown_fields_and_values_are_named_and_data_is_not() {
        let item = json!({"new_field": 1, "nothing": null, "a@example.com": 1, "data": {"city": 1, "Kim Ji": 1}, "kyc":
            {"result": "on_hold", "attempts": [{"x": 1}, {"x": 2}]}, "aml": {"currentstatus": "Kim <k@example.com>",
            "matches": [{"y": 1}, 7]}});
        assert_eq!(
            named(&item),
            [
                "unknown_field attempts.x",
                "unknown_field data.city",
                "unknown_field data.other",
                "unknown_field matches.y",
                "unknown_field new_field",
                "unknown_field other",
                "unknown_value aml.currentstatus=other",
                "unknown_value kyc.result=on_hold",
            ]
        );
        let long = json!({"kyc": {"result": "x".repeat(90)}, "aml": {"currentstatus": 7}});
        assert_eq!(
            named(&long),
            [
                "unknown_value aml.currentstatus=other".to_owned(),
                format!("unknown_value kyc.result={}", "x".repeat(64))
            ]
        );
    }

    #[test]
    fn what_is_odd_is_counted_once_for_each_item_and_added_up() {
        let odd = |item: Value| {
            let mut counts = Drift::new();
            names(&item, &mut counts);
            counts
        };
        let known = json!({"email": "e", "review": {"x": 1}, "aml": {"raw_data": {"x": 1}}});
        assert_eq!(odd(known), Drift::new());
        let one = odd(json!({"x": 1, "aml": {"y": 1}, "memo": {"z": 1}}));
        assert_eq!(one.get("unknown_field"), Some(&1), "three fields of one item");
        let mut all = one.clone();
        all.add(one);
        all.add(odd(json!({"x": 1})));
        assert_eq!(all.get("unknown_field"), Some(&3));
        let field = |name: &str| all.names.get(&(Named::Field, name.to_owned())).copied();
        assert_eq!(["x", "aml.y", "memo.z"].map(field), [Some(3), Some(2), Some(2)]);
    }

    #[test]
    fn p12_names_do_not_grow_without_bound() {
        let mut counts = Drift::new();
        for n in 0..1_000 {
            names(&json!({format!("f{n}"): 1}), &mut counts);
        }
        assert!(counts.names.len() <= MOST_NAMES + 1);
        assert_eq!(counts.names.values().sum::<u64>(), 1_000);
    }
}
