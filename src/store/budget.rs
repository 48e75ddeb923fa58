//! The day's request budget, reserved in blocks before anything is sent, shared by restarts and replicas.

use std::time::Duration;

use chrono::NaiveDate;
use sqlx::{Connection, PgConnection};

use super::error::StoreError;

/// A reserved block. It belongs to one UTC day by the database's clock and dies with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Its day (UTC).
    pub day: NaiveDate,
    /// Requests that may be sent.
    pub requests: u64,
    /// Time left of its day.
    pub valid_for: Duration,
    /// Requests of the day that nobody has reserved yet.
    pub remaining: u64,
}

/// Reserves up to a hundredth of the day's requests (at least one). A block without requests: the day is spent.
pub async fn reserve(connection: &mut PgConnection, project_id: &str, per_day: u64) -> Result<Block, StoreError> {
    let doing = "reserving requests";
    let per_day = i64::try_from(per_day).unwrap_or(i64::MAX);
    let mut transaction = connection.begin().await.map_err(StoreError::doing(doing))?;
    let today = sqlx::query!(
        r#"select (now at time zone 'UTC')::date as "day!",
                  extract(epoch from date_trunc('day', now, 'UTC') + interval '24 hours' - now)::float8 as "seconds_left!"
             from clock_timestamp() as now"#
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(StoreError::doing(doing))?;
    sqlx::query!(
        "insert into argos.request_budget (project_id, day, reserved) values ($1, $2, 0) on conflict do nothing",
        project_id,
        today.day
    )
    .execute(&mut *transaction)
    .await
    .map_err(StoreError::doing(doing))?;
    // Locked before it is read: another replica's block must not be counted as ours.
    let reserved = sqlx::query_scalar!(
        "select reserved from argos.request_budget where project_id = $1 and day = $2 for update",
        project_id,
        today.day
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(StoreError::doing(doing))?;
    let block = (per_day / 100).max(1).min(per_day - reserved).max(0);
    if block > 0 {
        sqlx::query!(
            "update argos.request_budget set reserved = reserved + $3 where project_id = $1 and day = $2",
            project_id,
            today.day,
            block
        )
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::doing(doing))?;
    }
    transaction.commit().await.map_err(StoreError::doing(doing))?;
    Ok(Block {
        day: today.day,
        requests: u64::try_from(block).unwrap_or(0),
        valid_for: Duration::try_from_secs_f64(today.seconds_left).unwrap_or_default(),
        remaining: u64::try_from(per_day - reserved - block).unwrap_or(0),
    })
}

/// Gives back what was reserved of a day and not used, so that many short runs do not spend the day.
pub async fn give_back(
    connection: &mut PgConnection,
    project_id: &str,
    day: NaiveDate,
    requests: u64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update argos.request_budget set reserved = greatest(reserved - $3, 0) where project_id = $1 and day = $2",
        project_id,
        day,
        i64::try_from(requests).unwrap_or(0)
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("giving requests back"))?;
    Ok(())
}

/// After a restore nobody knows what was sent since the backup: as many of today's requests count as spent as time of the
/// day has passed. Returns how many do.
pub async fn presume_spent(connection: &mut PgConnection, project_id: &str, per_day: u64) -> Result<i64, StoreError> {
    sqlx::query_scalar!(
        "insert into argos.request_budget as b (project_id, day, reserved)
         select $1, (now at time zone 'UTC')::date,
                ceil($2::float8 * extract(epoch from now - date_trunc('day', now, 'UTC'))::float8 / 86400)::bigint
           from clock_timestamp() as now
             on conflict (project_id, day) do update set reserved = greatest(b.reserved, excluded.reserved)
      returning reserved",
        project_id,
        per_day as f64
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("presuming requests spent"))
}
