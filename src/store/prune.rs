//! What has been kept long enough goes: one batch per call, so that no statement is long and no lock is held for long.
//!
//! A batch begins where the one before it ended. The caller keeps that place in memory and begins anew with each lease;
//! without it, every batch would first pass all that earlier ones have left: rows of other projects, index entries of
//! rows that are gone, versions that are emptied.

use sqlx::PgConnection;

use super::error::StoreError;
use crate::clock::Timestamp;

/// What a batch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<Place> {
    /// Rows deleted, or emptied. It may be 0 although there is more.
    pub rows: u64,
    /// Where the next one begins.
    pub place: Place,
    /// Whether the next one may find something.
    pub more: bool,
}

/// A place in the order in which a project's versions were observed: (when, submission_id, version).
pub type Observed = (Timestamp, String, i64);

/// Deletes a project's events of `before` or earlier among the next `size` rows of the outbox after position `after`.
///
/// From the low end upwards, and never past an event that must stay: of each project's events, those that are left are
/// the last ones, whatever a clock said when one of them was recorded. Other projects' events are not touched: their
/// daemon may have been told to keep them.
pub async fn outbox(
    connection: &mut PgConnection,
    project_id: &str,
    before: Timestamp,
    after: i64,
    size: u32,
) -> Result<Batch<i64>, StoreError> {
    let doing = "pruning the outbox";
    let rows = sqlx::query!(
        r#"select position, recorded_at, project_id = $1 as "ours!"
             from argos.outbox
            where position > $2
            order by position
            limit $3"#,
        project_id,
        after,
        i64::from(size)
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    let passed = rows.iter().take_while(|row| !row.ours || row.recorded_at <= before).count();
    let place = rows[..passed].last().map_or(after, |row| row.position);
    let old: Vec<i64> = rows[..passed].iter().filter(|row| row.ours).map(|row| row.position).collect();
    let mut deleted = 0;
    if !old.is_empty() {
        let done = sqlx::query!("delete from argos.outbox where position = any($1)", &old)
            .execute(connection)
            .await
            .map_err(StoreError::doing(doing))?;
        deleted = done.rows_affected();
    }
    Ok(Batch { rows: deleted, place, more: passed == size as usize })
}

/// Empties the bodies of states that were replaced at `before` or earlier, among the next `size` replacements after a
/// place. The rows stay: the chain of version ids, what changed and when can be shown for ever.
///
/// A state is as old as its replacement: within the retention the whole history can be told, also of a submission that
/// did not change for years before. And the current state, which nothing has replaced, is never emptied.
pub async fn versions(
    connection: &mut PgConnection,
    project_id: &str,
    before: Timestamp,
    after: Option<&Observed>,
    size: u32,
) -> Result<Batch<Option<Observed>>, StoreError> {
    let doing = "pruning versions";
    let later = sqlx::query!(
        "select submission_id, version, observed_at
           from argos.submission_versions
          where project_id = $1 and version > 1 and observed_at <= $2
            and (observed_at, submission_id, version)
                > (coalesce($3, '-infinity'::timestamptz), coalesce($4, ''), coalesce($5, 0::bigint))
          order by observed_at, submission_id, version
          limit $6",
        project_id,
        before,
        after.map(|place| place.0),
        after.map(|place| place.1.as_str()),
        after.map(|place| place.2),
        i64::from(size)
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    let Some(last) = later.last() else { return Ok(Batch { rows: 0, place: after.cloned(), more: false }) };
    let place = Some((last.observed_at, last.submission_id.clone(), last.version));
    let more = later.len() == size as usize;
    let (ids, replaced): (Vec<String>, Vec<i64>) =
        later.into_iter().map(|row| (row.submission_id, row.version - 1)).unzip();
    let done = sqlx::query!(
        "update argos.submission_versions v
            set item = null
           from unnest($2::text[], $3::bigint[]) as old (submission_id, version)
          where v.project_id = $1 and v.submission_id = old.submission_id and v.version = old.version
            and v.item is not null -- what is empty already is not written again",
        project_id,
        &ids,
        &replaced
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing(doing))?;
    Ok(Batch { rows: done.rows_affected(), place, more })
}

/// Deletes up to `size` items of a project's quarantine whose time is over.
pub async fn quarantine(
    connection: &mut PgConnection,
    project_id: &str,
    at: Timestamp,
    size: u32,
) -> Result<Batch<()>, StoreError> {
    let done = sqlx::query!(
        "delete from argos.quarantine
          where project_id = $1
            and body_hash = any(array(select body_hash from argos.quarantine
                                       where project_id = $1 and expires_at <= $2
                                       order by expires_at
                                       limit $3))",
        project_id,
        at,
        i64::from(size)
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("pruning the quarantine"))?;
    let rows = done.rows_affected();
    Ok(Batch { rows, place: (), more: rows == u64::from(size) })
}
