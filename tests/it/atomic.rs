//! P3, P6: a page happens whole or not at all, and the outbox is read in the order of commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::embedded::Cluster;
use argos_sync::heartbeat::Heartbeat;
use argos_sync::simulator::{Faults, Options, Simulator};
use argos_sync::store::database::options;
use argos_sync::sync::engine::Engine;
use argos_sync::sync::error::SyncError;
use nix::sys::signal::Signal;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::support::program::{self, Program, eventually};
use crate::support::rows::{PLACE_TABLES, written_and};
use crate::support::truth::assert_once;
use crate::support::{Database, World, postgres, world};

/// All that a page writes.
async fn written(database: &Database) -> Vec<String> {
    written_and(database, PLACE_TABLES).await
}

async fn small(initial: u64, changes: &[(&str, &str)]) -> World {
    let world = World::with(Options { initial, ..Options::default() }, changes, Clock::system()).await;
    world.simulator.freeze();
    world
}

/// Changes a submission in the vendor's hands.
fn change(simulator: &Simulator, round: usize) -> String {
    let truth = simulator.truth();
    let id = truth[round % truth.len()]["submission_id"].as_str().unwrap().to_owned();
    let attempts = json!([{"attemptCnt": 100 + round, "verificationResult": "success"}]);
    let result = if truth[round % truth.len()]["kyc"]["result"] == "approved" { "rejected" } else { "approved" };
    // Raised, or a match more where it is open: an alert either way.
    let aml = json!({"currentstatus": "Red Flag", "matches": [{"resource_id": format!("r{round}")}]});
    simulator.patch(&id, json!({"kyc": {"result": result, "attempts": attempts}, "aml": aml}));
    id
}

#[tokio::test]
async fn p3_a_page_that_fails_at_any_statement_leaves_nothing_and_heals() {
    let world = small(60, &[]).await;
    let mut engine = world.engine().await;
    assert_eq!(engine.hot().await.unwrap().counts.new, 60);
    let database = &world.database;
    database
        .execute(
            "create function argos.fail() returns trigger language plpgsql as
             $$ begin raise exception 'on purpose'; end $$",
        )
        .await;
    let row = |when: &str, table: &str| {
        format!("create trigger fail {when} on argos.{table} for each row execute function argos.fail()")
    };
    let mut failures: Vec<(String, &str)> = [
        ("before update", "leases"),
        ("before insert or update", "submissions"),
        ("before delete", "attempts"),
        ("before insert", "attempts"),
        ("before insert or update", "submission_views"),
        ("before insert", "submission_versions"),
        ("before insert", "alerts"),
        ("before insert or update", "counters"),
        ("before insert or update", "walks"),
        ("before insert or update", "created_days"),
        ("before update", "outbox_counter"),
        ("before insert", "outbox"),
        ("after insert", "outbox"),
    ]
    .map(|(when, table)| (row(when, table), table))
    .into();
    // The commit itself fails.
    for table in ["outbox", "submissions", "walks"] {
        let at_commit = format!(
            "create constraint trigger fail after insert or update on argos.{table} deferrable initially deferred
             for each row execute function argos.fail()"
        );
        failures.push((at_commit, table));
    }
    for (round, (trigger, table)) in failures.into_iter().enumerate() {
        let id = change(&world.simulator, round);
        let before = written(database).await;
        database.execute(&trigger).await;
        let error = engine.hot().await.expect_err(&trigger);
        assert!(matches!(error, SyncError::Store(_)), "{trigger}: {error}");
        assert_eq!(written(database).await, before, "{trigger}");

        database.execute(&format!("drop trigger fail on argos.{table}")).await;
        let report = engine.hot().await.unwrap();
        assert_eq!((report.counts.changed, report.counts.new), (1, 0), "{trigger}");
        let told = format!(
            "select count(distinct type) from argos.outbox o join argos.submissions s using (project_id, submission_id, version)
              where submission_id = '{id}' and type in ('kyc.result_changed', 'submission.updated')"
        );
        assert_eq!(database.number(&told).await, 2, "{trigger}");
        assert_once(database).await;
    }
}

