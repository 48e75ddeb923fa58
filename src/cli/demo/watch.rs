//! What the demo sees of the daemon's work: the tables and the metrics, as anybody may look at them.

use std::collections::VecDeque;

use serde_json::Value;
use sqlx::PgPool;
use sqlx::types::Json;

use super::PROJECT;
use crate::clock::{Clock, Timestamp};
use crate::domain::time;
use crate::metrics::Metrics;
use crate::store::mirror;

/// Events the view may have room for.
const KEPT: usize = 100;

/// Position, time, type, submission, ordinal, payload.
type Row = (i64, Timestamp, String, Option<String>, i32, Json<Value>);

/// An open look at the database.
pub(super) struct Watch {
    pool: PgPool,
    metrics: Metrics,
    clock: Clock,
    opened: Timestamp,
    position: i64,
    /// The last events, oldest first.
    pub(super) recent: VecDeque<Happening>,
    /// Seconds from the vendor's own time of a change to its observation, of changes since the watch was opened.
    pub(super) latencies: Vec<f64>,
    last_pass: Option<Timestamp>,
}

/// An event.
pub(super) struct Happening {
    pub(super) position: i64,
    pub(super) at: Timestamp,
    pub(super) kind: String,
    pub(super) submission_id: String,
    /// From what to what, in codes.
    pub(super) what: String,
}

/// What there is now.
pub(super) struct Look {
    /// Submissions by kyc.result, in the order to show them.
    pub(super) mirrored: Vec<(String, i64)>,
    pub(super) red_flags_open: i64,
    /// Events in all.
    pub(super) events: i64,
    /// Complete passes of this process.
    pub(super) passes: u64,
    /// Seconds since the last complete pass.
    pub(super) since_pass: Option<f64>,
}

impl Look {
    /// Submissions in all.
    pub(super) fn submissions(&self) -> i64 {
        self.mirrored.iter().map(|(_, count)| count).sum()
    }
}

impl Watch {
    /// Begins after the last event there is.
    pub(super) async fn open(pool: PgPool, metrics: Metrics, clock: Clock) -> Result<Self, sqlx::Error> {
        // Not checked at build time, like all looks of the demo: no part of the daemon.
        let position = sqlx::query_scalar("select last_position from argos.outbox_counter").fetch_one(&pool).await?;
        let opened = clock.now();
        let (recent, latencies, last_pass) = (VecDeque::new(), Vec::new(), None);
        Ok(Self { pool, metrics, clock, opened, position, recent, latencies, last_pass })
    }

    /// Reads what is new.
    pub(super) async fn look(&mut self) -> Result<Look, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        loop {
            let rows: Vec<Row> = sqlx::query_as(
                "select position, recorded_at, type, submission_id, ordinal, payload from argos.outbox
                  where position > $1 order by position limit 1000",
            )
            .bind(self.position)
            .fetch_all(&mut *connection)
            .await?;
            let full = rows.len() == 1000;
            for (position, at, kind, submission_id, ordinal, Json(payload)) in rows {
                self.position = position;
                self.latencies.extend(latency(&kind, &payload, self.opened));
                // Every change ends with this; it says something new only where nothing else does.
                if kind == "submission.updated" && ordinal > 0 {
                    continue;
                }
                let what = told(&kind, &payload);
                let submission_id = submission_id.unwrap_or_default();
                self.recent.push_back(Happening { position, at, kind, submission_id, what });
                if self.recent.len() > KEPT {
                    self.recent.pop_front();
                }
            }
            if !full {
                break;
            }
        }
        let completed: Option<Timestamp> = sqlx::query_scalar(
            "select max(completed_at) from argos.walks where project_id = $1 and completed_at >= $2",
        )
        .bind(PROJECT)
        .bind(self.opened)
        .fetch_one(&mut *connection)
        .await?;
        // A walk of several pages in progress has no end yet; the one before it had.
        self.last_pass = completed.max(self.last_pass);
        let counts = mirror::counts(&mut connection, PROJECT).await.unwrap_or_default();
        let of = |name: &str, label: &str| counts.get(&(name.to_owned(), label.to_owned())).copied().unwrap_or(0);
        let known = ["approved", "rejected", "pending", "incomplete"];
        let mut mirrored: Vec<_> = known.map(|result| (result.to_owned(), of("submissions", result))).into();
        let other = |((name, label), count): (&(String, String), &i64)| {
            (name == "submissions" && !known.contains(&label.as_str())).then_some(*count)
        };
        match counts.iter().filter_map(other).sum() {
            0 => {}
            other => mirrored.push(("other".to_owned(), other)),
        }
        Ok(Look {
            mirrored,
            red_flags_open: of("red_flags_open", ""),
            events: self.position,
            passes: self.passes(),
            since_pass: self.last_pass.map(|at| (self.clock.now() - at).as_seconds_f64().max(0.0)),
        })
    }

    /// As /metrics tells it.
    fn passes(&self) -> u64 {
        let page = self.metrics.encode().unwrap_or_default();
        let complete = |line: &&str| line.starts_with("argos_sync_passes_total{") && line.contains("\"complete\"");
        page.lines().filter(complete).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// The latency that this share of the changes did not exceed.
    pub(super) fn latency(&self, share: f64) -> Option<f64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(place.max(1) - 1).copied()
    }
}

