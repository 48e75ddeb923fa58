//! One project's walks: fetch a page, apply it, go on; report what happened.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::apply::{self, End, Scope};
use super::error::SyncError;
use super::report::PassReport;
use super::{plan, prepare};
use crate::argos::client::{Answer, Client};
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::argos::query::{Cursor, Query};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::domain::hash::HashKey;
use crate::domain::lane::{Lane, View};
use crate::domain::submission::KYC_RESULTS;
use crate::heartbeat::Heartbeat;
use crate::metrics::ProjectMetrics;
use crate::store::budget::{self, Block};
use crate::store::error::StoreError;
use crate::store::lease::{self, Lease};
use crate::store::progress::{self, Walk};
use crate::store::{database, mirror, quarantine};

/// How long an interrupted walk may wait and still go on at its cursor.
const HOT_WALK_AGE: TimeDelta = TimeDelta::minutes(10);
const ONCE_WALK_AGE: TimeDelta = TimeDelta::hours(24);

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
        self.pass(Lane::Hot, Some(days), HOT_WALK_AGE, false).await
    }

    /// One walk from `poll.since`, or without dates, to now.
    pub async fn once(&mut self) -> Result<PassReport, SyncError> {
        let today = self.parts.clock.now().date_naive();
        let days = self.parts.settings.poll.since.map(|since| (since.min(today), today));
        self.pass(Lane::Once, days, ONCE_WALK_AGE, true).await
    }

    /// Reads `days` to their end, from where an interrupted walk of the lane stopped. Ends early, without an error, when
    /// it is asked to stop. After an error the next pass reads its place from the database again, whatever was committed.
    async fn pass(
        &mut self,
        lane: Lane,
        days: Option<(NaiveDate, NaiveDate)>,
        max_age: TimeDelta,
        from_the_beginning: bool,
    ) -> Result<PassReport, SyncError> {
        let result = self.walk(lane, days, max_age, from_the_beginning).await;
        // Also where another process is the writer: the database's counts are the same on all replicas.
        let result = match result {
            Err(error @ SyncError::Store(_)) => Err(error),
            result => self.show_counts().await.and(result),
        };
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

    async fn walk(
        &mut self,
        lane: Lane,
        days: Option<(NaiveDate, NaiveDate)>,
        max_age: TimeDelta,
        from_the_beginning: bool,
    ) -> Result<PassReport, SyncError> {
        let project_id = self.parts.project.id.clone();
        let now = self.parts.clock.now();
        let mut connection = self.connection().await?;
        progress::enrol(&mut connection, &project_id, &self.parts.project.name, now).await?;
        let lease = self.lease(&mut connection).await?;
        drop(connection);
        let mut transaction = self.fenced(&lease).await?;
        quarantine::expire(&mut transaction, &project_id, now).await?;
        let project = progress::project(&mut transaction, &project_id).await?;
        let saved = progress::walk(&mut transaction, &project_id, lane).await?;
        transaction.commit().await.map_err(StoreError::doing("beginning a pass"))?;

        let mut place = saved.filter(|walk| plan::resumable(walk, days, now, max_age));
        let asked = days.map(plan::asked_days);
        let traceparent = format!("00-{}-{:016x}-01", Uuid::new_v4().simple(), Uuid::new_v4().as_u64_pair().0);
        let mut report = PassReport::new(lane);
        let mut cursors = HashSet::new();
        let stop = self.parts.stop.clone();
        loop {
            let cursor = place.as_ref().and_then(|walk| walk.cursor.clone());
            let cursor = cursor.map(|(id, created_at)| Cursor { id, created_at });
            let query = Query { days: asked, count: Some(self.count), cursor: cursor.clone(), ..Query::default() };
            let fetched = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                lost = keep(self.parts.pool.clone(), lease.clone()) => return Err(lost.into()),
                answer = self.fetch(&query) => Some(answer),
            };
            let Some(answer) = fetched else { break };
            let answer = match answer {
                Err(SyncError::Api(ApiError::BadRequest { .. })) if cursor.is_some() => {
                    self.forget(&lease, lane).await?;
                    return Err(SyncError::EndlessList { what: "it refused its own nextpageKey" });
                }
                Err(SyncError::Api(error)) if error.page_too_large() && self.count > 1 => {
                    self.count /= 2;
                    tracing::warn!(project = project_id, count = self.count, "{error}: trying smaller pages");
                    continue;
                }
                answer => answer?,
            };
            self.request_no += 1;
            let page = &answer.content;
            let mut walk = place.unwrap_or(Walk { days, started_at: answer.sent_at, cursor: None, pages: 0, items: 0 });
            walk.pages += 1;
            walk.items += page.len() as i64;
            walk.cursor = page.next.clone().map(|next| (next.id, next.created_at));
            let end = match (&page.next, from_the_beginning) {
                (Some(_), _) => End::More,
                (None, true) => End::Imported,
                (None, false) => End::Covered,
            };
            let guard = self.guard(&walk, page, cursor.as_ref(), &mut cursors);
            if let Err(error) = guard {
                self.forget(&lease, lane).await?;
                return Err(error);
            }
            if end != End::More && walk.items == 0 {
                let any = progress::any_submission(&mut *self.connection().await?, &project_id, days).await?;
                if any {
                    self.forget(&lease, lane).await?;
                    return Err(SyncError::SuspiciouslyEmpty);
                }
            }
            let settings = &self.parts.settings;
            // Each page is a handful of statements, each within its own bound.
            self.parts.heartbeat.expect_within(settings.database.statement_timeout * 4);
            let scope = Scope {
                page: prepare::Page {
                    project_id: &project_id,
                    key: &self.parts.key,
                    view: View::List,
                    lane,
                    observed_at: answer.received_at,
                    fallback_day: asked.map_or(project.import_started_at.date_naive(), |days| days.0),
                    import_started_at: project.import_started_at,
                    import_events: settings.events.import,
                    include_userid: settings.events.include_userid,
                },
                lease: &lease,
                request_no: self.request_no,
                limits: &settings.limits,
                retention: settings.quarantine.retention,
                asked,
                project: &project,
                walk: &walk,
                end,
                traceparent: &traceparent,
                statement_timeout: settings.database.statement_timeout,
            };
            let counts = apply::apply(&self.parts.pool, page, &scope).await?;
            counts.publish(&self.parts.metrics, lane);
            report.counts.add(counts);
            report.pages += 1;
            place = Some(walk);
            if end != End::More {
                report.complete = true;
                break;
            }
        }
        self.count = self.count.saturating_mul(2).min(self.parts.project.api.count);
        Ok(report)
    }

    /// A list that does not end must not pass for one that is read.
    fn guard(
        &self,
        walk: &Walk,
        page: &Page,
        asked: Option<&Cursor>,
        cursors: &mut HashSet<Cursor>,
    ) -> Result<(), SyncError> {
        let Some(next) = &page.next else { return Ok(()) };
        if asked == Some(next) {
            return Err(SyncError::EndlessList { what: "its nextpageKey repeats" });
        }
        cursors.extend(asked.cloned());
        if cursors.contains(next) {
            return Err(SyncError::EndlessList { what: "its nextpageKeys go round in a circle" });
        }
        if walk.pages >= i64::from(self.parts.settings.limits.walk_pages) {
            return Err(SyncError::EndlessList { what: "it has more pages than limits.walk_pages" });
        }
        Ok(())
    }

    /// Fetches a page, with a permit of the day's budget for every try.
    async fn fetch(&mut self, query: &Query) -> Result<Answer<Page>, SyncError> {
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

    async fn lease(&mut self, connection: &mut PgConnection) -> Result<Lease, SyncError> {
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

    /// Gives the lease back, so that the next process need not wait for its end, and the permits that are left.
    pub async fn release(&mut self) -> Result<(), SyncError> {
        let left = self.parts.client.pace.drain();
        if let Some(block) = self.block.take().filter(|_| left > 0) {
            let project_id = &self.parts.project.id;
            budget::give_back(&mut *self.connection().await?, project_id, block.day, left).await?;
        }
        if let Some(lease) = self.lease.take() {
            lease::release(&mut *self.connection().await?, &lease).await?;
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
    async fn fenced(&self, lease: &Lease) -> Result<Transaction<'static, Postgres>, SyncError> {
        let settings = &self.parts.settings.database;
        self.parts.heartbeat.expect_within(settings.connect_timeout + settings.statement_timeout * 4);
        let begun = self.parts.pool.begin().await;
        let mut transaction = begun.map_err(StoreError::doing("beginning a transaction"))?;
        database::bound(&mut transaction, settings.statement_timeout, lease.ttl).await?;
        lease::renew(&mut transaction, lease).await?;
        Ok(transaction)
    }

    async fn forget(&self, lease: &Lease, lane: Lane) -> Result<(), SyncError> {
        let mut transaction = self.fenced(lease).await?;
        progress::drop_walk(&mut transaction, &self.parts.project.id, lane).await?;
        Ok(transaction.commit().await.map_err(StoreError::doing("forgetting a walk"))?)
    }

    async fn connection(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>, SyncError> {
        let settings = &self.parts.settings.database;
        self.parts.heartbeat.expect_within(settings.connect_timeout + settings.statement_timeout);
        Ok(self.parts.pool.acquire().await.map_err(StoreError::doing("connecting"))?)
    }

    /// Takes the database's counts over into the metrics.
    pub async fn show_counts(&self) -> Result<(), SyncError> {
        let counts = mirror::counts(&mut *self.connection().await?, &self.parts.project.id).await?;
        let metrics = &self.parts.metrics;
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
        Ok(())
    }
}

/// Renews the lease until it is lost. Page transactions renew it too; this is for the time between them.
async fn keep(pool: PgPool, lease: Lease) -> StoreError {
    loop {
        tokio::time::sleep(lease.ttl / 3).await;
        // Without a connection there is nothing to be done about it here: the next page tells.
        let Ok(mut connection) = pool.acquire().await else { continue };
        if let Err(error @ StoreError::LeaseLost { .. }) = lease::renew(&mut connection, &lease).await {
            return error;
        }
    }
}
