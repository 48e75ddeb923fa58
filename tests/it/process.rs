//! P9: the end of the process: what a signal, a second signal and a wrong setting do.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use argos_sync::clock::Clock;
use argos_sync::simulator::{Faults, Options, Simulator};
use argos_sync::store::database::options;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sqlx::ConnectOptions;
use sqlx::migrate::Migrate;

use crate::support::process::argos_sync;
use crate::support::program::{self, Ended, Program, eventually};
use crate::support::{Database, postgres};

/// An end is prompt when nobody would reach for a second signal; shorter than any time-out that is in play.
const PROMPT: Duration = Duration::from_secs(5);

async fn vendor(initial: u64, faults: &str) -> Simulator {
    let options = Options { initial, faults: Faults::parse(faults).unwrap(), ..Options::default() };
    let vendor = Simulator::start(options, Clock::system()).await.unwrap();
    vendor.freeze();
    vendor
}

fn run(vendor: &Simulator, database: &Database, changes: &[(&str, &str)]) -> Command {
    let changes = [&[("log.format", "text"), ("api.count", "50")], changes].concat();
    program::command(&["run"], &vendor.base_url(), &database.url, &changes)
}

/// Sends the signal and expects a clean end.
async fn ends_cleanly(daemon: &mut Program, signal: Signal) -> Ended {
    let asked = Instant::now();
    daemon.signal(signal);
    let ended = daemon.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(asked.elapsed() < PROMPT, "it took {:?}: {ended:?}", asked.elapsed());
    assert!(ended.stderr.contains("ending after the open page"), "{ended:?}");
    ended
}

async fn pages(database: &Database) -> i64 {
    database.number("select coalesce((select pages from argos.walks where lane = 'hot'), 0)").await
}

#[tokio::test]
async fn p3_a_signal_in_the_middle_of_a_pass_keeps_what_is_committed_and_gives_the_lease_back() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let vendor = vendor(1_000, "slow=50").await;
        let database = Database::fresh().await;
        let mut daemon = Program::start(run(&vendor, &database, &[]));
        eventually("two pages", async || match pages(&database).await {
            2.. => Ok(()),
            few => Err((few, daemon.stderr())),
        })
        .await;
        ends_cleanly(&mut daemon, signal).await;
        assert_eq!(database.text("select holder from argos.leases").await, None);
        let pages = pages(&database).await;
        assert!((2..20).contains(&pages), "the pass came to its end after {pages} pages");
        assert_eq!(database.number("select count(*) from argos.submissions").await, pages * 50);
        assert_eq!(database.number("select count(*) from argos.outbox").await, pages * 50);

        // The next one goes on there.
        vendor.set_faults(Faults::default());
        let asked = vendor.requests().len();
        let mut daemon = Program::start(run(&vendor, &database, &[]));
        daemon.says("complete=true").await;
        ends_cleanly(&mut daemon, signal).await;
        // The import that follows asks without dates.
        let hot = vendor.requests()[asked..].iter().filter(|request| request.query.contains("start_date")).count();
        assert_eq!(hot, 20 - pages as usize);
        assert_eq!(database.number("select count(*) from argos.submissions").await, 1_000);
    }
}

