//! What became of each seed, kept in a file, so that an interrupted run goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::judge::Violation;

/// Where the report is kept; without it nothing is.
const REPORT: &str = "ARGOS_SYNC_TORTURE_REPORT";

/// How a history went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was done to it, in order.
    pub deeds: Vec<String>,
    /// Sums: requests, versions, events ...
    pub counts: BTreeMap<&'static str, u64>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// What the daemons said, for a person who looks for the reason.
    pub said: String,
}

/// All outcomes.
#[derive(Clone)]
pub struct Report {
    file: Option<PathBuf>,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Report {
    /// The one that the environment names, with what it holds, or a new one.
    pub fn open() -> Self {
        let file = std::env::var_os(REPORT).map(PathBuf::from);
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        // The last line of a run that was killed may be cut.
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { file, lines: Arc::new(Mutex::new(lines)) }
    }

    /// Whether a seed was played already.
    pub fn has(&self, seed: u64) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line["seed"] == seed)
    }

    /// Whether a promise was broken.
    pub fn is_broken(&self) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line["violations"].as_array().is_some_and(|all| !all.is_empty()))
    }

    /// Notes a history's outcome.
    pub fn note(&self, seed: u64, outcome: &Outcome) {
        let violations: Vec<String> =
            outcome.violations.iter().map(|it| format!("{} {}: {}", it.promise, it.submission, it.what)).collect();
        let line = json!({"seed": seed, "deeds": outcome.deeds, "counts": outcome.counts, "seconds": outcome.seconds,
            "violations": violations});
        println!("seed {seed}: {} deeds, {:.1} s, {:?}", outcome.deeds.len(), outcome.seconds, outcome.counts);
        if !violations.is_empty() {
            let said = std::env::temp_dir().join(format!("argos-sync-torture-{seed}.log"));
            std::fs::write(&said, &outcome.said).unwrap();
            let deeds = outcome.deeds.join("\n    ");
            println!(
                "seed {seed} broke promises:\n  {}\n  deeds:\n    {deeds}\n  log: {}",
                violations.join("\n  "),
                said.display()
            );
        }
        if let Some(file) = &self.file {
            let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
            writeln!(file, "{line}").unwrap();
        }
        self.lines.lock().unwrap().push(line);
    }

    /// Prints the sums; fails if a promise was broken, or nothing was put to the test.
    pub fn conclude(&self) {
        let lines = self.lines.lock().unwrap();
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        let mut deeds: BTreeMap<&str, u64> = BTreeMap::new();
        for line in lines.iter() {
            for (name, count) in line["counts"].as_object().into_iter().flatten() {
                *sums.entry(name).or_default() += count.as_u64().unwrap_or(0);
            }
            for deed in line["deeds"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                *deeds.entry(deed.split(['(', ' ']).next().unwrap_or(deed)).or_default() += 1;
            }
        }
        let broken: BTreeSet<u64> = lines
            .iter()
            .filter(|line| line["violations"].as_array().is_some_and(|all| !all.is_empty()))
            .filter_map(|line| line["seed"].as_u64())
            .collect();
        let seconds: f64 = lines.iter().filter_map(|line| line["seconds"].as_f64()).sum();
        let mut text = format!("{} histories, {seconds:.0} s of history, broken: {broken:?}\n", lines.len());
        writeln!(text, "sums: {sums:?}\ndeeds: {deeds:?}").unwrap();
        println!("{text}");
        assert!(broken.is_empty(), "{text}");
        assert!(sums["versions"] > lines.len() as u64 * 10 && sums["events"] > sums["versions"], "{text}");
    }
}
