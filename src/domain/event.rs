//! Events: their names, their order within a version, their ids and payloads.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::hash::{Hash, HashKey};
use super::lane::{Lane, View};
use super::submission::State;
use super::time;
use crate::clock::Timestamp;

/// An event's type. The order of the variants is the order of events within a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// A submission is new. The events from null to its state follow.
    SubmissionCreated,
    /// A submission from before the import was read for the first time. No other event tells its state.
    SubmissionImported,
    /// The vendor deleted the submission, or fields of it, and that was carried out here.
    SubmissionErased,
    /// The vendor shows again, by id, what was erased.
    SubmissionReappeared,
    /// An attempt more in `kyc.attempts`.
    KycAttemptAdded,
    /// An attempt differs.
    KycAttemptChanged,
    /// `kyc.result` differs; from null at first sight.
    KycResultChanged,
    /// Reject codes, comments or reviewer differ, `kyc.result` does not.
    KycDetailChanged,
    /// `aml.currentstatus` differs; from null at first sight.
    AmlStatusChanged,
    /// The AML status became Red Flag.
    AmlRedFlagRaised,
    /// The AML status was Red Flag and is another now.
    AmlRedFlagCleared,
    /// A match more in `aml.matches`.
    AmlMatchAdded,
    /// A match differs.
    AmlMatchChanged,
    /// A match is gone.
    AmlMatchRemoved,
    /// `aml.risk_level_summary` differs.
    AmlRiskChanged,
    /// `bank_verification` differs.
    BankVerificationChanged,
    /// `Injection_action` differs: data was added to the submission.
    InjectionPerformed,
    /// The submission differs in the named fields: one per version after the first, last in order.
    SubmissionUpdated,
    /// The first complete read of a project ended.
    ProjectImportCompleted,
}

impl EventType {
    /// All types, for metrics that stand at 0 from the start.
    pub const ALL: [Self; 19] = [
        Self::SubmissionCreated,
        Self::SubmissionImported,
        Self::SubmissionErased,
        Self::SubmissionReappeared,
        Self::KycAttemptAdded,
        Self::KycAttemptChanged,
        Self::KycResultChanged,
        Self::KycDetailChanged,
        Self::AmlStatusChanged,
        Self::AmlRedFlagRaised,
        Self::AmlRedFlagCleared,
        Self::AmlMatchAdded,
        Self::AmlMatchChanged,
        Self::AmlMatchRemoved,
        Self::AmlRiskChanged,
        Self::BankVerificationChanged,
        Self::InjectionPerformed,
        Self::SubmissionUpdated,
        Self::ProjectImportCompleted,
    ];

    /// The name in the outbox; the file name of its schema in docs/events/.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SubmissionCreated => "submission.created",
            Self::SubmissionImported => "submission.imported",
            Self::SubmissionErased => "submission.erased",
            Self::SubmissionReappeared => "submission.reappeared",
            Self::KycAttemptAdded => "kyc.attempt_added",
            Self::KycAttemptChanged => "kyc.attempt_changed",
            Self::KycResultChanged => "kyc.result_changed",
            Self::KycDetailChanged => "kyc.detail_changed",
            Self::AmlStatusChanged => "aml.status_changed",
            Self::AmlRedFlagRaised => "aml.red_flag_raised",
            Self::AmlRedFlagCleared => "aml.red_flag_cleared",
            Self::AmlMatchAdded => "aml.match_added",
            Self::AmlMatchChanged => "aml.match_changed",
            Self::AmlMatchRemoved => "aml.match_removed",
            Self::AmlRiskChanged => "aml.risk_changed",
            Self::BankVerificationChanged => "bank_verification.changed",
            Self::InjectionPerformed => "injection.performed",
            Self::SubmissionUpdated => "submission.updated",
            Self::ProjectImportCompleted => "project.import_completed",
        }
    }
}

/// An event before it is known which version it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Its type.
    pub kind: EventType,
    /// What it is about, where a version can hold several of the type; enters the id only.
    pub key: String,
    /// Place among equal keys.
    pub place: u32,
    /// Whether the vendor's times tell of a state in between that no poll saw.
    pub inferred: bool,
    /// What it tells, beside what every event tells.
    pub body: Value,
}

impl Draft {
    /// An event that is alone of its type and key.
    pub fn new(kind: EventType, key: &str, body: Value) -> Self {
        Self { kind, key: key.to_owned(), place: 0, inferred: false, body }
    }
}

/// The version that events belong to, and how it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The project's id.
    pub project_id: &'a str,
    /// The vendor's id.
    pub submission_id: &'a str,
    /// The version's number.
    pub version: i64,
    /// The version's id.
    pub version_id: &'a Hash,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// In which view.
    pub view: View,
    /// By which lane.
    pub lane: Lane,
    /// Whether the setting adds `userid` (it may be an e-mail address).
    pub include_userid: bool,
}

/// A row of the outbox, but for its position.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub kind: EventType,
    /// The submission, or `None` for an event of the project.
    pub submission_id: Option<String>,
    /// The submission's version, or `None` for an event of the project.
    pub version: Option<i64>,
    /// Order within the version, from 0.
    pub ordinal: i32,
    /// The payload; see docs/events/.
    pub payload: Value,
}