#[tokio::test]
async fn p9_a_signal_ends_every_kind_of_waiting_at_once() {
    let quiet = vendor(10, "").await;
    let database = Database::fresh().await;

    // Sleeping between two polls.
    let mut daemon = Program::start(run(&quiet, &database, &[("poll.interval", "20s")]));
    daemon.says("complete=true").await;
    ends_cleanly(&mut daemon, Signal::SIGTERM).await;

    // Waiting for the lease, which stays with the other.
    let other = "update argos.leases set holder = 'the-other', expires_at = 'infinity' returning 1";
    assert_eq!(database.execute(other).await, 1);
    let mut daemon = Program::start(run(&quiet, &database, &[]));
    daemon.says("the-other").await;
    ends_cleanly(&mut daemon, Signal::SIGTERM).await;
    assert_eq!(database.text("select holder from argos.leases").await.as_deref(), Some("the-other"));

    // Waiting for another process that migrates.
    let bare = Database::bare().await;
    let mut migrating = bare.pool.acquire().await.unwrap();
    migrating.lock().await.unwrap();
    let mut daemon = Program::start(run(&quiet, &bare, &[]));
    blocked(&bare).await;
    ends_cleanly(&mut daemon, Signal::SIGTERM).await;
    migrating.unlock().await.unwrap();

    // Waiting for somebody's lock before the first pass.
    let mut lock = database.pool.begin().await.unwrap();
    sqlx::query("lock table argos.secret").execute(&mut *lock).await.unwrap();
    let mut daemon = Program::start(run(&quiet, &database, &[]));
    blocked(&database).await;
    ends_cleanly(&mut daemon, Signal::SIGTERM).await;
    lock.rollback().await.unwrap();

    // Waiting for a database that refuses, and for one that says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [1, silent.local_addr().unwrap().port()] {
        let url = format!("postgres://user:s3cret@127.0.0.1:{port}/mirror");
        let mut daemon = Program::start(program::command(&["run"], &quiet.base_url(), &url, &[("log.format", "text")]));
        daemon.says("serving").await;
        let ended = ends_cleanly(&mut daemon, Signal::SIGTERM).await;
        assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
    }

    // Waiting for an answer that does not come, and for the next try.
    for (fault, pause) in [("stall", "1ms"), ("status-500", "1h")] {
        let vendor = vendor(10, fault).await;
        let database = Database::fresh().await;
        let changes = [("api.backoff_initial", pause), ("api.backoff_max", "1h")];
        let mut daemon = Program::start(run(&vendor, &database, &changes));
        eventually("a request", async || if vendor.requests().is_empty() { Err(daemon.stderr()) } else { Ok(()) })
            .await;
        ends_cleanly(&mut daemon, Signal::SIGTERM).await;
        assert_eq!(database.text("select holder from argos.leases").await, None);
    }
}

#[tokio::test]
async fn it_waits_for_its_database_and_says_so_once() {
    let vendor = vendor(10, "").await;
    let url = "postgres://user:s3cret@127.0.0.1:1/mirror";
    let changes = [("log.format", "text"), ("database.connect_timeout", "100ms")];
    let mut daemon = Program::start(program::command(&["run"], &vendor.base_url(), url, &changes));
    daemon.says("waiting for the database").await;
    daemon.says("check that it runs").await;
    let ended = ends_cleanly(&mut daemon, Signal::SIGTERM).await;
    assert_eq!(ended.stderr.matches("waiting for the database").count(), 1, "{ended:?}");
}

/// A daemon whose page waits for somebody's lock on a table, as a CREATE INDEX takes.
async fn stuck(
    vendor: &Simulator,
    database: &Database,
    changes: &[(&str, &str)],
) -> (Program, sqlx::Transaction<'static, sqlx::Postgres>) {
    let mut lock = database.pool.begin().await.unwrap();
    // Readers pass: it is the page that waits, and nothing before it.
    sqlx::query("lock table argos.submission_versions in share mode").execute(&mut *lock).await.unwrap();
    let daemon = Program::start(run(vendor, database, changes));
    blocked(database).await;
    (daemon, lock)
}

/// As on a full disk, or when nobody reads any more.
#[tokio::test]
async fn p9_a_log_that_cannot_be_written_stops_nothing() {
    let vendor = vendor(100, "").await;
    let database = Database::fresh().await;
    let run = run(&vendor, &database, &[("log.level", "info"), ("lease.holder", "test")]);
    let mut mute = Command::new("sh");
    mute.args(["-c", "exec \"$0\" run 2>/dev/full"]).arg(run.get_program());
    mute.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut daemon = Program::start(mute);
    eventually("everything is mirrored", async || {
        match database.number("select count(*) from argos.submissions").await {
            100 => Ok(()),
            few => Err(few),
        }
    })
    .await;
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end().await.code, Some(0));
    assert_eq!(database.text("select max(holder) from argos.leases").await, None, "the lease is given back");
}

#[tokio::test]
async fn a_second_signal_aborts() {
    let (vendor, database) = (vendor(10, "").await, Database::fresh().await);
    let (mut daemon, lock) = stuck(&vendor, &database, &[]).await;
    daemon.signal(Signal::SIGTERM);
    // Together with the first: the same.
    daemon.signal(Signal::SIGINT);
    daemon.says("ending after the open page").await;
    eventually("it ends", async || {
        if daemon.runs() {
            daemon.signal(Signal::SIGINT);
            return Err("it runs");
        }
        Ok(())
    })
    .await;
    let ended = daemon.end().await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("aborted"), "{ended:?}");
    nothing_is_written(&database, lock).await;
}

#[tokio::test]
async fn p3_a_page_that_does_not_end_is_given_up_when_the_grace_is_over() {
    let (vendor, database) = (vendor(10, "").await, Database::fresh().await);
    let (mut daemon, lock) = stuck(&vendor, &database, &[("shutdown.grace", "500ms")]).await;
    let asked = Instant::now();
    daemon.signal(Signal::SIGTERM);
    let ended = daemon.end().await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("shutdown.grace"), "{ended:?}");
    assert!((Duration::from_millis(500)..PROMPT).contains(&asked.elapsed()), "{:?}", asked.elapsed());
    nothing_is_written(&database, lock).await;
}

