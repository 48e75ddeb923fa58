//! The real program, running: its settings, its output, its end.

use std::fmt::Debug;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::process::argos_sync;
use super::world::keys;

/// How long a test waits for what must happen; only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `argos-sync ARGS` for a simulator and a database: retries are quick, the rate is free, no log but warnings.
pub fn command(args: &[&str], base_url: &str, database_url: &str, changes: &[(&str, &str)]) -> Command {
    let settings = keys(base_url, database_url, changes);
    let mut command = argos_sync();
    // An empty value takes a setting away.
    for (key, value) in settings.into_iter().filter(|(_, value)| !value.is_empty()) {
        command.env(format!("ARGOS_SYNC__{}", key.to_uppercase().replace('.', "__")), value);
    }
    command.args(args);
    command
}

/// A process, killed when it is dropped.
pub struct Program {
    child: Child,
    started: Instant,
    stdout: Output,
    stderr: Output,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None`: killed by a signal.
    pub code: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

struct Output {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(mut from: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let into = text.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.so_far()
    }
}

impl Program {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (Output::of(child.stdout.take().unwrap()), Output::of(child.stderr.take().unwrap()));
        Self { child, started: Instant::now(), stdout, stderr }
    }

    /// Its process number.
    #[allow(dead_code, reason = "only the histories look at it from outside")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has said on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until it says this on standard error.
    pub async fn says(&self, text: &str) {
        eventually(&format!("it says {text:?}"), async || match self.stderr() {
            said if said.contains(text) => Ok(()),
            said => Err(said),
        })
        .await;
    }

    /// Waits until it ends.
    pub async fn end(&mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            let ran = self.started.elapsed();
            assert!(Instant::now() < deadline, "still running after {ran:?}; it said:\n{}", self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Ended { code: status.code(), stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Gone already, or to be gone now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it to its end.
pub async fn run(command: Command) -> Ended {
    Program::start(command).end().await
}

/// Asks again and again until the answer is Ok; fails with the last Err.
pub async fn eventually<T, E: Debug>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}; last: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
