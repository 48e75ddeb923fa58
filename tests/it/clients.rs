//! P9, P12: the HTTP port, with many clients and slow ones.

use std::net::SocketAddr;
use std::time::Duration;

use argos_sync::clock::Clock;
use argos_sync::heartbeat::Heartbeat;
use argos_sync::http::{self, Pages};
use argos_sync::metrics::Metrics;
use argos_sync::simulator::{Faults, Options, Simulator};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::Database;
use crate::support::daemon::{Daemon, eventually, get};
use crate::support::program::PATIENCE;

/// What slow clients send: nothing, a part of a request's head, most of it, all of it without reading the answer.
const SLOW: [&str; 4] =
    ["", "GET /metr", "GET /metrics HTTP/1.1\r\nhost: x\r\n", "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"];

/// So many clients that stay; what a client sends may be cut off.
async fn slow_clients(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for sent in SLOW.iter().cycle().take(count) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(sent.as_bytes()).await;
        clients.push(stream);
    }
    clients
}

/// All that comes, until the connection ends, however it ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn p9_slow_clients_block_neither_others_nor_the_end() {
    let database = Database::fresh().await;
    let daemon = Daemon::start(&[
        ("ARGOS_SYNC__API__KEY", "k"),
        ("ARGOS_SYNC__API__BASE_URL", "http://127.0.0.1:1/v3"),
        ("ARGOS_SYNC__DATABASE__URL", &database.url),
    ])
    .await;
    let slow = slow_clients(daemon.address, 100).await;
    for path in ["/metrics", "/livez"] {
        let answer = tokio::time::timeout(Duration::from_secs(5), daemon.get(path)).await.expect("others are served");
        assert_eq!(answer.0, 200);
    }
    eventually("the database is migrated and looked at", async || daemon.get("/readyz").await.0 == 200).await;
    let (code, said, took) = daemon.stop().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    drop(slow);
}

#[tokio::test]
async fn p9_p12_more_clients_than_descriptors_stop_nothing() {
    let vendor = Simulator::start(Options { initial: 10, ..Options::default() }, Clock::system()).await.unwrap();
    let database = Database::fresh().await;
    let environment = [
        ("ARGOS_SYNC__API__KEY", "simulated-key"),
        ("ARGOS_SYNC__API__BASE_URL", &vendor.base_url()),
        ("ARGOS_SYNC__API__RETRIES", "0"),
        ("ARGOS_SYNC__DATABASE__URL", &database.url),
        ("ARGOS_SYNC__POLL__INTERVAL", "1s"),
    ];
    let daemon = Daemon::with_descriptors(128, &environment).await;
    let passes = async |outcome: &str| {
        let page = daemon.get("/metrics").await.1;
        let series = format!("argos_sync_passes_total{{lane=\"hot\",outcome=\"{outcome}\",project=\"default\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse::<u64>().unwrap()
    };
    eventually("it reads", async || passes("complete").await > 0).await;

    let clients = slow_clients(daemon.address, 400).await;
    for path in ["/livez", "/metrics", "/livez", "/metrics"] {
        let answer = tokio::time::timeout(PATIENCE, daemon.get(path)).await.expect("others are served");
        assert_eq!(answer.0, 200, "{path}");
    }
    // Vendor and database are lost, and must be connected to anew.
    vendor.set_faults(Faults::parse("reset").unwrap());
    eventually("the vendor is lost", async || passes("failed").await > 0).await;
    let lost = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where datname = current_database() and application_name = 'argos-sync' and pid <> pg_backend_pid()";
    assert!(database.number(lost).await > 0);
    let more = slow_clients(daemon.address, 400).await;
    vendor.set_faults(Faults::default());
    let before = passes("complete").await;
    eventually("it goes on", async || passes("complete").await >= before + 2).await;
    eventually("the database is reached", async || daemon.get("/readyz").await.0 == 200).await;
    let said = daemon.output();
    assert!(!said.contains("Too many open files") && !said.contains("cannot take a connection"), "{said}");
    drop((clients, more));
}

/// A port without a daemon.
struct Port {
    address: SocketAddr,
    _until: DropGuard,
}

async fn port() -> Port {
    let listener = http::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let pool = PgPool::connect_lazy("postgres://127.0.0.1:1/none").unwrap();
    let metrics = Metrics::new(&[], &[]).unwrap();
    let stop = CancellationToken::new();
    let pages = Pages { metrics, heartbeats: vec![Heartbeat::new()], pool, status: None };
    tokio::spawn(http::serve(listener, pages, stop.clone()));
    Port { address, _until: stop.drop_guard() }
}

#[tokio::test]
async fn p9_a_connection_ends_with_its_answer_or_with_its_time() {
    let port = port().await;
    let mut silent = slow_clients(port.address, 3).await;
    let mut dripping = TcpStream::connect(port.address).await.unwrap();
    dripping.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
    let drip = async {
        while dripping.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // Not asked to be closed, but it is.
    let mut asking = TcpStream::connect(port.address).await.unwrap();
    asking.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = rest(&mut asking).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    tokio::time::timeout(PATIENCE, drip).await.expect("a byte now and then is not enough");
    for client in &mut silent {
        assert_eq!(rest(client).await, "");
    }
    assert_eq!(get(port.address, "/livez").await.0, 200);
}

#[tokio::test]
async fn p12_an_endless_head_is_refused() {
    let port = port().await;
    let mut client = TcpStream::connect(port.address).await.unwrap();
    client.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
    let mut sent = 0;
    while client.write_all(&[b'x'; 1024]).await.is_ok() {
        sent += 1;
        // What the system keeps for the two of them is a few megabytes.
        assert!(sent < 64 * 1024, "it is read without end");
    }
    assert_eq!(get(port.address, "/livez").await.0, 200);
}
