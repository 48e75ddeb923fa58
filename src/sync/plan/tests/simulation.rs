//! The loop without a vendor and without a database: the plan is asked, a request takes its time, the calendar moves on.
//! Every step asserts what must never happen.

use super::*;

/// A project, its budget and the daemon's memory.
#[derive(Clone)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) calendar: Calendar,
    pub(super) poll: Poll,
    pub(super) filter: Filter,
    pub(super) page: u64,
    pub(super) per_day: u64,
    /// How long a request takes.
    pub(super) request: TimeDelta,
    pub(super) import: Option<Option<DayRange>>,
    pub(super) phases: u64,
    pub(super) refresh: u64,
    pub(super) details: bool,
    pub(super) confirm_at: Option<Timestamp>,
    pub(super) ledger: Ledger,
    /// Requests of the day.
    pub(super) used: u64,
    /// Every request, in order.
    pub(super) sent: Vec<(Timestamp, Errand)>,
    /// The longest time from the beginning of a walk to the end of the next one over the same day, of the sweep's days.
    pub(super) longest: Duration,
    /// What was stated meanwhile, at most; nothing is held against it before `settle`.
    stated: Option<f64>,
    /// When the last complete round of the hot lane began, and within which time a change was to be seen then.
    last_hot: Option<(Timestamp, Duration)>,
    /// Requests of other lanes since the hot lane has been due.
    hot_waits: u64,
    /// Since when a day is marked to be verified, and within which time it was to be known who is missing.
    marked: Option<(Timestamp, Duration)>,
    /// Since when a confirmation is due, and within which time it was to be asked for.
    unconfirmed: Option<(Timestamp, Duration)>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { now, filter, page, per_day, used, request, .. } = self;
        let counts: Vec<_> = self.calendar.days.iter().map(|row| row.submissions).collect();
        let since = self.poll.since;
        write!(f, "{now}, {filter:?}, page {page}, {used} of {per_day} used, {request}, since {since:?}, {counts:?}")
    }
}

impl World {
    /// So many submissions per day, oldest first and up to today, some of each day open.
    pub(super) fn new(counts: &[u64], open: u64, per_day: u64, page: u64) -> Self {
        let now = chrono::Utc.with_ymd_and_hms(2026, 3, 1, 0, 0, 0).unwrap();
        let today = now.date_naive();
        let ago = |days: usize| today - Days::new(days as u64);
        let days = counts.iter().rev().enumerate().rev().map(|(age, count)| Day {
            day: ago(age),
            submissions: *count,
            open: open.min(*count),
            covered_at: None,
            open_checked_at: None,
            verify: false,
        });
        Self {
            now,
            calendar: Calendar { days: days.collect(), ..Calendar::default() },
            poll: Settings::default().poll,
            filter: Filter::UNKNOWN,
            page,
            per_day,
            request: TimeDelta::milliseconds(200),
            import: None,
            phases: 1,
            refresh: 0,
            details: false,
            confirm_at: None,
            ledger: Ledger::default(),
            used: 0,
            sent: Vec::new(),
            longest: Duration::ZERO,
            stated: None,
            last_hot: None,
            hot_waits: 0,
            marked: None,
            unconfirmed: None,
        }
    }

    fn until_midnight(&self) -> Duration {
        let tomorrow = (self.now.date_naive() + Days::new(1)).and_time(NaiveTime::MIN).and_utc();
        (tomorrow - self.now).to_std().unwrap()
    }

    /// Asks something of the situation as it is.
    pub(super) fn with<T>(&self, ask: impl Fn(&Situation<'_>) -> T) -> T {
        ask(&Situation {
            now: self.now,
            calendar: &self.calendar,
            poll: &self.poll,
            filter: self.filter,
            page: self.page,
            budget: Budget {
                per_day: self.per_day,
                left: self.per_day - self.used,
                until_midnight: self.until_midnight(),
            },
            import: self.import,
            lanes: self.ledger.lanes(),
            phases: self.phases,
            refresh: self.refresh,
            details: self.details,
            confirm_at: self.confirm_at,
            canary_at: None,
            probe_every: Duration::from_secs(86_400),
        })
    }

    pub(super) fn forecast(&self) -> Forecast {
        self.with(forecast)
    }

    pub(super) fn requests(&self, lane: Lane) -> usize {
        self.sent.iter().filter(|(_, errand)| errand.lane == lane).count()
    }

    /// Reads once round, then holds what is seen against what is stated.
    pub(super) fn settle(&mut self) {
        let Some(sweep) = self.forecast().sweep else { return };
        let until = self.now + TimeDelta::from_std(sweep.seen_within * 2).unwrap();
        let mut steps = 0;
        while self.now < until && steps < 2_500 {
            self.step();
            steps += 1;
        }
        self.stated = Some(0.0);
    }

    pub(super) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }

