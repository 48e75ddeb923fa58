//! The story, for people.

use std::fmt::Write;

use serde_json::Value;

use super::Story;
use super::next::Look;
use crate::cli::output::{COLUMNS, lines, row};
use crate::clock::Timestamp;
use crate::store::explain::{Event, Version};
use crate::words::{ago, at_and_ago, moment, shown};

pub(super) fn of(story: &Story) -> String {
    let mut text = String::new();
    let now = story.at;
    let _ = writeln!(text, "submission {} of project {}", shown(&story.submission_id), story.project);
    if let Some(submission) = &story.submission {
        let aml = submission.aml_status.as_deref().map_or("none".to_owned(), shown);
        let result = submission.kyc_result.as_deref().map_or("none".to_owned(), shown);
        row(&mut text, "state", &format!("version {}; kyc {result}; aml {aml}", submission.version));
        row(&mut text, "first seen", &at_and_ago(submission.first_seen_at, now));
        row(&mut text, "last change", &at_and_ago(submission.changed_at, now));
        if let Some(at) = submission.gone_at {
            row(&mut text, "gone", &format!("the vendor no longer has it: {}", at_and_ago(at, now)));
        }
        if let Some(fields) = submission.removed_fields.as_ref().filter(|fields| !fields.is_empty()) {
            row(&mut text, "removed", &format!("by the vendor, and erased or marked here: {}", fields.join(", ")));
        }
        let undated = if submission.dated { "" } else { " (its created_at cannot be read)" };
        row(&mut text, "created on", &format!("{}{undated}", submission.created_day));
    }
    deletion(&mut text, story);
    if let Some(day) = &story.day {
        let read = day.covered_at.map_or("never completely".to_owned(), |at| at_and_ago(at, now));
        row(&mut text, "day read", &read);
        if let Some(at) = day.open_checked_at {
            row(&mut text, "open asked", &at_and_ago(at, now));
        }
    }
    if !story.views.is_empty() {
        let views: Vec<String> =
            story.views.iter().map(|view| format!("{} at version {}", view.view, view.version)).collect();
        row(&mut text, "views", &views.join(", "));
    }
    for item in &story.quarantine {
        let when = at_and_ago(item.first_seen_at, now);
        row(
            &mut text,
            "quarantine",
            &format!("{}: {} ({}, {}, {when})", item.reason, item.detail, item.view, item.lane),
        );
    }
    if let Some(waiting) = &story.waiting {
        row(&mut text, "waits", &format!("{}, since {}", waiting.reason, at_and_ago(waiting.requested_at, now)));
    }
    for (i, look) in story.next.iter().enumerate() {
        row(
            &mut text,
            if i == 0 { "next look" } else { "and by" },
            &format!("{}, {}: {}", look.lane, when(look, now), look.why),
        );
    }
    if !story.next.is_empty() && !story.writer_held {
        row(&mut text, "but", "no process reads this project now: these times begin when one does");
    }
    if story.submission.as_ref().is_some_and(|submission| submission.gone_at.is_some()) {
        row(&mut text, "next look", "none, unless a list shows it again");
    }
    if !story.versions.is_empty() {
        text.push_str("\nversions\n");
    }
    for version in &story.versions {
        write_version(&mut text, version);
    }
    if !story.events.is_empty() {
        text.push_str("\nevents, by position\n");
    }
    for event in &story.events {
        write_event(&mut text, event);
    }
    text
}

/// When a look is expected, and when it comes at the latest.
fn when(look: &Look, now: Timestamp) -> String {
    let expected = look.expected_at.map(|at| if at > now { ago(at, now) } else { "now".to_owned() });
    let latest = look.latest_at.map(|at| match at > now {
        true => format!("at the latest {}", at_and_ago(at, now)),
        false => format!("overdue since {}", at_and_ago(at, now)),
    });
    match (expected, latest) {
        (Some(expected), Some(latest)) => format!("{expected}, {latest}"),
        (Some(when), None) | (None, Some(when)) => when,
        (None, None) => "as soon as the budget allows".to_owned(),
    }
}

/// Whether it seems to be deleted, and what was erased.
fn deletion(text: &mut String, story: &Story) {
    let now = story.at;
    let fields = |fields: &[String]| if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
    if let Some(suspicion) = &story.suspicion {
        let confirmed = match suspicion.confirmed_at.last() {
            Some(at) => format!("confirmed once, {}", ago(*at, now)),
            None => "not confirmed".to_owned(),
        };
        let noticed = format!("noticed by {} {}", suspicion.lane, at_and_ago(suspicion.noticed_at, now));
        row(text, "suspected", &format!("{}, {noticed}, {confirmed}{}", suspicion.kind, fields(&suspicion.fields)));
        if let Some(since) = suspicion.held_since {
            let what = "the project's deletions wait for an operator (argos-sync erasure list)";
            row(text, "held", &format!("{what} since {}", at_and_ago(since, now)));
        }
    }
    for erased in &story.erased {
        let how = if erased.mode == "hold" { "kept and marked" } else { "erased" };
        let again = erased.reappeared_at.map(|at| format!(", shown again {}", ago(at, now))).unwrap_or_default();
        let at = at_and_ago(erased.executed_at, now);
        let head = format!("{} at version {}, {how} {at}{again}", erased.kind, erased.version);
        row(text, "receipt", &format!("{head}{}", fields(&erased.fields)));
    }
}

fn write_version(text: &mut String, version: &Version) {
    let Version { version: number, observed_at, view, lane, cause, changed, lease_epoch, request_no } = version;
    let at = moment(*observed_at);
    let _ = writeln!(text, "  {number:>3}  {at}  {cause}, {view} by {lane}, epoch {lease_epoch} request {request_no}");
    if !changed.is_empty() {
        for line in lines(&changed.join(", "), COLUMNS) {
            let _ = writeln!(text, "       {line}");
        }
    }
}

fn write_event(text: &mut String, event: &Event) {
    let version = event.version.map(|version| format!("version {version}")).unwrap_or_default();
    let (from, to) = (side(event.from.as_ref()), side(event.to.as_ref()));
    let change = match (from, to) {
        (Some(from), Some(to)) => format!("  {from} -> {to}"),
        _ => String::new(),
    };
    let _ = writeln!(text, "  {:>9}  {:<26}{version}{change}", event.position, event.kind);
}

/// A state; what is made of several codes is in the JSON.
fn side(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => Some("none".to_owned()),
        Value::String(text) => Some(shown(text)),
        _ => None,
    }
}
