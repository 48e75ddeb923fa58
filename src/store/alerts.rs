//! `alerts`: what waits for a person, and who has looked at what.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::{Json, Uuid};

use super::error::StoreError;
use crate::clock::Timestamp;
use crate::domain::alert::{Alert, Kind, Risk};
use crate::domain::time;

/// Writes the alerts of a page's versions: (submission, version, alert). One that is there already (its submission's rows
/// were deleted by hand, and it was read again) is left as it is.
pub async fn raise(
    connection: &mut PgConnection,
    project_id: &str,
    alerts: &[(&str, i64, Alert)],
    at: Timestamp,
) -> Result<(), StoreError> {
    let row = |(submission_id, version, alert): &(&str, i64, Alert)| {
        json!({
            "alert_id": alert.id.to_string(),
            "project_id": project_id,
            "submission_id": submission_id,
            "version": version,
            "kind": alert.kind.as_str(),
            "risk": alert.risk.as_str(),
            "raised_at": time::format(at),
            "imported": alert.imported,
        })
    };
    let rows: Vec<Value> = alerts.iter().map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into argos.alerts
            (alert_id, project_id, submission_id, version, kind, risk, raised_at, imported)
         select alert_id, project_id, submission_id, version, kind, risk, raised_at, imported
           from jsonb_populate_recordset(null::argos.alerts, $1)
             on conflict do nothing",
        Json(rows) as _
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("writing alerts"))?;
    Ok(())
}

/// Notes that the vendor cleared the flags of submissions. Their alerts still wait for a person.
pub async fn cleared(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
    at: Timestamp,
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update argos.alerts set cleared_at = $3
          where project_id = $1 and submission_id = any($2) and kind <> 'approval_revoked' and cleared_at is null",
        project_id,
        ids,
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting cleared flags in the alerts"))?;
    Ok(())
}

/// How many alerts wait for a person. Those of the import are not among them.
pub async fn waiting(
    connection: &mut PgConnection,
    project_id: &str,
) -> Result<BTreeMap<(Kind, Risk), i64>, StoreError> {
    let rows = sqlx::query!(
        r#"select kind, risk, count(*) as "count!" from argos.alerts
            where project_id = $1 and acknowledged_at is null and not imported group by kind, risk"#,
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("counting alerts"))?;
    // A kind of a later release is not counted here.
    let known = rows.into_iter().filter_map(|row| Some(((Kind::parse(&row.kind)?, Risk::named(&row.risk)), row.count)));
    Ok(known.collect())
}

/// A row, as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub alert_id: Uuid,
    /// The submission.
    pub submission_id: String,
    /// The version that raised it.
    pub version: i64,
    /// What it is about.
    pub kind: String,
    /// How grave it is.
    pub risk: String,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// Whether it stood before the import.
    pub imported: bool,
    /// When the vendor cleared the flag.
    pub cleared_at: Option<Timestamp>,
    /// When somebody acknowledged it.
    pub acknowledged_at: Option<Timestamp>,
    /// Who did.
    pub acknowledged_by: Option<String>,
    /// And why.
    pub reason: Option<String>,
}

/// Alerts in the order in which they were raised, after one of them; `all`: acknowledged ones too.
pub async fn page(
    connection: &mut PgConnection,
    project_id: &str,
    all: bool,
    after: (Timestamp, Uuid),
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    sqlx::query_as!(
        Listed,
        "select alert_id, submission_id, version, kind, risk, raised_at, imported, cleared_at, acknowledged_at,
                acknowledged_by, reason
           from argos.alerts
          where project_id = $1 and (acknowledged_at is null or $2) and (raised_at, alert_id) > ($3, $4)
          order by raised_at, alert_id limit $5",
        project_id,
        all,
        after.0,
        after.1,
        limit
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading alerts"))
}

/// Which alerts are meant.
pub enum Which<'a> {
    /// These.
    Ids(&'a [Uuid]),
    /// All of a submission that were raised until then.
    Submission {
        /// The submission.
        id: &'a str,
        /// The last moment.
        until: Timestamp,
    },
    /// All that stood before the import.
    Imported,
}

/// Who acknowledges, and why.
pub struct Word<'a> {
    /// Who.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When.
    pub at: Timestamp,
}

/// What became of those that were meant.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Acknowledged now.
    pub now: Vec<Uuid>,
    /// Acknowledged before, and left as they were.
    pub before: Vec<Listed>,
}

/// Acknowledges those of the alerts that nobody has acknowledged: the first word stays.
pub async fn acknowledge(
    connection: &mut PgConnection,
    project_id: &str,
    which: &Which<'_>,
    word: &Word<'_>,
) -> Result<Acknowledged, StoreError> {
    let doing = "acknowledging alerts";
    let (ids, submission, until, imported) = match which {
        Which::Ids(ids) => (Some(*ids), None, None, None),
        Which::Submission { id, until } => (None, Some(*id), Some(*until), None),
        Which::Imported => (None, None, None, Some(true)),
    };
    let now = sqlx::query_scalar!(
        "update argos.alerts set acknowledged_at = $5, acknowledged_by = $6, reason = $7
          where project_id = $1 and acknowledged_at is null
            and (alert_id = any($2) or (submission_id = $3 and raised_at <= $8) or imported = $4)
      returning alert_id",
        project_id,
        ids,
        submission,
        imported,
        word.at,
        word.by,
        word.reason,
        until
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    let before = sqlx::query_as!(
        Listed,
        "select alert_id, submission_id, version, kind, risk, raised_at, imported, cleared_at, acknowledged_at,
                acknowledged_by, reason
           from argos.alerts
          where project_id = $1 and (alert_id = any($2) or (submission_id = $3 and raised_at <= $5))
            and alert_id <> all($4)
          order by raised_at, alert_id",
        project_id,
        ids,
        submission,
        &now,
        until
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing(doing))?;
    Ok(Acknowledged { now, before })
}
