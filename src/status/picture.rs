//! What is printed of a project, made of what the database tells. Pure.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use serde::Serialize;

use super::deletions::Erasures;
use super::forecast::forecast;
use super::lanes::{self, Lane};
use super::vendor::{Drift, Vendor};
use crate::clock::Timestamp;
use crate::config::{Poll, Project};
use crate::domain::alert::{Kind, Risk};
use crate::domain::calendar::{self, Calendar};
use crate::store::status::{Facts, Failure, Outbox};

/// A project, as of a moment. Numbers, names of states, times; no personal data.
#[derive(Serialize)]
pub(crate) struct Picture {
    pub(crate) project: String,
    pub(crate) name: Option<String>,
    pub(crate) at: Timestamp,
    /// Events of all projects share their positions.
    pub(crate) outbox: Outbox,
    /// `None`: it is configured, and no process has begun with it.
    #[serde(flatten)]
    pub(crate) known: Option<Known>,
}

#[derive(Serialize)]
pub(crate) struct Known {
    pub(crate) writer: Writer,
    pub(crate) import: Import,
    pub(crate) submissions: Submissions,
    pub(crate) days: DaysRead,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) budget: Budget,
    pub(crate) reads_waiting: Waiting,
    pub(crate) quarantine: BTreeMap<String, i64>,
    pub(crate) alerts: Vec<Alerts>,
    pub(crate) errors: Vec<Failure>,
    pub(crate) vendor: Vendor,
    pub(crate) drift: Drift,
    pub(crate) erasures: Erasures,
}

