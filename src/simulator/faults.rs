//! The faults the simulator can commit, how they are named, and how often they happen.

use std::collections::BTreeMap;

use super::rng::Rng;

macro_rules! faults {
    ($($kind:ident $name:literal $wants_value:literal $help:literal;)*) => {
        /// One way to misbehave.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fault { $($kind),* }

        /// Every fault, and whether its value is an argument (else it is an amount).
        const ALL: &[(Fault, &str, bool)] = &[$((Fault::$kind, $name, $wants_value)),*];

        impl Faults {
            /// Every name and what it does, for `--help`.
            pub const NAMES: &'static [(&'static str, &'static str)] = &[$(($name, $help)),*];
        }
    };
}

faults! {
    Status429 "status-429" false "Answer 429 without Retry-After.";
    RetryAfterSeconds "retry-after-seconds" true "Answer 429 with Retry-After: this many seconds.";
    RetryAfterDate "retry-after-date" true "Answer 429 with Retry-After: a date this many seconds ahead.";
    Status500 "status-500" false "Answer 500.";
    Status502 "status-502" false "Answer 502 with an HTML page.";
    Status503 "status-503" false "Answer 503.";
    Status504 "status-504" false "Answer 504.";
    Status401 "status-401" false "Answer 401.";
    Status413 "status-413" false "Answer 413.";
    ForbiddenKey "forbidden-key" false "Answer 403 as for a wrong key.";
    ForbiddenAddress "forbidden-address" false "Answer 403 as for an address that is not on the allow-list.";
    Html200 "html-200" false "Answer 200 with an HTML page.";
    Error200 "error-200" false "Answer 200 with an error object.";
    Message200 "message-200" false "Answer 200 with a gateway's message in place of a list.";
    Encrypted "encrypted" false "Encrypt the answer as with --encryption ecb, although the option is not given.";
    InTheClear "in-the-clear" false "Do not encrypt the answer, although --encryption is given.";
    CipherCut "cipher-cut" false "Leave out the second half of the encrypted text.";
    CipherGarbled "cipher-garbled" false "Change a byte in every block of the encrypted text.";
    TruncatedJson "truncated-json" false "End the JSON in the middle, as if that were all.";
    Reset "reset" false "Close the connection in the middle of the body.";
    Stall "stall" false "Accept the request and never answer.";
    Slow "slow" true "Wait this many milliseconds before the answer.";
    EndlessBody "endless-body" false "Send a body without an end.";
    WrongContentType "wrong-content-type" false "Call the JSON text/plain.";
    ClockSkew "clock-skew" true "Shift the Date header by this many seconds.";
    Heavy "heavy" true "Answer 504 to a request for more than this many items.";
    Empty "empty" false "List nothing, without an error.";
    EmptyPageWithKey "empty-page-with-key" false "Put an empty page with a next key before a page.";
    RepeatKey "repeat-key" false "Give the key of the request as the next key.";
    CycleKey "cycle-key" false "Give the key of the page before as the next key, so that A leads to B and B to A.";
    Duplicates "duplicates" false "Show the last item of the former page again.";
    CountClip "count-clip" true "Never list more than this many items, whatever was asked.";
    IgnoreCount "ignore-count" false "List up to 2,000 items, whatever was asked.";
    IgnoreBody "ignore-body" false "Read parameters from the URL alone.";
    IndexLag "index-lag" true "Leave items out of lists until they are this many seconds old.";
    KstDates "kst-dates" false "Compare dates by the day in Korea.";
    DatesOffset "dates-offset" true "Compare dates by the day in a zone this many hours east of UTC; may be negative.";
    EndExcluded "end-excluded" false "Leave the day of end_date out of the answer.";
    IgnoreDates "ignore-dates" false "Ignore start_date and end_date.";
    UpdatedDates "updated-dates" false "Compare dates with updated_at instead of created_at.";
    WrongDatesEverything "wrong-dates-everything" false "Answer dates in the wrong format with everything instead of 400.";
    WrongDatesNothing "wrong-dates-nothing" false "Answer dates in the wrong format with nothing instead of 400.";
    Shuffle "shuffle" false "Show the items of a page in another order each time.";
    ShuffleTies "shuffle-ties" false "List items with the same created_at in another order in each walk.";
    BadItem "bad-item" false "Add an item without an id and one that is no object, and give the last one a reviewer object.";
    NullChars "null-chars" false "Put a NUL and a lone surrogate into data.cf3 of the first item.";
    HugeNumber "huge-number" false "Put 1e400 into id_LivenessScore of the first item.";
    RefuseAml "refuse-aml" true "Answer request_type=aml with this status.";
    IgnoreRequestType "ignore-request-type" false "Answer as if request_type were not there.";
    NarrowedKey "narrowed-key" false "Leave data out of every item, as for a key that may no longer see it.";
    Retyped "retyped" false "Show comments as text, additional_list as an object, and the documented misspellings.";
}

