//! The private PostgreSQL cluster: found, made, started, joined and stopped.
//!
//! The demo, the tests and an installation without a database of its own share it. It listens on a unix socket in a
//! directory that only its user can enter, it is durable like any other PostgreSQL, and it never outlives the process
//! that started it:
//!
//! ```text
//! argos-sync --+-- postgres           our child, in a process group of its own
//!              +-- guard (/bin/sh)    reads a pipe from us; end of file: we are gone, stop the server
//! ```
//!
//! A lock on a file in the data directory, held for as long as the process lives, says who owns the server. Who gets
//! the lock starts the server; who does not joins it.

mod account;
mod error;
mod home;
mod initdb;
mod log;
mod postmaster;
mod programs;
mod server;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::Flock;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Connection};
use tokio::time::{Instant, sleep, timeout};

pub use error::EmbeddedError;
pub use home::default_data_dir;
pub use programs::Programs;

use home::Home;
use server::Server;

const POLL: Duration = Duration::from_millis(50);
/// How long a server may take until it answers at all.
const READY: Duration = Duration::from_secs(60);
/// How long it may say that it is starting up: it replays its log after a crash, and must not be killed for that.
const RECOVERED: Duration = Duration::from_secs(600);
/// How long the server of a killed owner may take to stop; its guard becomes impatient earlier.
const GONE: Duration = Duration::from_secs(45);

/// A running private PostgreSQL.
///
/// Call [`Cluster::stop`] at the end. If that does not happen (drop, panic, kill), the guard stops the server.
#[derive(Debug)]
pub struct Cluster {
    home: Home,
    socket_dir: PathBuf,
    // Before the lock: the server is told to stop before another process may become its owner.
    server: Option<Server>,
    _owner: Option<Flock<File>>,
}

impl Cluster {
    /// Starts the cluster in `data_dir`, making it first if the directory is empty or missing, or joins the server that
    /// another argos-sync runs there. Returns when the database answers.
    pub async fn start(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let home = Home::open(data_dir).await?;
        let deadline = Instant::now() + READY;
        loop {
            if let Some(owner) = home.try_own()? {
                return Self::own(home, owner).await;
            }
            if let Some(socket_dir) = serving(&home).await {
                return Ok(Self::joined(home, socket_dir));
            }
            if Instant::now() > deadline {
                return Err(EmbeddedError::Busy { data_dir: home.dir().into(), seconds: READY.as_secs() });
            }
            sleep(POLL).await;
        }
    }

    fn joined(home: Home, socket_dir: PathBuf) -> Self {
        Self { home, socket_dir, server: None, _owner: None }
    }

