//! The picture, for people: within 100 columns.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cli::output::{COLUMNS, lines, row};
use crate::clock::Timestamp;
use crate::domain::probe::Fact;
use crate::status::attention::{self, Attention};
use crate::status::deletions::Erasures;
use crate::status::lanes::Lane;
use crate::status::picture::{ImportState, Known, Picture};
use crate::status::vendor::{Drift, Vendor, plain};
use crate::words::{ago, at_and_ago, count, grouped, length, moment, shown};

/// So many names are shown; all are in the JSON.
const SHOWN: usize = 5;

/// One project.
pub(super) fn of(picture: &Picture) -> String {
    let mut text = String::new();
    let name = picture.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let _ = writeln!(text, "project {}{name}, {}", picture.project, moment(picture.at));
    let Some(known) = &picture.known else {
        row(&mut text, "state", "not begun: the database does not know it; run, once or backfill begin with it");
        return text;
    };
    let now = picture.at;
    row(&mut text, "writer", &writer(known));
    row(&mut text, "import", &import(known, now));
    submissions(&mut text, known);
    days(&mut text, known, now);
    vendor(&mut text, &known.vendor, now);
    drift(&mut text, &known.drift);
    deletions(&mut text, &known.erasures, now);
    row(&mut text, "budget", &budget(known));
    let waiting = &known.reads_waiting;
    let since = waiting.since.map(|at| format!(", the first since {}", length(now - at))).unwrap_or_default();
    row(&mut text, "reads waiting", &format!("{}{since}", sums(&waiting.by_reason)));
    row(&mut text, "quarantine", &sums(&known.quarantine));
    let outbox = &picture.outbox;
    let kept = outbox.first_position.map(|first| format!(", kept from {} on", grouped(first))).unwrap_or_default();
    row(&mut text, "outbox", &format!("last position {}{kept}", grouped(outbox.last_position)));
    text.push('\n');
    lanes(&mut text, &known.lanes, now);
    for attention in attention::of(picture) {
        look_at(&mut text, &attention);
    }
    text
}

fn writer(known: &Known) -> String {
    let writer = &known.writer;
    match (&writer.holder, writer.expires_at) {
        (Some(holder), Some(at)) if writer.held => {
            format!("{holder}, epoch {}, lease until {}", writer.epoch, at.format("%H:%M:%S"))
        }
        (Some(holder), None) if writer.held => format!("{holder}, epoch {}", writer.epoch),
        (Some(holder), _) => format!("none; the lease of {holder} has run out"),
        _ => "none: no process is at work".to_owned(),
    }
}

fn import(known: &Known, now: Timestamp) -> String {
    let import = &known.import;
    match (import.state, import.completed_at, import.began_at) {
        (ImportState::Completed, Some(at), _) => format!("completed {}", at_and_ago(at, now)),
        (ImportState::Running, _, Some(at)) => format!(
            "in progress: {}, {}, for {}",
            count(import.pages, "page"),
            count(import.items, "submission"),
            length(now - at)
        ),
        _ => "due: not everything was read yet".to_owned(),
    }
}

fn submissions(text: &mut String, known: &Known) {
    let submissions = &known.submissions;
    let by_result = if submissions.total > 0 { format!(": {}", list(&submissions.by_result)) } else { String::new() };
    row(text, "submissions", &format!("{}{by_result}", grouped(submissions.total)));
    let oldest = submissions
        .oldest_open_day
        .map(|day| format!(" on {}, the oldest {day}", count(i128::from(submissions.open_days), "day")));
    row(text, "open", &format!("{}{}", grouped(i128::from(submissions.open)), oldest.unwrap_or_default()));
    row(text, "red flags", &format!("{} open", grouped(submissions.red_flags_open)));
}

fn days(text: &mut String, known: &Known, now: Timestamp) {
    let days = &known.days;
    let Some(first) = days.first else { return row(text, "days read", "none is known yet") };
    let known_days = count(i128::from(days.known), "day");
    row(text, "days read", &format!("{} of {known_days} since {first}", grouped(i128::from(days.covered))));
    if let Some(oldest) = days.oldest_unverified {
        let read = oldest.covered_at.map_or("never read completely".to_owned(), |at| format!("read {}", ago(at, now)));
        row(text, "oldest read", &format!("{}, {read}", oldest.day));
    }
    if days.to_verify > 0 {
        let since = days.to_verify_since.map(|at| format!(", the first since {}", length(now - at)));
        let verify = count(i128::from(days.to_verify), "day");
        row(text, "to verify", &format!("{verify} that did not show all that is stored{}", since.unwrap_or_default()));
    }
}

fn budget(known: &Known) -> String {
    let budget = &known.budget;
    match (budget.per_day, budget.left) {
        (Some(per_day), Some(left)) => format!(
            "{} of {} requests reserved today (UTC), {} left",
            grouped(i128::from(budget.reserved)),
            grouped(i128::from(per_day)),
            grouped(i128::from(left))
        ),
        _ => format!("{} requests reserved today (UTC); not configured here", grouped(i128::from(budget.reserved))),
    }
}

fn sums(by_reason: &BTreeMap<String, i64>) -> String {
    match by_reason.values().sum::<i64>() {
        0 => "0".to_owned(),
        sum => format!("{}: {}", grouped(sum), list(by_reason)),
    }
}

