//! One writer per project: a row that says who, fenced by an epoch.

use std::time::Duration;

use sqlx::PgConnection;

use super::error::StoreError;

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

/// Renews the lease; the first statement of every write transaction. No row: somebody else took over, and nothing may be
/// written.
pub async fn renew(connection: &mut PgConnection, lease: &Lease) -> Result<(), StoreError> {
    let renewed = sqlx::query!(
        "update argos.leases
            set expires_at = clock_timestamp() + make_interval(secs => $4)
          where project_id = $1 and holder = $2 and epoch = $3",
        lease.project_id,
        lease.holder,
        lease.epoch,
        lease.ttl.as_secs_f64()
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("renewing the lease"))?;
    match renewed.rows_affected() {
        1 => Ok(()),
        _ => Err(StoreError::LeaseLost { project_id: lease.project_id.clone() }),
    }
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
