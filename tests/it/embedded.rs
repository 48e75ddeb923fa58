//! The private cluster keeps its promises: it starts, keeps its data, is joined, and never outlives its process.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use argos_sync::embedded::{Cluster, EmbeddedError};
use sqlx::{Connection, PgConnection};

const OWNER_DIR: &str = "ARGOS_SYNC_TEST_OWNER_DIR";

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A directory the server's user can reach. (A `TempDir` is 0700, and root's server is not run by root.)
fn reachable() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

async fn connect(cluster: &Cluster, database: &str) -> PgConnection {
    PgConnection::connect(&cluster.url(database)).await.unwrap()
}

async fn number(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// Living processes (guards, servers, launchers) that name `data_dir` or have their server's files open there.
fn processes(data_dir: &Path) -> Vec<String> {
    let ps = Command::new("ps").args(["-A", "-ww", "-o", "pid=,stat=,args="]).output().unwrap();
    let dir = data_dir.to_str().unwrap();
    let all = String::from_utf8_lossy(&ps.stdout).into_owned();
    let alive = |line: &&str| line.contains(dir) && !line.split_whitespace().nth(1).unwrap_or("").starts_with('Z');
    all.lines().filter(alive).map(str::to_owned).collect()
}

fn postmaster(data_dir: &Path) -> i32 {
    let text = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 60 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Another process that owns the cluster in `dir` (see [`owner_process`]); returns when its database answers.
fn spawn_owner(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "embedded::owner_process", "--nocapture"]).env(OWNER_DIR, dir).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("the owner is ready")), "the owner ended early");
    child
}

