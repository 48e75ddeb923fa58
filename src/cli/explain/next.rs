//! Which lanes look at a submission next, and when at the latest. Pure.

use std::time::Duration;

use chrono::NaiveTime;
use serde::Serialize;

use super::DayRead;
use crate::clock::Timestamp;
use crate::config::Poll;
use crate::domain::lane::Lane;
use crate::domain::submission::is_open;
use crate::store::explain::{Submission, Suspicion, Waiting};
use crate::sync::plan::{self, Forecast, Share};
use crate::words::at_most;

/// A look that will be taken.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Look {
    /// By which lane.
    pub(super) lane: &'static str,
    /// When the lane comes to it, if nothing holds it up; `None`: as soon as the budget allows.
    pub(super) expected_at: Option<Timestamp>,
    /// When at the latest, by what the plan states; `None`: it states nothing.
    pub(super) latest_at: Option<Timestamp>,
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
    let mut looks: Vec<Look> = by_id(known, now).into_iter().chain(by_walks(known, poll, now)).collect();
    // What goes as soon as the budget allows comes first.
    looks.sort_by_key(|look| look.latest_at);
    looks
}

/// Looks at this submission alone.
fn by_id(known: &Known<'_>, now: Timestamp) -> Vec<Look> {
    let mut looks = Vec::new();
    if let Some(waiting) = known.waiting {
        let why = format!("it waits to be read by id ({})", waiting.reason);
        looks.push(Look { lane: Lane::Refresh.as_str(), expected_at: None, latest_at: None, why });
    }
    if let Some(suspicion) = known.suspicion.filter(|suspicion| suspicion.held_since.is_none()) {
        let at = suspicion.next_check_at.max(now);
        looks.push(Look {
            lane: Lane::Confirm.as_str(),
            expected_at: Some(at),
            latest_at: known.forecast.map(|forecast| at + forecast.confirm_within),
            why: format!("it seems to be deleted ({}), and is asked for by id", suspicion.kind),
        });
    }
    if known.submission.is_some_and(|submission| !submission.dated && submission.gone_at.is_none()) {
        let why = "its created_at cannot be read, so it is asked for by id after every probe".to_owned();
        looks.push(Look { lane: Lane::Refresh.as_str(), expected_at: None, latest_at: None, why });
    }
    looks
}

/// Looks at its day, and at the open submissions of its day.
fn by_walks(known: &Known<'_>, poll: &Poll, now: Timestamp) -> Vec<Look> {
    // No walk is expected to show what is gone; one that does leads to a read by id.
    let Some(submission) = known.submission.filter(|submission| submission.gone_at.is_none()) else {
        return Vec::new();
    };
    let Some(forecast) = known.forecast else { return Vec::new() };
    let read_at = known.day.and_then(|day| day.covered_at);
    let (first, last) = plan::hot_days(now, poll.lookback);
    let mut looks = Vec::new();
    if known.day.is_some_and(|day| day.to_verify) {
        looks.push(Look {
            lane: Lane::Verify.as_str(),
            expected_at: None,
            latest_at: Some(now + forecast.verify.seen_within),
            why: "a walk of its day did not show all that is stored, so the day is walked again".to_owned(),
        });
    }
    if submission.dated && (first..=last).contains(&submission.created_day) {
        let why = format!("its day is one of the newest (poll.lookback), read every {}", at_most(forecast.hot.every));
        looks.push(of(Lane::Hot, &forecast.hot, read_at, now, why));
        return looks;
    }
    if let Some(result) = submission.kyc_result.as_deref().filter(|result| is_open(result)) {
        let created = submission.created_day.and_time(NaiveTime::MIN).and_utc();
        let (every, seen_within) = forecast.of_age(poll, (now - created).to_std().unwrap_or_default());
        if let Some(every) = every {
            let looked_at = read_at.max(known.day.and_then(|day| day.open_checked_at));
            let why = format!("it is {result}, and at its age asked for every {}", at_most(every));
            looks.push(after(Lane::Open, (every, seen_within), looked_at, now, why));
        }
    }
    if let Some(sweep) = &forecast.sweep {
        let why = format!("a round through all older days takes {}", at_most(sweep.every));
        looks.push(of(Lane::Sweep, sweep, read_at, now, why));
    } else if let Some(import) = &forecast.backfill {
        let why = format!("the import reads everything, and still takes {} at most", at_most(import.seen_within));
        looks.push(after(Lane::Backfill, (import.every, import.seen_within), None, now, why));
    }
    looks
}

fn of(lane: Lane, share: &Share, read_at: Option<Timestamp>, now: Timestamp, why: String) -> Look {
    after(lane, (share.every, share.seen_within), read_at, now, why)
}

