use chrono::TimeDelta;
use std::collections::BTreeSet;

use chrono::{Days, NaiveDate, NaiveTime};
use proptest::prelude::*;

use super::judge::{DayCount, Observations, Reply, Screenings, Seen, choose_day, judge};
use super::*;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// What dates do at a vendor.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Truth {
    Created { minutes_east: i64, excluded: bool },
    Updated { minutes_east: i64 },
    Ignored,
}

fn answer(all: &[Seen], truth: Truth, first: NaiveDate, last: NaiveDate) -> Vec<Seen> {
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let inside = |at: Timestamp, east: i64, excluded: bool| {
        let shift = TimeDelta::minutes(east);
        at >= midnight(first) - shift && at < midnight(last) - shift + TimeDelta::days(i64::from(!excluded))
    };
    let shown = |one: &&Seen| match truth {
        Truth::Ignored => true,
        Truth::Created { minutes_east, excluded } => inside(one.created_at.unwrap(), minutes_east, excluded),
        Truth::Updated { minutes_east } => inside(one.updated_at.unwrap(), minutes_east, false),
    };
    all.iter().filter(shown).cloned().collect()
}

fn observe(all: &[Seen], truth: Truth, first: NaiveDate, page: usize, thin: bool) -> Observations {
    let hide = |items: Vec<Seen>| -> Vec<Seen> {
        let updated_at = |one: &Seen| one.updated_at.filter(|_| !thin);
        items.into_iter().map(|one| Seen { updated_at: updated_at(&one), ..one }).collect()
    };
    let dated = answer(all, truth, first, first.succ_opt().unwrap());
    let complete = dated.len() <= 2 * page;
    Observations {
        day: first,
        known: hide(all.to_vec()),
        undated: hide(all.iter().take(page).cloned().collect()),
        dated: [Reply::Items { items: hide(dated.into_iter().take(2 * page).collect()), complete }, Reply::Refused],
        formats: ["idcheck", "v3"],
        pages: Vec::new(),
        places: ["query", "body"],
        screenings: None,
        other_place: None,
        list_fields: (BTreeSet::new(), 0),
        id_fields: (BTreeSet::new(), 0),
    }
}

/// Submissions over twelve days, each so many minutes after the one before; every nth is updated days later.
fn world(step: i64, late_every: usize) -> Vec<Seen> {
    let start = day("2026-01-01").and_time(NaiveTime::MIN).and_utc();
    let one = |n: usize| {
        let created = start + TimeDelta::minutes(step * n as i64 + 7);
        let updated = created + if n.is_multiple_of(late_every) { TimeDelta::days(5) } else { TimeDelta::minutes(40) };
        Seen { id: format!("s{n}"), created_at: Some(created), updated_at: Some(updated) }
    };
    (0..(12 * 1440 / step) as usize).map(one).collect()
}

fn learned(found: Vec<Finding>) -> Findings {
    let mut findings = Findings::new(BTreeMap::new(), None, None);
    findings.learn(found, Timestamp::UNIX_EPOCH, "source");
    findings
}

fn filter_found(truth: Truth) -> Filter {
    learned(judge(&observe(&world(20, 4), truth, day("2026-01-05"), 100, false))).filter
}

#[test]
fn each_way_of_a_vendor_is_found() {
    let created = |minutes_east, excluded| filter_found(Truth::Created { minutes_east, excluded });
    let days = |before, after| Filter::Created { before, after };
    assert_eq!(created(0, false), days(0, 0));
    assert_eq!(created(540, false), days(0, 1), "Korea: the last hours of a UTC day are tomorrow's");
    assert_eq!(created(-300, false), days(1, 0), "New York: the first hours of a UTC day are yesterday's");
    assert_eq!(created(330, false), days(0, 1));
    assert_eq!(created(0, true), days(0, 1));
    assert_eq!(created(540, true), days(0, 2));
    assert_eq!(created(-300, true), days(1, 1));
    assert_eq!(filter_found(Truth::Updated { minutes_east: 0 }), Filter::Updated);
    assert_eq!(filter_found(Truth::Updated { minutes_east: 540 }), Filter::Updated);
    assert_eq!(filter_found(Truth::Ignored), Filter::Ignored);
}

