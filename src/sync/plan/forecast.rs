//! What the budget gives each lane, and how soon each sees a change at that.

use std::time::Duration;

use super::{Situation, open, sweep};
use crate::domain::lane::Lane;

/// How long a request is taken to last at most when a time is stated.
pub const REQUEST: Duration = Duration::from_secs(1);

pub(super) const DAY: f64 = 86_400.0;

/// The part of the budget that open, sweep, import and verify each keep when it is short.
pub(super) const FLOOR: f64 = 0.1;

/// The part that is kept for single submissions.
pub(super) const RESERVE: f64 = 0.02;

/// How much quicker than it must the open lane works off what is due, so that days that are due together do not wait
/// for one another too long.
const OPEN_HASTE: f64 = 1.5;

/// What the plan comes to: the division of the budget, and what follows from it.
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
    /// Days in which somebody was missing, if there are any.
    pub verify: Option<Share>,
    /// Requests per day for single submissions.
    pub single: f64,
    /// Requests per day that no lane needs.
    pub spare: f64,
    /// How much longer than wished the intervals of the open lane are; 1: not at all.
    pub open_stretch: f64,
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

impl Forecast {
    /// Seconds per request of a lane's walk or round, at least [`REQUEST`].
    pub(super) fn pace(&self, lane: Lane) -> f64 {
        let share = match lane {
            Lane::Hot => Some(self.hot),
            Lane::Open => Some(self.open),
            Lane::Sweep => self.sweep,
            Lane::Backfill => self.backfill,
            Lane::Verify => self.verify,
            _ => None,
        };
        share.map_or(0.0, |share| DAY / share.granted.max(1.0)).max(REQUEST.as_secs_f64())
    }

    /// Seconds from one request of the open lane to the next, at the least.
    pub(super) fn open_gap(&self) -> f64 {
        DAY / (OPEN_HASTE * self.open.granted + self.spare)
    }
}

