//! At which pace each lane reads, and how soon it sees a change at that.

use std::time::Duration;

use super::budget::{FLOOR, Granted, Needs, divide, reserved};
use super::lanes::BURST;
use super::open::{self, OpenDay};
use super::{Situation, sweep, verify};
use crate::config::Poll;
use crate::domain::calendar::Filter;
use crate::domain::lane::Lane;
use crate::domain::probe;

/// How long a request is taken to last at most when a time is stated.
pub const REQUEST: Duration = Duration::from_secs(1);

pub(super) const DAY: f64 = 86_400.0;

/// How much quicker than it must the open lane works off what is due, so that days that are due together do not wait
/// for one another too long.
const OPEN_HASTE: f64 = 1.5;

/// So much longer may take what the budget bounds: it takes part in the ups and downs of what is left of the day.
const UPS_AND_DOWNS: f64 = 1.15;

/// Requests of other lanes that one of the lane verify may have to wait for when it is due, and its own: nine, then those
/// that have waited as long, each after one of the hot lane.
const VERIFY_WAITS: f64 = 13.0;

/// Turns of single submissions that a confirmation may have to wait for: the pause after another one, which takes two
/// requests, and a turn of refresh and canary each.
const CONFIRM_WAITS: f64 = 4.0;

/// Requests of other lanes in between, and its own two.
const CONFIRM_REQUESTS: f64 = 10.0;

/// A confirmation that cannot be had yet is tried again after `erasure.confirm_after` by this.
pub const PUT_OFF: u32 = 6;

/// What the plan comes to: the division of the budget, and what follows from it. `hot`, `open`, `sweep` or `backfill`,
/// `verify` (what they are granted), `probe`, `single` and `spare` add up to `budget`.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Requests per day that are counted on: the day's, or fewer when so many are gone that the rest must last.
    pub budget: f64,
    /// The newest days.
    pub hot: Share,
    /// Older days with open submissions. `round` is one look at each of them; `every` is that of the youngest.
    pub open: Share,
    /// How often the open submissions of some ages are looked at.
    pub ages: Vec<Age>,
    /// All older days; `None` while an import is due, and when there are none.
    pub sweep: Option<Share>,
    /// The import that is due; `seen_within` is the time it still takes.
    pub backfill: Option<Share>,
    /// Days in which somebody was missing. It is granted something only while there are any; `seen_within` is the time
    /// from the moment at which a day is marked until it is known who is missing.
    pub verify: Share,
    /// Requests per day for single submissions. They may take what is spare as well.
    pub single: f64,
    /// Within this time a deletion whose confirmation is due is asked for.
    pub confirm_within: Duration,
    /// Within this time lists have said again what they show of a submission.
    pub listed_within: Duration,
    /// Requests per day for probes.
    pub probe: f64,
    /// Requests per day that no lane needs.
    pub spare: f64,
    /// How much longer than wished the intervals of the open lane are; 1: not at all.
    pub open_stretch: f64,
    /// How long an open day that is due may have to wait for others.
    pub open_wait: Duration,
}

/// One lane's part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Requests of one round.
    pub round: u64,
    /// Requests per day that the settings ask for.
    pub need: f64,
    /// Requests per day that the budget allows: `need`, or less.
    pub granted: f64,
    /// From the beginning of one round to that of the next.
    pub every: Duration,
    /// A change is seen within this time, if no request takes longer than [`REQUEST`] and the vendor is without fault.
    pub seen_within: Duration,
    /// Whether the budget gives less than the settings ask for.
    pub short: bool,
}

/// Open submissions of an age.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Age {
    /// Days since they were created.
    pub days: u64,
    /// From one look to the next; `None`: the sweep comes by more often than the open lane would.
    pub every: Option<Duration>,
    /// A change is seen within this time.
    pub seen_within: Duration,
}

/// How soon it is known that the vendor has deleted a submission.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deletion {
    /// It is suspected within this time.
    pub suspected_within: Duration,
    /// It was confirmed by id for the second time, and is carried out, within this time.
    pub carried_out_within: Duration,
    /// The same for what lists have shown and the submission still has: fields that were removed. Lists must lack them, too.
    pub with_lists_within: Duration,
}

