//! `argos-sync doctor`: every misconfiguration that it names, made with the real thing: files, ports, PostgreSQL and its
//! roles, PgBouncer, and the simulator's faults.

mod database;
mod machine;
mod pooler;
mod settings;
mod vendor;

use std::process::Command;

use argos_sync::clock::Clock;
use argos_sync::simulator::{Faults, Options, Simulator};
use serde_json::Value;

use crate::support::Database;
use crate::support::program::{self, Ended};

/// What a run found.
pub struct Told {
    ended: Ended,
    findings: Vec<Value>,
}

impl Told {
    /// Runs it.
    async fn by(command: Command) -> Self {
        let ended = program::run(command).await;
        let findings = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        for never in ["s3cret", "simulated-key", "panicked", "taint", "Taint"] {
            assert!(!ended.stderr.contains(never) && !ended.stdout.contains(never), "{never:?} in {ended:?}");
        }
        Self { ended, findings }
    }

    /// Of the findings of a check, that with this outcome: what was seen, and what to do.
    #[track_caller]
    fn says(&self, check: &str, outcome: &str) -> String {
        let found = self.findings.iter().find(|finding| finding["check"] == check && finding["outcome"] == outcome);
        let found = found.unwrap_or_else(|| panic!("{check} is not {outcome}: {}", self.ended.stdout));
        format!("{}. {}", found["seen"].as_str().unwrap(), found["cure"].as_str().unwrap_or_default())
    }

    /// Asserts that a check has this outcome, and that all of these are said.
    #[track_caller]
    fn has(&self, check: &str, outcome: &str, parts: &[&str]) {
        let said = self.says(check, outcome);
        parts.iter().for_each(|part| assert!(said.contains(part), "{part:?} is not in: {said}"));
    }

    /// Asserts the exit code.
    #[track_caller]
    fn ends_with(&self, code: i32) {
        assert_eq!(self.ended.code, Some(code), "{:?}", self.ended);
    }

    /// The checks that came out in this way.
    fn checks(&self, outcome: &str) -> Vec<&str> {
        let found = self.findings.iter().filter(|finding| finding["outcome"] == outcome);
        found.map(|finding| finding["check"].as_str().unwrap()).collect()
    }
}

/// A vendor with the newest of its submissions created just now.
async fn vendor(options: Options) -> Simulator {
    let simulator = Simulator::start(options, Clock::system()).await.unwrap();
    simulator.freeze();
    simulator
}

fn with_faults(faults: &str) -> Options {
    Options { initial: 20, faults: Faults::parse(faults).unwrap(), ..Options::default() }
}

/// `doctor --json` for a vendor and a database.
fn command(base_url: &str, database_url: &str, changes: &[(&str, &str)]) -> Command {
    program::command(&["doctor", "--json"], base_url, database_url, changes)
}

async fn doctor(vendor: &Simulator, database: &Database, changes: &[(&str, &str)]) -> Told {
    Told::by(command(&vendor.base_url(), &database.url, changes)).await
}
