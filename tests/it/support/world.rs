//! A simulator, a database and an engine between them.

use std::collections::HashMap;

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::config::{self, Settings};
use argos_sync::heartbeat::Heartbeat;
use argos_sync::simulator::{Options, Simulator};
use argos_sync::sync::engine::Engine;
use tokio_util::sync::CancellationToken;

use super::Database;

/// What most tests need. The clock is the system's unless a test hands in another.
pub struct World {
    /// The vendor.
    pub simulator: Simulator,
    /// The database.
    pub database: Database,
    /// Settings, pool, metrics.
    pub app: App,
    /// Asks engines to stop.
    pub stop: CancellationToken,
}

impl World {
    /// A world whose simulator has these options.
    pub async fn new(options: Options) -> Self {
        Self::with(options, &[], Clock::system()).await
    }

    /// The same, with settings changed: (key, value).
    pub async fn with(options: Options, changes: &[(&str, &str)], clock: Clock) -> Self {
        install_tls();
        let database = Database::fresh().await;
        let simulator = Simulator::start(options, clock.clone()).await.unwrap();
        let settings = settings(&simulator.base_url(), &database.url, changes);
        let app = App::open(settings, clock).await.unwrap();
        Self { simulator, database, app, stop: CancellationToken::new() }
    }

    /// An engine for the first project.
    pub async fn engine(&self) -> Engine {
        self.engine_of(0, "test").await
    }

    /// An engine of another app, for its first project.
    pub async fn engine_in(&self, app: &App, holder: &str) -> Engine {
        app.engine(&app.settings.projects[0], holder, &Heartbeat::new(), &self.stop).await.unwrap()
    }

    /// An engine for a project, as a holder of the lease.
    pub async fn engine_of(&self, project: usize, holder: &str) -> Engine {
        let project = &self.app.settings.projects[project];
        self.app.engine(project, holder, &Heartbeat::new(), &self.stop).await.unwrap()
    }
}

/// The same ids in every run.
const HASH_SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// What a test sets for a simulator and a database, and then changes: retries are quick, the rate is free.
pub fn keys<'a>(base_url: &'a str, database_url: &'a str, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut keys = vec![
        ("api.base_url", base_url),
        ("api.key", "simulated-key"),
        ("api.requests_per_second", "100000"),
        ("api.requests_per_day", "100000000"),
        ("api.backoff_initial", "1ms"),
        ("api.backoff_max", "5ms"),
        ("api.retry_after_max", "10ms"),
        ("database.url", database_url),
        ("database.hash_secret", HASH_SECRET),
        ("http.listen", "127.0.0.1:0"),
    ];
    keys.retain(|(key, _)| !changes.iter().any(|(changed, _)| changed == key));
    keys.extend(changes);
    keys
}

/// The settings that [`keys`] make.
pub fn settings(base_url: &str, database_url: &str, changes: &[(&str, &str)]) -> Settings {
    let flags = keys(base_url, database_url, changes);
    let flags: Vec<(String, String)> = flags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    config::load(None, &HashMap::new(), &flags).unwrap()
}

/// The process's TLS provider, as main installs it.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
