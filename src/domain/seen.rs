//! What a walk has shown, day by day, without keeping ids.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};

/// How many ids of one day, and the exclusive or of their hashes. Equal sets of ids are equal here; an id more, or less,
/// or served twice, is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Ids.
    pub count: u32,
    /// Exclusive or of their hashes.
    pub hashes: i64,
}

/// A digest per created-day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<NaiveDate, Digest>);

/// Days are stored as numbers from this one on.
const DAY_0: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a valid date");

/// Bytes per day: day (4), count (4), hashes (8).
const WIDTH: usize = 16;

impl Seen {
    /// Takes digests as they were read from the database.
    pub fn new(days: impl IntoIterator<Item = (NaiveDate, Digest)>) -> Self {
        Self(days.into_iter().collect())
    }

    /// Adds another page's.
    pub fn add(&mut self, page: &Self) {
        for (day, digest) in &page.0 {
            let sum = self.0.entry(*day).or_default();
            sum.count += digest.count;
            sum.hashes ^= digest.hashes;
        }
    }

    /// The days on which this differs from another.
    pub fn differences(&self, other: &Self) -> Vec<NaiveDate> {
        let digest = |seen: &Self, day: &NaiveDate| seen.0.get(day).copied().unwrap_or_default();
        let mut days: Vec<NaiveDate> = self.0.keys().chain(other.0.keys()).copied().collect();
        days.sort_unstable();
        days.dedup();
        days.retain(|day| digest(self, day) != digest(other, day));
        days
    }

    /// Leaves only the days of a range.
    pub fn within(mut self, (first, last): (NaiveDate, NaiveDate)) -> Self {
        self.0.retain(|day, _| (first..=last).contains(day));
        self
    }

    /// As stored between pages.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * WIDTH);
        for (day, digest) in &self.0 {
            let number = i32::try_from((*day - DAY_0).num_days()).unwrap_or(i32::MAX);
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&digest.count.to_be_bytes());
            bytes.extend_from_slice(&digest.hashes.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Seen::to_bytes`] wrote; `None` if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (entries, []) = bytes.as_chunks::<WIDTH>() else { return None };
        let entry = |bytes: &[u8; WIDTH]| {
            let number = i32::from_be_bytes(bytes[..4].try_into().ok()?);
            let offset = Days::new(number.unsigned_abs().into());
            let day = if number < 0 { DAY_0.checked_sub_days(offset) } else { DAY_0.checked_add_days(offset) };
            let count = u32::from_be_bytes(bytes[4..8].try_into().ok()?);
            let hashes = i64::from_be_bytes(bytes[8..].try_into().ok()?);
            Some((day?, Digest { count, hashes }))
        };
        entries.iter().map(entry).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(number: u64) -> NaiveDate {
        DAY_0.checked_add_days(Days::new(number)).unwrap()
    }

    fn of(ids: &[(u64, i64)]) -> Seen {
        let mut seen = Seen::default();
        for (number, hashes) in ids {
            seen.add(&Seen::new([(day(*number), Digest { count: 1, hashes: *hashes })]));
        }
        seen
    }

    #[test]
    fn p7_an_id_that_is_missing_or_served_twice_shows() {
        let all = of(&[(1, 5), (1, 6), (2, 7)]);
        assert_eq!(all.differences(&of(&[(2, 7), (1, 6), (1, 5)])), []);
        assert_eq!(all.differences(&of(&[(1, 5), (2, 7)])), [day(1)]);
        assert_eq!(all.differences(&of(&[(1, 5), (1, 5), (1, 6), (2, 7)])), [day(1)]);
        assert_eq!(all.differences(&of(&[(1, 5), (1, 6)])), [day(2)]);
        assert_eq!(of(&[(1, 5), (1, 5), (1, 6)]).differences(&of(&[(1, 6)])), [day(1)], "twice is not never");
        assert_eq!(of(&[(1, 5), (1, 6)]).differences(&of(&[(1, 5), (1, 7)])), [day(1)], "as many, but others");
        assert_eq!(all.within((day(2), day(9))).differences(&of(&[(2, 7)])), []);
    }

    #[test]
    fn days_before_the_first_number_are_stored_too() {
        let before = DAY_0.checked_sub_days(Days::new(400)).unwrap();
        let seen = Seen::new([(before, Digest { count: 1, hashes: -2 }), (DAY_0, Digest::default())]);
        assert_eq!(Seen::from_bytes(&seen.to_bytes()), Some(seen));
    }

    proptest! {
        #[test]
        fn bytes_go_there_and_back(ids in prop::collection::vec((0u64..100_000, any::<i64>()), 0..40)) {
            let seen = of(&ids);
            prop_assert_eq!(Seen::from_bytes(&seen.to_bytes()), Some(seen.clone()));
            let mut bytes = seen.to_bytes();
            bytes.push(0);
            prop_assert_eq!(Seen::from_bytes(&bytes), None);
        }
    }
}
