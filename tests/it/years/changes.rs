//! Old submissions change, are blanked and vanish: each is seen within the time that the plan stated when it happened.
//!
//! The first test has all submissions of the full size. The variants, in which the vendor has one of its ways that no
//! document rules out, have a fifth of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use argos_sync::clock::Timestamp;
use argos_sync::simulator::{Faults, Options, Order};
use argos_sync::sync::plan::Forecast;
use chrono::{TimeDelta, Timelike};
use serde_json::{Value, json};

use super::{AGE, DAY, Years, full_size, long, options};
use crate::support::{Database, assert_valid_events, truth};

/// What happens to a submission.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// An approval is revoked; whether updated_at moves.
    Rejected(bool),
    /// Ongoing monitoring finds something.
    Flagged(bool),
    /// One that was left midway is decided after all.
    Decided(bool),
    /// Some fields are removed.
    Fields(bool),
    /// Only id, date, type of document and result are left.
    Blanked,
    /// It is no longer shown at all.
    Removed,
}

use Kind::{Blanked, Decided, Fields, Flagged, Rejected, Removed};

const KINDS: [Kind; 10] = [
    Rejected(true),
    Flagged(false),
    Decided(true),
    Fields(true),
    Blanked,
    Removed,
    Rejected(false),
    Flagged(true),
    Decided(false),
    Fields(false),
];

/// From the end of a walk that missed a submission to the suspicion: the walk of the lane verify, which `plan` gives at
/// least a tenth of the budget.
const VERIFY: TimeDelta = TimeDelta::minutes(10);

/// A change to come.
struct Due {
    at: Timestamp,
    kind: Kind,
    id: String,
    created_at: Timestamp,
}

/// One that happened.
struct Happened {
    at: Timestamp,
    kind: Kind,
    id: String,
    age: u64,
    /// The lane that is to see it, and within which time.
    lane: &'static str,
    within: TimeDelta,
    /// From the suspicion of a deletion to its end.
    confirmed_within: TimeDelta,
}

/// A scenario.
struct Scenario<'a> {
    name: &'a str,
    options: Options,
    settings: &'a [(&'a str, &'a str)],
    /// Days in which something happens.
    days: u64,
    /// How often each kind happens.
    each: usize,
    kinds: &'a [Kind],
    /// So many more submissions, all created at one moment. About half of all changes happen to them.
    equal: u64,
}

/// The moment when those of [`Scenario::equal`] were created.
fn equal_at(scenario: &Scenario<'_>, now: Timestamp) -> Timestamp {
    (now - long(scenario.options.history / 4)).with_minute(7).unwrap()
}

/// Adds them: with the results, screenings and fields of others.
fn put_equal(years: &Years, scenario: &Scenario<'_>) {
    let models = years.world.simulator.truth();
    for (n, mut item) in (0..scenario.equal).zip(models.into_iter().cycle()) {
        item["submission_id"] = json!(format!("equal-{n:05}"));
        item["created_at"] = json!(equal_at(scenario, years.now()));
        years.world.simulator.put(item);
    }
}

fn time(item: &Value) -> Timestamp {
    item["created_at"].as_str().unwrap().parse().unwrap()
}

/// Draws submissions: of this morning, open ones of all ages from 5 days on, and others of all ages from 30 days on.
fn schedule(years: &Years, scenario: &Scenario<'_>) -> Vec<Due> {
    let (mut truth, now) = (years.world.simulator.truth(), years.now());
    let total = scenario.kinds.len() * scenario.each;
    let mut dues = Vec::new();
    for n in 0..total {
        let kind = scenario.kinds[n % scenario.kinds.len()];
        let oldest = scenario.options.history.as_secs() / DAY - 10;
        let age = match (n, kind) {
            (..2, _) => 0,
            (_, Decided(_)) => 5 + n as u64 * 97 % oldest.min(60),
            _ => 30 + n as u64 * 97 % (oldest - 30),
        };
        let among_equals = scenario.equal > 0 && age > 0 && (n + n / scenario.kinds.len()) % 2 == 1;
        let wanted = if among_equals { equal_at(scenario, now) } else { now - TimeDelta::hours(24 * age as i64) };
        let fits = |item: &Value| {
            let result = item["kyc"]["result"].as_str();
            let open = matches!(result, Some("incomplete" | "pending"));
            match kind {
                Rejected(_) | Flagged(_) => result == Some("approved") && item["aml"]["currentstatus"] != "Red Flag",
                Decided(_) => open,
                Fields(_) => item["email"].is_string() && item["userid"].is_string() && !open,
                Blanked | Removed => !open,
            }
        };
        let nearest = truth.iter().enumerate().filter(|(_, item)| fits(item));
        let place = nearest.min_by_key(|(_, item)| (time(item) - wanted).abs()).unwrap().0;
        let item = truth.swap_remove(place);
        // Over all hours of the days.
        let at = now + TimeDelta::seconds((scenario.days * DAY * (2 * n as u64 + 1) / (2 * total as u64)) as i64);
        let id = item["submission_id"].as_str().unwrap().to_owned();
        dues.push(Due { at, kind, id, created_at: time(&item) });
    }
    dues
}

