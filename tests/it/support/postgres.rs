//! One PostgreSQL server for the run: the one that DATABASE_URL names, else a private cluster. Each test gets a copy of a
//! migrated template database.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use argos_sync::embedded::Cluster;
use argos_sync::store::database::{migrator, options};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use tempfile::TempDir;
use tokio::runtime::Runtime;

struct Server {
    admin: PgConnectOptions,
    template: String,
    // The cluster lives as long as this process: its guard stops it however the process ends.
    _cluster: Option<(Cluster, TempDir)>,
    _runtime: Runtime,
}

/// Started at first use, on a thread of its own: tests run inside runtimes of theirs.
static SERVER: LazyLock<Server> = LazyLock::new(|| std::thread::spawn(start).join().expect("PostgreSQL starts"));

fn start() -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (url, cluster) = match std::env::var("DATABASE_URL") {
        Ok(url) => (url, None),
        Err(_) => {
            let directory = tempfile::tempdir().unwrap();
            reachable(directory.path());
            let cluster = runtime.block_on(Cluster::start(&directory.path().join("cluster"))).unwrap();
            (cluster.url("postgres"), Some((cluster, directory)))
        }
    };
    let admin = options(&url).unwrap();
    let template = format!("argos_test_{}_template", std::process::id());
    runtime.block_on(async {
        execute(&admin, &format!("create database {template}")).await;
        let pool =
            PgPoolOptions::new().max_connections(1).connect_with(admin.clone().database(&template)).await.unwrap();
        migrator().run(&pool).await.unwrap();
        pool.close().await;
    });
    Server { admin, template, _cluster: cluster, _runtime: runtime }
}

/// Lets the user that PostgreSQL runs as (not root) through a temporary directory.
pub fn reachable(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

async fn execute(admin: &PgConnectOptions, sql: &str) {
    let mut connection = PgConnection::connect_with(admin).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A template must have no sessions.
async fn cut_off(database: &str) {
    execute(
        &SERVER.admin,
        &format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"),
    )
    .await;
}

/// A database of a test's own; dropped with it.
pub struct Database {
    /// To look into it.
    pub pool: PgPool,
    /// For processes and settings.
    pub url: String,
    name: String,
    /// Whether it is one of the run's server, and dropped with this.
    ours: bool,
}

impl Database {
    /// A migrated, empty database.
    pub async fn fresh() -> Self {
        Self::create(&format!("template {}", SERVER.template)).await
    }

    /// A database without our schema.
    pub async fn bare() -> Self {
        Self::create("").await
    }

    async fn create(how: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("argos_test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        execute(&SERVER.admin, &format!("create database {name} {how}")).await;
        let options = SERVER.admin.clone().database(&name);
        let url = options.to_url_lossy().to_string();
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
        Self { pool, url, name, ours: true }
    }

    /// A database of another server, which is left alone.
    pub async fn elsewhere(url: &str) -> Self {
        let options = options(url).unwrap();
        let name = options.get_database().unwrap().to_owned();
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
        Self { pool, url: url.to_owned(), name, ours: false }
    }

    /// A backup: a copy of this database. Cuts off whoever is connected.
    pub async fn backup(&self) -> Self {
        cut_off(&self.name).await;
        Self::create(&format!("template {}", self.name)).await
    }

    /// Puts a backup in this database's place. Cuts off whoever is connected.
    pub async fn restore(&self, backup: &Self) {
        cut_off(&backup.name).await;
        execute(&SERVER.admin, &format!("drop database {} with (force)", self.name)).await;
        execute(&SERVER.admin, &format!("create database {} template {}", self.name, backup.name)).await;
    }

    /// One value, as text.
    pub async fn text(&self, sql: &str) -> Option<String> {
        let sql = format!("select ({sql})::text");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await.unwrap()
    }

    /// One number.
    pub async fn number(&self, sql: &str) -> i64 {
        self.text(sql).await.expect("not null").parse().unwrap()
    }

    /// Executes statements; returns the rows that the last one touched or gave.
    pub async fn execute(&self, sql: &str) -> u64 {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&self.pool).await.unwrap().rows_affected()
    }

    /// A hash of everything in a query's rows, in their order.
    pub async fn fingerprint(&self, query: &str) -> String {
        let sql = format!("select coalesce(md5(string_agg(r::text, E'\\n')), 'empty') from ({query}) r");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        let (admin, name) = (SERVER.admin.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(&admin, &format!("drop database if exists {name} with (force)")));
        });
        dropped.join().expect("the test's database can be dropped");
    }
}