/// Turns the drafts of one version into its events.
pub fn events(drafts: Vec<Draft>, state: &State, context: &Context<'_>, key: &HashKey) -> Vec<Event> {
    let finish = |(ordinal, draft): (usize, Draft)| {
        let mut payload = Map::new();
        payload.insert("schema_version".to_owned(), json!(1));
        payload.insert("type".to_owned(), json!(draft.kind.as_str()));
        payload.insert("project".to_owned(), json!(context.project_id));
        payload.insert("submission_id".to_owned(), json!(context.submission_id));
        payload.insert("version".to_owned(), json!(context.version));
        payload.insert("observed_at".to_owned(), json!(time::format(context.observed_at)));
        payload.insert("view".to_owned(), json!(context.view.as_str()));
        payload.insert("lane".to_owned(), json!(context.lane.as_str()));
        payload.insert("inferred".to_owned(), json!(draft.inferred));
        payload.insert("vendor_times".to_owned(), vendor_times(state));
        if context.include_userid {
            payload.insert("userid".to_owned(), json!(state.text(&["userid"])));
        }
        if let Value::Object(body) = draft.body {
            payload.extend(body);
        }
        Event {
            id: key.event(context.version_id, draft.kind.as_str(), &draft.key, draft.place),
            kind: draft.kind,
            submission_id: Some(context.submission_id.to_owned()),
            version: Some(context.version),
            ordinal: ordinal as i32,
            payload: Value::Object(payload),
        }
    };
    drafts.into_iter().enumerate().map(finish).collect()
}

/// The event that ends a project's first complete read.
pub fn import_completed(project_id: &str, import_number: i32, at: Timestamp, submissions: i64, key: &HashKey) -> Event {
    let kind = EventType::ProjectImportCompleted;
    let payload = json!({
        "schema_version": 1,
        "type": kind.as_str(),
        "project": project_id,
        "import_number": import_number,
        "observed_at": time::format(at),
        "submissions": submissions,
    });
    let id = key.project_event(project_id, kind.as_str(), import_number);
    Event { id, kind, submission_id: None, version: None, ordinal: 0, payload }
}

/// The vendor's own times, where it gives readable ones.
fn vendor_times(state: &State) -> Value {
    const NAMES: &[&str] = &["created_at", "updated_at", "pending_at", "kyc_result_at"];
    let readable = |name: &&str| Some(((*name).to_owned(), json!(time::format(time::parse(state.text(&[name])?)?))));
    Value::Object(NAMES.iter().filter_map(readable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-03-01T00:00:00Z";

    fn key() -> HashKey {
        HashKey::new([7; 32])
    }

    fn told(item: &Value, include_userid: bool) -> Vec<Event> {
        let context = Context {
            project_id: "p",
            submission_id: "s",
            version: 3,
            version_id: &[1; 32],
            observed_at: AT.parse().unwrap(),
            view: View::Id,
            lane: Lane::Refresh,
            include_userid,
        };
        let drafts = vec![
            Draft { place: 2, inferred: true, ..Draft::new(EventType::KycAttemptAdded, "k", json!({"to": 1})) },
            Draft::new(EventType::SubmissionUpdated, "", json!({"changed": []})),
        ];
        events(drafts, &State::of(item), &context, &key())
    }

    #[test]
    fn an_event_tells_its_version_the_vendors_readable_times_and_its_own_body() {
        let item = json!({"userid": "u", "created_at": "2026-02-01", "pending_at": "soon", "email": "e"});
        let told = told(&item, false);
        assert_eq!(
            told[0].payload,
            json!({"schema_version": 1, "type": "kyc.attempt_added", "project": "p", "submission_id": "s", "version": 3,
                "observed_at": "2026-03-01T00:00:00.000000Z", "view": "id", "lane": "refresh", "inferred": true,
                "vendor_times": {"created_at": "2026-02-01T00:00:00.000000Z"}, "to": 1})
        );
        assert_eq!(told[1].payload["inferred"], json!(false));
        let rows = told.iter().map(|event| (event.kind, event.submission_id.as_deref(), event.version, event.ordinal));
        let expected = [
            (EventType::KycAttemptAdded, Some("s"), Some(3), 0),
            (EventType::SubmissionUpdated, Some("s"), Some(3), 1),
        ];
        assert!(rows.eq(expected));
        let ids = [("kyc.attempt_added", "k", 2), ("submission.updated", "", 0)];
        assert!(
            told.iter()
                .map(|event| event.id)
                .eq(ids.map(|(kind, name, place)| key().event(&[1; 32], kind, name, place)))
        );
    }

    #[test]
    fn p11_userid_is_told_only_where_the_setting_adds_it() {
        let item = json!({"userid": "u"});
        assert_eq!(told(&item, false)[0].payload.get("userid"), None);
        assert_eq!(told(&item, true)[0].payload["userid"], json!("u"));
    }

    #[test]
    fn the_end_of_an_import_is_an_event_of_the_project() {
        let event = import_completed("p", 2, AT.parse().unwrap(), 40, &key());
        let expected = json!({"schema_version": 1, "type": "project.import_completed", "project": "p", "import_number": 2,
            "observed_at": "2026-03-01T00:00:00.000000Z", "submissions": 40});
        assert_eq!(event.payload, expected);
        assert_eq!((event.submission_id, event.version, event.ordinal), (None, None, 0));
        assert_eq!(event.id, key().project_event("p", "project.import_completed", 2));
    }
}
