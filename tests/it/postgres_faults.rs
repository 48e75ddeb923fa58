//! P9, P13: PostgreSQL as it really fails. Whatever it is, the daemon says so, waits without spinning, goes on where it was
//! when the fault is over, and comes to what the vendor shows.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use argos_sync::clock::Clock;
use argos_sync::embedded::Cluster;
use argos_sync::simulator::{Faults, Options, Simulator};
use argos_sync::store::database::options;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use sqlx::{ConnectOptions, Executor};
use tempfile::TempDir;

use crate::support::daemon::Daemon;
use crate::support::pooler::Pooler;
use crate::support::postgres::reachable;
use crate::support::program::{self, Program, eventually};
use crate::support::truth::{assert_equal, assert_once};
use crate::support::world::install_tls;
use crate::support::{Database, World};

/// What a daemon here waits between two tries, in seconds: `poll.interval`.
const PAUSE: u64 = 1;

const SETTINGS: [(&str, &str); 6] = [
    ("poll.interval", "1s"),
    ("lease.ttl", "2s"),
    ("database.statement_timeout", "1s"),
    ("database.connect_timeout", "1s"),
    ("api.count", "20"),
    ("log.format", "text"),
];

/// A daemon between a vendor and a database, and what has changed at the vendor's since the import.
struct Mirror<'w> {
    simulator: &'w Simulator,
    database: &'w Database,
    daemon: Daemon,
    changes: i64,
}

/// How things stood when a fault began.
struct Since {
    at: Instant,
    errors: u64,
    lines: usize,
    requests: usize,
    place: usize,
}

impl<'w> Mirror<'w> {
    async fn start(simulator: &'w Simulator, database: &'w Database, url: &str, changes: &[(&str, &str)]) -> Self {
        let changes = [&SETTINGS[..], changes].concat();
        let daemon = Daemon::between(&simulator.base_url(), url, &changes).await;
        Self { simulator, database, daemon, changes: 0 }
    }

    async fn is_imported(&self) {
        let imported = "select count(*) from argos.projects where import_completed_at is not null";
        // Of another server's database the tables may not be there yet.
        let asked = async || sqlx::query_scalar::<_, i64>(imported).fetch_one(&self.database.pool).await;
        eventually("the import is complete", async || match asked().await {
            Ok(1) => Ok(()),
            other => Err((other, self.daemon.output())),
        })
        .await;
    }

    async fn since(&self) -> Since {
        Since {
            at: Instant::now(),
            errors: self.daemon.database_errors().await,
            lines: self.daemon.output().lines().count(),
            requests: self.simulator.requests().len(),
            place: self.daemon.output().len(),
        }
    }

    fn change(&mut self, patch: serde_json::Value) {
        self.changes += 1;
        let truth = self.simulator.truth();
        let id = truth[self.changes as usize]["submission_id"].as_str().unwrap();
        let mut patch = patch;
        patch["memo"] = json!({"text": format!("change {}", self.changes)});
        self.simulator.patch(id, patch);
    }

    /// Waits until the fault was met three times more, and told with these words; it is neither met nor told more often
    /// than the pauses allow.
    async fn says(&self, since: Since, words: &[&str]) {
        let since_then = || self.daemon.output()[since.place..].to_owned();
        eventually(&format!("it is told: {words:?}"), async || {
            let met = self.daemon.database_errors().await - since.errors;
            let said = since_then();
            match met >= 3 && words.iter().all(|word| said.contains(word)) {
                true => Ok(()),
                false => Err((met, said)),
            }
        })
        .await;
        let met = self.daemon.database_errors().await - since.errors;
        let lines = self.daemon.output().lines().count() - since.lines;
        let requests = self.simulator.requests().len() - since.requests;
        let tries = since.at.elapsed().as_secs() / PAUSE + 1;
        let said = since_then();
        assert!(met <= tries, "met {met} times where {tries} would do: {said}");
        assert!(requests as u64 <= tries + 2, "{requests} requests in {tries} tries: {said}");
        assert!(lines as u64 <= 4 * tries, "{lines} lines in {tries} tries: {said}");
        assert_eq!(self.daemon.get("/livez").await.0, 200, "the loop is not stuck: {said}");
    }

