//! The calendar of created-days: how many submissions, how many open, since when completely read, and whom a walk
//! missed.

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::error::StoreError;
use super::progress::Walk;
use crate::clock::Timestamp;
use crate::domain::calendar::{Calendar, Day, DayRange, EARLIEST};
use crate::domain::seen::{Digest, Seen};
use crate::domain::submission::OPEN;

/// Reads a project's calendar.
pub async fn load(connection: &mut PgConnection, project_id: &str) -> Result<Calendar, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "select day, submissions, open, covered_at, open_checked_at, verify_since
           from argos.created_days where project_id = $1 order by day",
        project_id
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::doing("reading the calendar"))?;
    with_walks(connection, project_id, rows).await
}

/// Reads a project's calendar as far as it concerns some days.
pub async fn of_days(
    connection: &mut PgConnection,
    project_id: &str,
    days: &[NaiveDate],
) -> Result<Calendar, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "select day, submissions, open, covered_at, open_checked_at, verify_since
           from argos.created_days where project_id = $1 and day = any($2) order by day",
        project_id,
        days
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::doing("reading some days of the calendar"))?;
    with_walks(connection, project_id, rows).await
}

struct Row {
    day: NaiveDate,
    submissions: i64,
    open: i64,
    covered_at: Option<Timestamp>,
    open_checked_at: Option<Timestamp>,
    verify_since: Option<Timestamp>,
}

async fn with_walks(connection: &mut PgConnection, project_id: &str, rows: Vec<Row>) -> Result<Calendar, StoreError> {
    let walked = sqlx::query!(
        "select fully_walked_at, early_walked_at, early_walked_to from argos.projects where project_id = $1",
        project_id
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("reading the calendar"))?;
    let days = rows.into_iter().map(|row| Day {
        day: row.day,
        submissions: u64::try_from(row.submissions).unwrap_or(0),
        open: u64::try_from(row.open).unwrap_or(0),
        covered_at: row.covered_at,
        open_checked_at: row.open_checked_at,
        verify: row.verify_since.is_some(),
    });
    Ok(Calendar {
        days: days.collect(),
        fully_walked_at: walked.as_ref().and_then(|row| row.fully_walked_at),
        early_walked: walked.and_then(|row| row.early_walked_at.zip(row.early_walked_to)),
    })
}

/// A change of a day's counts: (day, submissions, open).
pub type Tally = (NaiveDate, i64, i64);

/// Adds changes to the counts; part of the transaction that writes the submissions.
pub async fn tally(connection: &mut PgConnection, project_id: &str, changes: &[Tally]) -> Result<(), StoreError> {
    let mut sums = std::collections::BTreeMap::<NaiveDate, (i64, i64)>::new();
    for (day, submissions, open) in changes {
        let sum = sums.entry(*day).or_default();
        *sum = (sum.0 + submissions, sum.1 + open);
    }
    sums.retain(|_, sum| *sum != (0, 0));
    if sums.is_empty() {
        return Ok(());
    }
    let days: Vec<NaiveDate> = sums.keys().copied().collect();
    let (submissions, open): (Vec<i64>, Vec<i64>) = sums.into_values().unzip();
    sqlx::query!(
        "insert into argos.created_days as d (project_id, day, submissions, open)
         select $1, * from unnest($2::date[], $3::bigint[], $4::bigint[])
             on conflict (project_id, day) do update
            set submissions = d.submissions + excluded.submissions, open = d.open + excluded.open",
        project_id,
        &days,
        &submissions,
        &open
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("counting a page's days"))?;
    Ok(())
}

/// Notes what a complete walk covers, as of its first request. Coverage only moves forward.
pub async fn cover(connection: &mut PgConnection, project_id: &str, walk: &Walk) -> Result<(), StoreError> {
    match walk.days {
        Some((first, last)) => {
            sqlx::query!(
                // A walk from the earliest day there can be gets rows only from the first day that holds anything.
                "insert into argos.created_days as d (project_id, day, covered_at)
                 select $1, walked.first + n, $4
                   from (select case when $2::date > $5 then $2
                                     else coalesce((select min(day) from argos.created_days
                                                     where project_id = $1 and submissions > 0), $3) end as first) walked,
                        -- Whole numbers: a series of dates would be one of moments, in the session's time zone.
                        generate_series(0, $3::date - walked.first) n
                     on conflict (project_id, day) do update
                    set covered_at = greatest(d.covered_at, excluded.covered_at)",
                project_id,
                first,
                last,
                walk.started_at,
                EARLIEST
            )
            .execute(&mut *connection)
            .await
            .map_err(StoreError::doing("noting covered days"))?;
            if first > EARLIEST {
                return Ok(());
            }
            // The days before those rows are covered as well.
            sqlx::query!(
                "update argos.projects set early_walked_at = $2, early_walked_to = $3
                  where project_id = $1 and (early_walked_at is null or early_walked_at <= $2)",
                project_id,
                walk.started_at,
                last
            )
            .execute(connection)
            .await
        }
        None => {
            sqlx::query!(
                "update argos.projects set fully_walked_at = greatest(fully_walked_at, $2) where project_id = $1",
                project_id,
                walk.started_at
            )
            .execute(connection)
            .await
        }
    }
    .map_err(StoreError::doing("noting covered days"))?;
    Ok(())
}

/// Notes that the open submissions of a day were all asked for, as of `at`.
pub async fn open_checked(
    connection: &mut PgConnection,
    project_id: &str,
    day: NaiveDate,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update argos.created_days set open_checked_at = greatest(open_checked_at, $3)
          where project_id = $1 and day = $2",
        project_id,
        day,
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting a round over open submissions"))?;
    Ok(())
}