#[test]
fn without_enough_evidence_nothing_is_concluded() {
    let truth = Truth::Created { minutes_east: 540, excluded: false };
    let all = world(20, 4);
    let found = |all: &[Seen], day: &str| judge(&observe(all, truth, day.parse().unwrap(), 100, false));
    let filter_of = |found: Vec<Finding>| found.into_iter().find(|one| one.fact == Fact::Filter);
    assert_eq!(filter_of(found(&all[..2], "2026-01-01")), None, "two submissions");
    assert_eq!(filter_of(found(&all, "2025-06-01")), None, "nothing is known of the day");
    let near: Vec<Seen> = all
        .iter()
        .filter(|one| one.created_at.unwrap() < "2026-01-06T00:00:00Z".parse::<Timestamp>().unwrap())
        .skip(220)
        .cloned()
        .collect();
    assert_eq!(filter_of(found(&near, "2026-01-04")), None, "there is nothing that dates could leave out");
    assert_eq!(learned(found(&all[..2], "2026-01-01")).filter, Filter::UNKNOWN);
}

#[test]
fn forms_of_a_day_are_told_apart() {
    let truth = Truth::Created { minutes_east: 0, excluded: false };
    let all = world(20, 4);
    let with = |ours: Reply, other: Reply| {
        let seen = Observations { dated: [ours, other], ..observe(&all, truth, day("2026-01-05"), 100, false) };
        let found = learned(judge(&seen));
        (found.text(Fact::DateFormat).map(str::to_owned), found.text(Fact::Filter).map(str::to_owned))
    };
    let good = || Reply::Items { items: answer(&all, truth, day("2026-01-05"), day("2026-01-06")), complete: true };
    let everything = || Reply::Items { items: all[..200].to_vec(), complete: false };
    let nothing = || Reply::Items { items: Vec::new(), complete: true };
    let told = |format: &str, filter: Option<&str>| (Some(format.to_owned()), filter.map(str::to_owned));
    assert_eq!(with(good(), Reply::Refused), told("idcheck", Some("created")));
    assert_eq!(with(good(), everything()), told("idcheck", Some("created")));
    assert_eq!(with(good(), good()), told("both", Some("created")));
    assert_eq!(with(Reply::Refused, good()), told("v3", None));
    assert_eq!(with(nothing(), good()), told("v3", None));
    assert_eq!(with(everything(), good()), told("v3", Some("ignored")));
    assert_eq!(with(Reply::Refused, Reply::Refused), told("neither", None));
    assert_eq!(with(Reply::Refused, everything()), told("v3", None));
    assert_eq!(with(everything(), Reply::Refused), told("idcheck", Some("ignored")));
    assert_eq!(with(Reply::Refused, nothing()), (None, None));
    assert_eq!(with(everything(), everything()), (None, Some("ignored".to_owned())));
    assert_eq!(with(Reply::Untold, Reply::Untold), (None, None));
}

/// One submission for each letter, the first day asked for being 5 January: created and updated on it (`n`), or updated
/// much later (`l`) or nobody knows when (`t`); created much later and updated on it (`c`), later too (`f`), or nobody
/// knows when (`g`).
fn submissions(letters: &str, prefix: &str) -> Vec<Seen> {
    let (near, far) = (Some("2026-01-05T10:00:00Z"), Some("2026-03-01T00:00:00Z"));
    let one = |(n, letter): (usize, char)| {
        let (created, updated) = match letter {
            'n' => (near, near),
            'l' => (near, far),
            't' => (near, None),
            'c' => (far, near),
            'f' => (far, far),
            _ => (far, None),
        };
        let at = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        Seen { id: format!("{prefix}{n}"), created_at: at(created), updated_at: at(updated) }
    };
    letters.chars().enumerate().map(one).collect()
}

