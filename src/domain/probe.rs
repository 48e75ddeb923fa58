//! What the vendor was found to do where its documents are silent or disagree. Pure; `sync::engine::probe` asks,
//! [`judge`] concludes. docs/modes.md says what each finding means for the operator.

pub mod judge;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::calendar::Filter;
use super::lane::View;
use crate::clock::Timestamp;

/// A value that says: there was evidence, and it contradicts itself. The daemon then assumes the worst case it knows.
pub const UNCLEAR: &str = "unclear";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most requests of one probe (tries apart).
pub const MOST_REQUESTS: u64 = 9;

/// While a probe cannot tell what dates filter, it is repeated as often as this part of the day's requests allows.
const OFTEN: f64 = 0.02;

/// The most names of fields that are gathered.
const MOST_NAMES: usize = 300;

/// Something that is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// Which form of a day is understood: `idcheck`, `v3`, `both`, or `neither`.
    DateFormat,
    /// What dates filter: `created`, `updated`, `ignored`, or `unclear`.
    Filter,
    /// Days more that must be asked for: `{"before": 0, "after": 1}`, or `unclear`. Time zone and end date together.
    Slack,
    /// Whether `end_date` is part of the answer: `included` or `excluded`.
    EndDate,
    /// What becomes of `count`: `honoured`, `ignored`, or `{"clipped": 50}`.
    Count,
    /// Where parameters are read: `query`, `body`, or `both`.
    Parameters,
    /// Whether lists show `kyc.attempts`: `shown` or `missing`.
    ListAttempts,
    /// Whether lists show `aml`: `shown` or `missing`.
    ListAml,
    /// Whether lists show `updated_at`: `shown` or `missing`.
    ListUpdatedAt,
    /// What `request_type=aml` gives where lists show no `aml`: `shown`, `refused`, or `ignored` (a list without `aml`).
    AmlPages,
    /// The names of the fields that list items showed, two levels deep, gathered over probes.
    ListFields,
    /// The same for items read by id.
    IdFields,
}

impl Fact {
    /// All facts, for metrics that stand at 0 from the start.
    pub const ALL: [Self; 12] = [
        Self::DateFormat,
        Self::Filter,
        Self::Slack,
        Self::EndDate,
        Self::Count,
        Self::Parameters,
        Self::ListAttempts,
        Self::ListAml,
        Self::ListUpdatedAt,
        Self::AmlPages,
        Self::ListFields,
        Self::IdFields,
    ];

    /// The name in tables, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DateFormat => "date_format",
            Self::Filter => "filter",
            Self::Slack => "slack",
            Self::EndDate => "end_date",
            Self::Count => "count",
            Self::Parameters => "parameters",
            Self::ListAttempts => "list_attempts",
            Self::ListAml => "list_aml",
            Self::ListUpdatedAt => "list_updated_at",
            Self::AmlPages => "aml_pages",
            Self::ListFields => "list_fields",
            Self::IdFields => "id_fields",
        }
    }

    /// The fact of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fact| fact.as_str() == name)
    }

    /// Whether another value means that the vendor behaves in another way. Field names only gather.
    pub fn is_mode(self) -> bool {
        !matches!(self, Self::ListFields | Self::IdFields)
    }

    /// What a change of this mode means and what to do.
    pub fn change_advice(self) -> &'static str {
        match self {
            Self::Filter | Self::Slack | Self::EndDate => {
                "Days are asked for in the new way from now on; have all days read again (argos-sync backfill), and ask the vendor's support."
            }
            Self::DateFormat => "Check api.dialect against the form that works now.",
            Self::Parameters => "Check api.parameters against the place that works now.",
            Self::Count => "Nothing is lost: a walk ends with the list and not with a short page; its cost changes.",
            _ => {
                "What lists no longer show is read in other ways, which cost more requests: expect later news, and ask the vendor's support."
            }
        }
    }

    /// What is wrong between a finding and the settings, or what the daemon counts on; `None`: nothing.
    pub fn disagreement(self, value: &Value, settings: &Settings) -> Option<&'static str> {
        let is = |text: &str| value.as_str() == Some(text);
        match self {
            Self::DateFormat if !is("both") && !is(settings.dialect) => Some(if is("neither") {
                "No form of a day selects what it should: ask the vendor's support which one the project's API takes."
            } else {
                "The vendor does not take days in the configured form: set api.dialect to the form found."
            }),
            Self::Filter if is("updated") => Some(
                "Dates filter updated_at: recent dates show recent changes, and only walks without dates cover the project.",
            ),
            Self::Filter if is("ignored") => Some(
                "Dates change nothing: every walk reads everything. Check api.dialect, and raise poll.interval if the budget is short.",
            ),
            Self::Filter if is(UNCLEAR) => Some(
                "What dates filter is not clear: they are taken for created_at with a day more on each side. Ask the vendor's support.",
            ),
            Self::Count if value.get("clipped").and_then(Value::as_u64).is_some_and(|n| n < settings.count) => Some(
                "The vendor gives fewer submissions per page than api.count: reading takes more requests than api.count suggests.",
            ),
            Self::Count if is("ignored") => Some(
                "The vendor ignores count: pages may be large. Check api.parameters, api.max_response_bytes and limits.page_items.",
            ),
            Self::Parameters if !is("both") && !is(settings.parameters) => {
                Some("The vendor does not read parameters where they are sent: set api.parameters to the place found.")
            }
            Self::ListAttempts if is("missing") => Some(
                "Lists carry no attempts: what a list shows as new or changed is read by id, too. An import costs one request more per submission.",
            ),
            Self::ListAml if is("missing") => Some(
                "Lists carry no aml: every list is read again as pages of request_type=aml, so reading costs twice the requests.",
            ),
            Self::ListUpdatedAt if is("missing") => Some(
                "Lists carry no updated_at, as in the printed samples: what a list shows as new or changed is read by id, too.",
            ),
            Self::AmlPages if is("refused") => Some(
                "Lists carry no aml and request_type=aml is refused: screenings are read by id, a request each, so a Red Flag on an older submission is seen late. Ask the vendor's support.",
            ),
            Self::AmlPages if is("ignored") => Some(
                "Lists carry no aml and request_type=aml does not show it: screenings are read by id, a request each, so a Red Flag on an older submission is seen late. Ask the vendor's support.",
            ),
            _ => None,
        }
    }
}

