//! P8: the budget of a day, shared, in blocks, and what happens when it is spent.

use argos_sync::argos::error::ApiError;
use argos_sync::clock::Clock;
use argos_sync::simulator::{Faults, Options};
use argos_sync::store::budget;
use argos_sync::sync::engine::Turn;
use argos_sync::sync::error::SyncError;
use chrono::TimeDelta;

use crate::support::{Database, World};

/// A project's row, which the budget's rows refer to.
async fn project(database: &Database) {
    let sql = "insert into argos.projects (project_id, name, import_started_at) values ('default', 'd', now())";
    sqlx::raw_sql(sql).execute(&database.pool).await.unwrap();
}

#[tokio::test]
async fn p8_a_block_is_at_most_a_hundredth_and_lives_until_midnight_utc() {
    let database = Database::fresh().await;
    project(&database).await;
    let mut connection = database.pool.acquire().await.unwrap();
    for (per_day, expected) in [(100_000, 1000), (250, 2), (199, 1), (100, 1), (7, 1), (1, 1)] {
        sqlx::raw_sql("delete from argos.request_budget").execute(&mut *connection).await.unwrap();
        let before = database.number("select extract(epoch from date_trunc('day', clock_timestamp(), 'UTC') + '1 day' - clock_timestamp())::bigint").await;
        let block = budget::reserve(&mut connection, "default", per_day).await.unwrap();
        assert_eq!((block.requests, block.remaining), (expected, per_day - expected), "{per_day}");
        let left = i64::try_from(block.valid_for.as_secs()).unwrap();
        assert!((before - left).abs() <= 2 || left > 86_390, "{left} and {before} seconds to midnight");
    }
    // To the last request, and not one more; the last block is what is left.
    sqlx::raw_sql("delete from argos.request_budget").execute(&mut *connection).await.unwrap();
    let mut blocks = Vec::new();
    loop {
        let block = budget::reserve(&mut connection, "default", 250).await.unwrap();
        if block.requests == 0 {
            break;
        }
        blocks.push(block.requests);
    }
    assert_eq!((blocks.len(), blocks.iter().sum::<u64>()), (125, 250));
    assert_eq!(database.number("select reserved from argos.request_budget").await, 250);
    // A smaller budget than what is reserved already (a changed setting): nothing, and no panic.
    let block = budget::reserve(&mut connection, "default", 10).await.unwrap();
    assert_eq!((block.requests, block.remaining), (0, 0));
}