    /// Waits until the last change is mirrored and no error is open; the daemon is ready.
    async fn recovers(&self) {
        let seen = format!("select count(*) from argos.submissions where memo_text = 'change {}'", self.changes);
        let open = "select count(*) from argos.errors where ended_at is null";
        eventually(&format!("change {} is seen, and the error over", self.changes), async || {
            match (self.database.number(&seen).await, self.database.number(open).await) {
                (1, 0) => Ok(()),
                other => Err((other, self.daemon.output())),
            }
        })
        .await;
        let (status, said) = self.daemon.get("/readyz").await;
        assert_eq!(status, 200, "{said}");
    }

    async fn is_ready(&self, expected: bool) {
        eventually(&format!("ready: {expected}"), async || match self.daemon.get("/readyz").await {
            (200, _) if expected => Ok(()),
            (503, _) if !expected => Ok(()),
            other => Err(other),
        })
        .await;
    }

    /// The daemon ends in order, and left what an undisturbed one leaves.
    async fn ends(self) {
        let (code, output, _) = self.daemon.stop().await;
        assert_eq!(code, Some(0), "{output}");
        let truth = self.simulator.truth();
        let versions = truth.len() as i64 + self.changes;
        assert_equal(self.database, truth).await;
        assert_once(self.database).await;
        assert_eq!(self.database.number("select count(*) from argos.submission_versions").await, versions);
    }
}

async fn world(initial: u64) -> World {
    let world = World::with(Options { initial, ..Options::default() }, &[], Clock::system()).await;
    world.simulator.freeze();
    world
}

/// The name of the database, for statements about it.
async fn name(database: &Database) -> String {
    database.text("select current_database()").await.unwrap()
}

/// Ends the sessions of this user, or of all but this session.
async fn end_sessions(database: &Database, user: &str) {
    let all = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and usename = '{user}' and pid <> pg_backend_pid()"
    );
    database.execute(&all).await;
}

/// A role of its own for the daemon, with the grants it needs; and the URL that it logs in with.
async fn role(database: &Database, name: &str) -> (String, String) {
    let role = format!("argos_test_{}_{name}", std::process::id());
    let grants = format!(
        "create role {role} login password 'of-a-test';
         grant usage on schema argos to {role};
         grant select, insert, update, delete on all tables in schema argos to {role}"
    );
    database.execute(&grants).await;
    let url = options(&database.url).unwrap().username(&role).password("of-a-test").to_url_lossy();
    (role, url.to_string())
}

const OWN_ROLE: [(&str, &str); 1] = [("database.migrate", "false")];

