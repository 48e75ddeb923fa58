//! Active time: the time in which submissions are born and grow older.
//!
//! Active time is counted in milliseconds from the first start. It stands still while the simulator is frozen or
//! stopped. Negative values lie in the history before the first start. The list of segments maps active time to
//! wall time, so the past never changes when a later segment is added.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// A stretch of time in which the simulator was active. An open one has no end yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Segment {
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
    /// An open one: nothing was served later than this unless it was saved again. A killed run ends here.
    #[serde(default)]
    pub(super) served_until: Option<Timestamp>,
    /// Births for each active second. Kept per segment, so that a later run may choose another rate.
    pub(super) rate: f64,
}

/// All segments, oldest first. Only the last may be open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Timeline(Vec<Segment>);

impl Timeline {
    pub(super) fn starting(at: Timestamp, rate: f64) -> Self {
        Self(vec![Segment { start: at, end: None, served_until: None, rate }])
    }

    /// False while frozen or stopped.
    pub(super) fn is_active(&self) -> bool {
        self.0.last().is_some_and(|s| s.end.is_none())
    }

    pub(super) fn freeze(&mut self, at: Timestamp) {
        if let Some(last) = self.0.last_mut()
            && last.end.is_none()
        {
            last.end = Some(at.max(last.start));
        }
    }

    pub(super) fn thaw(&mut self, at: Timestamp, rate: f64) {
        if !self.is_active() {
            let start = self.0.last().and_then(|s| s.end).map_or(at, |end| at.max(end));
            self.0.push(Segment { start, end: None, served_until: None, rate });
        }
    }

    /// Whether what is served at `at` must be promised (and saved) first.
    pub(super) fn unpromised(&self, at: Timestamp) -> bool {
        self.is_active() && self.0.last().is_none_or(|s| s.served_until.is_none_or(|until| until <= at))
    }

    /// Says that things are served until `at`.
    pub(super) fn promise(&mut self, at: Timestamp) {
        if let Some(last) = self.0.last_mut() {
            last.served_until = Some(at);
        }
    }

    /// Closes what a killed run left open: where it can have served last, at the latest `now`. Time that was served once
    /// must not be taken back, and the time the program was not there is not active.
    pub(super) fn recover(&mut self, now: Timestamp) {
        if let Some(Segment { end: None, served_until: Some(until), .. }) = self.0.last() {
            self.freeze(now.min(*until));
        }
    }

    /// The rate of the last segment.
    pub(super) fn rate(&self) -> f64 {
        self.0.last().map_or(0.0, |s| s.rate)
    }

    /// Active milliseconds since the first start.
    pub(super) fn active(&self, now: Timestamp) -> i64 {
        self.0.iter().map(|s| length(s, now)).sum()
    }

    /// The wall time at which the active time was `active`. A border belongs to the earlier segment, so that the
    /// answer is the same before and after the next thaw.
    pub(super) fn wall(&self, active: i64) -> Timestamp {
        let mut left = active;
        let mut at = None;
        for segment in &self.0 {
            at = Some(segment.start + TimeDelta::milliseconds(left));
            let Some(end) = segment.end else { break };
            let length = (end - segment.start).num_milliseconds();
            if left <= length {
                break;
            }
            left -= length;
        }
        at.unwrap_or_default()
    }

    /// How many were born since the first start.
    pub(super) fn births(&self, now: Timestamp) -> u64 {
        self.0.iter().map(|s| s.rate * length(s, now) as f64 / 1000.0).sum::<f64>() as u64
    }

    /// The active time of birth number `k`, counted from 0. It must have happened.
    pub(super) fn birth(&self, k: u64) -> i64 {
        let mut missing = (k + 1) as f64;
        let mut before = 0;
        for segment in &self.0 {
            let after = segment.end.map(|end| (end - segment.start).num_milliseconds());
            let births = after.map_or(f64::INFINITY, |ms| segment.rate * ms as f64 / 1000.0);
            if missing <= births && segment.rate > 0.0 {
                // Rounded, so that a birth on a segment's border stays there once the segment is closed.
                return before + (missing / segment.rate * 1000.0).round() as i64;
            }
            missing -= births;
            before += after.unwrap_or(0);
        }
        before
    }
}

fn length(segment: &Segment, now: Timestamp) -> i64 {
    (segment.end.unwrap_or(now) - segment.start).num_milliseconds().max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    #[test]
    fn frozen_time_does_not_count() {
        let mut line = Timeline::starting(at(0), 1.0);
        line.freeze(at(10));
        assert_eq!(line.active(at(500)), 10_000);
        line.thaw(at(100), 2.0);
        assert_eq!(line.active(at(105)), 15_000);
        assert_eq!(line.wall(10_000), at(10));
        assert_eq!(line.wall(12_000), at(102));
        assert_eq!(line.wall(-3_000), at(-3));
        assert_eq!(line.births(at(105)), 20);
        assert_eq!(line.wall(line.birth(9)), at(10));
        assert_eq!(line.wall(line.birth(13)), at(102));
    }
}
