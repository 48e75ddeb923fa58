//! P5, tried hard: the writer is paused inside a page, cut off, robbed of its lease and of its sessions, and its clock is
//! wrong. Nothing stale is committed, another one takes over in time, and the mirror comes to what the vendor shows.

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::simulator::{Faults, Options};
use argos_sync::sync::error::SyncError;
use chrono::TimeDelta;
use nix::sys::signal::Signal;
use serde_json::json;
use sqlx::{Postgres, Transaction};

use crate::support::program::{self, Program, eventually};
use crate::support::proxy::Proxy;
use crate::support::truth::{assert_equal, assert_once};
use crate::support::world::settings;
use crate::support::{Database, World};

/// Notes when each term began, by the database's clock.
const TERMS: &str = "
    create table public.terms (epoch bigint primary key, holder text, began timestamptz not null);
    create function public.note_term() returns trigger language plpgsql as
        $$ begin insert into public.terms values (new.epoch, new.holder, clock_timestamp()); return null; end $$;
    create trigger note_term after update on argos.leases for each row when (new.epoch <> old.epoch)
        execute function public.note_term()";

/// `lease.ttl` of most daemons here, in seconds.
const TTL: u32 = 4;

async fn world(initial: u64, clock: Clock) -> World {
    let world = World::with(Options { initial, ..Options::default() }, &[], clock).await;
    world.simulator.freeze();
    world.database.execute(TERMS).await;
    world
}

/// A daemon that polls every second.
fn start(world: &World, holder: &str, database_url: &str, ttl: u32) -> Program {
    let (ttl, statement) = (format!("{ttl}s"), format!("{}ms", ttl * 750));
    let changes = [
        ("api.count", "20"),
        ("lease.holder", holder),
        ("lease.ttl", &ttl),
        ("database.statement_timeout", &statement),
        ("poll.interval", "1s"),
        ("log.format", "text"),
    ];
    Program::start(program::command(&["run"], &world.simulator.base_url(), database_url, &changes))
}

/// Changes a submission at the vendor's.
fn change(world: &World, place: usize, text: &str) -> String {
    let id = world.simulator.truth()[place]["submission_id"].as_str().unwrap().to_owned();
    world.simulator.patch(&id, json!({"memo": {"text": text}}));
    id
}

/// Waits until a change is mirrored.
async fn is_seen<const N: usize>(world: &World, id: &str, text: &str, daemons: [&Program; N]) {
    let sql = format!("select count(*) from argos.submissions where submission_id = '{id}' and memo_text = '{text}'");
    eventually(&format!("{text:?} is seen"), async || match world.database.number(&sql).await {
        1 => Ok(()),
        _ => Err(daemons.map(Program::stderr)),
    })
    .await;
}

/// Commits are in the order of positions: once a term has committed, none before it does.
async fn assert_nothing_stale(database: &Database) {
    let stale = "select count(*) from (
                     select lease_epoch, max(lease_epoch) over (order by position) as newest
                       from argos.outbox join argos.submission_versions using (project_id, submission_id, version)) told
                  where lease_epoch < newest";
    assert_eq!(database.number(stale).await, 0, "a former leader has committed");
    // And nothing is written under a term that nobody had.
    let unknown = "select count(*) from argos.submission_versions where lease_epoch not in (select epoch from terms)";
    assert_eq!(database.number(unknown).await, 0);
}

/// The end: all stop in order, and the mirror is what the vendor shows, each fact told once.
async fn assert_undisturbed<const N: usize>(world: &World, daemons: [&mut Program; N], versions: i64) {
    for daemon in daemons {
        daemon.signal(Signal::SIGTERM);
        let ended = daemon.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_mirrors(world, versions).await;
}

async fn assert_mirrors(world: &World, versions: i64) {
    assert_equal(&world.database, world.simulator.truth()).await;
    assert_once(&world.database).await;
    assert_nothing_stale(&world.database).await;
    assert_eq!(world.database.number("select count(*) from argos.submission_versions").await, versions);
}

/// Ends all sessions but for this one.
async fn end_all_sessions(database: &Database) -> u64 {
    let all = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
    database.execute(all).await
}

/// Holds up whoever has events to write: near the end of a page, with the lease's row locked.
async fn hold_up(world: &World, daemon: &Program) -> Transaction<'static, Postgres> {
    let mut held = world.database.pool.begin().await.unwrap();
    sqlx::query("select from argos.outbox_counter for update").execute(&mut *held).await.unwrap();
    let waits = "select count(*) from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Lock' and query like '%outbox_counter%'";
    eventually("a page waits for the outbox", async || match world.database.number(waits).await {
        1 => Ok(()),
        _ => Err(daemon.stderr()),
    })
    .await;
    held
}

