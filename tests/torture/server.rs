//! A PostgreSQL that a history may crash.

use std::path::Path;

use argos_sync::embedded::Cluster;
use argos_sync::store::database::{migrator, options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;

use crate::support::postgres::reachable;

/// A cluster of its own, with a migrated template.
pub struct Server {
    cluster: Option<Cluster>,
    directory: TempDir,
    made: u64,
}

const TEMPLATE: &str = "template_argos";

impl Server {
    /// Makes one.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        reachable(directory.path());
        let mut server = Self { cluster: None, directory, made: 0 };
        server.up().await;
        server.cluster().ensure_database(TEMPLATE).await.unwrap();
        let url = server.cluster().url(TEMPLATE);
        let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        migrator().run(&pool).await.unwrap();
        pool.close().await;
        server
    }

    fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("it is up")
    }

    fn home(&self) -> std::path::PathBuf {
        self.directory.path().join("cluster")
    }

    async fn up(&mut self) {
        self.cluster = Some(Cluster::start(&self.home()).await.unwrap());
    }

    /// A new migrated database: its URL.
    pub async fn database(&mut self) -> String {
        self.made += 1;
        let name = format!("history_{}", self.made);
        self.execute(&format!("create database {name} template {TEMPLATE}")).await;
        self.cluster().url(&name)
    }

    /// Removes a database.
    pub async fn remove(&self, url: &str) {
        self.execute(&format!("drop database {} with (force)", name(url))).await;
    }

    /// What sessions of a database begin with from now on.
    pub async fn read_only(&self, url: &str, on: &str) {
        self.execute(&format!("alter database {} set default_transaction_read_only = {on}", name(url))).await;
    }

    async fn execute(&self, sql: &str) {
        let options = options(&self.cluster().url("postgres")).unwrap();
        let mut connection: PgConnection = options.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Ends it in an orderly way and starts it again.
    pub async fn restart(&mut self) {
        self.cluster.take().expect("it is up").stop().await.unwrap();
        self.up().await;
    }

    /// SIGKILL to the postmaster, then a start with recovery.
    pub async fn crash(&mut self) {
        let cluster = self.cluster.take().expect("it is up");
        let pid = std::fs::read_to_string(Path::new(cluster.data_dir()).join("postgres/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        // Its processes notice, and go; then the next one can start.
        let _ = cluster.stop().await;
        self.up().await;
    }

    /// Ends it for good.
    pub async fn stop(mut self) {
        if let Some(cluster) = self.cluster.take() {
            cluster.stop().await.unwrap();
        }
    }
}

fn name(url: &str) -> String {
    options(url).unwrap().get_database().unwrap().to_owned()
}
