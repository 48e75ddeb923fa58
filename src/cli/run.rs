//! `argos-sync run`: the daemon.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppError};
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::{Content, Settings, Sources};
use crate::heartbeat::Heartbeat;
use crate::http::{self, Pages, StatusPage};
use crate::logging::LogLevel;
use crate::reload::{InForce, Reload};
use crate::sync::engine::Engine;
use crate::{lifecycle, sync, systemd};

/// Runs until a signal. `sources` and `content` say where the settings come from, `level` changes how much is logged.
pub(super) async fn execute(
    settings: Settings,
    sources: Sources,
    content: Content,
    level: LogLevel,
) -> Result<(), AppError> {
    settings.require_keys()?;
    let stop = lifecycle::stop_on_signals()?;
    let terminal = std::io::stderr().is_terminal();
    let reload = Reload { sources, content, hangups: lifecycle::hangups()?, terminal, level, reading: None };
    let listener = match settings.http.enabled {
        true => {
            let address = settings.http.listen;
            Some(http::bind(address).await.map_err(|source| AppError::Listen { address, source })?)
        }
        false => None,
    };
    let Some(app) = stop.run_until_cancelled(App::open(settings, Clock::system())).await else { return Ok(()) };
    let app = app?;
    let result = serve(&app, listener, Some(reload), &stop).await;
    let closed = app.close().await;
    result.and(closed)
}

/// The daemon's tasks, until `stop`: the HTTP port first, then the database, then one loop per project. Without `reload` the
/// settings stay as they are.
pub(super) async fn serve(
    app: &App,
    listener: Option<tokio::net::TcpListener>,
    reload: Option<Reload>,
    stop: &CancellationToken,
) -> Result<(), AppError> {
    let mut tasks = JoinSet::new();
    let (in_force, settings) = watch::channel(app.settings.clone());
    if let Some(reload) = reload {
        let (pool, metrics, clock) = (app.pool.clone(), app.metrics.clone(), app.clock.clone());
        let (in_force, stop) = (InForce { settings: in_force, pool, metrics, clock }, stop.clone());
        tasks.spawn(async move {
            reload.run(in_force, stop).await;
            "reload"
        });
    }
    // All labels are there from the first scrape on, also while the database is waited for.
    app.settings.projects.iter().for_each(|project| drop(app.metrics.project(&project.id)));
    let heartbeats: Vec<Heartbeat> = app.settings.projects.iter().map(|_| Heartbeat::new()).collect();
    tasks.spawn({
        let (heartbeats, stop) = (heartbeats.clone(), stop.clone());
        async move {
            systemd::watch(&heartbeats, &stop).await;
            "watchdog"
        }
    });
    if let Some(listener) = listener {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "serving /metrics, /livez, /readyz and the status page");
        }
        let (metrics, pool) = (app.metrics.clone(), app.pool.clone());
        let pages =
            Pages { metrics, heartbeats: heartbeats.clone(), pool, status: status_page(app, &listener, &settings) };
        let stop = stop.clone();
        tasks.spawn(async move {
            http::serve(listener, pages, stop).await;
            "http"
        });
    }
    if let Some(engines) = wait_for_database(app, &heartbeats, stop).await? {
        let taking = Arc::new(Mutex::new(()));
        for mut engine in engines {
            engine.spread(taking.clone());
            let settings = settings.clone();
            tasks.spawn(async move {
                sync::run::run(engine, settings).await;
                "sync"
            });
        }
        systemd::ready("reading").await;
    }
    tokio::select! {
        biased;
        result = lifecycle::supervise(tasks, stop, app.settings.shutdown.grace) => result,
        error = app.cluster_ended() => Err(error),
    }
}

/// The status page, if there is to be one.
fn status_page(
    app: &App,
    listener: &tokio::net::TcpListener,
    settings: &watch::Receiver<Arc<Settings>>,
) -> Option<StatusPage> {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let page = || StatusPage::new(settings.clone(), app.pool.clone(), app.clock.clone(), loopback);
    app.settings.http.status_page.then(page)
}

/// The projects' engines, once the database can be used.
async fn engines(app: &App, heartbeats: &[Heartbeat], stop: &CancellationToken) -> Result<Vec<Engine>, AppError> {
    app.prepare_database().await?;
    let holder = app.settings.lease.holder_name();
    let mut engines = Vec::new();
    for (project, heartbeat) in app.settings.projects.iter().zip(heartbeats) {
        engines.push(app.engine(project, &holder, heartbeat, stop).await?);
    }
    Ok(engines)
}

/// Waits until the database can be used; `None`: it is to end. Only what may pass by itself is waited for: a server that
/// is not up yet, somebody's lock.
async fn wait_for_database(
    app: &App,
    heartbeats: &[Heartbeat],
    stop: &CancellationToken,
) -> Result<Option<Vec<Engine>>, AppError> {
    const PAUSE: Duration = Duration::from_secs(2);
    /// A migration of a large database, or the wait for another process that migrates, is not a stuck loop.
    const MIGRATION: Duration = Duration::from_secs(60 * 60);
    let mut told = String::new();
    loop {
        heartbeats.iter().for_each(|heartbeat| heartbeat.expect_within(MIGRATION));
        // Connecting may take its whole time-out, and migrating waits for another process that migrates.
        let error = match stop.run_until_cancelled(engines(app, heartbeats, stop)).await {
            Some(Ok(engines)) => return Ok(Some(engines)),
            Some(Err(AppError::Store(error))) if error.may_pass() => error,
            Some(Err(error)) => return Err(error),
            None => return Ok(None),
        };
        // No pass begins, so nobody else counts it.
        app.settings.projects.iter().for_each(|project| app.metrics.project(&project.id).database_errors.inc());
        let text = chain(&error);
        if told != text {
            tracing::warn!(advice = error.advice(), "waiting for the database: {text}");
            // No start of the daemon makes the database come: an order of units or an upgrade must not wait for it.
            systemd::ready("waiting for the database").await;
            told = text;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
