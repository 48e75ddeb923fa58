//! What an engine needs between pages: the lease, permits, connections, and the numbers it shows.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::time::Instant;

use super::walk::Walking;
use super::{Engine, in_time};
use crate::argos::client::Answer;
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::argos::query::Query;
use crate::clock::Timestamp;
use crate::domain::alert::Risk;
use crate::domain::calendar::{Calendar, Filter};
use crate::domain::lane::Lane;
use crate::domain::probe::{Findings, Lacking};
use crate::domain::submission::{KYC_RESULTS, NO_CODE, REJECT_CODES, UNLISTED};
use crate::metrics::{Alerts, PLANNED};
use crate::store::error::StoreError;
use crate::store::lease::{self, Lease};
use crate::store::progress::{self, Project, Walk};
use crate::store::{alerts, budget, calendar, database, mirror, outbox, probe, views};
use crate::sync::error::SyncError;
use crate::sync::plan::{self, Budget, Forecast, Situation};

/// How long what is known of the project is taken for current while nothing happens that changes it.
const FRESH: TimeDelta = TimeDelta::minutes(1);

/// What is known of the project.
pub(super) struct Picture {
    read_at: Timestamp,
    pub(super) project: Project,
    pub(super) calendar: Calendar,
    /// Requests of today that nobody has reserved.
    unreserved: u64,
    pub(super) findings: Findings,
    /// What lists lack.
    pub(super) lacking: Lacking,
}

