//! All that a daemon writes, once: for tests in which it must be able to.

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::domain::lane::Lane;
use argos_sync::simulator::{Faults, Simulator};
use argos_sync::store::erasure;
use argos_sync::store::id_reads::{self, Reason};
use argos_sync::sync::engine::{Engine, Pruned};

use super::World;

/// Settings that it needs.
pub const SETTINGS: [(&str, &str); 2] = [("erasure.confirm_after", "1ms"), ("events.include_userid", "true")];

/// Does it in a world that the engine has read once.
pub async fn work(world: &World, app: &App, engine: &mut Engine) {
    vendor_life(&world.simulator);
    let again = engine.once().await.unwrap();
    assert!(again.counts.changed > 0 && again.counts.quarantined > 0, "{again:?}");
    // An error is noted, and that it is over.
    world.simulator.set_faults(Faults::parse("forbidden-key").unwrap());
    engine.hot().await.unwrap_err();
    assert_eq!(world.database.number("select count(*) from argos.errors where ended_at is null").await, 1);
    world.simulator.set_faults(Faults::default());
    engine.hot().await.unwrap();
    assert_eq!(world.database.number("select count(*) from argos.errors where ended_at is null").await, 0);
    // Without a retention, pruning asks for no right that is not there.
    world.database.execute("update argos.quarantine set expires_at = '-infinity'").await;
    let pruned = engine.prune().await.unwrap();
    assert_eq!(pruned, Pruned { quarantine: again.counts.quarantined, ..Pruned::default() });
    engine.probe().await.unwrap();
    assert!(world.database.number("select count(*) from argos.drift").await > 0);
    // A deletion, from the suspicion to the end.
    let id = world.simulator.truth()[1]["submission_id"].as_str().unwrap().to_owned();
    world.simulator.blank(&id);
    engine.once().await.unwrap();
    for _ in 0..2 {
        engine.confirm().await.unwrap();
    }
    assert_eq!(world.database.number("select count(*) from argos.erasure_receipts").await, 1);
    engine.read_by_id(Lane::Refresh, &id).await.unwrap();
    let mut connection = app.pool.acquire().await.unwrap();
    let now = Clock::system().now();
    erasure::suspect_gone(&mut connection, "default", std::slice::from_ref(&id), now, Lane::Verify).await.unwrap();
    assert_eq!(erasure::release(&mut connection, "default", now).await.unwrap(), 1);
    id_reads::push(&mut connection, "default", std::slice::from_ref(&id), Reason::Refresh, now).await.unwrap();
    id_reads::done(&mut connection, "default", &id).await.unwrap();
    drop(connection);
}

/// A change of every child table, and an item for the quarantine.
fn vendor_life(simulator: &Simulator) {
    let id = simulator.truth()[0]["submission_id"].as_str().unwrap().to_owned();
    let patch = serde_json::json!({
        "kyc": {"attempts": [{"attemptCnt": 9}]}, "aml": {"currentstatus": "Red Flag", "matches": [{"resource_id": "r"}]},
        "bank_verification": {"result": "fail"}, "a_new_field": 1
    });
    simulator.patch(&id, patch);
    let deep = format!(r#"{{"submission_id":"deep","x":{}{}}}"#, "[".repeat(90), "]".repeat(90));
    simulator.put_raw("deep", Clock::system().now(), &deep);
}