    /// Until so much time has gone by.
    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    pub(super) fn step(&mut self) {
        let date = self.now.date_naive();
        let midnight = self.now + self.until_midnight();
        if let (Some(stated), true) = (self.stated, self.sent.len().is_multiple_of(8))
            && let Some(sweep) = self.forecast().sweep
        {
            self.stated = Some(stated.max(sweep.seen_within.as_secs_f64()));
        }
        self.check_deletions();
        match self.with(next) {
            Next::Wait(until) => {
                assert!(until > self.now && until <= midnight.max(self.now + TimeDelta::milliseconds(1)), "{until}");
                self.now = until;
            }
            Next::Do(errand) => {
                assert!(self.used < self.per_day, "the budget holds");
                self.ask(errand);
                self.now += self.request;
            }
        }
        if self.now.date_naive() != date {
            self.used = 0;
            // A new day comes, like the one before.
            let last = self.calendar.days.last().unwrap();
            let fresh =
                Day { day: self.now.date_naive(), covered_at: None, open_checked_at: None, verify: false, ..*last };
            self.calendar.days.push(fresh);
        }
    }

    /// A marked day is verified, and a due confirmation asked for, within what was stated when it came up, or since.
    fn check_deletions(&mut self) {
        let marked = self.calendar.days.iter().any(|row| row.verify);
        let unconfirmed = self.confirm_at.is_some_and(|at| at <= self.now);
        let forecast = (marked || unconfirmed).then(|| self.forecast());
        let now = self.now;
        let check = |what: &str, since: Option<(Timestamp, Duration)>, stated: Option<Duration>| {
            let stated = stated?;
            let (since, before) = since.unwrap_or((now, stated));
            let stated = stated.max(before);
            let took = seconds(since, now);
            assert!(took <= stated.as_secs_f64(), "{what} after {took} s, not {stated:?}");
            Some((since, stated))
        };
        let verify = forecast.as_ref().filter(|_| marked).map(|forecast| forecast.verify.seen_within);
        self.marked = check("verified", self.marked, verify);
        // Refreshes go at once, before a confirmation.
        let alone = unconfirmed && self.refresh == 0;
        let confirm = forecast.as_ref().filter(|_| alone).map(|forecast| forecast.confirm_within);
        self.unconfirmed = check("confirmed", self.unconfirmed, confirm);
    }

    fn ask(&mut self, errand: Errand) {
        let hot = errand.lane != Lane::Hot
            && self.with(|situation| lanes::hot(situation, &forecast(situation)).at) <= self.now;
        self.hot_waits = if hot { self.hot_waits + 1 } else { 0 };
        assert!(self.hot_waits <= 1, "hot waits for {} requests: {errand:?}", self.hot_waits);

        self.used += 1;
        self.sent.push((self.now, errand));
        let mut running = match self.ledger.running(errand.lane) {
            Some(running) => {
                assert_eq!(running.errand, errand, "a walk goes on before another one of its lane begins");
                assert!(
                    !self.sent.len().is_multiple_of(16) || !self.with(|situation| stale(&running, situation)),
                    "{running:?} at {}",
                    self.now
                );
                running
            }
            None => {
                self.check_first(errand);
                Running { errand, started_at: self.now, requests: 0 }
            }
        };
        self.ledger.sent(errand, self.now);
        running.requests += 1;
        let cost = self.with(|situation| situation.cost(errand));
        if running.requests >= cost {
            assert_eq!(running.requests, cost);
            self.end(running);
            self.ledger.ended(running);
        } else {
            self.ledger.goes_on(running);
        }
    }