#[test]
fn what_dates_filter_is_told_from_who_came_and_who_did_not() {
    let of = |served: &str, elsewhere: &str, complete: bool, as_without_dates: bool| {
        let (items, others) = (submissions(served, "s"), submissions(elsewhere, "o"));
        let undated = if as_without_dates { items.clone() } else { others.clone() };
        let empty = observe(&[], Truth::Ignored, day("2026-01-05"), 100, false);
        let dated = [Reply::Items { items, complete }, Reply::Refused];
        let found = judge(&Observations { known: others, undated, dated, ..empty });
        let filter = found.into_iter().find(|found| found.fact == Fact::Filter);
        filter.map(|found| found.value.as_str().unwrap().to_owned())
    };
    let thin = "t".repeat(20);
    for (served, elsewhere, complete, as_without_dates, expected) in [
        // All that came was created near the two days.
        ("nnn", "f", true, false, None),
        ("lln", "f", true, false, Some("created")),
        ("ll", "f", true, false, None),
        ("lnn", "f", true, false, None),
        ("llln", "", true, false, None),
        ("lln", "f", true, true, Some("created")),
        ("lln", "f", false, true, None),
        ("lln", "f", false, false, Some("created")),
        ("nnn", "cc", true, false, Some("created")),
        ("nnn", "cc", false, false, None),
        ("nnn", "fff", true, false, None),
        ("lnn", "fllc", true, false, Some("unclear")),
        ("nnn", "flll", true, false, Some("updated")),
        ("nnn", "flll", false, false, None),
        ("nnn", "fll", true, false, None),
        ("nnn", "fnnn", true, false, None),
        ("lnn", "fll", true, false, Some("unclear")),
        ("lln", "fl", true, false, Some("created")),
        ("lln", "fll", true, false, Some("unclear")),
        (thin.as_str(), "f", true, false, Some("created")),
        (&thin[1..], "f", true, false, None),
        (thin.as_str(), "fl", true, false, None),
        // Some of it was not.
        ("nnncc", "f", true, false, None),
        ("nnnccc", "f", true, false, Some("updated")),
        ("nnnccf", "f", true, false, Some("unclear")),
        ("nnnccc", "f", true, true, Some("unclear")),
        ("nnnfff", "f", true, true, Some("ignored")),
        ("nnnffg", "f", true, true, Some("ignored")),
        ("nnnffc", "f", true, true, Some("unclear")),
        ("nnnfff", "f", true, false, Some("unclear")),
    ] {
        let found = of(served, elsewhere, complete, as_without_dates);
        assert_eq!(found.as_deref(), expected, "{served} came, {elsewhere} did not: {complete} {as_without_dates}");
    }
}

#[test]
fn what_lists_show_is_told_from_enough_items() {
    let of = |list: &[&str], items: usize, id: &[&str], fact: Fact| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let empty = observe(&[], Truth::Ignored, day("2026-01-05"), 100, false);
        let seen = Observations { list_fields: (names(list), items), id_fields: (names(id), id.len()), ..empty };
        judge(&seen).into_iter().find(|found| found.fact == fact).map(|found| found.value)
    };
    let aml = ["aml.currentstatus"];
    assert_eq!(of(&aml, 1, &[], Fact::ListAml), Some(json!("shown")));
    assert_eq!(of(&["aml"], 1, &aml, Fact::ListAml), Some(json!("shown")));
    assert_eq!(of(&["email"], 3, &aml, Fact::ListAml), Some(json!("missing")));
    assert_eq!(of(&["email"], 2, &aml, Fact::ListAml), None, "too few to tell");
    assert_eq!(of(&["email"], 3, &["amlx"], Fact::ListAml), None, "nobody shows it");
    assert_eq!(of(&["email"], 3, &["kyc.attempts"], Fact::ListAttempts), Some(json!("missing")));
    assert_eq!(of(&["email"], 3, &["updated_at"], Fact::ListUpdatedAt), Some(json!("missing")));
    assert_eq!(of(&["email"], 3, &[], Fact::ListFields), Some(json!(["email"])));
    assert_eq!((of(&[], 0, &[], Fact::ListFields), of(&[], 0, &aml, Fact::IdFields)), (None, Some(json!(aml))));
}

#[test]
fn count_is_judged_by_pages_with_a_next_key() {
    let of = |pages: &[(u64, u64, bool)]| {
        let seen =
            Observations { pages: pages.to_vec(), ..observe(&[], Truth::Ignored, day("2026-01-05"), 100, false) };
        judge(&seen).into_iter().find(|found| found.fact == Fact::Count).map(|found| found.value)
    };
    assert_eq!(of(&[(100, 100, true)]), Some(json!("honoured")));
    assert_eq!(of(&[(100, 50, true), (100, 50, true)]), Some(json!({"clipped": 50})));
    assert_eq!(of(&[(100, 50, true)]), None, "one short page may be short for another reason");
    assert_eq!(of(&[(100, 50, true), (100, 37, true)]), None);
    assert_eq!(of(&[(100, 30, false)]), None);
    assert_eq!(of(&[(100, 30, false), (15, 30, false)]), Some(json!("ignored")));
    assert_eq!(of(&[(100, 0, true), (100, 0, true)]), None);
    assert_eq!(of(&[(0, 0, true)]), None);
}