#[tokio::test]
async fn p8_blocks_reserved_at_once_do_not_overlap_and_die_with_their_day() {
    let database = Database::fresh().await;
    project(&database).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let pool = database.pool.clone();
        tasks.spawn(async move {
            let mut got = 0;
            for _ in 0..50 {
                got += budget::reserve(&mut pool.acquire().await.unwrap(), "default", 300).await.unwrap().requests;
            }
            got
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u64>(), 300);
    // Yesterday's reservations are yesterday's.
    sqlx::raw_sql("update argos.request_budget set day = day - 1").execute(&database.pool).await.unwrap();
    let block = budget::reserve(&mut database.pool.acquire().await.unwrap(), "default", 300).await.unwrap();
    assert_eq!((block.requests, block.remaining), (3, 297));
}

#[tokio::test]
async fn p8_no_more_requests_than_the_budget_reach_the_server() {
    let options = Options { initial: 100, ..Options::default() };
    let changes = [("api.count", "10"), ("api.requests_per_day", "14")];
    let world = World::with(options, &changes, Clock::system()).await;
    let mut first = world.engine_of(0, "a").await;
    let mut second = world.engine_of(0, "b").await;
    assert_eq!(first.once().await.unwrap().pages, 10);
    first.release().await.unwrap();
    // The other engine shares what is left: it gets as far as that, keeps what it read, and says why it stops.
    let spent = |result| matches!(result, Err(SyncError::Api(ApiError::BudgetSpent)));
    assert!(spent(second.once().await));
    assert_eq!(
        world.database.number("select pages from argos.walks where lane = 'once' and completed_at is null").await,
        4
    );
    for _ in 0..3 {
        assert!(spent(second.once().await));
        assert!(spent(second.hot().await));
    }
    assert_eq!(world.simulator.requests().len(), 14, "requests seen by the server");
    let page = world.app.metrics.encode().unwrap();
    assert!(page.contains("argos_sync_request_errors_total{kind=\"budget_spent\",project=\"default\"} 7"), "{page}");
    assert!(page.contains("argos_sync_request_budget_remaining{project=\"default\"} 0"));
    // Nothing is due before the end of the day; whether that has come is looked at every minute.
    let Turn::Rest(until) = second.turn().await.unwrap() else { panic!("there is nothing to do it with") };
    assert!(until - world.app.clock.now() <= TimeDelta::minutes(1), "{until}");
    // The next day goes on where this one stopped.
    sqlx::raw_sql("update argos.request_budget set day = day - 1").execute(&world.database.pool).await.unwrap();
    let report = second.once().await.unwrap();
    assert!(report.complete);
    assert_eq!(world.simulator.requests().len(), 20, "none was read twice");
}

#[tokio::test]
async fn p9_a_day_whose_budget_was_all_reserved_ends_at_midnight() {
    for database_is_behind in [false, true] {
        let clock = Clock::manual("2026-03-10T23:59:20Z".parse().unwrap());
        let changes = [("api.requests_per_day", "100")];
        let world = World::with(Options { initial: 20, ..Options::default() }, &changes, clock.clone()).await;
        let mut engine = world.engine().await;
        engine.once().await.unwrap();
        world.database.execute("update argos.request_budget set reserved = 100").await;
        let Turn::Rest(until) = engine.turn().await.unwrap() else { panic!("there is nothing to do it with") };
        assert!(until <= "2026-03-11T00:00:00Z".parse::<argos_sync::clock::Timestamp>().unwrap(), "{until}");
        // By this clock the next day has begun, less than a minute after the budget was looked at.
        clock.advance(TimeDelta::seconds(41));
        if database_is_behind {
            let Turn::Rest(until) = engine.turn().await.unwrap() else { panic!("it is still yesterday there") };
            assert!(until - clock.now() <= TimeDelta::minutes(1), "{until}");
            clock.advance(until - clock.now());
        }
        world.database.execute("delete from argos.request_budget").await;
        let turn = engine.turn().await.unwrap();
        assert!(!matches!(turn, Turn::Rest(_)), "behind: {database_is_behind}: {turn:?}");
    }
}

#[tokio::test]
async fn p8_tries_cost_budget_and_a_refill_does_not_begin_them_anew() {
    // With 150 requests a day, a block is one request: every try needs another.
    let changes = [("api.requests_per_day", "150"), ("api.retries", "3")];
    let world = World::with(Options { initial: 10, ..Options::default() }, &changes, Clock::system()).await;
    world.simulator.set_faults(Faults::parse("status-500").unwrap());
    let mut engine = world.engine().await;
    let result = engine.once().await;
    assert!(matches!(result, Err(SyncError::Api(ApiError::ServerFailed { .. }))), "{result:?}");
    assert_eq!(world.simulator.requests().len(), 4, "one try and three more, whatever the size of a block");
    assert_eq!(world.database.number("select reserved from argos.request_budget").await, 4);
}

#[tokio::test]
async fn p8_polling_stretches_before_the_budget_is_spent() {
    let changes = [("api.requests_per_day", "1000"), ("poll.interval", "1s")];
    let world = World::with(Options { initial: 10, ..Options::default() }, &changes, Clock::system()).await;
    let mut engine = world.engine().await;
    engine.hot().await.unwrap();
    let forecast = engine.forecast().await.unwrap();
    let seconds = world.database.number("select extract(epoch from date_trunc('day', clock_timestamp(), 'UTC') + '1 day' - clock_timestamp())::bigint").await;
    // As many rounds as still fit into the day cost no more than what is left of it.
    let rounds = seconds as f64 / forecast.hot.every.as_secs_f64();
    assert!(forecast.hot.short && rounds * forecast.hot.round as f64 <= 1000.0, "{forecast:?}");
    while !matches!(engine.turn().await.unwrap(), Turn::Rest(_)) {}
    let page = world.app.metrics.encode().unwrap();
    assert!(page.contains("argos_sync_lane_short{lane=\"hot\",project=\"default\"} 1"), "{page}");
}

#[tokio::test]
async fn p8_short_runs_cost_what_they_use() {
    let world = World::with(
        Options { initial: 10, ..Options::default() },
        &[("api.requests_per_day", "1000")],
        Clock::system(),
    )
    .await;
    for run in 1..=3 {
        let mut engine = world.engine().await;
        engine.once().await.unwrap();
        assert_eq!(world.database.number("select reserved from argos.request_budget").await, run - 1 + 10, "a block");
        engine.release().await.unwrap();
        assert_eq!(world.database.number("select reserved from argos.request_budget").await, run, "what was used");
    }
}
