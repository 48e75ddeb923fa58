//! From answers to findings. Every conclusion needs several submissions as evidence; without it there is no finding.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta};
use serde_json::{Value, json};

use super::{Fact, Finding, UNCLEAR};
use crate::clock::Timestamp;

/// Submissions that a conclusion needs at least.
const ENOUGH: usize = 3;

/// Submissions that are enough where `updated_at` is not shown, so that nothing tells the two dates apart directly.
const MANY: usize = 20;

/// Known submissions that may be missing in an answer without a reason: deleted since, for example.
const MISSING: usize = 1;

/// A submission of an answer, or of the mirror, as far as dates are concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// `created_at`, if it can be read.
    pub created_at: Option<Timestamp>,
    /// `updated_at`, if it is shown and can be read.
    pub updated_at: Option<Timestamp>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It was answered.
    Items {
        /// The submissions.
        items: Vec<Seen>,
        /// Whether these are all: the last page had no next key.
        complete: bool,
    },
    /// The vendor refused the request as it was.
    Refused,
    /// It was not asked, or something else went wrong.
    Untold,
}

/// Everything that was seen.
#[derive(Clone, Debug)]
pub struct Observations {
    /// The first of the two days that were asked for.
    pub day: NaiveDate,
    /// Submissions that the vendor has, from the mirror or from other answers.
    pub known: Vec<Seen>,
    /// The first page of the list without dates.
    pub undated: Vec<Seen>,
    /// The two days, asked for in the configured form and the other one.
    pub dated: [Reply; 2],
    /// The names of the two forms, the configured one first.
    pub formats: [&'static str; 2],
    /// Full-size requests: (count asked for, items, whether there was a next key).
    pub pages: Vec<(u64, u64, bool)>,
    /// The names of the two places of parameters, the configured one first.
    pub places: [&'static str; 2],
    /// The ids that came when one was asked for in the other place: whether it was that one alone. `None`: not told.
    pub other_place: Option<bool>,
    /// What `request_type=aml` gave; `None`: not asked or not told.
    pub screenings: Option<Screenings>,
    /// The fields that list items showed, and how many items there were.
    pub list_fields: (BTreeSet<String>, usize),
    /// The fields that items read by id showed, and how many there were.
    pub id_fields: (BTreeSet<String>, usize),
}

/// What became of a page of `request_type=aml`.
#[derive(Clone, Copy, Debug)]
pub enum Screenings {
    /// The vendor refused it.
    Refused,
    /// It was answered.
    Items {
        /// How many items came.
        items: usize,
        /// How many of them showed `aml`.
        screened: usize,
    },
}

/// Submissions of a created-day, for [`choose_day`].
#[derive(Clone, Copy, Debug)]
pub struct DayCount {
    /// The day.
    pub day: NaiveDate,
    /// Submissions created on it.
    pub submissions: u64,
    /// Those of its first hour (UTC).
    pub first_hour: u64,
    /// Those of its last hour.
    pub last_hour: u64,
}

/// The day to ask for, with the one after it: past, full enough, with submissions at its edges, and such that the answer
/// fits into `capacity` items.
pub fn choose_day(days: &[DayCount], today: NaiveDate, capacity: u64) -> NaiveDate {
    let by_day: BTreeMap<NaiveDate, &DayCount> = days.iter().map(|count| (count.day, count)).collect();
    let at = |day: Option<NaiveDate>| day.and_then(|day| by_day.get(&day).copied());
    let first = days.iter().map(|count| count.day).min();
    let score = |count: &DayCount| {
        let after = at(count.day.succ_opt());
        let in_both = count.submissions + after.map_or(0, |day| day.submissions);
        let edge = count.first_hour.min(count.last_hour) > 0 && after.is_some_and(|day| day.last_hour > 0);
        let both = count.submissions >= 5 && after.is_some_and(|day| day.submissions >= 5);
        // With others before it, which an answer by updated_at would show.
        let inner = first.is_some_and(|first| (count.day - first).num_days() >= 7);
        // About a month ago: what was to change late has changed, and what the vendor changed lately shows.
        let age = (today - count.day).num_days().abs_diff(30);
        (in_both <= capacity, edge, both, in_both.min(50), inner, std::cmp::Reverse(age))
    };
    // The two days must be over everywhere on earth.
    let past = |days: u64| today.checked_sub_days(Days::new(days)).unwrap_or(today);
    let candidates = days.iter().filter(|count| count.day <= past(4) && count.submissions > 0);
    candidates.max_by_key(|count| score(count)).map_or(past(4), |count| count.day)
}

/// Concludes.
pub fn judge(seen: &Observations) -> Vec<Finding> {
    let mut findings = dates(seen);
    findings.extend(count(&seen.pages));
    if let Some(works) = seen.other_place {
        let [ours, other] = seen.places;
        let value = if works { "both" } else { ours };
        let how = if works { "gave that one alone" } else { "did not give that one alone" };
        let evidence = format!("one submission, asked for in the {other}: {how}");
        findings.push(Finding::new(Fact::Parameters, value, evidence));
    }
    findings.extend(views(seen));
    findings.extend(seen.screenings.and_then(aml_pages));
    findings
}

/// What an answer to two days means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Created,
    Updated,
    Everything,
    Refused,
    Unclear,
    Untold,
}

fn dates(seen: &Observations) -> Vec<Finding> {
    let window = Window::of(seen);
    let [(ours, why), (other, other_why)] = [0, 1].map(|i| window.classify(&seen.dated[i]));
    let mut findings = Vec::new();
    let selects = |class| matches!(class, Class::Created | Class::Updated);
    let format = match (selects(ours), selects(other)) {
        (true, true) => Some("both"),
        (true, false) => Some(seen.formats[0]),
        (false, true) => Some(seen.formats[1]),
        // It is refused, whatever the other one does.
        (false, false) if ours == Class::Refused && other == Class::Refused => Some("neither"),
        (false, false) if ours == Class::Refused && other == Class::Everything => Some(seen.formats[1]),
        (false, false) if ours == Class::Everything && other == Class::Refused => Some(seen.formats[0]),
        (false, false) => None,
    };
    if let Some(format) = format {
        let evidence = format!("{}: {why}; {}: {other_why}", seen.formats[0], seen.formats[1]);
        findings.push(Finding::new(Fact::DateFormat, format, evidence));
    }
    let filter = match ours {
        Class::Created => "created",
        Class::Updated => "updated",
        Class::Everything => "ignored",
        Class::Unclear => UNCLEAR,
        Class::Refused | Class::Untold => return findings,
    };
    findings.push(Finding::new(Fact::Filter, filter, why));
    if let (Class::Created, Reply::Items { items, complete: true }) = (ours, &seen.dated[0]) {
        findings.extend(window.slack(items));
    }
    findings
}

/// The two days, and what is known around them.
struct Window {
    start: Timestamp,
    known: BTreeMap<String, Seen>,
    undated: BTreeSet<String>,
}

impl Window {
    fn of(seen: &Observations) -> Self {
        let mut known: BTreeMap<String, Seen> = BTreeMap::new();
        let answers = seen.dated.iter().filter_map(|reply| match reply {
            Reply::Items { items, .. } => Some(items),
            Reply::Refused | Reply::Untold => None,
        });
        for one in seen.known.iter().chain(&seen.undated).chain(answers.flatten()) {
            let entry = known.entry(one.id.clone()).or_insert_with(|| one.clone());
            // A list may show no updated_at where another view did.
            entry.updated_at = entry.updated_at.max(one.updated_at);
            entry.created_at = entry.created_at.or(one.created_at);
        }
        let start = seen.day.and_time(NaiveTime::MIN).and_utc();
        Self { start, known, undated: seen.undated.iter().map(|one| one.id.clone()).collect() }
    }

