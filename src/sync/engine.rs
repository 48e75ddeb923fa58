//! Reads one project, a request at a time: [`Engine::turn`] asks the plan what is due and does it. `walk` reads a page,
//! `single` one submission, `probe` finds out what the vendor does, `upkeep` keeps the lease and the permits, `prune`
//! removes what was kept long enough, `guard` asks whose data it is, `confirm` looks again at what seems to be deleted,
//! `tell` leaves word of errors, `reload` takes up changed settings.

mod canary;
mod confirm;
mod findings;
mod guard;
mod probe;
mod prune;
mod reload;
mod single;
mod tell;
mod upkeep;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta};
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use self::findings::{UNKNOWN_AML, probe_settings};
pub use self::prune::Pruned;
use self::upkeep::Picture;
use self::walk::Walking;
use super::drift;
use super::error::SyncError;
use super::plan::{self, Errand, Ledger, Next, Target};
use super::report::PassReport;
use crate::argos::client::Client;
use crate::argos::query::Cursor;
use crate::chain::chain;
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Settings};
use crate::domain::calendar::DayRange;
use crate::domain::hash::HashKey;
use crate::domain::lane::Lane;
use crate::heartbeat::Heartbeat;
use crate::metrics::ProjectMetrics;
use crate::store::budget::Block;
use crate::store::error::StoreError;
use crate::store::lease::Lease;

/// How long after a probe that failed the next one is tried.
const PROBE_AGAIN: TimeDelta = TimeDelta::minutes(10);

/// A leader that the database fails this often in a row, in one lane, lets others lead.
const UNWRITTEN: u32 = 3;

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
    /// Held while a lease is taken, by one project of the process at a time; `None`: the process has one engine.
    taking: Option<Arc<Mutex<()>>>,
    /// Whether the lease was free at the last look and left to others.
    left_to_others: bool,
    request_no: i64,
    block: Option<Block>,
    /// Submissions asked for per page: `api.count`, or fewer while pages are too large.
    count: u32,
    /// Whether to take back every write: see [`Engine::only_try`].
    dry_run: bool,
    pruning: prune::Progress,
    /// Names that no document knows.
    drift: drift::Book,
    /// Whether it was asked, under this lease, that the key is still this project's.
    same_project: bool,
    /// Server, key and dialect before a change that nobody has asked about yet: see `reload`.
    former: Option<[Vec<u8>; 3]>,
    telling: tell::Telling,
    /// What is known of the project; `None`: to be read (again).
    picture: Option<Picture>,
    /// Walks in progress, one per lane.
    walking: BTreeMap<Lane, Walking>,
    /// Pages that the vendor did not serve in time, one per lane: by their cursor, and how often.
    slow: BTreeMap<Lane, (Option<Cursor>, u32)>,
    /// When the next submission is to be drawn at random; `None`: never.
    canary_at: Option<Timestamp>,
    /// A probe that failed is not tried again before this moment.
    probe_again_at: Timestamp,
    /// Whether a walk was refused its pages of screenings since the last probe.
    screenings_refused: bool,
    /// What each lane did last.
    ledger: Ledger,
    /// How often in a row the database failed this leader, by lane.
    unwritten: BTreeMap<Lane, u32>,
    /// Whether the lease was given back for that.
    stood_back: bool,
}

/// What a turn did.
#[derive(Debug)]
pub enum Turn {
    /// One request; its walk goes on.
    Went,
    /// One request, the last of its walk or round.
    Ended(Box<PassReport>),
    /// Nothing: nothing is due before this moment.
    Rest(Timestamp),
}

impl Engine {
    /// An engine that has done nothing yet.
    pub fn new(parts: Parts) -> Self {
        let count = parts.project.api.count;
        // Until the plan says it.
        let interval = i64::try_from(parts.settings.poll.interval.as_secs()).unwrap_or(i64::MAX);
        parts.metrics.poll_interval.set(interval);
        Self {
            parts,
            lease: None,
            taking: None,
            left_to_others: false,
            request_no: 0,
            block: None,
            count,
            dry_run: false,
            pruning: prune::Progress::default(),
            drift: drift::Book::default(),
            same_project: false,
            former: None,
            telling: tell::Telling::default(),
            picture: None,
            walking: BTreeMap::new(),
            slow: BTreeMap::new(),
            canary_at: None,
            probe_again_at: Timestamp::MIN_UTC,
            ledger: Ledger::default(),
            screenings_refused: false,
            unwritten: BTreeMap::new(),
            stood_back: false,
        }
    }

    /// What the engine is made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// From now on projects spread over daemons: while this process leads another project, a free lease is taken at the
    /// second look only, so that a process that leads none comes first. `taking` is one for all engines of the process.
    pub fn spread(&mut self, taking: Arc<Mutex<()>>) {
        self.taking = Some(taking);
    }

    /// From now on every page is applied and taken back again: reports tell what would change.
    pub fn only_try(&mut self) {
        self.dry_run = true;
    }

