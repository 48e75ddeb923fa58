//! The created-days of a project: what is there, what is open, and since when each day is completely read.

use chrono::{Days, NaiveDate};

use crate::clock::Timestamp;

/// First and last day, both included.
pub type DayRange = (NaiveDate, NaiveDate);

/// What an import is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Import {
    /// Everything, without dates.
    All,
    /// What was created on some days.
    Days {
        /// The first of them.
        from: NaiveDate,
        /// The last of them; `None`: up to now.
        to: Option<NaiveDate>,
    },
}

impl Import {
    /// Whether it leaves out days from `since` on (`None`: from the beginning on).
    pub fn begins_after(self, since: Option<NaiveDate>) -> bool {
        match (self, since) {
            (Self::All, _) => false,
            (Self::Days { .. }, None) => true,
            (Self::Days { from, .. }, Some(since)) => since < from,
        }
    }
}

/// A created-day (UTC).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    /// The day.
    pub day: NaiveDate,
    /// Submissions that the mirror holds of it (those that are gone left out).
    pub submissions: u64,
    /// Those of them that are incomplete or pending.
    pub open: u64,
    /// As of when it was last read completely by a walk with dates.
    pub covered_at: Option<Timestamp>,
    /// When its open submissions were last asked for.
    pub open_checked_at: Option<Timestamp>,
    /// Whether the last complete walk did not show all that is stored.
    pub verify: bool,
}

/// The created-days of a project, oldest first, each once. Days without a row hold nothing.
#[derive(Clone, Debug, Default)]
pub struct Calendar {
    /// The days.
    pub days: Vec<Day>,
    /// Send time of the first request of the last complete walk without dates; it covers every day up to its own.
    pub fully_walked_at: Option<Timestamp>,
    /// The same of the last complete walk with dates from [`EARLIEST`] on, and its last day: it covers every day up to that
    /// one, also those that got no row.
    pub early_walked: Option<(Timestamp, NaiveDate)>,
}

impl Calendar {
    /// The first day that holds a submission.
    pub fn first_day(&self) -> Option<NaiveDate> {
        self.days.iter().find(|day| day.submissions > 0).map(|day| day.day)
    }

    /// The row of a day, if there is one.
    pub fn day(&self, day: NaiveDate) -> Option<&Day> {
        self.days.binary_search_by_key(&day, |row| row.day).ok().map(|i| &self.days[i])
    }

    /// As of when a day was last read completely, by a walk of whatever kind. The same rule as `argos.coverage_gaps()`.
    pub fn covered_at(&self, day: NaiveDate) -> Option<Timestamp> {
        let dated = self.day(day).and_then(|row| row.covered_at);
        let early = self.early_walked.filter(|(_, last)| day <= *last).map(|(at, _)| at);
        dated.max(early).max(self.fully_walked_at.filter(|at| day <= at.date_naive()))
    }

    /// The rows of a range of days.
    pub fn range(&self, (first, last): DayRange) -> &[Day] {
        let from = self.days.partition_point(|row| row.day < first);
        let to = self.days.partition_point(|row| row.day <= last);
        &self.days[from.min(to)..to]
    }

    /// Submissions of a range of days; `None`: of all days.
    pub fn submissions(&self, days: Option<DayRange>) -> u64 {
        let rows = days.map_or(&self.days[..], |days| self.range(days));
        rows.iter().map(|row| row.submissions).sum()
    }
}

/// What dates in a query filter by. Not documented; probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// created_at, with this many days more to be asked for before and after the days that are meant: 1 and 1 until the
    /// vendor's time zone is known.
    Created {
        /// Days before.
        before: u8,
        /// Days after.
        after: u8,
    },
    /// updated_at: recent dates show recent changes, and only a walk without dates covers.
    Updated,
    /// Nothing: every walk is a walk of everything.
    Ignored,
}

impl Filter {
    /// What is assumed until something else is found.
    pub const UNKNOWN: Self = Self::Created { before: 1, after: 1 };

