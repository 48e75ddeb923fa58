//! What the main table does not show: memory, growth, latency, a slow network.

use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::{DateTime, Days};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::items::{self, Changed, Form, Times};
use crate::measure;
use crate::phases::{Did, OURS, once};
use crate::report::Report;
use crate::stage::{Stage, connect};
use crate::truth::{State, Truth};
use crate::{Error, Result};

/// Resident memory over an import: whether it goes on growing.
pub async fn memory(stage: &mut Stage, submissions: u64) -> Result<Report> {
    stage.prepare("v0", submissions, Form::default())?;
    let truth = Truth::of(stage, &[State::V0]).await?;
    stage.fresh(OURS).await?;
    stage.server.serve("v0", submissions, Duration::ZERO)?;
    let (ran, cost) = once(stage, OURS, &[], Did { new: submissions, ..Did::default() }).await?;
    truth.check(stage, OURS, State::V0).await?;
    let most = |from: f64, to: f64| {
        let within = ran.resident.iter().filter(|(at, _)| (from * ran.wall..to * ran.wall).contains(at));
        within.map(|(_, kib)| *kib).max().unwrap_or(0) as f64 / 1024.0
    };
    let mut report = Report::default();
    report.add("import, memory", submissions, cost);
    report.find("memory: most resident in the second quarter of the import, MiB", most(0.25, 0.5));
    report.find("memory: most resident in its last quarter, MiB", most(0.75, 1.0));
    stage.drop_database(OURS).await?;
    Ok(report)
}

/// What a submission costs when so many are stored: the newest ones are imported on top, changed, and read again.
pub async fn growth(stage: &mut Stage, few: u64, many: u64) -> Result<Report> {
    if many <= few {
        return Err(
            format!("growth compares {few} stored submissions with more: ask for --submissions over that").into()
        );
    }
    stage.prepare("v0", many, Form::default())?;
    stage.prepare("v1", many, Form { changed: Changed::OnePercent, reading: 0 })?;
    let (mut report, mut each) = (Report::default(), Vec::new());
    for stored in [few, many] {
        // The window: the last of them, and the day before, which is asked for as well.
        let window = few / 2;
        let below = stored - window;
        let since = DateTime::from_timestamp_millis(stage.times.of(below)).ok_or("no such time")?.date_naive();
        let from = stage.times.first_on(since - Days::new(1));
        let read = stored - from;
        let setting = since.to_string();
        let since = [("poll.since", setting.as_str())];

        stage.fresh(OURS).await?;
        stage.server.serve("v0", below, Duration::ZERO)?;
        let (_, cost) = once(stage, OURS, &[], Did { new: below, ..Did::default() }).await?;
        report.add(&format!("import, {below} at the end"), below, cost);
        stage.server.serve("v0", stored, Duration::ZERO)?;
        let did = Did { new: window, unchanged: read - window, ..Did::default() };
        let new = once(stage, OURS, &since, did).await?.1;
        stage.server.serve("v1", stored, Duration::ZERO)?;
        let changed = (from..stored).filter(|place| items::changes(*place)).count() as u64;
        let did = Did { changed, unchanged: read - changed, ..Did::default() };
        let differ = once(stage, OURS, &since, did).await?.1;
        let same = once(stage, OURS, &since, Did { unchanged: read, ..Did::default() }).await?.1;
        for (what, submissions, cost) in [("new", window, new), ("1% changed", read, differ), ("unchanged", read, same)]
        {
            each.push((what, (cost.client_cpu + cost.postgres_cpu) / submissions as f64));
            report.add(&format!("{what}, {stored} stored"), submissions, cost);
        }
        stage.drop_database(OURS).await?;
    }
    let (before, after) = each.split_at(each.len() / 2);
    for ((what, before), (_, after)) in before.iter().zip(after) {
        report.find(&format!("growth: CPU per submission, {what}, {many} stored against {few}"), after / before);
    }
    Ok(report)
}

/// One page needs so long.
const SLOW: Duration = Duration::from_millis(200);

