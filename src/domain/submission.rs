//! A submission as one answer of the vendor showed it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::calendar::EARLIEST;
use super::canonical::{at, canonical};
pub use super::drift::{DRIFT_KINDS, Drift, drift};
use super::field::{ATTEMPT, BANK, Field, Kind, MATCH, SUBMISSION};
use super::names::shown_as;
use super::time;
use crate::clock::Timestamp;

/// The `aml.currentstatus` that must never be missed.
pub const RED_FLAG: &str = "Red Flag";

/// A usable item. `Debug` prints the id alone: everything else may be personal data.
#[derive(Clone)]
pub struct Submission {
    /// The vendor's id: opaque, 1 to 256 characters, none of them control.
    pub submission_id: String,
    /// The item as it was sent (characters that PostgreSQL refuses replaced).
    pub item: Value,
    /// Its canonical state.
    pub state: State,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission").field("submission_id", &self.submission_id).finish_non_exhaustive()
    }
}

impl Submission {
    /// Takes an item and derives its state.
    pub fn new(submission_id: String, item: Value) -> Self {
        let state = State::of(&item);
        Self { submission_id, item, state }
    }

    /// The row of `argos.submissions`, as far as it comes from the vendor.
    pub fn row(&self, counts: &mut Drift) -> Map<String, Value> {
        row(SUBMISSION, &self.state.0, &self.item, counts)
    }

    /// The rows of `argos.attempts`, in order.
    pub fn attempt_rows(&self, counts: &mut Drift) -> Vec<Map<String, Value>> {
        rows(ATTEMPT, &["kyc", "attempts"], self, counts)
    }

    /// The rows of `argos.aml_matches`, in order.
    pub fn match_rows(&self, counts: &mut Drift) -> Vec<Map<String, Value>> {
        rows(MATCH, &["aml", "matches"], self, counts)
    }

    /// The row of `argos.bank_verifications`, if there is a `bank_verification` object.
    pub fn bank_row(&self, counts: &mut Drift) -> Option<Map<String, Value>> {
        let bank = self.state.0.get("bank_verification")?;
        if !bank.is_object() {
            drift(counts, "bad_field");
            return None;
        }
        Some(row(BANK, bank, bank, counts))
    }
}

/// A canonical state; see [`super::canonical`].
#[derive(Clone, PartialEq)]
pub struct State(Value);

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State(<redacted>)")
    }
}

impl State {
    /// The state of an item.
    pub fn of(item: &Value) -> Self {
        Self(canonical(item))
    }

