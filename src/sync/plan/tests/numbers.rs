//! What comes out for some projects, in numbers, so that no rule changes unnoticed. Where a change is meant, look at each
//! number that it changes, and put the new ones here.

use super::examples::{done, hour, large};
use super::*;

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
fn p8_how_the_sweep_cuts_some_projects() {
    let cuts = |mut world: World| {
        let mut cuts = Vec::new();
        let round = world.with(sweep::round);
        for n in 0.. {
            let chunk = world.with(sweep::chunk).unwrap();
            if chunk.oldest.is_some() {
                break;
            }
            let (first, last) = chunk.days.unwrap();
            cuts.push(format!("{first} to {last}: {}", chunk.cost));
            for row in world.calendar.days.iter_mut().filter(|row| row.day <= last) {
                row.covered_at.get_or_insert(world.now + TimeDelta::seconds(n));
            }
        }
        format!("{} in {}, {} at most", round.requests, cuts.join(", "), round.longest)
    };
    let bursts: Vec<u64> = (0..200).map(|n| if n % 7 == 0 { 2_000 } else { 3 }).collect();
    let uneven: Vec<u64> = (0..150).map(|n| (n * 37) % 101 + 20).collect();
    let mut since = World::new(&uneven, 0, 10_000, 50);
    since.poll.since = Some(date("2025-12-01"));
    since.filter = Filter::Created { before: 0, after: 1 };
    let found = [
        cuts(World::new(&[250; 130], 0, 10_000, 100)),
        cuts(World::new(&[1; 300], 0, 10_000, 100)),
        cuts(World::new(&bursts, 0, 10_000, 100)),
        cuts(World::new(&uneven, 0, 10_000, 50)),
        cuts(since),
    ];
    assert_eq!(found.join("\n"), CUTS.trim());
}

const CUTS: &str = "
328 in 2000-01-01 to 2025-12-01: 103, 2025-12-02 to 2026-01-10: 105, 2026-01-11 to 2026-02-25: 120, 120 at most
3 in 2000-01-01 to 2026-02-25: 3, 3 at most
608 in 2000-01-01 to 2025-09-22: 122, 2025-09-23 to 2025-11-01: 122, 2025-11-02 to 2025-12-11: 122, 2025-12-12 to 2026-02-25: 242, 242 at most
215 in 2000-01-01 to 2025-11-11: 58, 2025-11-12 to 2025-12-21: 59, 2025-12-22 to 2026-02-02: 63, 2026-02-03 to 2026-02-25: 35, 63 at most
124 in 2025-12-01 to 2026-01-09: 58, 2026-01-10 to 2026-02-25: 66, 66 at most
";

#[test]
fn p8_when_the_next_request_of_the_sweep_and_of_single_submissions_is_due() {
    let mut world = large(100_000);
    world.now = hour("18:00:00");
    let days = Target::Days(Some((date("2025-03-01"), date("2025-04-30"))));
    let errand = Errand { lane: Lane::Sweep, target: days };
    let ago = |seconds| hour("18:00:00") - TimeDelta::seconds(seconds);
    let at = |world: &World, ask: fn(&Situation<'_>, &Forecast) -> Option<lanes::Candidate>| {
        let due = world.with(|situation| ask(situation, &forecast(situation)).unwrap().at);
        seconds(world.now, due)
    };
    let mut found = Vec::new();
    // A walk in progress, with ever less left of the day.
    let running = |requests| Some(Running { errand, started_at: ago(100), requests });
    for (requests, used) in [(7, 0), (7, 40_000), (7, 97_000), (7, 99_000), (100, 99_000), (150, 99_950)] {
        world.used = used;
        let progress = Progress { running: running(requests), requests, ..done(ago(1)) };
        world.ledger.lanes.insert(Lane::Sweep, Progress { begun_at: Some(ago(100)), ..progress });
        found.push(format!("{requests} read, {used} used: {:.2}", at(&world, lanes::sweep)));
    }
    // None in progress: a little late, late, very late.
    world.used = 0;
    for (covered, begun) in [(3_000, 100), (3_600, 100), (3_900, 100), (3_900, 20), (5_000, 20)] {
        world.calendar.days.iter_mut().for_each(|row| row.covered_at = Some(ago(covered)));
        let progress = Progress { begun_at: Some(ago(begun)), requests: 120, ..done(ago(1)) };
        world.ledger.lanes.insert(Lane::Sweep, progress);
        found.push(format!("read {covered} s ago, begun {begun} s ago: {:.2}", at(&world, lanes::sweep)));
    }
    // Refreshes: a few go at once, many keep to their part.
    let asked = Progress { requests: 3, ..done(ago(1)) };
    world.ledger.lanes.insert(Lane::Confirm, asked);
    for (refresh, used) in [(10, 99_900), (11, 99_900), (1_000, 0), (1_001, 0)] {
        (world.refresh, world.used) = (refresh, used);
        found.push(format!("{refresh} wait, {used} used: {:.2}", at(&world, |it, by| lanes::single(it, by, true))));
    }
    assert_eq!(found.join("\n"), DUE.trim());
}

const DUE: &str = "
7 read, 0 used: -0.64
7 read, 40000 used: -0.64
7 read, 97000 used: 6.39
7 read, 99000 used: 1412.00
100 read, 99000 used: 21.17
150 read, 99950 used: 647900.00
read 3000 s ago, begun 100 s ago: 316.18
read 3600 s ago, begun 100 s ago: 4.05
read 3900 s ago, begun 100 s ago: 4.05
read 3900 s ago, begun 20 s ago: 84.05
read 5000 s ago, begun 20 s ago: 396.18
10 wait, 99900 used: 0.00
11 wait, 99900 used: 32399.00
1000 wait, 0 used: 0.00
1001 wait, 0 used: 5.89
";
