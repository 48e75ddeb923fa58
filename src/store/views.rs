//! `submission_views` and `view_fields`: what each view has shown.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::error::StoreError;
use super::mirror::bytea;
use crate::clock::Timestamp;
use crate::domain::hash::Hash;
use crate::domain::lane::View;
use crate::domain::views::Fields;

/// The most fields that are kept per project and view, against a vendor that invents names.
const MOST_FIELDS: usize = 2000;

/// A view's row of a submission.
#[derive(Clone, Debug)]
pub struct ViewRow {
    /// The view's name.
    pub view: String,
    /// Fields that it has shown of the submission; `None`: every field of the stored item.
    pub shown: Option<Fields>,
}

/// A view's row to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewWrite {
    /// The view's name.
    pub view: String,
    /// The version that the hash was taken at.
    pub version: i64,
    /// Hash of the raw item, unless it must be looked at again next time.
    pub body_hash: Option<Hash>,
    /// Fields that it has shown of the submission; `None`: every field of the stored item.
    pub shown: Option<Fields>,
}

/// Reads the rows of submissions. Submissions without a row are not in the answer.
pub async fn of(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
) -> Result<HashMap<String, Vec<ViewRow>>, StoreError> {
    let rows = sqlx::query!(
        "select submission_id, view, shown from argos.submission_views
          where project_id = $1 and submission_id = any($2)",
        project_id,
        ids
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading what views have shown"))?;
    let mut all: HashMap<String, Vec<ViewRow>> = HashMap::new();
    for row in rows {
        let shown = row.shown.map(|fields| fields.into_iter().collect());
        all.entry(row.submission_id).or_default().push(ViewRow { view: row.view, shown });
    }
    Ok(all)
}

/// Writes rows: (submission, row).
pub async fn write(
    connection: &mut PgConnection,
    project_id: &str,
    rows: &[(&str, &ViewWrite)],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = rows
        .iter()
        .map(|(submission_id, row)| {
            json!({
                "project_id": project_id,
                "submission_id": submission_id,
                "view": row.view,
                "version": row.version,
                "body_hash": row.body_hash.as_ref().map(|hash| bytea(hash)),
                "shown": row.shown,
            })
        })
        .collect();
    sqlx::query!(
        "insert into argos.submission_views (project_id, submission_id, view, version, body_hash, shown)
         select project_id, submission_id, view, version, body_hash, shown
           from jsonb_populate_recordset(null::argos.submission_views, $1)
             on conflict (project_id, submission_id, view) do update
            set version = excluded.version, body_hash = excluded.body_hash, shown = excluded.shown",
        Json(rows) as _
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("writing what views have shown"))?;
    Ok(())
}

/// The fields that each view has ever shown in a project: (view, field).
pub async fn fields(connection: &mut PgConnection, project_id: &str) -> Result<HashSet<(String, String)>, StoreError> {
    let rows = sqlx::query!("select view, field from argos.view_fields where project_id = $1", project_id)
        .fetch_all(connection)
        .await
        .map_err(StoreError::doing("reading the fields of views"))?;
    Ok(rows.into_iter().map(|row| (row.view, row.field)).collect())
}

/// Notes fields that a view shows for the first time in the project. `known` is what [`fields`] read.
pub async fn note_fields(
    connection: &mut PgConnection,
    project_id: &str,
    view: View,
    known: &HashSet<(String, String)>,
    shown: &Fields,
    at: Timestamp,
) -> Result<(), StoreError> {
    let of_view = known.iter().filter(|(name, _)| name == view.as_str()).count();
    let new = shown.iter().filter(|field| !known.contains(&(view.as_str().to_owned(), (*field).clone())));
    let new: Vec<String> = new.take(MOST_FIELDS.saturating_sub(of_view)).cloned().collect();
    if new.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into argos.view_fields (project_id, view, field, first_seen_at)
         select $1, $2, field, $4 from unnest($3::text[]) field
             on conflict do nothing",
        project_id,
        view.as_str(),
        &new,
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting the fields of a view"))?;
    Ok(())
}