impl Forecast {
    /// Seconds per request of a lane's walk or round, at least [`REQUEST`].
    pub(super) fn pace(&self, lane: Lane) -> f64 {
        let share = match lane {
            Lane::Hot => Some(self.hot),
            Lane::Open => Some(self.open),
            Lane::Sweep => self.sweep,
            Lane::Backfill => self.backfill,
            Lane::Verify => Some(self.verify),
            _ => None,
        };
        share.map_or(0.0, |share| DAY / share.granted.max(1.0)).max(REQUEST.as_secs_f64())
    }

    /// Seconds from one request of the open lane to the next, at the least.
    pub(super) fn open_gap(&self) -> f64 {
        DAY / (OPEN_HASTE * self.open.granted + self.spare)
    }

    /// The same for the lane verify.
    pub(super) fn verify_gap(&self) -> f64 {
        DAY / (self.verify.granted + self.spare)
    }

    /// The same for single submissions.
    pub(super) fn single_gap(&self) -> f64 {
        DAY / (self.single + self.spare)
    }

    /// How often open submissions that were created so long ago are looked at, and within which time a change of them is
    /// seen: by the open lane, or by the sweep if that is sooner.
    pub fn of_age(&self, poll: &Poll, age: Duration) -> (Option<Duration>, Duration) {
        let interval = open::interval(poll, age.as_secs_f64());
        let cycle = self.sweep.map_or(f64::INFINITY, |sweep| sweep.every.as_secs_f64());
        let every = Some(interval * self.open_stretch).filter(|_| interval <= cycle);
        let by_sweep = self.sweep.map_or(f64::INFINITY, |sweep| sweep.seen_within.as_secs_f64());
        let seen = every.map_or(by_sweep, |every| by_sweep.min(1.25 * every + self.open_wait.as_secs_f64()));
        (every.map(lasting), lasting(seen))
    }

    /// How soon a deletion is known where any other change is seen within `seen_within`: the walk that sees it does not
    /// show all that is stored, so its day is walked again to learn who is missing; that one is asked for by id, and
    /// again after `confirm_after`.
    pub fn deletion(&self, seen_within: Duration, confirm_after: Duration) -> Deletion {
        let suspected_within = seen_within.saturating_add(self.verify.seen_within);
        let confirmations = (self.confirm_within * 2).saturating_add(confirm_after);
        Deletion {
            suspected_within,
            carried_out_within: suspected_within.saturating_add(confirmations),
            with_lists_within: suspected_within
                .saturating_add(confirmations)
                .saturating_add(self.put_off(confirm_after)),
        }
    }

    /// How much longer it takes where the lists' word is waited for: the second confirmation is put off until they have
    /// spoken once more.
    fn put_off(&self, confirm_after: Duration) -> Duration {
        self.listed_within.saturating_add(confirm_after / PUT_OFF).saturating_add(self.confirm_within)
    }
}

/// Divides the budget and states what follows. Pure, and quick enough to be asked before every request.
pub fn forecast(situation: &Situation<'_>) -> Forecast {
    let division = Division::of(situation);
    let Division { budget, granted, .. } = division;
    let hot = division.hot();
    let open_stretch = (division.needs.open / granted.open.max(f64::MIN_POSITIVE)).max(1.0);
    let mut forecast = Forecast {
        budget,
        hot,
        open: division.open(),
        ages: Vec::new(),
        sweep: division.sweep(situation),
        backfill: division.backfill(),
        verify: division.verify(situation),
        single: granted.single,
        confirm_within: Duration::ZERO,
        listed_within: Duration::ZERO,
        probe: granted.probe,
        spare: granted.spare,
        open_stretch,
        open_wait: Duration::ZERO,
    };
    let request = REQUEST.as_secs_f64();
    forecast.confirm_within = lasting(CONFIRM_WAITS * forecast.single_gap() + CONFIRM_REQUESTS * request);
    forecast.listed_within = match (situation.filter, forecast.sweep) {
        (Filter::Created { .. }, _) => forecast.verify.seen_within,
        (Filter::Updated, Some(sweep)) => sweep.seen_within,
        (Filter::Updated | Filter::Ignored, _) => hot.seen_within,
    };
    // A round that is in progress is finished before a day that came due meanwhile.
    let longest = division.open_days.iter().map(|day| day.cost).max().unwrap_or(1) as f64;
    forecast.open_wait = lasting(2.0 * longest * forecast.open_gap().max(request) + work(hot.round));
    state_ages(situation, &mut forecast);
    forecast
}