#[tokio::test]
async fn p9_p13_locks_deadlocks_and_serialization_failures_are_told_and_waited_out() {
    let world = world(60).await;
    let database = &world.database;
    let (role, url) = role(database, "locked").await;
    // So that it is always the daemon that is chosen.
    database.execute(&format!("alter role {role} set deadlock_timeout = '200ms'")).await;
    let mut mirror = Mirror::start(&world.simulator, database, &url, &OWN_ROLE).await;
    mirror.is_imported().await;

    // Somebody's ALTER is not committed.
    let mut theirs = database.pool.begin().await.unwrap();
    theirs.execute("alter table argos.submissions add column theirs text").await.unwrap();
    let since = mirror.since().await;
    mirror.change(json!({}));
    mirror.says(since, &["57014", "statement timeout", "failed as before"]).await;
    let told = "select count(*) from argos.errors where ended_at is null and kind = 'database'";
    eventually("status can tell", async || match database.number(told).await {
        1.. => Ok(()),
        _ => Err(mirror.daemon.output()),
    })
    .await;
    mirror.is_ready(true).await;
    theirs.commit().await.unwrap();
    mirror.recovers().await;

    // Two that wait for each other, until the daemon is chosen.
    let mut theirs = database.pool.acquire().await.unwrap();
    theirs.execute("set deadlock_timeout = '1min'").await.unwrap();
    let since = mirror.since().await;
    mirror.change(json!({}));
    eventually("a deadlock", async || {
        theirs.execute("begin; select from argos.outbox_counter for update").await.unwrap();
        let waits = "select count(*) from pg_stat_activity
                      where datname = current_database() and wait_event_type = 'Lock' and query like '%outbox_counter%'";
        eventually("a page waits for the outbox", async || match database.number(waits).await {
            1 => Ok(()),
            _ => Err(mirror.daemon.output()),
        })
        .await;
        // Waits until the daemon's transaction is over, one way or the other.
        theirs.execute("update argos.leases set expires_at = expires_at").await.unwrap();
        theirs.execute("rollback").await.unwrap();
        let said = mirror.daemon.output()[since.place..].to_owned();
        if said.contains("40P01") { Ok(()) } else { Err(said) }
    })
    .await;
    theirs.close().await.unwrap();
    mirror.recovers().await;

    // As a server says it that cannot put transactions in an order.
    let refuse = "create function argos.refuse() returns trigger language plpgsql as
                  $$ begin raise exception 'could not serialize access' using errcode = '40001'; end $$;
                  create trigger refuse before insert on argos.submission_versions execute function argos.refuse()";
    database.execute(refuse).await;
    let since = mirror.since().await;
    mirror.change(json!({}));
    mirror.says(since, &["40001"]).await;
    database.execute("drop trigger refuse on argos.submission_versions").await;
    mirror.recovers().await;
    mirror.ends().await;
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn p9_p13_a_database_that_is_read_only_for_a_while_is_waited_for() {
    let world = world(60).await;
    let database = &world.database;
    let (role, url) = role(database, "read_only").await;
    let mut mirror = Mirror::start(&world.simulator, database, &url, &OWN_ROLE).await;
    mirror.is_imported().await;
    let since = mirror.since().await;
    let name = name(database).await;
    database.execute(&format!("alter database {name} set default_transaction_read_only = on")).await;
    end_sessions(database, &role).await;
    mirror.change(json!({}));
    mirror.says(since, &["25006", "point database.url at the primary", "failed as before"]).await;
    // Over for new sessions; nobody ends those of the daemon.
    database
        .execute(&format!(
            "set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only"
        ))
        .await;
    mirror.recovers().await;
    mirror.ends().await;
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn p9_p13_connections_that_run_out_and_rights_that_are_taken_away_are_told_and_waited_for() {
    let world = world(60).await;
    let database = &world.database;
    let (role, url) = role(database, "refused").await;
    let mut mirror = Mirror::start(&world.simulator, database, &url, &OWN_ROLE).await;
    mirror.is_imported().await;

    // Ended sessions alone are no fault: new ones are made.
    for _ in 0..3 {
        end_sessions(database, &role).await;
        mirror.change(json!({}));
        mirror.recovers().await;
    }

    let since = mirror.since().await;
    database.execute(&format!("alter role {role} connection limit 0")).await;
    end_sessions(database, &role).await;
    mirror.change(json!({}));
    mirror.says(since, &["connection", "run goes on trying", "failed as before"]).await;
    mirror.is_ready(false).await;
    database.execute(&format!("alter role {role} connection limit -1")).await;
    mirror.recovers().await;

    let since = mirror.since().await;
    database.execute(&format!("revoke insert on argos.submission_versions from {role}")).await;
    mirror.change(json!({}));
    mirror
        .says(since, &["42501", "submission_versions", "grant what docs/postgresql.md lists", "others may lead"])
        .await;
    database.execute(&format!("grant insert on argos.submission_versions to {role}")).await;
    mirror.recovers().await;
    mirror.ends().await;
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn p3_p9_a_daemon_that_a_newer_release_has_locked_out_writes_nothing_more() {
    let world = world(60).await;
    let database = &world.database;
    let mut mirror = Mirror::start(&world.simulator, database, &database.url, &[]).await;
    mirror.is_imported().await;
    let since = mirror.since().await;
    database.execute("update argos.compatibility set min_writer = 99").await;
    let data = async || database.text("select sum(version) from argos.submissions").await.unwrap();
    let before = data().await;
    mirror.change(json!({}));
    mirror.says(since, &["upgraded by a newer argos-sync", "Install the newer argos-sync"]).await;
    assert_eq!(data().await, before);
    mirror.is_ready(false).await;
    // The newer one need not wait for a lease.
    let held = "select count(*) from argos.leases where expires_at > clock_timestamp()";
    assert_eq!(database.number(held).await, 0);
    // Somebody went back to it.
    database.execute("update argos.compatibility set min_writer = 1").await;
    mirror.recovers().await;
    mirror.ends().await;
}

#[tokio::test]
async fn p9_p13_a_lock_that_is_held_when_the_daemon_starts_is_waited_for() {
    let world = world(60).await;
    let database = &world.database;
    for (table, told) in [("secret", "reading the hash secret"), ("compatibility", "checking who may write")] {
        let mut theirs = database.pool.begin().await.unwrap();
        let lock = format!("lock table argos.{table} in access exclusive mode");
        theirs.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
        let mirror = Mirror::start(&world.simulator, database, &database.url, &[]).await;
        let since = mirror.since().await;
        mirror.says(since, &["waiting for the database", told, "57014"]).await;
        theirs.rollback().await.unwrap();
        mirror.is_imported().await;
        mirror.is_ready(true).await;
        mirror.ends().await;
    }
}

const SESSION_POOL: &str = "pool_mode = session\nignore_startup_parameters = extra_float_digits";

#[tokio::test]
async fn p9_p13_a_pooler_in_session_mode_may_come_and_go() {
    let world = world(60).await;
    let database = &world.database;
    let Some(mut pooler) = Pooler::before(database, SESSION_POOL).await else { return };
    let mut mirror = Mirror::start(&world.simulator, database, &pooler.url, &[]).await;
    mirror.is_imported().await;
    let since = mirror.since().await;
    pooler.kill();
    mirror.change(json!({}));
    mirror.says(since, &["PostgreSQL cannot be reached", "failed as before"]).await;
    mirror.is_ready(false).await;
    pooler.start_again().await;
    mirror.recovers().await;
    mirror.ends().await;
}

#[tokio::test]
async fn p3_a_pooler_in_transaction_mode_is_told_and_nothing_is_half_written() {
    let world = world(60).await;
    let settings = "pool_mode = transaction\nignore_startup_parameters = extra_float_digits";
    let Some(pooler) = Pooler::before(&world.database, settings).await else { return };
    let run = program::command(&["run"], &world.simulator.base_url(), &pooler.url, &SETTINGS);
    let mut daemon = Program::start(run);
    daemon.says("let database.url name PostgreSQL itself, or a pool with pool_mode = session").await;
    daemon.kill();
    assert_once(&world.database).await;
}

/// A PostgreSQL server of a test's own, which it may kill.
struct Server {
    cluster: Cluster,
    directory: TempDir,
}

impl Server {
    async fn start() -> Self {
        install_tls();
        let directory = tempfile::tempdir().unwrap();
        reachable(directory.path());
        let cluster = Cluster::start(&directory.path().join("cluster")).await.unwrap();
        cluster.ensure_database("mirror").await.unwrap();
        Self { cluster, directory }
    }

    fn postmaster(&self) -> Pid {
        let text = std::fs::read_to_string(self.cluster.data_dir().join("postgres/postmaster.pid")).unwrap();
        Pid::from_raw(text.lines().next().unwrap().parse().unwrap())
    }

    /// Killed as a machine is that loses its power.
    async fn killed(mut self) -> Killed {
        kill(self.postmaster(), Signal::SIGKILL).unwrap();
        let error = self.cluster.ended().await;
        assert!(error.to_string().contains("nobody asked it to"), "{error}");
        Killed(self.directory)
    }
}

/// A server that is not there any more.
struct Killed(TempDir);

impl Killed {
    async fn starts_again(self) -> Server {
        let cluster = Cluster::start(&self.0.path().join("cluster")).await.unwrap();
        Server { cluster, directory: self.0 }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_p13_a_server_that_is_killed_in_the_middle_of_a_walk_is_waited_for_and_the_walk_goes_on() {
    let server = Server::start().await;
    let options = Options { initial: 600, faults: Faults::parse("slow=150").unwrap(), ..Options::default() };
    let simulator = Simulator::start(options, Clock::system()).await.unwrap();
    simulator.freeze();
    let url = server.cluster.url("mirror");
    let database = Database::elsewhere(&url).await;
    let mut mirror = Mirror::start(&simulator, &database, &url, &[]).await;
    let pages = async |least: i64| {
        eventually(&format!("{least} pages"), async || {
            // The table may not be there yet, nor the server.
            let pages = sqlx::query_scalar::<_, Option<i64>>("select max(pages)::bigint from argos.walks");
            match pages.fetch_one(&database.pool).await {
                Ok(Some(pages)) if pages >= least => Ok(()),
                other => Err((other, mirror.daemon.output())),
            }
        })
        .await;
    };
    pages(2).await;

    // A process of the server dies in the middle of a page: PostgreSQL ends all others, and begins anew from its log.
    let mut held = database.pool.begin().await.unwrap();
    held.execute("select from argos.outbox_counter for update").await.unwrap();
    let waiting = "select coalesce(max(pid), 0) from pg_stat_activity
                    where datname = current_database() and wait_event_type = 'Lock' and query like '%outbox_counter%'";
    let process = eventually("a page waits for the outbox", async || match database.number(waiting).await {
        0 => Err(mirror.daemon.output()),
        process => Ok(process),
    })
    .await;
    let asked = simulator.requests().len();
    kill(Pid::from_raw(process.try_into().unwrap()), Signal::SIGKILL).unwrap();
    drop(held);
    let goes_on = async |asked: usize| {
        let next = eventually("a request", async || simulator.requests().get(asked).cloned().ok_or(())).await;
        assert!(next.query.contains("nextpage_id"), "it began anew: {next:?}");
    };
    goes_on(asked).await;
    pages(8).await;
    assert!(mirror.daemon.database_errors().await >= 1);

    // All of it dies.
    let since = mirror.since().await;
    let killed = server.killed().await;
    mirror.says(since, &["PostgreSQL cannot be reached", "failed as before"]).await;
    mirror.is_ready(false).await;
    let asked = simulator.requests().len();
    mirror.change(json!({}));
    let server = killed.starts_again().await;
    goes_on(asked).await;
    simulator.set_faults(Faults::default());
    eventually("all are mirrored", async || match database.number("select count(*) from argos.submissions").await {
        600 => Ok(()),
        few => Err((few, mirror.daemon.output())),
    })
    .await;
    // Whether the change was seen at first sight or later depends on the moment.
    mirror.recovers().await;
    let twice = database.number("select count(*) from argos.submissions where version = 2").await;
    assert!(twice <= 1);
    mirror.changes = twice;
    mirror.ends().await;
    database.pool.close().await;
    server.cluster.stop().await.unwrap();
}

/// A disk of one megabyte, unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`: this user may not mount one.
    fn mounted_at(path: &Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(path.to_owned()))
    }

    /// Writes until there is no more room.
    fn fill(&self) {
        let error = std::fs::write(self.0.join("theirs"), vec![0; 2 << 20]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("theirs")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may still have files open there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_p13_a_full_disk_is_told_and_reading_goes_on_when_there_is_room() {
    let server = Server::start().await;
    let simulator = Simulator::start(Options { initial: 60, ..Options::default() }, Clock::system()).await.unwrap();
    simulator.freeze();
    let url = server.cluster.url("mirror");
    let database = Database::elsewhere(&url).await;
    let mut mirror = Mirror::start(&simulator, &database, &url, &[]).await;
    mirror.is_imported().await;
    let disk = SmallDisk::mounted_at(&server.directory.path().join("disk"));
    if let Some(disk) = &disk {
        let place = disk.0.join("tables");
        std::fs::create_dir(&place).unwrap();
        let owner = std::fs::metadata(server.cluster.data_dir().join("postgres")).unwrap();
        let (user, group) = (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
        std::os::unix::fs::chown(&place, Some(user), Some(group)).unwrap();
        database
            .pool
            .execute(sqlx::AssertSqlSafe(format!("create tablespace small location '{}'", place.display())))
            .await
            .unwrap();
        database.execute("alter table argos.submission_versions set tablespace small").await;
    }
    let since = mirror.since().await;
    match &disk {
        Some(disk) => disk.fill(),
        // Who may not mount a disk cannot fill one; PostgreSQL says it all the same.
        None => drop(
            database
                .execute(
                    "create function argos.full() returns trigger language plpgsql as
             $$ begin raise exception 'could not extend file' using errcode = '53100'; end $$;
             create trigger full before insert on argos.submission_versions execute function argos.full()",
                )
                .await,
        ),
    }
    // More than is left of the pages that are there, and no two parts of it alike.
    let long: String = (0..8_000).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    mirror.change(json!({"comments": [&long[..100_000]]}));
    mirror.says(since, &["53100", "make room", "failed as before"]).await;
    let told = "select count(*) from argos.errors where ended_at is null";
    assert_eq!(database.number(told).await, 1);
    match &disk {
        Some(disk) => disk.make_room(),
        None => drop(database.execute("drop trigger full on argos.submission_versions").await),
    }
    mirror.recovers().await;
    mirror.ends().await;
    database.pool.close().await;
    server.cluster.stop().await.unwrap();
}
