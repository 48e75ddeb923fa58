//! When two values count as the same in the demo's comparison.
//!
//! The daemon has its own answer to this (`domain::canonical`). This one is written anew on purpose, and shares with it
//! only the table of fields: a mistake there must not hide itself here.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use chrono::{DateTime, SubsecRound};
use serde_json::Value;

use crate::domain::field::{ALIASES, CHILDREN, Kind, SUBMISSION};

/// A value with everything taken away that does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Absent,
    Bool(bool),
    /// Digits without zeros at the ends, and the power of ten.
    Number(String, i64),
    /// Microseconds since 1970.
    Time(i64),
    Text(String),
    List(Vec<Form>),
    Object(BTreeMap<String, Form>),
}

type Path<'a> = Vec<&'a str>;

/// What kind of field stands at a path; places in lists do not count.
static KINDS: LazyLock<HashMap<Path<'static>, Kind>> = LazyLock::new(|| {
    let children = CHILDREN.iter().flat_map(|(at, fields)| fields.iter().map(|field| (at.to_vec(), field)));
    let fields = SUBMISSION.iter().map(|field| (Vec::new(), field)).chain(children);
    fields.map(|(at, field)| ([at.as_slice(), field.path].concat(), field.kind)).collect()
});

impl Form {
    /// The form of a vendor's item, or of a part of it that stands at `path`.
    pub(super) fn of(value: &Value, path: &[&str]) -> Self {
        match KINDS.get(path) {
            // Links expire: they are never compared.
            Some(Kind::Link) => Self::Absent,
            Some(kind @ (Kind::Decimal | Kind::Time | Kind::TextList)) => {
                Self::field(value, *kind).unwrap_or_else(|| Self::plain(value, path))
            }
            _ => Self::plain(value, path),
        }
    }

    fn plain(value: &Value, path: &[&str]) -> Self {
        match value {
            Value::Null => Self::Absent,
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Number(number) => number_of(&number.to_string()).unwrap_or_else(|| Self::Text(number.to_string())),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(list) => Self::List(list.iter().map(|one| Self::of(one, path)).collect()),
            Value::Object(map) => {
                let member = |(key, value): (&String, &Value)| {
                    let name = documented(path, key);
                    let form = Self::of(value, &[path, &[name]].concat());
                    (form != Self::Absent).then(|| (name.to_owned(), form))
                };
                Self::Object(map.iter().filter_map(member).collect())
            }
        }
    }

    /// The form of a column of this kind, or of the vendor's value that belongs into it. `None`: not a usable value.
    pub(super) fn field(value: &Value, kind: Kind) -> Option<Self> {
        match (kind, value) {
            (_, Value::Null) => Some(Self::Absent),
            (Kind::Text, Value::String(text)) => Some(Self::Text(text.clone())),
            (Kind::Text, Value::Number(_) | Value::Bool(_)) => Some(Self::Text(value.to_string())),
            (Kind::Decimal, Value::Number(number)) => number_of(&number.to_string()),
            (Kind::Decimal, Value::String(text)) => number_of(text.trim()),
            (Kind::Time, Value::String(text)) => time_of(text),
            (Kind::TextList, Value::String(text)) => Some(Self::List(vec![Self::Text(text.clone())])),
            (Kind::TextList, Value::Array(list)) => {
                list.iter().map(|one| Self::field(one, Kind::Text)).collect::<Option<_>>().map(Self::List)
            }
            _ => None,
        }
    }

    /// A hash of it all.
    pub(super) fn hash(&self) -> blake3::Hash {
        // Debug writes every variant and every text unambiguously, and objects in the order of their keys.
        blake3::hash(format!("{self:?}").as_bytes())
    }
}

/// The value at a path, in whatever documented spelling.
pub(super) fn at<'v>(value: &'v Value, within: &[&str], path: &[&str]) -> &'v Value {
    let mut value = value;
    for (i, key) in path.iter().enumerate() {
        let parents = [within, &path[..i]].concat();
        let other =
            ALIASES.iter().find(|(object, _, name)| *object == parents && name == key).map(|(_, other, _)| *other);
        value = match (value.get(key), other) {
            (Some(found), _) => found,
            (None, Some(other)) => &value[other],
            (None, None) => &Value::Null,
        };
    }
    value
}

/// The documented spelling of a key.
fn documented<'k>(path: &[&str], key: &'k str) -> &'k str {
    ALIASES.iter().find(|(object, other, _)| *object == path && *other == key).map_or(key, |(_, _, name)| name)
}

fn number_of(text: &str) -> Option<Form> {
    let lower = text.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let short = digits.trim_end_matches('0');
    let zeros = i64::try_from(digits.len() - short.len()).ok()?;
    let exponent = exponent - i64::try_from(fraction.len()).ok()? + zeros;
    match short.trim_start_matches('0') {
        "" => Some(Form::Number("0".to_owned(), 0)),
        short => Some(Form::Number(format!("{sign}{short}"), exponent)),
    }
}

/// The simulator and PostgreSQL both write RFC 3339.
fn time_of(text: &str) -> Option<Form> {
    let at = DateTime::parse_from_rfc3339(text.trim()).ok()?;
    Some(Form::Time(at.trunc_subsecs(6).timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_matter_is_equal_and_the_rest_is_not() {
        let form = |item: Value| Form::of(&item, &[]).hash();
        let item = json!({"submission_id": "s", "created_at": "2022-04-07T00:30:35.919Z", "argos_score": "99.50",
            "image": {"idImage": "https://a/1"}, "kyc": {"attempts": [{"selfieImage": "https://a", "livenessScore": 1e2}]}});
        let same = json!({"kyc": {"attempts": [{"livenessScore": 100.0, "errorCode": null}]}, "argos_score": 99.5,
            "created_at": "2022-04-07T00:30:35.919+00:00", "submission_id": "s"});
        assert_eq!(form(item.clone()), form(same.clone()));
        for (pointer, other) in [
            ("/argos_score", json!(99.6)),
            ("/kyc/attempts/0/livenessScore", json!(10)),
            ("/kyc/attempts", json!([])),
            ("/created_at", json!("2022-04-07T00:30:35.918Z")),
            ("/submission_id", json!("S")),
        ] {
            let mut changed = same.clone();
            *changed.pointer_mut(pointer).unwrap() = other;
            assert_ne!(form(item.clone()), form(changed), "{pointer}");
        }
        assert_ne!(Form::of(&json!("1"), &[]), Form::of(&json!(1), &[]));
    }

    #[test]
    fn numbers_are_equal_by_value() {
        for (a, b) in [("99", "99.0"), ("0.10", "1e-1"), ("-0", "0"), ("1200", "1.2E3"), ("007", "7")] {
            assert_eq!(number_of(a), number_of(b), "{a} {b}");
            assert!(number_of(a).is_some());
        }
        assert_ne!(number_of("10"), number_of("1"));
        for text in ["", "-", "e1", "1,5", "x"] {
            assert_eq!(number_of(text), None, "{text}");
        }
    }
}
