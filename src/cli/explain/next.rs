//! Which lanes look at a submission next. Pure.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;

use super::DayRead;
use crate::clock::Timestamp;
use crate::config::Poll;
use crate::domain::lane::Lane;
use crate::domain::submission::is_open;
use crate::store::explain::{Submission, Suspicion, Waiting};
use crate::sync::plan::{self, Forecast};
use crate::words::{ago, length};

/// A look that will be taken.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Look {
    /// By which lane.
    pub(super) lane: &'static str,
    /// Why, and how often.
    pub(super) why: String,
}

/// What decides who looks next.
#[derive(Clone, Copy, Default)]
pub(super) struct Known<'a> {
    pub(super) submission: Option<&'a Submission>,
    pub(super) day: Option<&'a DayRead>,
    pub(super) waiting: Option<&'a Waiting>,
    pub(super) suspicion: Option<&'a Suspicion>,
    /// `None`: the database does not know the project.
    pub(super) forecast: Option<&'a Forecast>,
}

/// Who looks next, the soonest first. What is not stored is looked at by whoever finds it.
pub(super) fn looks(known: &Known<'_>, poll: &Poll, now: Timestamp) -> Vec<Look> {
    let Known { submission, day, waiting, suspicion, forecast } = *known;
    let mut looks = Vec::new();
    let mut look = |lane: Lane, why: String| looks.push(Look { lane: lane.as_str(), why });
    if let Some(waiting) = waiting {
        look(Lane::Refresh, format!("it waits to be read by id ({}), as soon as the budget allows", waiting.reason));
    }
    if let Some(suspicion) = suspicion.filter(|suspicion| suspicion.held_since.is_none()) {
        let at = suspicion.next_check_at;
        let when = if at > now { ago(at, now) } else { "as soon as the budget allows".to_owned() };
        look(Lane::Confirm, format!("it seems to be deleted ({}): asked for by id {when}", suspicion.kind));
    }
    let Some(submission) = submission else { return looks };
    if submission.gone_at.is_some() {
        // No walk is expected to show it; one that does leads to a read by id.
        return looks;
    }
    let (first, last) = plan::hot_days(now, poll.lookback);
    // What the plan makes of the settings and the budget.
    let every = |every: Duration| TimeDelta::from_std(every).map(length).unwrap_or_default();
    let hot_every = every(forecast.map_or(poll.interval, |forecast| forecast.hot.every));
    if !submission.dated {
        look(Lane::Refresh, "its created_at cannot be read, so it is asked for by id from time to time".to_owned());
    } else if (first..=last).contains(&submission.created_day) {
        look(
            Lane::Hot,
            format!("the next walk: its day is one of the newest (poll.lookback); one begins every {hot_every}"),
        );
    }
    if day.is_some_and(|day| day.to_verify) {
        look(Lane::Verify, "a walk of its day did not show all that is stored, so the day is walked again".to_owned());
    }
    let hot = looks.iter().any(|look| look.lane == Lane::Hot.as_str());
    let open = submission.kyc_result.as_deref().filter(|result| is_open(result));
    if let (Some(result), false) = (open, hot) {
        let youngest = forecast.map(|forecast| format!("; the youngest every {}", every(forecast.open.every)));
        let youngest = youngest.unwrap_or_default();
        let why = format!("it is {result}; the older its day, the less often it is asked for{youngest}");
        looks.push(Look { lane: Lane::Open.as_str(), why });
    }
    if !hot {
        let round = forecast.and_then(|forecast| forecast.sweep).map(|sweep| every(sweep.every));
        let round = round.map(|round| format!("; a round takes {round}")).unwrap_or_default();
        let why = format!("when the round through all days comes to its day; those read longest ago come first{round}");
        looks.push(Look { lane: Lane::Sweep.as_str(), why });
    }
    looks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn submission(created_day: &str, result: &str) -> Submission {
        Submission {
            version: 1,
            first_seen_at: Timestamp::default(),
            changed_at: Timestamp::default(),
            observed_at: Timestamp::default(),
            created_day: created_day.parse().unwrap(),
            dated: true,
            kyc_result: Some(result.to_owned()),
            aml_status: None,
            gone_at: None,
            removed_fields: None,
        }
    }

    fn lanes(submission: &Submission, to_verify: bool, waits: bool) -> Vec<&'static str> {
        let now = "2026-03-10T12:00:00Z".parse().unwrap();
        let day = Duration::from_secs(24 * 60 * 60);
        let poll = Poll { lookback: day * 3, ..Settings::default().poll };
        let day = DayRead { covered_at: None, open_checked_at: None, to_verify };
        let waiting = waits.then(|| Waiting { reason: "refresh".to_owned(), requested_at: now });
        let known =
            Known { submission: Some(submission), day: Some(&day), waiting: waiting.as_ref(), ..Known::default() };
        looks(&known, &poll, now).iter().map(|look| look.lane).collect()
    }

    #[test]
    fn the_age_and_the_state_decide_who_looks_next() {
        assert_eq!(lanes(&submission("2026-03-10", "pending"), false, false), ["hot"]);
        assert_eq!(
            lanes(&submission("2026-03-07", "approved"), false, false),
            ["hot"],
            "the last day of the look-back"
        );
        assert_eq!(lanes(&submission("2026-03-06", "approved"), false, false), ["sweep"]);
        assert_eq!(lanes(&submission("2026-03-06", "pending"), false, false), ["open", "sweep"]);
        assert_eq!(lanes(&submission("2026-03-06", "incomplete"), true, true), ["refresh", "verify", "open", "sweep"]);
        let undated = Submission { dated: false, ..submission("2026-03-10", "approved") };
        assert_eq!(lanes(&undated, false, false), ["refresh", "sweep"]);
        let gone = Submission { gone_at: Some(Timestamp::default()), ..submission("2026-03-10", "approved") };
        assert_eq!(lanes(&gone, false, false), [""; 0]);
    }
}
