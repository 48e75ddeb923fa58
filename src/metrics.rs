//! What the daemon tells Prometheus: one struct, registered once, every known label at 0 from the start.
//!
//! Labels are projects, lanes and documented names; never an id, never a value from the vendor.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::clock::Timestamp;
use crate::domain::alert::{self, Risk};
use crate::domain::erasure::Kind;
use crate::domain::event::EventType;
use crate::domain::lane::Lane;
use crate::domain::probe::Fact;
use crate::domain::submission::{DRIFT_KINDS, KYC_RESULTS, NO_CODE, REJECT_CODES, UNLISTED};

/// HTTP statuses with a label of their own; others share `other`, and `none` stands for no answer at all.
const STATUSES: [&str; 14] =
    ["200", "400", "401", "403", "404", "408", "413", "429", "500", "502", "503", "504", "other", "none"];

/// What became of an item of a page.
pub const ITEM_OUTCOMES: [&str; 7] = ["new", "changed", "unchanged", "held", "skipped", "quarantined", "duplicate"];

/// The lanes that have a part of the budget of their own.
pub const PLANNED: [Lane; 5] = [Lane::Hot, Lane::Open, Lane::Sweep, Lane::Backfill, Lane::Verify];

/// What the canary may find.
pub const DIVERGENCES: [&str; 2] = ["missed", "columns"];

/// How a pass ended.
pub const PASS_OUTCOMES: [&str; 4] = ["complete", "stopped", "failed", "not_leader"];

/// What retention removes rows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrunedTable {
    /// Items that could not be used.
    Quarantine,
    /// Events.
    Outbox,
    /// Bodies of versions.
    Versions,
}

impl PrunedTable {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Quarantine, Self::Outbox, Self::Versions];

    /// The table's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Outbox => "outbox",
            Self::Versions => "submission_versions",
        }
    }
}

/// All metrics of the process.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    error_kinds: &'static [&'static str],
    refusal_reasons: &'static [&'static str],
    requests: IntCounterVec,
    request_duration: HistogramVec,
    request_errors: IntCounterVec,
    pages: IntCounterVec,
    items: IntCounterVec,
    events: IntCounterVec,
    drift: IntCounterVec,
    quarantined: IntCounterVec,
    passes: IntCounterVec,
    suspicious_empty: IntCounterVec,
    database_errors: IntCounterVec,
    pruned_rows: IntCounterVec,
    prune_failures: IntCounterVec,
    submissions: IntGaugeVec,
    rejected: IntGaugeVec,
    red_flags_open: IntGaugeVec,
    red_flags_raised: IntCounterVec,
    red_flags_escalated: IntCounterVec,
    approvals_revoked: IntCounterVec,
    alerts_unacknowledged: IntGaugeVec,
    oldest_pending: IntGaugeVec,
    outbox_events: IntGaugeVec,
    detection_latency: HistogramVec,
    last_success: IntGaugeVec,
    budget_remaining: IntGaugeVec,
    poll_interval: IntGaugeVec,
    lane_every: IntGaugeVec,
    lane_seen_within: IntGaugeVec,
    lane_short: IntGaugeVec,
    oldest_coverage: IntGaugeVec,
    verify_backlog: IntGaugeVec,
    open_submissions: IntGaugeVec,
    open_due: IntGaugeVec,
    canary_checks: IntCounterVec,
    canary_divergences: IntCounterVec,
    leader: IntGaugeVec,
    probed: IntGaugeVec,
    disagreement: IntGaugeVec,
    mode_changed: IntGaugeVec,
    unknown_aml_status: IntGaugeVec,
    drift_names: IntGaugeVec,
    erasures: IntCounterVec,
    erasures_pending: IntGaugeVec,
    erasures_held: IntGaugeVec,
    other_project: IntGaugeVec,
    /// 1 unless the settings could not be read again.
    pub reload_successful: IntGauge,
    /// Unix time at which settings were last read, and taken up.
    pub reload_success: IntGauge,
    /// 1 while changed settings wait for a restart.
    pub restart_needed: IntGauge,
}

