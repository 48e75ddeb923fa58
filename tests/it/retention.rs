//! Retention: what is older goes, in batches; nothing else does; and nothing at all until a retention is set.

use argos_sync::store::error::StoreError;
use argos_sync::sync::engine::{Engine, Pruned};
use argos_sync::sync::error::SyncError;
use chrono::TimeDelta;

use crate::support::World;
use crate::support::program::{self, Program, eventually};
use crate::support::rows::{PLACE_TABLES, data_tables, written, written_and, written_in};
use crate::support::verbatim::Verbatim;

/// Tells a consumer that events went unread; docs/retention.md gives it to people.
const MISSED: &str = "select last_position > $mine
   and not exists (select from argos.outbox where position = $mine + 1) as missed
  from argos.outbox_counter;";

fn item(id: &str, email: &str) -> String {
    format!(r#"{{"submission_id":"{id}","created_at":"2026-01-01T00:00:00Z","email":"{email}"}}"#)
}

/// Prunes until nothing is left to do; what each call did.
async fn prune(engine: &mut Engine) -> Vec<Pruned> {
    let mut all = vec![engine.prune().await.unwrap()];
    while all.last().unwrap().more {
        all.push(engine.prune().await.unwrap());
    }
    all
}

async fn list(vendor: &Verbatim, sql: &str) -> String {
    vendor.database.text(&format!("select coalesce(string_agg(x, ' '), '') from ({sql}) t (x)")).await.unwrap()
}

/// Positions that a consumer is given, and whether it is told that it missed some.
async fn consumer(vendor: &Verbatim, mine: i64) -> (String, bool) {
    let sql = format!("select position::text from argos.outbox where position > {mine} order by position");
    let missed = MISSED.trim_end_matches(';').replace("$mine", &mine.to_string());
    (list(vendor, &sql).await, vendor.database.text(&missed).await.unwrap() == "true")
}

/// Versions whose body is there, and all versions.
async fn bodies(vendor: &Verbatim) -> (String, i64) {
    let with = "select submission_id || version from argos.submission_versions where item is not null
                 order by submission_id collate \"C\", version";
    (list(vendor, with).await, vendor.database.number("select count(*) from argos.submission_versions").await)
}

#[tokio::test]
async fn nothing_is_pruned_until_a_retention_is_set_but_the_quarantine() {
    let vendor = Verbatim::with(&[("retention.batch", "2")]).await;
    let mut engine = vendor.engine().await;
    let bad = ["7", "8", "9", "[]", "{}"].map(str::to_owned);
    vendor.read(&mut engine, &[&[item("s", "a")], bad.as_slice()].concat()).await;
    vendor.read(&mut engine, &[item("s", "b")]).await;
    let before = written(&vendor.database).await;
    vendor.clock.advance(TimeDelta::days(7) - TimeDelta::minutes(2) - TimeDelta::microseconds(1));
    assert_eq!(prune(&mut engine).await, [Pruned::default()]);
    assert_eq!(written(&vendor.database).await, before);

    vendor.clock.advance(TimeDelta::microseconds(1));
    let some = |quarantine, more| Pruned { quarantine, more, ..Pruned::default() };
    assert_eq!(prune(&mut engine).await, [some(2, true), some(2, true), some(1, false)]);
    vendor.clock.advance(TimeDelta::days(30 * 365));
    assert_eq!(prune(&mut engine).await, [Pruned::default()]);
    let mut after = written(&vendor.database).await;
    let gone = data_tables(&vendor.database).await.iter().position(|table| table == "quarantine").unwrap();
    assert_eq!(after[gone], "quarantine: empty");
    after[gone].clone_from(&before[gone]);
    assert_eq!(after, before);
    let page = vendor.app.metrics.encode().unwrap();
    for (table, rows) in [("quarantine", 5), ("outbox", 0), ("submission_versions", 0)] {
        let line = format!("argos_sync_pruned_rows_total{{project=\"default\",table=\"{table}\"}} {rows}\n");
        assert!(page.contains(&line), "{page}");
    }
}

#[tokio::test]
async fn p6_events_go_from_the_low_end_and_a_consumers_position_stays_good() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(include_str!("../../docs/retention.md")).contains(&words(MISSED)));
    let vendor = Verbatim::with(&[("retention.outbox", "30d"), ("retention.batch", "4")]).await;
    let mut engine = vendor.engine().await;
    let five = ["a", "b", "c", "d", "e"];
    vendor.read(&mut engine, &five.map(|id| item(id, "x"))).await;
    vendor.clock.advance(TimeDelta::days(20));
    vendor.read(&mut engine, &five.map(|id| item(id, if id == "b" { "y" } else { "x" }))).await;
    assert_eq!(consumer(&vendor, 0).await, ("1 2 3 4 5 6 7".to_owned(), false));
    let kept = vendor.database.fingerprint("select xmin, ctid, o.* from argos.outbox o where position = 7").await;

    // Two minutes have passed beside the 30 days.
    vendor.clock.advance(TimeDelta::days(10) - TimeDelta::minutes(2) - TimeDelta::microseconds(1));
    assert_eq!(prune(&mut engine).await, [Pruned::default()]);
    assert_eq!(consumer(&vendor, 0).await.0, "1 2 3 4 5 6 7");
    vendor.clock.advance(TimeDelta::microseconds(1));
    let some = |outbox, more| Pruned { outbox, more, ..Pruned::default() };
    assert_eq!(prune(&mut engine).await, [some(4, true), some(2, false)]);

    // Who has read what is gone goes on; who has not is told.
    assert_eq!(consumer(&vendor, 6).await, ("7".to_owned(), false));
    assert_eq!(consumer(&vendor, 7).await, (String::new(), false));
    assert_eq!(consumer(&vendor, 4).await, ("7".to_owned(), true));
    assert_eq!(vendor.database.fingerprint("select xmin, ctid, o.* from argos.outbox o").await, kept);

    // Emptied to its last row, it is appended to where it ended.
    vendor.clock.advance(TimeDelta::days(30));
    assert_eq!(prune(&mut engine).await, [some(1, false)]);
    assert_eq!(consumer(&vendor, 7).await, (String::new(), false));
    assert_eq!(consumer(&vendor, 6).await, (String::new(), true));
    vendor.read(&mut engine, &five.map(|id| item(id, if id == "b" { "z" } else { "x" }))).await;
    assert_eq!(consumer(&vendor, 7).await, ("8".to_owned(), false));
    // What is gone is not told again.
    let before = written(&vendor.database).await;
    vendor.read(&mut engine, &five.map(|id| item(id, if id == "b" { "z" } else { "x" }))).await;
    assert_eq!(written(&vendor.database).await, before);
}

