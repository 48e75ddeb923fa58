//! The table that is printed, and the JSON that is written.

use serde_json::{Value, json};

use crate::stage::Cost;

/// One phase, once.
#[derive(Clone, Debug)]
pub struct Row {
    /// The phase.
    pub phase: String,
    /// How many submissions were read.
    pub submissions: u64,
    /// What it cost.
    pub cost: Cost,
}

/// A figure that is no cost of a phase.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it is, with its unit.
    pub what: String,
    /// The figure.
    pub value: f64,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    findings: Vec<Finding>,
}

impl Report {
    /// Adds a phase, and says so.
    pub fn add(&mut self, phase: &str, submissions: u64, cost: Cost) {
        println!("{phase}: {cost:.2?}");
        self.rows.push(Row { phase: phase.to_owned(), submissions, cost });
    }

    /// Adds a figure, and says so.
    pub fn find(&mut self, what: &str, value: f64) {
        println!("{what}: {value:.3}");
        self.findings.push(Finding { what: what.to_owned(), value });
    }

    /// Adds another part's.
    pub fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.findings.extend(other.findings);
    }
}

/// All repetitions of a phase.
struct Phase<'a> {
    name: &'a str,
    rows: Vec<&'a Row>,
}

/// A cost, or what is made of it.
type Figure = fn(&Row) -> f64;

const WALL: Figure = |row| row.cost.wall;
const CPU: Figure = |row| row.cost.client_cpu + row.cost.postgres_cpu;

impl Phase<'_> {
    fn median(&self, figure: Figure) -> f64 {
        let mut values: Vec<f64> = self.rows.iter().map(|row| figure(row)).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
    }

    fn ends(&self, figure: Figure) -> (f64, f64) {
        let values = || self.rows.iter().map(|row| figure(row));
        (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
    }
}

fn phases(rows: &[Row]) -> Vec<Phase<'_>> {
    let mut phases: Vec<Phase<'_>> = Vec::new();
    for row in rows {
        match phases.iter_mut().find(|phase| phase.name == row.phase) {
            Some(phase) => phase.rows.push(row),
            None => phases.push(Phase { name: &row.phase, rows: vec![row] }),
        }
    }
    phases
}

const COLUMNS: [&str; 11] = [
    "phase",
    "submissions/s",
    "wall s (min-max)",
    "client CPU s",
    "PostgreSQL CPU s",
    "server CPU s",
    "CPU µs each",
    "peak MiB",
    "WAL MB",
    "wall / limit",
    "CPU / limit",
];

/// Medians, as a table. A ratio is one to the phase `limit`, if that was run.
pub fn table(report: &Report) -> String {
    let phases = phases(&report.rows);
    let limit = phases.iter().find(|phase| phase.name == crate::LIMIT);
    let ratio = |phase: &Phase<'_>, figure| {
        limit.map_or_else(|| "-".to_owned(), |limit| format!("{:.2}", phase.median(figure) / limit.median(figure)))
    };
    let mut lines = vec![COLUMNS.map(str::to_owned).to_vec()];
    for phase in &phases {
        let (least, most) = phase.ends(WALL);
        lines.push(vec![
            phase.name.to_owned(),
            format!("{:.0}", phase.median(|row| row.submissions as f64 / row.cost.wall)),
            format!("{:.2} ({least:.2}-{most:.2})", phase.median(WALL)),
            format!("{:.2}", phase.median(|row| row.cost.client_cpu)),
            format!("{:.2}", phase.median(|row| row.cost.postgres_cpu)),
            format!("{:.2}", phase.median(|row| row.cost.server_cpu)),
            format!("{:.1}", phase.median(|row| CPU(row) * 1e6 / row.submissions as f64)),
            format!("{:.1}", phase.median(|row| row.cost.peak_mib)),
            format!("{:.2}", phase.median(|row| row.cost.wal_bytes / 1e6)),
            ratio(phase, WALL),
            ratio(phase, CPU),
        ]);
    }
    let mut text = if phases.is_empty() { String::new() } else { aligned(&lines) };
    for Finding { what, value } in &report.findings {
        text.push_str(&format!("\n{what}: {value:.3}"));
    }
    text
}

/// Markdown whose columns stand below each other.
fn aligned(lines: &[Vec<String>]) -> String {
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut out = String::new();
    for (nth, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        out.push_str(&format!("| {} |\n", cells.collect::<Vec<_>>().join(" | ")));
        if nth == 0 {
            let rules = widths.iter().enumerate().map(|(at, width)| match at {
                0 => "-".repeat(*width),
                _ => format!("{}:", "-".repeat(width - 1)),
            });
            out.push_str(&format!("| {} |\n", rules.collect::<Vec<_>>().join(" | ")));
        }
    }
    out
}

/// Every row, for a program that compares runs.
pub fn json(about: &Value, report: &Report) -> Value {
    let findings: Vec<Value> =
        report.findings.iter().map(|Finding { what, value }| json!({"what": what, "value": value})).collect();
    let rows: Vec<Value> = report
        .rows
        .iter()
        .map(|Row { phase, submissions, cost }| {
            json!({
                "phase": phase, "submissions": submissions, "wall_seconds": cost.wall,
                "client_cpu_seconds": cost.client_cpu, "postgres_cpu_seconds": cost.postgres_cpu,
                "server_cpu_seconds": cost.server_cpu, "peak_mib": cost.peak_mib, "wal_bytes": cost.wal_bytes,
            })
        })
        .collect();
    json!({"about": about, "rows": rows, "findings": findings})
}
