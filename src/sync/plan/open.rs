//! Days outside the hot lane that still hold open submissions.

use chrono::NaiveTime;

use super::forecast::DAY;
use super::{Situation, Target, seconds};
use crate::clock::Timestamp;
use crate::config::Poll;

/// An open submission is looked at again after this part of its age.
const OF_ITS_AGE: f64 = 0.01;

/// A day of the open lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenDay {
    /// What to read: the day, or its open submissions one by one, whichever takes fewer requests.
    pub(super) target: Target,
    /// Requests for that.
    pub(super) cost: u64,
    /// Seconds from one look to the next, as long as the budget is not short.
    pub(super) interval: f64,
    /// The last look.
    pub(super) looked_at: Option<Timestamp>,
}

impl OpenDay {
    /// Requests per day.
    pub(super) fn need(&self) -> f64 {
        self.cost as f64 * DAY / self.interval
    }
}

/// Seconds from one look at open submissions to the next, for an age in seconds: minutes, then hours, then days.
pub(super) fn interval(poll: &Poll, age: f64) -> f64 {
    poll.open_interval.as_secs_f64().max(OF_ITS_AGE * age)
}

/// All such days.
pub(super) fn days(situation: &Situation<'_>) -> Vec<OpenDay> {
    let (calendar, hot) = (situation.calendar, situation.hot_days());
    let cold = &calendar.days[..calendar.days.partition_point(|row| row.day < hot.0)];
    cold.iter()
        .filter(|row| row.open > 0 && situation.poll.since.is_none_or(|since| row.day >= since))
        .map(|row| {
            let walk = situation.pages(Some((row.day, row.day)));
            // A walk covers the day besides. Where dates do not select created-days, there is no such walk.
            let by_id = !situation.dated() || row.open < walk;
            let day = Some((row.day, row.day));
            OpenDay {
                target: if by_id { Target::OpenIds(row.day) } else { Target::Days(day) },
                cost: if by_id { row.open } else { walk },
                interval: interval(situation.poll, seconds(row.day.and_time(NaiveTime::MIN).and_utc(), situation.now)),
                looked_at: calendar.covered_at(row.day).max(row.open_checked_at),
            }
        })
        .collect()
}