/// Seconds from the latest vendor time that a change has moved to its observation. Changes from before the watch was
/// opened could not be seen earlier and tell nothing.
fn latency(kind: &str, payload: &Value, opened: Timestamp) -> Option<f64> {
    let moved = |name: &String| match kind {
        "submission.created" => true,
        "submission.updated" => payload["changed"].as_array().is_some_and(|all| all.iter().any(|one| one == name)),
        _ => false,
    };
    let times = payload["vendor_times"].as_object()?;
    let times = times.iter().filter(|(name, _)| moved(name)).filter_map(|(_, at)| time::parse(at.as_str()?));
    let changed = times.max().filter(|at| *at >= opened)?;
    let observed = time::parse(payload["observed_at"].as_str()?)?;
    Some((observed - changed).as_seconds_f64().max(0.0))
}

/// What an event tells, in a few codes. Nothing else of a payload is shown, and of texts only what is harmless to a
/// terminal.
fn told(kind: &str, payload: &Value) -> String {
    let text = match kind {
        "submission.updated" => side(&payload["changed"]),
        "project.import_completed" => format!("{} submissions", side(&payload["submissions"])),
        _ => match (side(&payload["from"]), side(&payload["to"])) {
            (from, to) if from.is_empty() || from == to => to,
            (from, to) if to.is_empty() => format!("{from} gone"),
            (from, to) => format!("{from} -> {to}"),
        },
    };
    clean(&text)
}

fn side(value: &Value) -> String {
    const CODES: [&str; 7] = ["attemptCnt", "verificationResult", "result", "type", "risk_level", "retryCode", "codes"];
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(side).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let codes = CODES.iter().filter_map(|name| map.get(*name)).map(side);
            codes.filter(|code| !code.is_empty()).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// A vendor's text as a terminal may show it.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_in_codes() {
        for (kind, payload, expected) in [
            ("kyc.result_changed", json!({"from": "pending", "to": "approved"}), "pending -> approved"),
            ("submission.created", json!({"from": null, "to": "incomplete"}), "incomplete"),
            (
                "kyc.attempt_added",
                json!({"from": null, "to": {"attemptCnt": 2, "verificationResult": "fail", "retryCode": ["glare"]}}),
                "2 fail glare",
            ),
            ("aml.match_removed", json!({"from": {"risk_level": "HIGH", "resource_id": "x"}, "to": null}), "HIGH gone"),
            ("submission.updated", json!({"changed": ["memo.text", "memo.updated_at"]}), "memo.text, memo.updated_at"),
            ("kyc.result_changed", json!({"from": "a", "to": "\u{1b}[2Jb\u{202e}"}), "a -> ?[2Jb?"),
        ] {
            assert_eq!(told(kind, &payload), expected);
        }
    }

    #[test]
    fn latency_counts_moved_times_since_the_watch_was_opened() {
        let at = |second: u32| time::parse(&format!("2026-01-01T00:00:{second:02}Z")).unwrap();
        let payload = json!({"observed_at": time::format(at(30)), "changed": ["updated_at", "kyc.result"],
            "vendor_times": {"created_at": time::format(at(29)), "updated_at": time::format(at(28))}});
        assert_eq!(latency("submission.updated", &payload, at(20)), Some(2.0));
        assert_eq!(latency("submission.created", &payload, at(20)), Some(1.0));
        assert_eq!(latency("submission.updated", &payload, at(29)), None);
        assert_eq!(latency("kyc.result_changed", &payload, at(20)), None);
    }
}
