//! The coverage calendar: a cell per created-day, a block per year, weeks from left to right.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate, TimeDelta};

use crate::clock::Timestamp;
use crate::domain::calendar::Calendar;
use crate::words::{ago, count, grouped};

/// From one cell to the next, in the drawing's units.
const STEP: u32 = 12;

/// How long ago a day was completely read, in classes: up to that, its class in the style sheet, and in words.
const AGES: [(TimeDelta, &str, &str); 4] = [
    (TimeDelta::hours(1), "a1", "within an hour"),
    (TimeDelta::hours(6), "a2", "within 6 hours"),
    (TimeDelta::days(1), "a3", "within a day"),
    (TimeDelta::days(7), "a4", "within a week"),
];
const OLDER: (&str, &str) = ("a5", "longer ago");
const NEVER: (&str, &str) = ("a0", "never");

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What the colours mean, freshest first.
pub(super) fn legend() -> impl Iterator<Item = (&'static str, &'static str)> {
    AGES.into_iter().map(|(_, class, words)| (class, words)).chain([OLDER, NEVER])
}

/// A year's drawing.
pub(super) struct Year {
    pub(super) year: i32,
    /// How far it is read, in a few words.
    pub(super) read: String,
    /// Whether that is not as it should be.
    pub(super) lacking: bool,
    /// What the drawing shows, for those who do not see it.
    pub(super) summary: String,
    pub(super) width: u32,
    /// Where each month begins, and its name.
    pub(super) months: Vec<(u32, &'static str)>,
    pub(super) cells: Vec<Cell>,
}

/// A day.
pub(super) struct Cell {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) class: &'static str,
    pub(super) title: String,
    pub(super) open: bool,
    pub(super) red_flag: bool,
    pub(super) verify: bool,
}

/// A month, as a row of the table that says the same as the drawing.
pub(super) struct Month {
    pub(super) name: String,
    pub(super) days: u32,
    pub(super) submissions: String,
    pub(super) open: String,
    pub(super) red_flags: String,
    /// When that of its days was read which was read longest ago.
    pub(super) oldest_read: String,
}

/// A created-day and what is known of it.
struct Known {
    day: NaiveDate,
    submissions: u64,
    open: u64,
    red_flags: i64,
    verify: bool,
    covered_at: Option<Timestamp>,
}

/// All days from the first one to today, with their marks.
pub(super) struct Coverage {
    days: Vec<Known>,
    now: Timestamp,
}

impl Coverage {
    pub(super) fn new(
        first: NaiveDate,
        calendar: &Calendar,
        red_flags: &BTreeMap<NaiveDate, i64>,
        now: Timestamp,
    ) -> Self {
        let known = |day: NaiveDate| {
            let row = calendar.day(day);
            Known {
                day,
                submissions: row.map_or(0, |row| row.submissions),
                open: row.map_or(0, |row| row.open),
                red_flags: red_flags.get(&day).copied().unwrap_or(0),
                verify: row.is_some_and(|row| row.verify),
                covered_at: calendar.covered_at(day),
            }
        };
        let days = first.iter_days().take_while(|day| *day <= now.date_naive()).map(known).collect();
        Self { days, now }
    }

    /// The years, the newest first.
    pub(super) fn years(&self) -> Vec<Year> {
        let years = self.days.chunk_by(|a, b| a.day.year() == b.day.year()).map(|days| self.year(days));
        years.rev().collect()
    }

    /// The months, the newest first.
    pub(super) fn months(&self) -> Vec<Month> {
        let month = |day: NaiveDate| (day.year(), day.month());
        let months = self.days.chunk_by(|a, b| month(a.day) == month(b.day)).map(|days| self.month(days));
        months.rev().collect()
    }

    fn year(&self, days: &[Known]) -> Year {
        let year = days[0].day.year();
        let january = NaiveDate::from_yo_opt(year, 1).expect("a year that has a day");
        // The Monday of the week of 1 January.
        let offset = january.weekday().num_days_from_monday();
        let months = days
            .iter()
            .filter(|known| known.day.day() == 1)
            .map(|known| ((known.day.ordinal0() + offset) / 7 * STEP, MONTHS[known.day.month0() as usize]));
        let cells = days.iter().map(|known| {
            let place = known.day.ordinal0() + offset;
            Cell {
                x: place / 7 * STEP,
                y: place % 7 * STEP,
                class: self.class(known).0,
                title: self.title(known),
                open: known.open > 0,
                red_flag: known.red_flags > 0,
                verify: known.verify,
            }
        });
        let never = days.iter().filter(|known| known.covered_at.is_none()).count();
        let read = match days.iter().filter_map(|known| known.covered_at).min() {
            Some(oldest) if never == 0 => format!("all read, the oldest {}", ago(oldest, self.now)),
            _ => format!("{} of {} never read", grouped(never as i128), count(days.len() as i128, "day")),
        };
        let all = by_age(days, |known| self.class(known).1);
        let summary = format!("{year}: {}. Completely read {all}.", count(days.len() as i128, "day"));
        Year {
            year,
            read,
            lacking: never > 0,
            summary,
            width: 54 * STEP,
            months: months.collect(),
            cells: cells.collect(),
        }
    }

