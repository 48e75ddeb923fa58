//! One writer per project: a row that says who, fenced by an epoch.

use std::time::Duration;

use chrono::DateTime;
use sqlx::PgConnection;

use super::database::{WRITER, may_write};
use super::error::StoreError;
use crate::clock::Timestamp;

/// A lease that this process took. Every write transaction renews it first, and so holds its row until the commit.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The project.
    pub project_id: String,
    /// Who we are.
    pub holder: String,
    /// Goes up with each change of holder: a former holder's epoch matches nothing.
    pub epoch: i64,
    /// How long it holds without a renewal.
    pub ttl: Duration,
}

/// Takes a lease that is free, run out, or already ours (then with a new epoch: our former self may still be at work).
/// `Err(holder)` inside: somebody else holds it.
pub async fn acquire(
    connection: &mut PgConnection,
    project_id: &str,
    holder: &str,
    ttl: Duration,
) -> Result<Result<Lease, String>, StoreError> {
    let doing = "taking the lease";
    // Expiry goes by the database's clock: the only one that all replicas share.
    let epoch = sqlx::query_scalar!(
        "update argos.leases
            set holder = $2, epoch = epoch + 1, expires_at = clock_timestamp() + make_interval(secs => $3)
          where project_id = $1 and (holder is null or holder = $2 or expires_at < clock_timestamp())
      returning epoch",
        project_id,
        holder,
        ttl.as_secs_f64()
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    if let Some(epoch) = epoch {
        return Ok(Ok(Lease { project_id: project_id.to_owned(), holder: holder.to_owned(), epoch, ttl }));
    }
    let other = sqlx::query_scalar!("select holder from argos.leases where project_id = $1", project_id)
        .fetch_one(connection)
        .await
        .map_err(StoreError::doing(doing))?;
    Ok(Err(other.unwrap_or_default()))
}

/// Whether a lease is free, was not this holder's, and the holder leads another project.
pub async fn free_for_others(
    connection: &mut PgConnection,
    project_id: &str,
    holder: &str,
) -> Result<bool, StoreError> {
    sqlx::query_scalar!(
        r#"select exists (select from argos.leases
                           where project_id = $1 and holder is distinct from $2
                             and (holder is null or expires_at < clock_timestamp()))
              and exists (select from argos.leases
                           where project_id <> $1 and holder = $2 and expires_at >= clock_timestamp()) as "free!""#,
        project_id,
        holder
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("looking at the lease"))
}

/// Renews the lease; the first statement of every write transaction. No row: somebody else took over, or a newer release
/// has made the schema one that this binary may not write, and nothing may be written.
pub async fn renew(connection: &mut PgConnection, lease: &Lease) -> Result<(), StoreError> {
    let renewed = sqlx::query!(
        "update argos.leases
            set expires_at = clock_timestamp() + make_interval(secs => $4)
          where project_id = $1 and holder = $2 and epoch = $3
            and (select min_writer from argos.compatibility) <= $5",
        lease.project_id,
        lease.holder,
        lease.epoch,
        lease.ttl.as_secs_f64(),
        WRITER
    )
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing("renewing the lease"))?;
    if renewed.rows_affected() == 1 {
        return Ok(());
    }
    may_write(connection).await?;
    Err(StoreError::LeaseLost { project_id: lease.project_id.clone() })
}

/// Gives the lease back, if it is still ours, so that the next process need not wait for its end.
pub async fn release(connection: &mut PgConnection, lease: &Lease) -> Result<(), StoreError> {
    sqlx::query!(
        "update argos.leases set holder = null, expires_at = '-infinity'
          where project_id = $1 and holder = $2 and epoch = $3",
        lease.project_id,
        lease.holder,
        lease.epoch
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("giving the lease back"))?;
    Ok(())
}

/// A lease that was taken away by [`fence_all`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The project.
    pub project_id: String,
    /// Who held it.
    pub former: Option<String>,
    /// The epoch now.
    pub epoch: i64,
}

/// After a restore: frees every project's lease under an epoch that no holder of before can have. The backup's epoch may
/// be lower than the one that a daemon still writes under, so it rises to the seconds since 2020: leases are not taken
/// every second for years.
pub async fn fence_all(connection: &mut PgConnection, at: Timestamp) -> Result<Vec<Fenced>, StoreError> {
    // Kept below 2^31 until 2088: requests are numbered by epoch * 2^32.
    let risen = (at - EPOCHS_BEGAN).num_seconds();
    sqlx::query_as!(
        Fenced,
        r#"with former as (select project_id, holder from argos.leases order by project_id for update)
           update argos.leases l
              set holder = null, expires_at = '-infinity', epoch = greatest(l.epoch + 1, $1)
             from former where former.project_id = l.project_id
        returning l.project_id, former.holder as former, l.epoch"#,
        risen
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("ending all leases"))
}

/// Where [`fence_all`] counts from.
const EPOCHS_BEGAN: Timestamp = DateTime::from_timestamp(1_577_836_800, 0).expect("2020-01-01 is a time");
