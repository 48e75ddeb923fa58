//! When a deletion is believed, and what is left after it. Pure.
//!
//! Three forms are known from the vendor's documents: a submission is no longer shown, it is blanked ("Deleted
//! Submission"), or single fields are removed (DELETE /submission/partial).

use serde_json::Value;

use super::views::{Before, Fields, erasable, fields, left_of_deleted, merge, without};
use crate::clock::Timestamp;

/// In which form something was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The vendor no longer shows the submission.
    Gone,
    /// Only id, date, result and type of document are left.
    Blanked,
    /// Single fields were removed.
    Fields,
}

impl Kind {
    /// All kinds, for metrics that stand at 0 from the start.
    pub const ALL: [Self; 3] = [Self::Gone, Self::Blanked, Self::Fields];

    /// The name in tables, payloads and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Blanked => "blanked",
            Self::Fields => "fields",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Whether so many suspicions at once are a mass vanish, which only an operator may believe: more than `max_count` and
/// than `max_share` of the submissions, or more than half of them where there are two or more.
pub fn mass(suspicions: u64, submissions: u64, max_count: u64, max_share: f64) -> bool {
    let cap = (max_count as f64).max(submissions as f64 * max_share);
    suspicions as f64 > cap || (submissions >= 2 && suspicions * 2 > submissions)
}

/// What an answer by id says of a suspicion: the form and the fields that it confirms, or `None` where it refutes.
///
/// `answer` is the item, or `None` if there was none. A field that answers by id never show cannot be confirmed by one;
/// its absence from it is not held against the suspicion either.
pub fn confirmed(
    kind: Kind,
    suspected: &Fields,
    stored: &Value,
    removed: &Fields,
    answer: Option<&Value>,
) -> Option<(Kind, Fields)> {
    let Some(answer) = answer else { return Some((Kind::Gone, Fields::new())) };
    let there = fields(stored);
    let laid = merge(answer.clone(), &Before { stored, shown: &there, removed, sticky: &Fields::new() });
    if laid.blanked {
        return Some((Kind::Blanked, there.difference(&laid.answered).cloned().collect()));
    }
    if kind == Kind::Gone {
        return None;
    }
    let missing =
        |field: &&String| there.contains(*field) && !laid.answered.contains(*field) && erasable(field, answer);
    let missing: Fields = suspected.iter().filter(missing).cloned().collect();
    (!missing.is_empty()).then_some((Kind::Fields, missing))
}

/// The fields that an answer by id of a submission shows which should be there as it is stored; `None`: it is blanked
/// itself, or lacks fields of those that answers by id show. A key with fewer rights, or a vendor's trouble, would make any
/// other one look deleted, too.
pub fn stands(stored: &Value, by_id: &Fields, removed: &Fields, answer: Value) -> Option<Fields> {
    let laid = merge(answer, &Before { stored, shown: by_id, removed, sticky: &Fields::new() });
    (!laid.blanked && laid.lost.is_empty()).then_some(laid.answered)
}

/// What speaks for a deletion beside an answer by id.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Fields that answers by id can show of the submission.
    pub by_id: &'a Fields,
    /// Fields that lists have shown of it.
    pub listed: &'a Fields,
    /// When a list last lacked it.
    pub lacked_at: Option<Timestamp>,
    /// From when on a look is the second one; `None`: this is the first.
    pub second_from: Option<Timestamp>,
}

impl Evidence<'_> {
    /// Whether a look that finds these fields gone may be believed. What lists have shown they must lack by the second look;
    /// and what answers by id never show two lists must lack, as far apart as two looks are.
    pub fn suffices(&self, kind: Kind, gone: &Fields) -> bool {
        let Some(second_from) = self.second_from.filter(|_| kind != Kind::Gone) else { return true };
        let by_lists_alone = |field: &String| kind == Kind::Fields && !self.by_id.contains(field);
        gone.intersection(self.listed)
            .all(|field| self.lacked_at.is_some_and(|lacked_at| !by_lists_alone(field) || lacked_at >= second_from))
    }
}

/// The current item after an erasure.
pub fn reduced(item: &Value, kind: Kind, gone: &Fields) -> Value {
    match kind {
        Kind::Gone => without(item, |field| !left_of_deleted(field)),
        Kind::Blanked | Kind::Fields => without(item, |field| gone.contains(field)),
    }
}

