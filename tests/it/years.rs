//! Years of a project's life in minutes: the vendor and the engine share a clock that only the test moves. It moves by a
//! little with every request, and over every rest at once.
//!
//! `changes` changes old submissions and asks whether each change was seen within the time that the plan stated when it
//! happened; `sweep` counts what reading everything again costs; `news` tells news from history.

mod changes;
mod news;
mod sweep;

use std::time::Duration;

use argos_sync::argos::error::ApiError;
use argos_sync::clock::{Clock, Timestamp};
use argos_sync::simulator::Options;
use argos_sync::sync::engine::{Engine, Turn};
use argos_sync::sync::error::SyncError;
use argos_sync::sync::report::PassReport;
use chrono::TimeDelta;

use crate::support::verbatim::noon;
use crate::support::{Database, World};

/// A day, in seconds.
const DAY: u64 = 86_400;

/// The age of the oldest submissions, in days.
const AGE: u64 = 400;

/// How many submissions the largest project has, as `make years` says; `None`: the tests are small.
fn full_size() -> Option<u64> {
    let size = std::env::var("ARGOS_SYNC_YEARS_SUBMISSIONS").ok()?;
    Some(size.parse().expect("ARGOS_SYNC_YEARS_SUBMISSIONS is a number"))
}

/// A vendor with so many submissions, evenly over so many days, to which as many are added every day. Their lives are
/// slow: many change days after they were created.
fn options(submissions: u64, days: u64) -> Options {
    let (history, rate) = (Duration::from_secs(days * DAY), submissions as f64 / (days * DAY) as f64);
    Options { initial: submissions, history, rate, life: 5.0, ..Options::default() }
}

/// A project and its time.
struct Years {
    world: World,
    clock: Clock,
    engine: Engine,
    /// What a request takes.
    request: TimeDelta,
}

impl Years {
    async fn new(options: Options, changes: &[(&str, &str)]) -> Self {
        let clock = Clock::manual(noon());
        let world = World::with(options, changes, clock.clone()).await;
        let engine = world.engine().await;
        Self { world, clock, engine, request: TimeDelta::milliseconds(300) }
    }

    fn database(&self) -> &Database {
        &self.world.database
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// One turn of the engine, and the time it takes, or the time until the next one, but none after `end`.
    async fn turn(&mut self, end: Timestamp) -> Option<PassReport> {
        let before = self.now();
        let (time, report) = match self.engine.turn().await {
            Ok(Turn::Went) => (self.request, None),
            Ok(Turn::Ended(report)) => (self.request, Some(*report)),
            Ok(Turn::Rest(until)) => ((until.min(end) - before).max(TimeDelta::milliseconds(1)), None),
            // As the daemon does.
            Err(SyncError::Api(ApiError::BudgetSpent)) => (long(self.world.app.settings.poll.interval), None),
            Err(error) => panic!("{error:?}"),
        };
        self.clock.advance(time);
        if self.now().date_naive() != before.date_naive() {
            // The budget's day is the database's, and there the night has not passed.
            self.database().execute("delete from argos.request_budget").await;
        }
        report
    }

    /// Lets time pass.
    async fn until(&mut self, end: Timestamp) {
        while self.now() < end {
            self.turn(end).await;
        }
    }

    /// Lets time pass until everything was read once.
    async fn import(&mut self) {
        let done = "select count(*) from argos.projects where import_completed_at is not null";
        while self.database().number(done).await == 0 {
            self.turn(Timestamp::MAX_UTC).await;
        }
    }
}

fn long(time: Duration) -> TimeDelta {
    TimeDelta::from_std(time).unwrap()
}
