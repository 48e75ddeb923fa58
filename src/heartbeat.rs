//! Whether the working loop still turns.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The loop says before each step by when it will be heard of again. Unlike a fixed time-out, this knows a long pause
/// that was asked for from a loop that is stuck.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Mutex<Instant>>);

/// What a step may take longer than it said before it counts as stuck.
const SLACK: Duration = Duration::from_secs(30);

impl Heartbeat {
    /// A heart that beats now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now() + SLACK)))
    }

    /// The next step takes at most this long.
    pub fn expect_within(&self, step: Duration) {
        *self.0.lock().expect("no code panics while it holds the heartbeat") = Instant::now() + step + SLACK;
    }

    /// Whether the last step is still within its time.
    pub fn alive(&self) -> bool {
        Instant::now() <= *self.0.lock().expect("no code panics while it holds the heartbeat")
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}