/// An older version's item after an erasure. What repeats `data` elsewhere in the item goes with the first field of it.
pub fn reduced_older(item: &Value, kind: Kind, gone: &Fields) -> Value {
    if kind != Kind::Fields {
        return without(item, |field| !left_of_deleted(field));
    }
    let repeated = gone.iter().any(|field| field.starts_with("data."));
    let gone = |field: &str| gone.contains(field) || (repeated && field == "aml.raw_data");
    let mut left = without(item, gone);
    if let Some(attempts) = left.pointer_mut("/kyc/attempts").and_then(Value::as_array_mut).filter(|_| repeated) {
        for attempt in attempts.iter_mut().filter_map(Value::as_object_mut) {
            attempt.remove("verificationParams");
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn names(names: &[&str]) -> Fields {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_name_is_read_back() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::parse(kind.as_str()) == Some(kind)));
        assert_eq!(Kind::parse("other"), None);
    }

    #[test]
    fn p7_an_answer_by_id_confirms_refutes_or_says_more() {
        let stored = json!({"submission_id": "s", "created_at": "2026-01-01", "email": "e", "kyc": {"result": "approved"},
                            "data": {"name": "n", "cf1": "x", "idType": "passport"}});
        let say = |kind, fields: &[&str], answer: Option<Value>| {
            confirmed(kind, &names(fields), &stored, &names(&[]), answer.as_ref())
        };
        assert_eq!(say(Kind::Gone, &[], None), Some((Kind::Gone, names(&[]))));
        assert_eq!(say(Kind::Gone, &[], Some(stored.clone())), None);
        assert_eq!(say(Kind::Fields, &["data.name"], Some(stored.clone())), None);
        let blank = json!({"submission_id": "s", "created_at": "2026-01-01", "kyc": {"result": "approved"}, "data": {"idType": "passport"}});
        let all = Some((Kind::Blanked, names(&["email", "data.cf1", "data.name"])));
        assert_eq!(say(Kind::Blanked, &["email"], Some(blank.clone())), all);
        assert_eq!(say(Kind::Gone, &[], Some(blank)), all, "not gone, but no longer there either");
        let mut marked = stored.clone();
        marked["data"]["name"] = json!("Deleted Submission");
        assert_eq!(say(Kind::Fields, &["email"], Some(marked)), Some((Kind::Blanked, names(&["data.name"]))));
        let mut less = stored.clone();
        less["data"].as_object_mut().unwrap().remove("name");
        let suspected = ["data.name", "data.cf1", "kyc.comment"];
        assert_eq!(say(Kind::Fields, &suspected, Some(less)), Some((Kind::Fields, names(&["data.name"]))));
    }

    #[test]
    fn p7_a_degraded_answer_by_id_does_not_stand() {
        let stored =
            json!({"submission_id": "s", "created_at": "c", "email": "e", "data": {"name": "n", "gender": "f"}});
        let less = json!({"submission_id": "s", "created_at": "c", "data": {"name": "n"}});
        let stub = json!({"submission_id": "s", "created_at": "c"});
        let stands = |by_id: &[&str], answer: &Value| stands(&stored, &names(by_id), &names(&[]), answer.clone());
        assert_eq!(stands(&["created_at", "data.name"], &less), Some(names(&["created_at", "data.name"])));
        assert_eq!(stands(&["created_at", "data.name", "email"], &less), None);
        assert_eq!(stands(&["created_at", "data.name"], &stub), None);
        assert!(stands(&[], &stub).is_some_and(|shown| !crate::domain::views::personal(&shown)), "nothing is known");
    }

    #[test]
    fn p7_lists_must_lack_what_they_have_shown() {
        let at = |hours| Some(Timestamp::UNIX_EPOCH + chrono::TimeDelta::hours(hours));
        let (by_id, listed) = (names(&["email", "memo"]), names(&["email", "data.gender"]));
        let say = |second_from, lacked_at, kind, gone: &[&str]| {
            let evidence = Evidence { by_id: &by_id, listed: &listed, lacked_at, second_from };
            evidence.suffices(kind, &names(gone))
        };
        let all = ["email", "memo", "data.gender"];
        assert!(say(None, None, Kind::Fields, &all) && say(None, None, Kind::Blanked, &all), "a first look");
        assert!(say(at(6), None, Kind::Gone, &[]) && say(at(6), None, Kind::Fields, &["memo"]));
        assert!(!say(at(6), None, Kind::Fields, &["email"]) && !say(at(6), None, Kind::Blanked, &["email"]));
        assert!(say(at(6), at(0), Kind::Fields, &["email", "memo"]) && say(at(6), at(0), Kind::Blanked, &all));
        assert!(!say(at(6), at(5), Kind::Fields, &all) && say(at(6), at(6), Kind::Fields, &all));
    }

    #[test]
    fn p7_what_is_left_names_nobody() {
        let item = json!({"submission_id": "s", "created_at": "c", "updated_at": "u", "email": "taint", "new": "taint",
            "kyc": {"result": "rejected", "comment": ["taint"], "commentCode": ["other"], "attempts": [{"verificationParams": {"fullName": "taint"}}]},
            "aml": {"currentstatus": "Red Flag", "raw_data": {"x": "taint"}, "matches": [{"resource_id": "r"}]},
            "data": {"name": "taint", "idType": "passport"}});
        let left = json!({"submission_id": "s", "created_at": "c", "updated_at": "u",
            "kyc": {"result": "rejected", "commentCode": ["other"]}, "aml": {"currentstatus": "Red Flag"}, "data": {"idType": "passport"}});
        assert_eq!(reduced(&item, Kind::Gone, &names(&[])), left);
        assert_eq!(reduced_older(&item, Kind::Blanked, &names(&["email"])), left);
        let older = reduced_older(&item, Kind::Fields, &names(&["email"]));
        assert!(older.to_string().contains("fullName"));
        let older = reduced_older(&item, Kind::Fields, &names(&["data.name", "email", "new"]));
        assert_eq!(older["kyc"]["comment"], json!(["taint"]), "nobody removed it");
        assert!(!older.to_string().contains("fullName") && older["aml"].get("raw_data").is_none());
        assert!(older.get("email").is_none() && older["data"] == json!({"idType": "passport"}));
    }

    #[test]
    fn p7_a_mass_is_more_than_the_cap_or_more_than_half() {
        assert!(!mass(1, 1, 20, 0.01) && !mass(1, 2, 20, 0.01));
        assert!(mass(2, 2, 20, 0.01) && mass(2, 3, 20, 0.01));
        assert!(!mass(20, 2000, 20, 0.01) && mass(21, 2000, 20, 0.01));
        assert!(!mass(1000, 100_000, 20, 0.01) && mass(1001, 100_000, 20, 0.01));
    }

    proptest! {
        #[test]
        fn p7_a_mass_stays_one_when_more_vanish(n in 0u64..1000, total in 0u64..5000, count in 0u64..50, share in 0f64..1.0) {
            prop_assert!(!mass(n, total, count, share) || mass(n + 1, total, count, share));
            prop_assert!(!mass(0, total, count, share));
        }
    }
}
