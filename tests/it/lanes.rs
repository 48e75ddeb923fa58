//! The lanes at work: what is due is done, a request at a time, and what commands ask for is done beside it.

use std::collections::HashMap;

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::domain::lane::Lane;
use argos_sync::heartbeat::Heartbeat;
use argos_sync::simulator::Options;
use argos_sync::store::id_reads::{self, Reason};
use argos_sync::sync::engine::{Engine, Turn};
use chrono::{TimeDelta, TimeZone, Utc};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::Database;
use crate::support::program::{self, Program};
use crate::support::vendor::{Reply, Vendor};
use crate::support::world::{World, install_tls, settings};

/// A world in which time passes only when a test lets it.
async fn world(initial: u64, changes: &[(&str, &str)]) -> World {
    let clock = Clock::manual(Utc.with_ymd_and_hms(2026, 3, 10, 12, 0, 0).unwrap());
    let options = Options { initial, history: std::time::Duration::from_secs(40 * 86_400), ..Options::default() };
    let world = World::with(options, changes, clock).await;
    world.simulator.freeze();
    world
}

/// Takes turns, with time passing as the plan asks for, until `done` says so; at most so long.
async fn until(world: &World, engine: &mut Engine, most: TimeDelta, mut done: impl AsyncFnMut() -> bool) {
    let end = world.app.clock.now() + most;
    while !done().await {
        let now = world.app.clock.now();
        assert!(now < end, "not within {most}");
        match engine.turn().await.unwrap() {
            Turn::Rest(until) => world.app.clock.advance(until - now),
            _ => world.app.clock.advance(TimeDelta::milliseconds(100)),
        }
    }
}