/// Divides the budget and states what follows. Pure, and quick enough to be asked before every request.
pub fn forecast(situation: &Situation<'_>) -> Forecast {
    let poll = situation.poll;
    let budget = effective(situation);
    let hot_round = situation.pages(Some(situation.hot_days()));
    let hot_need = per_day(hot_round, poll.interval.as_secs_f64());
    let import = situation.import.map(|days| {
        let done = situation.progress(Lane::Backfill).running.map_or(0, |running| running.requests);
        situation.pages(days).saturating_sub(done).max(1)
    });
    let sweep_round = if import.is_some() { 0 } else { sweep::round(situation) };
    let shortest = poll.sweep_interval.as_secs_f64();
    // An import takes what there is.
    let long_need = if import.is_some() { budget } else { per_day(sweep_round, shortest) };
    let to_verify =
        situation.calendar.days.iter().any(|row| row.verify) || situation.progress(Lane::Verify).running.is_some();

    // A slower sweep leaves more days to the open lane, which then leaves less to the sweep: from below to where they meet.
    let open_days = open::days(situation);
    let mut cycle = if sweep_round == 0 { f64::INFINITY } else { shortest };
    let (mut open_need, mut granted);
    let mut rounds = 0;
    loop {
        open_need =
            open_days.iter().filter(|day| day.interval <= cycle).map(open::OpenDay::need).fold(0.0, |a, b| a + b);
        granted = divide(budget, &Needs { hot: hot_need, open: open_need, long: long_need, verify: to_verify });
        let longer = shortest.max(sweep_round as f64 * DAY / granted.long.max(f64::MIN_POSITIVE));
        rounds += 1;
        if sweep_round == 0 || longer <= cycle || rounds == 16 {
            break;
        }
        cycle = longer;
    }

    let spare = granted.spare;
    let hot_every = hot_round as f64 * DAY / granted.hot;
    let hot_work = work(hot_round);
    let hot_short = granted.hot < 0.999 * hot_need;
    // When it is short it takes part in the ups and downs of what is left of the day.
    let hot_waits = hot_every.max(hot_work) * if hot_short { 1.15 } else { 1.0 };
    let hot = Share {
        round: hot_round,
        need: hot_need,
        granted: granted.hot,
        every: lasting(hot_every),
        seen_within: lasting(hot_waits + hot_work),
        short: hot_short,
    };
    let sweep = (sweep_round > 0).then(|| Share {
        round: sweep_round,
        need: long_need,
        granted: granted.long,
        every: lasting(cycle),
        seen_within: lasting(sweep::seen_within(situation, sweep_round, cycle)),
        short: granted.long < 0.999 * long_need,
    });
    let backfill = import.map(|round| {
        let time = round as f64 * (DAY / granted.long).max(REQUEST.as_secs_f64());
        Share {
            round,
            need: long_need,
            granted: granted.long,
            every: lasting(time),
            seen_within: lasting(time),
            short: false,
        }
    });
    let verify = to_verify.then(|| Share {
        round: 0,
        need: FLOOR * budget,
        granted: granted.verify + spare,
        every: Duration::from_secs(60),
        seen_within: Duration::ZERO,
        short: false,
    });
    let served: Vec<_> = open_days.into_iter().filter(|day| day.interval <= cycle).collect();
    let mut forecast = Forecast {
        budget,
        hot,
        open: hot,
        ages: Vec::new(),
        sweep,
        backfill,
        verify,
        single: RESERVE * budget + spare,
        spare,
        open_stretch: (open_need / granted.open.max(f64::MIN_POSITIVE)).max(1.0),
    };
    forecast.open = Share {
        round: served.iter().map(|day| day.cost).sum(),
        need: open_need,
        granted: granted.open,
        every: Duration::ZERO,
        seen_within: Duration::ZERO,
        short: granted.open < 0.999 * open_need,
    };
    // A round that is in progress is finished before a day that came due meanwhile.
    let longest = served.iter().map(|day| day.cost).max().unwrap_or(1) as f64;
    let wait = 2.0 * longest * forecast.open_gap().max(REQUEST.as_secs_f64()) + hot_work;
    let look = |age: u64| {
        // At the end of that day of its age.
        let interval = open::interval(situation, (age + 1) as f64 * DAY);
        let every = Some(interval * forecast.open_stretch).filter(|_| interval <= cycle);
        let by_sweep = sweep.map_or(f64::INFINITY, |sweep| sweep.seen_within.as_secs_f64());
        let seen = every.map_or(by_sweep, |every| by_sweep.min(1.25 * every + wait));
        Age { days: age, every: every.map(lasting), seen_within: lasting(seen) }
    };
    let youngest = poll.lookback.as_secs() / 86_400 + 1;
    let first = look(youngest);
    let every = first.every.or(sweep.map(|sweep| sweep.every)).unwrap_or(first.seen_within);
    (forecast.open.every, forecast.open.seen_within) = (every, first.seen_within);
    let known = situation.calendar.first_day().map_or(0, |day| (situation.now.date_naive() - day).num_days());
    let ages = [youngest, 30, 300, 3000].into_iter().filter(|age| *age >= youngest);
    forecast.ages = ages.filter(|age| i64::try_from(*age).is_ok_and(|age| age <= known)).map(look).collect();
    forecast
}

/// Requests per day that are counted on.
fn effective(situation: &Situation<'_>) -> f64 {
    let budget = situation.budget;
    let lasting = budget.left.max(1) as f64 * DAY / budget.until_midnight.as_secs_f64().max(1.0);
    lasting.min(budget.per_day.max(1) as f64)
}

/// What the lanes ask for, in requests per day.
struct Needs {
    hot: f64,
    open: f64,
    /// The sweep, or the import in its place.
    long: f64,
    verify: bool,
}

/// What they get.
struct Granted {
    hot: f64,
    open: f64,
    long: f64,
    verify: f64,
    spare: f64,
}

/// The sweep gives way first, then open, hot last; each of the former keeps its floor, or its need if that is less.
fn divide(budget: f64, needs: &Needs) -> Granted {
    let floor = FLOOR * budget;
    let verify = if needs.verify { floor } else { 0.0 };
    let there = budget * (1.0 - RESERVE) - verify;
    let (least_long, least_open) = (needs.long.min(floor), needs.open.min(floor));
    let long = (there - needs.hot - needs.open).clamp(least_long, needs.long);
    let open = (there - long - needs.hot).clamp(least_open, needs.open);
    let hot = (there - long - open).min(needs.hot);
    Granted { hot, open, long, verify, spare: (there - long - open - hot).max(0.0) }
}

/// Seconds that a round takes when other lanes get in between as often as they may.
fn work(requests: u64) -> f64 {
    REQUEST.as_secs_f64() * (requests + requests.div_ceil(9) + 1) as f64
}

fn per_day(requests: u64, every: f64) -> f64 {
    requests as f64 * DAY / every
}

/// A length of time; a hundred years stand for all longer ones.
fn lasting(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 36_525.0 * DAY))
}
