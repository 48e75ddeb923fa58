//! How fresh each lane's days are. Pure.

use chrono::NaiveDate;
use serde::Serialize;

use super::picture::reads;
use crate::clock::Timestamp;
use crate::config::Poll;
use crate::domain::lane;
use crate::store::status::{Facts, Walk};
use crate::sync::plan::{self, Forecast, Share};

/// A lane.
#[derive(Serialize)]
pub(crate) struct Lane {
    pub(crate) lane: String,
    /// Its days; `None`: the lane has no days of its own.
    pub(crate) days: Option<u64>,
    /// Those of them that were never read.
    pub(crate) never_read: u64,
    /// When that of its days was read which was read longest ago.
    pub(crate) oldest_read_at: Option<Timestamp>,
    /// When a walk of the lane last came to its end.
    pub(crate) last_completed_at: Option<Timestamp>,
    /// The walk in progress.
    pub(crate) walk: Option<Running>,
    /// What the plan comes to: from the beginning of one round to that of the next.
    pub(crate) every_seconds: Option<u64>,
    /// What the plan promises: a change is seen within this time. Open: of the youngest of its submissions. Verify: from
    /// a walk that lacks somebody until it is known who.
    pub(crate) seen_within_seconds: Option<u64>,
    /// Whether the budget gives less than the settings ask for; `None`: the project is not configured here, or the plan
    /// gives the lane no part.
    pub(crate) short: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct Running {
    pub(crate) started_at: Timestamp,
    pub(crate) pages: i64,
    pub(crate) items: i64,
    /// `None`: without dates.
    pub(crate) first_day: Option<NaiveDate>,
    pub(crate) last_day: Option<NaiveDate>,
    pub(crate) by_id: bool,
}

/// Hot, open and sweep, and the others that have walked or failed.
pub(crate) fn all(
    facts: &Facts,
    first: Option<NaiveDate>,
    forecast: Option<&Forecast>,
    poll: &Poll,
    now: Timestamp,
) -> Vec<Lane> {
    let today = now.date_naive();
    let calendar = &facts.calendar;
    let (hot_first, hot_last) = plan::hot_days(now, poll.lookback);
    let lane = |lane: lane::Lane| {
        let read_at: Option<Vec<Option<Timestamp>>> = match lane {
            lane::Lane::Hot => Some(reads(calendar, hot_first, hot_last).map(|read| read.covered_at).collect()),
            lane::Lane::Open => {
                let open = calendar.days.iter().filter(|day| day.open > 0);
                Some(open.map(|day| calendar.covered_at(day.day).max(day.open_checked_at)).collect())
            }
            lane::Lane::Sweep => Some(
                first
                    .map_or_else(Vec::new, |first| reads(calendar, first, today).map(|read| read.covered_at).collect()),
            ),
            _ => None,
        };
        let name = lane.as_str();
        let walk = facts.walks.iter().find(|walk| walk.lane == name);
        if read_at.is_none() && walk.is_none() && facts.errors.iter().all(|error| error.lane != name) {
            return None;
        }
        let read = read_at.as_deref().unwrap_or_default();
        let share = forecast.and_then(|forecast| share(forecast, lane));
        Some(Lane {
            lane: name.to_owned(),
            days: read_at.as_ref().map(|days| days.len() as u64),
            never_read: read.iter().filter(|at| at.is_none()).count() as u64,
            oldest_read_at: read.iter().flatten().min().copied(),
            last_completed_at: walk.and_then(|walk| walk.last_completed_at),
            walk: walk.filter(|walk| walk.running).map(running),
            every_seconds: share.map(|share| share.every.as_secs()),
            seen_within_seconds: share
                .map(|share| share.seen_within)
                .filter(|within| *within < plan::NEVER)
                .map(|within| within.as_secs()),
            short: share.map(|share| share.short),
        })
    };
    lane::Lane::ALL.into_iter().filter_map(lane).collect()
}

/// A lane's part of the plan. Of once and single submissions nothing is promised.
fn share(forecast: &Forecast, lane: lane::Lane) -> Option<Share> {
    match lane {
        lane::Lane::Hot => Some(forecast.hot),
        lane::Lane::Open => Some(forecast.open),
        lane::Lane::Sweep => forecast.sweep,
        lane::Lane::Backfill => forecast.backfill,
        lane::Lane::Verify => Some(forecast.verify),
        _ => None,
    }
}

fn running(walk: &Walk) -> Running {
    let (first_day, last_day) = walk.days.unzip();
    let (started_at, pages, items, by_id) = (walk.started_at, walk.pages, walk.items, walk.by_id);
    Running { started_at, pages, items, first_day, last_day, by_id }
}
