//! What to read next, and when. Pure: it is asked after every request, so a slow lane never holds up a quick one by
//! more than one page.
//!
//! Two questions, answered anew each time from a [`Situation`] (the days, the settings, the budget, what each lane did):
//!
//! - [`forecast()`]: **how often** does each lane read, and how soon does it see a change at that?
//! - [`next()`]: at that pace, **which request** is due now, or until when is there none?
//!
//! # How often
//!
//! 1. **What a round costs.** `hot` walks the newest days: pages of what is known of them. `open` looks at each older day
//!    that holds open submissions: it asks for them one by one, or walks the day if that takes fewer requests (`open.rs`).
//!    `sweep` walks all older days, cut into walks that waste few pages (`sweep.rs`). An import takes the sweep's place.
//! 2. **What the settings ask for**, in requests per day: what a round costs, times the rounds per day. Hot has a round
//!    every `poll.interval`, the sweep one every `poll.sweep_interval`. Open days have intervals of their own: a hundredth
//!    of their age; those to which the sweep comes as often are left to the sweep.
//! 3. **What there is** (`budget.rs`). A fiftieth of the budget is for single submissions, probes have what they cost, and
//!    days to verify a tenth while there are any. If the rest is short, the sweep gives way first, then open, hot last;
//!    sweep and open keep a tenth each. What nobody needs is spare.
//! 4. **What follows**: a round that costs more than its lane is granted comes less often.
//!
//! For 100 days of 100 submissions, 2 of each day open, 100 per page, a round of hot every 5 minutes and one of the sweep
//! every 6 hours (a test holds these numbers):
//!
//! ```text
//!        a round  asked   of 5,000 a day    of 2,200 a day    of 1,000 a day
//! hot         5   1440    1440,    5 min    1440,    5 min     771,    9 min
//! open       44    397     397,   72 min     487,   75 min     100,  481 min
//! sweep      99    396     396,  360 min     220,  648 min     100, 1425 min
//! single                   100                44                20
//! probe                      9                 9                 9
//! spare                   2658                 0                 0
//! ```
//!
//! Hot's 4 days take 5 pages, since a walk asks for a day more on each side (the vendor's time zone is not known), and 5
//! pages every 5 minutes are 1,440 a day. The sweep comes every 6 hours, so 22 open days, not older than 25 days, are left to
//! the lane open, 2 requests each; its time is that of the youngest, 4 to 5 days old. With 2,200 requests a day the sweep has
//! its tenth. It is slower now, so that more days are the lane open's. With 1,000 hot is short as well.
//!
//! # Which request
//!
//! Each lane names its candidate: what it would read, and from when on (`lanes.rs`). Of those that are due:
//!
//! 1. hot, unless it had the last request;
//! 2. open, verify, sweep or import, if it was passed over nine times: nobody has less than every tenth request;
//! 3. a single submission, unless that was the last request;
//! 4. hot, open, verify, sweep or import, in this order.

mod budget;
mod forecast;
mod lanes;
mod ledger;
mod open;
mod sweep;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta};

use crate::clock::Timestamp;
use crate::config::Poll;
use crate::domain::calendar::{Calendar, DayRange, Filter, Import};
use crate::domain::lane::Lane;

use self::lanes::Candidate;
pub use forecast::{Age, Deletion, Forecast, NEVER, PUT_OFF, REQUEST, Share, forecast};
pub use lanes::open_due;
pub use ledger::Ledger;

/// A lane that is due and was passed over this often gets the next request: no lane has less than a tenth.
const PASSED_OVER: u64 = 9;

/// How long to rest at most when the day's budget is spent: the database says when the next day is there, and its clock
/// may be behind this one.
const LOOK_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// A walk that began so many seconds ahead of now did so before the clock went back: it would cover days as of a time that
/// has not come.
const AHEAD: f64 = 60.0;

/// The least time that a walk may take before it counts as stale.
const LEAST_WALK: f64 = 600.0;

/// The same for the import and for days that are read again: a week.
const LEAST_IMPORT: f64 = 604_800.0;

/// Something to read: one walk, one round, or one submission. It is done a request at a time, and what is due next is
/// asked again after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    /// For which lane.
    pub lane: Lane,
    /// What to read.
    pub target: Target,
}

