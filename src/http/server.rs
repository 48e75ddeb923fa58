//! The port's connections: many clients, and slow ones, hold up neither each other nor the daemon.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::chain::chain;

/// Connections that are open at once. A scraper, probes and a browser need a handful. Each takes one of the process's
/// descriptors, which the vendor and the database are reached through as well, and up to [`HEAD`] bytes.
const MOST: usize = 64;

/// How long a connection may take, from its beginning to the end of its answer: to send a request, to wait for the slowest
/// page, which takes 5 s, and to read it.
const LONGEST: Duration = Duration::from_secs(15);

/// The longest head of a request, in bytes.
const HEAD: usize = 16 * 1024;

/// The wait after a connection could not be taken: descriptors are short, perhaps.
const PAUSE: Duration = Duration::from_secs(1);

/// How long answers in progress may take after `stop`. A client that never finishes its request holds nobody up.
const DRAIN: Duration = Duration::from_secs(1);

/// Answers one request of each connection, until `stop`.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut open = VecDeque::<AbortOnDropHandle<()>>::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                // Not the new one waits: an honest client has its answer at once, and is the oldest only if it is slow.
                if open.len() == MOST
                    && let Some(oldest) = open.pop_front()
                {
                    // Its descriptor is free when it is gone, not when it is told to go.
                    oldest.abort();
                    let _ = oldest.await;
                }
                open.push_back(AbortOnDropHandle::new(tokio::spawn(answer(stream, router.clone()))));
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the HTTP port cannot take a connection");
                stop.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
    }
    drop(listener);
    let rest = async {
        for connection in &mut open {
            // Of a panic its message is told; there is nobody else to tell.
            let _ = connection.await;
        }
    };
    // What is not done by then ends when it is dropped.
    let _ = timeout(DRAIN, rest).await;
}

/// One request, one answer: between two a connection would be idle, and idle ones are what there may be too many of.
async fn answer(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that goes away, or sends what is not HTTP, is its own affair.
    let _ = timeout(LONGEST, connection).await;
}
