//! The rules in words, one at a time.

use super::*;

pub(super) fn hour(text: &str) -> Timestamp {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

/// 400 days of 250 submissions: 100,000, none open.
pub(super) fn large(per_day: u64) -> World {
    World::new(&[250; 400], 0, per_day, 100)
}

fn running(errand: Errand, started_at: Timestamp, requests: u64) -> Progress {
    let running = Some(Running { errand, started_at, requests });
    Progress { running, requests, ..done(started_at) }
}

pub(super) fn done(at: Timestamp) -> Progress {
    Progress { begun_at: Some(at), asked_at: Some(at), requests: 1, ..Progress::default() }
}

fn lane(world: &World) -> Option<Lane> {
    match world.with(next) {
        Next::Do(errand) => Some(errand.lane),
        Next::Wait(_) => None,
    }
}

#[test]
fn hot_comes_first_and_a_walk_of_the_sweep_goes_on_after_it() {
    let mut world = large(100_000);
    let hot = Errand { lane: Lane::Hot, target: Target::Days(Some((date("2026-02-26"), date("2026-03-01")))) };
    assert_eq!(world.with(next), Next::Do(hot));
    let sweep = Errand { lane: Lane::Sweep, target: Target::Days(Some((date("2025-03-01"), date("2025-04-30")))) };
    world.now = hour("00:10:00");
    world.ledger.lanes.insert(Lane::Sweep, running(sweep, hour("00:05:00"), 7));
    world.ledger.lanes.insert(Lane::Hot, done(hour("00:09:30.5")));
    assert_eq!(world.with(next), Next::Do(sweep), "hot is due in half a second");
    world.now = hour("00:10:00.5");
    world.ledger.lanes.get_mut(&Lane::Hot).unwrap().passed_over = 1;
    assert_eq!(world.with(next), Next::Do(hot));
    world.ledger.lanes.insert(Lane::Hot, done(world.now));
    assert_eq!(world.with(next), Next::Do(sweep));
}

#[test]
fn who_was_passed_over_nine_times_gets_the_next_request() {
    let mut world = large(100_000);
    world.now = hour("01:00:00");
    let hot = Errand { lane: Lane::Hot, target: Target::Days(Some((date("2026-02-26"), date("2026-03-01")))) };
    let sweep = Errand { lane: Lane::Sweep, target: Target::Days(Some((date("2025-03-01"), date("2025-04-30")))) };
    world.ledger.lanes.insert(Lane::Hot, running(hot, hour("00:59:00"), 7));
    world.ledger.lanes.insert(Lane::Sweep, running(sweep, hour("00:05:00"), 7));
    for (passed_over, expected) in [(8, Lane::Hot), (9, Lane::Sweep), (30, Lane::Sweep)] {
        world.ledger.lanes.get_mut(&Lane::Sweep).unwrap().passed_over = passed_over;
        assert_eq!(lane(&world), Some(expected), "{passed_over}");
    }
    world.ledger.lanes.get_mut(&Lane::Hot).unwrap().passed_over = 1;
    assert_eq!(lane(&world), Some(Lane::Hot), "hot has just waited for a page");
}

#[test]
fn a_single_submission_goes_before_older_days_unless_it_had_the_last_request() {
    let mut world = large(100_000);
    world.now = hour("00:10:00");
    world.refresh = 1;
    let sweep = Errand { lane: Lane::Sweep, target: Target::Days(Some((date("2025-03-01"), date("2025-04-30")))) };
    world.ledger.lanes.insert(Lane::Hot, done(hour("00:09:59")));
    world.ledger.lanes.insert(Lane::Sweep, running(sweep, hour("00:05:00"), 7));
    assert_eq!(lane(&world), Some(Lane::Refresh));
    world.ledger.sent(Errand { lane: Lane::Refresh, target: Target::Queue }, hour("00:09:59"));
    assert_eq!(lane(&world), Some(Lane::Sweep));
}

#[test]
fn to_learn_whom_a_list_shows_takes_no_screenings() {
    let mut world = large(100_000);
    world.phases = 2;
    let day = (date("2026-02-01"), date("2026-02-01"));
    let cost = |lane| world.with(|situation| situation.cost(Errand { lane, target: Target::Days(Some(day)) }));
    assert_eq!((cost(Lane::Sweep), cost(Lane::Verify)), (16, 8), "750 submissions of three days");
}

#[test]
fn p8_requests_of_a_lane_are_as_far_apart_as_its_part_of_the_day_says() {
    let mut world = World::new(&[100; 100], 3, 1_000, 100);
    world.calendar.days[40].verify = true;
    let forecast = world.forecast();
    let day = 86_400.0;
    let paces = [(Lane::Hot, forecast.hot), (Lane::Open, forecast.open), (Lane::Verify, forecast.verify)];
    for (lane, share) in paces.into_iter().chain(forecast.sweep.map(|sweep| (Lane::Sweep, sweep))) {
        assert!(share.granted > 1.0);
        assert_eq!(forecast.pace(lane), day / share.granted, "{lane:?}");
    }
    assert_eq!(forecast.pace(Lane::Refresh), 1.0);
    assert_eq!((forecast.spare, forecast.verify_gap()), (0.0, day / forecast.verify.granted));
    assert_eq!(forecast.single_gap(), day / forecast.single);
    assert_eq!(forecast.open_gap(), day / (1.5 * forecast.open.granted));
    world.import = Some(None);
    let forecast = world.forecast();
    assert_eq!(forecast.pace(Lane::Backfill), day / forecast.backfill.unwrap().granted);
    (world.import, world.per_day) = (None, 100_000);
    world.poll.interval = HOUR;
    let forecast = world.forecast();
    assert!(forecast.spare > 10_000.0);
    assert_eq!(forecast.verify_gap(), day / (forecast.verify.granted + forecast.spare));
    assert_eq!(forecast.single_gap(), day / (forecast.single + forecast.spare));
    assert_eq!(forecast.pace(Lane::Hot), day / forecast.hot.granted);
    assert!((budget::reserved(880.0) - 1_050.0).abs() < 1e-6, "a twentieth more, and what the floors need");
}

#[test]
fn an_import_takes_the_time_that_the_others_leave_it() {
    let mut world = World::new(&[5_000; 100], 5, 1_000_000, 100);
    (world.import, world.poll.interval) = (Some(None), 20 * MINUTE);
    let forecast = world.forecast();
    let import = forecast.backfill.unwrap();
    // Requests are no quicker than one a second, however many there are.
    let others = forecast.hot.granted + forecast.open.granted + forecast.single + forecast.probe;
    let expected = import.round as f64 / (1.0 - others / 86_400.0);
    assert!(forecast.open.granted > 100.0 && import.granted > 86_400.0);
    assert!((import.seen_within.as_secs_f64() - expected).abs() < 1e-3, "{import:?}, not {expected}");
}

#[test]
fn what_a_lane_did_bounds_what_it_does_next() {
    let now = hour("12:00:00");
    let (hot, sweep) = (Errand { lane: Lane::Hot, target: Target::Days(None) }, Lane::Sweep);
    let mut ledger = Ledger::default();
    ledger.sent(hot, now);
    ledger.goes_on(Running { errand: hot, started_at: now, requests: 1 });
    ledger.failed(sweep, now);
    assert_eq!(ledger.lanes[&sweep].not_before, Some(hour("12:01:00")), "it rests for a minute");
    assert!(ledger.running(Lane::Hot).is_some());
    ledger.all_given_up();
    assert!(ledger.running(Lane::Hot).is_none());
    ledger.not_after(hour("12:00:30"));
    assert_eq!(
        (ledger.lanes[&Lane::Hot].asked_at, ledger.lanes[&sweep].not_before),
        (Some(now), Some(hour("12:01:00")))
    );
    ledger.ended(Running { errand: hot, started_at: now, requests: 0 });
    assert_eq!(ledger.lanes[&Lane::Hot].requests, 1, "one that failed at once took a request");
    // The clock goes back.
    let now = hour("11:00:00");
    ledger.not_after(now);
    let progress = ledger.lanes[&Lane::Hot];
    assert_eq!((progress.begun_at, progress.asked_at), (Some(now), Some(now)));
    assert_eq!(ledger.lanes[&sweep].not_before, Some(hour("11:01:00")));
}

#[test]
fn marked_days_in_a_row_are_one_walk_of_25_pages_at_most() {
    let mut world = World::new(&[50; 30], 0, 100_000, 10);
    let last = world.calendar.days.len() - 1;
    world.calendar.days[10..17].iter_mut().for_each(|row| row.verify = true);
    world.calendar.days[last].verify = true;
    let walks: Vec<_> = world.with(verify::walks).into_iter().flatten().collect();
    let day = |n: usize| world.calendar.days[n].day;
    assert_eq!(walks, [(day(10), day(14)), (day(15), day(16)), (day(last), day(last))]);
}

#[test]
fn an_open_day_is_due_by_its_interval_stretched_to_the_budget() {
    let mut world = World::new(&[100; 100], 2, 1_000, 100);
    (world.poll.interval, world.poll.open_interval, world.poll.sweep_interval) = (5 * MINUTE, 2 * HOUR, 6 * HOUR);
    world.now = hour("12:00:00");
    let looked = world.now - TimeDelta::hours(1);
    world.calendar.days.iter_mut().for_each(|row| row.open_checked_at = Some(looked));
    let (due, forecast) = (world.with(|situation| open_due(situation, &forecast(situation))), world.forecast());
    assert!(forecast.open_stretch > 2.0);
    assert_eq!(due, Some(after(looked, 7_200.0 * forecast.open_stretch)), "that of days that are not old");
    let oldest = world.calendar.days.iter_mut().find(|row| row.day == date("2026-02-20")).unwrap();
    oldest.open_checked_at = Some(looked - TimeDelta::days(3));
    world.ledger.lanes.insert(Lane::Hot, done(world.now));
    world.ledger.lanes.insert(Lane::Sweep, done(world.now));
    let errand = Errand { lane: Lane::Open, target: Target::OpenIds(date("2026-02-20")) };
    assert_eq!(world.with(next), Next::Do(errand));
}

#[test]
fn the_day_of_an_import_and_of_a_budget_end_with_utc() {
    let now = hour("18:30:00");
    assert_eq!(until_midnight(now), 5 * HOUR + 30 * MINUTE);
    assert_eq!(until_midnight(hour("00:00:00")), 24 * HOUR);
    let days = |from, to: Option<&str>| import_days(Some(Import::Days { from: date(from), to: to.map(date) }), now);
    assert_eq!(days("2026-02-01", None), Some((date("2026-02-01"), date("2026-03-01"))));
    assert_eq!(days("2026-02-01", Some("2026-02-03")), Some((date("2026-02-01"), date("2026-02-03"))));
    assert_eq!(days("2026-02-05", Some("2026-02-03")), Some((date("2026-02-03"), date("2026-02-03"))));
    assert_eq!((import_days(Some(Import::All), now), import_days(None, now)), (None, None));
}

#[test]
fn a_page_is_as_large_as_was_measured_but_not_larger_than_asked_for() {
    let found =
        [(None, 100), (Some(49.6), 100), (Some(120.0), 100), (Some(0.2), 100), (None, 0)].map(|(m, n)| page(m, n));
    assert_eq!(found, [100, 50, 100, 1, 1]);
}

#[test]
fn nothing_is_asked_before_it_is_due_or_when_the_day_is_spent() {
    let mut world = World::new(&[3; 30], 0, 1000, 100);
    world.poll.interval = HOUR * 3;
    world.now = hour("10:00:00");
    world.ledger.lanes.insert(Lane::Hot, done(hour("09:00:00")));
    world.ledger.lanes.insert(Lane::Sweep, done(hour("09:59:00")));
    assert_eq!(world.with(next), Next::Wait(hour("10:59:00")), "the sweep of one page an hour");
    world.ledger.lanes.insert(Lane::Sweep, done(hour("09:00:00")));
    assert_eq!(lane(&world), Some(Lane::Sweep));
    world.used = 1000;
    assert_eq!(
        world.with(next),
        Next::Wait(hour("10:01:00")),
        "whether the next day has come is looked at every minute"
    );
    world.now = hour("23:59:40");
    assert_eq!(world.with(next), Next::Wait(date("2026-03-02").and_time(NaiveTime::MIN).and_utc()));
}

#[test]
fn p8_a_sweep_of_100_000_keeps_its_cost_and_its_pace() {
    let mut world = large(100_000);
    let sweep = world.forecast().sweep.unwrap();
    assert!(sweep.round <= 1_100, "{sweep:?}");
    assert_eq!((sweep.every, sweep.short), (HOUR, false));
    let (submissions, rate) = (100_000.0, sweep.round as f64 / 3600.0);
    assert!(sweep.seen_within.as_secs_f64() <= 1.1 * submissions / (100.0 * rate) + 30.0);
    world.settle();
    let before = world.requests(Lane::Sweep);
    world.run_for(HOUR);
    let requests = world.requests(Lane::Sweep) - before;
    assert!(requests.abs_diff(sweep.round as usize) < 60, "{requests} of {}", sweep.round);
    assert!(world.longest > HOUR * 9 / 10 && world.longest < HOUR * 11 / 10, "{:?}", world.longest);
    // What is not the sweep's are rounds of the hot lane: 13 pages every 30 seconds, none left out.
    let rounds =
        world.sent.iter().filter(|(at, errand)| errand.lane == Lane::Hot && *at > world.now - TimeDelta::hours(1));
    assert!(rounds.count().abs_diff(13 * 120) <= 13);
}

#[test]
fn p8_when_the_budget_shrinks_the_sweep_slows_first_then_open_then_hot() {
    let mut world = World::new(&[250; 400], 30, 0, 20);
    world.poll.sweep_interval = 24 * HOUR;
    world.poll.interval = 10 * MINUTE;
    let at = |per_day| {
        let mut world = world.clone();
        world.per_day = per_day;
        let forecast = world.forecast();
        (forecast.sweep.unwrap().short, forecast.open.short, forecast.hot.short)
    };
    let mut seen: Vec<_> = (1..300).rev().map(|hundreds| at(hundreds * 100)).collect();
    seen.dedup();
    let expected = [(false, false, false), (true, false, false), (true, true, false), (true, true, true)];
    assert_eq!(seen, expected);
}

#[test]
fn an_open_day_is_walked_or_asked_for_by_id_whichever_takes_fewer_requests() {
    let mut world = World::new(&[150; 10], 4, 100_000, 100);
    world.poll.sweep_interval = 48 * HOUR;
    let target = |world: &World, day: &str| {
        let days = world.with(open::days);
        days.into_iter().map(|found| found.target).find(|target| match target {
            Target::Days(Some((first, _))) | Target::OpenIds(first) => *first == date(day),
            _ => false,
        })
    };
    let (day, walk) = (date("2026-02-24"), Target::Days(Some((date("2026-02-24"), date("2026-02-24")))));
    assert_eq!(target(&world, "2026-02-24"), Some(Target::OpenIds(day)), "4 of them, against 5 pages of 3 days");
    world.page = 150;
    assert_eq!(target(&world, "2026-02-24"), Some(walk), "3 pages");
    world.page = 120;
    assert_eq!(target(&world, "2026-02-24"), Some(walk), "4 pages: then the walk, which covers the day");
    world.filter = Filter::Updated;
    assert_eq!(target(&world, "2026-02-24"), Some(Target::OpenIds(day)), "no walk finds this day");
    assert_eq!(target(&world, "2026-02-26"), None, "the hot lane's");
}

#[test]
fn open_days_are_looked_at_less_often_with_age_and_at_last_by_the_sweep_alone() {
    let mut world = World::new(&[20; 400], 1, 2_000, 100);
    world.poll.interval = 10 * MINUTE;
    world.poll.sweep_interval = 24 * HOUR;
    let forecast = world.forecast();
    let every: Vec<_> =
        forecast.ages.iter().map(|age| (age.days, age.every.map(|every| every.as_secs() / 60))).collect();
    assert_eq!(every, [(4, Some(72)), (30, Some(446)), (300, None)]);
    world.poll.sweep_interval = HOUR;
    world.per_day = 100_000;
    assert!(world.forecast().ages.iter().all(|age| age.every.is_none()), "the sweep comes by every hour");
}

#[test]
fn walks_of_the_sweep_begin_with_the_oldest_and_leave_no_small_rest() {
    let days = |world: &World| world.with(sweep::chunk).unwrap().days.unwrap();
    let mut world = World::new(&[100; 100], 0, 10_000, 100);
    assert_eq!(days(&world), (date("2000-01-01"), date("2025-12-31")), "40 of 97 days, and all before");
    world.poll.since = Some(date("2025-12-01"));
    assert_eq!(days(&world), (date("2025-12-01"), date("2026-01-09")));
    for row in &mut world.calendar.days {
        row.covered_at =
            Some(if row.day < date("2026-01-10") { world.now } else { hour("00:00:00") - TimeDelta::hours(2) });
    }
    assert_eq!(days(&world), (date("2026-01-10"), date("2026-02-25")), "the 7 days that would be left go along");
    world.filter = Filter::Ignored;
    assert_eq!(world.with(sweep::chunk).unwrap().days, None);
    assert_eq!(world.with(next), Next::Do(Errand { lane: Lane::Hot, target: Target::Days(None) }));
    assert_eq!(world.forecast().hot.round, 100);
}

#[test]
fn single_submissions_come_in_between_but_not_twice_in_a_row() {
    let mut world = large(100_000);
    world.refresh = 5;
    world.run(9);
    let lanes: Vec<_> = world.sent.iter().map(|(_, errand)| errand.lane).collect();
    assert_eq!(lanes[0], Lane::Hot, "{lanes:?}");
    assert!(lanes.windows(2).all(|two| two[0] == Lane::Hot || two[1] == Lane::Hot), "{lanes:?}");
    world.run(20);
    assert_eq!((world.refresh, world.requests(Lane::Refresh)), (0, 5));
    world.confirm_at = Some(world.now + TimeDelta::seconds(7));
    world.run_for(8 * Duration::from_secs(1));
    assert_eq!(world.requests(Lane::Confirm), 1);
}

#[test]
fn p8_an_import_takes_what_hot_does_not_need_and_no_more() {
    let mut world = World::new(&[5_000; 100], 0, 3_000, 100);
    world.poll.interval = HOUR;
    world.import = Some(None);
    world.run_for(HOUR);
    let taken = world.requests(Lane::Backfill);
    // Of 3,000, hot needs 24 times 250 pages: it is short, and the import has its tenth.
    assert!((10..=20).contains(&taken), "{taken}");
    world.per_day = 100_000;
    let before = world.requests(Lane::Backfill);
    world.run_for(HOUR);
    assert!(world.import.is_none() && world.requests(Lane::Backfill) - before > 4_900);
}

#[test]
fn a_walk_is_stale_after_three_times_what_it_should_take() {
    let world = large(100_000);
    let stale = |lane, requests, age| {
        let errand = Errand { lane, target: Target::Days(None) };
        let running = Running { errand, started_at: world.now - age, requests };
        world.with(|situation| stale(&running, situation))
    };
    assert!(!stale(Lane::Hot, 3, TimeDelta::minutes(10)));
    assert!(stale(Lane::Sweep, 3, TimeDelta::hours(4)));
    assert!(!stale(Lane::Sweep, 3, TimeDelta::minutes(170)));
    // Longer than the calendar knew of: a first import.
    assert!(!stale(Lane::Sweep, 3_000, TimeDelta::hours(4)));
    let pace = world.forecast().pace(Lane::Sweep);
    let allowed = TimeDelta::milliseconds((3.0 * pace * 3_001.0 * 1e3) as i64);
    assert!(!stale(Lane::Sweep, 3_000, allowed - TimeDelta::seconds(1)), "what it read, and the next request");
    assert!(stale(Lane::Sweep, 3_000, allowed + TimeDelta::seconds(1)));
    let hot = Errand { lane: Lane::Hot, target: Target::Days(Some((date("2026-02-26"), date("2026-03-01")))) };
    let short = |age| {
        let running = Running { errand: hot, started_at: world.now - age, requests: 3 };
        world.with(|situation| super::stale(&running, situation))
    };
    assert!(!short(TimeDelta::minutes(10)) && short(TimeDelta::seconds(601)), "ten minutes at the least");
    assert!(!stale(Lane::Backfill, 3, TimeDelta::seconds(-60)) && stale(Lane::Backfill, 3, TimeDelta::seconds(-61)));
    // It began before the clock went back: nothing is to be covered as of then.
    assert!(stale(Lane::Backfill, 3, TimeDelta::hours(-4)) && !stale(Lane::Backfill, 3, TimeDelta::seconds(-4)));
}

#[test]
fn days_that_missed_somebody_are_walked_again_a_minute_apart() {
    let mut world = World::new(&[10; 30], 0, 100_000, 100);
    for day in ["2026-02-10", "2026-02-11", "2026-02-20"] {
        let at = world.calendar.days.iter().position(|row| row.day == date(day)).unwrap();
        world.calendar.days[at].verify = true;
    }
    world.run_for(3 * MINUTE);
    let verified: Vec<_> = world.sent.iter().filter(|(_, errand)| errand.lane == Lane::Verify).collect();
    let targets: Vec<_> = verified.iter().map(|(_, errand)| errand.target).collect();
    let days = |first, last| Target::Days(Some((date(first), date(last))));
    assert_eq!(targets, [days("2026-02-10", "2026-02-11"), days("2026-02-20", "2026-02-20")]);
    assert!(verified[1].0 - verified[0].0 >= TimeDelta::minutes(1));
}

#[test]
fn the_example_of_the_module_is_what_comes_out() {
    let mut world = World::new(&[100; 100], 2, 0, 100);
    (world.poll.interval, world.poll.sweep_interval) = (5 * MINUTE, 6 * HOUR);
    let budgets = [5_000, 2_200, 1_000].map(|per_day| {
        world.per_day = per_day;
        world.forecast()
    });
    let minutes = |share: Share| share.every.as_secs() / 60;
    let row = |name: &str, share: &dyn Fn(&Forecast) -> Share| {
        let first = share(&budgets[0]);
        let given = budgets
            .each_ref()
            .map(|forecast| format!("{:5.0}, {:4} min", share(forecast).granted, minutes(share(forecast))));
        format!("//! {name:8} {:4} {:6.0}   {}", first.round, first.need, given.join("   "))
    };
    let plain = |name: &str, value: &dyn Fn(&Forecast) -> f64| {
        let given = budgets.each_ref().map(|forecast| format!("{:5.0}          ", value(forecast)));
        format!("//! {name:8}               {}", given.join("   ")).trim_end().to_owned()
    };
    let rows = [
        row("hot", &|forecast| forecast.hot),
        row("open", &|forecast| forecast.open),
        row("sweep", &|forecast| forecast.sweep.unwrap()),
        plain("single", &|forecast| forecast.single),
        plain("probe", &|forecast| forecast.probe),
        plain("spare", &|forecast| forecast.spare),
    ];
    let module = include_str!("../../plan.rs");
    assert!(
        rows.iter().all(|row| module.contains(&format!("{row}\n"))),
        "plan.rs shows something else:\n{}",
        rows.join("\n")
    );
}
