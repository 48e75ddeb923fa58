//! Fields and values that no document names, counted by name.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::error::StoreError;
use crate::clock::Timestamp;
use crate::domain::drift::Named;

/// A name that no document has.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Name {
    /// `unknown_field` or `unknown_value`.
    pub kind: String,
    /// The field's path, or field=value.
    pub name: String,
    /// How often it was met.
    pub count: i64,
    /// When it was met last.
    pub last_seen_at: Timestamp,
}

/// The names with their counts: values first, then fields, each by name.
pub async fn counted(connection: &mut PgConnection, project_id: &str) -> Result<Vec<Name>, StoreError> {
    sqlx::query_as!(
        Name,
        "select kind, name, count, last_seen_at from argos.drift where project_id = $1 order by kind desc, name",
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading the counts of oddities"))
}

/// The names that are stored: (kind, name).
pub async fn names(connection: &mut PgConnection, project_id: &str) -> Result<BTreeSet<(String, String)>, StoreError> {
    let rows = sqlx::query!("select kind, name from argos.drift where project_id = $1", project_id)
        .fetch_all(connection)
        .await
        .map_err(StoreError::doing("reading the names of oddities"))?;
    Ok(rows.into_iter().map(|row| (row.kind, row.name)).collect())
}

/// Adds to the counts of names.
pub async fn add(
    connection: &mut PgConnection,
    project_id: &str,
    counts: &BTreeMap<(Named, String), u64>,
    at: Timestamp,
) -> Result<(), StoreError> {
    // By name, so that rows are always locked in the same order.
    let kinds: Vec<String> = counts.keys().map(|(named, _)| named.as_str().to_owned()).collect();
    let names: Vec<String> = counts.keys().map(|(_, name)| name.clone()).collect();
    let by: Vec<i64> = counts.values().map(|count| i64::try_from(*count).unwrap_or(i64::MAX)).collect();
    sqlx::query!(
        "insert into argos.drift as d (project_id, kind, name, count, first_seen_at, last_seen_at)
         select $1, kind, name, count, $5, $5
           from unnest($2::text[], $3::text[], $4::bigint[]) as n (kind, name, count)
             on conflict (project_id, kind, name) do update
            set count = d.count + excluded.count, last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at)",
        project_id,
        &kinds,
        &names,
        &by,
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("counting oddities by name"))?;
    Ok(())
}

/// How many submissions have an AML status that no document names: neither Red Flag nor Not Screened. Reads a partial
/// index that holds nothing else.
pub async fn unknown_aml(connection: &mut PgConnection, project_id: &str) -> Result<i64, StoreError> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from argos.submissions
            where project_id = $1 and gone_at is null
              and not argos.is_known_aml_status(coalesce(aml_currentstatus, item #>> '{aml,currentstatus}'))"#,
        project_id
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("counting unknown AML statuses"))
}

/// The same for a role that may not read items, which hold personal data: a status that is no text is not counted then.
pub async fn unknown_aml_as_allowed(connection: &mut PgConnection, project_id: &str) -> Result<i64, StoreError> {
    let doing = "counting unknown AML statuses";
    let items = sqlx::query_scalar!(r#"select has_column_privilege('argos.submissions', 'item', 'select') as "may!""#)
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::doing(doing))?;
    if items {
        return unknown_aml(connection, project_id).await;
    }
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from argos.submissions
            where project_id = $1 and gone_at is null
              and not argos.is_known_aml_status(aml_currentstatus)"#,
        project_id
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing(doing))
}