/// The look after the one at `looked_at`: a lane that comes every so often, and within a time at the latest. What was
/// never looked at is looked at from now on.
fn after(
    lane: Lane,
    (every, within): (Duration, Duration),
    looked_at: Option<Timestamp>,
    now: Timestamp,
    why: String,
) -> Look {
    let from = looked_at.unwrap_or(now);
    Look { lane: lane.as_str(), expected_at: Some(from + every), latest_at: Some(from + within), why }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::{Days, TimeDelta};

    use super::*;
    use crate::config::Settings;
    use crate::domain::calendar::{Calendar, Day, Filter};
    use crate::sync::plan::{Budget, Situation};

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        "2026-03-10T12:00:00Z".parse().unwrap()
    }

    fn poll() -> Poll {
        Poll { lookback: HOUR * 72, sweep_interval: HOUR * 12, ..Settings::default().poll }
    }

    /// What is promised to 100 days of 10 submissions, one of each open.
    fn forecast() -> Forecast {
        let today = now().date_naive();
        let day = |ago| Day {
            day: today - Days::new(ago),
            submissions: 10,
            open: 1,
            covered_at: Some(now()),
            open_checked_at: None,
            verify: false,
        };
        let calendar = Calendar { days: (0..100).rev().map(day).collect(), ..Calendar::default() };
        plan::forecast(&Situation {
            now: now(),
            calendar: &calendar,
            poll: &poll(),
            filter: Filter::UNKNOWN,
            page: 100,
            budget: Budget { per_day: 100_000, left: 100_000, until_midnight: HOUR * 24 },
            import: None,
            lanes: &BTreeMap::new(),
            phases: 1,
            refresh: 0,
            details: false,
            confirm_at: None,
            canary_at: None,
            probe_every: HOUR * 24,
        })
    }

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

    /// Its day was read an hour ago.
    fn next(submission: &Submission, to_verify: bool, waits: bool) -> Vec<Look> {
        let day = DayRead { covered_at: Some(now() - HOUR), open_checked_at: None, to_verify };
        let waiting = waits.then(|| Waiting { reason: "refresh".to_owned(), requested_at: now() });
        let forecast = forecast();
        let known = Known {
            submission: Some(submission),
            day: Some(&day),
            waiting: waiting.as_ref(),
            forecast: Some(&forecast),
            ..Known::default()
        };
        looks(&known, &poll(), now())
    }

    fn lanes(submission: &Submission, to_verify: bool, waits: bool) -> Vec<&'static str> {
        next(submission, to_verify, waits).iter().map(|look| look.lane).collect()
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
        assert_eq!(lanes(&submission("2025-12-10", "pending"), false, false), ["sweep"], "too old for the lane open");
        assert_eq!(lanes(&submission("2026-03-06", "incomplete"), true, true), ["refresh", "verify", "open", "sweep"]);
        let undated = Submission { dated: false, ..submission("2026-03-10", "approved") };
        assert_eq!(lanes(&undated, false, false), ["refresh", "sweep"]);
        let gone = Submission { gone_at: Some(Timestamp::default()), ..submission("2026-03-10", "approved") };
        assert_eq!(lanes(&gone, false, false), [""; 0]);
    }

    #[test]
    fn the_time_is_that_of_its_own_age() {
        let expected = |day: &str| {
            let looks = next(&submission(day, "pending"), false, false);
            let look = looks.into_iter().find(|look| look.lane == "open").unwrap();
            let expected_at = look.expected_at.unwrap();
            assert!(look.latest_at.unwrap() > expected_at, "{look:?}");
            (expected_at - (now() - HOUR)).num_seconds()
        };
        // A hundredth of 4.5 and of 30.5 days.
        assert_eq!((expected("2026-03-06"), expected("2026-02-08")), (3_888, 26_352));
    }

    #[test]
    fn it_is_as_the_plan_states_it_from_the_last_look_on() {
        let (forecast, read_at) = (forecast(), now() - HOUR);
        let hot = &next(&submission("2026-03-10", "approved"), false, false)[0];
        assert_eq!(
            (hot.expected_at, hot.latest_at),
            (Some(read_at + forecast.hot.every), Some(read_at + forecast.hot.seen_within))
        );
        assert!(hot.latest_at < Some(now()), "overdue");
        let sweep = &next(&submission("2026-01-10", "approved"), false, false)[0];
        assert_eq!(sweep.latest_at, Some(read_at + forecast.sweep.unwrap().seen_within));
        let suspicion = Suspicion {
            kind: "gone".to_owned(),
            fields: Vec::new(),
            lane: "verify".to_owned(),
            noticed_at: now(),
            confirmed_at: Vec::new(),
            next_check_at: now() + TimeDelta::hours(2),
            released_at: None,
            held_since: None,
        };
        let known = Known { suspicion: Some(&suspicion), forecast: Some(&forecast), ..Known::default() };
        let confirm = &looks(&known, &poll(), now())[0];
        assert_eq!(confirm.latest_at, Some(suspicion.next_check_at + forecast.confirm_within));
    }
}