    /// From so many hours after the start of the first day to so many.
    fn hours(&self, from: i64, to: i64) -> Range<Timestamp> {
        self.start + TimeDelta::hours(from)..self.start + TimeDelta::hours(to)
    }

    /// In the two days, or a day beside them.
    fn near(&self, at: Timestamp) -> bool {
        self.hours(-24, 72).contains(&at)
    }

    fn classify(&self, reply: &Reply) -> (Class, String) {
        let (items, complete) = match reply {
            Reply::Items { items, complete } => (items, *complete),
            Reply::Refused => return (Class::Refused, "refused".to_owned()),
            Reply::Untold => return (Class::Untold, "not told".to_owned()),
        };
        let ids: BTreeSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
        let served: Vec<(Timestamp, Option<Timestamp>)> = ids
            .iter()
            .filter_map(|id| self.known.get(*id))
            .filter_map(|item| Some((item.created_at?, item.updated_at)))
            .collect();
        let elsewhere: Vec<(Timestamp, Option<Timestamp>)> = self
            .known
            .values()
            .filter(|item| !ids.contains(item.id.as_str()))
            .filter_map(|item| Some((item.created_at?, item.updated_at)))
            .collect();
        if items.is_empty() {
            let expected = elsewhere.iter().filter(|(created, _)| self.hours(0, 24).contains(created)).count();
            return (Class::Untold, format!("no submission, {expected} known of the first day"));
        }
        let far: Vec<_> = served.iter().filter(|(created, _)| !self.near(*created)).collect();
        let as_undated = self.undated.iter().filter(|id| ids.contains(id.as_str())).count();
        let like_undated = as_undated * 5 >= self.undated.len() * 4;
        let why = format!(
            "{} submissions, {} of them created more than a day outside, {as_undated} of {} also in the list without dates",
            served.len(),
            far.len(),
            self.undated.len()
        );
        let class = if far.is_empty() {
            self.close(&served, &elsewhere, complete, like_undated)
        } else {
            let updated_far = far.iter().filter(|(_, updated)| updated.is_some_and(|at| !self.near(at))).count();
            let updated_untold = far.iter().filter(|(_, updated)| updated.is_none()).count();
            match far.len() {
                few if few < ENOUGH => Class::Untold,
                _ if like_undated && updated_far + updated_untold >= ENOUGH => Class::Everything,
                // Dates select, and not by creation.
                _ if !like_undated && updated_far == 0 => Class::Updated,
                _ => Class::Unclear,
            }
        };
        (class, why)
    }

