//! What was found, for people and for programs.

use serde::Serialize;

use crate::app::AppError;
use crate::chain::chain;
use crate::cli::output;
use crate::exit::Exit;

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Settings,
    Machine,
    Database,
    /// The vendor, for a project.
    Vendor(Option<String>),
}

impl Group {
    fn name(&self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Machine => "machine",
            Self::Database => "database",
            Self::Vendor(_) => "vendor",
        }
    }

    fn project(&self) -> Option<&str> {
        match self {
            Self::Vendor(project) => project.as_deref(),
            _ => None,
        }
    }
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Ok,
    /// It works, and somebody should know of it.
    Note,
    Failed,
    /// It could not be looked at, because something else failed.
    Skipped,
}

/// What a check has found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) outcome: Outcome,
    /// What was seen.
    pub(super) seen: String,
    /// What it means and what to do.
    pub(super) cure: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Finding {
    pub(super) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, seen: seen.into(), cure: None, exit: Exit::Ok }
    }

    pub(super) fn note(check: &'static str, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { outcome: Outcome::Note, cure: Some(cure.into()), ..Self::ok(check, seen) }
    }

    pub(super) fn failed(check: &'static str, seen: impl Into<String>, cure: impl Into<String>, exit: Exit) -> Self {
        Self { outcome: Outcome::Failed, cure: Some(cure.into()), exit, ..Self::ok(check, seen) }
    }

    /// A failure whose sentence says already what to do.
    pub(super) fn told(check: &'static str, seen: impl Into<String>, exit: Exit) -> Self {
        Self { outcome: Outcome::Failed, exit, ..Self::ok(check, seen) }
    }

    pub(super) fn skipped(check: &'static str, because: &str) -> Self {
        Self { outcome: Outcome::Skipped, ..Self::ok(check, format!("depends on \"{because}\"")) }
    }

    pub(super) fn is_failure(&self) -> bool {
        self.outcome == Outcome::Failed
    }
}

/// The first of `checks` of which nothing was found yet.
pub(super) fn pending(findings: &[Finding], checks: &[&'static str]) -> Option<&'static str> {
    checks.iter().copied().find(|check| findings.iter().all(|finding| finding.check != *check))
}

/// For those of `checks` that did not come to be made: each depends on the first that failed.
pub(super) fn skip_the_rest(findings: &mut Vec<Finding>, checks: &[&'static str]) {
    let Some(because) = findings.iter().find(|finding| finding.is_failure()).map(|finding| finding.check) else {
        return;
    };
    let missing = checks.iter().filter(|check| findings.iter().all(|finding| finding.check != **check));
    let skipped: Vec<Finding> = missing.map(|check| Finding::skipped(check, because)).collect();
    findings.extend(skipped);
}

/// One finding as JSON.
#[derive(Serialize)]
struct Entry<'a> {
    group: &'a str,
    project: Option<&'a str>,
    #[serde(flatten)]
    finding: &'a Finding,
}

impl<'a> Entry<'a> {
    fn of((group, finding): &'a (Group, Finding)) -> Self {
        Self { group: group.name(), project: group.project(), finding }
    }
}

/// All findings so far. For people they are printed as they come, so that a step that takes long is seen.
pub(super) struct Report {
    json: bool,
    findings: Vec<(Group, Finding)>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, findings: Vec::new() }
    }

    pub(super) fn all(&mut self, group: &Group, findings: Vec<Finding>) {
        findings.into_iter().for_each(|finding| self.tell(group, finding));
    }

    pub(super) fn tell(&mut self, group: &Group, finding: Finding) {
        if !self.json {
            let new = self.findings.last().is_none_or(|(last, _)| last != group);
            let heading = if new { heading(group) } else { String::new() };
            // That it cannot be printed changes nothing of what is found.
            let _ = output::print(&format!("{heading}{}", lines(&finding)));
        }
        self.findings.push((group.clone(), finding));
    }

    /// Prints what is not printed yet, and ends with the code of the first failure.
    pub(super) fn end(&self) -> Result<(), AppError> {
        if self.json {
            let entries: Vec<Entry<'_>> = self.findings.iter().map(Entry::of).collect();
            let text = serde_json::to_string_pretty(&entries)
                .map_err(|error| AppError::Other { message: chain(&error), exit: Exit::Failure })?;
            output::print_json(&format!("{text}\n"))?;
        }
        match self.findings.iter().find(|(_, finding)| finding.is_failure()) {
            None => Ok(()),
            Some((_, failure)) => {
                let message = "not everything is in order (see above)".to_owned();
                Err(AppError::Other { message, exit: failure.exit })
            }
        }
    }
}

fn heading(group: &Group) -> String {
    match group.project() {
        Some(project) => format!("{}, project {project}\n", group.name()),
        None => format!("{}\n", group.name()),
    }
}

/// A line that says what was seen, and below it what to do.
fn lines(finding: &Finding) -> String {
    let word = match finding.outcome {
        Outcome::Ok => "ok",
        Outcome::Note => "note",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "skipped",
    };
    let mut text = format!("  {word:<8}{}: {}\n", finding.check, finding.seen);
    for paragraph in finding.cure.iter().flat_map(|cure| cure.lines()) {
        output::lines(paragraph, output::COLUMNS).iter().for_each(|line| text.push_str(&format!("          {line}\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_a_failure_is_skipped() {
        let failed = Finding::failed("two", "bad", "mend it", Exit::Database);
        let mut findings = vec![Finding::ok("one", "good"), failed, Finding::ok("three", "good")];
        skip_the_rest(&mut findings, &["one", "two", "three", "four"]);
        assert_eq!((findings.len(), findings[3].check, findings[3].outcome), (4, "four", Outcome::Skipped));
        assert_eq!(findings[3].seen, "depends on \"two\"");
        let mut well = vec![Finding::ok("one", "good")];
        skip_the_rest(&mut well, &["one", "two"]);
        assert_eq!(well.len(), 1);
    }

    #[test]
    fn a_failure_says_what_to_do_below_it() {
        let text = lines(&Finding::failed("port", "taken", "Change it.\nOr stop the other.", Exit::Listen));
        assert_eq!(text, "  FAILED  port: taken\n          Change it.\n          Or stop the other.\n");
    }

    #[test]
    fn the_first_failure_decides_the_code() {
        let mut report = Report::new(true);
        report.tell(&Group::Machine, Finding::note("one", "odd", "look"));
        assert!(report.end().is_ok());
        report.tell(&Group::Machine, Finding::failed("two", "bad", "mend it", Exit::Listen));
        report.tell(&Group::Database, Finding::failed("three", "bad", "mend it", Exit::Database));
        assert_eq!(report.end().unwrap_err().exit(), Exit::Listen);
    }
}
