//! `argos-sync plan`: with so many submissions and requests a day, how soon is a change seen?

mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{Days, NaiveTime};
use clap::Args;
use serde_json::{Value, json};

use super::project;
use crate::app::{App, AppError};
use crate::clock::{Clock, Timestamp};
use crate::config::{Poll, Settings};
use crate::domain::calendar::{Calendar, Day, Filter};
use crate::exit::Exit;
use crate::store::error::StoreError;
use crate::store::{calendar, probe, progress, views};
use crate::sync::plan::{self, Budget, Forecast, Share, Situation};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const NOON: NaiveTime = NaiveTime::from_hms_opt(12, 0, 0).expect("a time");

/// More days than that nobody has.
const MOST_DAYS: u32 = 36_500;

/// Options of `plan`.
#[derive(Args)]
pub(super) struct Plan {
    /// Which project, where several are configured
    #[arg(long, value_name = "ID", conflicts_with = "submissions")]
    project: Option<String>,
    /// How many submissions the project has; without it: those in the database
    #[arg(long, value_name = "N")]
    submissions: Option<u64>,
    /// Over how many days they were created, evenly
    #[arg(long, value_name = "D", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DAYS)))]
    days: u32,
    /// The part of them that is open (incomplete or pending), at any age: 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.01, value_parser = share)]
    open_share: f64,
    /// Requests per day [default: api.requests_per_day]
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u64).range(1..))]
    budget: Option<u64>,
    /// Submissions that a page really holds [default: api.count]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u64).range(1..=2000))]
    page: Option<u64>,
    /// Print JSON: times in seconds, requests per day
    #[arg(long)]
    json: bool,
}

/// A project to plan for.
struct Known {
    calendar: Calendar,
    page: u64,
    budget: u64,
    filter: Filter,
    phases: u64,
}

impl Plan {
    pub(super) async fn execute(&self, settings: &Settings) -> Result<(), AppError> {
        // Any noon will do: the same question has the same answer all day.
        let now = Clock::system().now().date_naive().and_time(NOON).and_utc();
        let known = self.known(settings, now).await?;
        let forecast = known.forecast(&settings.poll, now);
        if self.json {
            println!("{}", known.json(&forecast));
        } else {
            print!("{}", table::text(&known, &forecast, &settings.poll));
        }
        Ok(())
    }

    /// What to plan for: the numbers of the command line, or what the database knows of a project.
    async fn known(&self, settings: &Settings, now: Timestamp) -> Result<Known, AppError> {
        let Some(submissions) = self.submissions else { return self.stored(settings).await };
        let api = settings.projects.first().map(|project| &project.api);
        let open = (submissions as f64 * self.open_share).round() as u64;
        Ok(Known {
            calendar: spread(submissions, open, self.days, now),
            page: self.page.or(api.map(|api| api.count.into())).unwrap_or(100),
            budget: self.budget.or(api.map(|api| api.requests_per_day)).unwrap_or(100_000),
            filter: Filter::UNKNOWN,
            phases: 1,
        })
    }
}

impl Plan {
    async fn stored(&self, settings: &Settings) -> Result<Known, AppError> {
        let project = project(settings, self.project.as_deref())?;
        let app = App::open(settings.clone(), Clock::system()).await?;
        let read = async {
            app.prepare_database().await?;
            let mut connection = app.pool.acquire().await.map_err(StoreError::doing("connecting"))?;
            let calendar = calendar::load(&mut connection, &project.id).await?;
            let findings = probe::findings(&mut connection, &project.id).await?;
            let lacking = findings.lacking(&views::fields(&mut connection, &project.id).await?);
            Ok::<_, StoreError>((calendar, progress::page_size(&mut connection, &project.id).await?, lacking.phases()))
        };
        let read = read.await;
        app.close().await?;
        let (calendar, measured, phases) = read?;
        if calendar.submissions(None) == 0 {
            let message = "the database holds no submission yet: say how many there are, e.g. argos-sync plan --submissions 50000";
            return Err(AppError::Other { message: message.to_owned(), exit: Exit::Usage });
        }
        Ok(Known {
            calendar,
            page: self
                .page
                .unwrap_or(measured.unwrap_or(u64::from(project.api.count)).clamp(1, project.api.count.into())),
            budget: self.budget.unwrap_or(project.api.requests_per_day),
            filter: Filter::UNKNOWN,
            phases,
        })
    }
}

