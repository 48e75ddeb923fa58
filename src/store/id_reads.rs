//! `id_reads` and `id_checks`: submissions that are to be read by id as soon as the budget allows, and which were.

use std::collections::HashSet;

use chrono::TimeDelta;
use sqlx::PgConnection;

use super::error::StoreError;
use crate::clock::Timestamp;
use crate::domain::calendar::EARLIEST;
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

/// Queues submissions; one that waits already keeps its place and its reason, unless it waits for its details alone. One
/// that was read in vain for what lists show of it rests: see [`checked`].
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
          where $3 not in ('lag', 'reappeared')
             or not exists (select from argos.id_checks c
                             where c.project_id = $1 and c.submission_id = id and c.not_before > $4)
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

/// Takes a submission out of the queue. Returns whether it may be queued again by itself, for what lists or the probe see.
pub async fn done(connection: &mut PgConnection, project_id: &str, submission_id: &str) -> Result<bool, StoreError> {
    let reason = sqlx::query_scalar!(
        "delete from argos.id_reads where project_id = $1 and submission_id = $2 returning reason",
        project_id,
        submission_id
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("taking a submission out of the queue"))?;
    let again = [Reason::Lag, Reason::Reappeared, Reason::NoDate].map(Reason::as_str);
    Ok(reason.is_some_and(|reason| again.contains(&reason.as_str())))
}

/// Notes that a submission was read by id for what lists show of it. `in_vain`: nothing came of it. Then it rests, five
/// minutes first, twice as long each time, a day at most: what a list goes on showing must not cost a request at every
/// poll.
pub async fn checked(
    connection: &mut PgConnection,
    project_id: &str,
    submission_id: &str,
    at: Timestamp,
    in_vain: bool,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into argos.id_checks as c (project_id, submission_id, checked_at, in_vain, not_before)
         select project_id, submission_id, $3::timestamptz, $4::boolean::integer,
                case when $4 then $3 + interval '5 minutes' else $3 end
           from argos.submissions where project_id = $1 and submission_id = $2
             on conflict (project_id, submission_id) do update
            set checked_at = excluded.checked_at,
                in_vain = case when $4 then least(c.in_vain + 1, 10) else 0 end,
                not_before = case when $4 then $3 + least(interval '5 minutes' * 2 ^ c.in_vain, interval '1 day')
                                  else $3 end",
        project_id,
        submission_id,
        at,
        in_vain
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting that a submission was read by id"))?;
    Ok(())
}

/// Notes that answers by id show submissions of which fields were erased. What is noted already writes nothing.
pub async fn answered(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
    at: Timestamp,
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into argos.id_checks as c (project_id, submission_id, checked_at, in_vain, not_before, answered_at)
         select $1, id, $3, 0, $3, $3 from unnest($2::text[]) id
             on conflict (project_id, submission_id) do update set answered_at = excluded.answered_at
          where c.answered_at is null",
        project_id,
        ids,
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting that submissions answer by id"))?;
    Ok(())
}

/// Which of these submissions have [`answered`] by id.
pub async fn vouched(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
) -> Result<HashSet<String>, StoreError> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = sqlx::query_scalar!(
        "select submission_id from argos.id_checks
          where project_id = $1 and submission_id = any($2) and answered_at is not null",
        project_id,
        ids
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("looking for submissions that answer by id"))?;
    Ok(rows.into_iter().collect())
}

/// Forgets how a submission was read by id: after an erasure that says nothing any more.
pub async fn forget_checks(
    connection: &mut PgConnection,
    project_id: &str,
    submission_id: &str,
) -> Result<(), StoreError> {
    sqlx::query!("delete from argos.id_checks where project_id = $1 and submission_id = $2", project_id, submission_id)
        .execute(connection)
        .await
        .map_err(StoreError::doing("forgetting how a submission was read by id"))?;
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

/// Submissions whose created_at cannot be read, or lies where no walk asks, and whose state is from before `older_than`: no walk with dates need show
/// them, so they are asked for by id from time to time. At most 100, those first that were read by id longest ago: each
/// has its turn.
pub async fn undated(
    connection: &mut PgConnection,
    project_id: &str,
    older_than: Timestamp,
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar!(
        "select s.submission_id
           from argos.submissions s
           left join argos.id_checks c on c.project_id = s.project_id and c.submission_id = s.submission_id
          where s.project_id = $1 and s.gone_at is null and s.observed_at < $2
            and (s.created_at is null or s.created_at < $4::date or s.created_at > $2 + interval '2 days')
          order by coalesce(c.checked_at, s.observed_at), s.submission_id limit $3",
        project_id,
        older_than,
        AT_ONCE,
        EARLIEST
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("looking for submissions without a date"))
}