impl Metrics {
    /// Declares all metrics, with the build information set. The names of what can go wrong with a request, and of what
    /// makes an item unusable, come from those who know them.
    ///
    /// # Errors
    /// When two metrics share a name, which a test would show.
    pub fn new(
        error_kinds: &'static [&'static str],
        refusal_reasons: &'static [&'static str],
    ) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        // What every Prometheus client tells of its process: memory, CPU time, open files.
        #[cfg(target_os = "linux")]
        r.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let build = gauges(r, "build_info", "Always 1; the labels tell the version.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let project = &["project"];
        Ok(Self {
            requests: counters(
                r,
                "requests_total",
                "Requests sent to the vendor, by HTTP status (none: no answer).",
                &["project", "status"],
            )?,
            request_duration: histograms(
                r,
                "request_duration_seconds",
                "Time from sending a request to the end of its answer, by HTTP status.",
                &["project", "status"],
                vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0],
            )?,
            request_errors: counters(
                r,
                "request_errors_total",
                "Tries that brought no usable answer, by kind.",
                &["project", "kind"],
            )?,
            pages: counters(r, "pages_total", "Pages committed, by lane.", &["project", "lane"])?,
            items: counters(
                r,
                "items_total",
                "Items of committed pages, by what became of them.",
                &["project", "outcome"],
            )?,
            events: counters(
                r,
                "events_total",
                "Events written to the outbox by this process, by type.",
                &["project", "type"],
            )?,
            drift: counters(
                r,
                "drift_total",
                "Oddities in the vendor's items that stopped nothing, by kind.",
                &["project", "kind"],
            )?,
            quarantined: counters(
                r,
                "quarantined_total",
                "Items put into quarantine, by reason.",
                &["project", "reason"],
            )?,
            passes: counters(
                r,
                "passes_total",
                "Passes, by lane and how they ended.",
                &["project", "lane", "outcome"],
            )?,
            suspicious_empty: counters(
                r,
                "suspicious_empty_walks_total",
                "Complete walks that showed no submission where some are known.",
                project,
            )?,
            database_errors: counters(
                r,
                "database_errors_total",
                "Passes that ended, or could not begin, because of the database.",
                project,
            )?,
            pruned_rows: counters(
                r,
                "pruned_rows_total",
                "Rows that retention deleted, or (submission_versions) emptied, by table.",
                &["project", "table"],
            )?,
            prune_failures: counters(
                r,
                "prune_failures_total",
                "Times that removing what retention does not keep failed.",
                project,
            )?,
            submissions: gauges(
                r,
                "submissions",
                "Submissions in the mirror, by kyc.result (none: no result).",
                &["project", "result"],
            )?,
            rejected: gauges(
                r,
                "rejected_submissions",
                "Rejected submissions in the mirror, by kyc.commentCode; one with two codes counts for both (none: no code; unlisted: one that no document names).",
                &["project", "code"],
            )?,
            red_flags_open: gauges(r, "red_flags_open", "Submissions whose AML status is Red Flag.", project)?,
            red_flags_raised: counters(
                r,
                "red_flags_raised_total",
                "Red Flags raised since the import, by risk, counted in the database: the same on all replicas.",
                &["project", "risk"],
            )?,
            red_flags_escalated: counters(
                r,
                "red_flags_escalated_total",
                "Open Red Flags that got a higher risk or more matches, by risk, counted in the database.",
                &["project", "risk"],
            )?,
            approvals_revoked: counters(
                r,
                "approvals_revoked_total",
                "Submissions that were approved and then rejected, counted in the database.",
                project,
            )?,
            alerts_unacknowledged: gauges(
                r,
                "alerts_unacknowledged",
                "Alerts that nobody has acknowledged, without those of the import, as in the database.",
                &["project", "kind", "risk"],
            )?,
            oldest_pending: gauges(
                r,
                "oldest_pending_timestamp_seconds",
                "Unix time since when the submission has been pending that has been so for longest; 0: none is.",
                project,
            )?,
            outbox_events: gauges(
                r,
                "outbox_events",
                "Events in the outbox of all projects, at most: positions from the oldest that is kept to the newest.",
                &[],
            )?,
            detection_latency: histograms(
                r,
                "detection_latency_seconds",
                "Time from the vendor's own time of a change (kyc_result_at, pending_at, updated_at or created_at) to its observation.",
                project,
                vec![0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0],
            )?,
            last_success: gauges(
                r,
                "last_success_timestamp_seconds",
                "Unix time of the last complete walk, by lane; 0: none yet.",
                &["project", "lane"],
            )?,
            budget_remaining: gauges(
                r,
                "request_budget_remaining",
                "Requests of today's budget (UTC) that are left.",
                project,
            )?,
            lane_every: gauges(
                r,
                "lane_interval_seconds",
                "From the beginning of one round of a lane to the next, as planned; 0: the lane has nothing to do.",
                &["project", "lane"],
            )?,
            lane_seen_within: gauges(
                r,
                "lane_seen_within_seconds",
                "Within this time a lane sees a change, as planned; 0: the lane has nothing to do.",
                &["project", "lane"],
            )?,
            lane_short: gauges(
                r,
                "lane_short",
                "1 while the day's budget gives a lane less than the settings ask for.",
                &["project", "lane"],
            )?,
            oldest_coverage: gauges(
                r,
                "oldest_coverage_timestamp_seconds",
                "Unix time as of which every known created-day was read completely; 0: some day never was.",
                project,
            )?,
            verify_backlog: gauges(
                r,
                "verify_backlog",
                "Created-days that did not show all that is stored, to be walked again.",
                project,
            )?,
            open_submissions: gauges(r, "open_submissions", "Submissions that are incomplete or pending.", project)?,
            open_due: gauges(
                r,
                "open_due_timestamp_seconds",
                "When the first day of the open lane is, or was, to be looked at (0: it has none).",
                project,
            )?,
            canary_checks: counters(
                r,
                "canary_checks_total",
                "Submissions drawn at random and compared with the vendor.",
                project,
            )?,
            canary_divergences: counters(
                r,
                "canary_divergences_total",
                "Differences that there must not be: missed (a walk should have seen it), columns (not those of the item).",
                &["project", "kind"],
            )?,
            poll_interval: gauges(
                r,
                "poll_interval_seconds",
                "Poll interval in force: the configured one, or longer to fit the budget.",
                project,
            )?,
            leader: gauges(r, "leader", "1 while this process holds the project's lease.", project)?,
            probed: gauges(
                r,
                "probe_timestamp_seconds",
                "Unix time of the last probe of the vendor's ways; 0: none yet.",
                project,
            )?,
            disagreement: gauges(
                r,
                "probe_disagreement",
                "1 while what a probe found disagrees with the settings, or with what the daemon counts on.",
                &["project", "fact"],
            )?,
            mode_changed: gauges(
                r,
                "probe_mode_changed_timestamp_seconds",
                "Unix time at which a probe found the vendor to work in another way than before; 0: never.",
                &["project", "fact"],
            )?,
            unknown_aml_status: gauges(
                r,
                "unknown_aml_status",
                "Submissions whose AML status is neither Red Flag nor Not Screened, and so may be a flag.",
                project,
            )?,
            drift_names: gauges(
                r,
                "drift_names",
                "Names of fields and values that no document knows, in the table argos.drift.",
                project,
            )?,
            erasures: counters(
                r,
                "erasures_total",
                "Deletions of the vendor's that were carried out by this process, by kind.",
                &["project", "kind"],
            )?,
            erasures_pending: gauges(
                r,
                "erasures_pending",
                "Submissions that seem to be deleted, wholly or in part, and are not confirmed yet.",
                project,
            )?,
            erasures_held: gauges(
                r,
                "erasures_held",
                "1 while all erasures wait for an operator, because too much seems to be deleted at once.",
                project,
            )?,
            other_project: gauges(
                r,
                "other_project",
                "1 while nothing is written because known submissions are not there since the key changed.",
                project,
            )?,
            reload_successful: {
                let successful = gauge(
                    r,
                    "config_last_reload_successful",
                    "1 unless the settings were changed to something that cannot be used: then the old ones stay.",
                )?;
                successful.set(1);
                successful
            },
            reload_success: gauge(
                r,
                "config_last_reload_success_timestamp_seconds",
                "Unix time at which settings were last read and taken up.",
            )?,
            restart_needed: gauge(
                r,
                "config_restart_needed",
                "1 while some of the changed settings wait for a restart.",
            )?,
            registry,
            error_kinds,
            refusal_reasons,
        })
    }

    /// The metrics of one project, all known labels at 0, except those of [`ProjectMetrics::alerts`].
    pub fn project(&self, project_id: &str) -> ProjectMetrics {
        let p = project_id;
        for status in STATUSES {
            self.requests.with_label_values(&[p, status]);
            self.request_duration.with_label_values(&[p, status]);
        }
        self.error_kinds.iter().for_each(|kind| drop(self.request_errors.with_label_values(&[p, kind])));
        Kind::ALL.iter().for_each(|kind| drop(self.erasures.with_label_values(&[p, kind.as_str()])));
        ITEM_OUTCOMES.iter().for_each(|outcome| drop(self.items.with_label_values(&[p, outcome])));
        EventType::ALL.iter().for_each(|kind| drop(self.events.with_label_values(&[p, kind.as_str()])));
        DRIFT_KINDS.iter().for_each(|kind| drop(self.drift.with_label_values(&[p, kind])));
        self.refusal_reasons.iter().for_each(|reason| drop(self.quarantined.with_label_values(&[p, reason])));
        PrunedTable::ALL.iter().for_each(|table| drop(self.pruned_rows.with_label_values(&[p, table.as_str()])));
        for lane in PLANNED.map(Lane::as_str) {
            self.lane_every.with_label_values(&[p, lane]);
            self.lane_seen_within.with_label_values(&[p, lane]);
            self.lane_short.with_label_values(&[p, lane]);
        }
        DIVERGENCES.iter().for_each(|kind| drop(self.canary_divergences.with_label_values(&[p, kind])));
        for lane in Lane::ALL.map(Lane::as_str) {
            self.pages.with_label_values(&[p, lane]);
            self.last_success.with_label_values(&[p, lane]);
            PASS_OUTCOMES.iter().for_each(|outcome| drop(self.passes.with_label_values(&[p, lane, outcome])));
        }
        for result in KYC_RESULTS.iter().chain(&["other", "none"]) {
            self.submissions.with_label_values(&[p, result]);
        }
        for code in REJECT_CODES.iter().chain(&[UNLISTED, NO_CODE]) {
            self.rejected.with_label_values(&[p, code]);
        }
        for fact in Fact::ALL {
            self.disagreement.with_label_values(&[p, fact.as_str()]);
            self.mode_changed.with_label_values(&[p, fact.as_str()]);
        }
        ProjectMetrics {
            red_flags_open: self.red_flags_open.with_label_values(&[p]),
            oldest_pending: self.oldest_pending.with_label_values(&[p]),
            outbox_events: self.outbox_events.with_label_values::<&str>(&[]),
            suspicious_empty: self.suspicious_empty.with_label_values(&[p]),
            database_errors: self.database_errors.with_label_values(&[p]),
            prune_failures: self.prune_failures.with_label_values(&[p]),
            detection_latency: self.detection_latency.with_label_values(&[p]),
            budget_remaining: self.budget_remaining.with_label_values(&[p]),
            poll_interval: self.poll_interval.with_label_values(&[p]),
            oldest_coverage: self.oldest_coverage.with_label_values(&[p]),
            verify_backlog: self.verify_backlog.with_label_values(&[p]),
            open_submissions: self.open_submissions.with_label_values(&[p]),
            open_due: self.open_due.with_label_values(&[p]),
            canary_checks: self.canary_checks.with_label_values(&[p]),
            leader: self.leader.with_label_values(&[p]),
            probed: self.probed.with_label_values(&[p]),
            unknown_aml_status: self.unknown_aml_status.with_label_values(&[p]),
            drift_names: self.drift_names.with_label_values(&[p]),
            erasures_pending: self.erasures_pending.with_label_values(&[p]),
            erasures_held: self.erasures_held.with_label_values(&[p]),
            other_project: self.other_project.with_label_values(&[p]),
            project_id: p.to_owned(),
            all: self.clone(),
        }
    }

    /// The page at /metrics: Prometheus text format.
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }
}

