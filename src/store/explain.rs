//! What `argos-sync explain` reads of one submission: no field of it but its states and codes.

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use super::error::StoreError;
use crate::clock::Timestamp;

/// A submission's row, without what it says of a person.
#[derive(Clone, Debug, Serialize)]
pub struct Submission {
    /// Its version.
    pub version: i64,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// When its last change was seen.
    pub changed_at: Timestamp,
    /// When the state was last written.
    pub observed_at: Timestamp,
    /// Its created-day (UTC).
    pub created_day: NaiveDate,
    /// Whether its created_at could be read.
    pub dated: bool,
    /// kyc.result.
    pub kyc_result: Option<String>,
    /// aml.currentstatus.
    pub aml_status: Option<String>,
    /// When the vendor had confirmed twice that it is gone.
    pub gone_at: Option<Timestamp>,
    /// Names of the fields that the vendor removed, erased or marked here.
    pub removed_fields: Option<Vec<String>>,
}

/// A version.
#[derive(Clone, Debug, Serialize)]
pub struct Version {
    /// Its number.
    pub version: i64,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// In which view.
    pub view: String,
    /// By which lane.
    pub lane: String,
    /// Why it was written.
    pub cause: String,
    /// Names of the fields that differ from the version before.
    pub changed: Vec<String>,
    /// The writer's lease epoch.
    pub lease_epoch: i64,
    /// The number of the request within it.
    pub request_no: i64,
}

/// An event.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Its position.
    pub position: i64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its version.
    pub version: Option<i64>,
    /// When it was written.
    pub recorded_at: Timestamp,
    /// The payload's `from`, where it has one.
    pub from: Option<Value>,
    /// The payload's `to`, where it has one.
    pub to: Option<Value>,
}

/// An item in quarantine.
#[derive(Clone, Debug, Serialize)]
pub struct Quarantined {
    /// Why, by name.
    pub reason: String,
    /// Why, in a sentence.
    pub detail: String,
    /// In which view it was served.
    pub view: String,
    /// To which lane.
    pub lane: String,
    /// When it was first served.
    pub first_seen_at: Timestamp,
    /// When it is removed.
    pub expires_at: Timestamp,
}

/// A view that has shown it.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Its name.
    pub view: String,
    /// The version that its last answer was compared with.
    pub version: i64,
}

/// A wait to be read by id.
#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    /// Why.
    pub reason: String,
    /// Since when.
    pub requested_at: Timestamp,
}

/// A suspicion that the vendor deleted it, wholly or in part.
#[derive(Clone, Debug, Serialize)]
pub struct Suspicion {
    /// `gone`, `blanked` or `fields`.
    pub kind: String,
    /// Names of what is missing.
    pub fields: Vec<String>,
    /// Which walk noticed it.
    pub lane: String,
    /// When it was noticed.
    pub noticed_at: Timestamp,
    /// When it was confirmed by id.
    pub confirmed_at: Vec<Timestamp>,
    /// When it is looked at next, unless it is held.
    pub next_check_at: Timestamp,
    /// When an operator released it.
    pub released_at: Option<Timestamp>,
    /// Since when the project's erasures wait for an operator.
    pub held_since: Option<Timestamp>,
}

/// A receipt of an erasure.
#[derive(Clone, Debug, Serialize)]
pub struct Erased {
    /// The version that it wrote.
    pub version: i64,
    /// `gone`, `blanked` or `fields`.
    pub kind: String,
    /// `erase`, or `hold`: kept and marked.
    pub mode: String,
    /// Names of the fields that were removed.
    pub fields: Vec<String>,
    /// When it was carried out.
    pub executed_at: Timestamp,
    /// When the vendor showed it again.
    pub reappeared_at: Option<Timestamp>,
}

/// Reads a submission's row; `None`: it is not known.
pub async fn submission(
    connection: &mut PgConnection,
    project_id: &str,
    id: &str,
) -> Result<Option<Submission>, StoreError> {
    sqlx::query_as!(
        Submission,
        r#"select version, first_seen_at, changed_at, observed_at, created_day, created_at is not null as "dated!",
                  kyc_result, aml_currentstatus as aml_status, gone_at, removed_fields
             from argos.submissions where project_id = $1 and submission_id = $2"#,
        project_id,
        id
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("reading the submission"))
}

/// Reads its versions, first one first.
pub async fn versions(connection: &mut PgConnection, project_id: &str, id: &str) -> Result<Vec<Version>, StoreError> {
    sqlx::query_as!(
        Version,
        "select version, observed_at, view, lane, cause, changed, lease_epoch, request_no
           from argos.submission_versions where project_id = $1 and submission_id = $2 order by version",
        project_id,
        id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading the submission's versions"))
}

/// Reads its events, first one first; those that retention has removed are not among them.
pub async fn events(connection: &mut PgConnection, project_id: &str, id: &str) -> Result<Vec<Event>, StoreError> {
    sqlx::query_as!(
        Event,
        r#"select position, type as kind, version, recorded_at, payload -> 'from' as "from?", payload -> 'to' as "to?"
             from argos.outbox where project_id = $1 and submission_id = $2 order by position"#,
        project_id,
        id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading the submission's events"))
}

/// Reads which views have shown it.
pub async fn views(connection: &mut PgConnection, project_id: &str, id: &str) -> Result<Vec<View>, StoreError> {
    sqlx::query_as!(
        View,
        "select view, version from argos.submission_views where project_id = $1 and submission_id = $2 order by view",
        project_id,
        id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading the submission's views"))
}

/// Reads what the quarantine holds under its id.
pub async fn quarantine(
    connection: &mut PgConnection,
    project_id: &str,
    id: &str,
) -> Result<Vec<Quarantined>, StoreError> {
    sqlx::query_as!(
        Quarantined,
        "select reason, detail, view, lane, first_seen_at, expires_at
           from argos.quarantine where project_id = $1 and submission_id = $2 order by first_seen_at",
        project_id,
        id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("looking into the quarantine"))
}

/// Reads whether it waits to be read by id.
pub async fn waiting(connection: &mut PgConnection, project_id: &str, id: &str) -> Result<Option<Waiting>, StoreError> {
    sqlx::query_as!(
        Waiting,
        "select reason, requested_at from argos.id_reads where project_id = $1 and submission_id = $2",
        project_id,
        id
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("looking whether the submission waits to be read"))
}

/// Reads whether it seems to be deleted.
pub async fn suspicion(
    connection: &mut PgConnection,
    project_id: &str,
    id: &str,
) -> Result<Option<Suspicion>, StoreError> {
    sqlx::query_as!(
        Suspicion,
        r#"select kind, fields, lane, noticed_at, confirmed_at, next_check_at, released_at,
                  (select since from argos.erasure_holds h where h.project_id = e.project_id) as held_since
             from argos.erasures e where project_id = $1 and submission_id = $2"#,
        project_id,
        id
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("looking for a suspicion"))
}

/// Reads the receipts of its erasures, first one first.
pub async fn erased(connection: &mut PgConnection, project_id: &str, id: &str) -> Result<Vec<Erased>, StoreError> {
    sqlx::query_as!(
        Erased,
        "select version, kind, mode, fields, executed_at, reappeared_at
           from argos.erasure_receipts where project_id = $1 and submission_id = $2 order by version",
        project_id,
        id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading the submission's receipts"))
}
