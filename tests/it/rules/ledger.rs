//! After a lively run the books agree: positions, orders, versions, counts. And a late commit is seen.

use std::time::Duration;

use argos_sync::clock::Clock;
use argos_sync::domain::event;
use argos_sync::simulator::{Faults, Options};
use argos_sync::store::outbox;
use chrono::TimeDelta;
use serde_json::json;

use super::{item, secret, told};
use crate::support::verbatim::noon;
use crate::support::{Database, Verbatim, World, assert_valid_events};

/// No row may come of these: (what it would mean, query).
const CONTRADICTIONS: &[(&str, &str)] = &[
    (
        "positions have gaps",
        "select 1 from argos.outbox having count(*) is distinct from max(position) or min(position) <> 1
             or max(position) <> (select last_position from argos.outbox_counter)",
    ),
    (
        "position order is not the order of the transactions",
        "select 1 from (select recorded_at, lag(recorded_at) over (order by position) as before from argos.outbox) o
          where recorded_at < before",
    ),
    (
        "a version's events do not stand together, or ordinal does not count them from 0",
        "select 1 from argos.outbox where version is not null
          group by submission_id, version
         having max(position) - min(position) + 1 <> count(*) or max(ordinal) + 1 <> count(*)
             or min(position - ordinal) <> max(position - ordinal)",
    ),
    (
        "a submission's versions are told out of order",
        "select 1 from (select version, lag(version) over (partition by submission_id order by position) as before
                          from argos.outbox where version is not null) o
          where version < before",
    ),
    (
        "an event without its version",
        "select 1 from argos.outbox o where version is not null and not exists (
             select from argos.submission_versions v
              where (v.project_id, v.submission_id, v.version) = (o.project_id, o.submission_id, o.version))",
    ),
    (
        "a version without events",
        "select 1 from argos.submission_versions v where not exists (
             select from argos.outbox o
              where (v.project_id, v.submission_id, v.version) = (o.project_id, o.submission_id, o.version))",
    ),
    (
        "a later version without a change, or without exactly one submission.updated that names the same fields",
        "select 1 from argos.submission_versions v
          where version > 1 and (cardinality(changed) = 0 or 1 <> (
             select count(*) from argos.outbox o
              where (v.project_id, v.submission_id, v.version) = (o.project_id, o.submission_id, o.version)
                and o.type = 'submission.updated' and o.payload->'changed' = to_jsonb(v.changed)))",
    ),
    (
        "the row is not its last version, or versions are missing",
        "select 1 from argos.submissions s
          where not exists (select from argos.submission_versions v
                             where v.submission_id = s.submission_id
                               and (v.version, v.version_id, v.item) = (s.version, s.version_id, s.item))
             or version <> (select count(*) from argos.submission_versions v where v.submission_id = s.submission_id)",
    ),
    (
        "counters differ from a count",
        "(select label, value from argos.counters where name = 'submissions' and value <> 0)
         except (select coalesce(kyc_result, 'none'), count(*) from argos.submissions group by 1)",
    ),
    (
        "a count has no counter",
        "(select coalesce(kyc_result, 'none'), count(*) from argos.submissions group by 1)
         except (select label, value from argos.counters where name = 'submissions')",
    ),
    (
        "red_flags_open is wrong",
        "select 1 where (select coalesce(sum(value), 0) from argos.counters where name = 'red_flags_open')
              <> (select count(*) from argos.submissions where lower(aml_currentstatus) = 'red flag')",
    ),
    (
        "red_flags_raised is wrong",
        "select 1 where (select coalesce(sum(value), 0) from argos.counters where name = 'red_flags_raised')
              <> (select count(*) from argos.outbox where type = 'aml.red_flag_raised')",
    ),
];

async fn assert_books_agree(database: &Database) {
    for (meaning, query) in CONTRADICTIONS {
        let sql = format!("select count(*) from ({query}) x");
        assert_eq!(database.number(&sql).await, 0, "{meaning}: {query}");
    }
}

#[tokio::test]
async fn p1_p2_p6_after_a_lively_run_positions_versions_and_counts_agree() {
    let clock = Clock::manual(noon());
    let faults = Faults::parse("bad-item=0.3,null-chars=0.3,retyped=0.3,shuffle,duplicates=0.3").unwrap();
    let options = Options { initial: 150, rate: 0.001, faults, count_max: 40, ..Options::default() };
    let world = World::with(options, &[], clock.clone()).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    for step in 0..6 {
        clock.advance(TimeDelta::hours(9));
        engine.hot().await.unwrap();
        let id = world.simulator.truth()[step]["submission_id"].as_str().unwrap().to_owned();
        match step % 3 {
            0 => world.simulator.blank(&id),
            1 => world.simulator.patch(&id, json!({"kyc": null, "aml": {"currentstatus": "RED FLAG"}})),
            _ => world.simulator.patch(&id, json!({"kyc": {"result": "on_hold"}})),
        }
        engine.once().await.unwrap();
    }
    let busy = "select count(*) from argos.submission_versions where version > 2";
    assert!(world.database.number(busy).await > 50, "the run was lively");
    assert_books_agree(&world.database).await;
    assert_valid_events(&world.database.pool).await;
}

#[tokio::test]
async fn p6_a_commit_that_is_late_takes_its_position_late() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.list(&[item("s", r#""kyc":{"result":"approved"}"#)]);

    // Another project's page has its positions and does not commit yet.
    let other = event::import_completed("other", 1, noon(), 0, &secret());
    let mut late = vendor.database.pool.begin().await.unwrap();
    assert_eq!(outbox::append(&mut late, "other", &mut vec![other], "", noon()).await.unwrap(), 1);

    let look = async {
        let waits = "select count(*) from pg_stat_activity
                      where datname = current_database() and wait_event_type = 'Lock' and query like '%outbox_counter%'";
        while vendor.database.number(waits).await == 0 {}
        assert_eq!(told(&vendor.database).await, [], "nothing stands behind a gap");
        late.commit().await.unwrap();
    };
    let both = async { tokio::join!(engine.once(), look).0.unwrap() };
    tokio::time::timeout(Duration::from_secs(25), both).await.expect("the page waits for the counter, then commits");

    let projects = "select string_agg(project_id || position, ' ' order by position) from argos.outbox";
    let expected = "other1 default2 default3 default4";
    assert_eq!(vendor.database.text(projects).await.as_deref(), Some(expected));
}
