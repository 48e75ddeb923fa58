//! How fast to ask: retries with jittered exponential back-off, a limit per second, and permits of the day's budget.
//!
//! This is the only file that names the crate `backoff`. It is fixed by the product's definition although it is no
//! longer maintained (RUSTSEC-2025-0012); docs/decisions/backoff.md says what we use of it and what we avoid.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use crate::config::Api;

/// The pauses between the tries of one request: doubling, jittered by half, at most `api.retries` of them.
pub struct Delays {
    backoff: ExponentialBackoff,
    left: u32,
}

impl Delays {
    /// The pauses that the settings give.
    pub fn new(api: &Api) -> Self {
        let backoff = ExponentialBackoffBuilder::new()
            .with_initial_interval(api.backoff_initial)
            .with_multiplier(2.0)
            .with_randomization_factor(0.5)
            .with_max_interval(api.backoff_max)
            // The crate's default gives up after 15 minutes; the number of tries is our only bound.
            .with_max_elapsed_time(None)
            .build();
        Self { backoff, left: api.retries }
    }

    /// The next pause, at least what the vendor asked for but never more than `retry_after_max`; `None`: give up.
    pub fn next(&mut self, asked: Option<Duration>, retry_after_max: Duration) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let own = self.backoff.next_backoff()?;
        Some(own.max(asked.unwrap_or_default().min(retry_after_max)))
    }
}

/// Reads a Retry-After header: seconds, or an HTTP date relative to `now`.
pub fn retry_after(header: &str, now: crate::clock::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(header.trim()).ok()?.to_utc();
    Some((at - now).to_std().unwrap_or_default())
}

/// The limit per second, and the permits left of the block that was reserved in the database.
pub struct Pace {
    per_second: DefaultDirectRateLimiter,
    permits: Mutex<(u64, Instant)>,
}

impl Pace {
    /// A pace without permits; see [`Pace::grant`].
    pub fn new(api: &Api) -> Self {
        // The limiter counts in whole cells: a rate below one a second becomes one cell in a longer period.
        let period = Duration::from_secs_f64(1.0 / api.requests_per_second);
        let quota = Quota::with_period(period).expect("validation keeps the rate above zero");
        let burst = NonZeroU32::new(api.requests_per_second.ceil() as u32).unwrap_or(NonZeroU32::MIN);
        Self { per_second: RateLimiter::direct(quota.allow_burst(burst)), permits: Mutex::new((0, Instant::now())) }
    }

    /// Adds a block of permits that dies when `valid_for` is over (the end of its UTC day).
    pub fn grant(&self, permits: u64, valid_for: Duration) {
        *self.permits.lock().expect("no code panics while it holds the permits") =
            (permits, Instant::now() + valid_for);
    }

    /// Takes one permit of the day; false if there is none.
    pub fn take(&self) -> bool {
        let mut permits = self.permits.lock().expect("no code panics while it holds the permits");
        if permits.0 == 0 || Instant::now() >= permits.1 {
            return false;
        }
        permits.0 -= 1;
        true
    }

    /// Waits until the limit per second lets a request go.
    pub async fn wait(&self) {
        self.per_second.until_ready().await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = chrono::Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Thu, 01 Jan 2026 00:00:09 GMT", now), Some(Duration::from_secs(9)));
        assert_eq!(retry_after("Wed, 31 Dec 2025 00:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
