//! P5: one writer per project, whatever happens to it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::config;
use argos_sync::heartbeat::Heartbeat;
use argos_sync::simulator::{Faults, Options};
use argos_sync::store::error::StoreError;
use argos_sync::sync::engine::Engine;
use argos_sync::sync::error::SyncError;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::support::program::{self, Program, eventually};
use crate::support::rows::{PLACE_TABLES, written_and};
use crate::support::{World, world};

async fn world(initial: u64, changes: &[(&str, &str)]) -> World {
    let changes = [&[("api.count", "50")], changes].concat();
    let world = World::with(Options { initial, ..Options::default() }, &changes, Clock::system()).await;
    world.simulator.freeze();
    world
}

/// Everything that a former leader must not change.
async fn everything(world: &World) -> Vec<String> {
    written_and(&world.database, &[PLACE_TABLES, &["leases"]].concat()).await
}

fn is_lost(error: &SyncError) -> bool {
    matches!(error, SyncError::Store(StoreError::LeaseLost { .. }))
}

#[tokio::test]
async fn p5_only_one_of_two_engines_writes() {
    let world = world(200, &[]).await;
    let (mut one, mut two) = (world.engine_of(0, "one").await, world.engine_of(0, "two").await);
    assert!(one.hot().await.unwrap().complete);
    let before = everything(&world).await;
    let asked = world.simulator.requests().len();
    let error = two.hot().await.unwrap_err();
    assert!(matches!(&error, SyncError::NotLeader { holder, .. } if holder == "one"), "{error}");
    assert_eq!(everything(&world).await, before);
    assert_eq!(world.simulator.requests().len(), asked, "who may not write need not ask");

    // Given back, it is free at once.
    one.release().await.unwrap();
    assert!(two.hot().await.unwrap().complete);
    let error = one.hot().await.unwrap_err();
    assert!(matches!(&error, SyncError::NotLeader { holder, .. } if holder == "two"), "{error}");
}

#[tokio::test]
async fn p5_a_former_leader_writes_nothing() {
    let world = world(100, &[]).await;
    let (mut former, mut leader) = (world.engine_of(0, "former").await, world.engine_of(0, "leader").await);
    assert!(former.hot().await.unwrap().complete);
    // As if it had been paused for longer than its lease.
    world.database.execute("update argos.leases set expires_at = clock_timestamp() - interval '1 second'").await;
    assert!(leader.hot().await.unwrap().complete);

    // There is something to write, and something to clear away.
    let id = world.simulator.truth()[0]["submission_id"].as_str().unwrap().to_owned();
    world.simulator.patch(&id, serde_json::json!({"kyc": {"result": "rejected"}, "reviewer": "agent"}));
    world
        .database
        .execute(
            "insert into argos.quarantine values ('default', '\\x00', 'x', 'no_id', '', '', 'list', 'hot', now(), '-infinity')",
        )
        .await;
    let before = everything(&world).await;
    let asked = world.simulator.requests().len();
    let error = former.hot().await.unwrap_err();
    assert!(matches!(&error, SyncError::NotLeader { holder, .. } if holder == "leader"), "{error}");
    assert_eq!(everything(&world).await, before, "the former leader changed something");
    assert!(matches!(former.prune().await.unwrap_err(), SyncError::NotLeader { .. }));
    assert_eq!(everything(&world).await, before, "the former leader cleared something away");
    assert_eq!(world.simulator.requests().len(), asked);

    let report = leader.hot().await.unwrap();
    assert_eq!(report.counts.changed, 1);
    leader.prune_when_due().await;
    assert_eq!(world.database.number("select count(*) from argos.quarantine").await, 0);
}

