//! P9: what systemd hears of the real process: ready, alive, ending; and nothing while a loop is stuck.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use argos_sync::clock::Clock;
use argos_sync::simulator::{Faults, Options, Simulator};
use tokio::net::UnixDatagram;

use crate::process::blocked;
use crate::support::Database;
use crate::support::daemon::{Daemon, get};
use crate::support::process::argos_sync;
use crate::support::program::{PATIENCE, eventually};
use crate::support::relay::Relay;

/// What systemd sets as WATCHDOG_USEC: a ping is due several times in this time.
const WATCHDOG: Duration = Duration::from_millis(300);

/// No ping comes for so long: systemd would have acted.
const SILENT: Duration = Duration::from_secs(3);

/// The socket that NOTIFY_SOCKET names.
struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { socket: UnixDatagram::bind(directory.path().join("notify")).unwrap(), directory }
    }

    /// `run` under this manager.
    async fn start(&self, base_url: &str, database_url: &str, more: &[(&str, &str)]) -> Daemon {
        let socket = self.directory.path().join("notify");
        let environment = [
            ("NOTIFY_SOCKET", socket.to_str().unwrap()),
            ("ARGOS_SYNC__API__KEY", "simulated-key"),
            ("ARGOS_SYNC__API__BASE_URL", base_url),
            ("ARGOS_SYNC__DATABASE__URL", database_url),
        ];
        Daemon::start(&[&environment, more].concat()).await
    }

    /// The next thing that is told.
    async fn told(&self) -> String {
        let mut buffer = [0; 1024];
        let received = tokio::time::timeout(PATIENCE, self.socket.recv(&mut buffer)).await;
        String::from_utf8(buffer[..received.expect("something is told").unwrap()].to_vec()).unwrap()
    }

    /// Everything up to and with what says this.
    async fn told_until(&self, wanted: &str) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let told = async {
            while !all.last().is_some_and(|last| last.lines().any(|line| line == wanted)) {
                all.push(self.told().await);
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, told).await.is_ok(),
            "{wanted} is not among {} that were told; last: {:?}",
            all.len(),
            all.last()
        );
        all
    }
}

#[tokio::test]
async fn p9_ready_when_it_can_work_then_pings_then_the_end() {
    let vendor = Simulator::start(Options { initial: 10, ..Options::default() }, Clock::system()).await.unwrap();
    // It migrates first, and is not ready before.
    let (database, manager) = (Database::bare().await, Manager::new());
    let limit = WATCHDOG.as_micros().to_string();
    let daemon = manager.start(&vendor.base_url(), &database.url, &[("WATCHDOG_USEC", &limit)]).await;
    let before = manager.told_until("READY=1").await;
    assert!(before.last().unwrap().contains("STATUS=reading"), "{before:?}");
    assert_eq!(daemon.get("/readyz").await.0, 200);
    for _ in 0..3 {
        manager.told_until("WATCHDOG=1").await;
    }
    let (code, said, _) = daemon.stop().await;
    assert_eq!(code, Some(0), "{said}");
    manager.told_until("STOPPING=1").await;
}

#[tokio::test]
async fn ready_while_the_database_is_waited_for_and_no_ping_where_none_is_asked_for() {
    let manager = Manager::new();
    let daemon = manager.start("http://127.0.0.1:1/v3", "postgres://127.0.0.1:1/none", &[]).await;
    let mut told = manager.told_until("READY=1").await;
    assert!(told[0].contains("STATUS=waiting for the database"), "{told:?}");
    let (code, said, _) = daemon.stop().await;
    assert_eq!(code, Some(0), "{said}");
    told.extend(manager.told_until("STOPPING=1").await);
    assert_eq!(told.len(), 2, "{told:?}");
}

#[tokio::test]
async fn p9_a_database_that_falls_silent_is_no_reason_to_be_restarted() {
    let vendor = Simulator::start(Options { initial: 10, ..Options::default() }, Clock::system()).await.unwrap();
    let (database, manager) = (Database::fresh().await, Manager::new());
    let relay = Relay::to(&database.url).await;
    let mut lock = database.pool.begin().await.unwrap();
    sqlx::query("lock table argos.counters").execute(&mut *lock).await.unwrap();
    let limit = WATCHDOG.as_micros().to_string();
    let more = [
        ("WATCHDOG_USEC", limit.as_str()),
        ("ARGOS_SYNC__DATABASE__CONNECT_TIMEOUT", "1s"),
        ("ARGOS_SYNC__DATABASE__STATEMENT_TIMEOUT", "2s"),
    ];
    let daemon = manager.start(&vendor.base_url(), &relay.url, &more).await;
    manager.told_until("STATUS=reading").await;

    // The database's host vanishes in the middle of a statement: no answer comes, and no end of the connection.
    blocked(&database).await;
    relay.freeze();
    lock.rollback().await.unwrap();
    manager.told_until("WATCHDOG=1").await;
    assert_eq!(daemon.get("/livez").await.0, 200, "a slow statement is not a stuck loop");
    // It is given up in time, and the loop goes on: see `silence`. That pings cease for one that does not, `src/systemd.rs`
    // holds. Meanwhile the manager does not read, and its socket is soon full: that stops nothing either.
    eventually("the statement is given up", async || match daemon.output() {
        said if said.contains("writing to the database failed") => Ok(()),
        said => Err(said),
    })
    .await;
    manager.told_until("WATCHDOG=1").await;
    assert_eq!(daemon.get("/livez").await.0, 200);
}

#[tokio::test]
async fn p9_a_loop_that_is_stuck_is_pinged_for_no_more_and_livez_fails() {
    let vendor = Simulator::start(Options { initial: 10, ..Options::default() }, Clock::system()).await.unwrap();
    let (database, manager) = (Database::fresh().await, Manager::new());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_nobody_reads, mut log) = std::io::pipe().unwrap();
    let mut command: Command = argos_sync();
    command.arg("run").stderr(log.try_clone().unwrap()).envs([
        ("NOTIFY_SOCKET", manager.directory.path().join("notify").to_str().unwrap()),
        ("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string()),
        ("ARGOS_SYNC__HTTP__LISTEN", &port.to_string()),
        ("ARGOS_SYNC__POLL__INTERVAL", "1s"),
        ("ARGOS_SYNC__API__KEY", "simulated-key"),
        ("ARGOS_SYNC__API__BASE_URL", &vendor.base_url()),
        ("ARGOS_SYNC__DATABASE__URL", &database.url),
    ]);
    let _daemon = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    manager.told_until("STATUS=reading").await;
    manager.told_until("WATCHDOG=1").await;
    assert_eq!(get(port, "/livez").await.0, 200);

    // Its log goes nowhere, the pipe is full, and then the loop has something to tell.
    std::thread::spawn(move || while log.write_all(&[b' '; 1024]).is_ok() {});
    vendor.set_faults(Faults::parse("status-500").unwrap());
    let (mut pinged, mut buffer) = (Instant::now(), [0; 1024]);
    eventually("it is stuck", async || {
        while let Ok(Ok(received)) = tokio::time::timeout(SILENT / 30, manager.socket.recv(&mut buffer)).await {
            if buffer[..received].starts_with(b"WATCHDOG=1") {
                pinged = Instant::now();
                break;
            }
        }
        let livez = tokio::time::timeout(SILENT, get(port, "/livez")).await.map(|(status, _)| status);
        if pinged.elapsed() > SILENT && livez != Ok(200) { Ok(()) } else { Err((pinged.elapsed(), livez)) }
    })
    .await;
}
