//! The main job: what the vendor shows is in the tables, and every change is an event.

use argos_sync::simulator::Options;

use crate::support::World;

#[tokio::test]
async fn p2_the_second_pass_over_unchanged_data_writes_nothing_in_data_tables() {
    let world = World::new(Options { initial: 300, ..Options::default() }).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    let first = engine.once().await.unwrap();
    assert!(first.complete);
    assert_eq!(first.counts.new, 300);
    let before = written(&world).await;

    let second = engine.once().await.unwrap();
    assert_eq!((second.counts.items, second.counts.unchanged), (300, 300));
    let hot = engine.hot().await.unwrap();
    assert_eq!(hot.counts.unchanged, hot.counts.items);
    assert_eq!(written(&world).await, before);
}

/// Every row of every data table, with the transaction that wrote it and its place on disk.
async fn written(world: &World) -> Vec<String> {
    let mut written = Vec::new();
    for table in DATA_TABLES {
        let query = format!("select xmin, ctid, t.* from argos.{table} t order by ctid");
        written.push(format!("{table}: {}", world.database.fingerprint(&query).await));
    }
    written
}

/// Where "nothing is written" holds; the other tables are progress, budget, coverage and lease.
const DATA_TABLES: &[&str] = &[
    "submissions",
    "attempts",
    "aml_matches",
    "bank_verifications",
    "submission_views",
    "submission_versions",
    "outbox",
    "outbox_counter",
    "quarantine",
    "counters",
];
