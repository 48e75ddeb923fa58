//! The names of fields, two levels deep: `email`, `data.name`, `kyc.attempts`. Whoever names a field names it here, so that
//! two lists of names can be compared.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::field::ALIASES;

/// Names of fields, as in [`super::change::changed_fields`].
pub type Fields = BTreeSet<String>;

/// Stands for a name that may be somebody's data.
pub const OTHER: &str = "other";

/// A field's name as it may be shown. One that does not look like a name may be somebody's data, used as a key.
pub fn shown_as(key: &str) -> &str {
    let plain =
        !key.is_empty() && key.len() <= 64 && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if plain { key } else { OTHER }
}

/// The name of a member, in the documented spelling.
pub(super) fn name(parent: Option<&str>, key: &str) -> String {
    let key = shown_as(documented(parent, key));
    parent.map_or_else(|| key.to_owned(), |parent| format!("{}.{key}", name(None, parent)))
}

/// The documented spelling of a key.
pub(super) fn documented<'k>(parent: Option<&str>, key: &'k str) -> &'k str {
    let alias = ALIASES.iter().find(|(object, other, _)| *other == key && object.first().copied() == parent);
    alias.map_or(key, |(_, _, documented)| documented)
}

/// A member that is not null, under its name or the other spelling of it.
pub(super) fn find<'m>(map: &'m Map<String, Value>, parent: Option<&str>, key: &str) -> Option<&'m Value> {
    held(map, parent, key).map(|(_, value)| value)
}

/// The same, with the spelling under which it is there.
pub(super) fn held<'m>(
    map: &'m Map<String, Value>,
    parent: Option<&str>,
    key: &str,
) -> Option<(&'m String, &'m Value)> {
    let there = |key: &str| map.get_key_value(key).filter(|(_, value)| !value.is_null());
    there(key).or_else(|| {
        let same = |(object, other, documented): &&(&[&str], &str, &str)| {
            object.first().copied() == parent && (*other == key || *documented == key)
        };
        let (_, other, documented) = ALIASES.iter().find(same)?;
        there(if *other == key { documented } else { other })
    })
}

/// Calls back for every field that an object holds, two levels deep.
pub(super) fn each(item: &Map<String, Value>, mut tell: impl FnMut(Option<&str>, &str, &Value)) {
    for (key, value) in item.iter().filter(|(key, value)| !value.is_null() && *key != "submission_id") {
        match value {
            Value::Object(members) if !members.is_empty() => {
                let there = members.iter().filter(|(_, value)| !value.is_null());
                there.for_each(|(member, value)| tell(Some(key), member, value));
            }
            value => tell(None, key, value),
        }
    }
}

/// The fields that an item shows. `submission_id` is in all of them and is left out.
pub fn fields(item: &Value) -> Fields {
    let mut fields = Fields::new();
    if let Value::Object(item) = item {
        each(item, |parent, key, _| {
            fields.insert(name(parent, key));
        });
    }
    fields
}

/// Those of them that hold something: an empty object says no more than none.
pub fn filled(item: &Value) -> Fields {
    let mut fields = Fields::new();
    if let Value::Object(item) = item {
        each(item, |parent, key, value| {
            if !value.as_object().is_some_and(Map::is_empty) {
                fields.insert(name(parent, key));
            }
        });
    }
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_is_found_by_either_spelling_in_its_own_object() {
        let map = |key: &str| Map::from_iter([(key.to_owned(), json!(1)), ("null".to_owned(), Value::Null)]);
        for (held, parent, key, found) in [
            ("email", None, "email", true),
            ("email", None, "memo", false),
            ("email", None, "null", false),
            ("Injection_action", None, "injection_action", true),
            ("injection_action", None, "Injection_action", true),
            ("Injection_action", None, "email", false),
            ("Injection_action", Some("data"), "injection_action", false),
            ("retry_count", Some("bank_verification"), "retry_countj", true),
            ("retry_count", None, "retry_countj", false),
        ] {
            assert_eq!(find(&map(held), parent, key).is_some(), found, "{key} of {parent:?}, which holds {held}");
        }
    }

    #[test]
    fn every_spelling_of_a_field_has_one_name() {
        let one = json!({"submission_id": "s", "injection_action": {"type": "t"}, "bank_verification": {"retry_countj": 1},
            "memo": {}, "email": null, "": 1, "Kim Ji": {"Kim": 1, "a b": 2}});
        let other = json!({"Injection_action": {"type": "t", "none": null}, "bank_verification": {"retry_count": 2},
            "b@example.com": {"Kim": 3, "b c": []}, "memo": {}});
        let names =
            ["Injection_action.type", "bank_verification.retry_count", "memo", "other", "other.Kim", "other.other"];
        assert_eq!(fields(&one), Fields::from(names.map(str::to_owned)));
        let without = |fields: Fields, name: &str| fields.into_iter().filter(|field| field != name).collect::<Fields>();
        assert_eq!(without(fields(&one), "other"), fields(&other));
        assert_eq!(filled(&one), without(fields(&one), "memo"));
    }
}