/// P3: the page of a process that is gone does not happen, also when its statement could go on.
async fn nothing_is_written(database: &Database, lock: sqlx::Transaction<'static, sqlx::Postgres>) {
    lock.rollback().await.unwrap();
    eventually("its connections are gone", async || {
        match database
            .number(&format!("select count(*) from pg_stat_activity where {OTHERS} and xact_start is not null"))
            .await
        {
            0 => Ok(()),
            some => Err(some),
        }
    })
    .await;
    for table in ["submissions", "submission_versions", "outbox", "walks"] {
        assert_eq!(database.number(&format!("select count(*) from argos.{table}")).await, 0, "{table}");
    }
}

/// Connections of others in this database.
const OTHERS: &str = "datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";

/// Waits until a connection waits for a lock.
pub async fn blocked(database: &Database) {
    eventually("it waits for a lock", async || {
        match database
            .number(&format!("select count(*) from pg_stat_activity where {OTHERS} and wait_event_type = 'Lock'"))
            .await
        {
            0 => Err("nobody waits"),
            _ => Ok(()),
        }
    })
    .await;
}

#[tokio::test]
async fn every_failure_has_its_exit_code_and_one_sentence() {
    let (vendor, database) = (vendor(10, "").await, Database::fresh().await);
    let (base_url, url) = (vendor.base_url(), database.url.as_str());
    let unlike = |change: fn(sqlx::postgres::PgConnectOptions) -> sqlx::postgres::PgConnectOptions| {
        change(options(url).unwrap()).to_url_lossy().to_string()
    };
    let no_such_role = unlike(|options| options.username("nobody_here"));
    let no_such_database = unlike(|options| options.database("nothing_here"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("postgres://user:s3cret@{}/mirror", silent.local_addr().unwrap());
    let empty = tempfile::tempdir().unwrap();
    let key_file = empty.path().join("key");
    std::fs::write(&key_file, "s3cret").unwrap();
    let key_file = key_file.to_str().unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    let nowhere = format!("{base_url}/wrong");

    let with = |args: &[&str], changes: &[(&str, &str)]| program::command(args, &base_url, url, changes);
    let once = |changes: &[(&str, &str)]| with(&["once"], changes);
    let cases: Vec<(&str, Command, i32, &str)> = vec![
        ("no such flag", with(&["run", "--fast"], &[]), 2, "--fast"),
        ("no such command", with(&["runn"], &[]), 2, "run"),
        ("unknown key", with(&["run", "--set", "pol.interval=10s"], &[]), 3, "did you mean \"poll.interval\"?"),
        ("bad value", with(&["run", "--set", "poll.interval=soon"], &[]), 3, "poll.interval"),
        ("no key", with(&["run"], &[("api.key", "")]), 3, "api.key_file"),
        ("both secrets", once(&[("api.key_file", key_file)]), 3, "api.key_file"),
        ("no database", once(&[("database.url", ""), ("database.embedded", "false")]), 3, "database.url_file"),
        (
            "refused",
            once(&[("database.url", "postgres://user:s3cret@127.0.0.1:1/m"), ("database.connect_timeout", "200ms")]),
            4,
            "PostgreSQL cannot be reached",
        ),
        (
            "silent",
            once(&[("database.url", &silent_url), ("database.connect_timeout", "200ms")]),
            4,
            "PostgreSQL cannot be reached",
        ),
        ("no such role", once(&[("database.url", &no_such_role)]), 4, "refuses the user or password"),
        ("no such role, run", with(&["run"], &[("database.url", &no_such_role)]), 4, "refuses the user or password"),
        ("no such database", once(&[("database.url", &no_such_database)]), 4, "does not exist"),
        ("other secret", once(&[("database.hash_secret", &"ab".repeat(32))]), 4, "hash_secret"),
        ("wrong key", once(&[("api.key", "wrong-s3cret")]), 5, "key"),
        ("wrong path", once(&[("api.base_url", &nowhere)]), 5, "status 403"),
        ("nobody there", once(&[("api.base_url", "http://127.0.0.1:1/v3")]), 5, "cannot reach"),
        ("taken port", with(&["run"], &[("http.listen", &busy)]), 8, "http.listen"),
    ];
    // Ids are there that were made with the usual secret.
    let first = program::run(once(&[])).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    for (name, command, code, part) in cases {
        refused(name, command, code, part).await;
    }
    vendor.set_faults(Faults::parse("forbidden-address").unwrap());
    refused("address refused", once(&[]), 5, "allow-list").await;

    let mut nothing_installed =
        once(&[("database.url", ""), ("database.data_dir", empty.path().join("data").to_str().unwrap())]);
    nothing_installed.env("PATH", "").env("ARGOS_SYNC_PG_BINDIR", empty.path());
    refused("no PostgreSQL", nothing_installed, 7, "Install").await;

    let other = "update argos.leases set holder = 'the-other', expires_at = 'infinity' returning 1";
    assert_eq!(database.execute(other).await, 1);
    refused("lease held", once(&[]), 6, "the-other").await;

    let help = program::run({
        let mut help = argos_sync();
        help.arg("--help");
        help
    })
    .await;
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("6 lease held"), "{help:?}");
}

async fn refused(name: &str, mut command: Command, code: i32, part: &str) {
    let ended = program::run({
        command.env("RUST_BACKTRACE", "1").env("ARGOS_SYNC__LOG__LEVEL", "error");
        command
    })
    .await;
    assert_eq!(ended.code, Some(code), "{name}: {ended:?}");
    assert!(ended.stderr.contains(part), "{name}: {ended:?}");
    for never in ["s3cret", "simulated-key", "panicked", "stack backtrace", "RUST_BACKTRACE", "Some(", "Error {"] {
        assert!(!ended.stderr.contains(never) && !ended.stdout.contains(never), "{name}: {never:?} in {ended:?}");
    }
    // A sentence, and perhaps one with advice; clap explains a wrong command line in its own way.
    if code != 2 {
        assert!(ended.stderr.starts_with("argos-sync: "), "{name}: {ended:?}");
        assert!(ended.stderr.lines().count() <= 2, "{name}: {ended:?}");
        assert_eq!(ended.stdout, "", "{name}");
    }
    // Nothing is said twice, as an error's text that repeats its cause would.
    for sentence in ended.stderr.lines() {
        let mut parts: Vec<&str> = sentence.split(": ").collect();
        let all = parts.len();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), all, "{name}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_it_runs_its_own_and_leaves_no_process() {
    let vendor = vendor(30, "").await;
    let directory = tempfile::tempdir().unwrap();
    postgres::reachable(directory.path());
    let data_dir = directory.path().join("data");
    let start = || {
        let data_dir = data_dir.to_str().unwrap();
        let changes =
            [("database.url", ""), ("database.data_dir", data_dir), ("poll.interval", "1s"), ("log.format", "text")];
        Program::start(program::command(&["run"], &vendor.base_url(), "", &changes))
    };
    let mut daemon = start();
    daemon.says("no database.url is set: using the private PostgreSQL cluster").await;
    daemon.says("new=30").await;
    ends_cleanly(&mut daemon, Signal::SIGTERM).await;
    assert_eq!(processes(&data_dir), Vec::<String>::new());

    // The next one goes on with what is there; a signal while PostgreSQL starts leaves nothing behind either.
    let mut daemon = start();
    daemon.says("new=0 changed=0 unchanged=30").await;
    ends_cleanly(&mut daemon, Signal::SIGINT).await;
    assert_eq!(processes(&data_dir), Vec::<String>::new());
    let mut daemon = start();
    daemon.says("serving").await;
    ends_cleanly(&mut daemon, Signal::SIGTERM).await;
    eventually("its server is gone", async || match processes(&data_dir) {
        none if none.is_empty() => Ok(()),
        some => Err(some),
    })
    .await;

    // A server that ends by itself ends the daemon: whoever restarts it starts both.
    let mut daemon = start();
    daemon.says("complete=true").await;
    let postmaster = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    let postmaster = Pid::from_raw(postmaster.lines().next().unwrap().parse().unwrap());
    nix::sys::signal::kill(postmaster, Signal::SIGKILL).unwrap();
    let ended = daemon.end().await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stderr.contains("the private PostgreSQL server ended"), "{ended:?}");
}

/// Living processes that name this directory.
fn processes(data_dir: &Path) -> Vec<String> {
    let ps = Command::new("ps").args(["-A", "-ww", "-o", "pid=,stat=,args="]).output().unwrap();
    let all = String::from_utf8_lossy(&ps.stdout).into_owned();
    let alive = |line: &&str| {
        line.contains(data_dir.to_str().unwrap()) && !line.split_whitespace().nth(1).unwrap_or("").starts_with('Z')
    };
    all.lines().filter(alive).map(str::to_owned).collect()
}