    /// The canonical JSON.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The bytes that version ids are made of: JSON with sorted keys.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    /// The text at a path, if it is one.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        at(&self.0, path).and_then(Value::as_str)
    }

    /// `kyc.result`.
    pub fn kyc_result(&self) -> Option<&str> {
        self.text(&["kyc", "result"])
    }

    /// `kyc.commentCode`, as its column has it: texts; none if one of them is no single value.
    pub(super) fn comment_codes(&self) -> Vec<String> {
        let column = at(&self.0, &["kyc", "commentCode"]).and_then(|codes| column(Kind::TextList, codes));
        column.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The codes of one that is rejected, each once; what is no code by its looks is [`UNLISTED`], and [`NO_CODE`] stands
    /// for none. Empty for one that is not rejected. In SQL: `store::mirror::recount_rejected`.
    pub fn reject_codes(&self) -> BTreeSet<String> {
        if self.kyc_result() != Some("rejected") {
            return BTreeSet::new();
        }
        let label = |code: String| if shown_as(&code) == code { code } else { UNLISTED.to_owned() };
        let codes: BTreeSet<String> = self.comment_codes().into_iter().map(label).collect();
        if codes.is_empty() { BTreeSet::from([NO_CODE.to_owned()]) } else { codes }
    }

    /// Whether the result is still to come.
    pub fn open(&self) -> bool {
        self.kyc_result().is_some_and(is_open)
    }

    /// `aml.currentstatus`.
    pub fn aml_status(&self) -> Option<&str> {
        self.text(&["aml", "currentstatus"])
    }

    /// Whether the AML status is a Red Flag, in whatever case.
    pub fn red_flag(&self) -> bool {
        self.aml_status().is_some_and(is_red_flag)
    }

    /// `created_at`, if it can be read and is not from before there was anything to submit.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.text(&["created_at"]).and_then(time::parse).filter(|at| at.date_naive() >= EARLIEST)
    }

    /// The list at a path, empty if there is none.
    pub fn list(&self, path: &[&str]) -> &[Value] {
        at(&self.0, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Counts values that no document names: an unknown status must never pass for "no flag" in silence.
    pub fn unknown_values(&self, counts: &mut Drift) {
        // A status that is no text is as unknown as a new one.
        let unknown = |path: &[&str], known: fn(&str) -> bool| {
            at(&self.0, path).is_some_and(|value| !value.as_str().is_some_and(known))
        };
        if unknown(&["kyc", "result"], |result| KYC_RESULTS.contains(&result)) {
            drift(counts, "unknown_kyc_result");
        }
        if unknown(&["aml", "currentstatus"], is_known_aml_status) {
            drift(counts, "unknown_aml_status");
        }
    }
}

/// The documented values of `kyc.result`.
pub const KYC_RESULTS: &[&str] = &["incomplete", "pending", "approved", "rejected"];

/// Those of them after which a result is still to come.
pub const OPEN: &[&str] = &["incomplete", "pending"];

/// The documented values of `kyc.commentCode`, from the reference of 2022 and from the newer table, which is cut off
/// where it was read. The set is open.
pub const REJECT_CODES: &[&str] = &[
    "address_image_badImage",
    "address_image_error",
    "address_image_invalidImage",
    "address_info_dataMismatch",
    "address_info_expiredDocument",
    "automatic_verification_fail",
    "blacklistCountry",
    "duplicate_user",
    "duplicated_face",
    "duplicated_user_PII_exact",
    "expired_id",
    "id_image_badImage",
    "id_image_error",
    "id_image_invalidId",
    "id_image_invalidImage",
    "id_info_blacklist",
    "id_info_dataMismatch",
    "id_info_notOfAge",
    "invalid_acceptedID",
    "no-date-of-birth",
    "other",
    "timeout",
    "too_many_retry",
    "under_ageLimit",
];

/// Stands for a code that no document names.
pub const UNLISTED: &str = "unlisted";

/// Stands for the code of one that was rejected without any.
pub const NO_CODE: &str = "none";

/// Whether a `kyc.result` means that the result is still to come.
pub fn is_open(result: &str) -> bool {
    OPEN.contains(&result)
}

/// Whether an `aml.currentstatus` is one that the documents name. In SQL: `argos.is_known_aml_status()`.
pub fn is_known_aml_status(status: &str) -> bool {
    is_red_flag(status) || status == "Not Screened"
}

/// Whether an `aml.currentstatus` means Red Flag. The documents disagree about case elsewhere, so case is ignored here.
pub fn is_red_flag(status: &str) -> bool {
    status.trim().eq_ignore_ascii_case(RED_FLAG)
}

fn rows(fields: &[Field], path: &[&str], of: &Submission, counts: &mut Drift) -> Vec<Map<String, Value>> {
    if at(&of.state.0, path).is_some_and(|list| !list.is_array()) {
        drift(counts, "bad_field");
    }
    let sent = at(&of.item, path).and_then(Value::as_array);
    let child = |(i, state): (usize, &Value)| {
        if !state.is_object() {
            drift(counts, "bad_field");
        }
        let sent = sent.and_then(|list| list.get(i)).unwrap_or(state);
        let mut row = row(fields, state, sent, counts);
        row.insert("place".to_owned(), Value::from(i + 1));
        row
    };
    of.state.list(path).iter().enumerate().map(child).collect()
}

/// The columns of one object. `sent` is the object before it was made canonical: links stand only there.
fn row(fields: &[Field], state: &Value, sent: &Value, counts: &mut Drift) -> Map<String, Value> {
    let mut row = Map::new();
    let mut family: &[&str] = &[];
    for field in fields {
        // An object that is none any more (`kyc` as a list) takes all its fields with it: counted once.
        let parents = field.path.split_last().map_or(&[][..], |(_, parents)| parents);
        if parents != family && !parents.is_empty() && at(state, parents).is_some_and(|object| !object.is_object()) {
            drift(counts, "bad_field");
        }
        family = parents;
        let source = if field.kind == Kind::Link { sent } else { state };
        let Some(value) = at(source, field.path).filter(|value| !value.is_null()) else { continue };
        match column(field.kind, value) {
            Some(value) => {
                row.insert(field.column.to_owned(), value);
            }
            None => drift(counts, "bad_field"),
        }
    }
    row
}

/// A value as its column, or an event, takes it; `None` if it is of another type than documented.
pub(super) fn column(kind: Kind, value: &Value) -> Option<Value> {
    match kind {
        Kind::Text => scalar(value),
        Kind::Word => value.is_string().then(|| value.clone()),
        Kind::Decimal => value.is_number().then(|| value.clone()),
        Kind::Time => value.as_str().and_then(time::parse).map(|at| Value::String(time::format(at))),
        Kind::TextList => value.as_array()?.iter().map(scalar).collect::<Option<Vec<_>>>().map(Value::Array),
        Kind::Json => Some(value.clone()),
        // A single link is text; the object of links is a jsonb column and takes anything.
        Kind::Link => Some(value.clone()),
    }
}

fn scalar(value: &Value) -> Option<Value> {
    match value {
        Value::String(_) => Some(value.clone()),
        Value::Number(_) | Value::Bool(_) => Some(Value::String(value.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "reads better at the calls")]
    fn kyc(kyc: Value) -> State {
        State::of(&json!({"kyc": kyc}))
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better at the calls")]
    fn aml(status: Value) -> State {
        State::of(&json!({"aml": {"currentstatus": status}}))
    }

    fn submission(item: Value) -> Submission {
        Submission::new("s".to_owned(), item)
    }

    fn object(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn p11_debug_tells_the_id_alone() {
        let item = submission(json!({"email": "taint"}));
        assert_eq!(format!("{item:?} {:?}", item.state), "Submission { submission_id: \"s\", .. } State(<redacted>)");
    }

    #[test]
    fn columns_take_documented_types_and_count_the_others_as_drift() {
        let item = submission(json!({
            "email": 7, "userid": true, "tokenId": {"a": 1}, "created_at": "2026-01-01", "updated_at": "soon", "memo": [],
            "kyc": {"result": "approved", "commentCode": ["a", 2]}, "reviewer": 1, "argos_score": "7.50",
            "recognition_score": "much", "image": "https://a/1", "review": {"x": 1}
        }));
        let mut counts = Drift::new();
        let expected = json!({"email": "7", "userid": "true", "created_at": "2026-01-01T00:00:00.000000Z",
            "kyc_result": "approved", "kyc_comment_code": ["a", "2"], "argos_score": 7.5, "image": "https://a/1",
            "review": {"x": 1}});
        assert_eq!(item.row(&mut counts), object(expected));
        // tokenId, updated_at, reviewer, recognition_score; and memo, which is no object, once for its two fields.
        assert_eq!(counts.get("bad_field"), Some(&5));
    }

    #[test]
    fn an_object_that_is_none_counts_once_for_all_its_fields() {
        let odd = |item: Value| {
            let mut counts = Drift::new();
            submission(item).row(&mut counts);
            counts.get("bad_field").copied()
        };
        assert_eq!(odd(json!({"kyc": {"result": "approved"}, "data": {"name": "n"}, "memo": {"text": "t"}})), None);
        assert_eq!(odd(json!({"kyc": ["approved"], "data": {"name": "n"}})), Some(1));
        assert_eq!(odd(json!({"kyc": ["approved"], "data": "n"})), Some(2));
    }

    #[test]
    fn the_bytes_of_a_state_do_not_depend_on_the_order_of_keys() {
        let bytes = |text: &str| State::of(&serde_json::from_str(text).unwrap()).bytes();
        assert_eq!(bytes(r#"{"b": 1.0, "a": null, "c": {"e": "x", "d": []}}"#), br#"{"b":1,"c":{"d":[],"e":"x"}}"#);
        assert_eq!(bytes(r#"{"c": {"d": [], "e": "x"}, "b": 1}"#), bytes(r#"{"b": 1, "c": {"e": "x", "d": []}}"#));
    }

    #[test]
    fn each_attempt_and_each_match_has_a_row_with_its_place_and_its_link() {
        let item = submission(json!({
            "kyc": {"attempts": [{"attemptCnt": "1", "selfieImage": "https://a/1"}, "none", {"retryCode": "x"}]},
            "aml": {"matches": [{"resource_id": "r"}]}
        }));
        let mut counts = Drift::new();
        let rows = [
            json!({"place": 1, "attempt_cnt": 1, "selfie_image": "https://a/1"}),
            json!({"place": 2}),
            json!({"place": 3, "retry_code": ["x"]}),
        ];
        assert_eq!(item.attempt_rows(&mut counts), rows.map(object));
        assert_eq!(counts.get("bad_field"), Some(&1), "the one that is no object");
        assert_eq!(item.match_rows(&mut counts), [object(json!({"place": 1, "resource_id": "r"}))]);
        assert_eq!(counts.get("bad_field"), Some(&1));

        let none = submission(json!({"kyc": {"attempts": "none"}}));
        assert_eq!((none.attempt_rows(&mut counts), none.match_rows(&mut counts)), (vec![], vec![]));
        assert_eq!(counts.get("bad_field"), Some(&2), "a list that is none");
    }

    #[test]
    fn a_bank_verification_that_is_no_object_has_no_row() {
        let mut counts = Drift::new();
        let row = |item: Value, counts: &mut Drift| submission(item).bank_row(counts);
        let bank = json!({"bank_verification": {"result": "success", "retry_countj": 2}});
        assert_eq!(row(bank, &mut counts), Some(object(json!({"result": "success", "retry_count": 2}))));
        assert_eq!(row(json!({}), &mut counts), None);
        assert_eq!(counts, Drift::new());
        assert_eq!(row(json!({"bank_verification": "success"}), &mut counts), None);
        assert_eq!(counts.get("bad_field"), Some(&1));
    }

    #[test]
    fn reject_codes_are_those_of_a_rejection_and_none_is_a_persons_word() {
        for (state, expected) in [
            (json!({"result": "rejected", "commentCode": ["b", "a", "b"]}), &["a", "b"][..]),
            (json!({"result": "rejected", "commentCode": ["Jane Doe", "a"]}), &["a", UNLISTED]),
            (json!({"result": "rejected", "commentCode": "other"}), &["other"]),
            (json!({"result": "rejected", "commentCode": [["a"], "b"]}), &[NO_CODE]),
            (json!({"result": "rejected"}), &[NO_CODE]),
            (json!({"result": "approved", "commentCode": ["a"]}), &[]),
        ] {
            assert_eq!(kyc(state.clone()).reject_codes().iter().collect::<Vec<_>>(), expected, "{state}");
        }
    }

    #[test]
    fn words_that_no_document_names_are_counted() {
        let unknown = |state: &State| {
            let mut counts = Drift::new();
            state.unknown_values(&mut counts);
            counts.keys().copied().collect::<Vec<_>>()
        };
        for result in KYC_RESULTS {
            assert_eq!(unknown(&kyc(json!({"result": result}))), Vec::<&str>::new());
            assert_eq!(kyc(json!({"result": result})).open(), ["incomplete", "pending"].contains(result), "{result}");
        }
        for status in ["Red Flag", " red flag", "Not Screened"] {
            assert_eq!(unknown(&aml(json!(status))), Vec::<&str>::new());
            assert_eq!(aml(json!(status)).red_flag(), status != "Not Screened", "{status}");
        }
        assert_eq!(unknown(&State::of(&json!({}))), Vec::<&str>::new());
        for word in [json!("on_hold"), json!(1)] {
            assert_eq!(unknown(&kyc(json!({"result": word}))), ["unknown_kyc_result"]);
            assert_eq!(unknown(&aml(word.clone())), ["unknown_aml_status"]);
            assert!(!kyc(json!({"result": word})).open() && !aml(word).red_flag());
        }
    }

    #[test]
    fn a_created_day_from_before_there_was_anything_to_submit_is_unreadable() {
        let created = |text: &str| State::of(&json!({"created_at": text})).created_at().map(time::format);
        assert_eq!(created("2000-01-01").as_deref(), Some("2000-01-01T00:00:00.000000Z"));
        assert_eq!((created("1999-12-31T23:59:59Z"), created("soon")), (None, None));
    }
}
