//! What a page, and a pass, did. The log line, the metrics and the tests read the same numbers.

use std::collections::BTreeMap;

use crate::domain::event::EventType;
use crate::domain::lane::Lane;
use crate::domain::submission::Drift;
use crate::metrics::ProjectMetrics;

/// What became of the items of a page, or of all pages of a pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Items, as the vendor served them.
    pub items: u64,
    /// Seen for the first time.
    pub new: u64,
    /// Another state than the stored one.
    pub changed: u64,
    /// Nothing to write.
    pub unchanged: u64,
    /// Not taken over for now: a second look by id decides.
    pub held: u64,
    /// Of submissions that are not stored, in a view that says too little to begin with.
    pub skipped: u64,
    /// Not usable (a repeat counts each time it is served).
    pub quarantined: u64,
    /// Superseded by a later place of the same page.
    pub duplicate: u64,
    /// Rows newly in quarantine, by reason.
    pub newly_quarantined: BTreeMap<String, u64>,
    /// Events, by type.
    pub events: BTreeMap<EventType, u64>,
    /// Alerts raised; those of the import are not among them.
    pub alerts: u64,
    /// Stored, and not shown by a walk that should have.
    pub missing: u64,
    /// Oddities, by kind.
    pub drift: Drift,
    /// Seconds from the vendor's own time of a change to its observation.
    pub latencies: Vec<f64>,
    /// The outbox position of the last event.
    pub position: Option<i64>,
}

impl Counts {
    /// Adds a page to a pass. Latencies go to the metrics page by page and are not kept.
    pub fn add(&mut self, page: Self) {
        self.items += page.items;
        self.new += page.new;
        self.changed += page.changed;
        self.unchanged += page.unchanged;
        self.held += page.held;
        self.skipped += page.skipped;
        self.quarantined += page.quarantined;
        self.duplicate += page.duplicate;
        self.alerts += page.alerts;
        self.missing += page.missing;
        for (reason, count) in page.newly_quarantined {
            *self.newly_quarantined.entry(reason).or_default() += count;
        }
        for (kind, count) in page.events {
            *self.events.entry(kind).or_default() += count;
        }
        self.drift.add(page.drift);
        self.position = page.position.or(self.position);
    }

    /// Counts a committed page.
    pub fn publish(&self, metrics: &ProjectMetrics, lane: Lane) {
        metrics.page(lane);
        metrics.items("new", self.new);
        metrics.items("changed", self.changed);
        metrics.items("unchanged", self.unchanged);
        metrics.items("held", self.held);
        metrics.items("skipped", self.skipped);
        metrics.items("quarantined", self.quarantined);
        metrics.items("duplicate", self.duplicate);
        self.newly_quarantined.iter().for_each(|(reason, count)| metrics.quarantined(reason, *count));
        self.events.iter().for_each(|(kind, count)| metrics.events(*kind, *count));
        self.drift.iter().for_each(|(kind, count)| metrics.drift(kind, *count));
        self.latencies.iter().for_each(|seconds| metrics.detection_latency.observe(*seconds));
    }

    /// Events in all.
    pub fn events_total(&self) -> u64 {
        self.events.values().sum()
    }
}

/// What a pass did.
#[derive(Clone, Debug)]
pub struct PassReport {
    /// Which walk.
    pub lane: Lane,
    /// Whether the walk came to its end; otherwise it was stopped and goes on next time.
    pub complete: bool,
    /// Pages committed.
    pub pages: u64,
    /// What became of their items.
    pub counts: Counts,
}

impl PassReport {
    /// A pass that has done nothing yet.
    pub fn new(lane: Lane) -> Self {
        Self { lane, complete: false, pages: 0, counts: Counts::default() }
    }

    /// One line for the log. Numbers only.
    pub fn log(&self, project_id: &str) {
        let counts = &self.counts;
        tracing::info!(
            project = project_id,
            lane = self.lane.as_str(),
            complete = self.complete,
            pages = self.pages,
            items = counts.items,
            new = counts.new,
            changed = counts.changed,
            unchanged = counts.unchanged,
            quarantined = counts.quarantined,
            events = counts.events_total(),
            alerts = counts.alerts,
            drift = counts.drift.values().sum::<u64>(),
            "pass"
        );
    }
}
