//! `argos-sync plan`: with so many submissions and requests a day, how soon is a change seen, and a deletion believed?

pub(super) mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{Days, NaiveTime};
use clap::Args;
use serde_json::{Value, json};

use super::{output, project};
use crate::app::{App, AppError};
use crate::clock::{Clock, Timestamp};
use crate::config::{Poll, Settings};
use crate::domain::calendar::{Calendar, Day, DayRange, Filter};
use crate::domain::probe::Lacking;
use crate::exit::Exit;
use crate::store::error::StoreError;
use crate::store::{calendar, probe, progress, views};
use crate::sync::plan::{self, Budget, Deletion, Forecast, Share, Situation};

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
    /// Plan for lists that lack aml and attempts; without it, with a database: as the probe found them
    #[arg(long)]
    thin_lists: bool,
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
    lacking: Lacking,
    probe_every: Duration,
}

/// What is stated.
struct Stated {
    forecast: Forecast,
    import: Import,
    /// Of the newest days, and of all older ones.
    deletions: (Deletion, Option<Deletion>),
}

/// A first import.
struct Import {
    /// Requests for lists.
    requests: u64,
    /// How long they take at most.
    within: Duration,
    /// Where lists lack fields: within which time all submissions were read by id besides; `None`: never.
    details_within: Option<Duration>,
}

impl Plan {
    pub(super) async fn execute(&self, settings: &Settings) -> Result<(), AppError> {
        // Any noon will do: the same question has the same answer all day.
        let now = Clock::system().now().date_naive().and_time(NOON).and_utc();
        let known = self.known(settings, now).await?;
        let stated = known.state(settings, now);
        if self.json {
            output::print_json(&format!("{}\n", known.json(&stated)))
        } else {
            output::print(&table::text(&known, &stated, settings))
        }
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
            lacking: self.lacking(Lacking::default()),
            probe_every: DAY,
        })
    }

    /// What lists lack: everything that they may, or what was found.
    fn lacking(&self, found: Lacking) -> Lacking {
        if self.thin_lists { Lacking { screenings: true, details: true, by_id: false } } else { found }
    }
}

impl Plan {
    async fn stored(&self, settings: &Settings) -> Result<Known, AppError> {
        let project = project(settings, self.project.as_deref())?;
        let app = App::open(settings.clone(), Clock::system()).await?;
        let read = async {
            app.prepare_database().await?;
            let mut connection = app.pool.acquire().await.map_err(StoreError::doing("connecting"))?;
            let measured =
                progress::find(&mut connection, &project.id, app.clock.now()).await?.and_then(|row| row.page_items);
            let calendar = calendar::load(&mut connection, &project.id).await?;
            let findings = probe::findings(&mut connection, &project.id).await?;
            let lacking = findings.lacking(&views::fields(&mut connection, &project.id).await?);
            Ok::<_, StoreError>((calendar, measured, findings, lacking))
        };
        let read = read.await;
        app.close().await?;
        let (calendar, measured, findings, lacking) = read?;
        if calendar.submissions(None) == 0 {
            let message = "the database holds no submission yet: say how many there are, e.g. argos-sync plan --submissions 50000";
            return Err(AppError::Other { message: message.to_owned(), exit: Exit::Usage });
        }
        let budget = self.budget.unwrap_or(project.api.requests_per_day);
        Ok(Known {
            calendar,
            page: self.page.unwrap_or(plan::page(measured, project.api.count.into())),
            budget,
            filter: findings.filter,
            lacking: self.lacking(lacking),
            probe_every: findings.probe_every(budget),
        })
    }
}

impl Known {
    /// What a whole day comes to, with nothing in progress.
    fn state(&self, settings: &Settings, now: Timestamp) -> Stated {
        let forecast = self.forecast(&settings.poll, now, None);
        let after = settings.erasure.confirm_after;
        let older = forecast.sweep.map(|sweep| forecast.deletion(sweep.seen_within, after));
        Stated {
            import: self.import(&forecast, &settings.poll, now),
            deletions: (forecast.deletion(forecast.hot.seen_within, after), older),
            forecast,
        }
    }

    fn forecast(&self, poll: &Poll, now: Timestamp, import: Option<Option<DayRange>>) -> Forecast {
        plan::forecast(&Situation {
            now,
            calendar: &self.calendar,
            poll,
            filter: self.filter,
            page: self.page,
            budget: Budget { per_day: self.budget, left: self.budget, until_midnight: DAY },
            import,
            lanes: &BTreeMap::new(),
            refresh: 0,
            phases: self.lacking.phases(),
            details: false,
            confirm_at: None,
            canary_at: None,
            probe_every: self.probe_every,
        })
    }

    /// The first import: its lists take the sweep's place, and then submissions are read by id where lists lack fields.
    fn import(&self, later: &Forecast, poll: &Poll, now: Timestamp) -> Import {
        let import = self.forecast(poll, now, Some(None)).backfill;
        let (requests, within) = import.map_or((0, Duration::ZERO), |share| (share.round, share.seen_within));
        let left = room(later) - self.new_per_day();
        let details = (left > 0.0).then(|| self.calendar.submissions(None) as f64 / left);
        let details_within = details.and_then(|days| Duration::try_from_secs_f64(days * DAY.as_secs_f64()).ok());
        Import { requests, within, details_within: details_within.map(|details| within.saturating_add(details)) }
    }