#[tokio::test]
async fn p5_a_former_leader_does_not_forget_the_walk_of_the_next() {
    let world = world(200, &[]).await;
    let mut former = world.engine_of(0, "former").await;
    assert!(former.hot().await.unwrap().complete);
    // It meets a list without an end, would begin anew, and loses its lease before it can say so.
    let stop = CancellationToken::new();
    let project = &world.app.settings.projects[0];
    let mut leader = world.app.engine(project, "leader", &Heartbeat::new(), &stop).await.unwrap();
    world.simulator.set_faults(Faults::parse("slow=300,repeat-key").unwrap());
    let asked = world.simulator.requests().len();
    let takeover = async {
        eventually("its second page is asked for", async || match world.simulator.requests().len() - asked {
            2.. => Ok(()),
            few => Err(few),
        })
        .await;
        world.simulator.set_faults(Faults::parse("slow=100").unwrap());
        world.database.execute("update argos.leases set expires_at = '-infinity'").await;
        let halfway = async {
            eventually("a page of the next leader's", async || {
                let pages = "select pages from argos.walks where completed_at is null and exists
                    (select from argos.leases where holder = 'leader')";
                match world.database.text(pages).await.as_deref() {
                    Some("2" | "3") => Ok(()),
                    other => Err(other.map(str::to_owned)),
                }
            })
            .await;
            stop.cancel();
        };
        let (report, ()) = tokio::join!(leader.hot(), halfway);
        assert!(!report.unwrap().complete);
        world.database.fingerprint("select xmin, ctid, t.* from argos.walks t").await
    };
    let (failed, before) = tokio::join!(former.hot(), takeover);
    assert!(is_lost(&failed.unwrap_err()));
    assert_eq!(world.database.fingerprint("select xmin, ctid, t.* from argos.walks t").await, before);
    assert_eq!(world.database.number("select count(*) from argos.walks where completed_at is null").await, 1);
}

#[tokio::test]
async fn p5_a_page_that_was_asked_for_under_a_lost_lease_is_not_written() {
    let world = world(200, &[]).await;
    world.simulator.set_faults(Faults::parse("slow=200").unwrap());
    let mut engine = world.engine().await;
    let takeover = async {
        eventually("its second page is asked for", async || match world.simulator.requests().len() {
            2.. => Ok(()),
            few => Err(few),
        })
        .await;
        world.database.execute("update argos.leases set epoch = epoch + 1, expires_at = 'infinity'").await;
        everything(&world).await
    };
    let (failed, before) = tokio::join!(engine.hot(), takeover);
    assert!(is_lost(&failed.unwrap_err()));
    assert_eq!(everything(&world).await, before, "written under a lost lease");
    assert_eq!(world.database.number("select count(*) from argos.submissions").await, 50);
    assert_eq!(world.database.number("select pages from argos.walks").await, 1);
}

#[tokio::test]
async fn p5_a_lease_that_ran_out_is_taken_over_at_the_cursor() {
    let world = world(1_000, &[("lease.ttl", "1s"), ("database.statement_timeout", "1s")]).await;
    let run = |holder: &'static str| {
        let changes = [
            ("api.count", "50"),
            ("lease.holder", holder),
            ("lease.ttl", "1s"),
            ("database.statement_timeout", "1s"),
            ("poll.interval", "1s"),
            ("log.format", "text"),
        ];
        program::command(&["run"], &world.simulator.base_url(), &world.database.url, &changes)
    };
    world.simulator.set_faults(Faults::parse("slow=100").unwrap());
    let mut first = Program::start(run("first"));
    eventually("two pages", async || {
        match world.database.text("select max(pages) from argos.walks").await.map(|pages| pages.parse::<i64>().unwrap())
        {
            Some(2..) => Ok(()),
            other => Err((other, first.stderr())),
        }
    })
    .await;
    let mut second = Program::start(run("second"));
    second.says("first").await;
    // Paused for longer than its lease, and not gone.
    first.signal(Signal::SIGSTOP);
    let asked = world.simulator.requests().len();
    second.says("complete=true").await;
    let next = &world.simulator.requests()[asked];
    assert!(next.query.contains("nextpage_id"), "it began anew: {next:?}");
    let epoch = world.database.number("select epoch from argos.leases").await;
    assert!(epoch >= 2);
    // It wakes up in the middle of its request or page, and stands back.
    first.signal(Signal::SIGCONT);
    first.says("second").await;
    for daemon in [&mut first, &mut second] {
        daemon.signal(Signal::SIGTERM);
        let ended = daemon.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_eq!(world.database.number("select count(*) from argos.submissions").await, 1_000);
    assert_eq!(world.database.number("select count(*) from argos.submission_versions").await, 1_000);
    let distinct = "select count(distinct id) from argos.outbox";
    assert_eq!(world.database.number(distinct).await, 1_000);
    assert_eq!(world.database.number("select last_position from argos.outbox_counter").await, 1_000);
    // Pages of both epochs, each row once: the second went on and did not begin anew.
    let epochs = "select count(distinct lease_epoch) from argos.submission_versions";
    assert!(world.database.number(epochs).await >= 2);
}

