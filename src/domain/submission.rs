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
