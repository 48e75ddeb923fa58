//! The real PgBouncer in front of a database.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;
use url::Url;

use super::Database;
use super::postgres::reachable;
use super::program::eventually;

/// PgBouncer in front of a database; ended with it.
pub struct Pooler {
    /// The database's URL by way of here.
    pub url: String,
    process: Child,
    listens: SocketAddr,
    file: PathBuf,
    _directory: TempDir,
}

impl Pooler {
    /// One with these settings. `None`: it is not installed (tests/setup installs it where it may).
    pub async fn before(database: &Database, settings: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        reachable(directory.path());
        let behind = database.pool.connect_options();
        let host = behind.get_socket().map_or_else(|| behind.get_host().to_owned(), |path| path.display().to_string());
        let name = behind.get_database().unwrap();
        let url = Url::parse(&database.url).unwrap();
        let password = url.password().map(|password| format!(" password={password}")).unwrap_or_default();
        let listens = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "[databases]\n{name} = host={host} port={} dbname={name} user={}{password}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n{settings}\n",
            behind.get_port(),
            behind.get_username(),
            listens.port()
        );
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, text).unwrap();
        let Ok(process) = command(&file).spawn() else {
            eprintln!("pgbouncer is not installed: not checked");
            return None;
        };
        let url = format!("postgres://{}@{listens}/{name}?sslmode=disable", behind.get_username());
        let pooler = Self { url, process, listens, file, _directory: directory };
        pooler.answers().await;
        Some(pooler)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) {
        self.process = command(&self.file).spawn().unwrap();
        self.answers().await;
    }

    async fn answers(&self) {
        eventually("PgBouncer listens", async || TcpStream::connect(self.listens).await.map(drop)).await;
    }
}

fn command(file: &PathBuf) -> Command {
    let mut command = Command::new("pgbouncer");
    command.env("PATH", "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin").arg("--quiet").arg(file);
    if nix::unistd::geteuid().is_root() {
        command.args(["--user", "postgres"]);
    }
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
    command
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // Gone already, or to be gone now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
