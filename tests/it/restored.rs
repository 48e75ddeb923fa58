//! `argos-sync restored`: after a backup was restored, nobody of before writes, consumers know, and the mirror converges.

use std::collections::BTreeSet;

use argos_sync::clock::Clock;
use argos_sync::simulator::{Faults, Options};
use argos_sync::store::error::StoreError;
use argos_sync::sync::error::SyncError;
use serde_json::{Value, json};

use crate::support::program::{self, Ended, eventually};
use crate::support::rows::{PLACE_TABLES, written, written_and};
use crate::support::{Database, World, assert_valid_events};

async fn world(initial: u64) -> World {
    let world = World::with(Options { initial, ..Options::default() }, &[("api.count", "50")], Clock::system()).await;
    world.simulator.freeze();
    world
}

async fn restored(world: &World, args: &[&str]) -> Ended {
    let args = [&["restored"], args].concat();
    program::run(program::command(&args, &world.simulator.base_url(), &world.database.url, &[])).await
}

/// Everything that a former leader must not change.
async fn everything(world: &World) -> Vec<String> {
    written_and(&world.database, &[PLACE_TABLES, &["leases"]].concat()).await
}

async fn generation(world: &World) -> i64 {
    world.database.number("select outbox_generation from argos.outbox_counter").await
}