fn happen(years: &Years, due: &Due) {
    let simulator = &years.world.simulator;
    let (mut patch, moves) = match due.kind {
        Rejected(moves) => {
            (json!({"kyc": {"result": "rejected", "commentCode": ["other"]}, "applicant_id": null}), moves)
        }
        Flagged(moves) => (json!({"aml": {"currentstatus": "Red Flag", "risk": "High"}}), moves),
        Decided(moves) => (json!({"kyc": {"result": "rejected", "commentCode": ["timeout"]}}), moves),
        Fields(moves) => (json!({"email": null, "userid": null}), moves),
        Blanked => return simulator.blank(&due.id),
        Removed => return simulator.remove(&due.id),
    };
    if moves {
        patch["updated_at"] = json!(years.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    }
    simulator.patch(&due.id, patch);
}

/// What the plan states for a submission, now.
fn stated(forecast: &Forecast, kind: Kind, created_at: Timestamp, now: Timestamp) -> (&'static str, u64, TimeDelta) {
    let age = (now.date_naive() - created_at.date_naive()).num_days() as u64;
    let sweep = forecast.sweep.expect("the import is over").seen_within;
    let listed = forecast.ages.iter().find(|listed| listed.days >= age);
    let (lane, within) = match (kind, listed) {
        _ if age <= 2 => ("hot", forecast.hot.seen_within),
        (Decided(_), Some(listed)) if listed.every.is_some() => ("open", listed.seen_within),
        _ => ("sweep", sweep),
    };
    (lane, age, long(within))
}

async fn moment(database: &Database, sql: &str, id: &str, since: Timestamp) -> Option<Timestamp> {
    let row = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(id).bind(since).fetch_one(&database.pool).await;
    row.unwrap()
}

/// When a change was seen: the answer's time, or that of the suspicion.
async fn seen(database: &Database, happened: &Happened) -> Option<Timestamp> {
    let version =
        "select min(observed_at) from argos.submission_versions where submission_id = $1 and observed_at >= $2";
    let suspicion = "select min(noticed_at) from argos.erasure_receipts where submission_id = $1 and noticed_at >= $2";
    let sql = if matches!(happened.kind, Fields(_) | Blanked | Removed) { suspicion } else { version };
    moment(database, sql, &happened.id, happened.at).await
}

/// Lets the scenario happen; returns what did, and how long it took.
async fn live(scenario: Scenario<'_>) -> (Years, Vec<Happened>) {
    let began = Instant::now();
    let mut years = Years::new(scenario.options.clone(), scenario.settings).await;
    put_equal(&years, &scenario);
    years.import().await;
    years.until(years.now() + TimeDelta::hours(6)).await;
    let name = scenario.name;
    println!("{name}: imported with {} requests, {:.0?}", years.world.simulator.requests().len(), began.elapsed());
    let mut happened = Vec::new();
    let (start, dues) = (years.now(), schedule(&years, &scenario));
    let mut day = 0;
    for due in dues {
        years.until(due.at).await;
        if (years.now() - start).num_days() > day {
            day = (years.now() - start).num_days();
            println!("{name}: {day} of {} days, {} changes, {:.0?}", scenario.days, happened.len(), began.elapsed());
        }
        let (now, forecast) = (years.now(), years.engine.forecast().await.unwrap());
        let (lane, age, within) = stated(&forecast, due.kind, due.created_at, now);
        happen(&years, &due);
        let deletion = forecast.deletion(Duration::ZERO, years.world.app.settings.erasure.confirm_after);
        let carried_out = if due.kind == Removed { deletion.carried_out_within } else { deletion.with_lists_within };
        let confirmed_within = long(carried_out - deletion.suspected_within);
        happened.push(Happened { at: now, kind: due.kind, id: due.id, age, lane, within, confirmed_within });
    }
    // Long enough for everything to be read once more, and for what was noticed last to be confirmed.
    let forecast = years.engine.forecast().await.unwrap();
    years.world.simulator.freeze();
    let sweep = long(forecast.sweep.unwrap().seen_within);
    years.until(years.now() + sweep + VERIFY + TimeDelta::hours(7)).await;
    let requests = years.world.simulator.requests();
    let most = requests.iter().map(|served| served.items).max();
    println!(
        "{name}: {} submissions, {} requests, at most {most:?} on a page, {:.0?}; {:?}; stated: hot {:?}, open {:?}, sweep {:?}",
        years.world.simulator.truth().len(),
        requests.len(),
        began.elapsed(),
        filter(&years).await,
        forecast.hot.seen_within,
        forecast.ages,
        forecast.sweep.unwrap(),
    );
    (years, happened)
}

/// What was found out about dates.
async fn filter(years: &Years) -> Option<String> {
    years.database().text("select value #>> '{}' from argos.probes where fact = 'filter'").await
}

async fn assert_seen_in_time(years: &Years, happened: &[Happened], name: &str) {
    let mut late = Vec::new();
    let mut closest: Vec<(&str, f64)> = Vec::new();
    for change in happened {
        let what = format!("{:?} of {} at the age of {} days", change.kind, change.id, change.age);
        let Some(seen) = seen(years.database(), change).await else {
            late.push(format!("{what} was never seen ({})", change.lane));
            continue;
        };
        let mut within = change.within;
        if change.kind == Removed {
            within += VERIFY;
        }
        let took = seen - change.at;
        closest.push((change.lane, took.as_seconds_f64() / within.as_seconds_f64()));
        if took > within {
            late.push(format!("{what} was seen after {took}, stated: {within} ({})", change.lane));
        }
        if matches!(change.kind, Fields(_) | Blanked | Removed) {
            let sql =
                "select max(executed_at) from argos.erasure_receipts where submission_id = $1 and noticed_at >= $2";
            let done = moment(years.database(), sql, &change.id, change.at).await.unwrap();
            if done - seen > change.confirmed_within {
                late.push(format!("{what} was carried out {} after it was noticed", done - seen));
            }
        }
    }
    for lane in ["hot", "open", "sweep"] {
        let of: Vec<f64> = closest.iter().filter(|(of, _)| *of == lane).map(|(_, part)| *part).collect();
        println!(
            "{name}: {} seen by {lane}, at most {:.2} of what was stated",
            of.len(),
            of.iter().fold(0.0, |a: f64, b| a.max(*b))
        );
    }
    assert!(late.is_empty(), "{name}: {} of {}: {late:#?}", late.len(), happened.len());
}

/// Each deletion was carried out once, and nobody else is suspected.
async fn assert_erased(years: &Years, happened: &[Happened], name: &str) {
    let deleted = happened.iter().filter(|change| matches!(change.kind, Fields(_) | Blanked | Removed)).count();
    let database = years.database();
    assert_eq!(database.number("select count(*) from argos.erasure_receipts").await, deleted as i64, "{name}");
    assert_eq!(database.number("select count(*) from argos.erasures").await, 0, "{name}");
}

async fn assert_all_right(years: &Years, happened: &[Happened], name: &str) {
    assert_seen_in_time(years, happened, name).await;
    truth::assert_equal(years.database(), years.world.simulator.truth()).await;
    let database = years.database();
    assert_erased(years, happened, name).await;
    let raised = "select count(distinct submission_id) from argos.outbox where type = 'aml.red_flag_raised'";
    for change in happened.iter().filter(|change| matches!(change.kind, Flagged(_))) {
        let sql = format!("{raised} and submission_id = '{}'", change.id);
        assert_eq!(database.number(&sql).await, 1, "{name}: {}", change.id);
    }
    assert_valid_events(&database.pool).await;
}

/// A budget that is ample, and lanes that are slow enough for a test: it is the relation that counts.
const PACE: [(&str, &str); 4] = [
    ("poll.interval", "3h"),
    ("poll.open_interval", "2h"),
    ("poll.sweep_interval", "20h"),
    ("poll.canary_interval", "10h"),
];

#[tokio::test]
async fn p1_p13_every_change_at_any_age_is_seen_within_the_time_that_plan_states() {
    let large = full_size().is_some();
    let scenario = Scenario {
        name: "years",
        options: options(full_size().unwrap_or(1_200), AGE),
        settings: &PACE,
        days: if large { 10 } else { 4 },
        each: if large { 12 } else { 3 },
        kinds: &KINDS,
        equal: 0,
    };
    let (years, happened) = live(scenario).await;
    assert_all_right(&years, &happened, "years").await;
}

/// The same for few days.
const QUICK: [(&str, &str); 4] = [
    ("poll.interval", "4h"),
    ("poll.open_interval", "5h"),
    ("poll.sweep_interval", "8h"),
    ("poll.canary_interval", "10h"),
];

/// Lets a variant happen: a fifth of the full size, or a small project with small pages. `equal`: with a tenth of the full
/// size more (5,000), all created at one moment.
async fn live_variant(
    name: &str,
    change: impl FnOnce(&mut Options),
    settings: &[(&str, &str)],
    equal: bool,
) -> (Years, Vec<Happened>) {
    let size = full_size();
    let mut options = size.map_or_else(|| options(600, 50), |size| options(size / 5, AGE));
    change(&mut options);
    let page = if size.is_some() { "100" } else { "60" };
    let settings: Vec<_> = [("api.count", page)]
        .into_iter()
        .filter(|(key, _)| settings.iter().all(|(other, _)| other != key))
        .chain(QUICK)
        .chain(settings.iter().copied())
        .collect();
    let equal = if equal { size.map_or(200, |size| size / 10) } else { 0 };
    let each = if size.is_some() { 2 } else { 1 };
    live(Scenario { name, options, settings: &settings, days: 1, each, kinds: &KINDS, equal }).await
}

/// A variant in which all is to be as ever.
async fn variant(name: &str, change: impl FnOnce(&mut Options), settings: &[(&str, &str)], equal: bool) -> Years {
    let (years, happened) = live_variant(name, change, settings, equal).await;
    assert_all_right(&years, &happened, name).await;
    years
}

fn faults(text: &str) -> Faults {
    Faults::parse(text).unwrap()
}

#[tokio::test]
async fn p1_p13_in_whatever_order_lists_are() {
    variant("oldest first", |options| options.order = Order::OldestFirst, &[], false).await;
    variant("shuffled pages", |options| options.faults = faults("shuffle"), &[], false).await;
}

#[tokio::test]
async fn p1_p13_with_many_created_at_the_same_moment_in_another_order_in_each_walk() {
    for (name, order) in [("equal, newest first", Order::NewestFirst), ("equal, oldest first", Order::OldestFirst)] {
        let shuffle = |options: &mut Options| {
            (options.order, options.faults) = (order, faults("shuffle,shuffle-ties"));
        };
        variant(name, shuffle, &[], true).await;
    }
}

#[tokio::test]
async fn p1_p13_with_dates_of_korea() {
    variant("dates of Korea", |options| options.faults = faults("kst-dates"), &[], false).await;
}

#[tokio::test]
async fn p1_p13_with_dates_that_filter_the_last_update() {
    let years =
        variant("dates filter updated_at", |options| options.faults = faults("updated-dates"), &[], false).await;
    assert_eq!(filter(&years).await.as_deref(), Some("updated"));
}

#[tokio::test]
async fn p1_p13_with_dates_that_are_ignored() {
    let years = variant("dates are ignored", |options| options.faults = faults("ignore-dates"), &[], false).await;
    assert_eq!(filter(&years).await.as_deref(), Some("ignored"));
}

#[tokio::test]
async fn p1_p13_with_a_count_that_is_clipped() {
    variant("count clipped", |options| options.faults = faults("count-clip=50"), &[("api.count", "2000")], false).await;
}

#[tokio::test]
async fn p1_p7_with_lists_that_lack_attempts_screenings_and_updated_at() {
    let (years, happened) = live_variant("thin lists", |options| options.thin_lists = true, &[], false).await;
    assert_seen_in_time(&years, &happened, "thin lists").await;
    assert_erased(&years, &happened, "thin lists").await;
    let database = years.database();
    let rows: Vec<(String, Option<String>, bool)> = sqlx::query_as(
        "select submission_id, kyc_result, coalesce(aml_currentstatus = 'Red Flag', false)
           from argos.submissions where gone_at is null",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let mut rows: BTreeMap<_, _> = rows.into_iter().map(|(id, result, flag)| (id, (result, flag))).collect();
    for item in years.world.simulator.truth() {
        let id = item["submission_id"].as_str().unwrap();
        let (result, flag) = rows.remove(id).expect("it is in the mirror");
        assert_eq!(result.as_deref(), item["kyc"]["result"].as_str(), "{id}");
        assert_eq!(flag, item["aml"]["currentstatus"] == "Red Flag", "{id}");
    }
    assert!(rows.is_empty(), "only in the mirror: {rows:?}");
}
