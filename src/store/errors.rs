//! `errors`: the last error of each lane, for `argos-sync status`.

use sqlx::PgConnection;

use super::error::StoreError;
use super::lease::Lease;
use crate::clock::Timestamp;
use crate::domain::lane::Lane;

/// What is told of errors of one kind that a lane met in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// A short name.
    pub kind: &'static str,
    /// What happened, without personal data.
    pub message: String,
    /// What to do.
    pub advice: &'static str,
    /// The first of them.
    pub first_at: Timestamp,
    /// The last of them.
    pub last_at: Timestamp,
    /// How many, since they were last told.
    pub count: i64,
}

/// Notes errors of a lane, if the lease is still held: they add to those that are noted while the kind is the same.
/// A former leader's are not noted.
pub async fn keep(connection: &mut PgConnection, lease: &Lease, lane: Lane, told: &Told) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into argos.errors as e (project_id, lane, kind, message, advice, first_at, last_at, count)
         select project_id, $4, $5, $6, $7, $8, $9, $10
           from argos.leases where project_id = $1 and holder = $2 and epoch = $3
             on conflict (project_id, lane) do update
            set kind = excluded.kind, message = excluded.message, advice = excluded.advice,
                last_at = excluded.last_at, ended_at = null,
                first_at = case when e.kind = excluded.kind and e.ended_at is null then e.first_at
                                else excluded.first_at end,
                count = excluded.count
                        + case when e.kind = excluded.kind and e.ended_at is null then e.count else 0 end",
        lease.project_id,
        lease.holder,
        lease.epoch,
        lane.as_str(),
        told.kind,
        told.message,
        told.advice,
        told.first_at,
        told.last_at,
        told.count
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting an error"))?;
    Ok(())
}

/// Notes that a lane reads well again, if the lease is still held. Writes nothing where no error lasts.
pub async fn end(connection: &mut PgConnection, lease: &Lease, lane: Lane, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update argos.errors e
            set ended_at = $5
           from argos.leases l
          where l.project_id = $1 and l.holder = $2 and l.epoch = $3
            and e.project_id = l.project_id and e.lane = $4 and e.ended_at is null",
        lease.project_id,
        lease.holder,
        lease.epoch,
        lane.as_str(),
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting that an error has ended"))?;
    Ok(())
}