#[tokio::test]
async fn p1_a_round_of_the_hot_lane_is_counted_from_its_first_request() {
    // Every answer takes six seconds, and a page holds one of five submissions.
    let clock = Clock::manual(Utc.with_ymd_and_hms(2026, 3, 10, 12, 0, 0).unwrap());
    let time = clock.clone();
    let vendor = Vendor::start(move |_, request| {
        time.advance(TimeDelta::seconds(6));
        let parameters: HashMap<String, String> = request.parameters().into_iter().collect();
        let created_at = |n: usize| format!("2026-03-10T0{n}:00:00.000Z");
        let item = |n| json!({"submission_id": format!("s{n}"), "created_at": created_at(n)});
        if let Some(id) = parameters.get("submission_id") {
            return Reply::json(json!({"Items": [item(id[1..].parse().unwrap())]}).to_string());
        }
        let day = |name, otherwise| parameters.get(name).map_or(otherwise, String::as_str);
        let (start, end) = (day("start_date", "2026-03-10"), day("end_date", "2026-03-10"));
        match (start.len(), parameters.get("nextpage_id").map_or(0, |id| id.parse().unwrap())) {
            (8, _) => Reply::status(400, "", r#"{"errorCode":"invalid_format"}"#),
            _ if !(start..=end).contains(&"2026-03-10") => Reply::json(r#"{"Items":[]}"#),
            (_, 4) => Reply::json(json!({"Items": [item(4)]}).to_string()),
            (_, n) => {
                let next = json!({"id": (n + 1).to_string(), "created_at": created_at(n)});
                Reply::json(json!({"Items": [item(n)], "nextpageKey": next}).to_string())
            }
        }
    })
    .await;
    install_tls();
    let database = Database::fresh().await;
    let changes = [("api.count", "1"), ("poll.interval", "60s")];
    let app = App::open(settings(&vendor.base_url(), &database.url, &changes), clock.clone()).await.unwrap();
    let (heartbeat, stop) = (Heartbeat::new(), CancellationToken::new());
    let mut engine = app.engine(&app.settings.projects[0], "test", &heartbeat, &stop).await.unwrap();
    let began = "select extract(epoch from started_at)::bigint from argos.walks where lane = 'hot'";
    let mut rounds = Vec::new();
    while rounds.len() < 6 {
        match engine.turn().await.unwrap() {
            Turn::Rest(until) => clock.advance(until - clock.now()),
            Turn::Ended(report) if report.lane == Lane::Hot => rounds.push(database.number(began).await),
            _ => {}
        }
    }
    // The first ones come beside the probe and the import. Later, a request of another lane may be under way.
    let gaps: Vec<_> = rounds.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps[2..].iter().all(|gap| (60..=66).contains(gap)), "{gaps:?}");
}

#[tokio::test]
async fn p9_a_clock_that_goes_back_stops_no_lane() {
    let world = world(60, &[("poll.interval", "1m")]).await;
    let mut engine = world.engine().await;
    let imported = "select count(*) from argos.projects where import_completed_at is not null";
    until(&world, &mut engine, TimeDelta::hours(1), async || world.database.number(imported).await == 1).await;
    world.app.clock.advance(TimeDelta::days(1));
    let mut rested = false;
    while !rested {
        rested = matches!(engine.turn().await.unwrap(), Turn::Rest(_));
    }
    world.app.clock.advance(TimeDelta::days(-1));
    let end = world.app.clock.now() + TimeDelta::minutes(3);
    loop {
        let now = world.app.clock.now();
        assert!(now < end, "the hot lane waits for a day that was there already");
        match engine.turn().await.unwrap() {
            Turn::Rest(until) => world.app.clock.advance((until - now).min(TimeDelta::minutes(1))),
            Turn::Ended(report) if report.lane == Lane::Hot => break,
            _ => world.app.clock.advance(TimeDelta::milliseconds(100)),
        }
    }
}

fn id(world: &World, place: usize) -> String {
    world.simulator.truth()[place]["submission_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn p1_run_imports_by_itself_and_then_sees_a_change_of_any_age() {
    let world = world(300, &[]).await;
    let mut engine = world.engine().await;
    let database = &world.database;
    until(&world, &mut engine, TimeDelta::hours(1), async || {
        database.number("select count(*) from argos.outbox where type = 'project.import_completed'").await == 1
    })
    .await;
    assert_eq!(database.number("select count(*) from argos.submissions").await, 300);
    let counted = "select coalesce(sum(submissions), 0) from argos.created_days";
    assert_eq!(database.number(counted).await, 300, "the calendar counts what is stored");
    let open = "select count(*) from argos.submissions where kyc_result in ('incomplete', 'pending')";
    let open_days = "select coalesce(sum(open), 0) from argos.created_days";
    assert_eq!(database.number(open_days).await, database.number(open).await);

    // The oldest becomes a Red Flag; within what the plan says it is told.
    let oldest = id(&world, 0);
    world.simulator.patch(&oldest, json!({"aml": {"currentstatus": "Red Flag"}, "kyc": {"result": "approved"}}));
    let within = engine.forecast().await.unwrap().sweep.unwrap().seen_within;
    let told = format!(
        "select count(*) from argos.submissions where submission_id = '{oldest}' and aml_currentstatus = 'Red Flag'"
    );
    until(&world, &mut engine, TimeDelta::from_std(within).unwrap(), async || database.number(&told).await == 1).await;
}

#[tokio::test]
async fn p7_who_vanishes_is_noticed_by_a_walk_and_erased_after_two_answers_by_id() {
    let world = world(200, &[("poll.interval", "10m"), ("erasure.confirm_after", "2h")]).await;
    let mut engine = world.engine().await;
    let database = &world.database;
    let imported = "select count(*) from argos.projects where import_completed_at is not null";
    until(&world, &mut engine, TimeDelta::hours(1), async || database.number(imported).await == 1).await;
    let gone = id(&world, 20);
    world.simulator.remove(&gone);

    let within = TimeDelta::from_std(engine.forecast().await.unwrap().sweep.unwrap().seen_within).unwrap();
    let suspected = format!("select count(*) from argos.erasures where submission_id = '{gone}' and kind = 'gone'");
    until(&world, &mut engine, within + TimeDelta::minutes(10), async || database.number(&suspected).await == 1).await;
    assert_eq!(database.number("select count(*) from argos.erasures").await, 1, "nobody else is suspected");
    let kept = format!("select count(*) from argos.submissions where submission_id = '{gone}' and gone_at is null");
    assert_eq!(database.number(&kept).await, 1, "nothing is believed yet");

    let erased =
        format!("select count(*) from argos.submissions where submission_id = '{gone}' and gone_at is not null");
    until(&world, &mut engine, TimeDelta::hours(7), async || database.number(&erased).await == 1).await;
    assert_eq!(database.number("select count(*) from argos.outbox where type = 'submission.erased'").await, 1);
    assert_eq!(database.number("select sum(submissions) from argos.created_days").await, 199);
    // From then on its day is complete without it.
    until(&world, &mut engine, within * 2, async || {
        let covered = format!(
            "select count(*) from argos.created_days d join argos.submissions s on s.created_day = d.day
              where s.submission_id = '{gone}' and d.covered_at > s.gone_at and d.verify_since is null"
        );
        database.number(&covered).await == 1
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_tells_what_would_change_and_writes_nothing() {
    let world = world(120, &[("api.count", "50")]).await;
    let mut dry = world.engine().await;
    dry.only_try();
    let would = dry.once().await.unwrap();
    dry.release().await.unwrap();
    for table in ["submissions", "submission_versions", "outbox", "walks", "counters"] {
        assert_eq!(world.database.number(&format!("select count(*) from argos.{table}")).await, 0, "{table}");
    }
    let does = world.engine().await.once().await.unwrap();
    assert_eq!((would.counts.new, would.pages, would.complete), (does.counts.new, does.pages, true));
    assert_eq!(would.counts.new, 120);
}

#[tokio::test]
async fn p1_a_submission_that_somebody_asks_for_is_read_next() {
    let world = world(60, &[]).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    let old = id(&world, 3);
    world.simulator.patch(&old, json!({"kyc": {"result": "rejected"}, "data": {"cf1": "other"}}));
    let (shown, counts) = engine.refresh(&old).await.unwrap();
    assert!(shown && counts.changed == 1, "{counts:?}");

    world.simulator.patch(&old, json!({"data": {"cf1": "another"}}));
    let mut connection = world.app.pool.acquire().await.unwrap();
    let now = world.app.clock.now();
    id_reads::push(&mut connection, "default", std::slice::from_ref(&old), Reason::Refresh, now).await.unwrap();
    drop(connection);
    world.app.clock.advance(TimeDelta::minutes(2));
    let database = &world.database;
    let read = "select (select count(*) from argos.id_reads) + (select count(*) from argos.submission_versions
                          where cause = 'change' and lane = 'refresh')";
    until(&world, &mut engine, TimeDelta::minutes(1), async || database.number(read).await == 2).await;

    let (shown, _) = engine.refresh("nobody").await.unwrap();
    assert!(!shown);
    assert_eq!(database.number("select count(*) from argos.erasures").await, 0, "nobody is stored of that name");
}

#[tokio::test]
async fn p1_the_canary_finds_what_was_written_by_hand() {
    let world = world(1, &[]).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    engine.canary().await.unwrap();
    let divergences = |kind: &str| {
        let page = world.app.metrics.encode().unwrap();
        let name = format!("argos_sync_canary_divergences_total{{kind=\"{kind}\",project=\"default\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned)).unwrap()
    };
    assert_eq!((divergences("columns"), divergences("missed")), ("0".to_owned(), "0".to_owned()));
    world.database.execute("update argos.submissions set kyc_result = 'by hand'").await;
    engine.canary().await.unwrap();
    assert_eq!(divergences("columns"), "1");
    let version = "select count(*) from argos.submission_versions where lane = 'canary'";
    assert_eq!(world.database.number(version).await, 0, "nothing had changed at the vendor's");
    assert_eq!(Lane::parse("canary"), Some(Lane::Canary));
}

#[tokio::test]
async fn p3_a_backfill_in_the_foreground_goes_on_where_it_was_interrupted() {
    let world = world(600, &[]).await;
    let base_url = world.simulator.base_url();
    let backfill = |extra: &[&str]| {
        let changes = [("api.count", "20"), ("api.requests_per_second", "40")];
        let args = [&["backfill"], extra].concat();
        Program::start(program::command(&args, &base_url, &world.database.url, &changes))
    };
    let mut first = backfill(&[]);
    let pages = "select coalesce(max(pages), 0) from argos.walks where lane = 'backfill'";
    while world.database.number(pages).await < 3 {
        tokio::task::yield_now().await;
    }
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().await.code, Some(130));
    let read = world.database.number(pages).await;
    assert!((3..30).contains(&read), "{read}");
    let before = world.simulator.requests().len();
    let ended = backfill(&[]).end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // One request may be the one that the first was waiting for.
    let asked = (world.simulator.requests().len() - before) as i64;
    assert!(asked <= 30 - read, "{asked} requests after {read} pages");
    assert_eq!(world.database.number("select count(*) from argos.submissions").await, 600);
    let ended = backfill(&[]).end().await;
    assert!(ended.stdout.contains("the import is complete"), "{ended:?}");
    let ended = backfill(&["--from", "2026-03-01", "--to", "2026-03-05"]).end().await;
    assert!(ended.stdout.contains("complete in"), "{ended:?}");
}
