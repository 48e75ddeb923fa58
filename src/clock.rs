//! The only place that asks what time it is.
//!
//! Everything else is handed a time as an argument (`at`) or holds a [`Clock`]. Clippy's `disallowed-methods` keep
//! other files from asking the system. Times are UTC and cut to microseconds, the resolution PostgreSQL keeps, so
//! that a time read back from the database equals the one that was written.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A point in time: UTC, at most microsecond resolution.
pub type Timestamp = DateTime<Utc>;

/// Where the time comes from: the system, or (in tests) a hand that moves it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Timestamp>>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at `at` until [`Clock::advance`] moves it.
    pub fn manual(at: Timestamp) -> Self {
        Self(Some(Arc::new(Mutex::new(at.trunc_subsecs(6)))))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => Utc::now().trunc_subsecs(6),
            Some(at) => *at.lock().expect("no code panics while it holds the clock"),
        }
    }

    /// Moves a manual clock forward; does nothing to the system's.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(at) = &self.0 {
            *at.lock().expect("no code panics while it holds the clock") += by;
        }
    }
}
