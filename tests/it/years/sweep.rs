//! What it costs to read everything again when nothing has changed.

use std::time::Instant;

use argos_sync::clock::Timestamp;
use argos_sync::domain::lane::Lane;
use argos_sync::simulator::Served;
use chrono::{Days, NaiveDate, TimeDelta};

use super::{AGE, Years, full_size, long, options};
use crate::support::rows::{counter, written};

/// Days of the look-back.
const LOOKBACK: u64 = 3;

/// A page of the hot lane: no other asks for today.
fn is_hot(served: &Served, today: NaiveDate) -> bool {
    [today, today + Days::new(1)].iter().any(|day| served.query.contains(&format!("end_date={day}")))
}

/// The first page of its walk.
fn begins_hot(served: &Served, today: NaiveDate) -> bool {
    is_hot(served, today) && !served.query.contains("nextpage_id")
}

/// From one walk of the hot lane to the next.
struct Wait<'a> {
    /// From the first request of the one to that of the other.
    took: TimeDelta,
    /// Requests of others in between.
    others: usize,
    /// Those of them that came when the next walk was due.
    late: Vec<&'a Served>,
}

/// All such waits; a walk is due so long after the last one began.
fn waits(requests: &[Served], every: TimeDelta) -> Vec<Wait<'_>> {
    let today = |served: &Served| served.at.date_naive();
    let begins: Vec<Timestamp> =
        requests.iter().filter(|served| begins_hot(served, today(served))).map(|served| served.at).collect();
    let between = |from: Timestamp, to: Timestamp| {
        let others = requests.iter().filter(move |served| served.at >= from && served.at < to);
        others.filter(move |served| !is_hot(served, today(served)))
    };
    let wait = |from, to| Wait {
        took: to - from,
        others: between(from, to).count(),
        late: between(from + every, to).collect(),
    };
    begins.windows(2).map(|pair| wait(pair[0], pair[1])).collect()
}

#[tokio::test]
async fn p1_p2_p8_a_sweep_of_what_did_not_change_costs_its_pages_writes_nothing_and_never_delays_the_hot_lane() {
    let (n, page) = (full_size().map_or(3_000, |size| 2 * size), 100);
    // A round takes an hour and the hot lane is due every twenty seconds, so that it is due in the middle of every walk.
    let settings = [
        ("poll.interval", "20s"),
        ("poll.open_interval", "30d"),
        ("poll.sweep_interval", "1h"),
        ("poll.canary_interval", "30d"),
    ];
    let settings = if full_size().is_some() {
        [("poll.interval", "60s"), settings[1], ("poll.sweep_interval", "3h"), settings[3]]
    } else {
        settings
    };
    let mut years = Years::new(options(n, AGE), &settings).await;
    years.request = TimeDelta::seconds(1);
    years.world.simulator.freeze();
    let clock = Instant::now();
    years.import().await;
    println!("sweep: imported, {:.0?}", clock.elapsed());
    // Whatever was written for the first time is written.
    let mut ends = 0;
    while ends < 1 {
        let report = years.turn(Timestamp::MAX_UTC).await;
        ends += usize::from(report.is_some_and(|report| report.lane == Lane::Sweep));
    }
    let (before, began) = (written(years.database()).await, years.now());
    let asked = years.world.simulator.requests().len();
    let forecast = years.engine.forecast().await.unwrap();

    // Until each day of the sweep was read again.
    let first_hot = began.date_naive() - Days::new(LOOKBACK);
    let unread = format!(
        "select count(*) from argos.created_days
          where submissions > 0 and day < '{first_hot}' and (covered_at is null or covered_at < '{began}')"
    );
    let (mut pages, mut walks) = (0, 0);
    while years.database().number(&unread).await > 0 {
        loop {
            let report = years.turn(Timestamp::MAX_UTC).await;
            if let Some(report) = report.filter(|report| report.lane == Lane::Sweep) {
                assert!(report.complete);
                pages += report.pages;
                walks += 1;
                println!("sweep: {pages} pages in {walks} walks, {:.0?}", clock.elapsed());
                break;
            }
        }
        assert!(years.now() - began < long(2 * forecast.sweep.unwrap().seen_within), "a round ends");
    }
    let allowed = 1.1 * n.div_ceil(page) as f64 + 1.0;
    println!("sweep: {n} submissions, {pages} pages in {walks} walks, allowed: {allowed}, {:?}", years.now() - began);
    assert!(pages as f64 <= allowed, "{pages} > {allowed}");
    assert!(
        pages as f64 >= (n as f64) * (AGE - LOOKBACK - 2) as f64 / AGE as f64 / page as f64,
        "it was all read: {pages}"
    );
    assert!(years.now() - began <= long(forecast.sweep.unwrap().seen_within), "and in time");
    assert_eq!(written(years.database()).await, before, "nothing is written");
    assert_eq!(counter(years.database(), "submissions").await, n as i64);

    let requests = &years.world.simulator.requests()[asked..];
    let waits = waits(requests, long(forecast.hot.every));
    let most = waits.iter().map(|wait| wait.others).max().unwrap();
    let longest = waits.iter().map(|wait| wait.took).max().unwrap();
    println!("sweep: {} walks of the hot lane, at most {most} requests of others between two, {longest}", waits.len());
    for wait in &waits {
        assert!(wait.late.len() <= 1, "the hot lane waits for one page at the most: {:#?}", wait.late);
        assert!(wait.took <= long(forecast.hot.every) + years.request * 2, "and for nothing else: {}", wait.took);
    }
    assert!(most >= 2 && waits.len() > 60, "walks of the sweep were interrupted: {most}, {}", waits.len());
}
