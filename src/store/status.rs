//! What `argos-sync status` and the status page read: one snapshot, no lock, no personal data.

mod erasures;
mod glance;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

pub use self::erasures::Erasures;
pub use self::glance::{RecentEvent, RedFlag, last_events, red_flag_days, red_flags};
use super::calendar;
use super::drift::{self, Name};
use super::error::StoreError;
use super::progress::{self, Project};
use super::{alerts, mirror, probe};
use crate::clock::Timestamp;
use crate::domain::alert::{Kind, Risk};
use crate::domain::calendar::Calendar;
use crate::domain::probe::Findings;

/// What the database tells of a project.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The name for people.
    pub name: String,
    /// Its row: the import, the pages, and what waits.
    pub project: Project,
    /// Who writes.
    pub writer: Writer,
    /// The created-days.
    pub calendar: Calendar,
    /// Since when the day that has waited longest is marked to be verified.
    pub to_verify_since: Option<Timestamp>,
    /// The walks, one per lane that has begun one.
    pub walks: Vec<Walk>,
    /// The sums of `counters`, by name and label.
    pub counts: BTreeMap<(String, String), i64>,
    /// Items in quarantine, by reason.
    pub quarantine: BTreeMap<String, i64>,
    /// Submissions that wait to be read by id, by reason.
    pub reads: BTreeMap<String, i64>,
    /// Since when the first of them has waited.
    pub reads_since: Option<Timestamp>,
    /// The last error of each lane.
    pub errors: Vec<Failure>,
    /// What was found out about the vendor.
    pub findings: Findings,
    /// What the vendor seems to have deleted, and what was erased for it.
    pub erasures: Erasures,
    /// Names that no document has.
    pub drift: Vec<Name>,
    /// Submissions whose AML status no document names.
    pub unknown_aml: i64,
    /// Alerts that nobody has acknowledged, those of the import apart.
    pub alerts: BTreeMap<(Kind, Risk), i64>,
}

/// The lease.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Who holds it, or held it last.
    pub holder: Option<String>,
    /// Its epoch.
    pub epoch: i64,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Whether it holds, by the database's clock.
    pub held: bool,
}

/// A lane's walk.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The lane.
    pub lane: String,
    /// First and last day; `None`: without dates.
    pub days: Option<(NaiveDate, NaiveDate)>,
    /// Whether it asks for open submissions by id.
    pub by_id: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// Pages read.
    pub pages: i64,
    /// Submissions in them.
    pub items: i64,
    /// Whether it is in progress.
    pub running: bool,
    /// When a walk of the lane last came to its end.
    pub last_completed_at: Option<Timestamp>,
}

/// The last error of a lane.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Failure {
    /// The lane.
    pub lane: String,
    /// A short name.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub advice: String,
    /// When it came up.
    pub first_at: Timestamp,
    /// When it was last met.
    pub last_at: Timestamp,
    /// How often.
    pub count: i64,
    /// When the lane next read something well; `None`: it lasts.
    pub ended_at: Option<Timestamp>,
}

/// The outbox, which all projects share.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Outbox {
    /// The position of the last event; 0: there was none.
    pub last_position: i64,
    /// The position of the first event that is kept.
    pub first_position: Option<i64>,
    /// Changes when a backup was restored.
    pub generation: i64,
}

/// A transaction in which everything is as of one moment and nothing can be written.
pub async fn snapshot(pool: &PgPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    pool.begin_with("begin isolation level repeatable read read only").await.map_err(StoreError::doing("connecting"))
}

/// The projects that the database knows, in the order of their ids.
pub async fn projects(connection: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar!("select project_id from argos.projects order by project_id")
        .fetch_all(connection)
        .await
        .map_err(StoreError::doing("reading the projects"))
}

/// Reads the outbox's place.
pub async fn outbox(connection: &mut PgConnection) -> Result<Outbox, StoreError> {
    sqlx::query_as!(
        Outbox,
        r#"select last_position, outbox_generation as generation,
                  (select min(position) from argos.outbox) as first_position
             from argos.outbox_counter"#
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("reading the outbox's place"))
}

/// Reads what is known of a project; `None`: the database does not know it.
pub async fn facts(
    connection: &mut PgConnection,
    project_id: &str,
    now: Timestamp,
) -> Result<Option<Facts>, StoreError> {
    let doing = "reading the project's state";
    let row = sqlx::query!(
        r#"select name, holder, epoch, case when isfinite(expires_at) then expires_at end as expires_at,
                  holder is not null and expires_at > clock_timestamp() as "held!",
                  (select min(verify_since) from argos.created_days d
                    where d.project_id = p.project_id) as to_verify_since,
                  (select min(requested_at) from argos.id_reads r
                    where r.project_id = p.project_id) as reads_since
             from argos.projects p join argos.leases l using (project_id)
            where project_id = $1"#,
        project_id
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    let Some(row) = row else { return Ok(None) };
    let project = progress::project(connection, project_id, now).await?;
    Ok(Some(Facts {
        name: row.name,
        writer: Writer { holder: row.holder, epoch: row.epoch, expires_at: row.expires_at, held: row.held },
        calendar: calendar::load(connection, project_id).await?,
        to_verify_since: row.to_verify_since,
        walks: walks(connection, project_id).await?,
        counts: mirror::counts(connection, project_id).await?.into_iter().collect(),
        quarantine: quarantine(connection, project_id).await?,
        reads: reads(connection, project_id).await?,
        reads_since: row.reads_since,
        errors: failures(connection, project_id).await?,
        findings: probe::findings(connection, project_id).await?,
        erasures: erasures::of(connection, project_id).await?,
        drift: drift::counted(connection, project_id).await?,
        unknown_aml: drift::unknown_aml_as_allowed(connection, project_id).await?,
        alerts: alerts::waiting(connection, project_id).await?,
        project,
    }))
}

async fn walks(connection: &mut PgConnection, project_id: &str) -> Result<Vec<Walk>, StoreError> {
    let rows = sqlx::query!(
        r#"select lane, from_day, to_day, by_id, started_at, pages, items, completed_at is null as "running!",
                  last_completed_at
             from argos.walks where project_id = $1"#,
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading walks"))?;
    let walk = rows.into_iter().map(|row| Walk {
        lane: row.lane,
        days: row.from_day.zip(row.to_day),
        by_id: row.by_id,
        started_at: row.started_at,
        pages: row.pages,
        items: row.items,
        running: row.running,
        last_completed_at: row.last_completed_at,
    });
    Ok(walk.collect())
}

async fn quarantine(connection: &mut PgConnection, project_id: &str) -> Result<BTreeMap<String, i64>, StoreError> {
    let rows = sqlx::query!(
        r#"select reason, count(*) as "count!" from argos.quarantine where project_id = $1 group by reason"#,
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("counting the quarantine"))?;
    Ok(rows.into_iter().map(|row| (row.reason, row.count)).collect())
}

async fn reads(connection: &mut PgConnection, project_id: &str) -> Result<BTreeMap<String, i64>, StoreError> {
    let rows = sqlx::query!(
        r#"select reason, count(*) as "count!" from argos.id_reads where project_id = $1 group by reason"#,
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("counting submissions to be read"))?;
    Ok(rows.into_iter().map(|row| (row.reason, row.count)).collect())
}

async fn failures(connection: &mut PgConnection, project_id: &str) -> Result<Vec<Failure>, StoreError> {
    sqlx::query_as!(
        Failure,
        "select lane, kind, message, advice, first_at, last_at, count, ended_at
           from argos.errors where project_id = $1 order by ended_at desc nulls first, last_at desc",
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading the last errors"))
}
