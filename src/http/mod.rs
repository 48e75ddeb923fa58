//! The small HTTP port: `/metrics`, `/livez`, `/readyz`, and the status page at `/`.

mod guard;
mod page;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::page::StatusPage;
use crate::heartbeat::Heartbeat;
use crate::metrics::Metrics;
use crate::store::database;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// The metrics.
    pub metrics: Metrics,
    /// The working loops.
    pub heartbeats: Vec<Heartbeat>,
    /// The database.
    pub pool: PgPool,
    /// The status page, if there is to be one.
    pub status: Option<StatusPage>,
}

/// Binds before anything else starts, so that a taken port is known at once (and tests use port 0).
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Pages of a kind that ask the database at once. However many clients ask, the daemon's work keeps the connections.
const AT_ONCE: usize = 1;

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, pages: Pages, stop: CancellationToken) {
    let ready = Ready { pool: pages.pool.clone(), turns: Arc::new(Semaphore::new(AT_ONCE)) };
    let status = pages.status.clone().map(|status| {
        Router::new().route("/", get(page::show)).with_state(status).route("/status.css", get(page::style))
    });
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .with_state(pages)
        .merge(Router::new().route("/readyz", get(readyz)).with_state(ready))
        .merge(status.unwrap_or_default());
    server::serve(listener, router, stop).await;
}

async fn metrics(State(pages): State<Pages>) -> Response {
    match pages.metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether the working loops turn.
async fn livez(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if Heartbeat::all_alive(&pages.heartbeats) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "a working loop is stuck: restart the process\n")
    }
}

/// What `/readyz` looks at.
#[derive(Clone)]
struct Ready {
    pool: PgPool,
    turns: Arc<Semaphore>,
}

/// Whether the database is reachable and migrated.
async fn readyz(State(ready): State<Ready>) -> (StatusCode, String) {
    let check = async {
        let _turn = ready.turns.acquire().await;
        let mut connection = ready.pool.acquire().await.map_err(|error| error.to_string())?;
        database::compatible(&mut connection).await.map_err(|error| format!("{error}. {}", error.advice()))
    };
    match tokio::time::timeout(Duration::from_secs(2), check).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n".to_owned()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready: the database did not answer in 2 s\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn p9_livez_fails_when_one_loop_is_stuck() {
        let pages = |heartbeats| {
            let pool = PgPool::connect_lazy("postgres://127.0.0.1:1/none").unwrap();
            State(Pages { metrics: Metrics::new(&[], &[]).unwrap(), heartbeats, pool, status: None })
        };
        assert_eq!(livez(pages(vec![Heartbeat::new(), Heartbeat::new()])).await.0, StatusCode::OK);
        let (status, text) = livez(pages(vec![Heartbeat::new(), Heartbeat::stopped()])).await;
        assert_eq!((status, text.contains("stuck")), (StatusCode::SERVICE_UNAVAILABLE, true));
    }
}