impl Known {
    /// What a whole day comes to, with nothing in progress.
    fn forecast(&self, poll: &Poll, now: Timestamp) -> Forecast {
        plan::forecast(&Situation {
            now,
            calendar: &self.calendar,
            poll,
            filter: self.filter,
            page: self.page,
            budget: Budget { per_day: self.budget, left: self.budget, until_midnight: DAY },
            import: None,
            lanes: &BTreeMap::new(),
            refresh: 0,
            phases: self.phases,
            details: false,
            confirm_at: None,
            canary_at: None,
        })
    }

    fn open(&self) -> u64 {
        self.calendar.days.iter().map(|row| row.open).sum()
    }

    /// Requests of a first import.
    fn import(&self) -> u64 {
        self.calendar.submissions(None).div_ceil(self.page).max(1) * self.phases
    }

    fn json(&self, forecast: &Forecast) -> Value {
        let lane = |share: Share| {
            json!({
                "round_requests": share.round, "requests_needed": share.need.round(),
                "requests_granted": share.granted.round(), "every_seconds": share.every.as_secs_f64(),
                "seen_within_seconds": share.seen_within.as_secs_f64(), "short": share.short,
            })
        };
        let ages = forecast.ages.iter().map(|age| {
            json!({
                "days": age.days, "every_seconds": age.every.map(|every| every.as_secs_f64()),
                "seen_within_seconds": age.seen_within.as_secs_f64(),
            })
        });
        json!({
            "submissions": self.calendar.submissions(None), "open": self.open(), "page": self.page,
            "requests_per_day": self.budget, "import_requests": self.import(), "hot": lane(forecast.hot),
            "open_days": lane(forecast.open), "open_ages": ages.collect::<Vec<_>>(),
            "sweep": forecast.sweep.map(lane), "spare": forecast.spare.round(),
        })
    }
}

/// So many submissions, and so many open ones among them, spread evenly over the days up to today.
fn spread(submissions: u64, open: u64, days: u32, now: Timestamp) -> Calendar {
    let today = now.date_naive();
    // Of the first `i` days.
    let part = |all: u64, i: u32| u64::try_from(u128::from(all) * u128::from(i) / u128::from(days)).unwrap_or(all);
    let rows = (0..days).filter_map(|i| {
        Some(Day {
            day: today.checked_sub_days(Days::new(u64::from(days - 1 - i)))?,
            submissions: part(submissions, i + 1) - part(submissions, i),
            open: part(open, i + 1) - part(open, i),
            covered_at: Some(now),
            open_checked_at: None,
            verify: false,
        })
    });
    Calendar { days: rows.collect(), ..Calendar::default() }
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "write a number from 0 to 1, such as 0.01".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("write a number from 0 to 1, such as 0.01".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(submissions: u64, budget: u64) -> String {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let calendar = spread(submissions, submissions / 100, 365, now);
        let known = Known { calendar, page: 100, budget, filter: Filter::UNKNOWN, phases: 1 };
        let poll = Settings::default().poll;
        table::text(&known, &known.forecast(&poll, now), &poll)
    }

    #[test]
    fn submissions_are_spread_evenly_and_all_of_them() {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let calendar = spread(1000, 10, 365, now);
        assert_eq!((calendar.days.len(), calendar.submissions(None)), (365, 1000));
        assert_eq!(calendar.days.iter().map(|row| row.open).sum::<u64>(), 10);
        assert!(calendar.days.iter().all(|row| (2..=3).contains(&row.submissions)));
        assert_eq!(calendar.days.last().unwrap().day, now.date_naive());
    }

    #[test]
    fn the_readme_shows_what_is_printed() {
        let readme = include_str!("../../README.md");
        let shown = text(50_000, 100_000);
        assert!(readme.contains(shown.trim_end()), "README.md shows something else:\n{shown}");
    }

    #[test]
    fn each_shortage_has_its_sentence_and_what_to_change() {
        let enough = text(50_000, 100_000);
        assert!(!enough.contains("api.requests_per_day"), "{enough}");
        let slow = text(200_000, 100_000);
        assert!(slow.contains("poll.sweep_interval") && !slow.contains("poll.interval"), "{slow}");
        let slower = text(50_000, 1_000);
        assert!(slower.contains("poll.sweep_interval") && slower.contains("poll.interval"), "{slower}");
    }
}