#[tokio::test]
async fn an_event_that_must_stay_stops_the_pruning_of_later_ones() {
    let vendor = Verbatim::with(&[("retention.outbox", "1d"), ("retention.batch", "10")]).await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &["a", "b", "c"].map(|id| item(id, "x"))).await;
    // Recorded while a clock was wrong.
    let wrong = "update argos.outbox set recorded_at = recorded_at + interval '1 year' where position = 2";
    vendor.database.execute(wrong).await;
    vendor.clock.advance(TimeDelta::days(2));
    assert_eq!(prune(&mut engine).await, [Pruned { outbox: 1, ..Pruned::default() }]);
    assert_eq!(consumer(&vendor, 1).await, ("2 3 4".to_owned(), false));
    vendor.clock.advance(TimeDelta::days(365));
    assert_eq!(prune(&mut engine).await, [Pruned { outbox: 3, ..Pruned::default() }]);
}

#[tokio::test]
async fn events_of_another_project_stay_and_are_passed_a_few_batches_at_a_time() {
    let vendor = Verbatim::with(&[("retention.outbox", "1d"), ("retention.batch", "2")]).await;
    // Its daemon may have been told to keep them.
    let others = "insert into argos.outbox
        select n, gen_random_uuid(), 'submission', 'other:s', 't', '{}', 'other', 's', 1, 0, null, '2020-01-01'
          from generate_series(1, 101) n;
        update argos.outbox_counter set last_position = 101";
    vendor.database.execute(others).await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &["a", "b"].map(|id| item(id, "x"))).await;
    vendor.clock.advance(TimeDelta::days(2));
    let did = prune(&mut engine).await;
    let events: Vec<u64> = did.iter().map(|pruned| pruned.outbox).collect();
    // 20 batches that find nothing end a call: 40 events, 40 more; then the rest and the first of three of ours.
    assert_eq!(events, [0, 0, 1, 2, 0], "{did:?}");
    assert_eq!(vendor.database.number("select count(*) from argos.outbox where project_id = 'other'").await, 101);
    assert_eq!(vendor.database.number("select count(*) from argos.outbox").await, 101);
}

