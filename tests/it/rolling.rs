//! A newer release has migrated the database, and this one still writes.

use argos_sync::clock::Clock;
use argos_sync::simulator::Options;

use crate::support::World;
use crate::support::work::{self, work};

#[tokio::test]
async fn p9_columns_that_a_newer_release_adds_stop_no_writing() {
    let options = Options { initial: 50, ..Options::default() };
    let world = World::with(options, &work::SETTINGS, Clock::system()).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    // Its statements are prepared on the old schema.
    assert_eq!(engine.once().await.unwrap().counts.new, 50);

    let tables = "select relname::text from pg_class
                   where relnamespace = 'argos'::regnamespace and relkind = 'r' and relname <> '_sqlx_migrations'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&world.database.pool).await.unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    for table in &tables {
        let add = format!(
            "alter table argos.{table} add column may_be_null text, add column has_a_default integer not null default 7"
        );
        world.database.execute(&add).await;
    }
    work(&world, &world.app, &mut engine).await;
    for table in tables {
        let odd = format!("select count(*) from argos.{table} where has_a_default <> 7 or may_be_null is not null");
        assert_eq!(world.database.number(&odd).await, 0, "{table}");
    }
    // One that starts only now, too.
    engine.release().await.unwrap();
    let mut next = world.engine_of(0, "next").await;
    assert!(next.hot().await.unwrap().complete);
}
