//! What each lane did, kept by whoever does what the plan says: the engine, and the plan's own simulation.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{Errand, Progress, Running};
use crate::clock::Timestamp;
use crate::domain::lane::Lane;

/// How long a lane rests after a request of one submission that failed.
const PAUSE: TimeDelta = TimeDelta::minutes(1);

/// The lanes' progress. Every request is told before it goes ([`Ledger::sent`]) and, if it belongs to a walk or a round,
/// how far that has come ([`Ledger::goes_on`], [`Ledger::ended`]).
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub(super) lanes: BTreeMap<Lane, Progress>,
}

impl Ledger {
    /// A lane that did nothing yet has no entry.
    pub fn lanes(&self) -> &BTreeMap<Lane, Progress> {
        &self.lanes
    }

    /// The walk or round that a lane has in progress.
    pub fn running(&self, lane: Lane) -> Option<Running> {
        self.lanes.get(&lane).and_then(|progress| progress.running)
    }

    /// A request of an errand goes now. Where nothing is in progress it is the first of a walk or round: also one that
    /// fails has begun.
    pub fn sent(&mut self, errand: Errand, at: Timestamp) {
        for (lane, progress) in &mut self.lanes {
            if *lane != errand.lane {
                progress.passed_over += 1;
            }
        }
        let progress = self.lanes.entry(errand.lane).or_default();
        if progress.running.is_none() {
            progress.begun_at = Some(at);
        }
        progress.asked_at = Some(at);
        progress.not_before = None;
        progress.passed_over = 0;
    }

    /// A walk or round is in progress.
    pub fn goes_on(&mut self, running: Running) {
        let progress = self.lanes.entry(running.errand.lane).or_default();
        progress.running = Some(running);
        progress.begun_at = Some(running.started_at);
        progress.requests = running.requests;
    }

    /// A walk or round has come to its end. The next one is counted from when this one began.
    pub fn ended(&mut self, running: Running) {
        self.goes_on(Running { requests: running.requests.max(1), ..running });
        self.given_up(running.errand.lane);
    }

    /// A lane's request failed, and no other lane's need fail: it rests for a minute.
    pub fn failed(&mut self, lane: Lane, at: Timestamp) {
        self.lanes.entry(lane).or_default().not_before = Some(at + PAUSE);
    }

    /// A lane has no walk or round in progress.
    pub fn given_up(&mut self, lane: Lane) {
        self.lanes.entry(lane).or_default().running = None;
    }

    /// No lane has one in progress.
    pub fn all_given_up(&mut self) {
        self.lanes.values_mut().for_each(|progress| progress.running = None);
    }

    /// The clock may have gone back: what lies ahead happened now, or lanes would wait until it has come.
    pub fn not_after(&mut self, now: Timestamp) {
        for progress in self.lanes.values_mut() {
            progress.begun_at = progress.begun_at.map(|at| at.min(now));
            progress.asked_at = progress.asked_at.map(|at| at.min(now));
            progress.not_before = progress.not_before.map(|at| at.min(now + PAUSE));
        }
    }
}
