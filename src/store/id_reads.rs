//! `id_reads`: submissions that are to be read by id as soon as the budget allows.

use chrono::TimeDelta;
use sqlx::PgConnection;

use super::error::StoreError;
use crate::clock::Timestamp;
use crate::domain::lane::View;

/// Why a submission is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Somebody asked.
    Refresh,
    /// A list showed an older state.
    Lag,
    /// A list showed what is gone or erased.
    Reappeared,
    /// Lists lack fields.
    Details,
    /// Its created_at cannot be read.
    NoDate,
}

impl Reason {
    /// The name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Lag => "lag",
            Self::Reappeared => "reappeared",
            Self::Details => "details",
            Self::NoDate => "no_date",
        }
    }
}

/// The most submissions that [`undated`] gives at once.
const AT_ONCE: i64 = 100;

/// How long a submission that cannot be read is put off.
pub(super) const PUT_OFF: TimeDelta = TimeDelta::minutes(10);

/// Queues submissions; one that waits already keeps its place and its reason, unless it waits for its details alone.
pub async fn push(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
    reason: Reason,
    at: Timestamp,
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into argos.id_reads (project_id, submission_id, reason, requested_at)
         select $1, id, $3, $4 from unnest($2::text[]) id
             on conflict (project_id, submission_id) do update
            set reason = excluded.reason, requested_at = excluded.requested_at
          where id_reads.reason = 'details' and excluded.reason <> 'details'",
        project_id,
        ids,
        reason.as_str(),
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("queueing submissions to be read"))?;
    Ok(())
}

/// The submission that has waited longest, and why; `None`: none waits. It stays queued until [`done`]. Those that lists
/// show without details come last: they may be very many.
pub async fn next(
    connection: &mut PgConnection,
    project_id: &str,
    now: Timestamp,
) -> Result<Option<(String, String)>, StoreError> {
    // Later than anything is put off: asked for before the clock went back.
    let row = sqlx::query!(
        "select submission_id, reason from argos.id_reads
          where project_id = $1 and (requested_at <= $2 or requested_at > $3)
          order by reason = 'details', requested_at, submission_id limit 1",
        project_id,
        now,
        now + PUT_OFF
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("looking for a submission to be read"))?;
    Ok(row.map(|row| (row.submission_id, row.reason)))
}

/// Puts a submission off, if it waits: others come first, and it counts as asked for in ten minutes.
pub async fn put_off(
    connection: &mut PgConnection,
    project_id: &str,
    submission_id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update argos.id_reads set requested_at = $3 where project_id = $1 and submission_id = $2",
        project_id,
        submission_id,
        now + PUT_OFF
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("putting a submission off"))?;
    Ok(())
}

/// Takes a submission out of the queue.
pub async fn done(connection: &mut PgConnection, project_id: &str, submission_id: &str) -> Result<(), StoreError> {
    sqlx::query!("delete from argos.id_reads where project_id = $1 and submission_id = $2", project_id, submission_id)
        .execute(connection)
        .await
        .map_err(StoreError::doing("taking a submission out of the queue"))?;
    Ok(())
}

/// Queues submissions that were never read by id, at most so many: those that lists showed before it was known that they
/// lack fields. Returns how many.
pub async fn push_never_read(
    connection: &mut PgConnection,
    project_id: &str,
    most: u64,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "insert into argos.id_reads (project_id, submission_id, reason, requested_at)
         select s.project_id, s.submission_id, $2, $3
           from argos.submissions s
          where s.project_id = $1 and s.gone_at is null
            and not exists (select from argos.submission_views v
                             where v.project_id = s.project_id and v.submission_id = s.submission_id and v.view = $4)
            and not exists (select from argos.id_reads r
                             where r.project_id = s.project_id and r.submission_id = s.submission_id)
          limit $5
             on conflict do nothing",
        project_id,
        Reason::Details.as_str(),
        at,
        View::Id.as_str(),
        i64::try_from(most).unwrap_or(i64::MAX)
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("queueing submissions without details"))?;
    Ok(done.rows_affected())
}

/// Submissions whose created_at cannot be read and whose state is from before `older_than`: no walk with dates need show
/// them, so they are asked for by id from time to time. At most 100, those first that were observed longest ago.
pub async fn undated(
    connection: &mut PgConnection,
    project_id: &str,
    older_than: Timestamp,
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar!(
        "select submission_id from argos.submissions
          where project_id = $1 and created_at is null and gone_at is null and observed_at < $2
          order by observed_at, submission_id limit $3",
        project_id,
        older_than,
        AT_ONCE
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("looking for submissions without a date"))
}
