//! Whether the working loop still turns.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The loop says before each step by when it will be heard of again. Unlike a fixed time-out, this knows a long pause
/// that was asked for from a loop that is stuck.
#[derive(Clone, Debug)]
pub struct Heartbeat(watch::Sender<Instant>);

/// What a step may take longer than it said before it is given up.
const GRACE: Duration = Duration::from_secs(5);

/// What a step may take longer than it said before the loop counts as stuck.
const SLACK: Duration = Duration::from_secs(30);

impl Heartbeat {
    /// A heart that beats now.
    pub fn new() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }

    /// A heart that has stopped.
    #[cfg(test)]
    pub(crate) fn stopped() -> Self {
        let past = Instant::now().checked_sub(SLACK + Duration::from_secs(1)).expect("this machine is up for a minute");
        Self(watch::Sender::new(past))
    }

    /// The next step takes at most this long.
    pub fn expect_within(&self, step: Duration) {
        self.0.send_replace(Instant::now() + step);
    }

    /// Whether the loop is not stuck.
    pub fn alive(&self) -> bool {
        Instant::now() <= self.expected() + SLACK
    }

    /// Waits until a step has taken longer than it said.
    pub async fn overdue(&self) {
        let mut expected = self.0.subscribe();
        loop {
            let due = *expected.borrow_and_update() + GRACE;
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => return,
                // A step that takes less time than the one before must not have that one's time.
                Ok(()) = expected.changed() => {}
            }
        }
    }

    fn expected(&self) -> Instant {
        *self.0.borrow()
    }

    /// Whether all loops turn: what `/livez` says and what the watchdog is pinged for.
    pub fn all_alive(hearts: &[Self]) -> bool {
        hearts.iter().all(Self::alive)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p9_a_step_that_takes_longer_than_it_said_is_stuck() {
        let heart = Heartbeat::stopped();
        assert!(!heart.alive());
        heart.expect_within(Duration::ZERO);
        assert!(heart.alive(), "there is some slack");
        assert!(heart.clone().alive());
    }
}
