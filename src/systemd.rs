//! What systemd is told, where it asks (`Type=notify`, `WatchdogSec=`): ready, alive, ending.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::heartbeat::Heartbeat;

/// What telling may take.
const LONGEST: Duration = Duration::from_secs(1);

/// The daemon is up: its port is served, and its database was looked at. Said again, only the status changes.
pub async fn ready(status: &'static str) {
    tell(vec![NotifyState::Ready, NotifyState::Status(status)]).await;
}

/// Pings the watchdog for as long as `/livez` would say that all is well, until `stop`; then tells of the end.
pub async fn watch(heartbeats: &[Heartbeat], stop: &CancellationToken) {
    match sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) {
        // Two pings may be late before it bites.
        Some(limit) => ping(heartbeats, limit / 3, stop, tell).await,
        None => stop.cancelled().await,
    }
    tell(vec![NotifyState::Stopping, NotifyState::Status("ending after the open page")]).await;
}

async fn ping<F: Future<Output = ()>>(
    heartbeats: &[Heartbeat],
    every: Duration,
    stop: &CancellationToken,
    tell: impl Fn(Vec<NotifyState<'static>>) -> F,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if Heartbeat::all_alive(heartbeats) {
            tell(vec![NotifyState::Watchdog]).await;
            continue;
        }
        if !told {
            tracing::error!(
                "a working loop is stuck: systemd's watchdog is no longer pinged and will restart the process"
            );
            told = true;
        }
        tell(vec![NotifyState::Status("a working loop is stuck")]).await;
    }
}

/// A manager that cannot be reached, or that does not read what it is sent, is no reason to stop working: it has time
/// limits of its own.
async fn tell(state: Vec<NotifyState<'static>>) {
    static ONE: Semaphore = Semaphore::const_new(1);
    let told = async {
        let turn = ONE.acquire().await;
        // Sending waits while the socket is full, which must not hold up a thread of the loops.
        let sent = tokio::task::spawn_blocking(move || {
            let sent = sd_notify::notify(&state);
            drop(turn);
            sent
        });
        if let Ok(Err(error)) = sent.await {
            tracing::debug!(%error, "systemd was not told");
        }
    };
    if tokio::time::timeout(LONGEST, told).await.is_err() {
        tracing::debug!("systemd does not read what it is told");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn p9_the_watchdog_is_pinged_while_the_loop_turns_and_not_while_it_is_stuck() {
        let (sound, stuck) = (Heartbeat::new(), Heartbeat::stopped());
        let stop = CancellationToken::new();
        let told = RefCell::new(Vec::new());
        let tell = |state: Vec<NotifyState<'static>>| {
            told.borrow_mut().push(matches!(state[..], [NotifyState::Watchdog]));
            match told.borrow().len() {
                3 => stuck.expect_within(Duration::from_secs(3600)),
                6 => stop.cancel(),
                _ => {}
            }
            std::future::ready(())
        };
        ping(&[sound, stuck.clone()], Duration::from_millis(1), &stop, tell).await;
        assert_eq!(told.into_inner(), [false, false, false, true, true, true]);
    }
}