#[test]
fn a_change_of_mode_is_told_once_and_unclear_is_none() {
    let at = |hours| Timestamp::UNIX_EPOCH + TimeDelta::hours(hours);
    let filter = |value: &str| vec![Finding::new(Fact::Filter, value, String::new())];
    let mut known = Findings::new(BTreeMap::new(), None, None);
    assert!(known.due(at(0), "s", 100_000));
    assert_eq!(known.learn(filter("created"), at(0), "s"), []);
    known.learn(vec![Finding::new(Fact::Slack, json!({"before": 0, "after": 0}), String::new())], at(1), "s");
    assert_eq!(known.filter, Filter::Created { before: 0, after: 0 });
    assert_eq!(known.learn(filter(UNCLEAR), at(2), "s"), []);
    assert_eq!(known.filter, Filter::UNKNOWN);
    assert_eq!(known.learn(filter("ignored"), at(3), "s"), [Fact::Filter]);
    assert_eq!(known.filter, Filter::Ignored);
    assert_eq!(known.facts[&Fact::Filter].previous, Some(json!("created")));
    assert_eq!(known.learn(filter("ignored"), at(4), "s"), []);
    assert_eq!(known.facts[&Fact::Filter].changed_at, Some(at(3)), "stays visible");
    assert_eq!(known.learn(filter("created"), at(5), "s"), [Fact::Filter]);
    assert_eq!(known.filter, Filter::UNKNOWN, "the old days more prove nothing");
    let due = |hours, source| known.due(at(hours), source, 100_000);
    assert!(!due(28, "s") && due(29, "s") && due(6, "other"));
    assert_eq!(known.learn(filter("updated"), at(6), "other"), [], "somebody changed the settings");
    assert_eq!(known.facts.keys().copied().collect::<Vec<_>>(), [Fact::Filter]);
}

#[test]
fn p8_a_probe_that_cannot_tell_is_repeated_as_often_as_the_budget_allows() {
    let mut known = Findings::new(BTreeMap::new(), None, None);
    let hours = |known: &Findings, per_day| known.probe_every(per_day).as_secs_f64() / 3600.0;
    let every = [100_000, 9_600, 2_000, 100].map(|per_day| hours(&known, per_day).round());
    assert_eq!(every, [1.0, 1.0, 5.0, 24.0]);
    known.learn(vec![Finding::new(Fact::Filter, "created", String::new())], Timestamp::UNIX_EPOCH, "s");
    assert_eq!(hours(&known, 100_000), 24.0);
}

#[test]
fn p12_names_of_fields_gather_up_to_a_bound() {
    let mut known = Findings::new(BTreeMap::new(), None, None);
    for n in 0..500 {
        let names = vec![Finding::new(Fact::ListFields, json!([format!("f{n:03}"), "email"]), String::new())];
        assert_eq!(known.learn(names, Timestamp::UNIX_EPOCH, "s"), []);
    }
    assert_eq!(known.facts[&Fact::ListFields].value.as_array().unwrap().len(), 300);
}

#[test]
fn the_day_to_ask_for_is_past_full_and_fits() {
    let count = |text: &str, submissions| DayCount { day: day(text), submissions, first_hour: 2, last_hour: 2 };
    let days = [count("2026-01-03", 40), count("2026-01-04", 40), count("2026-01-05", 900), count("2026-01-09", 40)];
    assert_eq!(choose_day(&days, day("2026-01-10"), 200), day("2026-01-03"));
    assert_eq!(choose_day(&[], day("2026-01-10"), 200), day("2026-01-06"));
}

