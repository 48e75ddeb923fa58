//! Reads one project: a pass per lane, and what became of it. `walk` goes from page to page, `upkeep` keeps the lease
//! and the permits, `guard` asks whose data it is, `confirm` looks again at what seems to be deleted.

mod confirm;
mod guard;
mod upkeep;
mod walk;

use std::sync::Arc;

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use self::walk::Errand;
use super::error::SyncError;
use super::plan;
use super::report::PassReport;
use crate::argos::client::Client;
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::domain::hash::HashKey;
use crate::domain::lane::Lane;
use crate::heartbeat::Heartbeat;
use crate::metrics::ProjectMetrics;
use crate::store::budget::Block;
use crate::store::error::StoreError;
use crate::store::lease::Lease;

/// How long an interrupted walk may wait and still go on at its cursor.
const HOT_WALK_AGE: TimeDelta = TimeDelta::minutes(10);
const ONCE_WALK_AGE: TimeDelta = TimeDelta::days(7);

/// What an engine is made of.
pub struct Parts {
    /// The project and how to ask for it.
    pub project: config::Project,
    /// All settings.
    pub settings: Arc<Settings>,
    /// The database.
    pub pool: PgPool,
    /// The client for the project's key.
    pub client: Client,
    /// Keys all hashes.
    pub key: HashKey,
    /// Who this process is, in the lease.
    pub holder: String,
    /// What time it is.
    pub clock: Clock,
    /// The project's metrics.
    pub metrics: ProjectMetrics,
    /// Says that the loop turns.
    pub heartbeat: Heartbeat,
    /// Asks the loop to end: the open transaction is finished, an open request is given up.
    pub stop: CancellationToken,
}

/// Reads one project.
pub struct Engine {
    parts: Parts,
    lease: Option<Lease>,
    request_no: i64,
    block: Option<Block>,
    /// Submissions asked for per page: `api.count`, or fewer while pages are too large.
    count: u32,
}

impl Engine {
    /// An engine that has done nothing yet.
    pub fn new(parts: Parts) -> Self {
        let count = parts.project.api.count;
        Self { parts, lease: None, request_no: 0, block: None, count }
    }

    /// What the engine is made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The hot lane's pass: the last days, whole.
    pub async fn hot(&mut self) -> Result<PassReport, SyncError> {
        let days = plan::hot_days(self.parts.clock.now(), self.parts.settings.poll.lookback);
        self.pass(Errand { lane: Lane::Hot, days: Some(days), max_age: HOT_WALK_AGE, whole_project: false }).await
    }

    /// One walk from `poll.since`, or without dates, to now.
    pub async fn once(&mut self) -> Result<PassReport, SyncError> {
        let today = self.parts.clock.now().date_naive();
        let days = self.parts.settings.poll.since.map(|since| (since.min(today), today));
        self.pass(Errand { lane: Lane::Once, days, max_age: ONCE_WALK_AGE, whole_project: true }).await
    }

    /// Reads the errand's days to their end, from where an interrupted walk of the lane stopped. Ends early, without an
    /// error, when it is asked to stop. After an error the next pass reads its place from the database again, whatever
    /// was committed.
    async fn pass(&mut self, errand: Errand) -> Result<PassReport, SyncError> {
        let result = self.walk(errand).await;
        let lane = errand.lane;
        // Also where another process is the writer: the database's counts are the same on all replicas.
        if !matches!(result, Err(SyncError::Store(_)))
            && let Err(error) = self.show_counts().await
        {
            tracing::warn!(project = self.parts.project.id, error = chain(&error), "the metrics show older counts");
        }
        let metrics = &self.parts.metrics;
        match &result {
            Ok(report) if report.complete => {
                metrics.pass(lane, "complete");
                metrics.success(lane, self.parts.clock.now());
            }
            Ok(_) => metrics.pass(lane, "stopped"),
            Err(SyncError::NotLeader { .. }) => metrics.pass(lane, "not_leader"),
            Err(error) => {
                metrics.pass(lane, "failed");
                match error {
                    SyncError::Store(StoreError::LeaseLost { .. }) => {}
                    SyncError::Store(_) => metrics.database_errors.inc(),
                    SyncError::SuspiciouslyEmpty => metrics.suspicious_empty.inc(),
                    _ => {}
                }
            }
        }
        if matches!(result, Err(SyncError::Store(_) | SyncError::NotLeader { .. })) {
            self.lease = None;
        }
        metrics.leader.set(i64::from(self.lease.is_some()));
        result
    }
}