#[tokio::test]
async fn p5_two_that_go_by_one_name_cannot_both_write() {
    let world = world(100, &[]).await;
    let (mut one, mut two) = (world.engine_of(0, "twin").await, world.engine_of(0, "twin").await);
    assert!(one.hot().await.unwrap().complete);
    // By its name it may take the lease at once, and does so under a new epoch: what the other has in hand is void.
    world.simulator.set_faults(Faults::parse("slow=1000").unwrap());
    for (round, change) in ["rejected", "approved"].into_iter().enumerate() {
        let id = world.simulator.truth()[0]["submission_id"].as_str().unwrap().to_owned();
        world.simulator.patch(&id, serde_json::json!({"kyc": {"result": change}, "memo": {"text": change}}));
        let asked = world.simulator.requests().len();
        let takeover = async {
            eventually("a page is asked for", async || match world.simulator.requests().len() - asked {
                1.. => Ok(()),
                none => Err(none),
            })
            .await;
            world.simulator.set_faults(Faults::default());
            let report = two.hot().await.unwrap();
            assert_eq!(report.counts.changed, 1);
            everything(&world).await
        };
        let (failed, before) = tokio::join!(one.hot(), takeover);
        assert!(is_lost(&failed.unwrap_err()));
        assert_eq!(everything(&world).await, before);
        world.simulator.set_faults(Faults::parse("slow=1000").unwrap());
        std::mem::swap(&mut one, &mut two);
        assert_eq!(world.database.number("select count(*) from argos.submission_versions").await, 101 + round as i64);
    }
}

#[tokio::test]
async fn p5_a_leader_keeps_its_lease_between_polls() {
    let world = world(10, &[]).await;
    let run = |holder: &'static str| {
        let changes = [
            ("lease.holder", holder),
            ("lease.ttl", "1s"),
            ("database.statement_timeout", "1s"),
            ("poll.interval", "8s"),
            ("log.format", "text"),
        ];
        program::command(&["run"], &world.simulator.base_url(), &world.database.url, &changes)
    };
    let leader = Program::start(run("leader"));
    leader.says("complete=true").await;
    let other = Program::start(run("other"));
    other.says("leader").await;
    // The leader polls again, several lease times later, and has been the leader all the while.
    eventually("the second poll", async || match leader.stderr().matches("complete=true").count() {
        2.. => Ok(()),
        _ => Err((leader.stderr(), other.stderr())),
    })
    .await;
    assert_eq!(world.database.number("select epoch from argos.leases").await, 1);
    // One that is paused does not keep it.
    leader.signal(Signal::SIGSTOP);
    other.says("complete=true").await;
    leader.signal(Signal::SIGCONT);
}

/// A settings file with some projects, all of them at one vendor.
fn projects(directory: &TempDir, ids: &[&str]) -> PathBuf {
    let file = directory.path().join("projects.toml");
    let entries = ids.iter().map(|id| format!("[[projects]]\nid = \"{id}\"\nkey = \"simulated-key\"\n"));
    std::fs::write(&file, entries.collect::<String>()).unwrap();
    file
}

/// An engine for each project, as a process that spreads has them.
async fn process(world: &World, file: &Path, holder: &str) -> Vec<Engine> {
    let flags = world::keys(&world.simulator.base_url(), &world.database.url, &[("api.key", "")])
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect::<Vec<_>>();
    let settings = config::load(Some(file), &HashMap::new(), &flags).unwrap();
    let app = App::open(settings, Clock::system()).await.unwrap();
    let taking = Arc::new(Mutex::new(()));
    let mut engines = Vec::new();
    for project in &app.settings.projects {
        let mut engine = app.engine(project, holder, &Heartbeat::new(), &world.stop).await.unwrap();
        engine.spread(taking.clone());
        engines.push(engine);
    }
    engines
}

fn is_left(error: &SyncError) -> bool {
    matches!(error, SyncError::LeftToOthers { .. })
}