#[tokio::test]
async fn p3_the_cursor_is_never_ahead_of_the_rows() {
    let world = small(200, &[("api.count", "50")]).await;
    let mut engine = world.engine().await;
    // The third page fails, as long as there is one item of it that cannot be written.
    let third = world.simulator.truth()[80]["submission_id"].as_str().unwrap().to_owned();
    let database = &world.database;
    database
        .execute(&format!(
            "create function argos.fail() returns trigger language plpgsql as
             $$ begin if new.submission_id = '{third}' then raise exception 'on purpose'; end if; return new; end $$;
             create trigger fail before insert on argos.outbox for each row execute function argos.fail()"
        ))
        .await;
    for _ in 0..3 {
        engine.hot().await.unwrap_err();
        assert_eq!(database.number("select pages from argos.walks").await, 2);
        assert_eq!(database.number("select count(*) from argos.submissions").await, 100);
        assert_eq!(database.number("select count(covered_at) from argos.created_days").await, 0, "nothing is covered");
        // The cursor names the last item that is stored.
        let stored = "select count(*) from argos.submissions s join argos.walks w on w.cursor_id = s.submission_id";
        assert_eq!(database.number(stored).await, 1);
    }
    database.execute("drop trigger fail on argos.outbox").await;
    let report = engine.hot().await.unwrap();
    assert_eq!((report.complete, report.pages, report.counts.new), (true, 2, 100));
    assert!(database.number("select count(covered_at) from argos.created_days").await >= 3);
    assert_once(database).await;
}

#[tokio::test]
async fn p3_an_unknown_commit_is_resolved_by_reading() {
    for fate in [Fate::Lost, Fate::Unanswered] {
        let world = small(200, &[("api.count", "50")]).await;
        let wire = Wire::to(&world.database).await;
        let app = app(&world.simulator, &wire.url, &[("api.count", "50"), ("database.connect_timeout", "5s")]).await;
        let mut engine = engine(&app).await;
        // A pass that comes to nothing, so that requests are reserved. From then on a pass begins with a commit, and each
        // page has one.
        world.simulator.set_faults(Faults::parse("status-500").unwrap());
        engine.hot().await.unwrap_err();
        world.simulator.set_faults(Faults::default());
        for page in 1..=4 {
            let before = world.database.number("select count(*) from argos.submissions").await;
            assert_eq!(before, (page - 1) * 50);
            wire.cut_at_commit(2, fate);
            let error = engine.hot().await.unwrap_err();
            assert!(matches!(error, SyncError::Store(_)), "{error}");
            assert!(wire.has_cut());
            let came = world.database.number("select count(*) from argos.submissions").await - before;
            assert_eq!(came, if matches!(fate, Fate::Lost) { 0 } else { 50 }, "{fate:?}");
            if matches!(fate, Fate::Lost) {
                // What did not happen is done by the next pass, one page of it.
                wire.cut_at_commit(3, fate);
                assert_eq!(engine.hot().await.is_ok(), page == 4);
            }
            assert_once(&world.database).await;
        }
        wire.cut_at_commit(0, fate);
        let report = engine.hot().await.unwrap();
        assert_eq!(report.counts.unchanged, 200);
        assert_once(&world.database).await;
        assert_eq!(world.database.number("select count(*) from argos.outbox").await, 200);
    }
}

