//! What was found out about the vendor, where it disagrees with the settings, and names that no document has.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::config::Project;
use crate::domain::calendar::Filter;
use crate::domain::probe::{Fact, Findings, Stored};
use crate::store::drift::Name;
use crate::sync::engine::probe_settings;

/// What was found out.
#[derive(Serialize)]
pub(crate) struct Vendor {
    /// When the last probe ended; `None`: there was none.
    pub(crate) probed_at: Option<Timestamp>,
    /// What dates are taken to filter: `created`, `updated` or `ignored`.
    pub(crate) filter: &'static str,
    /// Days more that are asked for before and after those that are meant; `None`: dates do not filter created_at.
    pub(crate) slack_days: Option<(u8, u8)>,
    /// What was found, by name; names of fields are in `only_by_id`.
    pub(crate) facts: BTreeMap<&'static str, Found>,
    /// Names of fields that reads by id have shown and lists never.
    pub(crate) only_by_id: Vec<String>,
    /// What is not as configured or counted on, or has changed.
    pub(crate) warnings: Vec<Warning>,
}

#[derive(Serialize)]
pub(crate) struct Found {
    pub(crate) value: Value,
    pub(crate) evidence: String,
    pub(crate) found_at: Timestamp,
    pub(crate) previous: Option<Value>,
    pub(crate) changed_at: Option<Timestamp>,
}

#[derive(Serialize)]
pub(crate) struct Warning {
    pub(crate) fact: &'static str,
    pub(crate) found: Value,
    /// When it changed to that; `None`: it is not as configured or counted on.
    pub(crate) changed_at: Option<Timestamp>,
    pub(crate) advice: &'static str,
}

/// What no document names.
#[derive(Serialize)]
pub(crate) struct Drift {
    /// Submissions whose AML status no document names: may be flags.
    pub(crate) unknown_aml_status: i64,
    pub(crate) names: Vec<Name>,
}

impl Vendor {
    pub(crate) fn new(findings: &Findings, configured: Option<&Project>) -> Self {
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
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => map.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
