//! What a decoded item that may differ means: a new version and its events, or nothing. Pure.

use std::collections::HashSet;

use chrono::NaiveDate;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::config::ImportEvents;
use crate::domain::alert::{self, Alert};
use crate::domain::canonical::at;
use crate::domain::change;
use crate::domain::event::{self, Context, Draft, Event, EventType};
use crate::domain::hash::{Hash, HashKey};
use crate::domain::lane::{Lane, View};
use crate::domain::submission::{State, Submission};
use crate::domain::time;
use crate::domain::views::{self, Fields, Merged};
use crate::store::mirror::{ChildrenChanged, Stored};
use crate::store::views::{ViewRow, ViewWrite};

/// What does not differ between the items of a page.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    /// The project's id.
    pub project_id: &'a str,
    /// Keys all hashes.
    pub key: &'a HashKey,
    /// In which view the items were seen.
    pub view: View,
    /// By which lane.
    pub lane: Lane,
    /// The request's number, counted over lease epochs.
    pub request: i64,
    /// When the answer was complete.
    pub observed_at: Timestamp,
    /// The day of an item that does not tell its own: the first day of the window.
    pub fallback_day: NaiveDate,
    /// What was created before this may be history.
    pub import_started_at: Timestamp,
    /// Which events history makes.
    pub import_events: ImportEvents,
    /// Whether payloads carry `userid`.
    pub include_userid: bool,
}

/// A version to be written.
#[derive(Debug)]
pub struct Version {
    /// What the submission is now.
    pub submission: Submission,
    /// The version's number.
    pub number: i64,
    /// Its id.
    pub id: Hash,
    /// When the submission was first seen.
    pub first_seen_at: Timestamp,
    /// The request that first showed it.
    pub first_request: i64,
    /// Its created-day.
    pub created_day: NaiveDate,
    /// When the last change of the vendor's state was seen.
    pub changed_at: Timestamp,
    /// Whether the first sight of the submission was history.
    pub history: bool,
    /// Fields whose removal was carried out.
    pub removed_fields: Fields,
    /// What the views have shown after this.
    pub views: Vec<ViewWrite>,
    /// Names of the changed fields.
    pub changed: Vec<String>,
    /// Why there is a version: see `argos.submission_versions.cause`.
    pub cause: &'static str,
    /// Which child tables differ.
    pub children: ChildrenChanged,
    /// What to tell.
    pub events: Vec<Event>,
    /// What a person must look at.
    pub alerts: Vec<Alert>,
    /// Changes of the counts: (name, label, by).
    pub deltas: Vec<(&'static str, String, i64)>,
    /// Changes of the calendar's counts: (created-day, submissions that the vendor has, open ones).
    pub day_deltas: Vec<(NaiveDate, i64, i64)>,
    /// Seconds from the vendor's own time of the change to its observation.
    pub latency: Option<f64>,
}

/// A stored submission and what its views have shown.
pub struct Known<'a> {
    /// The stored submission.
    pub stored: &'a Stored,
    /// Its views.
    pub views: &'a [ViewRow],
    /// Fields that the project's views have ever shown: (view, field).
    pub project_fields: &'a HashSet<(String, String)>,
    /// The answer laid over it.
    pub merged: &'a Merged,
}

/// What a view has shown of a submission, as far as is known.
pub fn shown(rows: &[ViewRow], view: View, stored: &Stored) -> Fields {
    let row = rows.iter().find(|row| row.view == view.as_str());
    row.map(|row| row.shown.clone().unwrap_or_else(|| views::fields(&stored.item))).unwrap_or_default()
}

/// Fields that answers by id can show of a submission: those that they have shown of it, and those of any in the project.
pub fn by_id(rows: &[ViewRow], stored: &Stored, project_fields: &HashSet<(String, String)>) -> Fields {
    let of_any = project_fields.iter().filter(|(view, _)| view == View::Id.as_str()).map(|(_, field)| field.clone());
    of_any.chain(shown(rows, View::Id, stored)).collect()
}

/// An item that is seen for the first time. `covered`: whether its created-day had been completely read before.
pub fn first(
    page: &Page<'_>,
    submission: Submission,
    body_hash: Option<Hash>,
    covered: impl FnOnce(NaiveDate) -> bool,
) -> Version {
    let state = &submission.state;
    let created_day = state.created_at().map_or(page.fallback_day, |at| at.date_naive());
    let created_at = state.created_at().unwrap_or(created_day.and_time(chrono::NaiveTime::MIN).and_utc());
    let history = created_at < page.import_started_at && !covered(created_day);
    let drafts = match page.import_events {
        _ if !history => change::news(None, state),
        ImportEvents::Each => change::history(state),
        ImportEvents::Summary => Vec::new(),
    };
    let view = ViewWrite { view: page.view.as_str().to_owned(), version: 1, body_hash, shown: None };
    let chain = page.key.chain_start(page.project_id, &submission.submission_id);
    let id = page.key.version(&chain, &state.bytes());
    let events = events(page, &submission, 1, &id, drafts);
    let alerts = alert::first(state, history, &id, page.key);
    Version {
        number: 1,
        id,
        first_seen_at: page.observed_at,
        first_request: page.request,
        created_day,
        changed_at: page.observed_at,
        history,
        removed_fields: Fields::new(),
        views: vec![view],
        changed: Vec::new(),
        cause: if history { "history" } else { "news" },
        children: children(None, state),
        deltas: [deltas(None, Some(state)), raised(&alerts)].concat(),
        day_deltas: day_deltas(None, Some((created_day, state))),
        latency: if history { None } else { latency(None, state, page.observed_at) },
        events,
        alerts,
        submission,
    }
}

