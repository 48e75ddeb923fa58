//! How much of an item an answer shows.

use serde_json::{Map, Value};

/// The documented subsets of `request_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subset {
    Kyc,
    Aml,
    Data,
    Others,
}

impl Subset {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "kyc" => Some(Self::Kyc),
            "aml" => Some(Self::Aml),
            "data" => Some(Self::Data),
            "others" => Some(Self::Others),
            _ => None,
        }
    }

    /// Keeps only the subset's part of an item.
    pub(super) fn cut(self, item: &mut Map<String, Value>) {
        let only = match self {
            Self::Kyc => "kyc",
            Self::Aml => "aml",
            Self::Data => "data",
            Self::Others => {
                return item.retain(|key, _| !matches!(key.as_str(), "kyc" | "aml" | "data"));
            }
        };
        item.retain(|key, _| key == only || key == "submission_id");
    }
}

/// What a thin list leaves out: the printed list samples lack these.
pub(super) fn thin(item: &mut Map<String, Value>) {
    item.remove("aml");
    item.remove("updated_at");
    if let Some(Value::Object(kyc)) = item.get_mut("kyc") {
        kyc.remove("attempts");
    }
}

/// What is left of a deleted submission: id, date, type of document, result.
pub(super) fn blank(item: &Map<String, Value>) -> Map<String, Value> {
    let mut left = Map::new();
    for key in ["submission_id", "created_at"] {
        if let Some(value) = item.get(key) {
            left.insert(key.to_owned(), value.clone());
        }
    }
    for (outer, inner) in [("data", "idType"), ("kyc", "result")] {
        if let Some(value) = item.get(outer).and_then(|object| object.get(inner)) {
            left.insert(outer.to_owned(), serde_json::json!({ inner: value }));
        }
    }
    left
}

/// A JSON merge patch (RFC 7396).
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(&key);
            } else {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
    }
}
