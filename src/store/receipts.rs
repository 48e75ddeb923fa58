//! `erasure_receipts`: what was erased, and when. No personal data.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::error::StoreError;
use crate::clock::Timestamp;
use crate::domain::erasure::Kind;
use crate::domain::hash::{Hash, HashKey};
use crate::domain::time;

/// A receipt; a line of the export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The project.
    pub project_id: String,
    /// The submission.
    pub submission_id: String,
    /// The version that the erasure wrote.
    pub version: i64,
    /// `gone`, `blanked` or `fields`.
    pub kind: String,
    /// `erase`, or `hold`: kept and marked.
    pub mode: String,
    /// Names of the fields that were removed; none for a submission that is gone.
    pub fields: Vec<String>,
    /// When it was noticed.
    pub noticed_at: Timestamp,
    /// When it was confirmed by id.
    pub confirmed_at: Vec<Timestamp>,
    /// When it was carried out.
    pub executed_at: Timestamp,
    /// Older versions that were reduced.
    pub versions_touched: i64,
    /// Keyed hash of all this, in hexadecimal digits.
    pub digest: String,
    /// When the vendor showed it again, by id.
    pub reappeared_at: Option<Timestamp>,
}

impl Receipt {
    /// Its form, if it is one that this release knows.
    pub fn kind(&self) -> Option<Kind> {
        Kind::parse(&self.kind)
    }

    /// The hash of everything but itself and a later reappearance.
    pub fn digest(&self, key: &HashKey) -> Hash {
        let mut parts = vec![self.project_id.clone(), self.submission_id.clone(), self.version.to_string()];
        parts.extend([self.kind.clone(), self.mode.clone(), self.fields.join(" ")]);
        let mut times = self.confirmed_at.clone();
        times.extend([self.noticed_at, self.executed_at]);
        parts.extend(times.into_iter().map(time::format));
        parts.push(self.versions_touched.to_string());
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        key.receipt(&parts)
    }

    /// The same with its digest.
    #[must_use]
    pub fn signed(mut self, key: &HashKey) -> Self {
        self.digest = self.digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        self
    }
}

/// Keeps a receipt; one that is there already (it was applied to a restored backup) stays.
pub async fn keep(connection: &mut PgConnection, receipt: &Receipt) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into argos.erasure_receipts (project_id, submission_id, version, kind, mode, fields, noticed_at,
                                             confirmed_at, executed_at, versions_touched, digest, reappeared_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, decode($11, 'hex'), $12)
             on conflict do nothing",
        receipt.project_id,
        receipt.submission_id,
        receipt.version,
        receipt.kind,
        receipt.mode,
        &receipt.fields,
        receipt.noticed_at,
        &receipt.confirmed_at,
        receipt.executed_at,
        receipt.versions_touched,
        receipt.digest,
        receipt.reappeared_at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("keeping a receipt"))?;
    Ok(())
}

/// Notes that the vendor shows a submission again: its receipts must not be applied any more.
pub async fn reappeared(
    connection: &mut PgConnection,
    project_id: &str,
    submission_id: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update argos.erasure_receipts set reappeared_at = $3
          where project_id = $1 and submission_id = $2 and reappeared_at is null",
        project_id,
        submission_id,
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting a reappearance"))?;
    Ok(())
}

/// Receipts of a project after a place, in a fixed order: up to `limit`.
pub async fn page(
    connection: &mut PgConnection,
    project_id: &str,
    after: (&str, i64),
    limit: i64,
) -> Result<Vec<Receipt>, StoreError> {
    sqlx::query_as!(
        Receipt,
        r#"select project_id, submission_id, version, kind, mode, fields, noticed_at, confirmed_at, executed_at,
                  versions_touched, encode(digest, 'hex') as "digest!", reappeared_at
             from argos.erasure_receipts
            where project_id = $1 and (submission_id, version) > ($2, $3)
            order by submission_id, version limit $4"#,
        project_id,
        after.0,
        after.1,
        limit
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading receipts"))
}

/// Whether a receipt is there.
pub async fn has(connection: &mut PgConnection, receipt: &Receipt) -> Result<bool, StoreError> {
    sqlx::query_scalar!(
        r#"select exists (select from argos.erasure_receipts
                           where project_id = $1 and submission_id = $2 and digest = decode($3, 'hex')) as "there!""#,
        receipt.project_id,
        receipt.submission_id,
        receipt.digest
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("looking for a receipt"))
}