/// Compares the merged item with what is stored; `None`: the same state, and nothing has reappeared.
pub fn next(page: &Page<'_>, submission: Submission, body_hash: Option<Hash>, known: &Known<'_>) -> Option<Version> {
    let Known { stored, merged, .. } = *known;
    let before = State::of(&stored.item);
    let state = &submission.state;
    // Only an answer by id brings back who was gone; what of an item may not come back is no longer in it.
    let reappeared = (page.view == View::Id && stored.gone_at.is_some()) || !merged.returned.is_empty();
    if before == *state && !reappeared {
        return None;
    }
    let own_day = state.created_at().map(|at| at.date_naive());
    let created_day = own_day.unwrap_or(stored.created_day);
    let sight = first_sight(page.view, known).filter(|_| !reappeared).map(|item| State::of(&item));
    let only_sight = sight.as_ref() == Some(state);
    let mut drafts = Vec::new();
    if reappeared {
        let body = json!({"gone": stored.gone_at.is_some(), "fields": merged.returned});
        drafts.push(Draft::new(EventType::SubmissionReappeared, "", body));
    }
    match &sight {
        // What only this view can show of a submission from before the import is as old as the submission.
        Some(sight) if stored.history && sight == state => {}
        Some(sight) if stored.history => drafts.extend(change::news(Some(sight), state)),
        _ if before != *state => drafts.extend(change::news(Some(&before), state)),
        _ => {}
    }
    let cause = match (reappeared, only_sight) {
        (true, _) => "reappeared",
        (false, true) => "view",
        (false, false) => "change",
    };
    let number = stored.version + 1;
    let id = page.key.version(&stored.version_id, &state.bytes());
    let events = events(page, &submission, number, &id, drafts);
    let differs = alert::Change { before: &before, sight: sight.as_ref(), history: stored.history, after: state };
    let alerts = alert::next(&differs, &id, page.key);
    let was_there = stored.gone_at.is_none();
    Some(Version {
        number,
        id,
        first_seen_at: stored.first_seen_at,
        first_request: stored.first_request,
        created_day,
        changed_at: if cause == "view" { stored.changed_at } else { page.observed_at },
        history: stored.history,
        removed_fields: stored.removed_fields.difference(&merged.returned).cloned().collect(),
        views: view_writes(page.view, number, body_hash, known, &submission),
        changed: change::changed_fields(&before, state),
        cause,
        children: children(Some(&before), state),
        deltas: [deltas(was_there.then_some(&before), Some(state)), raised(&alerts)].concat(),
        day_deltas: day_deltas(was_there.then_some((stored.created_day, &before)), Some((created_day, state))),
        latency: if cause == "change" { latency(Some(&before), state, page.observed_at) } else { None },
        events,
        alerts,
        submission,
    })
}

/// The stored item with what this view shows for the first time and no earlier view of the submission could show.
fn first_sight(view: View, known: &Known<'_>) -> Option<Value> {
    let first = !known.views.iter().any(|row| row.view == view.as_str());
    // Without any row nobody knows what the views had shown: then a difference is a change.
    if !first || known.views.is_empty() {
        return None;
    }
    let could_show = |field: &str| {
        known.views.iter().any(|row| known.project_fields.contains(&(row.view.clone(), field.to_owned())))
    };
    views::first_sight(&known.stored.item, &known.merged.item, could_show)
}

/// What the views' rows must say after a version: this view's, and those that stood for "every field of the stored item",
/// when that has fields now which they have not shown.
fn view_writes(
    view: View,
    version: i64,
    body_hash: Option<Hash>,
    known: &Known<'_>,
    submission: &Submission,
) -> Vec<ViewWrite> {
    let (before, after) = (views::fields(&known.stored.item), views::fields(&submission.item));
    let shown = &known.merged.shown;
    let shown = (!after.is_subset(shown)).then(|| shown.clone());
    let mut writes = vec![ViewWrite { view: view.as_str().to_owned(), version, body_hash, shown }];
    if !after.is_subset(&before) {
        let others = known.views.iter().filter(|row| row.view != view.as_str() && row.shown.is_none());
        // The version is not theirs, so their hash is void: as it would be without this.
        writes.extend(others.map(|row| ViewWrite {
            view: row.view.clone(),
            version,
            body_hash: None,
            shown: Some(before.clone()),
        }));
    }
    writes
}