#[tokio::test]
async fn p5_a_leader_of_before_a_restore_cannot_commit() {
    let world = world(200).await;
    let mut former = world.engine_of(0, "twin").await;
    assert!(former.hot().await.unwrap().complete);
    let backup = world.database.backup().await;
    assert_eq!(backup.number("select epoch from argos.leases").await, 1);
    for _ in 0..2 {
        former.release().await.unwrap();
        assert!(former.hot().await.unwrap().complete);
    }
    assert_eq!(world.database.number("select epoch from argos.leases").await, 3);
    let id = world.simulator.truth()[0]["submission_id"].as_str().unwrap().to_owned();
    world.simulator.patch(&id, json!({"kyc": {"result": "rejected"}, "reviewer": "agent"}));

    // While the leader of epoch 3 waits for a page, the backup comes back. Two of its name take the lease after that:
    // counted on from the backup's, their epochs would be 2 and 3.
    world.simulator.set_faults(Faults::parse("slow=8000@1").unwrap());
    let asked = world.simulator.requests().len();
    let restore = async {
        eventually("a page is asked for", async || match world.simulator.requests().len() - asked {
            1.. => Ok(()),
            none => Err(none),
        })
        .await;
        world.database.restore(&backup).await;
        let ended = restored(&world, &["--yes"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("twin held it"), "{ended:?}");
        assert!(ended.stdout.contains("receipts apply"), "{ended:?}");
        let mut next = world.engine_of(0, "twin").await;
        for _ in 0..2 {
            assert!(next.hot().await.unwrap().complete);
            next.release().await.unwrap();
        }
        assert!(next.hot().await.unwrap().complete);
        everything(&world).await
    };
    let (failed, before) = tokio::join!(former.hot(), restore);
    let error = failed.unwrap_err();
    assert!(matches!(error, SyncError::Store(StoreError::LeaseLost { .. })), "{error:?}");
    assert_eq!(everything(&world).await, before, "a leader of before the restore has written");
    assert!(world.database.number("select epoch from argos.leases").await > 100_000_000);
}

type Told = BTreeSet<(String, String, String)>;

/// (submission, type, id) of the events after a position.
async fn told(database: &Database, after: i64) -> Told {
    let sql = "select submission_id, type, id::text from argos.outbox where position > $1";
    sqlx::query_as(sql).bind(after).fetch_all(&database.pool).await.unwrap().into_iter().collect()
}

fn of<'t>(told: &'t Told, id: &'t str) -> impl Iterator<Item = &'t (String, String, String)> {
    told.iter().filter(move |event| event.0 == id)
}

#[tokio::test]
async fn p2_p13_a_restored_mirror_converges_and_the_same_states_have_the_same_ids() {
    let world = world(120).await;
    let mut engine = world.engine().await;
    assert!(engine.once().await.unwrap().complete);
    let backup = world.database.backup().await;
    let position = backup.number("select last_position from argos.outbox_counter").await;

    // After the backup: one changes, one changes twice, one is new.
    let truth = world.simulator.truth();
    let [once, twice] = [3, 7].map(|place: usize| truth[place]["submission_id"].as_str().unwrap());
    world.simulator.patch(once, json!({"kyc": {"result": "rejected"}, "memo": {"text": "first"}}));
    world.simulator.patch(twice, json!({"memo": {"text": "first"}}));
    let created_at = Clock::system().now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    world.simulator.put(json!({"submission_id": "new", "created_at": created_at, "kyc": {"result": "pending"}}));
    assert_eq!(engine.once().await.unwrap().counts.changed, 2);
    world.simulator.patch(twice, json!({"memo": {"text": "second"}}));
    assert_eq!(engine.once().await.unwrap().counts.changed, 1);
    let before = told(&world.database, position).await;
    assert!(of(&before, once).count() >= 2 && of(&before, "new").count() >= 2 && of(&before, twice).count() == 2);

    world.database.restore(&backup).await;
    let old = generation(&world).await;
    let ended = restored(&world, &["--yes"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let new = generation(&world).await;
    assert!(new > old, "{old} {new}");
    assert_eq!(world.database.number("select count(*) from argos.leases where holder is null").await, 1);

    // The same process goes on: it finds its lease gone, and takes the new one.
    let report = engine.once().await.unwrap();
    assert_eq!((report.complete, report.counts.new, report.counts.changed), (true, 1, 2));
    let after = told(&world.database, position).await;
    for id in [once, "new"] {
        assert!(of(&after, id).eq(of(&before, id)), "{id}: {after:?} {before:?}");
    }
    // Of the two states of this one, the first is not served any more: another history, another id.
    assert_eq!(of(&after, twice).count(), 1);
    assert!(of(&after, twice).all(|event| !before.contains(event)));
    assert_valid_events(&world.database.pool).await;
    assert_equal(&world).await;
    let rows = written(&world.database).await;
    assert_eq!(engine.once().await.unwrap().counts.changed, 0);
    assert_eq!(written(&world.database).await, rows);

    // Restored once more from the same backup, the generation is a new one again.
    world.database.restore(&backup).await;
    let ended = restored(&world, &["--yes"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(generation(&world).await > new);
}

/// Every submission's result and memo, here and at the vendor's.
async fn assert_equal(world: &World) {
    let state = |item: &Value| (item["submission_id"].to_string(), item["kyc"].clone(), item["memo"].clone());
    let mut mirrored: Vec<Value> =
        sqlx::query_scalar("select item from argos.submissions").fetch_all(&world.database.pool).await.unwrap();
    let mut truth = world.simulator.truth();
    for items in [&mut mirrored, &mut truth] {
        items.sort_by_key(|item| item["submission_id"].to_string());
        for item in items {
            // Links expire.
            if let Some(attempts) = item["kyc"]["attempts"].as_array_mut() {
                attempts.iter_mut().for_each(|attempt| drop(attempt.as_object_mut().unwrap().remove("selfieImage")));
            }
        }
    }
    assert_eq!(mirrored.len(), 121);
    assert!(mirrored.iter().map(state).eq(truth.iter().map(state)));
}

#[tokio::test]
async fn p8_after_a_restore_the_part_of_the_day_that_has_passed_counts_as_spent() {
    let world = world(10).await;
    assert!(world.engine().await.once().await.unwrap().complete);
    world.database.execute("delete from argos.request_budget").await;
    let passed = "select (now() at time zone 'UTC')::date || ' ' ||
                         floor(extract(epoch from now() - date_trunc('day', now(), 'UTC')) * 100000000 / 86400)::bigint";
    let passed = world.database.text(passed).await.unwrap();
    let (day, least) = passed.split_once(' ').unwrap();
    let ended = restored(&world, &["--yes"]).await;
    assert!(ended.stdout.contains("of today's 100,000,000 requests count as spent"), "{ended:?}");
    let sound = format!("select count(*) from argos.request_budget where day > '{day}' or reserved >= {least}");
    assert_eq!(world.database.number(&sound).await, 1);
    // What is known to be spent is not forgotten.
    world.database.execute("update argos.request_budget set reserved = 100000000").await;
    assert_eq!(restored(&world, &["--yes"]).await.code, Some(0));
    assert_eq!(world.database.number("select max(reserved) from argos.request_budget").await, 100_000_000);
}

#[tokio::test]
async fn without_yes_nothing_is_changed() {
    let world = world(10).await;
    let mut engine = world.engine().await;
    assert!(engine.once().await.unwrap().complete);
    let before = everything(&world).await;
    let ended = restored(&world, &[]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("nothing was changed") && ended.stderr.contains("--yes"), "{ended:?}");
    assert_eq!(everything(&world).await, before);
}
