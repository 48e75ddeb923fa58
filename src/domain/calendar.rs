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