/// A slow network: how fast, against one request at a time.
pub async fn network(stage: &mut Stage, submissions: u64) -> Result<Report> {
    stage.prepare("v0", submissions, Form::default())?;
    let truth = Truth::of(stage, &[State::V0]).await?;
    let mut report = Report::default();
    let mut walls = Vec::new();
    for delay in [Duration::ZERO, SLOW] {
        stage.fresh(OURS).await?;
        stage.server.serve("v0", submissions, delay)?;
        let new = Did { new: submissions, ..Did::default() };
        let same = Did { unchanged: submissions, ..Did::default() };
        for (what, did) in [("import", new), ("unchanged", same)] {
            let before = stage.server.served()?.requests;
            let cost = once(stage, OURS, &[], did).await?.1;
            truth.check(stage, OURS, State::V0).await?;
            let requests = (stage.server.served()?.requests - before) as f64;
            walls.push((what, cost.wall, requests));
            report.add(&format!("{what}, {} ms a page", delay.as_millis()), submissions, cost);
        }
        stage.drop_database(OURS).await?;
    }
    let (quick, slow) = walls.split_at(2);
    for ((what, quick, requests), (_, slow, _)) in quick.iter().zip(slow) {
        let one_by_one = quick + requests * SLOW.as_secs_f64();
        report.find(
            &format!("network: rate of {what} at 200 ms a page, against one request at a time"),
            one_by_one / slow,
        );
    }
    Ok(report)
}

/// How many changes are timed.
const SAMPLES: u64 = 60;

/// How often it is asked whether a change has been committed: the figures are too large by half of it.
const ASK: Duration = Duration::from_millis(2);

/// From a change at the vendor's to its committed events, with a poll every second; and from the daemon's start to the first.
/// On a stage of its own, whose newest submissions were created today.
pub async fn latency(submissions: u64) -> Result<Report> {
    // 100 a day: the newest days are one page.
    let spacing = 864_000;
    let now = argos_sync::clock::Clock::system().now().timestamp_millis();
    let mut stage = Stage::start(Times { first: now - submissions as i64 * spacing, spacing }).await?;
    let result = latency_on(&mut stage, submissions).await;
    let stopped = stage.stop().await;
    let report = result?;
    stopped?;
    Ok(report)
}

async fn latency_on(stage: &mut Stage, submissions: u64) -> Result<Report> {
    stage.prepare("v0", submissions, Form::default())?;
    stage.fresh(OURS).await?;
    stage.server.serve("v0", submissions, Duration::ZERO)?;
    let new = Did { new: submissions, ..Did::default() };
    once(stage, OURS, &[], new).await?;
    let mut connection = connect(&stage.cluster, OURS).await?;

    // The budget that is shipped does not pay a poll every second.
    let settings = [("poll.interval", "1s"), ("api.requests_per_day", "100000000"), ("http.listen", "127.0.0.1:0")];
    let first = submissions - 1;
    stage.server.change(first)?;
    let begun = Instant::now();
    let mut daemon = stage.program(OURS, &["run"], &settings)?.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let started = seen(&mut connection, first, begun).await;
    let result = match started {
        Ok(started) => timed(stage, &mut connection, daemon.id(), submissions, started).await,
        Err(error) => Err(error),
    };
    kill(Pid::from_raw(daemon.id().try_into()?), Signal::SIGTERM)?;
    daemon.wait()?;
    connection.close().await?;
    result
}

async fn timed(
    stage: &Stage,
    connection: &mut PgConnection,
    daemon: u32,
    submissions: u64,
    started: f64,
) -> Result<Report> {
    let mut latencies = Vec::new();
    for nth in 1..=SAMPLES {
        // At any moment of the interval: else each change would come right after a poll.
        tokio::time::sleep(Duration::from_millis(nth * 617 % 1000)).await;
        let place = submissions - 1 - nth;
        let begun = Instant::now();
        stage.server.change(place)?;
        latencies.push(seen(connection, place, begun).await?);
    }
    latencies.sort_by(f64::total_cmp);
    let quantile = |of: f64| latencies[((latencies.len() - 1) as f64 * of).round() as usize];
    let memory = measure::memory(daemon).ok_or("the daemon has ended")?;
    let mut report = Report::default();
    report.find("latency: from the daemon's start to its first committed page, s", started);
    report.find("latency: from a change to its committed events, p50, s", quantile(0.5));
    report.find("latency: the same, p99, s", quantile(0.99));
    report.find("memory: the daemon, polling every second, resident, MiB", memory.resident_kib as f64 / 1024.0);
    Ok(report)
}

/// Waits until the change of a submission is committed, with its last event; seconds since `begun`.
async fn seen(connection: &mut PgConnection, place: u64, begun: Instant) -> Result<f64> {
    let sql = "select exists (select from argos.outbox where project_id = 'bench' and submission_id = $1
                                and type = 'submission.updated')";
    let id = items::id_of(place);
    while begun.elapsed() < Duration::from_secs(60) {
        if sqlx::query_scalar(sql).bind(&id).fetch_one(&mut *connection).await? {
            return Ok(begun.elapsed().as_secs_f64());
        }
        tokio::time::sleep(ASK).await;
    }
    Err(Error::from("a change was not seen within a minute"))
}