#[tokio::test]
async fn p6_a_late_commit_is_not_skipped() {
    for ends_well in [true, false] {
        let simulator = Simulator::start(Options { initial: 50, ..Options::default() }, Clock::system()).await.unwrap();
        simulator.freeze();
        let database = Database::fresh().await;
        // Commits of project `late` wait for a lock that the test holds; their positions are taken by then.
        database
            .execute(
                "create function argos.hold() returns trigger language plpgsql as
                 $$ begin perform pg_advisory_xact_lock(42); return null; end $$;
                 create constraint trigger hold after insert on argos.outbox deferrable initially deferred
                 for each row when (new.project_id = 'late') execute function argos.hold()",
            )
            .await;
        let mut lock = database.pool.acquire().await.unwrap();
        sqlx::query("select pg_advisory_lock(42)").execute(&mut *lock).await.unwrap();

        let mut passes = Vec::new();
        for (waiting, project) in ["late", "early"].into_iter().enumerate() {
            let app = app(&simulator, &database.url, &[("api.project_id", project)]).await;
            passes.push(tokio::spawn(async move { engine(&app).await.hot().await }));
            blocked(&database, waiting as i64 + 1).await;
        }
        // The one that could have been early waits for its turn: nothing can be seen, so nothing can be skipped.
        let (mut mine, mut read) = (0, Vec::new());
        consume(&database, &mut mine, &mut read).await;
        assert_eq!(read.len(), 0);
        assert!(!passes[1].is_finished());

        if !ends_well {
            let late = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and not granted
                and database = (select oid from pg_database where datname = current_database())";
            database.execute(late).await;
        }
        sqlx::query("select pg_advisory_unlock(42)").execute(&mut *lock).await.unwrap();
        let mut results = Vec::new();
        for pass in passes {
            while !pass.is_finished() {
                consume(&database, &mut mine, &mut read).await;
            }
            results.push(pass.await.unwrap());
        }
        consume(&database, &mut mine, &mut read).await;
        assert_eq!(results[0].is_ok(), ends_well);
        results[1].as_ref().unwrap();
        let expected = if ends_well { 100 } else { 50 };
        assert_eq!(read, (1..=expected).collect::<Vec<i64>>(), "in order, without a gap, nothing skipped");
        assert_once(&database).await;
    }
}

/// A consumer as the documentation has it: "position > mine, in order".
async fn consume(database: &Database, mine: &mut i64, read: &mut Vec<i64>) {
    let new: Vec<i64> = sqlx::query_scalar("select position from argos.outbox where position > $1 order by position")
        .bind(*mine)
        .fetch_all(&database.pool)
        .await
        .unwrap();
    *mine = new.last().copied().unwrap_or(*mine);
    read.extend(new);
}

#[tokio::test]
async fn p3_a_terminated_backend_fails_the_pass_and_the_next_heals() {
    let world = small(100, &[]).await;
    let database = &world.database;
    assert!(world.engine().await.hot().await.unwrap().complete);
    database
        .execute(
            "create function argos.hold() returns trigger language plpgsql as
             $$ begin perform pg_advisory_xact_lock(42); return null; end $$",
        )
        .await;
    let mut lock = database.pool.acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock(42)").execute(&mut *lock).await.unwrap();
    for (round, table) in ["submissions", "outbox", "walks"].into_iter().enumerate() {
        change(&world.simulator, round);
        database
            .execute(&format!(
                "create trigger hold after insert or update on argos.{table} for each statement execute function argos.hold()"
            ))
            .await;
        let before = written(database).await;
        let mut engine = world.engine().await;
        let terminate = async {
            blocked(database, 1).await;
            let all = format!(
                "select pg_terminate_backend(pid) from pg_stat_activity where {OTHERS} and wait_event_type = 'Lock'"
            );
            database.execute(&all).await
        };
        let (result, terminated) = tokio::join!(engine.hot(), terminate);
        let error = result.unwrap_err();
        assert!(matches!(error, SyncError::Store(_)), "{error}");
        assert_eq!(terminated, 1);
        database.execute(&format!("drop trigger hold on argos.{table}")).await;
        assert_eq!(written(database).await, before);
        // The same engine goes on.
        assert_eq!(engine.hot().await.unwrap().counts.changed, 1);
        assert_once(database).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_a_daemon_whose_database_goes_away_says_so_waits_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    postgres::reachable(directory.path());
    let data_dir = directory.path().join("cluster");
    let cluster = Cluster::start(&data_dir).await.unwrap();
    cluster.ensure_database("mirror").await.unwrap();
    let url = cluster.url("mirror");
    let simulator = Simulator::start(Options { initial: 50, ..Options::default() }, Clock::system()).await.unwrap();
    simulator.freeze();
    let changes = [("poll.interval", "1s"), ("log.format", "text"), ("database.connect_timeout", "500ms")];
    let mut daemon = Program::start(program::command(&["run"], &simulator.base_url(), &url, &changes));
    daemon.says("complete=true").await;

    cluster.stop().await.unwrap();
    daemon.says("ERROR").await;
    daemon.says("check that it runs").await;
    daemon.says("failed as before").await;
    let id = change(&simulator, 0);
    assert!(daemon.runs());

    let cluster = Cluster::start(&data_dir).await.unwrap();
    let mut look = PgConnection::connect(&url).await.unwrap();
    eventually("the change is there", async || {
        let told: i64 = sqlx::query_scalar(
            "select count(*) from argos.outbox where submission_id = $1 and type = 'kyc.result_changed'",
        )
        .bind(&id)
        .fetch_one(&mut look)
        .await
        .unwrap();
        if told == 1 { Ok(()) } else { Err((told, daemon.stderr())) }
    })
    .await;
    daemon.signal(Signal::SIGTERM);
    let ended = daemon.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    look.close().await.unwrap();
    cluster.stop().await.unwrap();
}

/// Connections of others in this database.
const OTHERS: &str = "datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";

/// Waits until so many connections wait for a lock.
async fn blocked(database: &Database, count: i64) {
    let waiting = format!("select count(*) from pg_stat_activity where {OTHERS} and wait_event_type = 'Lock'");
    eventually("they wait for a lock", async || match database.number(&waiting).await {
        now if now == count => Ok(()),
        now => Err(now),
    })
    .await;
}

async fn app(simulator: &Simulator, database_url: &str, changes: &[(&str, &str)]) -> App {
    world::install_tls();
    App::open(world::settings(&simulator.base_url(), database_url, changes), Clock::system()).await.unwrap()
}

async fn engine(app: &App) -> Engine {
    let project = &app.settings.projects[0];
    app.engine(project, "test", &Heartbeat::new(), &CancellationToken::new()).await.unwrap()
}

/// What becomes of a COMMIT.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It does not arrive.
    Lost,
    /// It is done, and the answer does not arrive.
    Unanswered,
}

