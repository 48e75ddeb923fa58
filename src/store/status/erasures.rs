//! What `argos-sync status` reads of erasures.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::store::erasure::{self, Hold};
use crate::store::error::StoreError;

/// What the vendor seems to have deleted, and what was erased for it.
#[derive(Clone, Debug)]
pub struct Erasures {
    /// What is not confirmed yet, by kind.
    pub pending: BTreeMap<String, i64>,
    /// What waits for an operator.
    pub hold: Option<Hold>,
    /// Receipts: what was carried out.
    pub carried_out: i64,
    /// When the last of it was.
    pub last_at: Option<Timestamp>,
}

/// Reads it.
pub(super) async fn of(connection: &mut PgConnection, project_id: &str) -> Result<Erasures, StoreError> {
    let pending = sqlx::query!(
        r#"select kind, count(*) as "count!" from argos.erasures where project_id = $1 group by kind"#,
        project_id
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::doing("counting suspicions"))?;
    let receipts = sqlx::query!(
        r#"select count(*) as "count!", max(executed_at) as last_at from argos.erasure_receipts where project_id = $1"#,
        project_id
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::doing("counting receipts"))?;
    Ok(Erasures {
        pending: pending.into_iter().map(|row| (row.kind, row.count)).collect(),
        hold: erasure::hold(connection, project_id).await?,
        carried_out: receipts.count,
        last_at: receipts.last_at,
    })
}