#[test]
fn of_two_days_the_one_whose_answer_tells_more_is_asked_for() {
    let pair = |first: &str, (one, other): (u64, u64), [first_hour, last_hour, end]: [u64; 3]| {
        let first = day(first);
        let next = first.succ_opt().unwrap();
        [
            DayCount { day: first, submissions: one, first_hour, last_hour },
            DayCount { day: next, submissions: other, first_hour: 1, last_hour: end },
        ]
    };
    // The other one is nearer to a month ago, and so it is taken unless something speaks against it.
    let good = pair("2026-01-20", (25, 25), [1, 1, 1]);
    for (other, taken) in [
        (pair("2026-01-30", (25, 25), [1, 1, 1]), true),
        (pair("2026-01-30", (45, 5), [1, 1, 1]), true),
        (pair("2026-01-30", (100, 100), [1, 1, 1]), true),
        (pair("2026-01-30", (101, 100), [1, 1, 1]), false),
        (pair("2026-01-30", (25, 25), [0, 1, 1]), false),
        (pair("2026-01-30", (25, 25), [1, 0, 1]), false),
        (pair("2026-01-30", (25, 25), [1, 1, 0]), false),
        (pair("2026-01-30", (46, 4), [1, 1, 1]), false),
        (pair("2026-01-30", (4, 46), [1, 1, 1]), false),
        (pair("2026-01-30", (25, 24), [1, 1, 1]), false),
        (pair("2026-02-26", (60, 60), [2, 2, 2]), false),
    ] {
        let before = DayCount { day: day("2026-01-01"), submissions: 1, first_hour: 0, last_hour: 0 };
        let days: Vec<DayCount> = [before].into_iter().chain(good).chain(other).collect();
        let expected = if taken { other[0].day } else { good[0].day };
        assert_eq!(choose_day(&days, day("2026-03-01"), 200), expected, "{other:?}");
    }
    // Others were created a week before one of these.
    let nearer = [pair("2026-01-26", (25, 25), [1, 1, 1]), pair("2026-02-20", (25, 25), [1, 1, 1])].concat();
    let from = |first: &str| {
        let before = DayCount { day: day(first), submissions: 1, first_hour: 0, last_hour: 0 };
        choose_day(&[vec![before], nearer.clone()].concat(), day("2026-03-01"), 200)
    };
    assert_eq!((from("2026-01-19"), from("2026-01-20")), (day("2026-01-26"), day("2026-02-20")));
    // A day without submissions has no answer, whatever the next one holds.
    let empty = pair("2026-01-30", (0, 25), [0, 0, 0]);
    assert_eq!(choose_day(&empty, day("2026-03-01"), 200), day("2026-01-31"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.min(100)))]

    /// Whatever is concluded is true, and the days more are enough.
    #[test]
    fn p1_no_conclusion_is_wrong(
        gaps in prop::collection::vec(0i64..240, 0..400),
        late in prop::collection::vec(prop_oneof![Just(0i64), 0i64..300, 0i64..(9 * 1440)], 400),
        which in 0usize..12, excluded: bool, thin: bool, page in 5usize..150, newest_first: bool, offset in 0u64..12,
        hidden in prop::collection::vec(prop::bool::weighted(0.7), 400),
    ) {
        let truth = match which {
            0 => Truth::Ignored,
            1 => Truth::Updated { minutes_east: 0 },
            2 => Truth::Updated { minutes_east: 540 },
            n => Truth::Created { minutes_east: [0, 540, -300, 330, -480, 480, -420, 60, -60][n - 3], excluded },
        };
        let mut at = day("2026-01-01").and_time(NaiveTime::MIN).and_utc();
        let mut all: Vec<Seen> = gaps.iter().enumerate().map(|(n, gap)| {
            at += TimeDelta::minutes(*gap);
            Seen { id: format!("s{n}"), created_at: Some(at), updated_at: Some(at + TimeDelta::minutes(late[n])) }
        }).collect();
        if newest_first {
            all.reverse();
        }
        let first = day("2026-01-01") + Days::new(offset);
        // With thin lists nothing but chance tells whether late changes are among those that came.
        prop_assume!(!(thin && matches!(truth, Truth::Updated { .. })));
        let mut seen = observe(&all, truth, first, page, thin);
        let mut known = hidden.iter();
        seen.known.retain(|_| *known.next().unwrap_or(&true));
        // "Unclear" is no conclusion, and the daemon then assumes the worst case that it knows.
        for found in judge(&seen).into_iter().filter(|found| found.value != UNCLEAR) {
            match (found.fact, truth) {
                (Fact::Filter, Truth::Created { .. }) => prop_assert_eq!(&found.value, "created", "{:?}", found),
                (Fact::Filter, Truth::Updated { .. }) => prop_assert_eq!(&found.value, "updated", "{:?}", found),
                (Fact::Filter, Truth::Ignored) => prop_assert_eq!(&found.value, "ignored", "{:?}", found),
                (Fact::Slack, Truth::Created { minutes_east, excluded }) => {
                    prop_assert!(found.value["before"].as_u64() >= Some(u64::from(minutes_east < 0)), "{found:?}");
                    let after = u64::from(minutes_east > 0) + u64::from(excluded);
                    prop_assert!(found.value["after"].as_u64() >= Some(after), "{found:?}");
                }
                (Fact::DateFormat, _) => prop_assert_eq!(&found.value, "idcheck"),
                _ => {}
            }
        }
    }
}