    async fn own(home: Home, owner: Flock<File>) -> Result<Self, EmbeddedError> {
        let mut attempts = 0;
        loop {
            if let Some(socket_dir) = outlast(&home).await {
                return Ok(Self::joined(home, socket_dir));
            }
            attempts += 1;
            match launch(&home).await {
                Ok((server, socket_dir)) => {
                    tracing::info!(data_dir = %home.dir().display(), user = home.user(), "the private database answers");
                    return Ok(Self { home, socket_dir, server: Some(server), _owner: Some(owner) });
                }
                // The server of an owner that was killed while it started it: it came up in between and kept ours from
                // starting. Its guard is stopping it.
                Err(EmbeddedError::Ended { .. }) if attempts < 3 && postmaster::is_running(&home) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// False if the server was running already; then [`Cluster::stop`] leaves it running.
    pub fn started_by_us(&self) -> bool {
        self.server.is_some()
    }

    /// How to connect to `database` (see [`Cluster::ensure_database`]), for sqlx, libpq and everything built on them.
    pub fn url(&self, database: &str) -> String {
        let socket_dir = encode(self.socket_dir.as_os_str().as_encoded_bytes());
        let database = encode(database.as_bytes());
        // The port and sslmode are named so that PGPORT and PGSSLMODE in the environment do not lead elsewhere.
        format!("postgresql://argos@{socket_dir}:5432/{database}?sslmode=disable")
    }

    /// The directory the cluster lives in, without links.
    pub fn data_dir(&self) -> &Path {
        self.home.dir()
    }

    /// The directory of the server's socket, for `psql -h`.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The server's log. It holds no rows and no statements, and stays below about 8 MiB.
    pub fn log_file(&self) -> PathBuf {
        self.home.log()
    }

    /// Creates the database `name` unless it is there.
    pub async fn ensure_database(&self, name: &str) -> Result<(), EmbeddedError> {
        let letter = |b: u8| b.is_ascii_lowercase() || b == b'_';
        let plain = name.bytes().all(|b| letter(b) || b.is_ascii_digit()) && name.bytes().next().is_some_and(letter);
        if !plain || name.len() > 63 {
            return Err(EmbeddedError::DatabaseName { name: name.into() });
        }
        let mut connection = connect(&self.socket_dir).await.map_err(EmbeddedError::database("connect"))?;
        let known: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .map_err(EmbeddedError::database("list the databases"))?;
        if !known {
            // Nothing but letters, digits and underscores, see above.
            let create = AssertSqlSafe(format!("create database \"{name}\""));
            match sqlx::query(create).execute(&mut connection).await {
                // Somebody else was faster: duplicate_database, or unique_violation at the same moment.
                Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42P04" | "23505")) => {}
                Err(error) => return Err(EmbeddedError::database("create a database")(error)),
                Ok(_) => {}
            }
        }
        connection.close().await.map_err(EmbeddedError::database("disconnect"))
    }

    /// Waits until the server ends by itself, which it should not, and says how. Never returns for a joined server.
    pub async fn ended(&mut self) -> EmbeddedError {
        let Some(server) = &mut self.server else {
            return std::future::pending().await;
        };
        match server.wait().await {
            Ok(status) => EmbeddedError::Ended { status, log: self.home.log(), tail: server.log_tail(&self.home) },
            Err(error) => EmbeddedError::io("watch the server of", self.home.dir())(error),
        }
    }

    /// Stops the server if it is ours: open transactions are rolled back, everything committed is on disk. Afterwards
    /// neither a process nor a socket is left.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let Some(server) = self.server.take() else {
            return Ok(());
        };
        server.stop().await.map_err(EmbeddedError::io("stop the server of", self.home.dir()))?;
        if self.socket_dir != self.home.dir() {
            // Not empty only if somebody put something there.
            let _ = std::fs::remove_dir(&self.socket_dir);
        }
        Ok(())
    }
}

/// Makes the cluster if there is none, starts its server and waits until it answers.
async fn launch(home: &Home) -> Result<(Server, PathBuf), EmbeddedError> {
    let major = home.cluster_major()?;
    let programs = Programs::find_for(home.dir(), major)?;
    if major.is_none() {
        tracing::info!(data_dir = %home.dir().display(), version = programs.major(), "making the private database");
        initdb::run(home, &programs).await?;
    }
    postmaster::disown_stale_lock(home)?;
    let socket_dir = home.socket_dir()?;
    let mut server = Server::launch(home, &programs, &socket_dir)?;
    match ready(home, &socket_dir, &mut server).await {
        Ok(()) => Ok((server, socket_dir)),
        Err(error) => {
            let _ = server.stop().await;
            Err(error)
        }
    }
}

/// Waits for a server without an owner to go: its owner was killed, and its guard is stopping it. Joining it would mean
/// losing it in a moment. One that stays was started by hand: that is joined.
async fn outlast(home: &Home) -> Option<PathBuf> {
    let deadline = Instant::now() + GONE;
    loop {
        let serves = serving(home).await;
        if serves.is_none() && !postmaster::is_running(home) {
            return None;
        }
        if Instant::now() > deadline {
            // Or it neither serves nor goes: starting one then fails with what PostgreSQL says about it.
            return serves;
        }
        sleep(POLL).await;
    }
}

/// The socket directory of a server that answers for this cluster. Asked by connecting: in another container the
/// process ids of postmaster.pid mean nothing, but the socket still works.
async fn serving(home: &Home) -> Option<PathBuf> {
    let (_, socket_dir) = postmaster::lock_file(home)?;
    let socket_dir = PathBuf::from(socket_dir?);
    let mut connection = connect(&socket_dir).await.ok()?;
    // A stale file may name a directory where a different server listens by now.
    let served: String = sqlx::query_scalar("show data_directory").fetch_one(&mut connection).await.ok()?;
    let _ = connection.close().await;
    (Path::new(&served) == home.pgdata()).then_some(socket_dir)
}

async fn ready(home: &Home, socket_dir: &Path, server: &mut Server) -> Result<(), EmbeddedError> {
    let begin = Instant::now();
    loop {
        let error = match connect(socket_dir).await {
            Ok(connection) => {
                let _ = connection.close().await;
                return Ok(());
            }
            Err(error) => error,
        };
        if let Some(status) = server.try_wait() {
            let tail = server.log_tail(home);
            return Err(EmbeddedError::Ended { status, log: home.log(), tail });
        }
        // cannot_connect_now: it is there, and starting up
        let recovering = matches!(&error, sqlx::Error::Database(error) if error.code().as_deref() == Some("57P03"));
        let patience = if recovering { RECOVERED } else { READY };
        if begin.elapsed() > patience {
            return Err(EmbeddedError::NotReady {
                seconds: patience.as_secs(),
                log: home.log(),
                tail: server.log_tail(home),
                source: Some(error),
            });
        }
        sleep(POLL).await;
    }
}

async fn connect(socket_dir: &Path) -> Result<PgConnection, sqlx::Error> {
    let options = PgConnectOptions::new_without_pgpass().socket(socket_dir).port(5432).username("argos");
    let options = options.database("postgres").ssl_mode(PgSslMode::Disable).application_name("argos-sync");
    let attempt = timeout(Duration::from_secs(5), PgConnection::connect_with(&options)).await;
    attempt.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::new();
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
