//! What a decoded item that may differ means: a new version and its events, or nothing. Pure.

use chrono::NaiveDate;

use crate::clock::Timestamp;
use crate::config::ImportEvents;
use crate::domain::canonical::at;
use crate::domain::change;
use crate::domain::event::{self, Context, Event, EventType};
use crate::domain::hash::{Hash, HashKey};
use crate::domain::lane::{Lane, View};
use crate::domain::submission::{State, Submission};
use crate::domain::time;
use crate::store::calendar::Tally;
use crate::store::mirror::{ChildrenChanged, Stored};

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
    /// Hash of the raw item, unless it must be looked at again next time.
    pub body_hash: Option<Hash>,
    /// Names of the changed fields.
    pub changed: Vec<String>,
    /// Why there is a version: `news`, `history` or `change`.
    pub cause: &'static str,
    /// Which child tables differ.
    pub children: ChildrenChanged,
    /// What to tell.
    pub events: Vec<Event>,
    /// Changes of the counts: (name, label, by).
    pub deltas: Vec<(&'static str, String, i64)>,
    /// Changes of the calendar's counts.
    pub tally: Vec<Tally>,
    /// Seconds from the vendor's own time of the change to its observation.
    pub latency: Option<f64>,
}

/// Compares an item with what is stored; `None`: the same state. `covered`: whether its created-day had been completely
/// read before (asked for new items only).
pub fn version(
    page: &Page<'_>,
    submission: Submission,
    body_hash: Option<Hash>,
    stored: Option<&Stored>,
    covered: impl FnOnce(NaiveDate) -> bool,
) -> Option<Version> {
    let before = stored.map(|stored| State::of(&stored.item));
    let state = &submission.state;
    if before.as_ref() == Some(state) {
        return None;
    }
    let own_day = state.created_at().map(|at| at.date_naive());
    let created_day = own_day.or(stored.map(|stored| stored.created_day)).unwrap_or(page.fallback_day);
    let created_at = state.created_at().unwrap_or(created_day.and_time(chrono::NaiveTime::MIN).and_utc());
    let (cause, drafts) = match &before {
        Some(before) => ("change", change::news(Some(before), state)),
        None if created_at < page.import_started_at && !covered(created_day) => match page.import_events {
            ImportEvents::Each => ("history", change::history(state)),
            ImportEvents::Summary => ("history", Vec::new()),
        },
        None => ("news", change::news(None, state)),
    };
    let number = stored.map_or(1, |stored| stored.version + 1);
    let chain =
        stored.map_or_else(|| page.key.chain_start(page.project_id, &submission.submission_id), |s| s.version_id);
    let id = page.key.version(&chain, &state.bytes());
    let context = Context {
        project_id: page.project_id,
        submission_id: &submission.submission_id,
        version: number,
        version_id: &id,
        observed_at: page.observed_at,
        view: page.view,
        lane: page.lane,
        include_userid: page.include_userid,
    };
    let events = event::events(drafts, state, &context, page.key);
    Some(Version {
        number,
        id,
        first_seen_at: stored.map_or(page.observed_at, |stored| stored.first_seen_at),
        first_request: stored.map_or(page.request, |stored| stored.first_request),
        created_day,
        body_hash,
        changed: before.as_ref().map(|before| change::changed_fields(before, state)).unwrap_or_default(),
        cause,
        children: children(before.as_ref(), state),
        deltas: deltas(before.as_ref(), state, &events),
        tally: tally(before.as_ref().zip(stored.map(|stored| stored.created_day)), (state, created_day)),
        latency: if cause == "history" { None } else { latency(before.as_ref(), state, page.observed_at) },
        events,
        submission,
    })
}

fn children(before: Option<&State>, after: &State) -> ChildrenChanged {
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

fn deltas(before: Option<&State>, after: &State, events: &[Event]) -> Vec<(&'static str, String, i64)> {
    let result = |state: &State| match state.kyc_result() {
        None => "none".to_owned(),
        // A label, not a place for whatever the vendor sends.
        Some(result) if result.len() > 64 => "other".to_owned(),
        Some(result) => result.to_owned(),
    };
    let flag = |state: &State| i64::from(state.red_flag());
    let raised = events.iter().filter(|event| event.kind == EventType::AmlRedFlagRaised).count();
    let mut deltas = vec![
        ("submissions", result(after), 1),
        ("red_flags_open", String::new(), flag(after) - before.map_or(0, flag)),
        ("red_flags_raised", String::new(), raised as i64),
    ];
    deltas.extend(before.map(|before| ("submissions", result(before), -1)));
    deltas
}

/// What a version changes in the calendar; `before`: the state and its day, if there was one.
fn tally(before: Option<(&State, NaiveDate)>, after: (&State, NaiveDate)) -> Vec<Tally> {
    let one = |(state, day): (&State, NaiveDate), sign: i64| (day, sign, sign * i64::from(state.open()));
    std::iter::once(one(after, 1)).chain(before.map(|before| one(before, -1))).collect()
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