    fn class(&self, known: &Known) -> (&'static str, &'static str) {
        let Some(at) = known.covered_at else { return NEVER };
        let age = self.now - at;
        AGES.into_iter().find(|(up_to, ..)| age <= *up_to).map_or(OLDER, |(_, class, words)| (class, words))
    }

    fn title(&self, known: &Known) -> String {
        let mut title = format!("{}: {}", known.day, count(i128::from(known.submissions), "submission"));
        if known.open > 0 {
            title.push_str(&format!(", {} open", grouped(i128::from(known.open))));
        }
        if known.red_flags > 0 {
            title.push_str(&format!(", {}", count(known.red_flags, "red flag")));
        }
        match known.covered_at {
            Some(at) => title.push_str(&format!("; read {}", ago(at, self.now))),
            None => title.push_str("; never read completely"),
        }
        if known.verify {
            title.push_str("; did not show all that is stored");
        }
        title
    }

    fn month(&self, days: &[Known]) -> Month {
        let oldest = days.iter().map(|known| known.covered_at).min().flatten();
        Month {
            name: days[0].day.format("%Y-%m").to_string(),
            days: u32::try_from(days.len()).expect("a month has at most 31 days"),
            submissions: grouped(days.iter().map(|known| i128::from(known.submissions)).sum::<i128>()),
            open: grouped(days.iter().map(|known| i128::from(known.open)).sum::<i128>()),
            red_flags: grouped(days.iter().map(|known| i128::from(known.red_flags)).sum::<i128>()),
            oldest_read: oldest.map_or("never".to_owned(), |at| ago(at, self.now)),
        }
    }
}

/// How many days there are of each class, in words.
fn by_age(days: &[Known], class: impl Fn(&Known) -> &'static str) -> String {
    let classes = legend().map(|(_, words)| (words, days.iter().filter(|known| class(known) == words).count()));
    let some: Vec<String> = classes.filter(|(_, n)| *n > 0).map(|(words, n)| format!("{words}: {n}")).collect();
    some.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::Day;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// A Wednesday's row.
    fn row(covered_at: Option<Timestamp>) -> Day {
        Day { day: day("2025-01-01"), submissions: 12, open: 3, covered_at, open_checked_at: None, verify: true }
    }

    #[test]
    fn a_cell_stands_in_its_week_and_says_what_is_known() {
        let now = at("2025-01-06T12:00:00Z");
        let calendar =
            Calendar { days: vec![row(Some(at("2025-01-06T08:00:00Z")))], fully_walked_at: None, early_walked: None };
        let flags = BTreeMap::from([(day("2025-01-01"), 1)]);
        let days = Coverage::new(day("2024-12-31"), &calendar, &flags, now);
        let years = days.years();
        assert_eq!(years.iter().map(|year| (year.year, year.cells.len())).collect::<Vec<_>>(), [(2025, 6), (2024, 1)]);
        let [first, .., monday] = &years[0].cells[..] else { panic!("six days") };
        assert_eq!((first.x, first.y, first.class), (0, 2 * STEP, "a2"), "a Wednesday, read 4 hours ago");
        assert_eq!((monday.x, monday.y, monday.class), (STEP, 0, "a0"), "a Monday, never read");
        assert!(first.open && first.red_flag && first.verify);
        let title = "2025-01-01: 12 submissions, 3 open, 1 red flag; read 4 h ago; did not show all that is stored";
        assert_eq!(first.title, title);
        assert_eq!(monday.title, "2025-01-06: 0 submissions; never read completely");
        assert_eq!((&*years[0].read, years[0].lacking), ("5 of 6 days never read", true));
        assert_eq!(years[0].summary, "2025: 6 days. Completely read within 6 hours: 1, never: 5.");
        let months = days.months();
        let month = |month: &Month| (month.name.clone(), month.days, month.open.clone(), month.oldest_read.clone());
        assert_eq!(month(&months[0]), ("2025-01".to_owned(), 6, "3".to_owned(), "never".to_owned()));
    }

    #[test]
    fn every_age_has_a_class_of_its_own() {
        let classes: Vec<&str> = legend().map(|(class, _)| class).collect();
        assert_eq!(classes, ["a1", "a2", "a3", "a4", "a5", "a0"]);
        let css = include_str!("status.css");
        for class in classes {
            assert!(css.contains(&format!(".{class}")), "{class} has no colour");
        }
    }
}