    /// All that came was created near the two days. Was it chosen by that?
    fn close(
        &self,
        served: &[(Timestamp, Option<Timestamp>)],
        elsewhere: &[(Timestamp, Option<Timestamp>)],
        complete: bool,
        like_undated: bool,
    ) -> Class {
        let others = elsewhere.iter().any(|(created, _)| !self.near(*created));
        if served.len() < ENOUGH || !others || (!complete && like_undated) {
            return Class::Untold;
        }
        let far = |at: &Option<Timestamp>| at.is_some_and(|at| !self.near(at));
        // Inside of the first day in every time zone from -8 to +9, also with an end date that is left out.
        let core = self.hours(8, 15);
        let in_core = |at: Timestamp| core.contains(&at);
        let created = served.iter().filter(|(_, updated)| far(updated)).count()
            + elsewhere
                .iter()
                .filter(|(created, updated)| complete && !self.near(*created) && updated.is_some_and(in_core))
                .count();
        let updated =
            elsewhere.iter().filter(|(created, updated)| complete && in_core(*created) && far(updated)).count();
        let untold = served.iter().filter(|(_, updated)| updated.is_none()).count();
        match (created, updated) {
            (2.., ..=MISSING) => Class::Created,
            (0, ENOUGH..) => Class::Updated,
            (1.., 2..) => Class::Unclear,
            _ if untold >= MANY && updated == 0 => Class::Created,
            _ => Class::Untold,
        }
    }

