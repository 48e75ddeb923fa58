//! The grants of docs/postgresql.md are enough for the daemon's role.

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::domain::lane::Lane;
use argos_sync::simulator::{Options, Simulator};
use argos_sync::store::database::options;
use argos_sync::store::erasure;
use argos_sync::store::id_reads::{self, Reason};
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::Database;
use crate::support::world::{World, settings};

#[tokio::test]
async fn a_role_with_the_documented_grants_can_do_the_daemons_work() {
    let docs = include_str!("../../docs/postgresql.md");
    let after = docs.split("**3. As the migrator").nth(1).expect("step 3 of the roles");
    let grants = after.split("```sql").nth(1).and_then(|block| block.split("```").next()).expect("its statements");
    let role = format!("argos_test_{}_daemon", std::process::id());
    let grants = grants.replace("to argos_sync;", &format!("to {role};"));

    let world = World::new(Options { initial: 50, ..Options::default() }).await;
    let pool = &world.database.pool;
    execute(pool, &format!("create role {role}")).await;
    execute(pool, &grants).await;
    // Everything as that role, after connecting as whom the tests connect.
    let separator = if world.database.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}options[role]={role}", world.database.url);
    assert!(options(&url).is_ok());
    let changes = [("database.migrate", "false"), ("erasure.confirm_after", "1ms"), ("events.include_userid", "true")];
    let app = App::open(settings(&world.simulator.base_url(), &url, &changes), Clock::system()).await.unwrap();
    app.prepare_database().await.unwrap();
    let who: String = sqlx::query_scalar("select current_user::text").fetch_one(&app.pool).await.unwrap();
    assert_eq!(who, role);
    let mut engine = world.engine_in(&app, "granted").await;
    assert_eq!(engine.once().await.unwrap().counts.new, 50);
    vendor_life(&world.simulator);
    let again = engine.once().await.unwrap();
    assert!(again.counts.changed > 0 && again.counts.quarantined > 0, "{again:?}");
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
    engine.release().await.unwrap();
    app.close().await.unwrap();
    execute(pool, &format!("drop owned by {role}; drop role {role}")).await;
    drop::<Database>(world.database);
}

/// A change of every child table, and an item for the quarantine.
fn vendor_life(simulator: &Simulator) {
    let id = simulator.truth()[0]["submission_id"].as_str().unwrap().to_owned();
    let patch = serde_json::json!({
        "kyc": {"attempts": [{"attemptCnt": 9}]}, "aml": {"currentstatus": "Red Flag", "matches": [{"resource_id": "r"}]},
        "bank_verification": {"result": "fail"}
    });
    simulator.patch(&id, patch);
    let deep = format!(r#"{{"submission_id":"deep","x":{}{}}}"#, "[".repeat(90), "]".repeat(90));
    simulator.put_raw("deep", Clock::system().now(), &deep);
}

async fn execute(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}
