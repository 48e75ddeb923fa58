//! What an engine needs between pages: the lease, permits, connections, and the numbers it shows.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::time::Instant;

use super::Engine;
use crate::argos::client::Answer;
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::argos::query::Query;
use crate::domain::lane::Lane;
use crate::domain::submission::KYC_RESULTS;
use crate::store::error::StoreError;
use crate::store::lease::{self, Lease};
use crate::store::{budget, database, mirror, progress};
use crate::sync::error::SyncError;
use crate::sync::plan;

impl Engine {
    /// Fetches a page, with a permit of the day's budget for every try.
    pub(super) async fn fetch(&mut self, query: &Query) -> Result<Answer<Page>, SyncError> {
        let mut delays = self.parts.client.delays();
        loop {
            match self.parts.client.submissions_within(query, &mut delays).await {
                Err(ApiError::BudgetSpent) => self.reserve().await?,
                answer => return Ok(answer?),
            }
        }
    }

    async fn reserve(&mut self) -> Result<(), SyncError> {
        let project = &self.parts.project;
        let block = budget::reserve(&mut *self.connection().await?, &project.id, project.api.requests_per_day).await?;
        self.block = Some(block);
        self.parts.metrics.budget_remaining.set(i64::try_from(block.remaining).unwrap_or(i64::MAX));
        if block.requests == 0 {
            self.parts.metrics.request_error(ApiError::BudgetSpent.kind());
            return Err(ApiError::BudgetSpent.into());
        }
        self.parts.client.pace.grant(block.requests, block.valid_for);
        Ok(())
    }

    /// The poll interval in force: the configured one, or longer to fit the budget.
    pub fn interval(&self, last_pass_requests: u64) -> Duration {
        let configured = self.parts.settings.poll.interval;
        let interval = self.block.map_or(configured, |block| {
            plan::interval(configured, last_pass_requests, block.remaining + block.requests, block.valid_for)
        });
        self.parts.metrics.poll_interval.set(interval.as_secs().try_into().unwrap_or(i64::MAX));
        interval
    }

    pub(super) async fn lease(&mut self, connection: &mut PgConnection) -> Result<Lease, SyncError> {
        if let Some(lease) = &self.lease {
            match lease::renew(connection, lease).await {
                Ok(()) => return Ok(lease.clone()),
                // It ran out between two passes and somebody took it: wait for our turn like anybody.
                Err(StoreError::LeaseLost { .. }) => self.lease = None,
                Err(error) => return Err(error.into()),
            }
        }
        let (project_id, ttl) = (&self.parts.project.id, self.parts.settings.lease.ttl);
        match lease::acquire(connection, project_id, &self.parts.holder, ttl).await? {
            Ok(lease) => {
                // Requests are numbered within an epoch.
                self.request_no = 0;
                tracing::info!(project = project_id, epoch = lease.epoch, "this process is the writer");
                Ok(self.lease.insert(lease).clone())
            }
            Err(holder) => Err(SyncError::NotLeader { project_id: project_id.clone(), holder }),
        }
    }

    /// Gives the lease back, so that the next process need not wait for its end, and the permits that
    /// are left.
    pub async fn release(&mut self) -> Result<(), SyncError> {
        // The lease first: that it is given back must not hang on the permits.
        if let Some(lease) = self.lease.take() {
            lease::release(&mut *self.connection().await?, &lease).await?;
        }
        let left = self.parts.client.pace.drain();
        if let Some(block) = self.block.take().filter(|_| left > 0) {
            let project_id = &self.parts.project.id;
            budget::give_back(&mut *self.connection().await?, project_id, block.day, left).await?;
        }
        self.parts.metrics.leader.set(0);
        Ok(())
    }

    /// Waits for the next pass and keeps the lease meanwhile, so that replicas do not take turns.
    pub async fn rest(&self, until: Instant) {
        let rest = tokio::time::sleep_until(until);
        tokio::pin!(rest);
        if let Some(lease) = &self.lease {
            tokio::select! {
                () = &mut rest => return,
                // The next pass says so.
                _lost = keep(self.parts.pool.clone(), lease.clone()) => {}
            }
        }
        rest.await;
    }

    /// A transaction that only the leader can begin, for what is not part of a page.
    pub(super) async fn fenced(&self, lease: &Lease) -> Result<Transaction<'static, Postgres>, SyncError> {
        let settings = &self.parts.settings.database;
        self.parts.heartbeat.expect_within(settings.connect_timeout + settings.statement_timeout * 4);
        let begun = self.parts.pool.begin().await;
        let mut transaction = begun.map_err(StoreError::doing("beginning a transaction"))?;
        database::bound(&mut transaction, settings.statement_timeout, lease.ttl).await?;
        lease::renew(&mut transaction, lease).await?;
        Ok(transaction)
    }

    pub(super) async fn forget(&self, lease: &Lease, lane: Lane) -> Result<(), SyncError> {
        let mut transaction = self.fenced(lease).await?;
        progress::drop_walk(&mut transaction, &self.parts.project.id, lane).await?;
        Ok(transaction.commit().await.map_err(StoreError::doing("forgetting a walk"))?)
    }

    pub(super) async fn connection(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>, SyncError> {
        let settings = &self.parts.settings.database;
        self.parts.heartbeat.expect_within(settings.connect_timeout + settings.statement_timeout);
        Ok(self.parts.pool.acquire().await.map_err(StoreError::doing("connecting"))?)
    }

    /// Takes the database's counts over into the metrics.
    pub async fn show_counts(&self) -> Result<(), SyncError> {
        let project_id = &self.parts.project.id;
        let mut connection = self.connection().await?;
        let counts = mirror::counts(&mut connection, project_id).await?;
        let completed = progress::completed(&mut connection, project_id).await?;
        drop(connection);
        let metrics = &self.parts.metrics;
        // From the database, so that a restart, a standby and the walks of `once` show too.
        for lane in Lane::ALL {
            let at = completed.iter().find(|(name, _)| name == lane.as_str());
            at.into_iter().for_each(|(_, at)| metrics.success(lane, *at));
        }
        let mut other = 0;
        for ((name, label), value) in &counts {
            match name.as_str() {
                "submissions" if label == "none" || KYC_RESULTS.contains(&label.as_str()) => {
                    metrics.submissions(label, *value);
                }
                "submissions" => other += value,
                "red_flags_open" => metrics.red_flags_open.set(*value),
                _ => {}
            }
        }
        let raised = counts.get(&("red_flags_raised".to_owned(), String::new())).copied().unwrap_or(0);
        metrics.red_flags_raised(u64::try_from(raised).unwrap_or(0));
        metrics.submissions("other", other);
        self.show_erasures().await
    }
}

/// Renews the lease until it is lost. Page transactions renew it too; this is for the time between them.
pub(super) async fn keep(pool: PgPool, lease: Lease) -> StoreError {
    loop {
        tokio::time::sleep(lease.ttl / 3).await;
        // Without a connection there is nothing to be done about it here: the next page tells.
        let Ok(mut connection) = pool.acquire().await else { continue };
        if let Err(error @ StoreError::LeaseLost { .. }) = lease::renew(&mut connection, &lease).await {
            return error;
        }
    }
}
