//! What each lane would read next, and from when on.

use super::budget::{FLOOR, reserved};
use super::forecast::DAY;
use super::{Errand, Forecast, Progress, Situation, Target, after, open, seconds, sweep, verify};
use crate::clock::Timestamp;
use crate::domain::calendar::Filter;
use crate::domain::lane::Lane;

/// The lanes that read single submissions.
pub(super) const SINGLE: [Lane; 3] = [Lane::Refresh, Lane::Confirm, Lane::Canary];

/// A walk of the sweep may be done quickly whenever so many times its requests are left of the day.
pub(super) const BURST: f64 = 10.0;

/// So many waiting refreshes are always read at once.
const AT_ONCE: u64 = 10;

/// An errand and the moment from which on it is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) errand: Errand,
    pub(super) at: Timestamp,
}

fn candidate(lane: Lane, target: Target, at: Timestamp) -> Candidate {
    Candidate { errand: Errand { lane, target }, at }
}

/// The newest days: due an interval after the last round began.
pub(super) fn hot(situation: &Situation<'_>, forecast: &Forecast) -> Candidate {
    let progress = situation.progress(Lane::Hot);
    if let Some(running) = progress.running {
        return Candidate { errand: running.errand, at: situation.now };
    }
    let days = (situation.filter != Filter::Ignored).then(|| situation.hot_days());
    let at = progress.begun_at.map_or(situation.now, |begun| after(begun, forecast.hot.every.as_secs_f64()));
    candidate(Lane::Hot, Target::Days(days), at)
}

/// The day with open submissions that is most overdue, in proportion to its own interval.
pub(super) fn open(situation: &Situation<'_>, forecast: &Forecast) -> Option<Candidate> {
    let progress = situation.progress(Lane::Open);
    let paced = progress.asked_at.map_or(situation.now, |asked| after(asked, forecast.open_gap()));
    let paced = progress.not_before.map_or(paced, |at| at.max(paced));
    if let Some(running) = progress.running {
        return Some(Candidate { errand: running.errand, at: paced });
    }
    let overdue =
        |day: &open::OpenDay| day.looked_at.map_or(f64::INFINITY, |at| seconds(at, situation.now) / day.interval);
    let day = open_days(situation, forecast).max_by(|a, b| overdue(a).total_cmp(&overdue(b)))?;
    Some(candidate(Lane::Open, day.target, due(situation, forecast, &day).max(paced)))
}

/// When the first of the days that are the open lane's is, or was, due; `None`: it has none.
pub fn open_due(situation: &Situation<'_>, forecast: &Forecast) -> Option<Timestamp> {
    open_days(situation, forecast).map(|day| due(situation, forecast, &day)).min()
}

/// The days that the sweep does not come to more often anyway.
fn open_days(situation: &Situation<'_>, forecast: &Forecast) -> impl Iterator<Item = open::OpenDay> {
    let cycle = forecast.sweep.map_or(f64::INFINITY, |sweep| sweep.every.as_secs_f64());
    open::days(situation).into_iter().filter(move |day| day.interval <= cycle)
}

fn due(situation: &Situation<'_>, forecast: &Forecast, day: &open::OpenDay) -> Timestamp {
    day.looked_at.map_or(situation.now, |looked| after(looked, day.interval * forecast.open_stretch))
}

