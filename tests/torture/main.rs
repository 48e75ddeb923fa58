//! Seeded histories: a vendor whose submissions live and change, the real daemon between it and a real PostgreSQL, and
//! faults of all three, as a seed draws them. In the end faults stop, the mirror must become equal to the vendor, and a
//! judge that knows only what was served and what the tables hold looks at everything that happened.
//!
//! `make torture SEED=n RUNS=k` runs many. What a seed draws is always the same; how it falls in with the work of three
//! processes is not, so that a seed that failed may need several runs to fail again.

#![allow(unreachable_pub, reason = "nothing outside reaches a test")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod draw;
mod judge;
mod report;
mod server;
mod stage;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "these need a few of the other tests' tools")]
mod support;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use self::report::Report;
use self::server::Server;

/// Half an hour of it in `make soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p12_p13_a_daemon_that_lives_through_all_faults_does_not_grow_and_converges() {
    support::world::install_tls();
    let time = std::time::Duration::from_secs(setting(SOAK, 0) * 60).max(SHORT_SOAK);
    let mut server = Server::start().await;
    let outcome = stage::soak(setting(SEED, 1), time, &mut server).await;
    server.stop().await;
    println!("{:.0} s, {:?}", outcome.seconds, outcome.counts);
    assert!(outcome.violations.is_empty(), "{:#?}\n{}", outcome.violations, outcome.said);
}

/// Mistakes in the program that the judge must notice: `make mutants` tries them.
#[test]
fn every_mutant_can_be_made() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture/mutants");
    let mutants: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(mutants.len() >= 15, "{mutants:?}");
    for mutant in mutants {
        let mut git = std::process::Command::new("git");
        let tried =
            git.args(["apply", "--check"]).arg(&mutant).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(tried.status.success(), "{} no longer fits the sources: {tried:?}", mutant.display());
    }
}

/// The first seed, and how many from there on.
const SEED: &str = "ARGOS_SYNC_TORTURE_SEED";
const RUNS: &str = "ARGOS_SYNC_TORTURE_RUNS";
/// How many minutes a soak takes.
const SOAK: &str = "ARGOS_SYNC_SOAK_MINUTES";
const SHORT_SOAK: std::time::Duration = std::time::Duration::from_secs(20);
/// How many histories run beside each other.
const WORKERS: &str = "ARGOS_SYNC_TORTURE_WORKERS";
/// Whether the first history that breaks a promise is the last one.
const UNTIL_BROKEN: &str = "ARGOS_SYNC_TORTURE_UNTIL_BROKEN";
/// Only histories in which this is done, as the reports say it: `message-200`, `Back(true)`.
const DEED: &str = "ARGOS_SYNC_TORTURE_DEED";
/// For how many minutes new histories are begun, instead of a number of them.
const MINUTES: &str = "ARGOS_SYNC_TORTURE_MINUTES";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p13_seeded_histories_break_no_promise() {
    support::world::install_tls();
    let (first, workers) = (setting(SEED, 1), setting(WORKERS, 2));
    let runs = setting(RUNS, if std::env::var_os(MINUTES).is_some() { u64::MAX } else { 6 });
    let (began, minutes) = (Instant::now(), setting(MINUTES, u64::MAX / 60));
    let report = Report::open();
    let deed = std::env::var(DEED).unwrap_or_default();
    let seeds = (first..).filter(move |seed| stage::does(*seed, &deed)).zip(0..runs).map(|(seed, _)| seed);
    let seeds = Arc::new(Mutex::new(seeds));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (seeds, report) = (Arc::clone(&seeds), report.clone());
        tasks.spawn(async move {
            let mut server = Server::start().await;
            let over = || std::env::var_os(UNTIL_BROKEN).is_some() && report.is_broken();
            while began.elapsed().as_secs() < minutes * 60 && !over() {
                let Some(seed) = seeds.lock().await.find(|seed| !report.has(*seed)) else { break };
                let outcome = stage::play(seed, &mut server).await;
                report.note(seed, &outcome);
            }
            server.stop().await;
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    report.conclude();
}