/// The metrics of one project.
#[derive(Clone)]
pub struct ProjectMetrics {
    project_id: String,
    all: Metrics,
    /// Submissions whose AML status is Red Flag.
    pub red_flags_open: IntGauge,
    /// Since when the submission has been pending that has been so for longest.
    pub oldest_pending: IntGauge,
    /// Events in the outbox, of all projects.
    pub outbox_events: IntGauge,
    /// Complete walks that showed nothing where something is known.
    pub suspicious_empty: IntCounter,
    /// Passes that ended because of the database.
    pub database_errors: IntCounter,
    /// Prunings that failed.
    pub prune_failures: IntCounter,
    /// Vendor's time of a change to its observation, in seconds.
    pub detection_latency: Histogram,
    /// Requests of today that are not reserved yet.
    pub budget_remaining: IntGauge,
    /// Poll interval in force, in seconds.
    pub poll_interval: IntGauge,
    /// As of when every known day was read completely.
    pub oldest_coverage: IntGauge,
    /// Days to be walked again.
    pub verify_backlog: IntGauge,
    /// Submissions that are incomplete or pending.
    pub open_submissions: IntGauge,
    /// When the first day of the open lane is due.
    pub open_due: IntGauge,
    /// Submissions drawn and compared.
    pub canary_checks: IntCounter,
    /// 1 while this process holds the lease.
    pub leader: IntGauge,
    /// Unix time of the last probe.
    pub probed: IntGauge,
    /// Submissions whose AML status no document names.
    pub unknown_aml_status: IntGauge,
    /// Names of fields and values that no document knows.
    pub drift_names: IntGauge,
    /// Suspicions that are not confirmed yet.
    pub erasures_pending: IntGauge,
    /// 1 while all erasures wait for an operator.
    pub erasures_held: IntGauge,
    /// 1 while the key seems to be another project's.
    pub other_project: IntGauge,
}

