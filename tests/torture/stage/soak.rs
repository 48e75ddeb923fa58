//! One daemon lives through a long time of faults.

use std::time::{Duration, Instant};

use super::evidence::read_outbox;
use super::{DEEDS, Stage, wait};
use crate::draw::{self, Deed};
use crate::judge::{self, Violation};
use crate::report::Outcome;
use crate::server::Server;
use crate::support::random::Random;
use argos_sync::simulator::Options;

/// From this time on a soak shows whether something grows.
const LONG: Duration = Duration::from_secs(300);

/// Faults and changes for a long time, in which one daemon lives through all of it: what it holds must not grow.
pub async fn soak(seed: u64, time: Duration, server: &mut Server) -> Outcome {
    let began = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    // What was answered in half an hour would be too much to keep.
    let slower = |options: &mut Options| (options.rate, options.keep_answers) = (0.05, false);
    let mut stage = Stage::set(seed, server, &directory, slower).await;
    if stage.daemons.len() == 1 {
        stage.add_daemon(&directory).await;
    }
    let (stop, reader) = read_outbox(stage.pool.clone());
    let mut sizes = Vec::new();
    for (pause, deed) in draw::deeds(Random::of(seed ^ DEEDS)) {
        if began.elapsed() > time {
            break;
        }
        wait(pause).await;
        stage.spared = matches!(deed, Deed::Kill(_) | Deed::Restart);
        stage.act(deed).await;
        stage.count("deeds", 1);
        sizes.extend(stage.daemons[0].size());
        if sizes.len() % 100 == 0 {
            println!("{:.0} s: {:?} (KiB, descriptors)", began.elapsed().as_secs_f64(), sizes.last());
        }
    }
    let ended = stage.settle(began).await;
    for evidence in &ended {
        stage.outcome.violations.extend(judge::judge_tables(evidence));
    }
    stage.outcome.violations.extend(grown(&sizes, time));
    stage.finish(began, &ended, stop, reader).await
}

/// Memory in KiB and descriptors of a process, again and again: what of it grew, or was too much at all.
fn grown(sizes: &[(u64, u64)], time: Duration) -> Vec<Violation> {
    let third = sizes.len() / 3;
    let most = |sizes: &[(u64, u64)]| (sizes.iter().map(|it| it.0).max(), sizes.iter().map(|it| it.1).max());
    let (middle, last, all) = (most(&sizes[third..2 * third]), most(&sizes[2 * third..]), most(sizes));
    println!("at the most, KiB and descriptors: {all:?}; in the second third {middle:?}, in the last {last:?}");
    let mut grown = Vec::new();
    let mut bound = |what: &str, held: Option<u64>, most: u64| {
        let held = held.unwrap_or(u64::MAX);
        if held > most {
            let what = format!("{held} {what}, where {most} are the most");
            grown.push(Violation { promise: "P12", submission: String::new(), what });
        }
    };
    bound("KiB of memory", all.0, 160 * 1024);
    bound("descriptors", all.1, 100);
    if time >= LONG {
        bound("KiB of memory in the last third", last.0, middle.0.unwrap_or(0) * 11 / 10 + 4 * 1024);
        bound("descriptors in the last third", last.1, middle.1.unwrap_or(0) + 8);
    }
    grown
}
