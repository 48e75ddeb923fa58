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

    /// The next pause, at least what the vendor asked for; `None`: give up, because the tries are used up or the vendor
    /// asked for more than `retry_after_max` (the next pass waits for it; see `sync::run`).
    pub fn next(&mut self, asked: Option<Duration>, retry_after_max: Duration) -> Option<Duration> {
        let asked = asked.unwrap_or_default();
        self.left = self.left.checked_sub(1)?;
        let own = self.backoff.next_backoff()?;
        (asked <= retry_after_max).then(|| own.max(asked))
    }
}

/// Reads a Retry-After header: seconds, or an HTTP date relative to `now` (by the clock of whoever wrote the date).
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
        // Evenly spread, without a burst: with one, a second could see nearly twice its share.
        let quota = Quota::with_period(period(api)).expect("validation keeps the rate within bounds");
        let quota = quota.allow_burst(NonZeroU32::MIN);
        Self { per_second: RateLimiter::direct(quota), permits: Mutex::new((0, Instant::now())) }
    }

    /// The limit of other settings, with the permits that are left of this pace.
    pub fn changed(self, api: &Api) -> Self {
        let new = Self::new(api);
        // As if a request had just gone: a new limit is no reason to send one more.
        let _ = new.per_second.check();
        Self { permits: self.permits, ..new }
    }

    /// Puts a block of permits, which dies when `valid_for` is over (the end of its UTC day), in the place of the last.
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

    /// Permits that are left and still good.
    pub fn left(&self) -> u64 {
        let permits = self.permits.lock().expect("no code panics while it holds the permits");
        if Instant::now() < permits.1 { permits.0 } else { 0 }
    }

    /// Gives up the permits that are left, and says how many of them were still good.
    pub fn drain(&self) -> u64 {
        let mut permits = self.permits.lock().expect("no code panics while it holds the permits");
        let left = std::mem::take(&mut permits.0);
        if Instant::now() < permits.1 { left } else { 0 }
    }

    /// Waits until the limit per second lets a request go.
    pub async fn wait(&self) {
        self.per_second.until_ready().await;
    }
}

/// The time from one request to the next.
pub fn period(api: &Api) -> Duration {
    Duration::from_secs_f64(1.0 / api.requests_per_second)
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
        // Absurd: one is a number and waited for as long as allowed, the other is none.
        assert_eq!(retry_after("18446744073709551615", now), Some(Duration::MAX.min(Duration::from_secs(u64::MAX))));
        assert_eq!(retry_after("99999999999999999999999", now), None);
        assert_eq!(retry_after("-1", now), None);
    }

    fn api(rate: f64) -> Api {
        let mut api = crate::config::Settings::default().projects.remove(0).api;
        api.requests_per_second = rate;
        api
    }

    #[test]
    fn p8_a_longer_retry_after_than_allowed_ends_the_tries() {
        let most = Duration::from_secs(5);
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(Delays::new(&api(1.0)).next(asked(5), most), asked(5));
        assert_eq!(Delays::new(&api(1.0)).next(asked(6), most), None);
        assert_eq!(Delays::new(&api(1.0)).next(asked(u64::MAX), most), None);
        let mut delays = Delays::new(&api(1.0));
        assert_eq!((0..10).filter(|_| delays.next(None, most).is_some()).count(), 5, "api.retries");
    }

    #[test]
    fn p8_the_rate_has_no_burst_and_may_be_below_one_a_second() {
        for (rate, period) in [(0.001, 1000.0), (0.5, 2.0), (1.0, 1.0), (50.0, 0.02), (1_000_000.0, 0.000_001)] {
            assert_eq!(super::period(&api(rate)), Duration::from_secs_f64(period));
            let pace = Pace::new(&api(rate));
            assert!(pace.per_second.check().is_ok(), "the first goes at once");
            assert!(rate > 100.0 || pace.per_second.check().is_err(), "{rate}: the second waits");
        }
    }

    #[test]
    fn p8_another_limit_keeps_the_permits_and_sends_no_request_more() {
        let pace = Pace::new(&api(1.0));
        pace.grant(2, Duration::from_secs(10));
        let pace = pace.changed(&api(0.5));
        assert_eq!(pace.left(), 2);
        assert!(pace.per_second.check().is_err(), "the first waits, too");
    }

    #[test]
    fn p8_permits_are_counted_and_die_with_their_day() {
        let pace = Pace::new(&api(1.0));
        assert!(!pace.take(), "nothing is granted yet");
        pace.grant(2, Duration::from_secs(10));
        assert!(pace.take() && pace.take() && !pace.take());
        pace.grant(2, Duration::ZERO);
        assert!(!pace.take(), "the day is over");
        pace.grant(5, Duration::from_secs(10));
        assert!(pace.take());
        // What was left does not pile up.
        pace.grant(1, Duration::from_secs(10));
        assert!(pace.take() && !pace.take());
        pace.grant(7, Duration::from_secs(10));
        assert_eq!((pace.take(), pace.drain(), pace.drain(), pace.take()), (true, 6, 0, false));
        pace.grant(7, Duration::ZERO);
        assert_eq!(pace.drain(), 0);
    }
}
