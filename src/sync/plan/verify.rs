//! Days whose walk missed somebody, and how soon it is known whom.

use chrono::NaiveDate;

use super::Situation;
use crate::domain::calendar::DayRange;

/// Seconds from the beginning of one walk of this lane to that of the next.
pub(super) const EVERY: f64 = 60.0;

/// Pages of a walk, about.
const PAGES: u64 = 25;

/// The walks that are to be done, in their order: marked days in a row, as many as fill a walk. `None`: all days,
/// without dates.
pub(super) fn walks(situation: &Situation<'_>) -> Vec<Option<DayRange>> {
    let marked = || situation.calendar.days.iter().filter(|row| row.verify);
    if !situation.dated() {
        return marked().next().map(|_| None).into_iter().collect();
    }
    let mut walks: Vec<(DayRange, u64)> = Vec::new();
    for row in marked() {
        let follows = |last: NaiveDate| last.succ_opt() == Some(row.day);
        match walks.last_mut() {
            Some((days, held)) if follows(days.1) && *held + row.submissions <= PAGES * situation.page => {
                days.1 = row.day;
                *held += row.submissions;
            }
            _ => walks.push(((row.day, row.day), row.submissions)),
        }
    }
    walks.into_iter().map(|(days, _)| Some(days)).collect()
}

/// Seconds from the moment at which a day is marked to the end of its walk, at so many seconds per request: after the
/// walks that are to be done already, or, if there is none, for the largest day.
pub(super) fn known_within(situation: &Situation<'_>, pace: f64) -> f64 {
    let mut walks: Vec<u64> = walks(situation).into_iter().map(|days| situation.list_pages(days)).collect();
    if walks.is_empty() {
        let day = |row: &crate::domain::calendar::Day| situation.list_pages(Some((row.day, row.day)));
        let largest = || situation.calendar.days.iter().map(day).max();
        walks.push(if situation.dated() { largest().unwrap_or(1) } else { situation.list_pages(None) });
    }
    // The lane may have begun another walk a moment ago.
    EVERY + walks.iter().map(|pages| (*pages as f64 * pace).max(EVERY)).sum::<f64>()
}