#[tokio::test]
async fn bodies_of_replaced_states_go_and_their_rows_and_the_current_one_stay() {
    let vendor = Verbatim::with(&[("retention.versions", "30d"), ("retention.batch", "2")]).await;
    let mut engine = vendor.engine().await;
    let read = async |engine: &mut Engine, emails: [&str; 3]| {
        let items: Vec<String> = ["a", "b", "c"].iter().zip(emails).map(|(id, email)| item(id, email)).collect();
        vendor.read(engine, &items).await.counts.changed
    };
    read(&mut engine, ["1", "1", "1"]).await;
    vendor.clock.advance(TimeDelta::days(400));
    // Only a state that was replaced has an age: all three stood for more than a year.
    assert_eq!(prune(&mut engine).await, [Pruned::default()]);
    assert_eq!(read(&mut engine, ["2", "2", "1"]).await, 2);
    assert_eq!(read(&mut engine, ["2", "3", "1"]).await, 1);
    vendor.clock.advance(TimeDelta::days(10));
    assert_eq!(read(&mut engine, ["3", "3", "1"]).await, 1);
    let rest = "select to_jsonb(v) - 'item' from argos.submission_versions v order by submission_id, version";
    let before = (vendor.database.fingerprint(rest).await, vendor.database.fingerprint(CURRENT).await);
    assert_eq!(bodies(&vendor).await, ("a1 a2 a3 b1 b2 b3 c1".to_owned(), 7));

    vendor.clock.advance(TimeDelta::days(20) - TimeDelta::minutes(3) - TimeDelta::microseconds(1));
    assert_eq!(prune(&mut engine).await, [Pruned::default()]);
    vendor.clock.advance(TimeDelta::microseconds(1));
    let some = |versions, more| Pruned { versions, more, ..Pruned::default() };
    assert_eq!(prune(&mut engine).await, [some(2, true), some(0, false)]);
    assert_eq!(bodies(&vendor).await, ("a2 a3 b2 b3 c1".to_owned(), 7));
    vendor.clock.advance(TimeDelta::minutes(1));
    assert_eq!(prune(&mut engine).await, [some(1, false)]);
    vendor.clock.advance(TimeDelta::days(365));
    assert_eq!(prune(&mut engine).await, [some(1, false)]);
    assert_eq!(bodies(&vendor).await, ("a3 b3 c1".to_owned(), 7), "the current bodies");
    let after = (vendor.database.fingerprint(rest).await, vendor.database.fingerprint(CURRENT).await);
    assert_eq!(after, before, "ids, times, names of changes and the mirror are as before");

    // After a restart it begins at the beginning, and writes nothing.
    engine.release().await.unwrap();
    let before = written(&vendor.database).await;
    let mut engine = vendor.engine().await;
    assert_eq!(prune(&mut engine).await, [Pruned::default()]);
    assert_eq!(written(&vendor.database).await, before);
    // And the history goes on.
    assert_eq!(read(&mut engine, ["4", "3", "1"]).await, 1);
    assert_eq!(bodies(&vendor).await, ("a3 a4 b3 c1".to_owned(), 8));
    assert_eq!(read(&mut engine, ["4", "3", "1"]).await, 0);
}

/// The mirror, as it was written.
const CURRENT: &str = "select xmin, ctid, s.* from argos.submissions s order by submission_id";

/// A quarantine, an outbox and versions in which something is due in a hundred days.
async fn something_due() -> (Verbatim, Engine) {
    let vendor = Verbatim::with(&[("retention.outbox", "30d"), ("retention.versions", "30d")]).await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[item("s", "a"), "7".to_owned()]).await;
    vendor.read(&mut engine, &[item("s", "b")]).await;
    vendor.clock.advance(TimeDelta::days(100));
    (vendor, engine)
}

#[tokio::test]
async fn p5_a_former_leader_prunes_nothing() {
    let (vendor, mut former) = something_due().await;
    vendor
        .database
        .execute("update argos.leases set holder = 'next', epoch = epoch + 1, expires_at = 'infinity'")
        .await;
    let before = written_and(&vendor.database, &[PLACE_TABLES, &["leases"]].concat()).await;
    let error = former.prune().await.unwrap_err();
    assert!(matches!(&error, SyncError::NotLeader { holder, .. } if holder == "next"), "{error}");
    former.prune_when_due().await;
    assert_eq!(written_and(&vendor.database, &[PLACE_TABLES, &["leases"]].concat()).await, before);
    let page = vendor.app.metrics.encode().unwrap();
    assert!(page.contains("argos_sync_prune_failures_total{project=\"default\"} 0"), "no failure: it is not its task");
}