/// What an errand reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The submissions created on these days, page by page; `None`: all, without dates.
    Days(Option<DayRange>),
    /// The open submissions of a day, one by one.
    OpenIds(NaiveDate),
    /// The next submission in the lane's queue (refresh, confirm, canary).
    Queue,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// One request of this errand, now. If the lane has a walk in progress, it is that one's errand.
    Do(Errand),
    /// Nothing before this moment.
    Wait(Timestamp),
}

/// Everything that decides what is due.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The time.
    pub now: Timestamp,
    /// The created-days.
    pub calendar: &'a Calendar,
    /// How often to look.
    pub poll: &'a Poll,
    /// What dates filter by.
    pub filter: Filter,
    /// Submissions that a page really holds; at least 1.
    pub page: u64,
    /// The requests there are.
    pub budget: Budget,
    /// The import that is still due, if any: its days (`None`: everything, without dates).
    pub import: Option<Option<DayRange>>,
    /// What each lane did; a lane that did nothing yet has no entry.
    pub lanes: &'a BTreeMap<Lane, Progress>,
    /// How often a walk reads its days: twice where lists lack the screenings.
    pub phases: u64,
    /// Submissions waiting in `id_reads` because somebody or something asked for them.
    pub refresh: u64,
    /// Whether others wait there because lists lack fields.
    pub details: bool,
    /// When the next suspected erasure is to be confirmed.
    pub confirm_at: Option<Timestamp>,
    /// When the next submission is to be drawn at random and compared.
    pub canary_at: Option<Timestamp>,
    /// From one probe to the next. Probes are made beside the plan; here they only count.
    pub probe_every: Duration,
}

/// Requests of the UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// In a whole day.
    pub per_day: u64,
    /// Left of today.
    pub left: u64,
    /// Time left of today.
    pub until_midnight: Duration,
}

/// What a lane did last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// The walk or round in progress.
    pub running: Option<Running>,
    /// When the first request of its last walk or round was sent, in progress or not.
    pub begun_at: Option<Timestamp>,
    /// When its last request was sent.
    pub asked_at: Option<Timestamp>,
    /// Not before this moment, because its last request failed.
    pub not_before: Option<Timestamp>,
    /// Requests of other lanes since.
    pub passed_over: u64,
    /// Requests of its last walk or round, in progress or not.
    pub requests: u64,
}

/// A walk or round in progress.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    /// What it reads.
    pub errand: Errand,
    /// When its first request was sent.
    pub started_at: Timestamp,
    /// Pages or submissions read.
    pub requests: u64,
}

impl Situation<'_> {
    fn progress(&self, lane: Lane) -> Progress {
        self.lanes.get(&lane).copied().unwrap_or_default()
    }

    /// Requests of other lanes since its last one; a lane that never asked has waited for ever.
    fn passed_over(&self, lane: Lane) -> u64 {
        let progress = self.progress(lane);
        progress.asked_at.map_or(u64::MAX, |_| progress.passed_over)
    }

    /// The hot lane's days.
    fn hot_days(&self) -> DayRange {
        hot_days(self.now, self.poll.lookback)
    }

    /// Pages of a list of these days: of what is known of the days that are asked for, at least one.
    fn list_pages(&self, days: Option<DayRange>) -> u64 {
        let asked = match self.filter {
            Filter::Ignored => None,
            _ => days.map(|days| self.filter.asked(days)),
        };
        self.calendar.submissions(asked).div_ceil(self.page.max(1)).max(1)
    }

    /// What a walk that covers these days costs: the list, and the screenings where lists lack them.
    fn pages(&self, days: Option<DayRange>) -> u64 {
        self.list_pages(days) * self.phases.max(1)
    }

    /// What an errand costs from its beginning to its end.
    fn cost(&self, errand: Errand) -> u64 {
        match errand.target {
            // To learn whom a list shows, screenings are not needed.
            Target::Days(days) if errand.lane == Lane::Verify => self.list_pages(days),
            Target::Days(days) => self.pages(days),
            Target::OpenIds(day) => self.calendar.day(day).map_or(1, |row| row.open.max(1)),
            Target::Queue => 1,
        }
    }

    /// Whether dates select created-days, so that days can be walked.
    fn dated(&self) -> bool {
        matches!(self.filter, Filter::Created { .. })
    }

    /// When the day's budget ends.
    fn midnight(&self) -> Timestamp {
        self.now + TimeDelta::from_std(self.budget.until_midnight).unwrap_or_default()
    }
}

