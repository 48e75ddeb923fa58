//! What the plan comes to for a project, made of what the database tells. Pure.

use std::collections::{BTreeMap, HashSet};

use crate::clock::Timestamp;
use crate::config::{Poll, Project};
use crate::domain::lane::Lane;
use crate::store::status::Facts;
use crate::sync::plan::{self, Budget, Errand, Forecast, Progress, Running, Situation, Target};

/// What a daemon with these settings would promise now, if it starts with no permits of its own.
pub(super) fn forecast(facts: &Facts, project: &Project, poll: &Poll, now: Timestamp) -> Forecast {
    let api = &project.api;
    let count = facts.page_count.and_then(|count| u64::try_from(count).ok()).unwrap_or(u64::MAX);
    let count = count.min(api.count.into()).max(1);
    let days = facts.import.from.map(|from| (from, facts.import.to));
    let import = facts.import.completed_at.is_none().then(|| plan::import_days(days, now));
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    plan::forecast(&Situation {
        now,
        calendar: &facts.calendar,
        poll,
        filter: facts.findings.filter,
        page: plan::page(facts.page_items, count),
        budget: Budget {
            per_day: api.requests_per_day,
            left: api.requests_per_day.saturating_sub(number(facts.reserved)),
            until_midnight: plan::until_midnight(now),
        },
        import,
        lanes: &running(facts),
        refresh: number(facts.reads.values().sum()),
        confirm_at: facts.erasures.next_check_at,
        canary_at: None,
        phases: facts.findings.lacking(&HashSet::new()).phases(),
        details: false,
        probe_every: facts.findings.probe_every(api.requests_per_day),
    })
}

/// The walks in progress: what an import has read already no longer takes time.
fn running(facts: &Facts) -> BTreeMap<Lane, Progress> {
    let walks = facts.walks.iter().filter(|walk| walk.running);
    let progress = walks.filter_map(|walk| {
        let lane = Lane::parse(&walk.lane)?;
        let requests = u64::try_from(walk.pages).unwrap_or(0);
        let errand = Errand { lane, target: Target::Days(walk.days) };
        let running = Some(Running { errand, started_at: walk.started_at, requests });
        Some((lane, Progress { running, requests, ..Progress::default() }))
    });
    progress.collect()
}