/// All older days, round and round. `None`: none, or an import is due, which reads them.
pub(super) fn sweep(situation: &Situation<'_>, forecast: &Forecast) -> Option<Candidate> {
    let share = forecast.sweep?;
    let progress = situation.progress(Lane::Sweep);
    let cycle = share.every.as_secs_f64();
    let gap = cycle / share.round as f64;
    // A round is spread evenly over its time, walk by walk; a walk itself is done four times as quickly (a small
    // project's even more so), and then there is a pause. So it matters little at which place of a walk a submission
    // is, and a walk that others held up catches up.
    let quick = |requests: u64| (gap / 4.0).min(cycle / (64 * requests.max(1)) as f64);
    let begun_at = progress.begun_at.unwrap_or(situation.now);
    let since_last = |pause: f64| progress.asked_at.map_or(situation.now, |asked| after(asked, pause));

    if let Some(running) = progress.running {
        let cost = situation.cost(running.errand);
        let ahead = cost.saturating_sub(running.requests) as f64;
        // Not if that would take much from others: what they need until midnight, or more than a part of what is left.
        let left = situation.budget.left as f64;
        let at = if left >= ahead + reserve(situation, forecast) || left >= BURST * ahead {
            since_last(quick(cost))
        } else {
            since_last(gap / 4.0).max(after(running.started_at, gap * running.requests as f64))
        };
        return Some(Candidate { errand: running.errand, at });
    }
    let chunk = sweep::chunk(situation)?;
    let last = progress.requests.max(1);
    let even = after(begun_at, if progress.begun_at.is_some() { gap * last as f64 } else { 0.0 });
    let at = match chunk.oldest.map(|oldest| after(oldest, cycle)) {
        // A little late, because others came first or the days were cut anew: sooner. Very late, because nothing ran
        // for a while: that is not made up for at the expense of others.
        Some(late) if situation.now < after(late, cycle / 4.0) => {
            even.min(late.max(after(begun_at, gap * last as f64 / 4.0)))
        }
        _ => even,
    };
    Some(candidate(Lane::Sweep, Target::Days(chunk.days), at.max(since_last(quick(chunk.cost)))))
}

/// The import: everything that the hot and the open lane do not need until midnight, and never less than a floor.
pub(super) fn backfill(situation: &Situation<'_>, forecast: &Forecast) -> Option<Candidate> {
    let days = situation.import?;
    let progress = situation.progress(Lane::Backfill);
    let errand = progress.running.map_or(Errand { lane: Lane::Backfill, target: Target::Days(days) }, |it| it.errand);
    let floor = DAY / (FLOOR * forecast.budget);
    let at = match progress.asked_at {
        Some(asked) if situation.budget.left as f64 <= reserve(situation, forecast) => after(asked, floor),
        _ => situation.now,
    };
    Some(Candidate { errand, at })
}

/// Requests that are kept for the hot and the open lane until midnight.
fn reserve(situation: &Situation<'_>, forecast: &Forecast) -> f64 {
    let rest = situation.budget.until_midnight.as_secs_f64() / DAY;
    reserved(forecast.hot.need + forecast.open.need) * rest
}

/// Days in which a walk missed somebody, from the first of them.
pub(super) fn verify(situation: &Situation<'_>, forecast: &Forecast) -> Option<Candidate> {
    let progress = situation.progress(Lane::Verify);
    let paced = progress.asked_at.map_or(situation.now, |asked| after(asked, forecast.verify_gap()));
    if let Some(running) = progress.running {
        return Some(Candidate { errand: running.errand, at: paced });
    }
    let days = verify::walks(situation).into_iter().next()?;
    let at = progress.begun_at.map_or(situation.now, |begun| after(begun, verify::EVERY));
    Some(candidate(Lane::Verify, Target::Days(days), at.max(paced)))
}

/// The single submission that is due first. A few refreshes go at once, since somebody waits; all else keeps to its part
/// of the budget, by turns. Nobody waits for details, and there may be very many: they come when nothing else is due
/// (`idle`).
pub(super) fn single(situation: &Situation<'_>, forecast: &Forecast, idle: bool) -> Option<Candidate> {
    // The last one may have taken more than one request, as confirmations do.
    let last = SINGLE.iter().map(|lane| situation.progress(*lane)).max_by_key(|progress| progress.asked_at);
    let pause = |last: Progress| Some(after(last.asked_at?, last.requests.max(1) as f64 * forecast.single_gap()));
    let paced = last.and_then(pause).unwrap_or(situation.now);
    let few = situation.refresh <= AT_ONCE.max(situation.budget.left / 100);
    let refresh = match situation.refresh {
        0 => (situation.details && idle).then_some(paced),
        _ => Some(if few { situation.now } else { paced }),
    };
    let due = [refresh, situation.confirm_at.map(|at| at.max(paced)), situation.canary_at.map(|at| at.max(paced))];
    let candidates = SINGLE.into_iter().zip(due).filter_map(|(lane, at)| {
        let not_before = situation.progress(lane).not_before.unwrap_or(situation.now);
        Some(candidate(lane, Target::Queue, at?.max(not_before)))
    });
    candidates.min_by_key(|it| (it.at.max(situation.now), situation.progress(it.errand.lane).asked_at))
}
