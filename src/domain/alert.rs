//! What a person must look at: which change of a submission is an alert, and how grave it is. Pure.

use serde_json::Value;
use uuid::Uuid;

use super::canonical::at;
use super::change;
use super::event::EventType;
use super::hash::{Hash, HashKey};
use super::submission::State;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The AML status became Red Flag, or was one at first sight.
    RedFlag,
    /// The risk of an open Red Flag rose, or it has more matches.
    RedFlagEscalated,
    /// `kyc.result` was approved and is rejected now.
    ApprovalRevoked,
}

impl Kind {
    /// All kinds, for metrics that stand at 0 from the start.
    pub const ALL: [Self; 3] = [Self::RedFlag, Self::RedFlagEscalated, Self::ApprovalRevoked];

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The name in tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RedFlag => "red_flag",
            Self::RedFlagEscalated => "red_flag_escalated",
            Self::ApprovalRevoked => "approval_revoked",
        }
    }
}

/// How grave a screening is. The order is that of gravity; a word that no document names may be worse than all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// The vendor names none.
    None,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// A word that no document names.
    Unknown,
}

impl Risk {
    /// All of them, for metrics that stand at 0 from the start.
    pub const ALL: [Self; 5] = [Self::None, Self::Low, Self::Medium, Self::High, Self::Unknown];

    /// The name in tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Unknown => "unknown",
        }
    }

    /// The risk of a name; what has none is unknown.
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|risk| risk.as_str() == name).unwrap_or(Self::Unknown)
    }

    /// The risk of a submission: `aml.risk_level_summary`, or without it the highest `risk_level` of the matches. The
    /// vendor writes "High" in one and "HIGH" in the other.
    pub fn of(state: &State) -> Self {
        let summary = Self::parse(at(state.value(), &["aml", "risk_level_summary"]));
        let matches = state.list(&["aml", "matches"]).iter().map(|found| Self::parse(found.get("risk_level")));
        if summary == Self::None { matches.max().unwrap_or(Self::None) } else { summary }
    }

    fn parse(value: Option<&Value>) -> Self {
        let text = match value {
            Option::None | Some(Value::Null) => "",
            Some(value) => value.as_str().unwrap_or("not a text"),
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "not screened" => Self::None,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            _ => Self::Unknown,
        }
    }

    /// Whether it is worse now. What nobody knows may be better or worse than what is known, so every step from it counts.
    fn rises_to(self, after: Self) -> bool {
        after > self || (self == Self::Unknown && after != Self::Unknown && after != Self::None)
    }
}

/// A row of `argos.alerts`, but for what the page says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alert {
    /// Its id.
    pub id: Uuid,
    /// What it is about.
    pub kind: Kind,
    /// How grave it is.
    pub risk: Risk,
    /// Whether it stood before the import.
    pub imported: bool,
}

impl Alert {
    fn new(kind: Kind, after: &State, imported: bool, version_id: &Hash, key: &HashKey) -> Self {
        Self {
            id: key.event(version_id, &format!("alert.{}", kind.as_str()), "", 0),
            kind,
            risk: Risk::of(after),
            imported,
        }
    }
}

/// The alert of a submission that is seen for the first time.
pub fn first(state: &State, history: bool, version_id: &Hash, key: &HashKey) -> Vec<Alert> {
    let standing = state.red_flag().then(|| Alert::new(Kind::RedFlag, state, history, version_id, key));
    standing.into_iter().collect()
}

/// What differs from the stored state, and how much of that is new to us alone.
pub struct Change<'a> {
    /// The stored state.
    pub before: &'a State,
    /// The same with what this view shows for the first time, and no earlier one could show: no change of the vendor's.
    pub sight: Option<&'a State>,
    /// Whether the submission was older than the import at its first sight: then so is what is only new to us.
    pub history: bool,
    /// The state now.
    pub after: &'a State,
}

/// The alerts of a change.
pub fn next(change: &Change<'_>, version_id: &Hash, key: &HashKey) -> Vec<Alert> {
    let Change { before, sight, history, after } = *change;
    let seen = sight.unwrap_or(before);
    let told = if history { seen } else { before };
    let mut alerts = Vec::new();
    let mut raise = |kind, imported| alerts.push(Alert::new(kind, after, imported, version_id, key));
    match (before.red_flag(), after.red_flag()) {
        (false, true) => raise(Kind::RedFlag, told.red_flag()),
        (true, true) if escalates(seen, after) => raise(Kind::RedFlagEscalated, false),
        _ => {}
    }
    if told.kyc_result() == Some("approved") && after.kyc_result() == Some("rejected") {
        raise(Kind::ApprovalRevoked, false);
    }
    alerts
}