    /// A day that is not read again is not seen by what is asserted when one is: none of the sweep's is older than
    /// stated, and none was never read in twice that time since `began`.
    pub(super) fn check_none_starves(&self, began: Timestamp) {
        let (Some(stated), Some(sweep)) = (self.stated, self.forecast().sweep) else { return };
        let stated = stated.max(sweep.seen_within.as_secs_f64());
        let hot = hot_days(self.now, self.poll.lookback).0;
        let since = self.poll.since.unwrap_or(NaiveDate::MIN);
        for row in self.calendar.days.iter().filter(|row| row.day < hot && row.day >= since) {
            let covered_at = self.calendar.covered_at(row.day);
            let (since, most) = covered_at.map_or((began, 2.0 * stated), |at| (at, stated));
            assert!(seconds(since, self.now) <= most, "{row:?} at {}, not within {stated} s", self.now);
        }
    }

    /// What begins is the most overdue.
    fn check_first(&self, errand: Errand) {
        let hot = hot_days(self.now, self.poll.lookback).0;
        let since = self.poll.since.unwrap_or(NaiveDate::MIN);
        let rows = || self.calendar.days.iter().filter(move |row| row.day < hot && row.day >= since);
        match (errand.lane, errand.target) {
            (Lane::Sweep, Target::Days(Some((first, last)))) => {
                assert!(last < hot);
                let known = self.calendar.first_day();
                let age = |row: &Day| self.calendar.covered_at(row.day);
                let oldest =
                    rows().filter(|row| known.is_some_and(|known| row.day >= known)).min_by_key(|row| age(row));
                if let Some(oldest) = oldest {
                    assert!((first..=last).contains(&oldest.day), "{oldest:?} in {first} to {last}");
                }
            }
            (Lane::Open, Target::Days(Some((day, _))) | Target::OpenIds(day)) => {
                let looked = |row: &Day| self.calendar.covered_at(row.day).max(row.open_checked_at);
                let row = self.calendar.day(day).unwrap();
                // Of the same interval or a shorter one, and longer ago: that would be more overdue.
                let worse = rows().find(|other| other.open > 0 && other.day >= day && looked(other) < looked(row));
                assert!(worse.is_none(), "{worse:?} before {row:?}");
            }
            (Lane::Verify, Target::Days(Some((day, _)))) => {
                assert_eq!(self.calendar.days.iter().find(|row| row.verify).map(|row| row.day), Some(day));
            }
            _ => {}
        }
    }

    /// A walk or round ended: what it read is read as of its first request.
    fn end(&mut self, running: Running) {
        let (began, lane) = (running.started_at, running.errand.lane);
        let hot = hot_days(self.now, self.poll.lookback).0;
        let since = self.poll.since.unwrap_or(NaiveDate::MIN);
        match running.errand.target {
            Target::Days(days) => {
                let calendar = self.calendar.clone();
                let covers = |row: &Day| days.is_none_or(|(first, last)| (first..=last).contains(&row.day));
                for row in self.calendar.days.iter_mut().filter(|row| covers(row)) {
                    let before = calendar.covered_at(row.day);
                    if let (true, Some(before), Some(stated)) = (row.day < hot && row.day >= since, before, self.stated)
                    {
                        let took = seconds(before, self.now + self.request);
                        assert!(took <= stated, "{} after {took} s, not {stated}: {running:?}", row.day);
                        self.longest = self.longest.max(Duration::from_secs_f64(took));
                    }
                    if days.is_some() {
                        row.covered_at = row.covered_at.max(Some(began));
                    }
                    row.verify &= lane != Lane::Verify;
                }
                if days.is_none() && (self.filter == Filter::Ignored || lane != Lane::Hot) {
                    self.calendar.fully_walked_at = calendar.fully_walked_at.max(Some(began));
                }
            }
            Target::OpenIds(day) => {
                let row = self.calendar.days.iter_mut().find(|row| row.day == day).unwrap();
                row.open_checked_at = Some(began);
            }
            Target::Queue if lane == Lane::Refresh => self.refresh = self.refresh.saturating_sub(1),
            Target::Queue => self.confirm_at = Some(self.now + TimeDelta::hours(6)),
        }
        if lane == Lane::Backfill {
            self.import = None;
        }
        if lane == Lane::Hot && self.stated.is_some() {
            let stated = self.forecast().hot.seen_within;
            if let Some((before, stated_then)) = self.last_hot {
                let took = seconds(before, self.now + self.request);
                let stated = stated.max(stated_then).as_secs_f64();
                assert!(took <= stated, "hot after {took} s, not {stated}: {running:?}");
            }
            self.last_hot = Some((began, stated));
        }
    }
}
