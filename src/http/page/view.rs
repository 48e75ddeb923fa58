//! What stands where on the page, as text. Pure.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use chrono::NaiveDate;

use super::calendar::{self, Coverage, Month, Year};
use crate::clock::Timestamp;
use crate::domain::calendar::Calendar;
use crate::status::attention::{self, Attention, Level};
use crate::status::lanes::Lane;
use crate::status::picture::{ImportState, Known, Picture};
use crate::store::status::{RecentEvent, RedFlag};
use crate::words::{ago, count, grouped, length, moment};

/// So many open flags and so many events are shown.
pub(super) const ROWS: i64 = 12;

/// Seconds from one view of the page to the next.
const REFRESH: u32 = 15;

/// What was read for the page.
pub(super) enum State {
    Project(Box<Project>),
    NoSuchProject { ids: BTreeSet<String> },
    Unreadable { problem: String, advice: String },
}

/// A project, and what the picture of it does not hold.
pub(super) struct Project {
    pub(super) ids: BTreeSet<String>,
    pub(super) picture: Picture,
    pub(super) calendar: Calendar,
    pub(super) red_flag_days: BTreeMap<NaiveDate, i64>,
    pub(super) red_flags: Vec<RedFlag>,
    pub(super) events: Vec<RecentEvent>,
}

/// The page.
#[derive(Template)]
#[template(path = "status.html", config = "src/http/askama.toml")]
pub(super) struct Page {
    title: String,
    /// Seconds; `None`: it stays as it is.
    refresh: Option<u32>,
    /// What to ask for to have it the other way.
    other_refresh: String,
    at: String,
    version: &'static str,
    links: Vec<Link>,
    /// Whether there is another project to choose.
    choice: bool,
    verdict: Verdict,
    /// What lasts and needs a person.
    attention: Vec<Attention>,
    /// `None`: nothing is known of the project, or nothing could be read.
    body: Option<Body>,
}

/// A project's name, and whether it is the one that is shown.
struct Link {
    id: String,
    shown: bool,
}

/// The page in a sentence.
struct Verdict {
    class: &'static str,
    text: String,
}

struct Body {
    facts: Vec<(&'static str, String)>,
    legend: Vec<(&'static str, &'static str)>,
    years: Vec<Year>,
    months: Vec<Month>,
    lanes: Vec<LaneRow>,
    results: Vec<Bar>,
    budget: Option<Bar>,
    budget_text: String,
    flags: Vec<Flag>,
    flags_title: String,
    events: Vec<EventRow>,
    past: Vec<Attention>,
}

struct LaneRow {
    name: String,
    days: String,
    oldest: String,
    every: String,
    within: String,
    short: bool,
    walk: String,
}

/// A number as a part of a whole.
struct Bar {
    label: String,
    class: &'static str,
    text: String,
    /// Of 1,000.
    part: u64,
}

struct Flag {
    id: String,
    day: String,
    risk: String,
    changed: String,
    changed_at: String,
}

struct EventRow {
    position: String,
    kind: String,
    class: &'static str,
    change: String,
    id: String,
    when: String,
}

impl Page {
    pub(super) fn new(state: State, refreshes: bool, now: Timestamp) -> Self {
        let id = match &state {
            State::Project(project) => Some(project.picture.project.clone()),
            _ => None,
        };
        let query = id.as_ref().map(|id| format!("project={id}&")).unwrap_or_default();
        let mut page = Self {
            title: id.clone().unwrap_or_else(|| "argos-sync".to_owned()),
            refresh: refreshes.then_some(REFRESH),
            other_refresh: if refreshes { format!("?{query}refresh=off") } else { format!("?{query}") },
            at: moment(now),
            version: env!("CARGO_PKG_VERSION"),
            links: Vec::new(),
            choice: false,
            verdict: Verdict { class: "bad", text: String::new() },
            attention: Vec::new(),
            body: None,
        };
        match state {
            State::Project(project) => page.fill(*project),
            State::NoSuchProject { ids } => {
                page.links = links(ids, None);
                "There is no such project. Choose one of those above.".clone_into(&mut page.verdict.text);
            }
            State::Unreadable { problem, advice } => {
                "The database cannot be read, so nothing can be shown.".clone_into(&mut page.verdict.text);
                page.attention.push(Attention::error(problem, &advice));
            }
        }
        page.choice = page.links.iter().any(|link| !link.shown);
        page
    }

