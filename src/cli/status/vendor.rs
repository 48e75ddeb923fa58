//! What was found out about the vendor, where it disagrees with the settings, and names that no document has.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::cli::words::{COLUMNS, ago, count, lines, row};
use crate::clock::Timestamp;
use crate::config::Project;
use crate::domain::calendar::Filter;
use crate::domain::probe::{Fact, Findings, Stored};
use crate::store::drift::Name;
use crate::sync::engine::{UNKNOWN_AML, probe_settings};

/// So many names are shown; all are in the JSON.
const SHOWN: usize = 5;

/// What was found out.
#[derive(Serialize)]
pub(super) struct Vendor {
    /// When the last probe ended; `None`: there was none.
    pub(super) probed_at: Option<Timestamp>,
    /// What dates are taken to filter: `created`, `updated` or `ignored`.
    pub(super) filter: &'static str,
    /// Days more that are asked for before and after those that are meant; `None`: dates do not filter created_at.
    pub(super) slack_days: Option<(u8, u8)>,
    /// What was found, by name; names of fields are in `only_by_id`.
    pub(super) facts: BTreeMap<&'static str, Found>,
    /// Names of fields that reads by id have shown and lists never.
    pub(super) only_by_id: Vec<String>,
    /// What is not as configured or counted on, or has changed.
    pub(super) warnings: Vec<Warning>,
}

#[derive(Serialize)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) evidence: String,
    pub(super) found_at: Timestamp,
    pub(super) previous: Option<Value>,
    pub(super) changed_at: Option<Timestamp>,
}

#[derive(Serialize)]
pub(super) struct Warning {
    pub(super) fact: &'static str,
    pub(super) found: Value,
    /// When it changed to that; `None`: it is not as configured or counted on.
    pub(super) changed_at: Option<Timestamp>,
    pub(super) advice: &'static str,
}

/// What no document names.
#[derive(Serialize)]
pub(super) struct Drift {
    /// Submissions whose AML status no document names: may be flags.
    pub(super) unknown_aml_status: i64,
    pub(super) names: Vec<Name>,
}

impl Vendor {
    pub(super) fn new(findings: &Findings, configured: Option<&Project>) -> Self {
        let (filter, slack_days) = match findings.filter {
            Filter::Created { before, after } => ("created", Some((before, after))),
            Filter::Updated => ("updated", None),
            Filter::Ignored => ("ignored", None),
        };
        let modes = || findings.facts.iter().filter(|(fact, _)| fact.is_mode());
        let found = |stored: &Stored| Found {
            value: stored.value.clone(),
            evidence: stored.evidence.clone(),
            found_at: stored.found_at,
            previous: stored.previous.clone(),
            changed_at: stored.changed_at,
        };
        let settings = configured.map(|project| probe_settings(&project.api));
        let warning = |fact: Fact, stored: &Stored, changed_at, advice| Warning {
            fact: fact.as_str(),
            found: stored.value.clone(),
            changed_at,
            advice,
        };
        let changed = modes()
            .filter_map(|(fact, stored)| Some(warning(*fact, stored, Some(stored.changed_at?), fact.change_advice())));
        let wrong = modes().filter_map(|(fact, stored)| {
            let advice = fact.disagreement(&stored.value, settings.as_ref()?)?;
            Some(warning(*fact, stored, None, advice))
        });
        Self {
            probed_at: findings.found_at,
            filter,
            slack_days,
            facts: modes().map(|(fact, stored)| (fact.as_str(), found(stored))).collect(),
            only_by_id: only_by_id(findings),
            warnings: changed.chain(wrong).collect(),
        }
    }

    pub(super) fn rows(&self, text: &mut String, now: Timestamp) {
        let Some(at) = self.probed_at else {
            return row(text, "vendor", "not probed yet: dates are taken for created_at, a day more on each side");
        };
        let dates = match (self.filter, self.slack_days) {
            (_, Some((before, after))) => {
                let sure = if self.facts.contains_key("filter") { "" } else { " as far as is known" };
                let before = count(before, "day");
                format!("dates filter created_at{sure}, asked with {before} more before and {after} after")
            }
            ("updated", _) => "dates filter updated_at".to_owned(),
            _ => "dates filter nothing".to_owned(),
        };
        row(text, "vendor", &format!("probed {}: {dates}", ago(at, now)));
        let fact = |fact: Fact, label: &str| Some(format!("{label} {}", plain(&self.facts.get(fact.as_str())?.value)));
        let ways = [
            fact(Fact::DateFormat, "form of days"),
            fact(Fact::EndDate, "end date"),
            fact(Fact::Count, "count"),
            fact(Fact::Parameters, "parameters in"),
        ];
        let ways: Vec<String> = ways.into_iter().flatten().collect();
        if !ways.is_empty() {
            row(text, "", &ways.join("; "));
        }
        if !self.only_by_id.is_empty() {
            let fields = count(self.only_by_id.len() as i128, "field");
            row(text, "only by id", &format!("{fields}: {}", some(self.only_by_id.iter().map(String::as_str))));
        }
    }

    pub(super) fn alarms(&self, text: &mut String, now: Timestamp) {
        for Warning { fact, found, changed_at, advice } in &self.warnings {
            let when = changed_at.map(|at| format!(", changed {}", ago(at, now))).unwrap_or_default();
            text.push_str(&format!("\n  WARNING the vendor's {fact} is {}{when}\n", plain(found)));
            for line in lines(advice, COLUMNS) {
                text.push_str(&format!("    {line}\n"));
            }
        }
    }
}

impl Drift {
    pub(super) fn row(&self, text: &mut String) {
        if !self.names.is_empty() {
            let names = count(self.names.len() as i128, "name");
            let first = some(self.names.iter().map(|name| name.name.as_str()));
            row(text, "drift", &format!("{names} that no document has: {first}"));
        }
    }

    pub(super) fn alarm(&self, text: &mut String) {
        if self.unknown_aml_status == 0 {
            return;
        }
        let submissions = count(self.unknown_aml_status, "submission");
        text.push_str(&format!("\n  ALARM {submissions} with an AML status that no document names\n"));
        for line in lines(UNKNOWN_AML, COLUMNS) {
            text.push_str(&format!("    {line}\n"));
        }
    }
}

/// What reads by id have shown and lists never.
fn only_by_id(findings: &Findings) -> Vec<String> {
    let names = |fact: Fact| -> BTreeSet<String> {
        let all = findings.facts.get(&fact).and_then(|stored| stored.value.as_array());
        all.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    };
    names(Fact::IdFields).difference(&names(Fact::ListFields)).cloned().collect()
}

/// A value for people: `honoured`, `clipped 50`.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => map.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The first few of some names, and how many more there are.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let first = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}
