//! What the vendor seems to have deleted, what waits for an operator, and what was erased.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::store::status;

/// What to do about a hold.
const ADVICE: &str = "No deletion is carried out until an operator decides; all else goes on. Check the API key and its rights, look at the list, and release them if they are meant:";

/// Erasures.
#[derive(Serialize)]
pub(crate) struct Erasures {
    /// Not confirmed yet, by kind.
    pub(crate) pending: BTreeMap<String, i64>,
    /// When the first of it is looked at; `None`: nothing is pending, or all of it is held.
    pub(crate) next_check_at: Option<Timestamp>,
    pub(crate) hold: Option<Hold>,
    /// Receipts.
    pub(crate) carried_out: i64,
    pub(crate) last_at: Option<Timestamp>,
}

/// What waits for an operator.
#[derive(Serialize)]
pub(crate) struct Hold {
    pub(crate) since: Timestamp,
    /// Suspicions when it began.
    pub(crate) suspicions: i64,
    /// Submissions then.
    pub(crate) submissions: i64,
    pub(crate) advice: &'static str,
    /// To look at them, and to say that they are meant.
    pub(crate) commands: [String; 2],
}

impl Erasures {
    pub(crate) fn new(of: status::Erasures, next_check_at: Option<Timestamp>) -> Self {
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
}