impl ProjectMetrics {
    /// Shows what a lane is given: seconds from round to round, seconds until a change is seen, whether it is short.
    pub fn planned(&self, lane: Lane, every: u64, seen_within: u64, short: bool) {
        let labels = &[self.project_id.as_str(), lane.as_str()];
        let number = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        self.all.lane_every.with_label_values(labels).set(number(every));
        self.all.lane_seen_within.with_label_values(labels).set(number(seen_within));
        self.all.lane_short.with_label_values(labels).set(i64::from(short));
    }

    /// Counts a divergence, by one of [`DIVERGENCES`].
    pub fn canary_divergence(&self, kind: &str) {
        self.all.canary_divergences.with_label_values(&[&self.project_id, kind]).inc();
    }

    /// A try that was answered with a status, or with none.
    pub fn request(&self, status: Option<u16>, took: Duration) {
        let text = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let label = STATUSES.into_iter().find(|known| *known == text).unwrap_or("other");
        self.all.requests.with_label_values(&[self.project_id.as_str(), label]).inc();
        self.all.request_duration.with_label_values(&[self.project_id.as_str(), label]).observe(took.as_secs_f64());
    }

    /// A try that brought no usable answer.
    pub fn request_error(&self, kind: &str) {
        self.count(&self.all.request_errors, kind, 1);
    }