fn knowing(facts: &[(Fact, Value)]) -> Findings {
    let mut findings = Findings::new(BTreeMap::new(), None, None);
    let found = facts.iter().map(|(fact, value)| Finding::new(*fact, value.clone(), String::new()));
    findings.learn(found.collect(), "2026-03-01T00:00:00Z".parse().unwrap(), "source");
    findings
}

#[test]
fn what_lists_lack_follows_from_the_facts_and_from_what_the_mirror_has_seen() {
    let nothing = HashSet::new();
    let lacking = |facts: &[(Fact, Value)], shown: &HashSet<_>| {
        let Lacking { screenings, details, by_id: _ } = knowing(facts).lacking(shown);
        (screenings, details)
    };
    assert_eq!(lacking(&[], &nothing), (false, false));
    assert_eq!(lacking(&[(Fact::ListAml, json!("missing"))], &nothing), (true, false));
    assert_eq!(lacking(&[(Fact::ListAttempts, json!("missing"))], &nothing), (false, true));
    assert_eq!(lacking(&[(Fact::ListUpdatedAt, json!("missing"))], &nothing), (false, true));

    // Another field than those; but neither a screening nor the project's settings.
    let fields = |id: &str| {
        [(Fact::ListFields, json!(["created_at", "kyc.result"])), (Fact::IdFields, json!(["kyc.result", id]))]
    };
    assert_eq!(lacking(&fields("OCR_raw.a"), &nothing), (false, true));
    assert_eq!(lacking(&fields("created_at"), &nothing), (false, false));
    assert_eq!(lacking(&fields("aml.currentstatus"), &nothing), (false, false));
    assert_eq!(lacking(&fields("project_options.option_aml"), &nothing), (false, false));
    let shown = |view: &str, field: &str| (view.to_owned(), field.to_owned());
    assert_eq!(lacking(&fields("OCR_raw.a"), &HashSet::from([shown("list", "OCR_raw.a")])), (false, false));

    // The submission that was probed had no screening, another one that was read by id has.
    let mut mirror = HashSet::from([shown("id", "aml.currentstatus"), shown("list", "created_at")]);
    assert_eq!(lacking(&[], &mirror), (true, false));
    assert_eq!(lacking(&[(Fact::ListAml, json!("shown"))], &mirror), (false, false));
    mirror.insert(shown("list", "aml.currentstatus"));
    assert_eq!(lacking(&[], &mirror), (false, false));
}

#[test]
fn what_request_type_aml_gives_decides_how_screenings_are_read() {
    let found = |seen| {
        let seen =
            Observations { screenings: Some(seen), ..observe(&[], Truth::Ignored, day("2026-01-05"), 100, true) };
        judge(&seen).into_iter().find(|finding| finding.fact == Fact::AmlPages).map(|finding| finding.value)
    };
    assert_eq!(found(Screenings::Refused), Some(json!("refused")));
    assert_eq!(found(Screenings::Items { items: 100, screened: 1 }), Some(json!("shown")));
    assert_eq!(found(Screenings::Items { items: 3, screened: 0 }), Some(json!("ignored")));
    assert_eq!(found(Screenings::Items { items: 2, screened: 0 }), None, "too few to tell");

    let lacking = |aml, pages| {
        let facts = [(Fact::ListAml, json!(aml)), (Fact::AmlPages, json!(pages))];
        let Lacking { screenings, details, by_id } = knowing(&facts).lacking(&HashSet::new());
        (screenings, details, by_id)
    };
    assert_eq!(lacking("missing", "shown"), (true, false, false));
    assert_eq!(lacking("missing", "refused"), (false, true, true));
    assert_eq!(lacking("missing", "ignored"), (false, true, true));
    assert_eq!(lacking("shown", "refused"), (false, false, false), "nobody needs them");
}