fn list(counts: &BTreeMap<String, i64>) -> String {
    counts.iter().map(|(name, value)| format!("{} {}", grouped(*value), shown(name))).collect::<Vec<_>>().join(", ")
}

fn lanes(text: &mut String, lanes: &[Lane], now: Timestamp) {
    // Without settings there is no plan, and nothing is promised.
    let planned = lanes.iter().any(|lane| lane.seen_within_seconds.is_some());
    let plan = |every: &str, within: &str| {
        if planned { format!("{every:<9}{within:<15}") } else { String::new() }
    };
    let head = format!("{:<9}{:>6}  {:<18}{:<13}", "lane", "days", "oldest read", "walk ended");
    let _ = writeln!(text, "  {head}{}in progress", plan("every", "seen within"));
    for lane in lanes {
        let days = lane.days.map_or("-".to_owned(), |days| grouped(i128::from(days)));
        let oldest = match (lane.never_read, lane.oldest_read_at) {
            (0, Some(at)) => ago(at, now),
            (0, None) => "-".to_owned(),
            (never, _) => format!("never: {}", count(i128::from(never), "day")),
        };
        let ended = lane.last_completed_at.map_or("never".to_owned(), |at| ago(at, now));
        let running = lane.walk.as_ref().map_or("-".to_owned(), |walk| {
            let what = if walk.by_id { "submission" } else { "page" };
            format!("{}, {}", count(walk.pages, what), length(now - walk.started_at))
        });
        let short = if lane.short == Some(true) { ", short" } else { "" };
        let plan = plan(&time(lane.every_seconds), &format!("{}{short}", time(lane.seen_within_seconds)));
        let _ = writeln!(text, "  {:<9}{days:>6}  {oldest:<18}{ended:<13}{plan}{running}", lane.lane);
    }
    if lanes.iter().any(|lane| lane.short == Some(true)) {
        text.push('\n');
        row(text, "short", "the budget gives less than the settings ask for: see argos-sync plan");
    }
}

/// A length of time of the plan.
fn time(seconds: Option<u64>) -> String {
    let time = seconds.and_then(|seconds| chrono::TimeDelta::try_seconds(i64::try_from(seconds).ok()?));
    time.map_or("-".to_owned(), length)
}

fn vendor(text: &mut String, vendor: &Vendor, now: Timestamp) {
    let Some(at) = vendor.probed_at else {
        return row(text, "vendor", "not probed yet: dates are taken for created_at, a day more on each side");
    };
    let dates = match (vendor.filter, vendor.slack_days) {
        (_, Some((before, after))) => {
            let sure = if vendor.facts.contains_key("filter") { "" } else { " as far as is known" };
            let before = count(before, "day");
            format!("dates filter created_at{sure}, asked with {before} more before and {after} after")
        }
        ("updated", _) => "dates filter updated_at".to_owned(),
        _ => "dates filter nothing".to_owned(),
    };
    row(text, "vendor", &format!("probed {}: {dates}", ago(at, now)));
    let fact = |fact: Fact, label: &str| Some(format!("{label} {}", plain(&vendor.facts.get(fact.as_str())?.value)));
    let ways = [
        fact(Fact::DateFormat, "form of days"),
        fact(Fact::EndDate, "end date"),
        fact(Fact::Count, "count"),
        fact(Fact::Parameters, "parameters in"),
    ];
    let ways: Vec<String> = ways.into_iter().flatten().collect();
    if !ways.is_empty() {
        row(text, "", &ways.join("; "));
    }
    if !vendor.only_by_id.is_empty() {
        let fields = count(vendor.only_by_id.len() as i128, "field");
        row(text, "only by id", &format!("{fields}: {}", some(vendor.only_by_id.iter().map(String::as_str))));
    }
}

fn drift(text: &mut String, drift: &Drift) {
    if !drift.names.is_empty() {
        let names = count(drift.names.len() as i128, "name");
        let first = some(drift.names.iter().map(|name| name.name.as_str()));
        row(text, "drift", &format!("{names} that no document has: {first}"));
    }
}

fn deletions(text: &mut String, erasures: &Erasures, now: Timestamp) {
    let next = match (erasures.next_check_at, &erasures.hold) {
        (Some(at), _) if at > now => format!(", the next looked at {}", ago(at, now)),
        (Some(_), _) => ", the next is due".to_owned(),
        (None, Some(_)) => ", HELD".to_owned(),
        (None, None) => String::new(),
    };
    let last = erasures.last_at.map(|at| format!(", the last {}", ago(at, now))).unwrap_or_default();
    let (pending, carried_out) = (sums(&erasures.pending), grouped(erasures.carried_out));
    row(text, "deletions", &format!("suspected {pending}{next}; carried out {carried_out}{last}"));
}

/// The first few of some names, and how many more there are.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let first = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

fn look_at(text: &mut String, attention: &Attention) {
    let _ = writeln!(text, "\n  {} {}", attention.level, attention.what);
    for line in attention.detail.iter().chain(&attention.advice).flat_map(|sentence| lines(sentence, COLUMNS)) {
        let _ = writeln!(text, "    {line}");
    }
    for command in &attention.commands {
        let _ = writeln!(text, "      {command}");
    }
}