#[derive(Serialize)]
pub(crate) struct Writer {
    /// Whether somebody holds the lease.
    pub(crate) held: bool,
    /// Who holds it, or held it last.
    pub(crate) holder: Option<String>,
    pub(crate) epoch: i64,
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
pub(crate) struct Import {
    pub(crate) state: ImportState,
    pub(crate) number: i32,
    pub(crate) completed_at: Option<Timestamp>,
    /// Of the walk in progress.
    pub(crate) began_at: Option<Timestamp>,
    pub(crate) pages: i64,
    pub(crate) items: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ImportState {
    Due,
    Running,
    Completed,
}

#[derive(Serialize)]
pub(crate) struct Submissions {
    pub(crate) total: i64,
    /// By kyc.result; `none`: without one.
    pub(crate) by_result: BTreeMap<String, i64>,
    /// Incomplete or pending.
    pub(crate) open: u64,
    pub(crate) open_days: u64,
    pub(crate) oldest_open_day: Option<NaiveDate>,
    pub(crate) red_flags_open: i64,
}

/// The days from the first that is wanted, or holds something, to today.
#[derive(Serialize)]
pub(crate) struct DaysRead {
    pub(crate) first: Option<NaiveDate>,
    pub(crate) known: u64,
    /// Those that were completely read at least once.
    pub(crate) covered: u64,
    /// The day whose last complete read is longest ago; a day that was never read comes before all others.
    pub(crate) oldest_unverified: Option<Read>,
    /// Days on which a complete walk did not show all that is stored.
    pub(crate) to_verify: u64,
    pub(crate) to_verify_since: Option<Timestamp>,
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct Read {
    pub(crate) day: NaiveDate,
    /// `None`: never.
    pub(crate) covered_at: Option<Timestamp>,
}

#[derive(Serialize)]
pub(crate) struct Budget {
    /// Requests reserved of today (UTC), by all processes.
    pub(crate) reserved: u64,
    /// `None`: the project is not configured here.
    pub(crate) per_day: Option<u64>,
    pub(crate) left: Option<u64>,
}

/// Alerts of a kind that nobody has acknowledged, those of the import apart.
#[derive(Serialize)]
pub(crate) struct Alerts {
    pub(crate) kind: &'static str,
    pub(crate) risk: &'static str,
    pub(crate) waiting: i64,
}

#[derive(Serialize)]
pub(crate) struct Waiting {
    pub(crate) total: i64,
    pub(crate) by_reason: BTreeMap<String, i64>,
    pub(crate) since: Option<Timestamp>,
}

impl Picture {
    pub(crate) fn new(
        id: &str,
        facts: Option<Facts>,
        configured: Option<&Project>,
        poll: &Poll,
        outbox: Outbox,
        now: Timestamp,
    ) -> Self {
        let configured_name = configured.map(|project| project.name.clone());
        let name = facts.as_ref().map(|facts| facts.name.clone()).or(configured_name).filter(|name| name != id);
        let known = facts.map(|facts| Known::new(facts, configured, poll, now));
        Self { project: id.to_owned(), name, at: now, outbox, known }
    }
}

impl Known {
    fn new(facts: Facts, configured: Option<&Project>, poll: &Poll, now: Timestamp) -> Self {
        let reserved = facts.project.reserved;
        let per_day = configured.map(|project| project.api.requests_per_day);
        let first = first_day(&facts, now);
        let promised = configured.map(|project| forecast(&facts, project, poll, now));
        Self {
            import: import(&facts),
            submissions: submissions(&facts),
            days: days_read(&facts, first, now),
            lanes: lanes::all(&facts, first, promised.as_ref(), poll, now),
            vendor: Vendor::new(&facts.findings, configured),
            budget: Budget { reserved, per_day, left: per_day.map(|per_day| per_day.saturating_sub(reserved)) },
            reads_waiting: Waiting {
                total: facts.reads.values().sum(),
                by_reason: facts.reads,
                since: facts.reads_since,
            },
            quarantine: facts.quarantine,
            drift: Drift { unknown_aml_status: facts.unknown_aml, names: facts.drift },
            erasures: Erasures::new(facts.erasures, facts.project.confirm_at),
            writer: Writer {
                held: facts.writer.held,
                holder: facts.writer.holder,
                epoch: facts.writer.epoch,
                expires_at: facts.writer.expires_at,
            },
            alerts: facts.alerts.into_iter().filter(|(_, waiting)| *waiting > 0).map(alerts).collect(),
            errors: facts.errors,
        }
    }
}

fn alerts(((kind, risk), waiting): ((Kind, Risk), i64)) -> Alerts {
    Alerts { kind: kind.as_str(), risk: risk.as_str(), waiting }
}

/// The first day that counts: the import's, or where everything is wanted, the first one that holds something.
fn first_day(facts: &Facts, now: Timestamp) -> Option<NaiveDate> {
    let first = match facts.project.import {
        Some(calendar::Import::Days { from, .. }) => Some(from),
        _ => facts.calendar.first_day(),
    };
    first.map(|day| day.min(now.date_naive()))
}

fn import(facts: &Facts) -> Import {
    let does_it = |lane: &str| ["once", "backfill"].contains(&lane);
    let walk = facts.walks.iter().find(|walk| walk.running && does_it(&walk.lane));
    let walk = walk.filter(|_| facts.project.import_completed_at.is_none());
    let state = match (facts.project.import_completed_at, walk) {
        (Some(_), _) => ImportState::Completed,
        (None, Some(_)) => ImportState::Running,
        (None, None) => ImportState::Due,
    };
    Import {
        state,
        number: facts.project.import_number,
        completed_at: facts.project.import_completed_at,
        began_at: walk.map(|walk| walk.started_at),
        pages: walk.map_or(0, |walk| walk.pages),
        items: walk.map_or(0, |walk| walk.items),
    }
}

fn submissions(facts: &Facts) -> Submissions {
    let open = || facts.calendar.days.iter().filter(|day| day.open > 0);
    let count = |name: &str, label: &str| facts.counts.get(&(name.to_owned(), label.to_owned())).copied().unwrap_or(0);
    let by_result: BTreeMap<String, i64> = facts
        .counts
        .iter()
        .filter(|((name, _), value)| name == "submissions" && **value != 0)
        .map(|((_, label), value)| (label.clone(), *value))
        .collect();
    Submissions {
        total: by_result.values().sum(),
        by_result,
        open: open().map(|day| day.open).sum(),
        open_days: open().count() as u64,
        oldest_open_day: open().map(|day| day.day).next(),
        red_flags_open: count("red_flags_open", ""),
    }
}

fn days_read(facts: &Facts, first: Option<NaiveDate>, now: Timestamp) -> DaysRead {
    let read: Vec<Read> =
        first.map_or_else(Vec::new, |first| reads(&facts.calendar, first, now.date_naive()).collect());
    DaysRead {
        first,
        known: read.len() as u64,
        covered: read.iter().filter(|read| read.covered_at.is_some()).count() as u64,
        oldest_unverified: read.into_iter().min_by_key(|read| read.covered_at),
        to_verify: facts.calendar.days.iter().filter(|day| day.verify).count() as u64,
        to_verify_since: facts.to_verify_since,
    }
}

/// When each day of a range was last read completely.
pub(crate) fn reads(calendar: &Calendar, first: NaiveDate, last: NaiveDate) -> impl Iterator<Item = Read> {
    let days = u64::try_from((last - first).num_days() + 1).unwrap_or(0);
    (0..days)
        .filter_map(move |n| first.checked_add_days(Days::new(n)))
        .map(|day| Read { day, covered_at: calendar.covered_at(day) })
}