/// The next open submission of a day after `after` in the order of ids.
pub async fn next_open(
    connection: &mut PgConnection,
    project_id: &str,
    day: NaiveDate,
    after: &str,
) -> Result<Option<String>, StoreError> {
    let open: Vec<String> = OPEN.iter().copied().map(str::to_owned).collect();
    sqlx::query_scalar!(
        "select submission_id from argos.submissions
          where project_id = $1 and created_day = $2 and submission_id > $3
            and kyc_result = any($4) and gone_at is null
          order by submission_id limit 1",
        project_id,
        day,
        after,
        &open
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("looking for open submissions"))
}

/// The statement of [`seen`] and [`expected`], which must count the same submissions: per created-day, those that were
/// stored before the request `$2`. An item without a readable created_at is in no day's walk for certain, so it counts
/// nowhere; one that is suspected to be gone already counts nowhere either: whether it shows is no news.
macro_rules! digests {
    ($which:tt, $($argument:expr),+) => {
        sqlx::query_as!(
            DayDigest,
            r#"select created_day, count(*) as "count!", bit_xor(hashtextextended(submission_id, 0)) as "hashes!"
                 from argos.submissions s
                where project_id = $1 and first_request < $2 and gone_at is null and created_at is not null
                  and not exists (select from argos.erasures e
                                   where e.project_id = s.project_id and e.submission_id = s.submission_id
                                     and e.kind = 'gone')
                  and "# + $which + " group by created_day",
            $($argument),+
        )
    };
}

struct DayDigest {
    created_day: NaiveDate,
    count: i64,
    hashes: i64,
}

/// Digests, per created-day, those of a page's ids that were stored before the request `before`.
pub async fn seen(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
    before: i64,
) -> Result<Seen, StoreError> {
    let rows = digests!("submission_id = any($3)", project_id, before, ids).fetch_all(connection).await;
    Ok(digested(rows.map_err(StoreError::doing("digesting a page"))?))
}

/// Digests what is stored of some days (`None`: of all) and was so before the request `before`: what a walk that began
/// with that request must show.
pub async fn expected(
    connection: &mut PgConnection,
    project_id: &str,
    days: Option<DayRange>,
    before: i64,
) -> Result<Seen, StoreError> {
    let (first, last) = days.unzip();
    let rows = digests!(
        "created_day between coalesce($3, '-infinity'::date) and coalesce($4, 'infinity'::date)",
        project_id,
        before,
        first,
        last
    )
    .fetch_all(connection)
    .await;
    Ok(digested(rows.map_err(StoreError::doing("digesting the stored days"))?))
}

fn digested(rows: Vec<DayDigest>) -> Seen {
    Seen::new(rows.into_iter().map(|row| (row.created_day, digest(row.count, row.hashes))))
}

fn digest(count: i64, hashes: i64) -> Digest {
    Digest { count: u32::try_from(count).unwrap_or(u32::MAX), hashes }
}

/// Notes that a complete walk of these days did not show what is stored.
pub async fn mark(
    connection: &mut PgConnection,
    project_id: &str,
    days: &[NaiveDate],
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into argos.created_days as d (project_id, day, verify_since) select $1, day, $3 from unnest($2::date[]) day
             on conflict (project_id, day) do update set verify_since = coalesce(d.verify_since, excluded.verify_since)",
        project_id,
        days,
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("marking days to be verified"))?;
    Ok(())
}

/// Empties the list of ids that a verifying walk has seen.
pub async fn forget_ids(connection: &mut PgConnection, project_id: &str) -> Result<(), StoreError> {
    sqlx::query!("delete from argos.walk_ids where project_id = $1", project_id)
        .execute(connection)
        .await
        .map_err(StoreError::doing("emptying the list of seen ids"))?;
    Ok(())
}

/// Adds ids to that list.
pub async fn collect_ids(connection: &mut PgConnection, project_id: &str, ids: &[String]) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into argos.walk_ids (project_id, submission_id) select $1, id from unnest($2::text[]) id
             on conflict do nothing",
        project_id,
        ids
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("collecting seen ids"))?;
    Ok(())
}

/// Ends the verification of some days (`None`: of all): takes their marks away and returns the ids that are stored, were
/// so before the request `before`, and did not show.
pub async fn missing(
    connection: &mut PgConnection,
    project_id: &str,
    days: Option<DayRange>,
    before: i64,
) -> Result<Vec<String>, StoreError> {
    let doing = "looking for missing submissions";
    let (first, last) = days.unzip();
    let ids = sqlx::query_scalar!(
        "select s.submission_id
           from argos.created_days d
           join argos.submissions s on s.project_id = d.project_id and s.created_day = d.day
          where d.project_id = $1 and d.verify_since is not null
            and d.day between coalesce($2, '-infinity'::date) and coalesce($3, 'infinity'::date)
            and s.first_request < $4 and s.gone_at is null and s.created_at is not null
            and not exists (select from argos.walk_ids w
                             where w.project_id = s.project_id and w.submission_id = s.submission_id)
          order by s.submission_id",
        project_id,
        first,
        last,
        before
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    sqlx::query!(
        "update argos.created_days set verify_since = null
          where project_id = $1 and verify_since is not null
            and day between coalesce($2, '-infinity'::date) and coalesce($3, 'infinity'::date)",
        project_id,
        first,
        last
    )
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    forget_ids(connection, project_id).await?;
    Ok(ids)
}