    /// A committed page.
    pub fn page(&self, lane: Lane) {
        self.count(&self.all.pages, lane.as_str(), 1);
    }

    /// Items of a committed page.
    pub fn items(&self, outcome: &str, count: u64) {
        self.count(&self.all.items, outcome, count);
    }

    /// Events of a committed page.
    pub fn events(&self, kind: EventType, count: u64) {
        self.count(&self.all.events, kind.as_str(), count);
    }

    /// Oddities of a committed page.
    pub fn drift(&self, kind: &str, count: u64) {
        self.count(&self.all.drift, kind, count);
    }

    /// A deletion that was carried out.
    pub fn erased(&self, kind: Kind) {
        self.count(&self.all.erasures, kind.as_str(), 1);
    }

    /// Items newly in quarantine.
    pub fn quarantined(&self, reason: &str, count: u64) {
        self.count(&self.all.quarantined, reason, count);
    }

    /// Rows that retention removed.
    pub fn pruned(&self, table: PrunedTable, count: u64) {
        self.count(&self.all.pruned_rows, table.as_str(), count);
    }

    /// A pass that ended.
    pub fn pass(&self, lane: Lane, outcome: &str) {
        self.all.passes.with_label_values(&[self.project_id.as_str(), lane.as_str(), outcome]).inc();
    }