    /// Does what is due: at most one request. After an error the next turn reads its place from the database again,
    /// whatever was committed.
    pub async fn turn(&mut self) -> Result<Turn, SyncError> {
        self.look().await?;
        let situation = self.situation();
        let now = situation.now;
        // Also while nothing is asked for because nothing is left.
        self.parts.metrics.budget_remaining.set(i64::try_from(situation.budget.left).unwrap_or(i64::MAX));
        let due = self.screenings_refused || self.probe_due(&self.picture().findings);
        if situation.budget.left > 0 && self.probe_again_at <= now && due {
            self.screenings_refused = false;
            // A probe that fails does not hold up the rest.
            self.probe_again_at = now + PROBE_AGAIN;
            if let Err(error) = self.probe().await {
                self.tell(Lane::Hot, Err(&error)).await;
                return Err(error);
            }
            return Ok(Turn::Went);
        }
        match plan::next(&situation) {
            Next::Wait(until) => Ok(Turn::Rest(until)),
            Next::Do(errand) => match self.step(errand).await {
                // Its lane goes on with the next one in a while, and the other lanes at once.
                Err(error @ SyncError::OneSubmission { .. }) => {
                    self.ledger.failed(errand.lane, self.parts.clock.now());
                    let (project, lane, kind) = (&self.parts.project.id, errand.lane.as_str(), error.kind());
                    tracing::warn!(project, lane, kind, advice = error.advice(), "{}", chain(&error));
                    Ok(Turn::Went)
                }
                ended => Ok(ended?.map_or(Turn::Went, |report| Turn::Ended(Box::new(report)))),
            },
        }
    }

    /// The hot lane's walk to its end, whether it is due or not.
    pub async fn hot(&mut self) -> Result<PassReport, SyncError> {
        self.look().await?;
        self.to_end(plan::hot(&self.situation())).await
    }

    /// One walk from `poll.since`, or without dates, to now.
    pub async fn once(&mut self) -> Result<PassReport, SyncError> {
        let days = self.wanted_days();
        self.to_end(Errand { lane: Lane::Once, target: Target::Days(days) }).await
    }

    /// The walk that reads some days again, or (without days) does what is left of the import; `None`: nothing is left.
    pub async fn backfill(&mut self, days: Option<DayRange>) -> Result<Option<Errand>, SyncError> {
        self.look().await?;
        let errand = |days| Errand { lane: Lane::Backfill, target: Target::Days(days) };
        if days.is_some() {
            return Ok(Some(errand(days)));
        }
        let Some(due) = self.situation().import else { return Ok(None) };
        // The import goes up to the day on which it began: one that was interrupted yesterday goes on.
        let running = self.ledger.running(Lane::Backfill);
        Ok(Some(running.map_or_else(|| errand(due), |running| running.errand)))
    }

    /// One request of an errand; the report, if it was the last.
    pub async fn go_on(&mut self, errand: Errand) -> Result<Option<PassReport>, SyncError> {
        self.look().await?;
        self.step(errand).await
    }

    /// How far a lane's walk has come, over all its interruptions: pages, submissions, and how many submissions the mirror
    /// lets expect.
    pub fn walked(&self, lane: Lane) -> (u64, u64, u64) {
        let place = self.walking.get(&lane).and_then(|walking| walking.place.as_ref());
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        let expected =
            self.picture.as_ref().zip(place).map_or(0, |(picture, walk)| picture.calendar.submissions(walk.days));
        place.map_or((0, 0, expected), |walk| (number(walk.pages), number(walk.items), expected))
    }

    /// Does an errand to its end, from where it was interrupted. Ends early, without an error, when it is asked to stop.
    pub async fn to_end(&mut self, errand: Errand) -> Result<PassReport, SyncError> {
        loop {
            if let Some(report) = self.go_on(errand).await? {
                return Ok(report);
            }
        }
    }

    /// The days that are to be mirrored; `None`: all.
    pub(super) fn wanted_days(&self) -> Option<DayRange> {
        let today: NaiveDate = self.parts.clock.now().date_naive();
        self.parts.settings.poll.since.map(|since| (since.min(today), today))
    }

    /// One request of an errand; the report, if it was the last.
    pub(super) async fn step(&mut self, errand: Errand) -> Result<Option<PassReport>, SyncError> {
        let heartbeat = self.parts.heartbeat.clone();
        self.ledger.sent(errand, self.parts.clock.now());
        let request = async {
            match errand.target {
                Target::Days(days) => self.page(errand.lane, days).await,
                Target::OpenIds(day) => self.open_submission(day).await,
                Target::Queue => self.single(errand.lane).await.map(Some),
            }
        };
        let result = in_time(&heartbeat, request).await;
        self.note(errand.lane, &result).await;
        result
    }