#[test]
fn lists_without_screenings_are_read_twice() {
    let phases = |screenings| Lacking { screenings, ..Lacking::default() }.phases();
    assert_eq!((phases(true), phases(false)), (2, 1));
}

#[test]
fn a_full_list_of_names_says_nothing_about_what_is_not_in_it() {
    let names = |count: usize| json!((0..count).map(|n| format!("f{n:03}")).collect::<Vec<_>>());
    let lacking = |count| {
        let facts = [(Fact::ListFields, names(count)), (Fact::IdFields, json!(["memo.text"]))];
        knowing(&facts).lacking(&HashSet::new()).details
    };
    assert_eq!([299, 300].map(lacking), [true, false]);
}

#[test]
fn every_name_of_a_fact_is_read_back() {
    assert!(Fact::ALL.into_iter().all(|fact| Fact::parse(fact.as_str()) == Some(fact)));
    assert_eq!(Fact::parse("other"), None);
}

#[test]
fn a_change_of_mode_comes_with_what_to_do() {
    for (fact, advice) in [
        (Fact::Filter, "argos-sync backfill"),
        (Fact::Slack, "argos-sync backfill"),
        (Fact::EndDate, "argos-sync backfill"),
        (Fact::DateFormat, "Check api.dialect"),
        (Fact::Parameters, "Check api.parameters"),
        (Fact::Count, "Nothing is lost"),
        (Fact::ListAml, "What lists no longer show"),
    ] {
        assert!(fact.change_advice().contains(advice), "{fact:?}: {}", fact.change_advice());
    }
}

#[test]
fn findings_are_held_against_the_settings_and_against_what_is_counted_on() {
    let settings = Settings { dialect: "idcheck", parameters: "query", count: 100 };
    for (fact, value, expected) in [
        (Fact::DateFormat, json!("idcheck"), None),
        (Fact::DateFormat, json!("both"), None),
        (Fact::DateFormat, json!("v3"), Some("set api.dialect")),
        (Fact::DateFormat, json!("neither"), Some("No form of a day")),
        (Fact::Filter, json!("created"), None),
        (Fact::Filter, json!("updated"), Some("Dates filter updated_at")),
        (Fact::Filter, json!("ignored"), Some("Dates change nothing")),
        (Fact::Filter, json!(UNCLEAR), Some("is not clear")),
        (Fact::Slack, json!(UNCLEAR), None),
        (Fact::Count, json!("honoured"), None),
        (Fact::Count, json!("ignored"), Some("ignores count")),
        (Fact::Count, json!({"clipped": 99}), Some("fewer submissions per page")),
        (Fact::Count, json!({"clipped": 100}), None),
        (Fact::Parameters, json!("query"), None),
        (Fact::Parameters, json!("both"), None),
        (Fact::Parameters, json!("body"), Some("set api.parameters")),
        (Fact::ListAttempts, json!("missing"), Some("no attempts")),
        (Fact::ListAttempts, json!("shown"), None),
        (Fact::ListAml, json!("missing"), Some("no aml: every list")),
        (Fact::ListAml, json!("shown"), None),
        (Fact::ListUpdatedAt, json!("missing"), Some("no updated_at")),
        (Fact::ListUpdatedAt, json!("shown"), None),
        (Fact::AmlPages, json!("refused"), Some("is refused")),
        (Fact::AmlPages, json!("ignored"), Some("does not show it")),
        (Fact::AmlPages, json!("shown"), None),
    ] {
        let found = fact.disagreement(&value, &settings);
        assert_eq!(found.is_some(), expected.is_some(), "{fact:?} {value}");
        assert!(found.unwrap_or("").contains(expected.unwrap_or("")), "{fact:?} {value}: {found:?}");
    }
}