    fn fill(&mut self, project: Project) {
        let Project { ids, picture, calendar, red_flag_days, red_flags, events } = project;
        self.links = links(ids, Some(&picture.project));
        if let Some(name) = &picture.name {
            self.title = format!("{} ({name})", picture.project);
        }
        let (past, lasting) = attention::of(&picture).into_iter().partition(|one| one.level == Level::Past);
        self.attention = lasting;
        self.verdict = verdict(&picture, &self.attention);
        let Some(known) = &picture.known else { return };
        let now = picture.at;
        let coverage = Coverage::new(known.days.first.unwrap_or(now.date_naive()), &calendar, &red_flag_days, now);
        let open_flags = known.submissions.red_flags_open;
        self.body = Some(Body {
            facts: facts(&picture, known),
            legend: calendar::legend().collect(),
            years: coverage.years(),
            months: coverage.months(),
            lanes: known.lanes.iter().map(|lane| lane_row(lane, now)).collect(),
            results: results(known),
            budget: budget_bar(known),
            budget_text: budget_text(known),
            flags: red_flags.into_iter().map(|flag| flag_row(flag, now)).collect(),
            flags_title: match open_flags {
                0 => "No open red flag".to_owned(),
                some if some > ROWS => format!("{} open red flags, the last changed first", grouped(some)),
                some => count(some, "open red flag"),
            },
            events: events.into_iter().map(|event| event_row(event, now)).collect(),
            past,
        });
    }
}

fn links(ids: BTreeSet<String>, shown: Option<&str>) -> Vec<Link> {
    ids.into_iter().map(|id| Link { shown: shown == Some(&id), id }).collect()
}

fn verdict(picture: &Picture, attention: &[Attention]) -> Verdict {
    let Some(known) = &picture.known else {
        let text = "Nothing is known of this project yet: run, once or backfill begin with it.".to_owned();
        return Verdict { class: "busy", text };
    };
    let worst = attention.first().map(|one| one.level);
    let number = count(attention.len() as i128, "thing");
    let stalled = attention.iter().any(|one| one.level == Level::Stalled);
    match (worst, known.import.state) {
        (Some(_), _) if stalled => Verdict { class: "bad", text: format!("Reading has stalled: {number} to look at.") },
        (Some(Level::Warning), _) => Verdict { class: "busy", text: format!("At work, with {number} to look at.") },
        (Some(_), _) => Verdict { class: "bad", text: format!("{number} to look at, now.") },
        (None, ImportState::Completed) => {
            Verdict { class: "good", text: "All is read, and read again as planned.".to_owned() }
        }
        (None, _) => Verdict {
            class: "busy",
            text: format!("The first import is at work: {} so far.", count(known.submissions.total, "submission")),
        },
    }
}

/// The short facts under the verdict.
fn facts(picture: &Picture, known: &Known) -> Vec<(&'static str, String)> {
    let now = picture.at;
    let days = &known.days;
    let mut facts = vec![
        ("Submissions", grouped(known.submissions.total)),
        ("Open", grouped(i128::from(known.submissions.open))),
        ("Red flags", grouped(known.submissions.red_flags_open)),
        (
            "Days completely read",
            format!("{} of {}", grouped(i128::from(days.covered)), grouped(i128::from(days.known))),
        ),
    ];
    if let Some(oldest) = days.oldest_unverified {
        let read = oldest.covered_at.map_or("never".to_owned(), |at| ago(at, now));
        facts.push(("Oldest read", format!("{}, {read}", oldest.day)));
    }
    if days.to_verify > 0 {
        facts.push(("Days to verify", grouped(i128::from(days.to_verify))));
    }
    let waiting = known.reads_waiting.total;
    if waiting > 0 {
        facts.push(("Reads by id waiting", grouped(waiting)));
    }
    let quarantine: i64 = known.quarantine.values().sum();
    if quarantine > 0 {
        facts.push(("In quarantine", grouped(quarantine)));
    }
    let suspected: i64 = known.erasures.pending.values().sum();
    if suspected > 0 {
        facts.push(("Deletions suspected", grouped(suspected)));
    }
    facts.push(("Events", format!("up to position {}", grouped(picture.outbox.last_position))));
    facts
}

fn lane_row(lane: &Lane, now: Timestamp) -> LaneRow {
    let time = |seconds: Option<u64>| {
        let time = seconds.filter(|seconds| *seconds > 0).and_then(|seconds| i64::try_from(seconds).ok());
        time.and_then(chrono::TimeDelta::try_seconds).map_or("–".to_owned(), length)
    };
    LaneRow {
        name: lane.lane.clone(),
        days: lane.days.map_or("–".to_owned(), |days| grouped(i128::from(days))),
        oldest: match (lane.never_read, lane.oldest_read_at) {
            (0, Some(at)) => ago(at, now),
            (0, None) => "–".to_owned(),
            (never, _) => format!("{} never read", count(i128::from(never), "day")),
        },
        every: time(lane.every_seconds),
        within: time(lane.seen_within_seconds),
        short: lane.short == Some(true),
        walk: match &lane.walk {
            Some(walk) => {
                let what = if walk.by_id { "submission" } else { "page" };
                format!("{}, for {}", count(walk.pages, what), length(now - walk.started_at))
            }
            None => lane.last_completed_at.map_or("–".to_owned(), |at| format!("ended {}", ago(at, now))),
        },
    }
}

/// The funnel: submissions by result, the documented ones in the order of a submission's life.
fn results(known: &Known) -> Vec<Bar> {
    const ORDER: [(&str, &str); 5] =
        [("incomplete", "r1"), ("pending", "r2"), ("approved", "r3"), ("rejected", "r4"), ("none", "r5")];
    let counts = &known.submissions.by_result;
    let total = known.submissions.total;
    let bar = |label: &str, class, value: i64| Bar {
        label: if label == "none" { "no result".to_owned() } else { label.to_owned() },
        class,
        text: grouped(value),
        part: part(u64::try_from(value).unwrap_or(0), u64::try_from(total).unwrap_or(0)),
    };
    let documented = ORDER.iter().filter_map(|(name, class)| Some(bar(name, class, *counts.get(*name)?)));
    let other = counts.iter().filter(|(name, _)| ORDER.iter().all(|(known, _)| known != name));
    documented.chain(other.map(|(name, value)| bar(name, "r5", *value))).collect()
}

fn budget_bar(known: &Known) -> Option<Bar> {
    let part = part(known.budget.reserved, known.budget.per_day?);
    let class = if part >= 950 { "r4" } else { "r0" };
    Some(Bar { label: String::new(), class, text: String::new(), part })
}

fn budget_text(known: &Known) -> String {
    let reserved = grouped(i128::from(known.budget.reserved));
    match (known.budget.per_day, known.budget.left) {
        (Some(per_day), Some(left)) => format!(
            "{reserved} of {} requests reserved today (UTC), {} left",
            grouped(i128::from(per_day)),
            grouped(i128::from(left))
        ),
        _ => format!("{reserved} requests reserved today (UTC); the project is not configured here"),
    }
}

fn part(value: u64, whole: u64) -> u64 {
    value.saturating_mul(1_000).checked_div(whole).unwrap_or(0).min(1_000)
}

fn flag_row(flag: RedFlag, now: Timestamp) -> Flag {
    Flag {
        id: flag.submission_id,
        day: flag.created_day.to_string(),
        risk: flag.risk.unwrap_or_else(|| "–".to_owned()),
        changed: ago(flag.changed_at, now),
        changed_at: moment(flag.changed_at),
    }
}

fn event_row(event: RecentEvent, now: Timestamp) -> EventRow {
    let change = match (event.from, event.to) {
        (Some(from), Some(to)) => format!("{from} → {to}"),
        (None, Some(to)) => format!("→ {to}"),
        (Some(from), None) => format!("{from} → none"),
        (None, None) => String::new(),
    };
    EventRow {
        position: grouped(event.position),
        class: if event.kind == "aml.red_flag_raised" { "flagged" } else { "" },
        kind: event.kind,
        change,
        id: event.submission_id.unwrap_or_default(),
        when: ago(event.recorded_at, now),
    }
}
