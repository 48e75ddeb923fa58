//! `argos-sync run` as a process, and its HTTP port.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::process::{argos_sync, limited};
use super::world::keys;

/// A running daemon; killed when dropped.
pub struct Daemon {
    /// Its HTTP port.
    pub address: SocketAddr,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reading: JoinHandle<()>,
}

impl Daemon {
    /// Starts `run` and waits until it serves. `log.level` must not be above info.
    pub async fn start(environment: &[(&str, &str)]) -> Self {
        Self::of(argos_sync(), environment).await
    }

    /// The same, with so many descriptors and no more.
    pub async fn with_descriptors(most: u32, environment: &[(&str, &str)]) -> Self {
        Self::of(limited(most), environment).await
    }

    async fn of(mut command: std::process::Command, environment: &[(&str, &str)]) -> Self {
        command.arg("run").env("ARGOS_SYNC__HTTP__LISTEN", "127.0.0.1:0").envs(environment.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Command::from(command).kill_on_drop(true).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        let reading = tokio::spawn(async move {
            let (mut out_open, mut err_open) = (true, true);
            while out_open || err_open {
                let line = tokio::select! {
                    line = out.next_line(), if out_open => { let line = line.unwrap(); out_open = line.is_some(); line }
                    line = err.next_line(), if err_open => { let line = line.unwrap(); err_open = line.is_some(); line }
                };
                kept.lock().unwrap().extend(line);
            }
        });
        let mut daemon = Self { address: ([127, 0, 0, 1], 0).into(), child, lines, reading };
        eventually("the HTTP port is told", async || daemon.output().contains("serving /metrics")).await;
        let said = daemon.output();
        let address = said.split_once("address").unwrap().1;
        let digits = address.trim_start_matches(|character: char| !character.is_ascii_digit());
        let end = digits.find(|character: char| !character.is_ascii_digit() && !".:".contains(character));
        daemon.address = digits[..end.unwrap_or(digits.len())].parse().unwrap();
        daemon
    }

    /// One for a simulator and a database, with settings changed: (key, value).
    pub async fn between(base_url: &str, database_url: &str, changes: &[(&str, &str)]) -> Self {
        let named = |key: &str| format!("ARGOS_SYNC__{}", key.to_uppercase().replace('.', "__"));
        let settings = keys(base_url, database_url, changes);
        let variables: Vec<(String, &str)> = settings.iter().map(|(key, value)| (named(key), *value)).collect();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        Self::start(&variables).await
    }

    /// Passes that ended because of the database.
    pub async fn database_errors(&self) -> u64 {
        let page = self.get("/metrics").await.1;
        let line = page.lines().find(|line| line.starts_with("argos_sync_database_errors_total{")).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    /// Everything it wrote so far.
    pub fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Status and body of a page.
    pub async fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path).await
    }

    /// Asks it to end: its exit code, everything it wrote, and how long it took.
    pub async fn stop(mut self) -> (Option<i32>, String, Duration) {
        let started = Instant::now();
        kill(Pid::from_raw(self.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let status = self.child.wait().await.unwrap();
        let took = started.elapsed();
        (&mut self.reading).await.unwrap();
        (status.code(), self.output(), took)
    }
}

/// Status and body of a page.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, path, "").await
}

/// The same, with more headers: each a line with its end.
pub async fn ask(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Waits until something is true, for at most half a minute.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