/// What must be noted about a view although the state is the same: its first reading, or a field that it now shows too.
pub fn view_of_same(page: &Page<'_>, body_hash: Option<Hash>, known: &Known<'_>) -> Option<ViewWrite> {
    let fields = views::fields(&known.stored.item);
    let shown = (!fields.is_subset(&known.merged.shown)).then(|| known.merged.shown.clone());
    let row = known.views.iter().find(|row| row.view == page.view.as_str());
    let known_already = row.is_some_and(|row| {
        let more = |before: &Fields| !known.merged.shown.is_subset(before);
        !row.shown.as_ref().is_some_and(more)
    });
    let view = page.view.as_str().to_owned();
    (!known_already).then_some(ViewWrite { view, version: known.stored.version, body_hash, shown })
}

fn events(page: &Page<'_>, of: &Submission, version: i64, version_id: &Hash, drafts: Vec<Draft>) -> Vec<Event> {
    let context = Context {
        project_id: page.project_id,
        submission_id: &of.submission_id,
        version,
        version_id,
        observed_at: page.observed_at,
        view: page.view,
        lane: page.lane,
        include_userid: page.include_userid,
    };
    event::events(drafts, &of.state, &context, page.key)
}

pub(super) fn children(before: Option<&State>, after: &State) -> ChildrenChanged {
    let empty = State::of(&serde_json::Value::Null);
    let before = before.unwrap_or(&empty);
    // Not only the lists: what should be a list and is none must be seen, to be counted as drift.
    let differ = |path: &[&str]| at(before.value(), path) != at(after.value(), path);
    ChildrenChanged {
        attempts: differ(&["kyc", "attempts"]),
        matches: differ(&["aml", "matches"]),
        bank: differ(&["bank_verification"]),
    }
}

/// Changes of what the mirror holds; `None`: the vendor does not have it (yet, or any more).
pub(super) fn deltas(before: Option<&State>, after: Option<&State>) -> Vec<(&'static str, String, i64)> {
    let result = |state: &State| match state.kyc_result() {
        None => "none".to_owned(),
        // A label, not a place for whatever the vendor sends.
        Some(result) if result.len() > 64 => "other".to_owned(),
        Some(result) => result.to_owned(),
    };
    let flag = |state: Option<&State>| state.map_or(0, |state| i64::from(state.red_flag()));
    let mut deltas = vec![("red_flags_open", String::new(), flag(after) - flag(before))];
    deltas.extend(after.map(|after| ("submissions", result(after), 1)));
    deltas.extend(before.map(|before| ("submissions", result(before), -1)));
    for (state, by) in [(after, 1), (before, -1)] {
        let codes = state.map(State::reject_codes).unwrap_or_default();
        deltas.extend(codes.into_iter().map(|code| ("rejected", code, by)));
    }
    deltas
}

/// Changes of the counts of alerts ever raised. What stood before the import is not counted.
fn raised(alerts: &[Alert]) -> Vec<(&'static str, String, i64)> {
    let new = alerts.iter().filter(|alert| !alert.imported);
    let delta = new.map(|alert| match alert.kind {
        alert::Kind::RedFlag => ("red_flags_raised", alert.risk.as_str().to_owned(), 1),
        alert::Kind::RedFlagEscalated => ("red_flags_escalated", alert.risk.as_str().to_owned(), 1),
        alert::Kind::ApprovalRevoked => ("approvals_revoked", String::new(), 1),
    });
    delta.collect()
}

/// Changes of the calendar's counts: (day, submissions, open ones).
pub(super) fn day_deltas(
    before: Option<(NaiveDate, &State)>,
    after: Option<(NaiveDate, &State)>,
) -> Vec<(NaiveDate, i64, i64)> {
    let open = |state: &State| i64::from(state.open());
    let mut deltas: Vec<(NaiveDate, i64, i64)> = Vec::new();
    deltas.extend(before.map(|(day, state)| (day, -1, -open(state))));
    match (deltas.first_mut(), after) {
        (Some(first), Some((day, state))) if first.0 == day => *first = (day, 0, first.2 + open(state)),
        (_, after) => deltas.extend(after.map(|(day, state)| (day, 1, open(state)))),
    }
    deltas.retain(|(_, submissions, open)| *submissions != 0 || *open != 0);
    deltas
}

/// From the latest vendor time that this change has moved; `None` if it moved none, or one in the future.
fn latency(before: Option<&State>, after: &State, observed_at: Timestamp) -> Option<f64> {
    const TIMES: [&str; 4] = ["kyc_result_at", "pending_at", "updated_at", "created_at"];
    let moved = TIMES.iter().filter_map(|name| {
        let text = after.text(&[name])?;
        (before.and_then(|before| before.text(&[name])) != Some(text)).then(|| time::parse(text))?
    });
    let seconds = (observed_at - moved.max()?).as_seconds_f64();
    (seconds >= 0.0).then_some(seconds)
}
