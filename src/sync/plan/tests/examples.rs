//! The rules in words, one at a time.

use super::*;

fn hour(text: &str) -> Timestamp {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

/// 400 days of 250 submissions: 100,000, none open.
fn large(per_day: u64) -> World {
    World::new(&[250; 400], 0, per_day, 100)
}

fn running(errand: Errand, started_at: Timestamp, requests: u64) -> Progress {
    let running = Some(Running { errand, started_at, requests });
    Progress { running, requests, ..done(started_at) }
}

fn done(at: Timestamp) -> Progress {
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

/// What is stated of three projects, in numbers, so that no rule changes unnoticed.
#[test]
fn p8_what_is_stated_of_some_projects() {
    let secs = |time: Duration| format!("{:.0}", time.as_secs_f64());
    let share = |name: &str, share: Share| {
        let Share { round, need, granted, every, seen_within, short } = share;
        let (every, seen) = (secs(every), secs(seen_within));
        format!(
            "{name} {round}: {granted:.0} of {need:.0}, {every} s, seen {seen} s{}",
            if short { ", short" } else { "" }
        )
    };
    let stated = |world: &World| {
        let forecast = world.forecast();
        let mut lines = vec![share("hot", forecast.hot), share("open", forecast.open)];
        lines.extend(forecast.sweep.map(|sweep| share("sweep", sweep)));
        lines.extend(forecast.backfill.map(|import| share("import", import)));
        lines.push(share("verify", forecast.verify));
        let day =
            |age: &Age| format!("{} {} {}", age.days, age.every.map_or("-".to_owned(), secs), secs(age.seen_within));
        lines.push(format!("ages {}", forecast.ages.iter().map(day).collect::<Vec<_>>().join(", ")));
        let deletion = forecast.deletion(forecast.hot.seen_within, 6 * HOUR);
        lines.push(format!(
            "deletion {} {} {}, confirmed {}, listed {}",
            secs(deletion.suspected_within),
            secs(deletion.carried_out_within),
            secs(deletion.with_lists_within),
            secs(forecast.confirm_within),
            secs(forecast.listed_within)
        ));
        lines.push(format!(
            "single {:.0}, probe {:.0}, spare {:.0} of {:.0}; open {:.2} times, {} s",
            forecast.single,
            forecast.probe,
            forecast.spare,
            forecast.budget,
            forecast.open_stretch,
            secs(forecast.open_wait)
        ));
        lines
    };
    let mut all = Vec::new();
    let mut world = World::new(&[100; 100], 2, 5_000, 100);
    (world.poll.interval, world.poll.sweep_interval) = (5 * MINUTE, 6 * HOUR);
    all.push(stated(&world).join("\n"));
    world.per_day = 1_000;
    all.push(stated(&world).join("\n"));
    let mut large = large(20_000);
    (large.poll.interval, large.phases, large.import) = (5 * MINUTE, 2, Some(None));
    large.calendar.days[100].verify = true;
    all.push(stated(&large).join("\n"));
    (large.import, large.filter) = (None, Filter::Updated);
    all.push(stated(&large).join("\n"));
    large.filter = Filter::Ignored;
    (large.now, large.used) = (hour("18:00:00"), 18_000);
    all.push(stated(&large).join("\n"));
    assert_eq!(all.join("\n\n"), STATED.trim());
}

const STATED: &str = "
hot 5: 1440 of 1440, 300 s, seen 307 s
open 44: 397 of 397, 4320 s, seen 5513 s
sweep 99: 396 of 396, 21600 s, seen 24278 s
verify 0: 0 of 0, 60 s, seen 695 s
ages 4 4320 5513, 30 - 24278
deletion 1002 22873 27303, confirmed 135, listed 695
single 100, probe 9, spare 2658 of 5000; open 1.00 times, 113 s

hot 5: 771 of 1440, 560 s, seen 651 s, short
open 192: 100 of 669, 28893 s, seen 38427 s, short
sweep 99: 100 of 396, 85536 s, seen 145366 s, short
verify 0: 0 of 0, 60 s, seen 3080 s
ages 4 28893 38427, 30 179134 145366
deletion 3731 59911 83881, confirmed 17290, listed 3080
single 20, probe 9, spare 0 of 1000; open 6.69 times, 2311 s

hot 26: 7488 of 7488, 300 s, seen 330 s
open 0: 0 of 0, 4320 s, seen 3155760000 s
import 2000: 10103 of 20000, 17104 s, seen 17104 s
verify 8: 2000 of 2000, 60 s, seen 561 s
ages 4 4320 3155760000, 30 26784 3155760000, 300 260064 3155760000
deletion 891 24239 29275, confirmed 874, listed 561
single 400, probe 9, spare 0 of 20000; open 1.00 times, 3155760000 s

hot 20: 5760 of 5760, 300 s, seen 324 s
open 0: 0 of 0, 4320 s, seen 30972 s
sweep 2000: 11831 of 48000, 14606 s, seen 30972 s, short
verify 1000: 2000 of 2000, 60 s, seen 62740 s
ages 4 4320 30972, 30 - 30972, 300 - 30972
deletion 63064 86412 121858, confirmed 874, listed 30972
single 400, probe 9, spare 0 of 20000; open 1.00 times, 3155760000 s

hot 2000: 6231 of 576000, 27732 s, seen 34116 s, short
open 0: 0 of 0, 4320 s, seen 453900 s
sweep 2000: 800 of 48000, 216000 s, seen 453900 s, short
verify 1000: 800 of 800, 60 s, seen 137260 s
ages 4 4320 453900, 30 26784 453900, 300 - 453900
deletion 171376 197316 237202, confirmed 2170, listed 34116
single 160, probe 9, spare 0 of 8000; open 1.00 times, 3155760000 s
";

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
