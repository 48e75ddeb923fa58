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

/// Where the sums are written, for docs/.
const SUMS: &str = "ARGOS_SYNC_TORTURE_SUMS";
const ABOUT: &str = "# Seeded histories

Written by `make torture`; [promises.md](promises.md) says what a history is, and what is judged. `Setting` counts the
histories, `Calm` the ends of their faults, `Equal` those after which the mirror became equal to the vendor.

";

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
        self.lines.lock().unwrap().iter().any(broke)
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

    /// Writes the sums down; fails if a promise was broken, or nothing was put to the test.
    pub fn conclude(&self) {
        let lines = self.lines.lock().unwrap();
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        let mut deeds: BTreeMap<String, u64> = BTreeMap::new();
        for line in lines.iter() {
            for (name, count) in line["counts"].as_object().into_iter().flatten() {
                *sums.entry(name).or_default() += count.as_u64().unwrap_or(0);
            }
            for deed in line["deeds"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                *deeds.entry(name(deed)).or_default() += 1;
            }
        }
        let broken: BTreeSet<u64> =
            lines.iter().filter(|line| broke(line)).filter_map(|line| line["seed"].as_u64()).collect();
        let seeds: BTreeSet<u64> = lines.iter().filter_map(|line| line["seed"].as_u64()).collect();
        let seconds: f64 = lines.iter().filter_map(|line| line["seconds"].as_f64()).sum();
        let (first, last) = (seeds.first().copied().unwrap_or(0), seeds.last().copied().unwrap_or(0));
        let mut text = format!(
            "{} histories (seeds {first} to {last}), {:.1} hours of them in all. Broken promises: {}.\n\n",
            lines.len(),
            seconds / 3600.0,
            if broken.is_empty() { "none".to_owned() } else { format!("in {broken:?}") }
        );
        let mut table = |title: &str, rows: Vec<(String, u64)>| {
            write!(text, "| {title} | times |\n|---|---|\n").unwrap();
            rows.iter().for_each(|(name, count)| writeln!(text, "| {name} | {count} |").unwrap());
            text.push('\n');
        };
        table("what there was", sums.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect());
        table("what was done", deeds.into_iter().collect());
        println!("{text}");
        if let Some(file) = std::env::var_os(SUMS) {
            std::fs::write(file, format!("{ABOUT}{}\n", text.trim_end())).unwrap();
        }
        assert!(broken.is_empty(), "{text}");
        assert!(sums["versions"] > lines.len() as u64 * 10 && sums["events"] > sums["versions"], "{text}");
    }
}

/// Whether the history of a line broke a promise.
fn broke(line: &Value) -> bool {
    line["violations"].as_array().is_some_and(|all| !all.is_empty())
}

/// What kind of deed it was: `Vendor(Flag)`, `Faults(reset)`, `Kill`.
fn name(deed: &str) -> String {
    let words: Vec<&str> = deed.split(|letter: char| !letter.is_alphanumeric() && letter != '-').collect();
    match words.as_slice() {
        ["Vendor", what, ..] => format!("Vendor({what})"),
        ["Faults", "", what, ..] => format!("Faults({})", what.trim_end_matches('-')),
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}