/// States how soon a change of open submissions is seen: of the youngest that are not the hot lane's, and of older ones.
fn state_ages(situation: &Situation<'_>, forecast: &mut Forecast) {
    let youngest = situation.poll.lookback.as_secs() / 86_400 + 1;
    let look = |days: u64| {
        // At the end of that day of its age.
        let age = Duration::from_secs((days + 1) * 86_400);
        let (every, seen_within) = forecast.of_age(situation.poll, age);
        Age { days, every, seen_within }
    };
    let first = look(youngest);
    let known = situation.calendar.first_day().map_or(0, |day| (situation.now.date_naive() - day).num_days());
    let listed = [youngest, 30, 300, 3000].into_iter().filter(|days| *days >= youngest);
    let ages = listed.filter(|days| i64::try_from(*days).is_ok_and(|days| days <= known)).map(look).collect();
    forecast.ages = ages;
    forecast.open.every = first.every.or(forecast.sweep.map(|sweep| sweep.every)).unwrap_or(first.seen_within);
    forecast.open.seen_within = first.seen_within;
}

/// The budget, divided.
struct Division {
    /// Requests per day that are counted on.
    budget: f64,
    /// Requests of a round of the hot lane.
    hot_round: u64,
    sweep_round: sweep::Round,
    /// Requests that the import still takes.
    import: Option<u64>,
    /// Seconds of a round of the sweep.
    cycle: f64,
    /// The open lane's days: those that the sweep does not come to more often anyway.
    open_days: Vec<OpenDay>,
    needs: Needs,
    granted: Granted,
}

impl Division {
    fn of(situation: &Situation<'_>) -> Self {
        let poll = situation.poll;
        let budget = counted_on(situation);
        let hot_round = situation.pages(Some(situation.hot_days()));
        let import = situation.import.map(|days| {
            let done = situation.progress(Lane::Backfill).running.map_or(0, |running| running.requests);
            situation.pages(days).saturating_sub(done).max(1)
        });
        let sweep_round = if import.is_some() { sweep::Round::default() } else { sweep::round(situation) };
        let shortest = poll.sweep_interval.as_secs_f64();
        let marked = situation.calendar.days.iter().any(|row| row.verify);
        let mut needs = Needs {
            hot: per_day(hot_round, poll.interval.as_secs_f64()),
            open: 0.0,
            // An import takes what there is.
            bulk: if import.is_some() { budget } else { per_day(sweep_round.requests, shortest) },
            verify: marked || situation.progress(Lane::Verify).running.is_some(),
            probe: per_day(probe::MOST_REQUESTS, situation.probe_every.as_secs_f64()),
        };

        // A slower sweep leaves more days to the open lane, which then leaves less to the sweep: from below to where
        // they meet.
        let mut open_days = open::days(situation);
        let mut cycle = if sweep_round.requests == 0 { f64::INFINITY } else { shortest };
        let mut granted;
        let mut rounds = 0;
        loop {
            let served = open_days.iter().filter(|day| day.interval <= cycle);
            needs.open = served.map(OpenDay::need).fold(0.0, |a, b| a + b);
            granted = divide(budget, &needs);
            let longer = shortest.max(sweep_round.requests as f64 * DAY / granted.bulk.max(f64::MIN_POSITIVE));
            rounds += 1;
            if sweep_round.requests == 0 || longer <= cycle || rounds == 16 {
                break;
            }
            cycle = longer;
        }
        open_days.retain(|day| day.interval <= cycle);
        Self { budget, hot_round, sweep_round, import, cycle, open_days, needs, granted }
    }

