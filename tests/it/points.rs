//! P1, P2, P3: whichever message to PostgreSQL is the last one that is sent, or the first one that is not answered, what
//! follows leaves what an undisturbed run leaves.
//!
//! Nothing of this is in the program: a wire between it and the database names the messages, and breaks at one of them.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::heartbeat::Heartbeat;
use argos_sync::simulator::{Options, Simulator};
use argos_sync::sync::engine::Engine;
use argos_sync::sync::error::SyncError;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::support::program::{self, PATIENCE, Program, eventually};
use crate::support::tables::Tables;
use crate::support::truth::assert_once;
use crate::support::wire::{Fate, Point, Wire};
use crate::support::{Database, world};

/// `all`: every statement of every transaction, and every message of one of them. `make points` sets it. Otherwise what
/// differs most: see [`Stage::kills`].
const EXTENT: &str = "ARGOS_SYNC_TEST_POINTS";

/// So many databases are worked on at a time.
const WORKERS: usize = 3;

/// A daemon says so when it has read the newest days.
const READ: &str = "lane=\"hot\" complete=true";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn all() -> bool {
    std::env::var(EXTENT).is_ok_and(|extent| extent == "all")
}

/// How the program is called.
#[derive(Clone)]
struct Run {
    base_url: String,
    args: Vec<String>,
}

impl Run {
    fn of(simulator: &Simulator, args: &[&str]) -> Self {
        Self { base_url: simulator.base_url(), args: args.iter().map(|arg| (*arg).to_owned()).collect() }
    }

    fn start(&self, database_url: &str) -> Program {
        let changes = [("api.count", "3"), ("lease.holder", "test"), ("log.format", "text"), ("poll.interval", "1s")];
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let command: Command = program::command(&args, &self.base_url, database_url, &changes);
        Program::start(command)
    }

    /// To its end; a daemon is asked to end once it has read everything.
    async fn to_its_end(&self, database_url: &str) {
        let mut program = self.start(database_url);
        if self.args == ["run"] {
            program.says(READ).await;
            program.signal(Signal::SIGTERM);
        }
        let ended = program.end().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

/// What is done, and what it leaves when nothing disturbs it.
struct Stage {
    name: &'static str,
    run: Run,
    /// What it says to the database, from its first transaction on.
    said: Vec<Point>,
    goal: Tables,
    /// The last event's.
    position: i64,
}

impl Stage {
    /// Does it in a database, and notes what is said.
    async fn undisturbed(name: &'static str, run: Run, database: &Database) -> Self {
        let wire = Wire::to(database, None).await;
        run.to_its_end(&wire.url).await;
        assert_once(database).await;
        let said = wire.said().into_iter().skip_while(|point| point.statement != "BEGIN").collect();
        let goal = Tables::and_places(database).await;
        Self { name, run, said, goal, position: position(database).await }
    }

    /// Its transactions: the points of each.
    fn transactions(&self) -> Vec<&[Point]> {
        transactions(&self.said)
    }

    /// Those that write a page and the walk's place.
    fn pages(&self) -> Vec<&[Point]> {
        with(self.transactions(), "insert into argos.walks")
    }

    /// Every point of a transaction, and of a statement outside of one that writes.
    fn points(&self) -> impl Iterator<Item = &Point> {
        let outside = |point: &Point| point.statement == "BEGIN" || writes(&point.statement);
        self.said.iter().filter(move |point| point.in_transaction || outside(point))
    }

    /// Where the program is killed: with `all`, before and after all that acts. Otherwise around the commits of pages,
    /// after those of other transactions, and before whatever writes in these pages.
    fn kills(&self, pages: &[usize]) -> Vec<(Point, Fate)> {
        let listed = self.pages();
        let of_pages: Vec<&Point> = pages.iter().flat_map(|page| listed[*page]).collect();
        let due = |(point, fate): &(Point, Fate)| match point.commits() {
            _ if all() => point.acts(),
            true => point.in_transaction && *fate == Fate::Unanswered || listed.iter().any(|page| page.contains(point)),
            false => *fate == Fate::Unsent && of_pages.contains(&point) && point.acts() && writes(&point.statement),
        };
        self.points().flat_map(both).filter(due).collect()
    }
}

fn writes(statement: &str) -> bool {
    ["insert ", "update ", "delete "].iter().any(|verb| statement.starts_with(verb))
}

fn both(point: &Point) -> impl Iterator<Item = (Point, Fate)> {
    [(point.clone(), Fate::Unsent), (point.clone(), Fate::Unanswered)].into_iter()
}

/// What lies between a BEGIN and its COMMIT, both included.
fn transactions(said: &[Point]) -> Vec<&[Point]> {
    let mut transactions = Vec::new();
    let mut rest = said;
    while let Some(begin) = rest.iter().position(|point| point.statement == "BEGIN") {
        let Some(length) = rest[begin..].iter().position(|point| point.statement == "COMMIT") else { break };
        transactions.push(&rest[begin..=begin + length]);
        rest = &rest[begin + length + 1..];
    }
    transactions
}

/// Transactions that have a statement with this beginning.
fn with<'a>(mut transactions: Vec<&'a [Point]>, beginning: &str) -> Vec<&'a [Point]> {
    transactions.retain(|points| points.iter().any(|point| point.statement.starts_with(beginning)));
    transactions
}

