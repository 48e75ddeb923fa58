//! A small deterministic random source (splitmix64).
//!
//! Every part of a submission draws from its own stream, named by a salt. So a new field drawn in one place does
//! not shift what another place draws.

/// One stream of numbers.
pub(super) struct Rng(u64);

impl Rng {
    /// The stream of submission (or request) number `n` for one purpose.
    pub(super) fn of(seed: u64, n: u64, salt: &str) -> Self {
        // FNV-1a: enough to keep salts apart.
        let salt =
            salt.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mut rng = Self(seed ^ salt.rotate_left(17));
        let first = rng.next();
        Self(first ^ n.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not zero.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A number from `low` up to and with `high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high.abs_diff(low) + 1).cast_signed()
    }

    /// A number from 0 up to 1, 1 left out.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in `percent` of a hundred draws.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `all`, which is not empty.
    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// `length` lower-case letters and digits.
    pub(super) fn word(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        (0..length).map(|_| char::from(self.pick(LETTERS))).collect()
    }

    /// `length` digits.
    pub(super) fn digits(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(self.pick(b"0123456789"))).collect()
    }

    /// Shuffles in place.
    pub(super) fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            all.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}