impl Picture {
    /// Not over midnight: the budget is another day's. Nor if the clock went back.
    pub(super) fn fresh(&self, now: Timestamp) -> bool {
        let same_day = now.date_naive() == self.read_at.date_naive();
        same_day && (TimeDelta::zero()..FRESH).contains(&(now - self.read_at))
    }
}

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

    /// Shows the plan in the metrics.
    pub(super) fn show_plan(&self) {
        let (situation, picture) = (self.situation(), self.picture());
        let forecast = plan::forecast(&situation);
        let shares =
            [Some(forecast.hot), Some(forecast.open), forecast.sweep, forecast.backfill, Some(forecast.verify)];
        let metrics = &self.parts.metrics;
        for (lane, share) in PLANNED.into_iter().zip(shares) {
            let (every, seen_within, short) =
                share.map_or((0, 0, false), |share| (share.every.as_secs(), share.seen_within.as_secs(), share.short));
            metrics.planned(lane, every, seen_within, short);
        }
        metrics.poll_interval.set(i64::try_from(forecast.hot.every.as_secs()).unwrap_or(i64::MAX));
        let open_due = plan::open_due(&situation, &forecast);
        metrics.open_due.set(open_due.map_or(0, |at| at.timestamp()));
        let calendar = &picture.calendar;
        let held = calendar.days.iter().filter(|day| day.submissions > 0);
        let oldest = held.map(|day| calendar.covered_at(day.day).map_or(0, |at| at.timestamp())).min();
        metrics.oldest_coverage.set(oldest.unwrap_or(0));
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.verify_backlog.set(count(calendar.days.iter().filter(|day| day.verify).count() as u64));
        metrics.open_submissions.set(count(calendar.days.iter().map(|day| day.open).sum()));
    }

    /// What the plan gives each lane now.
    pub async fn forecast(&mut self) -> Result<Forecast, SyncError> {
        self.look().await?;
        Ok(plan::forecast(&self.situation()))
    }

    /// The lease that is held.
    pub(super) fn held(&self) -> Result<Lease, SyncError> {
        let project_id = || self.parts.project.id.clone();
        self.lease.clone().ok_or_else(|| StoreError::LeaseLost { project_id: project_id() }.into())
    }

    /// Sees that the lease is still held.
    pub(super) async fn renew(&mut self) -> Result<(), SyncError> {
        let lease = self.held()?;
        match lease::renew(&mut *self.connection().await?, &lease).await {
            Err(StoreError::LeaseLost { .. }) => {
                self.lose_the_lease();
                let mut connection = self.connection().await?;
                self.take(&mut connection).await
            }
            result => Ok(result?),
        }
    }

    async fn take(&mut self, connection: &mut PgConnection) -> Result<(), SyncError> {
        let (project_id, holder, ttl) = (&self.parts.project.id, &self.parts.holder, self.parts.settings.lease.ttl);
        // Else two projects that look at the same moment would both see that this process leads none.
        let _alone = match &self.taking {
            Some(taking) => Some(taking.lock().await),
            None => None,
        };
        let may_stand_back = self.taking.is_some() && !self.left_to_others;
        if may_stand_back && lease::free_for_others(connection, project_id, holder).await? {
            self.left_to_others = true;
            return Err(SyncError::LeftToOthers { project_id: project_id.clone() });
        }
        self.left_to_others = false;
        match lease::acquire(connection, project_id, holder, ttl).await? {
            Ok(lease) => {
                // Requests are numbered within an epoch, and walks are where the last writer left them.
                self.request_no = 0;
                self.walking.clear();
                self.same_project = false;
                tracing::info!(project = project_id, epoch = lease.epoch, "this process is the writer");
                self.lease = Some(lease);
                Ok(())
            }
            Err(holder) => Err(SyncError::NotLeader { project_id: project_id.clone(), holder }),
        }
    }

    /// Takes the lease if it is not held, and reads what is known of the project.
    pub(super) async fn read_picture(&mut self) -> Result<(), SyncError> {
        let (project_id, now) = (self.parts.project.id.clone(), self.parts.clock.now());
        let new_writer = self.lease.is_none();
        if new_writer {
            let mut connection = self.connection().await?;
            database::may_write(&mut connection).await?;
            progress::enrol(&mut connection, &project_id, &self.parts.project.name, now).await?;
            self.take(&mut connection).await?;
        } else {
            // Between two walks somebody may have taken it: wait for our turn like anybody.
            self.renew().await?;
        }
        if !self.same_project {
            if !self.same_project().await? {
                self.former = None;
            }
            self.same_project = true;
        }
        let mut transaction = self.fenced(&self.held()?).await?;
        if new_writer {
            mirror::recount_rejected(&mut transaction, &project_id).await?;
        }
        let since = self.parts.settings.poll.since;
        let mut project = progress::project(&mut transaction, &project_id, now).await?;
        if project.import.is_none_or(|import| import.begins_after(since)) {
            progress::want_from(&mut transaction, &project_id, since).await?;
            project = progress::project(&mut transaction, &project_id, now).await?;
        }
        let calendar = calendar::load(&mut transaction, &project_id).await?;
        let walks = progress::walks(&mut transaction, &project_id).await?;
        let findings = probe::findings(&mut transaction, &project_id).await?;
        let lacking = findings.lacking(&views::fields(&mut transaction, &project_id).await?);
        transaction.commit().await.map_err(StoreError::doing("reading the project's state"))?;
        if let Some(count) = project.page_count {
            self.count = self.count.min(count);
        }
        let unreserved = self.parts.project.api.requests_per_day.saturating_sub(project.reserved);
        // What was left when the block was reserved says nothing of a new day, nor of what others took since.
        if let Some(block) = &mut self.block {
            block.remaining = unreserved;
        }
        let first_canary = now + self.parts.settings.poll.canary_interval;
        self.canary_at = self.canary_at.or(Some(first_canary));
        self.picture = Some(Picture { read_at: now, project, calendar, unreserved, findings, lacking });
        // A walk in progress over what has become another list (another filter, say) starts over. Under a new key of the
        // same project it is the same list.
        let (source, former) = (self.source(), self.former_source());
        let goes_on = |walk: &mut Walk| {
            if Some(walk.source) == former {
                walk.source = source;
            }
            walk.source == source
        };
        let other = |walking: &mut Walking| walking.place.as_mut().is_some_and(|walk| !goes_on(walk));
        for (lane, _) in self.walking.extract_if(.., |_, walking| other(walking)) {
            self.ledger.given_up(lane);
        }
        // Where another process, or an earlier life of this one, stopped.
        for (lane, mut walk) in walks {
            if goes_on(&mut walk) && !self.walking.contains_key(&lane) {
                self.keep_walking(Walking::resumed(lane, walk));
            }
        }
        Ok(())
    }

    pub(super) fn picture(&self) -> &Picture {
        self.picture.as_ref().expect("every request begins with a look")
    }

    /// What dates filter by.
    pub(super) fn filter(&self) -> Filter {
        self.picture.as_ref().map_or(Filter::UNKNOWN, |picture| picture.findings.filter)
    }

    /// Everything that decides what is due.
    pub(super) fn situation(&self) -> Situation<'_> {
        let picture = self.picture();
        let now = self.parts.clock.now();
        let project = &picture.project;
        let import = project.import_completed_at.is_none().then(|| plan::import_days(project.import, now));
        Situation {
            now,
            calendar: &picture.calendar,
            poll: &self.parts.settings.poll,
            filter: self.filter(),
            page: plan::page(project.page_items, self.count.into()),
            budget: Budget {
                per_day: self.parts.project.api.requests_per_day,
                left: self.block.map_or(picture.unreserved, |block| block.remaining) + self.parts.client.pace.left(),
                until_midnight: plan::until_midnight(now),
            },
            import,
            lanes: self.ledger.lanes(),
            phases: picture.lacking.phases(),
            refresh: project.refresh,
            details: project.details,
            confirm_at: project.confirm_at,
            canary_at: self.canary_at,
            probe_every: picture.findings.probe_every(self.parts.project.api.requests_per_day),
        }
    }

    /// Remembers how many submissions a page really holds, if that has changed by more than a tenth; `full`: pages that
    /// were not the last of a walk, and their submissions.
    pub(super) async fn learn_page(&mut self, full: (u64, u64)) -> Result<(), SyncError> {
        let project = &self.picture().project;
        let measured = (full.0 >= 2).then(|| full.1 as f64 / full.0 as f64);
        let items = match (project.page_items, measured) {
            (Some(known), Some(measured)) if (known - measured).abs() <= known / 10.0 => Some(known),
            (known, measured) => measured.or(known),
        };
        let count = (self.count < self.parts.project.api.count).then_some(self.count);
        if (items, count) == (project.page_items, project.page_count) || self.dry_run {
            return Ok(());
        }
        let mut transaction = self.fenced(&self.held()?).await?;
        progress::keep_page(&mut transaction, &self.parts.project.id, items, count).await?;
        Ok(transaction.commit().await.map_err(StoreError::doing("keeping the page size"))?)
    }

    /// Gives the lease back, so that the next process need not wait for its end, and the permits that
    /// are left.
    pub async fn release(&mut self) -> Result<(), SyncError> {
        // The lease first: that it is given back must not hang on the permits.
        self.give_back_the_lease().await?;
        self.give_back_permits().await?;
        self.parts.metrics.leader.set(0);
        Ok(())
    }

    pub(super) async fn give_back_permits(&mut self) -> Result<(), SyncError> {
        let left = self.parts.client.pace.drain();
        if let Some(block) = self.block.take().filter(|_| left > 0) {
            let project_id = &self.parts.project.id;
            budget::give_back(&mut *self.connection().await?, project_id, block.day, left).await?;
        }
        Ok(())
    }

    pub(super) async fn give_back_the_lease(&mut self) -> Result<(), SyncError> {
        let Some(lease) = self.lease.take() else { return Ok(()) };
        Ok(lease::release(&mut *self.connection().await?, &lease).await?)
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
        self.parts.heartbeat.expect_within(settings.connect_timeout + settings.statement_timeout);
        let begun = self.parts.pool.begin().await;
        let mut transaction = begun.map_err(StoreError::doing("beginning a transaction"))?;
        self.parts.heartbeat.expect_within(self.patience());
        database::bound(&mut transaction, settings.statement_timeout, lease.ttl).await?;
        lease::renew(&mut transaction, lease).await?;
        Ok(transaction)
    }

    /// Forgets a lane's walk in progress, so that the next one starts over.
    pub(super) async fn forget(&mut self, lane: Lane) -> Result<(), SyncError> {
        self.walking.remove(&lane);
        self.ledger.given_up(lane);
        if self.dry_run {
            return Ok(());
        }
        let mut transaction = self.fenced(&self.held()?).await?;
        progress::drop_walk(&mut transaction, &self.parts.project.id, lane).await?;
        Ok(transaction.commit().await.map_err(StoreError::doing("forgetting a walk"))?)
    }

    pub(super) async fn connection(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>, SyncError> {
        self.parts.heartbeat.expect_within(self.parts.settings.database.connect_timeout);
        let connection = self.parts.pool.acquire().await.map_err(StoreError::doing("connecting"))?;
        self.parts.heartbeat.expect_within(self.patience());
        Ok(connection)
    }

    /// How long a handful of statements may take together: longer than the server lets one of them take, so that its own
    /// time-out comes first.
    pub(super) fn patience(&self) -> Duration {
        let settings = &self.parts.settings;
        database::longest(settings.database.statement_timeout, settings.lease.ttl) * 2
    }

    /// Takes the database's counts over into the metrics.
    pub async fn show_counts(&self) -> Result<(), SyncError> {
        in_time(&self.parts.heartbeat, self.read_counts()).await
    }

    async fn read_counts(&self) -> Result<(), SyncError> {
        let project_id = &self.parts.project.id;
        let mut connection = self.connection().await?;
        // What waits first: the totals then count at least what is seen to wait.
        let waiting = alerts::waiting(&mut connection, project_id).await?;
        let counts = mirror::counts(&mut connection, project_id).await?;
        let pending = mirror::pending_since(&mut connection, project_id).await?;
        let outbox = outbox::size(&mut connection).await?;
        let completed = progress::completed(&mut connection, project_id).await?;
        self.show_probe(&mut connection).await?;
        drop(connection);
        let metrics = &self.parts.metrics;
        // From the database, so that a restart, a standby and the walks of `once` show too.
        for lane in Lane::ALL {
            let at = completed.iter().find(|(name, _)| name == lane.as_str());
            at.into_iter().for_each(|(_, at)| metrics.success(lane, *at));
        }
        metrics.oldest_pending.set(pending.map_or(0, |at| at.timestamp()));
        metrics.outbox_events.set(outbox);
        let (mut other, mut unlisted, mut alerts) = (0, 0, Alerts { waiting, ..Alerts::default() });
        for ((name, label), value) in &counts {
            let total = u64::try_from(*value).unwrap_or(0);
            match name.as_str() {
                "submissions" if label == "none" || KYC_RESULTS.contains(&label.as_str()) => {
                    metrics.submissions(label, *value);
                }
                "submissions" => other += value,
                "rejected" if label == NO_CODE || REJECT_CODES.contains(&label.as_str()) => {
                    metrics.rejected(label, *value);
                }
                "rejected" => unlisted += value,
                "red_flags_open" => metrics.red_flags_open.set(*value),
                // Counted before risks were: without one.
                "red_flags_raised" => *alerts.raised.entry(Risk::named(label)).or_default() += total,
                "red_flags_escalated" => *alerts.escalated.entry(Risk::named(label)).or_default() += total,
                "approvals_revoked" => alerts.revoked = total,
                _ => {}
            }
        }
        metrics.alerts(&alerts);
        metrics.submissions("other", other);
        metrics.rejected(UNLISTED, unlisted);
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