/// Fails unless a transaction has statements with these beginnings, in this order, between its BEGIN and its COMMIT.
fn has(transaction: &[Point], beginnings: &[&str]) {
    let acts = transaction.iter().filter(|point| point.acts());
    let statements: Vec<&str> = acts.map(|point| point.statement.as_str()).collect();
    assert_eq!((statements[0], statements[statements.len() - 1]), ("BEGIN", "COMMIT"));
    let mut rest = statements.iter();
    for beginning in beginnings {
        assert!(rest.any(|said| said.starts_with(beginning)), "{beginning:?} is not in its place in {statements:#?}");
    }
}

async fn position(database: &Database) -> i64 {
    database.number("select last_position from argos.outbox_counter").await
}

/// A database of which the rows can be put back. It need not be safe from the machine's end.
async fn scratch() -> Arc<Database> {
    let database = Database::fresh().await;
    database
        .execute(
            "do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$",
        )
        .await;
    Arc::new(database)
}

/// Keeps all rows, to put them back.
async fn keep(database: &Database) {
    database.execute("drop schema if exists kept cascade; create schema kept").await;
    in_each_table(database, &["create table kept.%1$I as table argos.%1$I"]).await;
}

/// Puts back the rows that were kept. Quicker than one more database.
async fn put_back(database: &Database) {
    in_each_table(database, &["delete from argos.%1$I", "insert into argos.%1$I table kept.%1$I"]).await;
}

/// In one transaction, without foreign keys.
async fn in_each_table(database: &Database, statements: &[&str]) {
    let each: String = statements.iter().map(|sql| format!("execute format('{sql}', name);")).collect();
    let sql = format!(
        "do $$ declare name text; begin
           set local session_replication_role = replica;
           for name in select relname from pg_class where relnamespace = 'argos'::regnamespace and relkind = 'r' loop
             {each}
           end loop;
         end $$"
    );
    database.execute(&sql).await;
}

/// What is done at a point.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    /// The program is killed, and started again.
    Kill,
    /// The connection is cut. The daemon goes on.
    Cut,
}

impl Disturbance {
    async fn at(self, stage: &Stage, point: &Point, fate: Fate, database: &Database) {
        let wire = Wire::to(database, Some((point.clone(), fate))).await;
        let mut program = stage.run.start(&wire.url);
        let broken = tokio::time::timeout(PATIENCE, wire.broken()).await;
        assert!(broken.is_ok() && program.runs(), "it did not come to this: {}", program.stderr());
        match self {
            Self::Kill => {
                program.kill();
                wire.let_go();
                assert_once(database).await;
                stage.run.to_its_end(&database.url).await;
            }
            Self::Cut => {
                wire.let_go();
                eventually("the daemon goes on", async || match position(database).await {
                    position if position == stage.position => Ok(()),
                    other => Err((other, program.stderr())),
                })
                .await;
                program.says(READ).await;
                program.signal(Signal::SIGTERM);
                let ended = program.end().await;
                assert_eq!(ended.code, Some(0), "{ended:?}");
            }
        }
        assert_once(database).await;
    }
}

