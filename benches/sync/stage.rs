//! What the bench runs on: a private PostgreSQL, the data server, the program, and how a phase is measured.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use argos_sync::embedded::Cluster;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

use crate::Result;
use crate::items::{Form, Times};
use crate::measure::{self, Ran};
use crate::server::{self, Server};

/// `api.project_id`.
pub const PROJECT: &str = "bench";

/// A database that `argos-sync migrate` has made.
const TEMPLATE: &str = "bench_template";

/// What a phase has cost.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Seconds.
    pub wall: f64,
    /// CPU seconds of the process that is measured.
    pub client_cpu: f64,
    /// CPU seconds of PostgreSQL: the postmaster, and all its children.
    pub postgres_cpu: f64,
    /// CPU seconds of the data server.
    pub server_cpu: f64,
    /// The most memory that the process had resident, in MiB.
    pub peak_mib: f64,
    /// Bytes of WAL.
    pub wal_bytes: f64,
}

/// All that runs.
pub struct Stage {
    pub cluster: Cluster,
    pub server: Server,
    pub times: Times,
    postmaster: u32,
    directory: TempDir,
    admin: PgConnection,
}

impl Stage {
    /// Starts PostgreSQL and the data server, and makes the migrated database that others are copies of.
    pub async fn start(times: Times) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("argos-sync-bench-").tempdir()?;
        open_to_all(directory.path())?;
        let cluster = Cluster::start(&directory.path().join("cluster")).await?;
        let mut admin = connect(&cluster, "postgres").await?;
        // PostgreSQL's own defaults, where the private database has others. Checksums stay on.
        for setting in ["max_wal_size = '1GB'", "jit = on"] {
            execute(&mut admin, &format!("alter system set {setting}")).await?;
        }
        execute(&mut admin, "select pg_reload_conf()").await?;
        let lock_file = std::fs::read_to_string(cluster.data_dir().join("postgres/postmaster.pid"))?;
        let postmaster = lock_file.lines().next().ok_or("postmaster.pid is empty")?.trim().parse()?;
        let items = directory.path().join("items");
        std::fs::create_dir(&items)?;
        let server = Server::start(&items, times)?;
        let mut stage = Self { cluster, server, times, postmaster, directory, admin };
        stage.cluster.ensure_database(TEMPLATE).await?;
        let migrated = stage.program(TEMPLATE, &["migrate"], &[])?.stdout(Stdio::null()).status()?;
        if !migrated.success() {
            return Err(stage.failed("argos-sync migrate"));
        }
        stage.quiet().await?;
        Ok(stage)
    }

    /// Ends it all.
    pub async fn stop(self) -> Result<()> {
        let Self { cluster, server, directory, admin, .. } = self;
        admin.close().await?;
        drop(server);
        cluster.stop().await?;
        Ok(directory.close()?)
    }

    /// A path in the bench's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file of items, unless it is there.
    pub fn prepare(&self, name: &str, submissions: u64, form: Form) -> Result<()> {
        let path = self.server.file(name);
        if path.exists() { Ok(()) } else { server::write_items(&path, submissions, self.times, form) }
    }

    /// Removes all files of items: the next part may want as many submissions as it likes.
    pub fn clear(&self) -> Result<()> {
        for entry in std::fs::read_dir(self.path("items"))? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// A fresh, migrated database in the place of one that may be there.
    pub async fn fresh(&mut self, database: &str) -> Result<()> {
        self.drop_database(database).await?;
        execute(&mut self.admin, &format!("create database {database} template {TEMPLATE}")).await
    }

    /// Removes a database.
    pub async fn drop_database(&mut self, database: &str) -> Result<()> {
        execute(&mut self.admin, &format!("drop database if exists {database} with (force)")).await
    }

    /// PostgreSQL's version.
    pub async fn version(&mut self) -> Result<String> {
        Ok(sqlx::query_scalar("show server_version").fetch_one(&mut self.admin).await?)
    }

    /// `argos-sync ARGUMENTS` with the shipped configuration, but for the dialect, the size of pages, and `settings`.
    pub fn program(&self, database: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Result<Command> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_argos-sync"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("ARGOS_SYNC") || name == "DATABASE_URL" || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        let (base_url, database_url) = (self.server.base_url(), self.cluster.url(database));
        let ours = [
            ("api.base_url", base_url.as_str()),
            ("api.key", "bench"),
            ("api.project_id", PROJECT),
            ("api.dialect", "v3"),
            ("api.count", "2000"),
            ("database.url", database_url.as_str()),
        ];
        for (key, value) in ours.iter().chain(settings) {
            command.env(format!("ARGOS_SYNC__{}", key.to_uppercase().replace('.', "__")), value);
        }
        command.args(arguments).current_dir(self.directory.path());
        command.stderr(OpenOptions::new().create(true).append(true).open(self.path("log"))?);
        Ok(command)
    }

    /// Runs a process to its end, after a checkpoint, and measures what it costs everybody.
    pub async fn measure(&mut self, command: &mut Command) -> Result<(Ran, Cost)> {
        self.quiet().await?;
        execute(&mut self.admin, "checkpoint").await?;
        let before = self.counters().await?;
        let ran = measure::run(command)?;
        if !ran.status.success() {
            return Err(self.failed(&format!("{:?}: {}", command.get_program(), ran.status)));
        }
        self.quiet().await?;
        let after = self.counters().await?;
        let cost = Cost {
            wall: ran.wall,
            client_cpu: ran.cpu,
            postgres_cpu: after.postgres_cpu - before.postgres_cpu,
            server_cpu: after.server_cpu - before.server_cpu,
            peak_mib: ran.peak_kib as f64 / 1024.0,
            wal_bytes: after.wal_bytes - before.wal_bytes,
        };
        Ok((ran, cost))
    }

    /// CPU and WAL so far.
    pub async fn counters(&mut self) -> Result<Counters> {
        let sql = "select (pg_current_wal_insert_lsn() - '0/0')::float8";
        let wal_bytes = sqlx::query_scalar(sql).fetch_one(&mut self.admin).await?;
        let postgres_cpu = measure::cpu_of_family(self.postmaster)?;
        Ok(Counters { postgres_cpu, server_cpu: measure::cpu_of(self.server.pid())?, wal_bytes })
    }

    /// Waits until nobody else is connected: what sessions have cost is known when they have ended.
    async fn quiet(&mut self) -> Result<()> {
        let sql =
            "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
        for _ in 0..1000 {
            let others: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.admin).await?;
            if others == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("sessions stay connected to PostgreSQL".into())
    }

    /// What failed, and the end of what it said.
    fn failed(&self, what: &str) -> crate::Error {
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(10).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        format!("{what} failed; it said:\n{}", tail.join("\n")).into()
    }
}

/// What was used so far.
pub struct Counters {
    pub postgres_cpu: f64,
    pub server_cpu: f64,
    pub wal_bytes: f64,
}

/// A session.
pub async fn connect(cluster: &Cluster, database: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = cluster.url(database).parse()?;
    Ok(PgConnection::connect_with(&options).await?)
}

/// Executes statements that stand in this bench.
pub async fn execute(connection: &mut PgConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Lets the user that PostgreSQL runs as (not root) through a directory.
fn open_to_all(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(File::open(directory)?.set_permissions(std::fs::Permissions::from_mode(0o755))?)
}