/// Not a test by itself: run by [`spawn_owner`] in a process of its own, and killed there.
#[tokio::test]
async fn owner_process() {
    if let Some(dir) = std::env::var_os(OWNER_DIR) {
        let cluster = Cluster::start(&PathBuf::from(dir)).await.unwrap();
        assert!(cluster.started_by_us());
        println!("the owner is ready");
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_cluster_starts_keeps_its_data_and_leaves_nothing_running() {
    let root = reachable();
    let dir = root.path().join("a").join("b");
    let cluster = Cluster::start(&dir).await.unwrap();
    assert!(cluster.started_by_us());
    let data_dir = cluster.data_dir().to_owned();
    assert_eq!(data_dir.metadata().unwrap().mode() & 0o777, 0o700);
    cluster.ensure_database("mirror").await.unwrap();
    cluster.ensure_database("mirror").await.unwrap();
    let mut connection = connect(&cluster, "mirror").await;
    sqlx::raw_sql("create table kept (n bigint); insert into kept values (42)").execute(&mut connection).await.unwrap();
    for (setting, expected) in [
        ("show server_encoding", "UTF8"),
        ("show data_checksums", "on"),
        ("show listen_addresses", ""),
        ("show timezone", "UTC"),
        ("show fsync", "on"),
        ("show synchronous_commit", "on"),
        ("show full_page_writes", "on"),
        ("show max_connections", "100"),
    ] {
        let value: String = sqlx::query_scalar(setting).fetch_one(&mut connection).await.unwrap();
        assert_eq!(value, expected, "{setting}");
    }
    // A forgotten connection does not hold up the end.
    assert!(!processes(&data_dir).is_empty());
    cluster.stop().await.unwrap();
    assert_eq!(processes(&data_dir), Vec::<String>::new());
    assert!(!data_dir.join(".s.PGSQL.5432").exists() && !data_dir.join("postgres/postmaster.pid").exists());

    let cluster = Cluster::start(&dir).await.unwrap();
    let mut connection = connect(&cluster, "mirror").await;
    assert_eq!(number(&mut connection, "select n from kept").await, 42);
    cluster.stop().await.unwrap();
    assert_eq!(processes(&data_dir), Vec::<String>::new());
}

#[tokio::test]
async fn a_running_cluster_is_joined_and_left_running() {
    let root = reachable();
    let dir = root.path().join("data");
    let mut owner = spawn_owner(&dir);
    let joined = Cluster::start(&dir).await.unwrap();
    assert!(!joined.started_by_us());
    assert_eq!(number(&mut connect(&joined, "postgres").await, "select 1::bigint").await, 1);
    joined.stop().await.unwrap();
    let again = Cluster::start(&dir).await.unwrap();
    assert_eq!(number(&mut connect(&again, "postgres").await, "select 1::bigint").await, 1);
    drop(again);
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the server of a killed owner is gone", || processes(&dir).is_empty()).await;
}

#[tokio::test]
async fn two_starts_at_once_share_one_server() {
    let root = reachable();
    let dir = root.path().join("data");
    let (one, two) = tokio::join!(Cluster::start(&dir), Cluster::start(&dir));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.started_by_us() != two.started_by_us());
    let (owner, guest) = if one.started_by_us() { (one, two) } else { (two, one) };
    let (a, b) = tokio::join!(owner.ensure_database("same"), guest.ensure_database("same"));
    a.unwrap();
    b.unwrap();
    assert_eq!(number(&mut connect(&guest, "same").await, "select 1::bigint").await, 1);
    owner.stop().await.unwrap();
    assert_eq!(processes(&dir), Vec::<String>::new());
}

#[tokio::test]
async fn a_killed_owner_leaves_no_server_and_its_successor_waits_for_that() {
    let root = reachable();
    let dir = root.path().join("data");
    let mut owner = spawn_owner(&dir);
    let old = postmaster(&dir);
    owner.kill().unwrap();
    owner.wait().unwrap();
    // At once: the old server may still be there, and must not be joined.
    let cluster = Cluster::start(&dir).await.unwrap();
    assert!(cluster.started_by_us());
    assert_ne!(postmaster(&dir), old);
    drop(cluster);
    eventually("the server of a dropped cluster is gone", || processes(&dir).is_empty()).await;
    eventually("the guard is gone", || !dir.join("postgres/postmaster.pid").exists()).await;
}

#[tokio::test]
async fn a_server_killed_with_its_lock_file_left_is_started_again() {
    let root = reachable();
    let dir = root.path().join("data");
    let mut cluster = Cluster::start(&dir).await.unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(postmaster(&dir)), nix::sys::signal::Signal::SIGKILL).unwrap();
    let error = cluster.ended().await;
    assert!(matches!(error, EmbeddedError::Ended { .. }), "{error}");
    drop(cluster);
    eventually("the orphans are gone", || processes(&dir).is_empty()).await;

    // The process id in the lock file is used again by another process of the server's user.
    let lock = dir.join("postgres/postmaster.pid");
    let text = std::fs::read_to_string(&lock).unwrap();
    let mut stranger = Command::new("sleep");
    stranger.arg("600");
    if is_root() {
        std::os::unix::process::CommandExt::uid(&mut stranger, lock.metadata().unwrap().uid());
    }
    let mut stranger = stranger.spawn().unwrap();
    let rest = text.split_once('\n').unwrap().1;
    std::fs::write(&lock, format!("{}\n{rest}", stranger.id())).unwrap();
    // And an initdb was killed.
    std::fs::create_dir_all(dir.join("initdb-killed/base")).unwrap();

    let cluster = Cluster::start(&dir).await.unwrap();
    assert!(cluster.started_by_us());
    cluster.stop().await.unwrap();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket() {
    let root = reachable();
    let dir = root.path().join("long".repeat(30)).join("with space, and 'quotes'");
    let cluster = Cluster::start(&dir).await.unwrap();
    let socket_dir = cluster.socket_dir().to_owned();
    assert!(!socket_dir.starts_with(root.path()));
    assert_eq!(socket_dir.metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(number(&mut connect(&cluster, "postgres").await, "select 1::bigint").await, 1);
    let joined = Cluster::start(&dir).await.unwrap();
    assert_eq!(joined.socket_dir(), socket_dir);
    cluster.stop().await.unwrap();
    assert!(!socket_dir.exists());

    // Somebody else was there first.
    std::os::unix::fs::symlink(root.path(), &socket_dir).unwrap();
    let error = Cluster::start(&dir).await.unwrap_err();
    std::fs::remove_file(&socket_dir).unwrap();
    assert!(matches!(error, EmbeddedError::UnsafeSocketDir { .. }), "{error}");
}

#[tokio::test]
async fn personal_data_stays_out_of_the_log() {
    let root = reachable();
    let cluster = Cluster::start(&root.path().join("data")).await.unwrap();
    let mut connection = connect(&cluster, "postgres").await;
    let table = "create table person (email text primary key); insert into person values ('jane@example.com')";
    sqlx::raw_sql(table).execute(&mut connection).await.unwrap();
    for wrong in
        ["insert into person values ('jane@example.com')", "select 'jane@example.com'::int", "jane@example.com"]
    {
        sqlx::raw_sql(wrong).execute(&mut connection).await.unwrap_err();
    }
    let log = cluster.log_file();
    cluster.stop().await.unwrap();
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("ready to accept connections") && !text.contains("jane"), "{text}");
}

#[tokio::test]
async fn unusable_directories_are_refused_untouched() {
    let root = reachable();
    let closed = root.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    let mode = if is_root() { 0o700 } else { 0o500 };
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
    let error = Cluster::start(&closed.join("data")).await.unwrap_err();
    if is_root() {
        assert!(matches!(&error, EmbeddedError::Unreachable { at, .. } if *at == closed), "{error}");
        assert!(error.to_string().contains("chmod o+x"), "{error}");
    } else {
        assert!(matches!(&error, EmbeddedError::Io { .. }), "{error}");
        assert!(error.to_string().contains(closed.to_str().unwrap()), "{error}");
    }
    assert_eq!(closed.read_dir().unwrap().count(), 0);

    let full = root.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("thesis.txt"), "precious").unwrap();
    let before = full.metadata().unwrap();
    let error = Cluster::start(&full).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::NotOurs { .. }), "{error}");
    let after = full.metadata().unwrap();
    assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
    assert_eq!(full.read_dir().unwrap().count(), 1);
}

#[tokio::test]
async fn other_versions_and_names_are_refused_with_advice() {
    let root = reachable();
    let dir = root.path().join("data");
    let cluster = Cluster::start(&dir).await.unwrap();
    for name in ["", "Mirror", "1st", "a\"b", "a b", &"a".repeat(64)] {
        let error = cluster.ensure_database(name).await.unwrap_err();
        assert!(matches!(error, EmbeddedError::DatabaseName { .. }), "{error}");
    }
    cluster.stop().await.unwrap();
    std::fs::write(dir.join("postgres/PG_VERSION"), "999\n").unwrap();
    let error = Cluster::start(&dir).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::OtherMajor { cluster: 999, .. }), "{error}");
}
