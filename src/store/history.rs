//! `submission_versions`: every state seen, in order.

use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::error::{StoreError, touched};
use super::mirror::{Write, bytea};
use crate::domain::lane::{Lane, View};
use crate::domain::time;

/// How an answer came about; what every version row tells of its origin.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// In which view.
    pub view: View,
    /// By which lane.
    pub lane: Lane,
    /// Under which lease epoch.
    pub lease_epoch: i64,
    /// The request's number within the epoch. Answers are applied in this order.
    pub request_no: i64,
}

/// Appends one version row per write: (the write, names of changed fields, cause).
pub async fn append(
    connection: &mut PgConnection,
    project_id: &str,
    origin: Origin,
    versions: &[(&Write<'_>, &[String], &'static str)],
) -> Result<(), StoreError> {
    let rows: Vec<Value> = versions
        .iter()
        .map(|(write, changed, cause)| {
            json!({
                "project_id": project_id,
                "submission_id": write.submission.submission_id,
                "version": write.version,
                "version_id": bytea(&write.version_id),
                "item": write.submission.item,
                "changed": changed,
                "cause": cause,
                "view": origin.view.as_str(),
                "lane": origin.lane.as_str(),
                "lease_epoch": origin.lease_epoch,
                "request_no": origin.request_no,
                "observed_at": time::format(write.observed_at),
            })
        })
        .collect();
    let done = sqlx::query!(
        "insert into argos.submission_versions
         select r.* from jsonb_populate_recordset(null::argos.submission_versions, $1) r",
        Json(rows) as _
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("appending versions"))?;
    touched("appending versions", done.rows_affected(), versions.len() as u64)
}
