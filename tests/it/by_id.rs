//! A submission that the vendor cannot serve by id holds up nobody else: its lane goes on with the next one, and the other
//! lanes do not wait.

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::domain::lane::Lane;
use argos_sync::simulator::{Faults, Options};
use argos_sync::store::id_reads::{self, Reason};
use argos_sync::sync::engine::{Engine, Turn};
use argos_sync::sync::error::SyncError;
use chrono::{TimeDelta, TimeZone, Utc};
use serde_json::json;

use crate::support::World;
use crate::support::world::settings;

/// Answers by which a vendor may refuse one id alone.
const GONE: [(u16, &str); 2] = [(410, ""), (200, r#"{"success":false,"errorCode":"missing_data"}"#)];
const FAILED: [(u16, &str); 3] = [
    (422, ""),
    (500, r#"{"errorCode":"processing_error"}"#),
    (200, r#"{"success":false,"errorCode":"processing_error"}"#),
];

async fn world(initial: u64, changes: &[(&str, &str)]) -> World {
    let clock = Clock::manual(Utc.with_ymd_and_hms(2026, 3, 10, 12, 0, 0).unwrap());
    let options = Options { initial, history: std::time::Duration::from_secs(40 * 86_400), ..Options::default() };
    let changes = [&[("api.retries", "0"), ("poll.canary_interval", "300d")], changes].concat();
    let world = World::with(options, &changes, clock).await;
    world.simulator.freeze();
    world
}

fn ids(world: &World) -> Vec<String> {
    world.simulator.truth().iter().map(|item| item["submission_id"].as_str().unwrap().to_owned()).collect()
}

/// Takes turns, none of which may fail, until `done` says so; at most so long.
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

async fn imported(world: &World, engine: &mut Engine) {
    let sql = "select count(*) from argos.projects where import_completed_at is not null";
    until(world, engine, TimeDelta::hours(1), async || world.database.number(sql).await == 1).await;
}

#[tokio::test]
async fn p10_a_round_over_open_submissions_goes_on_after_one_that_cannot_be_read() {
    // Two open submissions on a day that takes three pages to walk: they are read one by one.
    let changes = [("api.count", "5"), ("poll.interval", "10m"), ("poll.sweep_interval", "2d")];
    let world = world(200, &changes).await;
    for item in world.simulator.truth() {
        world.simulator.patch(item["submission_id"].as_str().unwrap(), json!({"kyc": {"result": "approved"}}));
    }
    let mut two = ids(&world)[100..102].to_vec();
    two.sort();
    for id in &two {
        world.simulator.patch(id, json!({"created_at": "2026-03-05T10:00:00.000Z", "kyc": {"result": "pending"}}));
    }
    let mut engine = world.engine().await;
    imported(&world, &mut engine).await;
    // The import asked without dates, so the sweep comes by once, and then not for two days.
    let swept = "select count(*) from argos.created_days where day = '2026-03-05' and covered_at is not null";
    until(&world, &mut engine, TimeDelta::hours(1), async || world.database.number(swept).await == 1).await;
    for (number, (status, body)) in FAILED.into_iter().chain(GONE).enumerate() {
        world.simulator.fail_by_id(&two[0], status, body);
        world.simulator.patch(&two[1], json!({"data": {"cf1": format!("changed {number}")}}));
        let seen = format!(
            "select count(*) from argos.submission_versions
              where submission_id = '{}' and cause = 'change' and lane = 'open'",
            two[1]
        );
        let seen = async || world.database.number(&seen).await == number as i64 + 1;
        // An open submission of that age is looked at every 72 minutes.
        until(&world, &mut engine, TimeDelta::hours(3), seen).await;
        let told = format!("select count(*) from argos.errors where lane = 'open' and message like '%{}%'", two[0]);
        assert_eq!(world.database.number(&told).await, 1, "{status} {body}");
    }
    let page = world.app.metrics.encode().unwrap();
    assert!(page.contains("argos_sync_passes_total{lane=\"open\",outcome=\"failed\",project=\"default\"}"), "{page}");
    let suspected = format!("select count(*) from argos.erasures where submission_id = '{}'", two[0]);
    assert_eq!(world.database.number(&suspected).await, 1, "410 says that it is not there");
}

#[tokio::test]
async fn p10_the_queue_goes_on_after_one_that_cannot_be_read() {
    let world = world(60, &[("poll.interval", "1m")]).await;
    let mut engine = world.engine().await;
    imported(&world, &mut engine).await;
    let two = &ids(&world)[..2];
    let waiting = async |id: &str| {
        let sql = format!("select count(*) from argos.id_reads where submission_id = '{id}'");
        world.database.number(&sql).await == 1
    };
    for (status, body) in FAILED {
        world.simulator.fail_by_id(&two[0], status, body);
        for id in two {
            let mut connection = world.app.pool.acquire().await.unwrap();
            let now = world.app.clock.now();
            id_reads::push(&mut connection, "default", std::slice::from_ref(id), Reason::Refresh, now).await.unwrap();
            world.app.clock.advance(TimeDelta::seconds(1));
        }
        until(&world, &mut engine, TimeDelta::minutes(3), async || !waiting(&two[1]).await).await;
        assert!(waiting(&two[0]).await, "{status}");
        // It is not asked for all the time.
        let asked = |id: &str| world.simulator.requests().iter().filter(|one| one.query.contains(id)).count();
        let (before, end) = (asked(&two[0]), world.app.clock.now() + TimeDelta::minutes(25));
        until(&world, &mut engine, TimeDelta::minutes(26), async || world.app.clock.now() >= end).await;
        assert!((1..=3).contains(&(asked(&two[0]) - before)), "{} in 25 minutes", asked(&two[0]) - before);
        // And the vendor can serve it again.
        world.simulator.set_faults(Faults::default());
        until(&world, &mut engine, TimeDelta::minutes(11), async || !waiting(&two[0]).await).await;
    }
}

#[tokio::test]
async fn p7_a_suspicion_that_cannot_be_looked_at_holds_up_no_other() {
    let world = world(60, &[("erasure.confirm_after", "2h"), ("poll.interval", "10m")]).await;
    let mut engine = world.engine().await;
    imported(&world, &mut engine).await;
    let two = &ids(&world)[..2];
    for id in two {
        world.simulator.remove(id);
        engine.refresh(id).await.unwrap();
        world.app.clock.advance(TimeDelta::seconds(1));
    }
    world.simulator.fail_by_id(&two[0], 422, "");
    let gone = async |id: &str| {
        let sql =
            format!("select count(*) from argos.submissions where submission_id = '{id}' and gone_at is not null");
        world.database.number(&sql).await == 1
    };
    until(&world, &mut engine, TimeDelta::hours(8), async || gone(&two[1]).await).await;
    assert!(!gone(&two[0]).await, "422 says nothing of whether it is there");
    world.simulator.fail_by_id(&two[0], 410, "");
    until(&world, &mut engine, TimeDelta::hours(8), async || gone(&two[0]).await).await;
}

#[tokio::test]
async fn p7_whose_data_it_is_shows_without_the_one_that_cannot_be_read() {
    let world = world(5, &[]).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    engine.release().await.unwrap();
    let all = ids(&world);
    let other = [("api.dialect", "v3"), ("api.retries", "0")];
    let app = App::open(settings(&world.simulator.base_url(), &world.database.url, &other), world.app.clock.clone());
    let app = app.await.unwrap();
    let mut engine = world.engine_in(&app, "other").await;
    // None answers: that is neither the one nor the other.
    all.iter().for_each(|id| world.simulator.fail_by_id(id, 500, ""));
    let result = engine.read_by_id(Lane::Refresh, &all[0]).await;
    assert!(matches!(result, Err(SyncError::OneSubmission { .. })), "{result:?}");
    world.simulator.set_faults(Faults::default());
    world.simulator.fail_by_id(&all[0], 500, "");
    assert!(engine.read_by_id(Lane::Refresh, &all[1]).await.unwrap().0, "four of four answer as the same");
}