/// What to read now, or until when there is nothing to read. To be asked again after every request.
pub fn next(situation: &Situation<'_>) -> Next {
    let (now, midnight) = (situation.now, situation.midnight().max(after(situation.now, 0.001)));
    if situation.budget.left == 0 {
        return Next::Wait(midnight.min(now + LOOK_AGAIN));
    }
    let forecast = forecast(situation);
    let hot = lanes::hot(situation, &forecast);
    let open = lanes::open(situation, &forecast);
    let verify = lanes::verify(situation, &forecast);
    let bulk = lanes::backfill(situation, &forecast).or_else(|| lanes::sweep(situation, &forecast));

    let due = |candidate: &Option<Candidate>| candidate.filter(|candidate| candidate.at <= now);
    let idle = [&Some(hot), &open, &verify, &bulk].into_iter().all(|candidate| due(candidate).is_none());
    let single = lanes::single(situation, &forecast, idle);
    let passed_over = |candidate: &Candidate| situation.passed_over(candidate.errand.lane);
    let hot_due = due(&Some(hot));
    // Hot comes first, but not twice in a row: so it waits for one page of another lane, never for two.
    let first = hot_due.filter(|_| situation.passed_over(Lane::Hot) > 0);
    let starving = [&open, &verify, &bulk].into_iter().filter_map(due).find(|it| passed_over(it) >= PASSED_OVER);
    let between = due(&single).filter(|_| lanes::SINGLE.iter().all(|lane| situation.passed_over(*lane) > 0));
    let chosen = (first.or(starving).or(between).or(hot_due))
        .or_else(|| [&open, &verify, &bulk, &single].into_iter().find_map(due));
    if let Some(candidate) = chosen {
        return Next::Do(candidate.errand);
    }
    let others = [open, verify, bulk, single].into_iter().flatten().map(|candidate| candidate.at);
    Next::Wait(others.fold(hot.at.min(midnight), Timestamp::min))
}

/// What the hot lane reads next, or is reading.
pub fn hot(situation: &Situation<'_>) -> Errand {
    lanes::hot(situation, &forecast(situation)).errand
}

/// Whether a walk or round took so long that it is to start over: three times what [`forecast()`] gives it, at least ten
/// minutes (an import: a week); or whether it began before the clock went back. One that turned out longer than the calendar knew, as a first import does, has time for what it read.
pub fn stale(running: &Running, situation: &Situation<'_>) -> bool {
    let forecast = forecast(situation);
    let requests = situation.cost(running.errand).max(running.requests + 1) as f64;
    // An import is to come to its end however slow the vendor is, and however often it was interrupted.
    let whole = matches!(running.errand.lane, Lane::Backfill | Lane::Once);
    let least = if whole { LEAST_IMPORT } else { LEAST_WALK };
    let allowed = least.max(3.0 * requests * forecast.pace(running.errand.lane));
    let age = seconds(running.started_at, situation.now);
    age > allowed || age < -AHEAD
}

/// Seconds from one moment to another; below zero if the other was first.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to - from).as_seconds_f64()
}

/// A moment so many seconds later, or ten years later if that is less.
fn after(at: Timestamp, seconds: f64) -> Timestamp {
    // Rounded up: a moment that has come must not turn out to lie ahead.
    at + TimeDelta::microseconds((seconds.clamp(0.0, 3.2e8) * 1e6).ceil() as i64)
}

/// The time left of a UTC day.
pub fn until_midnight(now: Timestamp) -> Duration {
    let tomorrow = now.date_naive().succ_opt().unwrap_or(NaiveDate::MAX).and_time(NaiveTime::MIN).and_utc();
    (tomorrow - now).to_std().unwrap_or_default()
}

/// The days of an import; `None`: everything, without dates.
pub fn import_days(import: Option<Import>, now: Timestamp) -> Option<DayRange> {
    let Some(Import::Days { from, to }) = import else { return None };
    let last = to.unwrap_or(now.date_naive());
    Some((from.min(last), last))
}

/// Submissions that a page really holds, at least 1: what was measured, but not more than are asked for.
pub fn page(measured: Option<f64>, count: u64) -> u64 {
    let count = count.max(1);
    measured.map_or(count, |items| (items.round() as u64).clamp(1, count))
}

/// The days that the hot lane covers: today (UTC) and the look-back before it.
pub fn hot_days(now: Timestamp, lookback: Duration) -> DayRange {
    let today = now.date_naive();
    let days = lookback.as_secs().div_ceil(24 * 60 * 60);
    (today.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN), today)
}
