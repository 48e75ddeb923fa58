//! How the sweep cuts the days into walks.

use chrono::{Days, NaiveDate};

use super::Situation;
use crate::clock::Timestamp;
use crate::domain::calendar::{Day, DayRange, EARLIEST};

/// A walk is this long at least, so that the days asked for besides and the last page, which is partly empty, cost
/// little in proportion.
const PAGES: u64 = 25;
const DAYS: u64 = 40;

/// ... and, since days differ, so long that it costs at most this much more than its own submissions.
const OVERHEAD: f64 = 1.06;

/// From this many pages on the whole project counts as large, and parts of a page no longer matter.
const LARGE: u64 = 100;

/// One walk of the sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Chunk {
    /// Its days; `None`: all, without dates.
    pub(super) days: Option<DayRange>,
    /// Its requests.
    pub(super) cost: u64,
    /// As of when the day that is most overdue was read; `None`: never.
    pub(super) oldest: Option<Timestamp>,
}

/// The walk that is due next: from the most overdue day forward. `None`: no day is the sweep's.
pub(super) fn chunk(situation: &Situation<'_>) -> Option<Chunk> {
    let calendar = situation.calendar;
    if !situation.dated() {
        return Some(Chunk { days: None, cost: situation.pages(None), oldest: calendar.fully_walked_at });
    }
    let all = range(situation)?;
    // The first of those that are equally overdue; a day that was never read comes before all others.
    let overdue = rows(situation, all).iter().min_by_key(|row| calendar.covered_at(row.day));
    let days = cut(situation, all, overdue.map_or(all.0, |row| row.day));
    let oldest = overdue.and_then(|row| calendar.covered_at(row.day));
    Some(Chunk { days: Some(days), cost: situation.pages(Some(days)), oldest })
}

/// A round through all days.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Its requests; 0: no day is the sweep's.
    pub(super) requests: u64,
    /// Those of its longest walk.
    pub(super) longest: u64,
}

/// What a round comes to.
pub(super) fn round(situation: &Situation<'_>) -> Round {
    if !situation.dated() {
        let requests = situation.pages(None);
        return Round { requests, longest: requests };
    }
    let mut round = Round::default();
    let Some(all) = range(situation) else { return round };
    let mut from = Some(all.0);
    while let Some(day) = from.filter(|day| *day <= all.1) {
        let days = cut(situation, all, day);
        let walk = situation.pages(Some(days));
        round = Round { requests: round.requests + walk, longest: round.longest.max(walk) };
        from = days.1.checked_add_days(Days::new(1));
    }
    round
}

/// The stated bound, in seconds, for a round of so many requests in so many seconds: 1.1 times what the submissions
/// would take at the sweep's rate if every page were full, and one poll.
///
/// A submission is read once in every round, but not always at the same place of a walk. The pace within a walk is
/// quicker than the round's (see `lanes`), so that this and the walks' overhead stay below the tenth. In a small project
/// a part of a page weighs more; there a page is added.
pub(super) fn seen_within(situation: &Situation<'_>, requests: u64, cycle: f64) -> f64 {
    let since = situation.poll.since.filter(|_| situation.dated()).map(|since| (since, NaiveDate::MAX));
    let full = situation.calendar.submissions(since) as f64 / situation.page.max(1) as f64;
    let pages = if full >= LARGE as f64 { full } else { full.ceil() + 1.0 } * situation.phases.max(1) as f64;
    // Where most of the project is the hot lane's, its own requests say more.
    let pages = (1.1 * pages).min(1.1 * requests as f64 + 1.0);
    pages * cycle / requests as f64 + situation.poll.interval.as_secs_f64()
}

/// The sweep's days: those that the hot lane leaves.
fn range(situation: &Situation<'_>) -> Option<DayRange> {
    let last = situation.hot_days().0.pred_opt()?;
    // Items may have been moved here from elsewhere: their created_at may lie before the first day that is known.
    let first = situation.poll.since.unwrap_or(EARLIEST);
    (first <= last).then_some((first, last))
}

/// The rows of the sweep's days, from the first one that holds something.
fn rows<'a>(situation: &Situation<'a>, (first, last): DayRange) -> &'a [Day] {
    let calendar = situation.calendar;
    let begin = calendar.first_day().map_or(first, |day| day.max(first));
    calendar.range((begin, last))
}

/// The days of a walk that begins at a day.
fn cut(situation: &Situation<'_>, all: DayRange, from: NaiveDate) -> DayRange {
    let page = situation.page.max(1);
    let held =
        |(first, last): DayRange| if first > last { 0 } else { situation.calendar.submissions(Some((first, last))) };
    let known = rows(situation, all).first().map_or(all.0, |row| row.day);
    // Empty days cost nothing: what lies before the first submission goes with it.
    let first = if from <= known { all.0 } else { from };
    let enough_days = from.max(known).checked_add_days(Days::new(DAYS - 1)).unwrap_or(all.1).min(all.1);
    let following = situation.calendar.range((enough_days, all.1));
    let mut following = following.iter().skip_while(|row| row.day <= enough_days);
    let (mut last, mut own) = (enough_days, held((first, enough_days)));
    loop {
        let asked = situation.filter.asked((first, last));
        let before = first.pred_opt().map_or(0, |day| held((asked.0, day)));
        let behind = last.succ_opt().map_or(0, |day| held((day, asked.1)));
        let cost = (own + before + behind).div_ceil(page);
        if own >= PAGES * page && cost as f64 <= OVERHEAD * own as f64 / page as f64 {
            break;
        }
        let Some(row) = following.next() else { return (first, all.1) };
        last = row.day;
        own += row.submissions;
    }
    let rest = following.map(|row| row.submissions).sum::<u64>();
    let days = u64::try_from((all.1 - last).num_days()).unwrap_or(0);
    // What would be left for half a walk or less goes along.
    if 2 * rest < PAGES * page || 2 * days < DAYS { (first, all.1) } else { (first, last) }
}
