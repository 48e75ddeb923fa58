//! Two clocks that should agree.

use chrono::TimeDelta;

use super::report::Finding;
use crate::clock::Timestamp;
use crate::exit::Exit;
use crate::words::length;

/// What nobody notices.
const TOLERATED: TimeDelta = TimeDelta::seconds(60);
/// From here on, submissions are looked for on the wrong day for so long that some are missed.
const WRONG_DAY: TimeDelta = TimeDelta::hours(12);

/// How far another clock is ahead of ours (behind: less than nothing), which showed `theirs` between two of our moments.
pub(super) fn ahead(theirs: Timestamp, (before, after): (Timestamp, Timestamp)) -> TimeDelta {
    if theirs > after {
        theirs - after
    } else if theirs < before {
        theirs - before
    } else {
        TimeDelta::zero()
    }
}

/// Whether a difference does harm. `whose`: the clock that was compared with this machine's.
pub(super) fn judge(whose: &str, ahead: TimeDelta) -> Finding {
    let apart = ahead.abs();
    if apart <= TOLERATED {
        return Finding::ok("clock", format!("this machine's and {whose} agree"));
    }
    let side = if ahead > TimeDelta::zero() { "behind" } else { "ahead of" };
    let seen = format!("this machine's is {} {side} {whose}", length(apart));
    let cure = "Set the clock that is wrong (NTP). start_date and end_date are asked for, the day's budget is begun and \
                coverage is told by this machine's clock: days are read that much too early or too late.";
    match apart > WRONG_DAY {
        true => Finding::failed("clock", seen, cure, Exit::Failure),
        false => Finding::note("clock", seen, cure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Outcome;

    #[test]
    fn a_clock_is_compared_with_the_time_that_the_question_took() {
        let at = |second: i64| Timestamp::from_timestamp(1_000_000 + second, 0).unwrap();
        let asked = (at(10), at(20));
        let ahead = |second| super::ahead(at(second), asked).num_seconds();
        assert_eq!([ahead(5), ahead(10), ahead(15), ahead(20), ahead(27)], [-5, 0, 0, 0, 7]);
    }

    #[test]
    fn a_minute_is_tolerated_and_half_a_day_is_not() {
        let outcome = |seconds| judge("the database's", TimeDelta::seconds(seconds)).outcome;
        assert_eq!([outcome(0), outcome(60), outcome(-60)], [Outcome::Ok; 3]);
        assert_eq!([outcome(61), outcome(-61), outcome(43_200)], [Outcome::Note; 3]);
        assert_eq!([outcome(43_201), outcome(-90_000)], [Outcome::Failed; 2]);
        assert!(judge("the vendor's", TimeDelta::seconds(-120)).seen.contains("2 min ahead of the vendor's"));
        assert!(judge("the vendor's", TimeDelta::seconds(90)).seen.contains("90 s behind the vendor's"));
    }
}