#[tokio::test]
async fn p5_a_lease_that_is_lost_between_two_batches_ends_the_pruning() {
    let (vendor, mut former) = something_due().await;
    let takeover = "create function argos.take() returns trigger language plpgsql as
            $$begin update argos.leases set holder = 'next', epoch = epoch + 1; return null; end$$;
        create trigger take after delete on argos.quarantine execute function argos.take()";
    vendor.database.execute(takeover).await;
    let mut but_quarantine = data_tables(&vendor.database).await;
    but_quarantine.retain(|table| table != "quarantine");
    let before = written_in(&vendor.database, &but_quarantine).await;
    let error = former.prune().await.unwrap_err();
    assert!(matches!(error, SyncError::Store(StoreError::LeaseLost { .. })), "{error}");
    assert_eq!(written_in(&vendor.database, &but_quarantine).await, before);
    assert_eq!(vendor.database.number("select count(*) from argos.quarantine").await, 0, "nothing was tried");
}

#[tokio::test]
async fn every_lease_begins_at_the_beginning() {
    let vendor = Verbatim::with(&[("retention.outbox", "1d"), ("retention.versions", "1d")]).await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[item("s", "a")]).await;
    vendor.read(&mut engine, &[item("s", "b")]).await;
    vendor.database.execute("create table kept as select * from argos.outbox where position = 1").await;
    vendor.clock.advance(TimeDelta::days(1));
    assert_eq!(prune(&mut engine).await, [Pruned { outbox: 3, versions: 1, ..Pruned::default() }]);
    // As from a backup: behind the place where pruning goes on.
    let restore = "insert into argos.outbox select * from kept;
                   update argos.submission_versions set item = '{}' where version = 1";
    vendor.database.execute(restore).await;
    assert_eq!(prune(&mut engine).await, [Pruned::default()]);
    engine.release().await.unwrap();
    assert_eq!(prune(&mut engine).await, [Pruned { outbox: 1, versions: 1, ..Pruned::default() }]);
}

#[tokio::test]
async fn the_loop_prunes_now_and_then_and_a_backlog_after_each_pass() {
    let vendor = Verbatim::with(&[("retention.outbox", "1d"), ("retention.batch", "2")]).await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &["a", "b", "c", "d"].map(|id| item(id, "x"))).await;
    vendor.clock.advance(TimeDelta::days(1));
    let left = async || vendor.database.number("select count(*) from argos.outbox").await;
    for expected in [3, 1, 0] {
        engine.prune_when_due().await;
        assert_eq!(left().await, expected);
    }
    vendor.read(&mut engine, &["a", "b", "c", "d"].map(|id| item(id, "y"))).await;
    vendor.database.execute("update argos.outbox set recorded_at = '2020-01-01'").await;
    vendor.clock.advance(TimeDelta::minutes(4) - TimeDelta::microseconds(1));
    engine.prune_when_due().await;
    assert_eq!(left().await, 4, "it was done five minutes ago, but for a microsecond");
    vendor.clock.advance(TimeDelta::microseconds(1));
    engine.prune_when_due().await;
    assert_eq!(left().await, 2);
    // Who does not hold the lease does not take it for this.
    engine.release().await.unwrap();
    engine.prune_when_due().await;
    assert_eq!(left().await, 2);
}

#[tokio::test]
async fn run_and_once_prune() {
    let world = World::new(argos_sync::simulator::Options { initial: 1, ..Default::default() }).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    engine.release().await.unwrap();
    for command in ["once", "run"] {
        let expired = "insert into argos.quarantine
            select 'default', int4send(n), null, 'no_id', '', '', 'list', 'hot', now(), '-infinity'
              from generate_series(1, 5) n";
        assert_eq!(world.database.execute(expired).await, 5);
        let changes = [("retention.batch", "2"), ("poll.interval", "1s"), ("http.enabled", "false")];
        let command = program::command(&[command], &world.simulator.base_url(), &world.database.url, &changes);
        let _program = Program::start(command);
        eventually("the quarantine is empty", async || {
            match world.database.number("select count(*) from argos.quarantine").await {
                0 => Ok(()),
                some => Err(some),
            }
        })
        .await;
    }
}
