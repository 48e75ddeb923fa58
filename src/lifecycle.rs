//! Signals, supervision and the end of the process.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::AppError;
use crate::exit::Exit;

static BEFORE_ABORT: OnceLock<fn()> = OnceLock::new();

/// Has `action` done when a second signal ends the process at once, which drops nothing: give the terminal back, say.
pub fn before_abort(action: fn()) {
    // The first one stays; there is one terminal.
    let _ = BEFORE_ABORT.set(action);
}

/// Listens for SIGTERM and Ctrl-C. The first asks everything to end through the returned token; the second ends the
/// process at once: nothing is lost, because a transaction that was not committed did not happen.
pub fn stop_on_signals() -> Result<CancellationToken, AppError> {
    let listen = |kind| {
        let failed =
            |error| AppError::Other { message: format!("cannot listen for signals: {error}"), exit: Exit::Failure };
        signal(kind).map_err(failed)
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "ending after the open page; a second signal aborts");
        token.cancel();
        let name = next().await;
        if let Some(action) = BEFORE_ABORT.get() {
            action();
        }
        tracing::warn!(signal = name, "aborted");
        std::process::exit(Exit::Aborted as i32);
    });
    Ok(stop)
}

/// Waits until `stop` is asked for or a task ends by itself, which is a failure and stops the rest; then gives the others
/// `grace` to end.
pub async fn supervise(
    mut tasks: JoinSet<&'static str>,
    stop: &CancellationToken,
    grace: Duration,
) -> Result<(), AppError> {
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        Some(ended) = tasks.join_next() => Some(ended),
    };
    stop.cancel();
    let rest = async { while tasks.join_next().await.is_some() {} };
    let in_time = tokio::time::timeout(grace, rest).await.is_ok();
    match ended {
        // A panic has printed its message already.
        Some(ended) => Err(AppError::TaskEnded { task: ended.map_or("(panicked)", |name| name).to_owned() }),
        None if in_time => Ok(()),
        None => Err(AppError::GraceOver),
    }
}