/// Disturbs a stage at all of these points, in several databases at a time, which are as they were before it.
async fn disturb(
    stage: &Arc<Stage>,
    disturbance: Disturbance,
    points: Vec<(Point, Fate)>,
    databases: &[Arc<Database>],
) {
    let (count, began) = (points.len(), Instant::now());
    let statements: BTreeSet<String> = points.iter().map(|(point, _)| point.statement.clone()).collect();
    let queue = Arc::new(Mutex::new(points));
    let workers = LocalSet::new();
    let started: Vec<_> = databases
        .iter()
        .map(|database| {
            let (stage, queue, database) = (stage.clone(), queue.clone(), database.clone());
            workers.spawn_local(async move {
                keep(&database).await;
                let next = || queue.lock().unwrap().pop();
                while let Some((point, fate)) = next() {
                    let what = format!("{}: {disturbance:?} at {point:?}, which is {fate:?}", stage.name);
                    put_back(&database).await;
                    disturbance.at(&stage, &point, fate, &database).await;
                    let left = Tables::and_places(&database).await;
                    // A daemon goes on reading, and its walks with it.
                    let same = match disturbance {
                        Disturbance::Kill => stage.goal.compare(&left),
                        Disturbance::Cut => stage.goal.without_walks().compare(&left.without_walks()),
                    };
                    same.unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                // Whoever had nothing to do is where the others are; for them nothing is left to be written.
                stage.run.to_its_end(&database.url).await;
            })
        })
        .collect();
    workers
        .run_until(async {
            for worker in started {
                worker.await.unwrap();
            }
        })
        .await;
    println!(
        "{}: {count} times {disturbance:?} at {} statements of {} transactions, {} of them pages, in {:?}",
        stage.name,
        statements.len(),
        stage.transactions().len(),
        stage.pages().len(),
        began.elapsed()
    );
}

/// Seven submissions, all of them young enough for the hot lane.
async fn vendor() -> Simulator {
    world::install_tls();
    let options = Options { initial: 7, history: 2 * DAY, ..Options::default() };
    let simulator = Simulator::start(options, Clock::system()).await.unwrap();
    simulator.freeze();
    simulator
}

fn ids(simulator: &Simulator) -> Vec<String> {
    simulator.truth().iter().map(|item| item["submission_id"].as_str().unwrap().to_owned()).collect()
}

/// A raised Red Flag and other changes on the last page, a changed result on the one before, on the first somebody new
/// and an item for the quarantine: lists begin with the newest.
fn life(simulator: &Simulator) {
    let (ids, oldest) = (ids(simulator), simulator.truth()[0].clone());
    let other = |item: &serde_json::Value| if item["kyc"]["result"] == "approved" { "rejected" } else { "approved" };
    simulator.patch(
        &ids[0],
        json!({
            "kyc": {"result": other(&oldest), "attempts": [{"attemptCnt": 9}]},
            "aml": {"currentstatus": "Red Flag", "matches": [{"resource_id": "r"}]},
            "bank_verification": {"result": "fail"}
        }),
    );
    let middle = simulator.truth()[3].clone();
    simulator.patch(&ids[3], json!({"kyc": {"result": other(&middle)}}));
    let mut new = oldest;
    let now = Clock::system().now();
    new["submission_id"] = json!("somebody-new");
    new["created_at"] = json!(now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    simulator.put(new);
    let deep = format!(r#"{{"submission_id":"deep","x":{}{}}}"#, "[".repeat(90), "]".repeat(90));
    simulator.put_raw("deep", now, &deep);
}

/// What every page's transaction has, in this order.
const PAGE: [&str; 5] = [
    "select set_config('statement_timeout'",
    "update argos.leases set expires_at",
    "select s.submission_id, v.body_hash",
    "insert into argos.walks",
    "COMMIT",
];

/// What the transaction of a page with changes has between its look-ups and its commit, in this order.
const CHANGES: [&str; 8] = [
    "update argos.leases set expires_at",
    "insert into argos.submissions ",
    "insert into argos.submission_views",
    "insert into argos.submission_versions",
    "insert into argos.counters",
    "insert into argos.walks",
    "update argos.outbox_counter",
    "insert into argos.outbox ",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_killed_at_any_message_to_the_database_it_ends_as_if_nothing_had_been() {
    let simulator = vendor().await;
    let calm = scratch().await;
    let mut databases = Vec::new();
    for _ in 0..WORKERS {
        databases.push(scratch().await);
    }

    let import = Stage::undisturbed("the import", Run::of(&simulator, &["once"]), &calm).await;
    assert_eq!(import.pages().len(), 3);
    for page in import.pages() {
        has(page, &PAGE);
        has(page, &CHANGES);
    }
    let end = [
        "insert into argos.walks",
        "update argos.projects set fully_walked_at",
        "update argos.projects set import_completed_at",
        "insert into argos.outbox ",
    ];
    has(import.pages()[2], &end);
    let outside = import.points().filter(|point| point.commits() && !point.in_transaction);
    let outside: Vec<_> = outside.map(|point| point.statement.as_str()).collect();
    for begins in [
        "insert into argos.projects",
        "insert into argos.leases",
        "update argos.leases set holder = $2",
        "update argos.leases set holder = null",
    ] {
        assert!(outside.iter().any(|statement| statement.starts_with(begins)), "{begins:?} is not in {outside:#?}");
    }
    let kills = import.kills(&[]);
    assert!(kills.len() >= import.transactions().len() + 3, "{}", kills.len());
    disturb(&Arc::new(import), Disturbance::Kill, kills, &databases).await;

    life(&simulator);
    let changes = Stage::undisturbed("changes", Run::of(&simulator, &["once"]), &calm).await;
    assert_eq!(changes.pages().len(), 3);
    let (first, middle, last) = (changes.pages()[0], changes.pages()[1], changes.pages()[2]);
    for page in [first, middle, last] {
        has(page, &PAGE);
        has(page, &CHANGES);
    }
    has(first, &["delete from argos.quarantine", "insert into argos.quarantine", "insert into argos.walks"]);
    let of_last = [
        "delete from argos.attempts",
        "insert into argos.attempts",
        "insert into argos.aml_matches",
        "insert into argos.bank_verifications",
        "insert into argos.submission_versions",
        "insert into argos.alerts",
        "update argos.projects set fully_walked_at",
        "insert into argos.outbox ",
    ];
    has(last, &of_last);
    for kind in [
        "submission.created",
        "kyc.result_changed",
        "aml.red_flag_raised",
        "kyc.attempt_added",
        "bank_verification.changed",
    ] {
        let told = format!("select count(*) from argos.outbox where type = '{kind}'");
        assert!(calm.number(&told).await >= 1, "{kind}");
    }
    assert_eq!(calm.number("select count(*) from argos.quarantine").await, 1);
    let mut kills = changes.kills(&[1, 2]);
    if all() {
        // Also before and after what only prepares.
        kills.extend(last.iter().filter(|point| !point.acts()).flat_map(both));
    }
    for page in [middle, last] {
        let missing = |point: &&Point| {
            writes(&point.statement) && point.acts() && !kills.contains(&((*point).clone(), Fate::Unsent))
        };
        assert_eq!(page.iter().find(missing), None);
        assert!(kills.contains(&(page[page.len() - 1].clone(), Fate::Unanswered)));
    }
    disturb(&Arc::new(changes), Disturbance::Kill, kills, &databases).await;

    // One that is read by id.
    let id = "somebody-new";
    simulator.patch(id, json!({"kyc": {"result": "pending"}, "memo": {"text": "read by id"}}));
    let by_id = Stage::undisturbed("a read by id", Run::of(&simulator, &["refresh", id]), &calm).await;
    let writes = with(by_id.transactions(), "insert into argos.submission_versions");
    assert_eq!(writes.len(), 1);
    has(
        writes[0],
        &["update argos.leases set expires_at", "insert into argos.submission_versions", "insert into argos.outbox "],
    );
    let kills = by_id.kills(&[]);
    disturb(&Arc::new(by_id), Disturbance::Kill, kills, &databases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_daemon_whose_connection_breaks_at_any_message_reads_what_became_of_it_and_goes_on() {
    let simulator = vendor().await;
    let calm = scratch().await;
    let mut databases = vec![calm.clone()];
    for _ in 1..=WORKERS {
        databases.push(scratch().await);
    }
    let once = Run::of(&simulator, &["once"]);
    for database in &databases {
        once.to_its_end(&database.url).await;
    }
    life(&simulator);
    let stage = Stage::undisturbed("a daemon's changes", Run::of(&simulator, &["run"]), &calm).await;
    let pages = with(stage.pages(), "insert into argos.submission_versions");
    assert_eq!(pages.len(), 3);
    for page in &pages {
        has(page, &PAGE);
        has(page, &CHANGES);
    }
    // With `all`, before and after each statement of its pages. Otherwise around their commits.
    let points = pages.into_iter().flatten().filter(|point| point.commits() || all() && point.acts());
    let cuts: Vec<_> = points.flat_map(both).collect();
    assert_eq!(cuts.iter().filter(|(point, _)| point.statement == "COMMIT").count(), 2 * 3);
    disturb(&Arc::new(stage), Disturbance::Cut, cuts, &databases[1..]).await;
}

/// Settings with which an erasure takes moments.
async fn eraser(simulator: &Simulator, database_url: &str) -> Engine {
    let changes = [("api.count", "3"), ("erasure.confirm_after", "1ms")];
    let settings = world::settings(&simulator.base_url(), database_url, &changes);
    let app = App::open(settings, Clock::system()).await.unwrap();
    let project = &app.settings.projects[0];
    app.engine(project, "test", &Heartbeat::new(), &CancellationToken::new()).await.unwrap()
}

/// Looks again until nothing is suspected, whatever the database does.
async fn confirm(engine: &mut Engine, database: &Database) {
    eventually("the deletion is carried out", async || {
        if database.number("select count(*) from argos.erasures").await == 0 {
            return Ok(());
        }
        match engine.confirm().await {
            Ok(_) => Err(None),
            Err(error) if matches!(error, SyncError::Store(_)) => Err(Some(error)),
            Err(error) => panic!("{error}"),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_p7_an_erasure_that_is_broken_off_at_any_message_is_carried_out_once() {
    let simulator = vendor().await;
    let database = scratch().await;
    let mut engine = eraser(&simulator, &database.url).await;
    engine.once().await.unwrap();
    simulator.blank(&ids(&simulator)[1]);
    engine.once().await.unwrap();
    engine.release().await.unwrap();
    assert_eq!(database.number("select count(*) from argos.erasures").await, 1);
    keep(&database).await;

    let wire = Wire::to(&database, None).await;
    confirm(&mut eraser(&simulator, &wire.url).await, &database).await;
    let goal = Tables::and_places(&database).await;
    assert_eq!(database.number("select count(*) from argos.erasure_receipts").await, 1);
    assert_once(&database).await;
    let said = wire.said();
    let carried_out = with(transactions(&said), "insert into argos.erasure_receipts");
    assert_eq!(carried_out.len(), 1);
    has(
        carried_out[0],
        &[
            "update argos.leases set expires_at",
            "insert into argos.submissions ",
            "insert into argos.submission_versions",
            "update argos.submission_versions",
            "insert into argos.outbox ",
        ],
    );
    let points: Vec<&Point> = match all() {
        true => transactions(&said).into_iter().flatten().collect(),
        false => carried_out[0].iter().filter(|point| writes(&point.statement) || point.commits()).collect(),
    };
    let due = |(point, fate): &(Point, Fate)| all() || point.commits() || *fate == Fate::Unsent;
    let points: Vec<_> = points.into_iter().filter(|point| point.acts()).flat_map(both).filter(due).collect();
    let began = Instant::now();
    for (point, fate) in &points {
        // Killed is an engine that is dropped, with its connections.
        for killed in [true, false].into_iter().filter(|killed| *killed || all() || point.commits()) {
            put_back(&database).await;
            let wire = Wire::to(&database, Some((point.clone(), *fate))).await;
            let mut engine = eraser(&simulator, &wire.url).await;
            let broken = async {
                wire.broken().await;
                if !killed {
                    // The engine goes on.
                    wire.let_go();
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = confirm(&mut engine, &database) => assert!(!killed, "it did not come to {point:?}"),
                () = broken => {}
            }
            assert!(wire.has_broken(), "it did not come to {point:?}");
            drop(engine);
            wire.let_go();
            assert_once(&database).await;
            confirm(&mut eraser(&simulator, &database.url).await, &database).await;
            assert_once(&database).await;
            let same = goal.compare(&Tables::and_places(&database).await);
            same.unwrap_or_else(|error| panic!("{point:?}, which is {fate:?}, killed: {killed}: {error}"));
        }
    }
    println!("an erasure: broken off at {} points in {:?}", points.len(), began.elapsed());
}