    /// New submissions a day: as many as there were, on average, since the first.
    fn new_per_day(&self) -> f64 {
        let span = self.calendar.days.first().zip(self.calendar.days.last());
        let days = span.map_or(1, |(first, last)| (last.day - first.day).num_days() + 1);
        self.calendar.submissions(None) as f64 / days as f64
    }

    fn open(&self) -> u64 {
        self.calendar.days.iter().map(|row| row.open).sum()
    }

    fn json(&self, stated: &Stated) -> Value {
        let Stated { forecast, import, deletions } = stated;
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
        let deletion = |deletion: Deletion| {
            json!({
                "suspected_within_seconds": deletion.suspected_within.as_secs_f64(),
                "carried_out_within_seconds": deletion.carried_out_within.as_secs_f64(),
                "fields_carried_out_within_seconds": deletion.with_lists_within.as_secs_f64(),
            })
        };
        json!({
            "submissions": self.calendar.submissions(None), "open": self.open(), "page": self.page,
            "requests_per_day": self.budget, "thin_lists": self.lacking.screenings || self.lacking.details,
            "import_requests": import.requests, "import_seconds": import.within.as_secs_f64(),
            "import_details_seconds": import.details_within.filter(|_| self.lacking.details).map(|it| it.as_secs_f64()),
            "hot": lane(forecast.hot), "open_days": lane(forecast.open), "open_ages": ages.collect::<Vec<_>>(),
            "sweep": forecast.sweep.map(lane), "verify": lane(forecast.verify), "single": forecast.single.round(),
            "probe": forecast.probe.round(), "spare": forecast.spare.round(),
            "deletion_of_newest": deletion(deletions.0), "deletion_of_older": deletions.1.map(deletion),
        })
    }
}

/// Requests a day that there are for submissions read by id.
fn room(forecast: &Forecast) -> f64 {
    forecast.single + forecast.spare
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

    fn known(submissions: u64, budget: u64) -> Known {
        let calendar = spread(submissions, submissions / 100, 365, now());
        let (filter, lacking) = (Filter::UNKNOWN, Lacking::default());
        Known { calendar, page: 100, budget, filter, lacking, probe_every: DAY }
    }

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn text_of(known: &Known) -> String {
        let settings = Settings::default();
        table::text(known, &known.state(&settings, now()), &settings)
    }

    fn text(submissions: u64, budget: u64) -> String {
        text_of(&known(submissions, budget))
    }

    #[test]
    fn submissions_are_spread_evenly_and_all_of_them() {
        let calendar = spread(1000, 10, 365, now());
        assert_eq!((calendar.days.len(), calendar.submissions(None)), (365, 1000));
        assert_eq!(calendar.days.iter().map(|row| row.open).sum::<u64>(), 10);
        assert!(calendar.days.iter().all(|row| (2..=3).contains(&row.submissions)));
        assert_eq!(calendar.days.last().unwrap().day, now().date_naive());
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

    #[test]
    fn the_advised_budget_is_enough() {
        for (submissions, budget) in [(50_000, 100), (50_000, 30_000), (1_000_000, 100_000), (300, 1_000)] {
            let short = text(submissions, budget);
            let advised = short.split("api.requests_per_day to ").nth(1).unwrap().split([' ', '\n']).next().unwrap();
            let after = text(submissions, advised.replace(',', "").parse().unwrap());
            assert!(!after.contains("api.requests_per_day"), "{advised} instead of {budget}:\n{after}");
        }
    }

    #[test]
    fn p8_the_requests_add_up_to_the_budget() {
        for (submissions, budget) in [(0, 7), (10, 100), (50_000, 2_000), (50_000, 100_000), (9_000_000, 500_000)] {
            let mut known = known(submissions, budget);
            known.lacking = Lacking { screenings: true, details: true, by_id: false };
            let text = text_of(&known);
            let rows = text.lines().skip_while(|line| !line.starts_with("lane")).skip(1);
            let cells = rows.take_while(|line| !line.is_empty()).map(|line| line[54..69].trim().replace(',', ""));
            let numbers: Vec<u64> = cells.filter(|cell| !cell.is_empty()).map(|cell| cell.parse().unwrap()).collect();
            let (together, parts) = numbers.split_last().unwrap();
            assert_eq!((*together, parts.iter().sum::<u64>()), (budget, budget), "{text}");
        }
    }

    #[test]
    fn probes_that_cannot_tell_are_counted() {
        let spare = |known: &Known| known.state(&Settings::default(), now()).forecast.spare;
        let settled = known(50_000, 100_000);
        let unsettled = Known { probe_every: DAY / 24, ..known(50_000, 100_000) };
        assert_eq!((spare(&settled) - spare(&unsettled)).round(), 9.0 * 23.0);
        assert!(text_of(&unsettled).contains("216  1h"));
    }

    #[test]
    fn thin_lists_cost_twice_the_pages_and_a_request_per_submission() {
        let whole = text(50_000, 100_000);
        let mut known = known(50_000, 100_000);
        known.lacking = Lacking { screenings: true, details: true, by_id: false };
        let thin = text_of(&known).replace('\n', " ");
        assert!(
            whole.contains("A first import takes 500 requests") && whole.contains("522 requests a round"),
            "{whole}"
        );
        assert!(
            thin.contains("A first import takes 1,000 requests") && thin.contains("1,044 requests a round"),
            "{thin}"
        );
        assert!(thin.contains("50,000 submissions are read by id: all of it within"), "{thin}");
        known.budget = 1_000;
        let ever = text_of(&known).replace('\n', " ");
        assert!(ever.contains("there is only room for 20"), "{ever}");
    }
}