    /// Which time zones and readings of the end date explain a complete answer, and what they need in days.
    fn slack(&self, items: &[Seen]) -> Vec<Finding> {
        let ids: BTreeSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
        let (inside, outside): (Vec<_>, Vec<_>) = self
            .known
            .values()
            .filter_map(|item| Some((ids.contains(item.id.as_str()), item.created_at?)))
            .partition(|(served, _)| *served);
        let explains = |(minutes, excluded): &(i64, bool)| {
            let low = self.start - TimeDelta::minutes(*minutes);
            let range = low..low + TimeDelta::days(if *excluded { 1 } else { 2 });
            inside.iter().all(|(_, at)| range.contains(at))
                && outside.iter().filter(|(_, at)| range.contains(at)).count() <= MISSING
        };
        let all = OFFSETS.iter().flat_map(|minutes| [(*minutes, false), (*minutes, true)]);
        let possible: Vec<(i64, bool)> = all.filter(explains).collect();
        let around = outside.iter().filter(|(_, at)| self.hours(-48, 96).contains(at)).count();
        let numbers = format!("{} submissions served and {around} known beside them", inside.len());
        let (Some(first), Some(last)) = (possible.first(), possible.last()) else {
            let evidence = format!("{numbers}: no time zone explains them");
            return vec![Finding::new(Fact::Slack, UNCLEAR, evidence)];
        };
        if possible.iter().any(|(_, excluded)| *excluded != first.1) {
            return Vec::new();
        }
        let before = u8::from(possible.iter().any(|(minutes, _)| *minutes < 0));
        let after = u8::from(possible.iter().any(|(minutes, _)| *minutes > 0)) + u8::from(first.1);
        let end = if first.1 { "excluded" } else { "included" };
        let evidence = format!("{numbers}; UTC offset of {} to {} minutes, end date {end}", first.0, last.0);
        vec![
            Finding::new(Fact::Slack, json!({"before": before, "after": after}), evidence.clone()),
            Finding::new(Fact::EndDate, end, evidence),
        ]
    }
}

/// The time zones of the earth, in minutes east of UTC, as far as they are whole hours or hold many people.
const OFFSETS: [i64; 32] = [
    -720, -660, -600, -540, -480, -420, -360, -300, -240, -210, -180, -120, -60, 0, 60, 120, 180, 210, 240, 270, 300,
    330, 345, 360, 390, 420, 480, 540, 570, 600, 660, 720,
];

fn count(pages: &[(u64, u64, bool)]) -> Option<Finding> {
    let text = || {
        let page = |(asked, got, more): &(u64, u64, bool)| {
            format!("{got} of {asked} asked for{}", if *more { " and a next key" } else { "" })
        };
        pages.iter().map(page).collect::<Vec<_>>().join(", ")
    };
    let clipped: Vec<&(u64, u64, bool)> = pages.iter().filter(|(asked, got, more)| *more && got < asked).collect();
    let value = if pages.iter().any(|(asked, got, _)| got > asked) {
        Value::from("ignored")
    } else if pages.iter().any(|(asked, got, more)| *more && got == asked && *asked > 0) {
        // Clipped above what was asked for, or not at all: both the same from here.
        match clipped.first() {
            None => Value::from("honoured"),
            Some(_) => return None,
        }
    } else {
        // Twice the same short page: that is a limit. Otherwise pages are short for other reasons.
        let (_, most, _) = clipped.first()?;
        if clipped.len() < 2 || *most == 0 || clipped.iter().any(|(_, got, _)| got != most) {
            return None;
        }
        json!({"clipped": most})
    };
    Some(Finding::new(Fact::Count, value, text()))
}

fn aml_pages(seen: Screenings) -> Option<Finding> {
    let (value, evidence) = match seen {
        Screenings::Refused => ("refused", "refused".to_owned()),
        Screenings::Items { items, screened } => {
            let value = match (screened, items) {
                (1.., _) => "shown",
                (0, ENOUGH..) => "ignored",
                _ => return None,
            };
            (value, format!("aml in {screened} of {items} items of request_type=aml"))
        }
    };
    Some(Finding::new(Fact::AmlPages, value, evidence))
}

fn views(seen: &Observations) -> Vec<Finding> {
    let ((list, list_items), (id, id_items)) = (&seen.list_fields, &seen.id_fields);
    let mut findings = Vec::new();
    let shows = |fields: &BTreeSet<String>, name: &str| {
        fields.iter().any(|field| field == name || field.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    };
    for (fact, name) in
        [(Fact::ListAttempts, "kyc.attempts"), (Fact::ListAml, "aml"), (Fact::ListUpdatedAt, "updated_at")]
    {
        let value = match (shows(list, name), shows(id, name)) {
            (true, _) => "shown",
            (false, true) if *list_items >= ENOUGH => "missing",
            _ => continue,
        };
        let evidence = format!("{name} in {list_items} list items and {id_items} read by id");
        findings.push(Finding::new(fact, value, evidence));
    }
    for (fact, (fields, items)) in [(Fact::ListFields, &seen.list_fields), (Fact::IdFields, &seen.id_fields)] {
        if *items > 0 {
            findings.push(Finding::new(fact, json!(fields), format!("{items} items")));
        }
    }
    findings
}
