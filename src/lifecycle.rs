//! Signals, supervision and the end of the process.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::AppError;
use crate::exit::Exit;

/// Signals that come together are one: `timeout` and a terminal under a wrapper send theirs to the process and to its
/// group.
const SAME_SIGNAL: Duration = Duration::from_millis(300);
static BEFORE_ABORT: OnceLock<fn()> = OnceLock::new();

/// Has `action` done when a second signal ends the process at once, which drops nothing: give the terminal back, say.
pub fn before_abort(action: fn()) {
    // The first one stays; there is one terminal.
    let _ = BEFORE_ABORT.set(action);
}

/// Listens for SIGTERM and Ctrl-C. The first asks everything to end through the returned token; the second ends the
/// process at once: nothing is lost, because a transaction that was not committed did not happen.
pub fn stop_on_signals() -> Result<CancellationToken, AppError> {
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
        let first = Instant::now();
        let name = loop {
            let name = next().await;
            if first.elapsed() > SAME_SIGNAL {
                break name;
            }
        };
        if let Some(action) = BEFORE_ABORT.get() {
            action();
        }
        tracing::warn!(signal = name, "aborted");
        std::process::exit(Exit::Aborted as i32);
    });
    Ok(stop)
}

/// Listens for SIGHUP, which no longer ends the process from now on.
pub fn hangups() -> Result<Signal, AppError> {
    listen(SignalKind::hangup())
}

fn listen(kind: SignalKind) -> Result<Signal, AppError> {
    let failed =
        |error| AppError::Other { message: format!("cannot listen for signals: {error}"), exit: Exit::Failure };
    signal(kind).map_err(failed)
}

/// Waits until `stop` is asked for or a task ends by itself, which is a failure and stops the rest; then gives the others
/// `grace` to end. A panic is a failure at any time.
pub async fn supervise(
    mut tasks: JoinSet<&'static str>,
    stop: &CancellationToken,
    grace: Duration,
) -> Result<(), AppError> {
    let mut failed = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        Some(ended) = tasks.join_next() => Some(name(ended)),
    };
    stop.cancel();
    let rest = async {
        while let Some(ended) = tasks.join_next().await {
            if ended.is_err() {
                failed.get_or_insert_with(|| name(ended));
            }
        }
    };
    let in_time = tokio::time::timeout(grace, rest).await.is_ok();
    match failed {
        Some(task) => Err(AppError::TaskEnded { task }),
        None if in_time => Ok(()),
        None => Err(AppError::GraceOver),
    }
}

/// A task's name. A panic has printed its message already.
fn name(ended: Result<&'static str, JoinError>) -> String {
    ended.unwrap_or("(panicked)").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_millis(50);

    /// A task that ends when it is asked to.
    async fn obedient(stop: CancellationToken) -> &'static str {
        stop.cancelled().await;
        "obedient"
    }

    #[tokio::test]
    async fn tasks_that_end_when_asked_to_are_a_success() {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(obedient(stop.clone()));
        stop.cancel();
        supervise(tasks, &stop, GRACE).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_a_failure_and_stops_the_rest() {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(obedient(stop.clone()));
        tasks.spawn(async { "faithless" });
        let error = supervise(tasks, &stop, GRACE).await.unwrap_err();
        assert!(matches!(&error, AppError::TaskEnded { task } if task == "faithless"), "{error}");
        assert_eq!(error.exit(), Exit::TaskEnded);
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_before_and_after_the_signal() {
        for stopped in [false, true] {
            let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
            if stopped {
                stop.cancel();
            }
            tasks.spawn(async { panic!("on purpose") });
            let error = supervise(tasks, &stop, GRACE).await.unwrap_err();
            assert_eq!(error.exit(), Exit::TaskEnded, "{error}");
        }
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_left_behind_when_the_grace_is_over() {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(std::future::pending());
        stop.cancel();
        let error = supervise(tasks, &stop, GRACE).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Aborted, "{error}");
    }
}
