//! `argos-sync run`: the daemon.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppError};
use crate::clock::Clock;
use crate::config::Settings;
use crate::embedded::{Cluster, EmbeddedError};
use crate::heartbeat::Heartbeat;
use crate::http::{self, Pages};
use crate::sync::error::chain;
use crate::{lifecycle, sync};

/// Runs until a signal.
pub(super) async fn execute(settings: Settings) -> Result<(), AppError> {
    settings.require_keys()?;
    let stop = lifecycle::stop_on_signals().map_err(signals)?;
    let listener = match settings.http.enabled {
        true => {
            let address = settings.http.listen;
            Some(http::bind(address).await.map_err(|source| AppError::Listen { address, source })?)
        }
        false => None,
    };
    let Some(app) = stop.run_until_cancelled(App::open(settings, Clock::system())).await else { return Ok(()) };
    let mut app = app?;
    let mut cluster = app.take_cluster();
    let result = tokio::select! {
        result = serve(&app, listener, &stop) => result,
        // Whoever restarts us starts both.
        error = ended(cluster.as_mut()) => Err(AppError::Embedded(error)),
    };
    app.close().await?;
    if let Some(cluster) = cluster {
        cluster.stop().await.map_err(AppError::Embedded)?;
    }
    result
}

/// Waits until the private cluster ends by itself.
async fn ended(cluster: Option<&mut Cluster>) -> EmbeddedError {
    match cluster {
        Some(cluster) => cluster.ended().await,
        None => std::future::pending().await,
    }
}

/// The daemon's tasks, until `stop`: the HTTP port first, then the database, then one loop per project.
pub(super) async fn serve(
    app: &App,
    listener: Option<tokio::net::TcpListener>,
    stop: &CancellationToken,
) -> Result<(), AppError> {
    let mut tasks = JoinSet::new();
    let heartbeats: Vec<Heartbeat> = app.settings.projects.iter().map(|_| Heartbeat::new()).collect();
    if let Some(listener) = listener {
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "serving /metrics, /livez and /readyz");
        }
        let pages = Pages { metrics: app.metrics.clone(), heartbeats: heartbeats.clone(), pool: app.pool.clone() };
        let stop = stop.clone();
        tasks.spawn(async move {
            http::serve(listener, pages, stop).await;
            "http"
        });
    }
    if wait_for_database(app, &heartbeats, stop).await? {
        let holder = app.settings.lease.holder_name();
        for (project, heartbeat) in app.settings.projects.iter().zip(&heartbeats) {
            // Reading the hash secret may wait for somebody's lock.
            let Some(engine) = stop.run_until_cancelled(app.engine(project, &holder, heartbeat, stop)).await else {
                break;
            };
            let engine = engine?;
            tasks.spawn(async move {
                sync::run::run(engine).await;
                "sync"
            });
        }
    }
    lifecycle::supervise(tasks, stop, app.settings.shutdown.grace).await
}

/// Waits until the database can be used. Only what may pass by itself is waited for: a server that is not up yet.
async fn wait_for_database(app: &App, heartbeats: &[Heartbeat], stop: &CancellationToken) -> Result<bool, AppError> {
    const PAUSE: Duration = Duration::from_secs(2);
    let mut told = false;
    loop {
        heartbeats.iter().for_each(|heartbeat| heartbeat.expect_within(app.settings.database.connect_timeout + PAUSE));
        // Connecting may take its whole time-out, and migrating waits for another process that migrates.
        let error = match stop.run_until_cancelled(app.prepare_database()).await {
            Some(Ok(())) => return Ok(true),
            Some(Err(error)) => error,
            None => return Ok(false),
        };
        if !error.unreachable() {
            return Err(error.into());
        }
        if !told {
            tracing::warn!(advice = error.advice(), "waiting for the database: {}", chain(&error));
            told = true;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(false),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// The error of a process that cannot listen for signals.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn signals(error: std::io::Error) -> AppError {
    AppError::Other { message: format!("cannot listen for signals: {error}"), exit: crate::exit::Exit::Failure }
}
