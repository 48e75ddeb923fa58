//! P9: a database that falls silent, without an error and without a closed connection.

use argos_sync::clock::Clock;
use argos_sync::simulator::Options;
use serde_json::json;

use crate::support::World;
use crate::support::daemon::Daemon;
use crate::support::program::eventually;
use crate::support::proxy::Proxy;
use crate::support::rows::submission;

#[tokio::test]
async fn p9_a_database_that_falls_silent_is_told_and_given_up_and_reading_goes_on_when_it_speaks() {
    let world = World::with(Options { initial: 20, ..Options::default() }, &[], Clock::system()).await;
    world.simulator.freeze();
    let proxy = Proxy::before(&world.database).await;
    let changes = [
        ("poll.interval", "1s"),
        ("lease.ttl", "4s"),
        ("database.statement_timeout", "2s"),
        ("database.connect_timeout", "1s"),
        // One that is lost for good would be missed.
        ("database.max_connections", "2"),
        ("log.format", "text"),
    ];
    let daemon = Daemon::between(&world.simulator.base_url(), &proxy.url, &changes).await;
    let imported = "select count(*) from argos.projects where import_completed_at is not null";
    eventually("the import is complete", async || match world.database.number(imported).await {
        1 => Ok(()),
        _ => Err(daemon.output()),
    })
    .await;
    assert_eq!(daemon.database_errors().await, 0);

    // At the first statement of whatever it does, and at the last one of a page, soon after a request to the vendor.
    for (round, row) in [("first", "leases"), ("second", "outbox_counter")] {
        // It falls silent while a statement is under way: its answer does not come, nor that of the server's time-out.
        let mut lock = world.database.pool.begin().await.unwrap();
        let held = format!("select from argos.{row} for update");
        sqlx::query(sqlx::AssertSqlSafe(held)).execute(&mut *lock).await.unwrap();
        let id = world.simulator.truth()[0]["submission_id"].as_str().unwrap().to_owned();
        world.simulator.patch(&id, json!({"memo": {"text": round}}));
        let waits = "select count(*) from pg_stat_activity
                      where datname = current_database() and application_name = 'argos-sync' and wait_event_type = 'Lock'";
        eventually("the daemon waits for the lock", async || match world.database.number(waits).await {
            0 => Err(daemon.output()),
            _ => Ok(()),
        })
        .await;
        proxy.fall_silent();
        lock.rollback().await.unwrap();
        let before = daemon.database_errors().await;
        eventually("it is told", async || match daemon.database_errors().await {
            errors if errors > before => Ok(()),
            _ => Err(daemon.output()),
        })
        .await;
        assert!(daemon.output().contains("the database did not answer in time"), "{}", daemon.output());
        assert_eq!(daemon.get("/livez").await.0, 200, "the loop is not stuck");

        proxy.speak();
        eventually("reading goes on", async || match submission(&world.database, &id).await["memo_text"] == round {
            true => Ok(()),
            false => Err(daemon.output()),
        })
        .await;
    }
    let (code, output, _) = daemon.stop().await;
    assert_eq!(code, Some(0), "{output}");
}