/// What happens to the leader.
#[derive(Clone, Copy)]
enum Fate {
    Paused,
    CutOff,
}

/// It happens to the leader inside an open page of its first walk, and ends when another one has read everything.
async fn failover(fate: Fate) {
    let world = world(400, Clock::system()).await;
    let proxy = Proxy::before(&world.database).await;
    world.simulator.set_faults(Faults::parse("slow=100").unwrap());
    let mut first = start(&world, "first", &proxy.url, TTL);
    eventually("two pages", async || match world.database.text("select max(pages) from argos.walks").await {
        Some(pages) if pages.parse::<u32>().unwrap() >= 2 => Ok(()),
        other => Err((other, first.stderr())),
    })
    .await;
    let mut second = start(&world, "second", &world.database.url, TTL);
    second.says("\"first\" holds its lease").await;

    let held = hold_up(&world, &first).await;
    match fate {
        Fate::Paused => first.signal(Signal::SIGSTOP),
        Fate::CutOff => proxy.fall_silent(),
    }
    let pages = world.database.number("select max(pages) from argos.walks").await;
    let gone = world.database.text("select clock_timestamp()").await.unwrap();
    // The statement that was under way is done now, and nobody there to commit it.
    held.rollback().await.unwrap();
    let asked = world.simulator.requests().len();
    second.says("complete=true").await;
    let next = &world.simulator.requests()[asked];
    assert!(next.query.contains("nextpage_id"), "it began anew after {pages} pages: {next:?}");
    let took = world.database.text(&format!("select began - '{gone}' from terms where epoch = 2")).await.unwrap();
    let late = format!("select count(*) from terms where epoch = 2 and began - '{gone}' > interval '{} s'", 2 * TTL);
    assert_eq!(world.database.number(&late).await, 0, "taken over after {took}, twice the lease is {} s", 2 * TTL);
    assert_eq!(world.database.text("select holder from terms where epoch = 2").await.as_deref(), Some("second"));

    let id = change(&world, 3, "while one is away");
    is_seen(&world, &id, "while one is away", [&second, &first]).await;
    match fate {
        Fate::Paused => first.signal(Signal::SIGCONT),
        // What it had sent arrives now.
        Fate::CutOff => proxy.speak(),
    }
    first.says("\"second\" holds its lease").await;
    let id = change(&world, 7, "when it is back");
    is_seen(&world, &id, "when it is back", [&second, &first]).await;
    assert_undisturbed(&world, [&mut first, &mut second], 402).await;
}

#[tokio::test]
async fn p5_p13_a_leader_paused_inside_a_page_is_replaced_in_time_and_commits_nothing_when_it_wakes_up() {
    failover(Fate::Paused).await;
}

#[tokio::test]
async fn p5_p13_a_leader_cut_off_inside_a_page_is_replaced_in_time_and_what_it_sent_arrives_too_late() {
    failover(Fate::CutOff).await;
}

#[tokio::test]
async fn p5_p13_two_that_lose_their_lease_and_their_sessions_again_and_again_miss_and_double_nothing() {
    let world = world(60, Clock::system()).await;
    // Between two rounds a page is most often on its way.
    world.simulator.set_faults(Faults::parse("slow=150").unwrap());
    let (mut one, mut two) =
        (start(&world, "one", &world.database.url, TTL), start(&world, "two", &world.database.url, TTL));
    let imported = "select count(*) from argos.projects where import_completed_at is not null";
    eventually("the import is complete", async || match world.database.number(imported).await {
        1 => Ok(()),
        _ => Err([one.stderr(), two.stderr()]),
    })
    .await;
    for round in 0..6 {
        let rob = match round % 3 {
            // The other one may take it at once; who had it does not know.
            0 => "holder = case holder when 'one' then 'two' else 'one' end, epoch = epoch + 1",
            1 => "holder = null, epoch = epoch + 1, expires_at = '-infinity'",
            _ => "epoch = epoch + 1, expires_at = '-infinity'",
        };
        let epoch = world.database.number("select epoch from argos.leases").await;
        world.database.execute(&format!("update argos.leases set {rob}")).await;
        if round % 2 == 1 {
            end_all_sessions(&world.database).await;
        }
        let taken = format!("select count(*) from argos.leases where epoch >= {epoch} + 2 and holder is not null");
        eventually("somebody takes it", async || match world.database.number(&taken).await {
            1 => Ok(()),
            _ => Err([one.stderr(), two.stderr()]),
        })
        .await;
        for time in 0..2 {
            let text = format!("round {round}, {time}");
            let id = change(&world, 2 * round + time, &text);
            is_seen(&world, &id, &text, [&one, &two]).await;
        }
    }
    let terms = world.database.number("select count(*) from terms where holder is not null").await;
    assert!(terms >= 6, "{terms}");
    assert_undisturbed(&world, [&mut one, &mut two], 72).await;
}

