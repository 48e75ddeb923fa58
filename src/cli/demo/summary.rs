//! The demo's end in words, in JSON, and as an exit code.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::verify::Verdict;
use super::watch::{Watch, clean};
use super::{Playbill, view};
use crate::app::AppError;
use crate::exit::Exit;

/// Differing submissions that are named; the rest is counted.
const NAMED: usize = 20;

/// What a demo has shown.
pub(super) struct Summary {
    pub(super) bill: Playbill,
    verdict: Verdict,
    passes: u64,
    latency_p50: Option<f64>,
    latency_p99: Option<f64>,
    /// What outlived the demo.
    pub(super) leftovers: Vec<String>,
    pub(super) duration: Duration,
}

impl Summary {
    pub(super) fn new(bill: Playbill, verdict: Verdict, watch: &Watch, passes: u64) -> Self {
        Self {
            bill,
            verdict,
            passes,
            latency_p50: watch.latency(0.5),
            latency_p99: watch.latency(0.99),
            leftovers: Vec::new(),
            duration: Duration::ZERO,
        }
    }

    fn equal(&self) -> bool {
        self.verdict.differing.is_empty() && self.verdict.broken.is_empty()
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let v = &self.verdict;
        let named = |counts: Vec<String>| counts.join(", ");
        let mut lines = vec![
            String::new(),
            format!(
                "mirror     {} submissions: {}",
                v.submissions(),
                named(v.mirrored.iter().map(|(result, count)| format!("{} {count}", clean(result))).collect())
            ),
            format!(
                "           {} attempts, {} AML matches, {} bank checks, {} Red Flags open",
                v.attempts, v.matches, v.banks, v.red_flags_open
            ),
            format!("events     {} in argos.outbox:", v.events.values().sum::<i64>()),
        ];
        lines.extend(v.events.iter().map(|(kind, count)| format!("           {count:7}  {kind}")));
        let latency = match (self.latency_p50, self.latency_p99) {
            (Some(half), Some(most)) => format!("changes seen after {half:.2} s (p50), {most:.2} s (p99)"),
            _ => "no change to measure".to_owned(),
        };
        lines.push(format!("freshness  {} passes in {}; {latency}", self.passes, view::minutes(self.duration)));
        lines.push(match v.broken.is_empty() {
            true => "rules      every version has its events; ids differ; positions have no gap".to_owned(),
            false => format!(
                "rules      BROKEN: {}",
                named(v.broken.iter().map(|(rule, times)| format!("{rule} ({times})")).collect())
            ),
        });
        lines.push(match v.differing.is_empty() {
            true => {
                format!("truth      all {} items of the vendor equal the mirror, field by field", v.truth_items)
            }
            false => format!("truth      {} of {} items DIFFER", v.differing.len(), v.truth_items),
        });
        for (id, fields) in v.differing.iter().take(NAMED) {
            let fields: Vec<_> = fields.iter().map(String::as_str).collect();
            lines.push(format!("           {}: {}", clean(id), fields.join(", ")));
        }
        lines.push(match self.leftovers.is_empty() {
            true => "stopped    the daemon, the vendor and PostgreSQL; nothing is left running".to_owned(),
            false => format!("stopped    but LEFT: {}", self.leftovers.join(", ")),
        });
        lines.push("again      run the demo again to go on from here".to_owned());
        lines
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let v = &self.verdict;
        let rounded = |seconds: Option<f64>| seconds.map(|seconds| (seconds * 1000.0).round() / 1000.0);
        let urls: Map<String, Value> =
            self.bill.urls.iter().map(|(name, url)| ((*name).to_owned(), json!(url))).collect();
        json!({
            "mirrored": v.mirrored,
            "submissions": v.submissions(),
            "attempts": v.attempts,
            "aml_matches": v.matches,
            "bank_verifications": v.banks,
            "red_flags_open": v.red_flags_open,
            "quarantined": v.quarantined,
            "events": v.events,
            "events_total": v.events.values().sum::<i64>(),
            "truth_items": v.truth_items,
            "mismatches": v.differing.len(),
            "mismatch_ids": v.differing.keys().take(NAMED).collect::<Vec<_>>(),
            "mirror_equals_truth": v.differing.is_empty(),
            "broken_rules": v.broken,
            "passes": self.passes,
            "detection_latency_p50_seconds": rounded(self.latency_p50),
            "detection_latency_p99_seconds": rounded(self.latency_p99),
            "leftovers": self.leftovers,
            "duration_seconds": rounded(Some(self.duration.as_secs_f64())),
            "urls": urls,
        })
    }

    /// What the process ends with.
    pub(super) fn result(&self) -> Result<(), AppError> {
        if !self.equal() {
            let ids: Vec<_> = self.verdict.differing.keys().take(NAMED).map(|id| clean(id)).collect();
            let message = match ids.as_slice() {
                [] => "the mirror equals the vendor's items, but its events break a rule (see above)".to_owned(),
                ids => format!(
                    "the mirror differs from the vendor in {} submissions: {}",
                    self.verdict.differing.len(),
                    ids.join(", ")
                ),
            };
            return Err(AppError::Other { message, exit: Exit::Mismatch });
        }
        match self.leftovers.is_empty() {
            true => Ok(()),
            false => Err(super::other(format!("still there after the end: {}", self.leftovers.join(", ")))),
        }
    }
}
