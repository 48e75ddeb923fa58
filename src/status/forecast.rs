//! What the plan comes to for a project, made of what the database tells. Pure.

use std::collections::{BTreeMap, HashSet};

use crate::clock::Timestamp;
use crate::config::{Poll, Project};
use crate::domain::lane::Lane;
use crate::store::status::Facts;
use crate::sync::plan::{self, Budget, Errand, Forecast, Progress, Running, Situation, Target};

/// What a daemon with these settings would promise now, if it starts with no permits of its own.
pub(crate) fn forecast(facts: &Facts, project: &Project, poll: &Poll, now: Timestamp) -> Forecast {
    let api = &project.api;
    let known = &facts.project;
    let count = known.page_count.unwrap_or(u32::MAX).min(api.count);
    let import = known.import_completed_at.is_none().then(|| plan::import_days(known.import, now));
    plan::forecast(&Situation {
        now,
        calendar: &facts.calendar,
        poll,
        filter: facts.findings.filter,
        page: plan::page(known.page_items, count.into()),
        budget: Budget {
            per_day: api.requests_per_day,
            left: api.requests_per_day.saturating_sub(known.reserved),
            until_midnight: plan::until_midnight(now),
        },
        import,
        lanes: &running(facts),
        refresh: known.refresh,
        confirm_at: known.confirm_at,
        canary_at: None,
        phases: facts.findings.lacking(&HashSet::new()).phases(),
        details: known.details,
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
