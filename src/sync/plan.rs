//! What to read next, and when. Pure.

use std::time::Duration;

use chrono::{Days, NaiveDate, TimeDelta};

use crate::clock::Timestamp;
use crate::store::progress::Walk;

/// The days that the hot lane covers: today (UTC) and the look-back before it.
pub fn hot_days(now: Timestamp, lookback: Duration) -> (NaiveDate, NaiveDate) {
    let today = now.date_naive();
    let days = lookback.as_secs().div_ceil(24 * 60 * 60);
    (today.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN), today)
}

/// The days to ask for: one more on each side, because the vendor's time zone is not documented and lists may sort an
/// edge differently than we do.
pub fn asked_days(days: (NaiveDate, NaiveDate)) -> (NaiveDate, NaiveDate) {
    let slack = Days::new(1);
    (days.0.checked_sub_days(slack).unwrap_or(days.0), days.1.checked_add_days(slack).unwrap_or(days.1))
}

/// Whether an interrupted walk may go on at its cursor: it walks the same days (`to_now`: it begins at the same day, and
/// what came after its last day is another walk's) and is not older than `max_age`.
pub fn resumable(
    walk: &Walk,
    days: Option<(NaiveDate, NaiveDate)>,
    to_now: bool,
    now: Timestamp,
    max_age: TimeDelta,
) -> bool {
    let first = |days: Option<(NaiveDate, NaiveDate)>| days.map(|days| days.0);
    let same = if to_now { first(walk.days) == first(days) } else { walk.days == days };
    same && now - walk.started_at <= max_age
}

/// The poll interval that fits the budget: the configured one, or longer when the requests that are left today would not
/// last until midnight UTC at the last pass's cost.
pub fn interval(configured: Duration, requests_per_pass: u64, left: u64, until_midnight: Duration) -> Duration {
    if left == 0 {
        return configured.max(until_midnight);
    }
    configured.max(until_midnight.mul_f64(requests_per_pass as f64 / left as f64).min(until_midnight))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hot_covers_the_look_back_and_asks_for_a_day_more_on_each_side() {
        let now = chrono::Utc.with_ymd_and_hms(2026, 3, 1, 0, 30, 0).unwrap();
        let days = hot_days(now, Duration::from_secs(3 * 86_400));
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(days, (day("2026-02-26"), day("2026-03-01")));
        assert_eq!(asked_days(days), (day("2026-02-25"), day("2026-03-02")));
    }

    proptest! {
        #[test]
        fn p8_polling_stretches_to_fit(cost in 1u64..1_000, left in 0u64..100_000, seconds in 1u64..86_400, configured in 1u64..3_600) {
            let until = Duration::from_secs(seconds);
            let interval = interval(Duration::from_secs(configured), cost, left, until);
            prop_assert!(interval >= Duration::from_secs(configured));
            // As many passes as still start before midnight cost no more than what is left, but for the one that runs into it.
            let passes = (until.as_secs_f64() / interval.as_secs_f64()).floor() as u64;
            prop_assert!(left == 0 || cost > left || passes * cost <= left + cost, "{interval:?}");
        }
    }
}
