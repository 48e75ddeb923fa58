//! The day's request budget, reserved in blocks before anything is sent, shared by restarts and replicas.

use std::time::Duration;

use sqlx::PgConnection;

use super::error::StoreError;

/// A reserved block. It belongs to one UTC day by the database's clock and dies with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Requests that may be sent.
    pub requests: u64,
    /// Time left of its day.
    pub valid_for: Duration,
    /// Requests of the day that nobody has reserved yet.
    pub remaining: u64,
}

/// Reserves up to a hundredth of the day's requests (at least one). A block without requests: the day is spent.
pub async fn reserve(connection: &mut PgConnection, project_id: &str, per_day: u64) -> Result<Block, StoreError> {
    let per_day = i64::try_from(per_day).unwrap_or(i64::MAX);
    let block = (per_day / 100).max(1);
    let row = sqlx::query!(
        r#"with today as (
               select (clock_timestamp() at time zone 'UTC')::date as day,
                      extract(epoch from date_trunc('day', clock_timestamp() at time zone 'UTC') + interval '1 day'
                                         - (clock_timestamp() at time zone 'UTC'))::float8 as seconds_left
           ), reserved as (
               insert into argos.request_budget as b (project_id, day, reserved)
               select $1, day, $2 from today
                   on conflict (project_id, day) do update
                  set reserved = least(b.reserved + $2, $3) where b.reserved < $3
               returning reserved
           )
           select seconds_left as "seconds_left!",
                  (select reserved from reserved) as reserved,
                  (select reserved from argos.request_budget b where b.project_id = $1 and b.day = today.day) as before
             from today"#,
        project_id,
        block,
        per_day
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("reserving requests"))?;
    let valid_for = Duration::try_from_secs_f64(row.seconds_left).unwrap_or_default();
    // The statement sees the row as it was before its own write.
    let before = row.before.unwrap_or(0);
    let after = row.reserved.unwrap_or(before);
    let requests = u64::try_from(after - before).unwrap_or(0);
    Ok(Block { requests, valid_for, remaining: u64::try_from(per_day - after).unwrap_or(0) })
}