/// How often a fault happens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    Always,
    Next(u64),
    Share(f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Rule {
    fault: Fault,
    argument: i64,
    amount: Amount,
}

/// Which faults to commit. The default is none.
///
/// A fault is written `name`, `name=AMOUNT` or, for those that take a value, `name=VALUE` or `name=VALUE@AMOUNT`. A
/// whole number as the amount means that many answers (`status-500=3`), a number with a point that share of them
/// (`status-500=0.1`), nothing means every answer. Several are separated by commas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    rules: Vec<Rule>,
}

impl Faults {
    /// Reads one fault, or several separated by commas. An empty text is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rules = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(rule);
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// These faults and those of `other`.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl FromIterator<Self> for Faults {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), Self::and)
    }
}

fn rule(text: &str) -> Result<Rule, String> {
    let (name, rest) = text.split_at(text.find(['=', '@']).unwrap_or(text.len()));
    let Some((fault, _, wants_value)) = ALL.iter().find(|(_, known, _)| *known == name) else {
        let names: Vec<_> = ALL.iter().map(|(_, name, _)| *name).collect();
        return Err(format!("no fault is called '{name}'; known are {}", names.join(", ")));
    };
    let (value, after) = match rest.strip_prefix('=') {
        Some(rest) => rest.split_once('@').map_or((Some(rest), None), |(value, after)| (Some(value), Some(after))),
        None => (None, rest.strip_prefix('@')),
    };
    if !wants_value {
        if value.is_some() && after.is_some() {
            return Err(format!("'{text}' names two amounts; write {name}=3 or {name}=0.1"));
        }
        return Ok(Rule { fault: *fault, argument: 0, amount: amount(value.or(after))? });
    }
    let argument = value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| format!("'{text}' needs a whole number, as in {name}=200"))?;
    Ok(Rule { fault: *fault, argument, amount: amount(after)? })
}

fn amount(text: Option<&str>) -> Result<Amount, String> {
    let Some(text) = text else {
        return Ok(Amount::Always);
    };
    if let Ok(count) = text.parse() {
        return Ok(Amount::Next(count));
    }
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(Amount::Share(share)),
        _ => Err(format!("'{text}' is no amount: write a count like 3 or a share like 0.1")),
    }
}

/// The faults at work: the counts go down as they happen.
pub(super) struct Mischief {
    rules: Vec<Rule>,
    seed: u64,
    /// Submissions that fail when they are asked for by id: status and body.
    pub(super) by_id: BTreeMap<String, (u16, String)>,
}

impl Mischief {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self { rules: faults.rules, seed, by_id: BTreeMap::new() }
    }

    /// Whether `fault` could happen at all.
    pub(super) fn includes(&self, fault: Fault) -> bool {
        self.rules.iter().any(|rule| rule.fault == fault)
    }

    /// Whether `fault` happens to this request; its value if so. Ask only where it could do something, because a
    /// count goes down when the answer is yes.
    pub(super) fn happens(&mut self, fault: Fault, request: u64) -> Option<i64> {
        for (place, rule) in self.rules.iter_mut().enumerate().filter(|(_, rule)| rule.fault == fault) {
            let now = match &mut rule.amount {
                Amount::Always => true,
                Amount::Next(0) => false,
                Amount::Next(left) => {
                    *left -= 1;
                    true
                }
                Amount::Share(share) => Rng::of(self.seed ^ place as u64, request, "fault").unit() < *share,
            };
            if now {
                return Some(rule.argument);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_shares_and_values() {
        let faults = Faults::parse("status-500=2, slow=50@1").unwrap().and(Faults::parse("reset=0.5").unwrap());
        let mut mischief = Mischief::new(faults, 1);
        let hits: Vec<_> = (0..4).filter(|n| mischief.happens(Fault::Status500, *n).is_some()).collect();
        assert_eq!(hits, [0, 1]);
        assert_eq!(mischief.happens(Fault::Slow, 9), Some(50));
        assert_eq!(mischief.happens(Fault::Slow, 10), None);
        let resets = (0..1000).filter(|n| mischief.happens(Fault::Reset, *n).is_some()).count();
        assert!((400..600).contains(&resets), "{resets}");
    }

    #[test]
    fn mistakes_are_explained() {
        assert!(Faults::parse("statis-500").unwrap_err().contains("status-500"));
        assert!(Faults::parse("slow").unwrap_err().contains("slow=200"));
        assert!(Faults::parse("reset=7.5").is_err());
        assert!(Faults::parse("").unwrap().is_empty());
    }
}
