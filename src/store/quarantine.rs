//! Items that could not be used, kept as they were sent.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::error::StoreError;
use super::history::Origin;
use super::mirror::bytea;
use crate::clock::Timestamp;
use crate::domain::hash::Hash;
use crate::domain::time;

/// An item to keep.
pub struct Quarantined<'a> {
    /// Keyed hash of its bytes; a repeat writes nothing.
    pub body_hash: Hash,
    /// Its id, if it has a usable one.
    pub submission_id: Option<&'a str>,
    /// Why, by name.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub detail: &'static str,
    /// Its bytes, as far as they are kept.
    pub body: &'a str,
}

/// Keeps items until `retention` is over; returns the reasons of those that are new.
pub async fn keep(
    connection: &mut PgConnection,
    project_id: &str,
    origin: Origin,
    items: &[Quarantined<'_>],
    at: Timestamp,
    retention: Duration,
) -> Result<Vec<String>, StoreError> {
    let expires_at = at + retention;
    let rows: Vec<Value> = items
        .iter()
        .map(|item| {
            json!({
                "project_id": project_id,
                "body_hash": bytea(&item.body_hash),
                "submission_id": item.submission_id,
                "reason": item.reason,
                "detail": item.detail,
                "body": item.body,
                "view": origin.view.as_str(),
                "lane": origin.lane.as_str(),
                "first_seen_at": time::format(at),
                "expires_at": time::format(expires_at),
            })
        })
        .collect();
    sqlx::query_scalar!(
        "insert into argos.quarantine (project_id, body_hash, submission_id, reason, detail, body, view, lane,
                                       first_seen_at, expires_at)
         select project_id, body_hash, submission_id, reason, detail, body, view, lane, first_seen_at, expires_at
           from jsonb_populate_recordset(null::argos.quarantine, $1)
             on conflict do nothing
      returning reason",
        Json(rows) as _
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("writing to the quarantine"))
}

/// Removes what is kept of submissions that the vendor serves well again.
pub async fn heal(connection: &mut PgConnection, project_id: &str, ids: &[String]) -> Result<(), StoreError> {
    sqlx::query!("delete from argos.quarantine where project_id = $1 and submission_id = any($2)", project_id, ids)
        .execute(connection)
        .await
        .map_err(StoreError::doing("clearing the quarantine"))?;
    Ok(())
}