/// What was configured, as far as findings are held against it.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The name of `api.dialect`.
    pub dialect: &'static str,
    /// The name of `api.parameters`.
    pub parameters: &'static str,
    /// `api.count`.
    pub count: u64,
}

/// What one probe concluded about a fact. A fact without evidence has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which fact.
    pub fact: Fact,
    /// The value; see [`Fact`].
    pub value: Value,
    /// Why: numbers, no personal data.
    pub evidence: String,
}

impl Finding {
    /// A finding.
    pub fn new(fact: Fact, value: impl Into<Value>, evidence: String) -> Self {
        Self { fact, value: value.into(), evidence }
    }
}

/// A fact as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The value.
    pub value: Value,
    /// Why.
    pub evidence: String,
    /// When a probe last had evidence for it.
    pub found_at: Timestamp,
    /// The last value that was not [`UNCLEAR`].
    pub settled: Option<Value>,
    /// What it was before its last change.
    pub previous: Option<Value>,
    /// When its mode changed; `None`: never.
    pub changed_at: Option<Timestamp>,
}

/// What is known of a project's vendor.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// What dates filter, and the days more to ask for: [`Filter::UNKNOWN`] as long as there is no evidence.
    pub filter: Filter,
    /// The most submissions that a page holds, if the vendor clips `count`.
    pub clip: Option<u64>,
    /// When the last probe ended; `None`: there was none.
    pub found_at: Option<Timestamp>,
    /// Keyed hash of server, key and dialect that the last probe asked with, in hex.
    pub source: Option<String>,
    /// The facts.
    pub facts: BTreeMap<Fact, Stored>,
}

/// What lists lack and answers by id show. It is read in other ways then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// `aml`: every list is read again as pages of `request_type=aml`.
    pub screenings: bool,
    /// Other fields, or `aml` where such pages do not show it: what lists show as new or changed is read by id, too.
    pub details: bool,
    /// `aml`, and such pages do not show it: whatever a round of the sweep lists is read by id, too.
    pub by_id: bool,
}

impl Lacking {
    /// How often a walk reads its days.
    pub fn phases(self) -> u64 {
        if self.screenings { 2 } else { 1 }
    }
}

impl Findings {
    /// From what is stored.
    pub fn new(facts: BTreeMap<Fact, Stored>, found_at: Option<Timestamp>, source: Option<String>) -> Self {
        let filter = filter(&facts);
        let clip = facts.get(&Fact::Count).and_then(|count| count.value.get("clipped")?.as_u64());
        Self { filter, clip, found_at, source, facts }
    }

    /// The text of a fact, if it has one.
    pub fn text(&self, fact: Fact) -> Option<&str> {
        self.facts.get(&fact).and_then(|stored| stored.value.as_str())
    }

