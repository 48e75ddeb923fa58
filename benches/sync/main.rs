//! `make bench`: what reading costs, against what loading the same rows by COPY costs. docs/performance.md says what is
//! measured and how; `--help` says what can be asked for. Linux only: CPU and memory are read from /proc.

#![allow(unreachable_pub, missing_docs, reason = "nothing outside reaches a bench")]

mod extra;
mod items;
mod limit;
mod measure;
mod phases;
mod report;
mod server;
mod stage;
mod truth;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::json;

use self::items::Times;
use self::report::Report;
use self::stage::Stage;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// The phase that others are compared with.
const LIMIT: &str = "limit (COPY)";

#[derive(Parser)]
#[command(name = "sync", about = "Measures argos-sync against COPY", max_term_width = 110)]
struct Arguments {
    /// Submissions in the list [default: 100000; for memory 1000000, for growth 2000000]
    #[arg(long)]
    submissions: Option<u64>,
    /// How often each phase is run; medians are shown
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [What::Initial, What::Changed, What::Unchanged, What::Forms, What::Limit])]
    only: Vec<What>,
    /// 5,000 submissions, once: to see that it works
    #[arg(long)]
    quick: bool,
    /// Write every figure into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Cargo says this to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Everything is new. Runs whenever one of the next three does
    Initial,
    /// 1% differs
    Changed,
    /// Nothing differs, not even a byte
    Unchanged,
    /// Nothing differs but links, the order of keys and the forms of numbers
    Forms,
    /// The rows of the initial import, loaded by COPY
    Limit,
    /// Resident memory during a large import
    Memory,
    /// What a submission costs when many are stored
    Growth,
    /// From a change at the vendor's to its events; from the start to the first page
    Latency,
    /// 200 ms a page
    Network,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

fn main() -> ExitCode {
    // The bench is three programs: a process of its own is the only one whose CPU can be told apart.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((first, rest)) if first == server::SERVE => single_threaded(server::run(rest)),
        Some((first, rest)) if first == limit::LOAD => single_threaded(limit::run(rest)),
        _ => single_threaded(bench(Arguments::parse())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn single_threaded(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn bench(mut arguments: Arguments) -> Result<()> {
    if arguments.quick {
        arguments.submissions.get_or_insert(5_000);
        arguments.repeat = 1;
    }
    let load = measure::load();
    let mut stage = Stage::start(Times::OLD).await?;
    let cores = std::thread::available_parallelism()?.get();
    let about = json!({
        "argos_sync": env!("CARGO_PKG_VERSION"), "postgresql": stage.version().await?, "cores": cores,
        "load_before": load, "repeat": arguments.repeat,
    });
    println!("{about}");
    let result = run(&mut stage, &arguments).await;
    let stopped = stage.stop().await;
    let report = result?;
    stopped?;
    println!("\n{}", report::table(&report));
    if let Some(path) = arguments.json {
        std::fs::write(path, format!("{:#}\n", report::json(&about, &report)))?;
    }
    Ok(())
}

async fn run(stage: &mut Stage, arguments: &Arguments) -> Result<Report> {
    const MAIN: [What; 5] = [What::Initial, What::Changed, What::Unchanged, What::Forms, What::Limit];
    let submissions = |otherwise| arguments.submissions.unwrap_or(otherwise);
    let mut report = Report::default();
    if MAIN.iter().any(|what| arguments.only.contains(what)) {
        report.extend(phases::run(stage, &arguments.only, submissions(100_000), arguments.repeat).await?);
        stage.clear()?;
    }
    for what in &arguments.only {
        report.extend(match what {
            What::Memory => extra::memory(stage, submissions(1_000_000)).await?,
            What::Growth => {
                extra::growth(stage, 100_000.min(submissions(2_000_000) / 2), submissions(2_000_000)).await?
            }
            What::Latency => extra::latency(submissions(100_000)).await?,
            What::Network => extra::network(stage, submissions(100_000)).await?,
            _ => continue,
        });
        stage.clear()?;
    }
    Ok(report)
}
