//! The main job: what the vendor shows is in the tables, and every change is an event.

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::simulator::{Options, Simulator};
use argos_sync::store::erasure;

use crate::support::World;
use crate::support::rows::written;
use crate::support::world::settings;

#[tokio::test]
async fn p2_the_second_pass_over_unchanged_data_writes_nothing_in_data_tables() {
    let world = World::new(Options { initial: 300, ..Options::default() }).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    let first = engine.once().await.unwrap();
    assert!(first.complete);
    assert_eq!(first.counts.new, 300);
    let before = written(&world.database).await;

    let second = engine.once().await.unwrap();
    assert_eq!((second.counts.items, second.counts.unchanged), (300, 300));
    let hot = engine.hot().await.unwrap();
    assert_eq!(hot.counts.unchanged, hot.counts.items);
    assert_eq!(written(&world.database).await, before);
}

#[tokio::test]
async fn p1_a_cursor_of_another_list_is_not_followed() {
    let changes = [("api.count", "10"), ("api.requests_per_day", "2")];
    let world = World::with(Options { initial: 50, ..Options::default() }, &changes, Clock::system()).await;
    let mut engine = world.engine().await;
    assert!(engine.once().await.is_err(), "the budget ends the walk after two pages");
    engine.release().await.unwrap();
    assert_eq!(world.database.number("select pages from argos.walks where completed_at is null").await, 2);

    let other =
        Simulator::start(Options { seed: 2, initial: 30, ..Options::default() }, Clock::system()).await.unwrap();
    let settings = settings(&other.base_url(), &world.database.url, &[("api.count", "10")]);
    let app = App::open(settings, Clock::system()).await.unwrap();
    // Known submissions are not there, so an operator has to say that this list is meant.
    let mut connection = world.database.pool.acquire().await.unwrap();
    assert!(erasure::set_source(&mut connection, "default", None).await.unwrap());
    let report = world.engine_in(&app, "corrected").await.once().await.unwrap();
    assert_eq!((report.complete, report.counts.items), (true, 30), "the other list is read from its beginning");
}

#[tokio::test]
async fn a_schema_of_another_build_is_refused_and_not_migrated() {
    let world = World::new(Options { initial: 1, ..Options::default() }).await;
    world.app.prepare_database().await.unwrap();
    sqlx::raw_sql("update argos._sqlx_migrations set checksum = '\\x00'").execute(&world.database.pool).await.unwrap();
    let error = world.app.prepare_database().await.unwrap_err();
    assert!(error.advice().contains("another build"), "{error}: {}", error.advice());
}
