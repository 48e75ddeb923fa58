//! What happens to a submission, and when: a pure function of seed and number.

use super::rng::Rng;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// A try with document and face; `code` is a place in [`RETRIES`] when it failed.
    Attempt { passed: bool, code: usize },
    /// The Korean account check.
    Bank { tries: u32, passed: bool },
    /// Handed to a human.
    Pending,
    /// Result approved.
    Approved { by: &'static str },
    /// Result rejected; `code` is a place in [`REJECTS`].
    Rejected { by: &'static str, code: usize },
    /// Screened, no match. The vendor calls that "Not Screened".
    AmlClear,
    /// Screened with matches, or found by monitoring.
    RedFlag,
    /// One match more.
    MatchAdded,
    /// One match less.
    MatchRemoved,
    /// All matches judged false.
    FlagCleared,
    /// The dashboard memo was written or changed.
    Memo,
    /// The address was added by an injection.
    Injection,
    /// The address was edited.
    AddressEdited,
}

/// Retry codes and their messages.
pub(super) const RETRIES: &[(&str, &str)] = &[
    ("face_compare_fail", "Face compare failed: no matching face"),
    ("barcode_protocol_fail", "Failed to read PDF417 Barcode."),
    ("mrz_protocol_fail", "Failed to read MRZ."),
    ("glare_detected", "Glare detected on the document."),
    ("document_name_mismatch", "The name does not match the document."),
    ("screen_detected", "The document was shown on a screen."),
    ("missing_expiry_date", "The expiry date could not be read."),
];

/// Reject codes and their comments, as documented. Codes repeat in the wild; the texts hold replaced values.
pub(super) const REJECTS: &[(&str, &str)] = &[
    ("timeout", "KYC rejected due to timeout"),
    ("too_many_retry", "Multiple invalid KYC attempts "),
    ("other", "Please contact us about your document."),
    ("id_image_invalidImage", "ID document not detected. Please take a picture of your ID document."),
    ("id_image_invalidId", "Invalid ID document. Please resubmit with another ID document."),
    ("id_image_error", "Fail to upload the ID image. Please resubmit the KYC process."),
    ("id_image_badImage", "Fail to read the ID image. Please take a clear picture of your ID document."),
    ("id_info_dataMismatch", "The entered information does not match with your ID document."),
    ("id_info_blacklist", "According to the policy, we do not accept KYC from PRK."),
    ("id_info_notOfAge", "We do not accept KYC anyone under 13 years old."),
    ("blacklistCountry", "According to the policy, we do not accept KYC from IRN."),
    ("under_ageLimit", "We do not accept KYC anyone under 19 years old."),
    (
        "invalid_acceptedID",
        "Inacceptable ID type. Please resubmit with another ID, check the valid ID on the submission page.",
    ),
    (
        "address_image_invalidImage",
        "Invalid proof of address. Proof of address must include your full name and address.",
    ),
    ("address_image_error", "Fail to upload proof of address image. Please retry."),
    ("address_image_badImage", "Fail to read the image. Please take a clear picture of your proof of address."),
    (
        "address_info_expiredDocument",
        "Expired proof of address. The proof of address should be issued within 6 months.",
    ),
    ("address_info_dataMismatch", "Entered information does not match with your proof of address."),
];
const TIMEOUT: usize = 0;
const TOO_MANY: usize = 1;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The script of submission `n`: milliseconds after its birth, and what happens then. `life` scales all delays.
pub(super) fn script(seed: u64, n: u64, korean: bool, life: f64) -> Vec<(i64, Step)> {
    let mut writer = Writer { rng: Rng::of(seed, n, "script"), at: 0, steps: Vec::new() };
    writer.onboarding(korean);
    writer.afterwards();
    // Stable: two steps at the same time keep the order in which they were written.
    writer.steps.sort_by_key(|(at, _)| *at);
    for (at, _) in &mut writer.steps {
        *at = (*at as f64 * life) as i64;
    }
    writer.steps
}

struct Writer {
    rng: Rng,
    at: i64,
    steps: Vec<(i64, Step)>,
}

impl Writer {
    fn then(&mut self, low: i64, high: i64, step: Step) {
        self.at += self.rng.between(low, high);
        self.steps.push((self.at, step));
    }

    /// A side story: at some time after now, without moving the main story on.
    fn later(&mut self, low: i64, high: i64, step: Step) {
        let at = self.at + self.rng.between(low, high);
        self.steps.push((at, step));
    }

    fn failures(&mut self, times: u64) {
        for _ in 0..times {
            let code = self.rng.below(RETRIES.len() as u64) as usize;
            self.then(20 * SECOND, 3 * MINUTE, Step::Attempt { passed: false, code });
        }
    }

    fn any_reject(&mut self) -> usize {
        self.rng.between(2, REJECTS.len() as i64 - 1) as usize
    }

    fn onboarding(&mut self, korean: bool) {
        let fate = self.rng.below(100);
        if (korean || self.rng.chance(4)) && self.rng.chance(70) {
            let broken = fate < 3;
            let tries = if broken { 5 } else { self.rng.below(4) as u32 };
            for tries in 1..=tries {
                self.then(20 * SECOND, 2 * MINUTE, Step::Bank { tries, passed: false });
            }
            if broken {
                return self.then(0, 0, Step::Rejected { by: "system", code: TOO_MANY });
            }
            self.then(20 * SECOND, 2 * MINUTE, Step::Bank { tries, passed: true });
        }
        match fate {
            0..6 => {
                // Left midway, and nobody ever closes it.
                let times = self.rng.below(3);
                self.failures(times);
            }
            6..12 => {
                let times = self.rng.below(3);
                self.failures(times);
                self.at = 0;
                self.then(DAY, DAY + HOUR, Step::Rejected { by: "system", code: TIMEOUT });
            }
            12..19 => {
                self.failures(3);
                self.then(0, 0, Step::Rejected { by: "system", code: TOO_MANY });
            }
            _ => {
                let times = [0, 0, 0, 0, 1, 1, 2][self.rng.below(7) as usize];
                self.failures(times);
                self.then(20 * SECOND, 3 * MINUTE, Step::Attempt { passed: true, code: 0 });
                self.decision(fate);
            }
        }
    }

    fn decision(&mut self, fate: u64) {
        let code = self.any_reject();
        match fate {
            19..25 => self.then(0, 5 * SECOND, Step::Rejected { by: "system", code }),
            25..45 => {
                self.then(0, 20 * SECOND, Step::Pending);
                let step = if self.rng.chance(70) {
                    Step::Approved { by: "agent" }
                } else {
                    Step::Rejected { by: "agent", code }
                };
                self.then(5 * MINUTE, 2 * HOUR, step);
            }
            _ => self.then(0, 5 * SECOND, Step::Approved { by: "system" }),
        }
    }

    fn afterwards(&mut self) {
        match self.steps.last() {
            Some((_, Step::Approved { .. })) => {
                self.screening();
                if self.rng.chance(3) {
                    let code = self.any_reject();
                    self.then(2 * HOUR, 3 * DAY, Step::Rejected { by: "agent", code });
                    if self.rng.chance(40) {
                        self.then(HOUR, 2 * DAY, Step::Approved { by: "agent" });
                    }
                }
                if self.rng.chance(5) {
                    self.later(2 * HOUR, 2 * DAY, Step::Injection);
                }
                if self.rng.chance(5) {
                    self.later(HOUR, 5 * DAY, Step::AddressEdited);
                }
            }
            Some((_, Step::Rejected { .. })) if self.rng.chance(4) => {
                self.then(HOUR, 2 * DAY, Step::Approved { by: "agent" });
                self.screening();
            }
            _ => {}
        }
        if self.rng.chance(8) {
            self.later(30 * MINUTE, DAY, Step::Memo);
            if self.rng.chance(30) {
                self.later(DAY, 4 * DAY, Step::Memo);
            }
        }
    }

    fn screening(&mut self) {
        if self.rng.chance(15) {
            return;
        }
        let begun = self.at;
        if self.rng.chance(82) {
            self.then(5 * SECOND, MINUTE, Step::AmlClear);
            if !self.rng.chance(6) {
                self.at = begun;
                return;
            }
            // Ongoing monitoring finds something long after the approval.
            self.then(6 * HOUR, 20 * DAY, Step::RedFlag);
        } else {
            self.then(5 * SECOND, MINUTE, Step::RedFlag);
        }
        if self.rng.chance(25) {
            self.then(HOUR, 3 * DAY, Step::MatchAdded);
        }
        if self.rng.chance(20) {
            self.then(HOUR, 2 * DAY, Step::MatchRemoved);
        }
        if self.rng.chance(20) {
            self.then(HOUR, 3 * DAY, Step::FlagCleared);
        }
        self.at = begun;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_script_and_all_steps_occur() {
        let all: Vec<_> = (0..3_000).flat_map(|n| script(7, n, n % 8 == 0, 1.0)).map(|(_, step)| step).collect();
        let again: Vec<_> = (0..3_000).flat_map(|n| script(7, n, n % 8 == 0, 1.0)).map(|(_, step)| step).collect();
        assert_eq!(all, again);
        for wanted in [
            Step::Pending,
            Step::AmlClear,
            Step::RedFlag,
            Step::MatchAdded,
            Step::MatchRemoved,
            Step::FlagCleared,
            Step::Memo,
            Step::Injection,
            Step::AddressEdited,
            Step::Rejected { by: "system", code: TIMEOUT },
        ] {
            assert!(all.contains(&wanted), "{wanted:?}");
        }
        assert!((0..3_000).any(|n| script(7, n, false, 1.0).is_empty()), "some linger for ever");
    }
}
