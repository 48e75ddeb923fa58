//! The real PgBouncer between argos-sync and PostgreSQL.

use std::net::TcpListener;
use std::process::{Child, Stdio};

use tokio::net::TcpStream;
use url::Url;

use super::*;

/// PgBouncer in front of a database; ended with it.
struct Pooler {
    url: String,
    process: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // Gone already, or to be gone now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `None`: it is not installed (tests/setup installs it where it may).
async fn pooler(database: &Database, settings: &str) -> Option<Pooler> {
    let directory = tempfile::tempdir().unwrap();
    crate::support::postgres::reachable(directory.path());
    let behind = database.pool.connect_options();
    let host = behind.get_socket().map_or_else(|| behind.get_host().to_owned(), |path| path.display().to_string());
    let name = behind.get_database().unwrap();
    let url = Url::parse(&database.url).unwrap();
    let password = url.password().map(|password| format!(" password={password}")).unwrap_or_default();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "[databases]\n{name} = host={host} port={} dbname={name} user={}{password}\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n{settings}\n",
        behind.get_port(),
        behind.get_username(),
        free.port()
    );
    let file = directory.path().join("pgbouncer.ini");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("pgbouncer");
    command.env("PATH", "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin").arg("--quiet").arg(&file);
    if nix::unistd::geteuid().is_root() {
        command.args(["--user", "postgres"]);
    }
    let Ok(process) = command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null()).spawn() else {
        eprintln!("pgbouncer is not installed: not checked");
        return None;
    };
    let url = format!("postgres://{}@{free}/{name}?sslmode=disable", behind.get_username());
    let pooler = Pooler { url, process, _directory: directory };
    program::eventually("PgBouncer listens", async || TcpStream::connect(free).await.map(drop)).await;
    Some(pooler)
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_told() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let lenient = "ignore_startup_parameters = extra_float_digits\n";
    for (settings, patience) in [
        ("pool_mode = transaction", "several server connections"),
        ("pool_mode = transaction\ndefault_pool_size = 1", "one server connection"),
        ("pool_mode = statement", "no transactions"),
    ] {
        let Some(pooler) = pooler(&database, &format!("{lenient}{settings}")).await else { return };
        let told = Told::by(command(&vendor.base_url(), &pooler.url, &[])).await;
        told.ends_with(4);
        let said = told.says("pooler", "failed");
        assert!(said.contains("transaction mode") && said.contains("pool_mode = session"), "{patience}: {said}");
        assert!(told.checks("skipped").contains(&"schema"), "{patience}: {:?}", told.ended);
    }
}

#[tokio::test]
async fn a_pooler_that_refuses_what_is_sent_at_the_start_is_told() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let Some(pooler) = pooler(&database, "pool_mode = session").await else { return };
    let told = Told::by(command(&vendor.base_url(), &pooler.url, &[])).await;
    told.ends_with(4);
    told.has("connection", "failed", &["extra_float_digits", "PgBouncer is in the way"]);
}

#[tokio::test]
async fn a_pooler_in_session_mode_is_no_different_from_the_server() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let settings = "pool_mode = session\nignore_startup_parameters = extra_float_digits";
    let Some(pooler) = pooler(&database, settings).await else { return };
    let told = Told::by(command(&vendor.base_url(), &pooler.url, &[])).await;
    told.ends_with(0);
    told.has("pooler", "ok", &[]);
    told.has("schema", "ok", &[]);
}