    /// The days to ask for, so that the answer holds all submissions created on `days`.
    pub fn asked(self, (first, last): DayRange) -> DayRange {
        let Self::Created { before, after } = self else { return (first, last) };
        (
            first.checked_sub_days(Days::new(before.into())).unwrap_or(first),
            last.checked_add_days(Days::new(after.into())).unwrap_or(last),
        )
    }
}

/// Where a walk begins that is to miss nothing: no submission is older.
pub const EARLIEST: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a valid date");

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn calendar(days: &[(&str, u64)]) -> Calendar {
        let row = |(text, submissions): &(&str, u64)| Day {
            day: day(text),
            submissions: *submissions,
            open: 0,
            covered_at: None,
            open_checked_at: None,
            verify: false,
        };
        Calendar { days: days.iter().map(row).collect(), ..Calendar::default() }
    }

    #[test]
    fn an_import_begins_after_a_day_that_it_does_not_read() {
        let days = Import::Days { from: day("2026-01-02"), to: None };
        let found = ["2026-01-01", "2026-01-02", "2026-01-03"].map(|since| days.begins_after(Some(day(since))));
        assert_eq!(found, [true, false, false]);
        assert!(days.begins_after(None) && !Import::All.begins_after(None));
        assert!(!Import::All.begins_after(Some(day("2026-01-01"))));
    }

    #[test]
    fn a_range_has_the_days_from_its_first_to_its_last() {
        let calendar = calendar(&[("2026-01-01", 0), ("2026-01-03", 3), ("2026-01-04", 4), ("2026-01-06", 6)]);
        let held = |first: &str, last: &str| calendar.submissions(Some((day(first), day(last))));
        assert_eq!(held("2026-01-03", "2026-01-04"), 7);
        assert_eq!(held("2026-01-02", "2026-01-05"), 7, "days without a row hold nothing");
        assert_eq!(held("2026-01-04", "2026-01-06"), 10);
        assert_eq!(held("2026-01-06", "2026-01-03"), 0, "a range that ends before it begins");
        assert_eq!(calendar.submissions(None), 13);
        assert_eq!(calendar.first_day(), Some(day("2026-01-03")), "of those that hold a submission");
        assert_eq!(calendar.day(day("2026-01-04")).map(|row| row.submissions), Some(4));
        assert_eq!(calendar.day(day("2026-01-05")), None);
    }

    #[test]
    fn a_day_is_covered_by_the_latest_walk_that_read_it() {
        let mut calendar = calendar(&[("2026-01-01", 1), ("2026-01-02", 1)]);
        let covered = |calendar: &Calendar| {
            ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"].map(|text| calendar.covered_at(day(text)))
        };
        assert_eq!(covered(&calendar), [None; 4]);
        let [dated, early, full] = ["2026-01-05T00:00:00Z", "2026-01-04T00:00:00Z", "2026-01-03T12:00:00Z"].map(at);
        calendar.fully_walked_at = Some(full);
        assert_eq!(covered(&calendar), [Some(full), Some(full), Some(full), None], "up to its own day");
        calendar.early_walked = Some((early, day("2026-01-02")));
        assert_eq!(covered(&calendar), [Some(early), Some(early), Some(full), None], "up to its last day");
        calendar.days[0].covered_at = Some(dated);
        assert_eq!(covered(&calendar), [Some(dated), Some(early), Some(full), None]);
    }

    #[test]
    fn days_more_are_asked_for_only_where_dates_filter_by_creation() {
        let days = (day("2026-01-02"), day("2026-01-03"));
        let asked = |filter: Filter| filter.asked(days);
        assert_eq!(asked(Filter::UNKNOWN), (day("2026-01-01"), day("2026-01-04")));
        assert_eq!(asked(Filter::Created { before: 0, after: 2 }), (day("2026-01-02"), day("2026-01-05")));
        assert_eq!((asked(Filter::Updated), asked(Filter::Ignored)), (days, days));
    }
}
