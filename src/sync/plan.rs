//! What to read next, and when. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{Days, NaiveDate, TimeDelta};

use crate::clock::Timestamp;
use crate::config::Poll;
use crate::domain::calendar::{Calendar, DayRange, Filter};
use crate::domain::lane::Lane;

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
    /// Submissions waiting in `id_reads`.
    pub refresh: u64,
    /// When the next suspected erasure is to be confirmed.
    pub confirm_at: Option<Timestamp>,
    /// When the next submission is to be drawn at random and compared.
    pub canary_at: Option<Timestamp>,
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
    /// When its last walk or round began, in progress or not.
    pub begun_at: Option<Timestamp>,
    /// When its last request was sent.
    pub asked_at: Option<Timestamp>,
    /// Requests of other lanes since.
    pub passed_over: u64,
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

/// What is due now.
pub fn next(situation: &Situation<'_>) -> Next {
    let hot = situation.lanes.get(&Lane::Hot).copied().unwrap_or_default();
    if let Some(running) = hot.running {
        return Next::Do(running.errand);
    }
    let due = hot.begun_at.map_or(situation.now, |at| at + situation.poll.interval);
    if due > situation.now {
        return Next::Wait(due);
    }
    let days = hot_days(situation.now, situation.poll.lookback);
    Next::Do(Errand { lane: Lane::Hot, target: Target::Days(Some(days)) })
}

/// Whether a walk in progress is so old that it is to start over.
pub fn stale(running: &Running, situation: &Situation<'_>) -> bool {
    let most = if running.errand.lane == Lane::Hot { TimeDelta::minutes(10) } else { TimeDelta::days(7) };
    situation.now - running.started_at > most
}

/// The days that the hot lane covers: today (UTC) and the look-back before it.
pub fn hot_days(now: Timestamp, lookback: Duration) -> DayRange {
    let today = now.date_naive();
    let days = lookback.as_secs().div_ceil(24 * 60 * 60);
    (today.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN), today)
}

/// The poll interval that fits the budget: the configured one, or longer when the requests that are left today would not
/// last until midnight UTC at the last pass's cost.
pub fn interval(configured: Duration, requests_per_pass: u64, left: u64, until_midnight: Duration) -> Duration {
    if left == 0 {
        return configured.max(until_midnight);
    }
    configured.max(until_midnight.mul_f64(requests_per_pass as f64 / left as f64).min(until_midnight))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hot_covers_the_look_back_and_asks_for_a_day_more_on_each_side() {
        let now = chrono::Utc.with_ymd_and_hms(2026, 3, 1, 0, 30, 0).unwrap();
        let days = hot_days(now, Duration::from_secs(3 * 86_400));
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(days, (day("2026-02-26"), day("2026-03-01")));
        assert_eq!(Filter::UNKNOWN.asked(days), (day("2026-02-25"), day("2026-03-02")));
    }

    proptest! {
        #[test]
        fn p8_polling_stretches_to_fit(cost in 1u64..1_000, left in 0u64..100_000, seconds in 1u64..86_400, configured in 1u64..3_600) {
            let until = Duration::from_secs(seconds);
            let interval = interval(Duration::from_secs(configured), cost, left, until);
            prop_assert!(interval >= Duration::from_secs(configured));
            // As many passes as still start before midnight cost no more than what is left, but for the one that runs into it.
            let passes = (until.as_secs_f64() / interval.as_secs_f64()).floor() as u64;
            prop_assert!(left == 0 || cost > left || passes * cost <= left + cost, "{interval:?}");
        }
    }
}