    /// A complete walk.
    pub fn success(&self, lane: Lane, at: Timestamp) {
        self.all.last_success.with_label_values(&[self.project_id.as_str(), lane.as_str()]).set(at.timestamp());
    }

    /// Whether a finding disagrees with the settings.
    pub fn disagreement(&self, fact: Fact, disagrees: bool) {
        let gauge = self.all.disagreement.with_label_values(&[self.project_id.as_str(), fact.as_str()]);
        gauge.set(i64::from(disagrees));
    }

    /// When the vendor was found to work in another way than before.
    pub fn mode_changed(&self, fact: Fact, at: Option<Timestamp>) {
        let gauge = self.all.mode_changed.with_label_values(&[self.project_id.as_str(), fact.as_str()]);
        gauge.set(at.map_or(0, |at| at.timestamp()));
    }

    /// How many submissions have a result; `label` is a documented result, `other` or `none`.
    pub fn submissions(&self, label: &str, count: i64) {
        self.all.submissions.with_label_values(&[self.project_id.as_str(), label]).set(count);
    }

    /// How many rejected submissions have a code; `label` is a documented code, `unlisted` or `none`.
    pub fn rejected(&self, label: &str, count: i64) {
        self.all.rejected.with_label_values(&[self.project_id.as_str(), label]).set(count);
    }

    /// Takes over what the database says of alerts. Until then these series are not there: at 0 after a restart,
    /// Prometheus would see a reset and take all of them for raised anew, and what waits for acknowledged.
    pub fn alerts(&self, alerts: &Alerts) {
        let project = self.project_id.as_str();
        for risk in Risk::ALL {
            let labels = &[project, risk.as_str()];
            let of = |totals: &BTreeMap<Risk, u64>| totals.get(&risk).copied().unwrap_or(0);
            take_over(&self.all.red_flags_raised.with_label_values(labels), of(&alerts.raised));
            take_over(&self.all.red_flags_escalated.with_label_values(labels), of(&alerts.escalated));
        }
        take_over(&self.all.approvals_revoked.with_label_values(&[project]), alerts.revoked);
        // Last: a scrape in between shows a new number of which none waits yet, and the rules wait for both.
        for (kind, risk) in alert::Kind::ALL.iter().flat_map(|kind| Risk::ALL.map(|risk| (*kind, risk))) {
            let gauge = self.all.alerts_unacknowledged.with_label_values(&[project, kind.as_str(), risk.as_str()]);
            gauge.set(alerts.waiting.get(&(kind, risk)).copied().unwrap_or(0));
        }
    }

    fn count(&self, counter: &IntCounterVec, label: &str, by: u64) {
        counter.with_label_values(&[self.project_id.as_str(), label]).inc_by(by);
    }
}

/// What the database says of alerts.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// Red Flags raised since the import.
    pub raised: BTreeMap<Risk, u64>,
    /// Escalations of open ones.
    pub escalated: BTreeMap<Risk, u64>,
    /// Approvals that were revoked.
    pub revoked: u64,
    /// What nobody has acknowledged, without what is of the import.
    pub waiting: BTreeMap<(alert::Kind, Risk), i64>,
}

fn take_over(counter: &IntCounter, total: u64) {
    // A restored backup may count less; a reset is what Prometheus expects then.
    if total < counter.get() {
        counter.reset();
    }
    counter.inc_by(total - counter.get());
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("argos_sync")
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(opts(name, help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    let metric = IntGaugeVec::new(opts(name, help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    Ok(gauges(registry, name, help, &[])?.with_label_values::<&str>(&[]))
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: Vec<f64>,
) -> Result<HistogramVec, prometheus::Error> {
    let metric = HistogramVec::new(HistogramOpts::from(opts(name, help)).buckets(buckets), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