/// Whether an open flag is worse than before: a higher risk, or a match that was not there.
fn escalates(before: &State, after: &State) -> bool {
    Risk::of(before).rises_to(Risk::of(after))
        || change::news(Some(before), after).iter().any(|draft| draft.kind == EventType::AmlMatchAdded)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flag(risk: &str, matches: &[&str]) -> State {
        let matches: Vec<_> = matches.iter().map(|id| json!({"resource_id": id, "score": 9})).collect();
        State::of(&json!({"aml": {"currentstatus": "Red Flag", "risk_level_summary": risk, "matches": matches}}))
    }

    fn kyc(result: &str) -> State {
        State::of(&json!({"kyc": {"result": result}}))
    }

    fn kinds(change: &Change<'_>) -> Vec<(&'static str, &'static str, bool)> {
        let key = HashKey::new([7; 32]);
        let alerts = next(change, &[1; 32], &key);
        alerts.iter().map(|alert| (alert.kind.as_str(), alert.risk.as_str(), alert.imported)).collect()
    }

    fn between(before: &State, after: &State) -> Vec<(&'static str, &'static str, bool)> {
        kinds(&Change { before, sight: None, history: true, after })
    }

    #[test]
    fn every_name_is_read_back() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::parse(kind.as_str()) == Some(kind)));
        assert_eq!(Kind::parse("other"), None);
        assert!(Risk::ALL.into_iter().all(|risk| Risk::named(risk.as_str()) == risk));
        assert_eq!(Risk::named("other"), Risk::Unknown);
    }

    #[test]
    fn risk_is_the_summary_in_any_case_else_the_gravest_match() {
        let risk = |aml: Value| Risk::of(&State::of(&json!({"aml": aml}))).as_str();
        for (text, expected) in [("High", "high"), (" HIGH ", "high"), ("medium", "medium"), ("LOW", "low")] {
            assert_eq!(risk(json!({"risk_level_summary": text})), expected);
        }
        assert_eq!(risk(json!({"risk_level_summary": "Severe"})), "unknown");
        assert_eq!(risk(json!({"risk_level_summary": 3})), "unknown");
        assert_eq!(risk(json!({"risk_level_summary": "Not Screened"})), "none");
        assert_eq!(risk(json!({})), "none");
        assert_eq!(risk(json!({"matches": [{"risk_level": "LOW"}, {"risk_level": "HIGH"}, {}]})), "high");
        assert_eq!(risk(json!({"risk_level_summary": "Low", "matches": [{"risk_level": "HIGH"}]})), "low");
    }

    #[test]
    fn a_flag_is_raised_once_and_escalates_when_it_gets_worse() {
        let clear = State::of(&json!({"aml": {"currentstatus": "Not Screened"}}));
        assert_eq!(between(&clear, &flag("High", &[])), [("red_flag", "high", false)]);
        assert_eq!(between(&flag("High", &[]), &clear), []);
        assert_eq!(between(&flag("Low", &["a"]), &flag("Low", &["a"])), []);
        for (before, after, worse) in [
            ("Low", "Medium", true),
            ("low", "HIGH", true),
            ("High", "Low", false),
            ("High", "Severe", true),
            ("Severe", "High", true),
            ("Severe", "Awful", false),
            ("", "Low", true),
        ] {
            let found = between(&flag(before, &["a"]), &flag(after, &["a"]));
            assert_eq!(found.iter().any(|one| one.0 == "red_flag_escalated"), worse, "{before} to {after}");
        }
        assert_eq!(between(&flag("Low", &["a"]), &flag("Low", &["a", "b"])), [("red_flag_escalated", "low", false)]);
        assert_eq!(between(&flag("Low", &["a", "b"]), &flag("Low", &["a"])), []);
        // Both at once are one alert.
        assert_eq!(between(&flag("Low", &["a"]), &flag("High", &["b"])), [("red_flag_escalated", "high", false)]);
    }

    #[test]
    fn only_approved_to_rejected_is_an_approval_that_was_revoked() {
        assert_eq!(between(&kyc("approved"), &kyc("rejected")), [("approval_revoked", "none", false)]);
        for (before, after) in [("pending", "rejected"), ("approved", "pending"), ("rejected", "approved")] {
            assert_eq!(between(&kyc(before), &kyc(after)), []);
        }
    }

    #[test]
    fn what_only_a_new_view_shows_of_history_is_imported_and_of_news_is_raised() {
        let (bare, flagged) = (kyc("approved"), flag("High", &["a"]));
        let view = |history| kinds(&Change { before: &bare, sight: Some(&flagged), history, after: &flagged });
        assert_eq!(view(true), [("red_flag", "high", true)]);
        assert_eq!(view(false), [("red_flag", "high", false)]);
        // Matches that a list could not show are no new ones.
        let (listed, whole) = (flag("High", &[]), flag("High", &["a", "b"]));
        assert_eq!(kinds(&Change { before: &listed, sight: Some(&whole), history: false, after: &whole }), []);
    }

    #[test]
    fn the_same_version_has_the_same_alert() {
        let key = HashKey::new([7; 32]);
        let state = flag("High", &[]);
        let of = |version: u8| first(&state, true, &[version; 32], &key)[0].id;
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