    /// Tells the metrics how a request ended, and forgets what an error has made doubtful.
    async fn note(&mut self, lane: Lane, result: &Result<Option<PassReport>, SyncError>) {
        let well = |report: &Option<PassReport>| report.as_ref().is_none_or(|report| report.complete);
        self.tell(lane, result.as_ref().map(well)).await;
        self.count_unwritten(lane, result.as_ref().err());
        if matches!(result, Ok(None)) {
            return;
        }
        // Also where another process is the writer: the database's counts are the same on all replicas.
        if !matches!(result, Err(SyncError::Store(_))) {
            self.try_show_counts().await;
        }
        let metrics = &self.parts.metrics;
        match result {
            Ok(None) => {}
            Ok(Some(report)) if report.complete => {
                metrics.pass(lane, "complete");
                metrics.success(lane, self.parts.clock.now());
            }
            Ok(Some(_)) => metrics.pass(lane, "stopped"),
            Err(error) => {
                metrics.pass(lane, "failed");
                self.count_error(error);
            }
        }
        if let Err(SyncError::Store(_)) = result {
            self.let_go().await;
        }
        // Coverage has moved, or nobody knows what has.
        self.picture = None;
        self.parts.metrics.leader.set(i64::from(self.lease.is_some()));
    }

    /// Takes the database's counts over into the metrics. That it fails is of no concern to the reading.
    async fn try_show_counts(&self) {
        if let Err(error) = self.show_counts().await {
            tracing::warn!(project = self.parts.project.id, error = chain(&error), "the metrics show older counts");
        }
    }

    fn count_error(&self, error: &SyncError) {
        match error {
            SyncError::Store(StoreError::LeaseLost { .. }) => {}
            SyncError::Store(_) => self.parts.metrics.database_errors.inc(),
            SyncError::SuspiciouslyEmpty => self.parts.metrics.suspicious_empty.inc(),
            _ => {}
        }
    }

    /// Takes the lease and reads what is known of the project, unless both are at hand.
    async fn look(&mut self) -> Result<(), SyncError> {
        let now = self.parts.clock.now();
        self.not_after(now);
        if self.lease.is_some() && self.picture.as_ref().is_some_and(|picture| picture.fresh(now)) {
            return Ok(());
        }
        let heartbeat = self.parts.heartbeat.clone();
        let result = in_time(&heartbeat, self.read_picture()).await;
        if result.is_ok() {
            self.show_plan();
        }
        if let Err(error) = &result {
            match error {
                SyncError::NotLeader { .. } | SyncError::LeftToOthers { .. } => {
                    self.parts.metrics.pass(Lane::Hot, "not_leader");
                    // The counts are the same on all replicas.
                    let _ = self.show_counts().await;
                }
                error => {
                    self.parts.metrics.pass(Lane::Hot, "failed");
                    self.count_error(error);
                    self.tell(Lane::Hot, Err(error)).await;
                }
            }
            // A lease that could not even be taken is not counted: there is nothing to let go of.
            if self.lease.is_some() {
                self.count_unwritten(Lane::Hot, Some(error));
            }
            if matches!(error, SyncError::Store(_) | SyncError::NotLeader { .. } | SyncError::LeftToOthers { .. }) {
                self.let_go().await;
            }
        }
        self.parts.metrics.leader.set(i64::from(self.lease.is_some()));
        result
    }

    fn count_unwritten(&mut self, lane: Lane, error: Option<&SyncError>) {
        match error {
            None => drop(self.unwritten.remove(&lane)),
            Some(SyncError::Store(StoreError::LeaseLost { .. })) => {}
            Some(SyncError::Store(_)) => *self.unwritten.entry(lane).or_default() += 1,
            Some(_) => {}
        }
    }

    /// After a failure of the database: the lease is taken anew, or, if it failed again and again, given back. Another
    /// one's role may have the right that is missing here, and its version may fit the schema.
    async fn let_go(&mut self) {
        if self.unwritten.values().any(|times| *times >= UNWRITTEN) {
            self.unwritten.clear();
            self.stood_back = true;
            if let Err(error) = self.give_back_the_lease().await {
                tracing::warn!(error = chain(&error), "the lease was not given back; it runs out by itself");
            }
        }
        self.lose_the_lease();
    }

    /// Whether the lease was given back since this was last asked because the database failed: who stays away for a
    /// while lets another one take it.
    pub fn stood_back(&mut self) -> bool {
        std::mem::take(&mut self.stood_back)
    }

    /// The clock may have gone back: nothing waits longer than it would have from now.
    fn not_after(&mut self, now: Timestamp) {
        self.ledger.not_after(now);
        self.probe_again_at = self.probe_again_at.min(now + PROBE_AGAIN);
        let canary_at = now + self.parts.settings.poll.canary_interval;
        self.canary_at = self.canary_at.map(|at| at.min(canary_at));
    }

    fn lose_the_lease(&mut self) {
        self.lease = None;
        self.picture = None;
        self.walking.clear();
        self.ledger.all_given_up();
    }
}

/// Gives up what takes longer than it said: an answer of the database that does not come. Requests to the vendor have
/// deadlines of their own, which come first.
async fn in_time<T>(heartbeat: &Heartbeat, work: impl Future<Output = Result<T, SyncError>>) -> Result<T, SyncError> {
    // Nothing takes time before it says so.
    heartbeat.expect_within(Duration::ZERO);
    tokio::select! {
        biased;
        // On the heap: the futures of a whole turn, one inside the other, are too much for a thread's stack.
        result = Box::pin(work) => result,
        () = heartbeat.overdue() => Err(StoreError::Unanswered.into()),
    }
}
