//! `submission_versions`: every state seen, in order.

use std::collections::HashMap;

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
        "insert into argos.submission_versions (project_id, submission_id, version, version_id, item, changed, cause, view,
                                                lane, lease_epoch, request_no, observed_at)
         select project_id, submission_id, version, version_id, item, changed, cause, view,
                lane, lease_epoch, request_no, observed_at
           from jsonb_populate_recordset(null::argos.submission_versions, $1)",
        Json(rows) as _
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("appending versions"))?;
    touched("appending versions", done.rows_affected(), versions.len() as u64)
}

/// The items that an answer by id replaced: for each submission whose current version was seen by id, the item of the
/// version before.
pub async fn before_id_answers(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
) -> Result<HashMap<String, Value>, StoreError> {
    let rows = sqlx::query!(
        r#"select s.submission_id, before.item as "item!: Json<Value>"
             from argos.submissions s
             join argos.submission_versions v
               on v.project_id = s.project_id and v.submission_id = s.submission_id and v.version = s.version
             join argos.submission_versions before
               on before.project_id = s.project_id and before.submission_id = s.submission_id
              and before.version = s.version - 1
            where s.project_id = $1 and s.submission_id = any($2) and v.view = 'id' and before.item is not null"#,
        project_id,
        ids
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading what an answer by id replaced"))?;
    Ok(rows.into_iter().map(|row| (row.submission_id, row.item.0)).collect())
}

/// How many versions are rewritten at once: a submission may have many, and each may be large.
const BATCH: i64 = 50;

/// Reduces the items of all versions before one: the one exception to "only inserted". Returns how many there were.
pub async fn reduce(
    connection: &mut PgConnection,
    project_id: &str,
    submission_id: &str,
    before: i64,
    reduced: impl Fn(&Value) -> Value,
) -> Result<u64, StoreError> {
    let doing = "erasing from older versions";
    let (mut done, mut after) = (0, 0);
    loop {
        let rows = sqlx::query!(
            r#"select version, item as "item!: Json<Value>" from argos.submission_versions
                where project_id = $1 and submission_id = $2 and version > $3 and version < $4 and item is not null
                order by version limit $5"#,
            project_id,
            submission_id,
            after,
            before,
            BATCH
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::doing(doing))?;
        let Some(last) = rows.last() else { return Ok(done) };
        after = last.version;
        done += rows.len() as u64;
        let changed = rows.into_iter().filter_map(|row| {
            let left = reduced(&row.item.0);
            (left != row.item.0).then(|| json!({"version": row.version, "item": left}))
        });
        let changed: Vec<Value> = changed.collect();
        sqlx::query!(
            "update argos.submission_versions v set item = r.item
               from jsonb_to_recordset($3) as r (version bigint, item jsonb)
              where v.project_id = $1 and v.submission_id = $2 and v.version = r.version",
            project_id,
            submission_id,
            Json(changed) as _
        )
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing(doing))?;
    }
}