/// A wire to the database that breaks at a COMMIT.
struct Wire {
    url: String,
    cut: Arc<Cut>,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Cut {
    /// Which COMMIT from now; 0: none.
    countdown: AtomicUsize,
    unanswered: AtomicBool,
}

impl Wire {
    async fn to(database: &Database) -> Self {
        let real = options(&database.url).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = real.clone().host("127.0.0.1").port(listener.local_addr().unwrap().port());
        let mut url = url::Url::parse("postgres://127.0.0.1").unwrap();
        url.set_username(near.get_username()).unwrap();
        url.set_port(Some(near.get_port())).unwrap();
        url.set_path(near.get_database().unwrap());
        url.set_query(Some("sslmode=disable"));
        let cut = Arc::new(Cut::default());
        let serving = tokio::spawn({
            let cut = cut.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let (cut, real) = (cut.clone(), real.clone());
                    tokio::spawn(async move {
                        match real.get_socket() {
                            Some(directory) => {
                                let path = directory.join(format!(".s.PGSQL.{}", real.get_port()));
                                pass_on(client, UnixStream::connect(path).await.unwrap(), &cut).await;
                            }
                            None => {
                                let server = TcpStream::connect((real.get_host(), real.get_port())).await.unwrap();
                                pass_on(client, server, &cut).await;
                            }
                        }
                    });
                }
            }
        });
        Self { url: url.to_string(), cut, serving }
    }

    fn cut_at_commit(&self, number: usize, fate: Fate) {
        self.cut.unanswered.store(matches!(fate, Fate::Unanswered), Ordering::SeqCst);
        self.cut.countdown.store(number, Ordering::SeqCst);
    }

    fn has_cut(&self) -> bool {
        self.cut.countdown.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Passes messages on; returns, and so closes both ends, at the COMMIT that is to be cut.
async fn pass_on(client: TcpStream, server: impl AsyncRead + AsyncWrite, cut: &Cut) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut asked, mut answered) = (vec![0; 1 << 20], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            count = from_client.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                // A simple query: 'Q', its length, its text.
                let commits = asked[..count].windows(12).any(|window| window == b"Q\0\0\0\x0bCOMMIT\0");
                let due = commits && cut.countdown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1);
                if due && !cut.unanswered.load(Ordering::SeqCst) {
                    return;
                }
                if to_server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
                if due {
                    // Its answer tells that it is done, and goes no further.
                    let _ = tokio::time::timeout(Duration::from_secs(30), from_server.read(&mut answered)).await;
                    return;
                }
            }
            count = from_server.read(&mut answered) => {
                let Ok(count @ 1..) = count else { return };
                if to_client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