#[tokio::test]
async fn p5_a_leader_whose_renewals_are_ended_while_the_vendor_keeps_it_waiting_goes_on_renewing() {
    let world = world(20, Clock::system()).await;
    let mut leader = start(&world, "leader", &world.database.url, 2);
    leader.says("complete=true").await;
    let id = change(&world, 3, "after a long wait");
    let asked = world.simulator.requests().len();
    world.simulator.set_faults(Faults::parse("slow=9000@1").unwrap());
    eventually("a page is asked for", async || match world.simulator.requests().len() - asked {
        1.. => Ok(()),
        none => Err(none),
    })
    .await;
    let end_renewal = "select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and wait_event_type = 'Lock' and query like '%argos.leases%'";
    let renewed = async |after: &str| {
        let sql = format!("select count(*) from argos.leases where expires_at > '{after}'");
        eventually("it is renewed", async || match world.database.number(&sql).await {
            1 => Ok(()),
            _ => Err(leader.stderr()),
        })
        .await;
    };
    for _ in 0..3 {
        let mut held = world.database.pool.begin().await.unwrap();
        let expires_at: String = sqlx::query_scalar("select expires_at::text from argos.leases for update")
            .fetch_one(&mut *held)
            .await
            .unwrap();
        eventually("a renewal is ended", async || match world.database.execute(end_renewal).await {
            0 => Err(leader.stderr()),
            _ => Ok(()),
        })
        .await;
        held.rollback().await.unwrap();
        renewed(&expires_at).await;
    }
    assert_eq!(world.simulator.requests().len() - asked, 1, "the page came too early to tell");
    is_seen(&world, &id, "after a long wait", [&leader]).await;
    assert_eq!(world.database.number("select epoch from argos.leases").await, 1);
    assert!(!leader.stderr().contains("ERROR"), "{}", leader.stderr());
    assert_undisturbed(&world, [&mut leader], 21).await;
}

#[tokio::test]
async fn p4_p5_clocks_that_are_two_days_apart_decide_nothing() {
    let now = Clock::system().now();
    let world = world(40, Clock::manual(now)).await;
    let mut engines = Vec::new();
    for (holder, days) in [("behind", -1), ("ahead", 1)] {
        let settings = settings(&world.simulator.base_url(), &world.database.url, &[]);
        let app = App::open(settings, Clock::manual(now + TimeDelta::days(days))).await.unwrap();
        engines.push(world.engine_in(&app, holder).await);
    }
    assert!(engines[0].once().await.unwrap().complete);
    let [mut leader, mut other] = <[_; 2]>::try_from(engines).ok().unwrap();
    for round in 0..4 {
        // Only the database's clock says when a lease runs out.
        let asked = world.simulator.requests().len();
        assert!(matches!(other.hot().await.unwrap_err(), SyncError::NotLeader { .. }));
        assert_eq!(world.simulator.requests().len(), asked);
        world.database.execute("update argos.leases set expires_at = clock_timestamp() - interval '1 second'").await;
        change(&world, round, &format!("round {round}"));
        if round == 1 {
            let created_at = now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            world.simulator.put(json!({"submission_id": "new", "created_at": created_at}));
        }
        let report = other.hot().await.unwrap();
        assert_eq!((report.complete, report.counts.changed), (true, 1), "{round}: {report:?}");
        assert_eq!(report.counts.new, u64::from(round == 1), "{round}");
        std::mem::swap(&mut leader, &mut other);
        assert_eq!(leader.hot().await.unwrap().counts.changed, 0);
    }
    let created = "select count(*) from argos.outbox where submission_id = 'new' and type = 'submission.created'";
    assert_eq!(world.database.number(created).await, 1);
    assert_mirrors(&world, 45).await;
}
