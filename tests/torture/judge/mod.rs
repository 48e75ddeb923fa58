//! Judges a history by what the vendor served and what the database holds in the end, and by nothing else: it imports
//! nothing from the crate, and says once more, in its own words, what docs/events/ and the README promise.
//!
//! Which answers were applied is read off the walks' own progress: whoever moved a cursor past a page has taken over what
//! the page showed (P3). Every other answer may have been applied or not.

mod changes;
mod erased;
mod history;
mod served;
mod state;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

/// What is known of one project's history.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Whether lists lack fields that answers by id show.
    pub thin: bool,
    /// The vendor's log of requests and whole answers.
    pub served: Vec<Value>,
    /// The project's rows by table. Rows of versions and of the outbox carry `xmin`, the transaction that wrote them. The
    /// table `progress` holds what a trigger saw of `walks`.
    pub tables: BTreeMap<String, Vec<Value>>,
    /// Everything in the database that is the project's, as JSON.
    pub dump: String,
    /// The vendor's items at the end.
    pub truth: Vec<Value>,
    /// What it shows among them that is no submission, as it is sent.
    pub spoiled: Vec<&'static str>,
}

impl Evidence {
    fn rows(&self, table: &str) -> &[Value] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    /// The receipts of what was erased of a submission.
    fn receipts<'e>(&'e self, id: &str) -> impl Iterator<Item = &'e Value> + use<'e> {
        let id = id.to_owned();
        self.rows("erasure_receipts").iter().filter(move |row| row["submission_id"] == *id)
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// `P1` to `P13`.
    pub promise: &'static str,
    /// Whose, if it is a submission's.
    pub submission: String,
    /// What happened.
    pub what: String,
}

fn broken(promise: &'static str, submission: &str, what: impl Into<String>) -> Violation {
    Violation { promise, submission: submission.to_owned(), what: what.into() }
}

/// Every promise that was broken.
pub fn judge(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    let answers = served::answers(&evidence.served);
    let applied = served::applied(&answers, evidence.rows("progress"), &mut violations);
    let versions = history::versions(evidence.rows("submission_versions"));
    history::explained(evidence, &answers, &applied, &versions, &mut violations);
    changes::told(evidence, &versions, &mut violations);
    history::news_or_history(evidence, &versions, &mut violations);
    tables::one_commit(evidence, &versions, &mut violations);
    tables::one_writer(&versions, &mut violations);
    tables::agree(evidence, &versions, &mut violations);
    tables::impersonal(evidence, &mut violations);
    erased::confirmed_and_gone(evidence, &answers, &versions, &mut violations);
    violations.sort();
    violations.dedup();
    violations
}

/// The promises that can be judged by the tables alone, where what was served was not kept.
pub fn judge_tables(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    let versions = history::versions(evidence.rows("submission_versions"));
    changes::told(evidence, &versions, &mut violations);
    tables::one_commit(evidence, &versions, &mut violations);
    tables::one_writer(&versions, &mut violations);
    tables::agree(evidence, &versions, &mut violations);
    tables::impersonal(evidence, &mut violations);
    violations
}

/// What the mirror still lacks of the vendor's state: nothing, once faults have ended and time has passed (P13), and
/// what was set aside (P10).
pub fn differences(evidence: &Evidence) -> Vec<Violation> {
    tables::differences(evidence)
}

/// What a daemon said holds nothing personal (P11). Whatever is personal in a history is marked as a taint.
pub fn said(text: &str) -> Option<Violation> {
    let line = text.lines().find(|line| line.to_lowercase().contains("taint"))?;
    Some(broken("P11", "", format!("a daemon said: {line}")))
}

/// A consumer that reads the outbox in order has read all of it (P6).
pub fn read_everything(read: &[(i64, String)], outbox: &[(i64, String)]) -> Vec<Violation> {
    let missed = outbox.iter().filter(|row| !read.contains(row));
    let mut violations: Vec<_> = missed
        .map(|(position, id)| broken("P6", "", format!("the event {id} at position {position} was never read")))
        .collect();
    if read.iter().any(|row| !outbox.contains(row)) {
        violations.push(broken("P6", "", "an event was read that the outbox does not hold"));
    }
    if !read.is_sorted_by_key(|(position, _)| *position) {
        violations.push(broken("P6", "", "positions were read out of order"));
    }
    violations
}