#[tokio::test]
async fn p5_who_leads_a_project_leaves_a_free_one_to_who_leads_none() {
    let world = world(10, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = projects(&directory, &["kr", "jp"]);
    let (mut one, mut two) = (process(&world, &file, "one").await, process(&world, &file, "two").await);
    one[0].turn().await.unwrap();
    assert!(is_left(&one[1].turn().await.unwrap_err()));
    two[1].turn().await.unwrap();
    for not_mine in [one[1].turn().await, two[0].turn().await] {
        assert!(matches!(not_mine.unwrap_err(), SyncError::NotLeader { .. }));
    }
    // What the other leaves is taken at the second look, and a third one leads none and takes it at its first.
    two[1].release().await.unwrap();
    assert!(is_left(&one[1].turn().await.unwrap_err()));
    one[1].turn().await.unwrap();
    one[1].release().await.unwrap();
    two[1].turn().await.unwrap();
    two[1].release().await.unwrap();
    let mut alone = process(&world, &file, "three").await;
    alone[1].turn().await.unwrap();
}

#[tokio::test]
async fn p5_two_daemons_share_four_projects_and_one_takes_over_all() {
    let world = world(60, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = projects(&directory, &["a", "b", "c", "d"]);
    let run = |holder: &'static str| {
        let changes = [
            ("api.key", ""),
            ("lease.holder", holder),
            ("lease.ttl", "4s"),
            ("database.statement_timeout", "3s"),
            ("poll.interval", "4s"),
            ("log.format", "text"),
        ];
        let args = ["run", "--config", file.to_str().unwrap()];
        program::command(&args, &world.simulator.base_url(), &world.database.url, &changes)
    };
    let (mut one, mut two) = (Program::start(run("one")), Program::start(run("two")));
    let leads = async |holder: &str| {
        let sql = format!("select count(*) from argos.leases where holder = '{holder}' and expires_at > now()");
        world.database.number(&sql).await
    };
    eventually("each leads some, and none is left", async || match (leads("one").await, leads("two").await) {
        (mine @ 1.., others @ 1..) if mine + others == 4 => Ok(()),
        other => Err((other, one.stderr(), two.stderr())),
    })
    .await;
    let imported = "select count(*) from argos.projects where import_completed_at is not null";
    eventually("all are imported", async || match world.database.number(imported).await {
        4 => Ok(()),
        few => Err((few, one.stderr(), two.stderr())),
    })
    .await;

    one.kill();
    let id = world.simulator.truth()[0]["submission_id"].as_str().unwrap().to_owned();
    world.simulator.patch(&id, serde_json::json!({"memo": {"text": "after the death of one"}}));
    eventually("the other leads all", async || match leads("two").await {
        4 => Ok(()),
        few => Err((few, two.stderr())),
    })
    .await;
    let seen = "select count(*) from argos.submission_versions where version = 2";
    eventually("all go on", async || match world.database.number(seen).await {
        4 => Ok(()),
        few => Err((few, two.stderr())),
    })
    .await;
    two.signal(Signal::SIGTERM);
    let ended = two.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Nothing is doubled: in each project one version of everybody, two of one, and an event for each.
    assert_eq!(world.database.number("select count(*) from argos.submission_versions").await, 4 * 61);
    let (events, distinct) = ("select count(*) from argos.outbox", "select count(distinct id) from argos.outbox");
    assert_eq!(world.database.number(events).await, world.database.number(distinct).await);
    let updated = "select count(*) from argos.outbox where type = 'submission.updated'";
    assert_eq!(world.database.number(updated).await, 4);
    assert_eq!(leads("two").await, 0, "given back");
}

#[tokio::test]
async fn p5_a_leader_that_cannot_write_lets_another_lead() {
    let world = world(100, &[]).await;
    let role = format!("argos_test_{}_unable", std::process::id());
    let grants = format!(
        "create role {role};
         grant usage on schema argos to {role};
         grant select, insert, update, delete on all tables in schema argos to {role};
         revoke insert on argos.submission_versions from {role}"
    );
    world.database.execute(&grants).await;
    let separator = if world.database.url.contains('?') { '&' } else { '?' };
    let limited = format!("{}{separator}options[role]={role}", world.database.url);
    let run = |holder: &'static str, url: &str| {
        let changes = [
            ("lease.holder", holder),
            ("lease.ttl", "3s"),
            ("database.migrate", "false"),
            ("database.statement_timeout", "3s"),
            ("poll.interval", "1s"),
            ("log.format", "text"),
        ];
        program::command(&["run"], &world.simulator.base_url(), url, &changes)
    };
    let mut unable = Program::start(run("unable", &limited));
    unable.says("this process is the writer").await;
    // It takes its lease again and again, well before the end of it.
    let mut able = Program::start(run("able", &world.database.url));
    able.says("complete=true").await;
    assert!(unable.stderr().contains("42501") && !unable.stderr().contains("complete=true"), "{}", unable.stderr());
    assert_eq!(world.database.number("select count(*) from argos.submissions").await, 100);
    unable.says("\"able\" holds its lease").await;
    for daemon in [&mut unable, &mut able] {
        daemon.signal(Signal::SIGTERM);
        let ended = daemon.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    world.database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}