    /// What lists lack. `shown`: the fields that each view of the mirror has ever shown, (view, field).
    pub fn lacking(&self, shown: &HashSet<(String, String)>) -> Lacking {
        let screening = |field: &str| field == "aml" || field.starts_with("aml.");
        let in_views =
            |list: bool| shown.iter().any(|(view, field)| (view == View::List.as_str()) == list && screening(field));
        let no_aml = match self.text(Fact::ListAml) {
            Some("shown") => false,
            Some("missing") => true,
            // The submission that was probed may have had none.
            _ => self.found_at.is_some() && in_views(false) && !in_views(true),
        };
        let names = |fact: Fact| {
            let names = self.facts.get(&fact).and_then(|stored| stored.value.as_array());
            names.into_iter().flatten().filter_map(Value::as_str)
        };
        let listed = |field: &str| {
            names(Fact::ListFields).any(|name| name == field)
                || shown.contains(&(View::List.as_str().to_owned(), field.to_owned()))
        };
        // The project's own settings are in each answer by id, and no part of a submission.
        let aside = |field: &str| screening(field) || field.split('.').next() == Some("project_options");
        let missing = |fact: Fact| self.text(fact) == Some("missing");
        let by_id = no_aml && matches!(self.text(Fact::AmlPages), Some("refused" | "ignored"));
        let details = by_id
            || missing(Fact::ListAttempts)
            || missing(Fact::ListUpdatedAt)
            // A list of names that is full says nothing about what is not in it.
            || (names(Fact::ListFields).count() < MOST_NAMES
                && names(Fact::IdFields).any(|field| !aside(field) && !listed(field)));
        Lacking { screenings: no_aml && !by_id, details, by_id }
    }

    /// From one probe to the next: a day; while it could not tell what dates filter (too few submissions, for example)
    /// an hour, or longer if so many probes would take more than a fiftieth of the day's requests.
    pub fn probe_every(&self, requests_per_day: u64) -> Duration {
        if self.facts.contains_key(&Fact::Filter) {
            return DAY;
        }
        let probes = OFTEN * requests_per_day as f64 / MOST_REQUESTS as f64;
        DAY.div_f64(probes.clamp(1.0, 24.0))
    }

    /// Whether it is time to probe again: never done, longer ago than [`Findings::probe_every`], or done with another
    /// server, key or dialect.
    pub fn due(&self, now: Timestamp, source: &str, requests_per_day: u64) -> bool {
        let Some(found_at) = self.found_at else { return true };
        let rested = (now - found_at).to_std().is_ok_and(|since| since >= self.probe_every(requests_per_day));
        rested || self.source.as_deref() != Some(source)
    }

    /// Takes over what a probe found. Returns the facts whose mode changed, unless it was asked with other settings:
    /// then the operator changed it.
    pub fn learn(&mut self, found: Vec<Finding>, at: Timestamp, source: &str) -> Vec<Fact> {
        let same_source = self.source.as_deref().is_none_or(|former| former == source);
        let mut changed = Vec::new();
        for Finding { fact, value, evidence } in found {
            let old = self.facts.get(&fact);
            let value = if fact.is_mode() { value } else { union(old.map(|old| &old.value), &value) };
            let clear = value.as_str() != Some(UNCLEAR);
            let settled = old.and_then(|old| old.settled.clone());
            let (mut previous, mut changed_at) = old.map_or((None, None), |old| (old.previous.clone(), old.changed_at));
            if fact.is_mode() && clear && settled.as_ref().is_some_and(|settled| *settled != value) {
                if same_source {
                    (previous, changed_at) = (settled.clone(), Some(at));
                    changed.push(fact);
                } else {
                    (previous, changed_at) = (None, None);
                }
            }
            let settled = if clear { Some(value.clone()) } else { settled };
            self.facts.insert(fact, Stored { value, evidence, found_at: at, settled, previous, changed_at });
        }
        if !same_source {
            // Days more that another dialect needed say nothing about this one.
            self.facts.retain(|fact, stored| !fact.is_mode() || stored.found_at == at);
        }
        *self = Self::new(std::mem::take(&mut self.facts), Some(at), Some(source.to_owned()));
        changed
    }
}

/// Names of fields, gathered; a bound keeps a vendor that invents names from filling the row.
fn union(old: Option<&Value>, new: &Value) -> Value {
    let names = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let all = names(old).into_iter().chain(names(Some(new)));
    let all: std::collections::BTreeSet<String> = all.filter_map(|name| Some(name.as_str()?.to_owned())).collect();
    json!(all.into_iter().take(MOST_NAMES).collect::<Vec<_>>())
}

fn filter(facts: &BTreeMap<Fact, Stored>) -> Filter {
    let Some(found) = facts.get(&Fact::Filter) else { return Filter::UNKNOWN };
    match found.value.as_str() {
        Some("updated") => Filter::Updated,
        Some("ignored") => Filter::Ignored,
        Some("created") => {
            // Days that were found to be enough before dates meant something else prove nothing now.
            let slack = facts.get(&Fact::Slack).filter(|slack| found.changed_at.is_none_or(|at| slack.found_at >= at));
            let days = |name: &str| u8::try_from(slack?.value.get(name)?.as_u64()?).ok();
            days("before")
                .zip(days("after"))
                .map_or(Filter::UNKNOWN, |(before, after)| Filter::Created { before, after })
        }
        _ => Filter::UNKNOWN,
    }
}

#[cfg(test)]
mod tests;
