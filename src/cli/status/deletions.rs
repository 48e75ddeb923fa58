//! What the vendor seems to have deleted, what waits for an operator, and what was erased.

use std::collections::BTreeMap;

use serde::Serialize;

use super::text::sums;
use crate::cli::words::{COLUMNS, ago, grouped, lines, moment, row};
use crate::clock::Timestamp;
use crate::store::status;

/// What to do about a hold.
const ADVICE: &str = "No deletion is carried out until an operator decides; all else goes on. Check the API key and its rights, look at the list, and release them if they are meant:";

/// Erasures.
#[derive(Serialize)]
pub(super) struct Erasures {
    /// Not confirmed yet, by kind.
    pub(super) pending: BTreeMap<String, i64>,
    /// When the first of it is looked at; `None`: nothing is pending, or all of it is held.
    pub(super) next_check_at: Option<Timestamp>,
    pub(super) hold: Option<Hold>,
    /// Receipts.
    pub(super) carried_out: i64,
    pub(super) last_at: Option<Timestamp>,
}

/// What waits for an operator.
#[derive(Serialize)]
pub(super) struct Hold {
    pub(super) since: Timestamp,
    /// Suspicions when it began.
    pub(super) suspicions: i64,
    /// Submissions then.
    pub(super) submissions: i64,
    pub(super) advice: &'static str,
    /// To look at them, and to say that they are meant.
    pub(super) commands: [String; 2],
}

impl Erasures {
    pub(super) fn new(of: status::Erasures, next_check_at: Option<Timestamp>) -> Self {
        let hold = of.hold.map(|hold| Hold {
            since: hold.since,
            suspicions: hold.suspicions,
            submissions: hold.submissions,
            advice: ADVICE,
            commands: ["list", "release"]
                .map(|what| format!("argos-sync erasure {what} --project {}", hold.project_id)),
        });
        let status::Erasures { pending, carried_out, last_at, .. } = of;
        Self { pending, next_check_at, hold, carried_out, last_at }
    }

    pub(super) fn row(&self, text: &mut String, now: Timestamp) {
        let next = match (self.next_check_at, &self.hold) {
            (Some(at), _) if at > now => format!(", the next looked at {}", ago(at, now)),
            (Some(_), _) => ", the next is due".to_owned(),
            (None, Some(_)) => ", HELD".to_owned(),
            (None, None) => String::new(),
        };
        let last = self.last_at.map(|at| format!(", the last {}", ago(at, now))).unwrap_or_default();
        let pending = sums(&self.pending);
        row(text, "deletions", &format!("suspected {pending}{next}; carried out {}{last}", grouped(self.carried_out)));
    }

    /// What an operator must decide, and on what.
    pub(super) fn alarm(&self, text: &mut String) {
        let Some(hold) = &self.hold else { return };
        text.push_str(&format!(
            "\n  HELD since {}: {} of {} submissions seemed to be deleted at once\n",
            moment(hold.since),
            grouped(hold.suspicions),
            grouped(hold.submissions)
        ));
        for line in lines(hold.advice, COLUMNS) {
            text.push_str(&format!("    {line}\n"));
        }
        for command in &hold.commands {
            text.push_str(&format!("      {command}\n"));
        }
    }
}