    fn hot(&self) -> Share {
        let every = self.hot_round as f64 * DAY / self.granted.hot;
        let work = work(self.hot_round);
        let short = short(self.granted.hot, self.needs.hot);
        let waits = every.max(work) * if short { UPS_AND_DOWNS } else { 1.0 };
        Share {
            round: self.hot_round,
            need: self.needs.hot,
            granted: self.granted.hot,
            every: lasting(every),
            seen_within: lasting(waits + work),
            short,
        }
    }

    /// Its times depend on the age: see [`state_ages`].
    fn open(&self) -> Share {
        Share {
            round: self.open_days.iter().map(|day| day.cost).sum(),
            need: self.needs.open,
            granted: self.granted.open,
            every: Duration::ZERO,
            seen_within: Duration::ZERO,
            short: short(self.granted.open, self.needs.open),
        }
    }

    fn sweep(&self, situation: &Situation<'_>) -> Option<Share> {
        let requests = self.sweep_round.requests;
        (requests > 0).then(|| Share {
            round: requests,
            need: self.needs.bulk,
            granted: self.granted.bulk,
            every: lasting(self.cycle),
            seen_within: lasting(sweep::seen_within(situation, requests, self.cycle) + self.slow_walk()),
            short: short(self.granted.bulk, self.needs.bulk),
        })
    }

    /// How much longer, in seconds, a walk of the sweep may take where a quick one would take too much from others: all the
    /// time that is its part of the round or, if that is less, until midnight, when there are requests enough again.
    fn slow_walk(&self) -> f64 {
        let sweep::Round { requests, longest } = self.sweep_round;
        let longest = longest as f64;
        let kept = reserved(self.needs.hot + self.needs.open);
        if self.granted.spare >= longest && self.budget >= longest + kept {
            return 0.0;
        }
        (longest * self.cycle / requests as f64).min(BURST * longest * DAY / self.budget)
    }

    fn backfill(&self) -> Option<Share> {
        let round = self.import?;
        let Granted { hot, open, bulk, single, probe, .. } = self.granted;
        // While the others read, it cannot; it never has less than every tenth request.
        let busy = (hot + open + single + probe) * REQUEST.as_secs_f64() / DAY;
        let time = lasting(round as f64 * (DAY / bulk).max(REQUEST.as_secs_f64() / (1.0 - busy).max(0.1)));
        Some(Share { round, need: self.needs.bulk, granted: bulk, every: time, seen_within: time, short: false })
    }

    fn verify(&self, situation: &Situation<'_>) -> Share {
        let pace = UPS_AND_DOWNS * DAY / (FLOOR * self.budget) + VERIFY_WAITS * REQUEST.as_secs_f64();
        Share {
            round: verify::walks(situation).into_iter().map(|days| situation.list_pages(days)).sum(),
            need: self.granted.verify,
            granted: self.granted.verify,
            every: Duration::from_secs_f64(verify::EVERY),
            seen_within: lasting(verify::known_within(situation, pace)),
            short: false,
        }
    }
}

/// Requests per day that are counted on.
fn counted_on(situation: &Situation<'_>) -> f64 {
    let budget = situation.budget;
    let lasting = budget.left.max(1) as f64 * DAY / budget.until_midnight.as_secs_f64().max(1.0);
    lasting.min(budget.per_day.max(1) as f64)
}

/// Seconds that a round takes when other lanes get in between as often as they may.
fn work(requests: u64) -> f64 {
    REQUEST.as_secs_f64() * (requests + requests.div_ceil(9) + 1) as f64
}

fn short(granted: f64, need: f64) -> bool {
    granted < 0.999 * need
}

fn per_day(requests: u64, every: f64) -> f64 {
    requests as f64 * DAY / every
}

/// A hundred years stand for all longer times, and for what is not seen at all.
pub const NEVER: Duration = Duration::from_secs(36_525 * 86_400);

/// A length of time.
fn lasting(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, NEVER.as_secs_f64()))
}
