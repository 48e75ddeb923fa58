//! What a person should look at, the worst first, with what to do. Pure.

use std::fmt;

use chrono::TimeDelta;

use super::picture::{Alerts, Known, Picture};
use super::vendor::plain;
use crate::clock::Timestamp;
use crate::domain::lane::Lane;
use crate::store::status::Failure;
use crate::sync::engine::UNKNOWN_AML;
use crate::words::{ago, count, grouped, length, moment};

/// The newest days are late when they were not read for so many times what is planned ...
const LATE: i32 = 3;

/// ... and for this long: a restart or a slow answer is no cause for alarm.
const LATE_AT_LEAST: TimeDelta = TimeDelta::minutes(10);

const NOBODY: &str = "No process holds the project's lease. Start argos-sync run, or look why it ended.";
const STALLED: &str = "A process is at work and does not get on: do what the errors below say, and look at its log.";

/// How bad it is; the worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Waits for a person to acknowledge it.
    Alert,
    /// Waits for a person's decision.
    Held,
    /// May mean that a flag is overlooked.
    Alarm,
    /// The newest days are not read: nothing new is seen.
    Stalled,
    /// A lane fails.
    Error,
    /// Works, but not as it was set up.
    Warning,
    /// Was wrong, and is over.
    Past,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alert => "ALERT",
            Self::Held => "HELD",
            Self::Alarm => "ALARM",
            Self::Stalled => "STALLED",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Past => "past error",
        })
    }
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attention {
    /// How bad it is.
    pub(crate) level: Level,
    /// What it is, in a line.
    pub(crate) what: String,
    /// What is known of it.
    pub(crate) detail: Option<String>,
    /// What to do.
    pub(crate) advice: Option<String>,
    /// Commands that help.
    pub(crate) commands: Vec<String>,
}

impl Attention {
    /// Something that fails and that the database cannot tell of.
    pub(crate) fn error(what: String, advice: &str) -> Self {
        Self::new(Level::Error, what, Some(advice))
    }

    /// Its class in the status page's style sheet.
    pub(crate) fn class(&self) -> &'static str {
        if self.level == Level::Warning { "warning" } else { "severe" }
    }

    fn new(level: Level, what: String, advice: Option<&str>) -> Self {
        Self { level, what, detail: None, advice: advice.map(str::to_owned), commands: Vec::new() }
    }
}

/// What a picture shows that a person should look at.
pub(crate) fn of(picture: &Picture) -> Vec<Attention> {
    let Some(known) = &picture.known else { return Vec::new() };
    let now = picture.at;
    let mut all: Vec<Attention> = joined(&known.errors).iter().map(|error| failure(error, now)).collect();
    all.extend(alerts(known, &picture.project));
    all.extend(late(known, now));
    all.extend(hold(known));
    all.extend(unknown_aml(known));
    all.extend(known.vendor.warnings.iter().map(|warning| {
        let when = warning.changed_at.map(|at| format!(", changed {}", ago(at, now))).unwrap_or_default();
        let what = format!("the vendor's {} is {}{when}", warning.fact, plain(&warning.found));
        Attention::new(Level::Warning, what, Some(warning.advice))
    }));
    // Stable: within a level the order stays.
    all.sort_by_key(|attention| attention.level);
    all
}

fn alerts(known: &Known, project: &str) -> Option<Attention> {
    let number: i64 = known.alerts.iter().map(|alerts| alerts.waiting).sum();
    let of = |alerts: &Alerts| {
        let (kind, risk) = (alerts.kind.replace('_', " "), alerts.risk);
        format!("{} {kind} (risk {risk})", grouped(alerts.waiting))
    };
    let (list, ack) = ("argos-sync alerts list", "argos-sync alerts ack ALERT_ID... --reason TEXT");
    let verb = if number == 1 { "waits" } else { "wait" };
    let what = || format!("{} {verb} for a person", count(number, "alert"));
    let attention = || Attention {
        detail: Some(known.alerts.iter().map(of).collect::<Vec<_>>().join(", ")),
        commands: [list, ack].map(|command| format!("{command} --project {project}")).to_vec(),
        ..Attention::new(Level::Alert, what(), Some("Look at each, act on it, and acknowledge it with a reason."))
    };
    (number > 0).then(attention)
}

/// The newest days are not read as often as planned, by far.
fn late(known: &Known, now: Timestamp) -> Option<Attention> {
    let hot = known.lanes.iter().find(|lane| lane.lane == Lane::Hot.as_str())?;
    let promised = TimeDelta::try_seconds(i64::try_from(hot.seen_within_seconds?).ok()?)?;
    let read = hot.oldest_read_at.filter(|_| hot.never_read == 0)?;
    let limit = (promised * LATE).max(LATE_AT_LEAST);
    let what = || format!("the newest days were last read {}; planned is within {}", ago(read, now), length(promised));
    let advice = if known.writer.held { STALLED } else { NOBODY };
    (now - read > limit).then(|| Attention::new(Level::Stalled, what(), Some(advice)))
}

fn hold(known: &Known) -> Option<Attention> {
    let hold = known.erasures.hold.as_ref()?;
    let since = moment(hold.since);
    let (suspicions, submissions) = (grouped(hold.suspicions), grouped(hold.submissions));
    let what = format!("since {since}: {suspicions} of {submissions} submissions seemed to be deleted at once");
    Some(Attention { commands: hold.commands.to_vec(), ..Attention::new(Level::Held, what, Some(hold.advice)) })
}

fn unknown_aml(known: &Known) -> Option<Attention> {
    let number = known.drift.unknown_aml_status;
    let what = || format!("{} with an AML status that no document names", count(number, "submission"));
    (number > 0).then(|| Attention::new(Level::Alarm, what(), Some(UNKNOWN_AML)))
}

/// One cause that lasts in several lanes is one thing to look at.
fn joined(errors: &[Failure]) -> Vec<Failure> {
    let mut joined: Vec<Failure> = Vec::new();
    for error in errors {
        let same = |one: &&mut Failure| {
            one.ended_at.is_none() && error.ended_at.is_none() && one.kind == error.kind && one.message == error.message
        };
        match joined.iter_mut().find(same) {
            Some(one) => {
                one.lane = format!("{}, {}", one.lane, error.lane);
                one.count += error.count;
                one.first_at = one.first_at.min(error.first_at);
                one.last_at = one.last_at.max(error.last_at);
            }
            None => joined.push(error.clone()),
        }
    }
    joined
}

fn failure(error: &Failure, now: Timestamp) -> Attention {
    let times = if error.count == 1 { "once".to_owned() } else { format!("{} times", grouped(error.count)) };
    let last = ago(error.last_at, now);
    let (level, when, advice) = match error.ended_at {
        None => (
            Level::Error,
            format!("{times} since {}, last {last}", moment(error.first_at)),
            Some(error.advice.as_str()).filter(|advice| !advice.is_empty()),
        ),
        Some(ended) => (Level::Past, format!("{times}, last {last}; over since {}", moment(ended)), None),
    };
    let what = format!("in lane {}: {}, {when}", error.lane, error.kind);
    Attention { detail: Some(error.message.clone()), ..Attention::new(level, what, advice) }
}
