//! News during a slow import, history found later, and flips that are each served.

use argos_sync::app::App;
use argos_sync::clock::Timestamp;
use argos_sync::simulator::{Options, Order};
use chrono::{TimeDelta, Timelike};
use serde_json::{Value, json};

use super::{AGE, DAY, Years, full_size, options};
use crate::support::rows::counter;
use crate::support::world::settings;
use crate::support::{Database, assert_valid_events};

/// Types of a submission's events, in order, and their ids.
async fn told(database: &Database, id: &str, kinds: &[&str]) -> Vec<(String, String, Value)> {
    let sql = "select type, id::text, payload from argos.outbox
                where submission_id = $1 and type = any ($2) order by position";
    sqlx::query_as(sql).bind(id).bind(kinds).fetch_all(&database.pool).await.unwrap()
}

fn submission(id: &str, created_at: Timestamp, result: &str, aml: &str) -> Value {
    json!({"submission_id": id, "created_at": created_at, "data": {"name": "a"}, "kyc": {"result": result},
           "aml": {"currentstatus": aml}})
}

const RED_FLAG: [&str; 2] = ["aml.red_flag_raised", "aml.red_flag_cleared"];

#[tokio::test]
async fn p1_what_is_created_and_flagged_during_a_slow_first_import_raises_its_alert() {
    let changes = [("api.count", "5"), ("poll.interval", "5m")];
    let mut years = Years::new(Options { order: Order::OldestFirst, ..options(600, AGE) }, &changes).await;
    // 120 pages: eight minutes.
    years.request = TimeDelta::seconds(4);
    let noon = years.now();
    years.until(noon + TimeDelta::minutes(2)).await;
    let imported = "select count(*) from argos.projects where import_completed_at is not null";
    let known = years.database().number("select count(*) from argos.submissions").await;
    assert!(known > 20 && known < 500, "in the middle of the import: {known}");
    // Flagged before any walk shows it; and one that the hot lane sees before and after.
    years.world.simulator.put(submission("flagged", years.now(), "approved", "Not Screened"));
    years.world.simulator.patch("flagged", json!({"aml": {"currentstatus": "Red Flag"}}));
    years.world.simulator.put(submission("later", years.now(), "approved", "Not Screened"));
    years.until(noon + TimeDelta::seconds(330)).await;
    assert_eq!(years.database().number(imported).await, 0, "slow");
    years.world.simulator.patch("later", json!({"aml": {"currentstatus": "Red Flag"}}));
    years.import().await;
    years.until(years.now() + TimeDelta::minutes(6)).await;
    for id in ["flagged", "later"] {
        assert_eq!(told(years.database(), id, &RED_FLAG).await.len(), 1, "{id}");
        assert_eq!(told(years.database(), id, &["submission.imported"]).await.len(), 0, "{id}");
    }
    assert_valid_events(&years.database().pool).await;
}

#[tokio::test]
async fn p1_one_created_and_flagged_while_only_the_import_runs_raises_its_alert() {
    let mut years =
        Years::new(Options { order: Order::OldestFirst, ..options(200, AGE) }, &[("api.count", "20")]).await;
    years.world.simulator.freeze();
    let errand = years.engine.backfill(None).await.unwrap().unwrap();
    for _ in 0..3 {
        assert!(years.engine.go_on(errand).await.unwrap().is_none());
        years.clock.advance(TimeDelta::hours(1));
    }
    years.world.simulator.put(submission("flagged", years.now(), "approved", "Not Screened"));
    years.clock.advance(TimeDelta::hours(1));
    years.world.simulator.patch("flagged", json!({"aml": {"currentstatus": "Red Flag"}}));
    let report = years.engine.to_end(errand).await.unwrap();
    assert!(report.complete);
    let events = told(years.database(), "flagged", &["submission.created", "aml.red_flag_raised"]).await;
    assert_eq!(events.iter().map(|event| &*event.0).collect::<Vec<_>>(), ["submission.created", "aml.red_flag_raised"]);
    let lane = "select lane from argos.submission_versions where submission_id = 'flagged'";
    assert_eq!(years.database().text(lane).await.as_deref(), Some("backfill"));
}

#[tokio::test]
async fn p1_red_flags_found_by_widening_the_window_are_open_and_raise_nothing() {
    let old = if full_size().is_some() { 2_000 } else { 200 };
    let mut years = Years::new(options(100, AGE), &[("poll.since", "2026-03-01"), ("poll.interval", "10m")]).await;
    years.world.simulator.freeze();
    let long_ago = years.now() - TimeDelta::days(200);
    for n in 0..old {
        let created_at = (long_ago + TimeDelta::hours(n % 500)).with_nanosecond(0).unwrap();
        years.world.simulator.put(submission(&format!("old-{n:04}"), created_at, "approved", "Red Flag"));
    }
    years.import().await;
    years.until(years.now() + TimeDelta::seconds(DAY as i64)).await;
    let flags = "select count(*) from argos.outbox where type = 'aml.red_flag_raised'";
    let raised = years.database().number(flags).await;
    assert_eq!(
        years.database().number("select count(*) from argos.submissions where created_day < '2026-03-01'").await,
        0
    );
    let open = counter(years.database(), "red_flags_open").await;

    // The same database, read by a process with other settings.
    years.engine.release().await.unwrap();
    let wider = [("poll.since", "2025-01-01"), ("poll.interval", "10m")];
    let settings = settings(&years.world.simulator.base_url(), &years.database().url, &wider);
    let app = App::open(settings, years.clock.clone()).await.unwrap();
    years.engine = years.world.engine_in(&app, "wider").await;
    years.turn(Timestamp::MAX_UTC).await;
    years.import().await;
    years.until(years.now() + TimeDelta::seconds(DAY as i64)).await;
    let found =
        years.database().number("select count(*) from argos.submissions where submission_id like 'old-%'").await;
    assert_eq!(found, old);
    assert_eq!(years.database().number(flags).await, raised, "history raises nothing");
    let of_old = "select count(*) from argos.submissions
                   where aml_currentstatus = 'Red Flag' and created_day < '2026-03-01'";
    let more = years.database().number(of_old).await;
    assert!(more >= old);
    assert_eq!(counter(years.database(), "red_flags_open").await, open + more);
    assert_eq!(counter(years.database(), "red_flags_raised").await, raised);
    // And from now on they are news.
    years.world.simulator.patch("old-0007", json!({"aml": {"currentstatus": "Not Screened"}}));
    years.until(years.now() + TimeDelta::seconds(DAY as i64)).await;
    assert_eq!(told(years.database(), "old-0007", &RED_FLAG).await.len(), 1);
    assert_valid_events(&years.database().pool).await;
}

#[tokio::test]
async fn p1_p2_each_flip_that_is_served_is_an_event_of_its_own() {
    let mut years = Years::new(options(50, AGE), &[]).await;
    years.world.simulator.freeze();
    years.import().await;
    let results = ["approved", "rejected", "approved", "rejected", "approved"];
    let flags = ["Red Flag", "Not Screened", "Red Flag"];
    let created_at = years.now();
    for result in results {
        years.world.simulator.put(submission("flips", created_at, result, "Not Screened"));
        years.until(years.now() + TimeDelta::minutes(2)).await;
    }
    for flag in flags {
        years.world.simulator.put(submission("flips", created_at, "approved", flag));
        years.until(years.now() + TimeDelta::minutes(2)).await;
    }
    let changes = told(years.database(), "flips", &["kyc.result_changed"]).await;
    let steps: Vec<Value> = changes.iter().map(|(_, _, it)| json!([it["from"], it["to"]])).collect();
    let expected: Vec<Value> =
        (0..5_usize).map(|i| json!([i.checked_sub(1).map(|before| results[before]), results[i]])).collect();
    assert_eq!(steps, expected);
    let flips = told(years.database(), "flips", &RED_FLAG).await;
    let kinds: Vec<&str> = flips.iter().map(|flip| &*flip.0).collect();
    assert_eq!(kinds, ["aml.red_flag_raised", "aml.red_flag_cleared", "aml.red_flag_raised"]);
    let ids: std::collections::BTreeSet<&String> = changes.iter().chain(&flips).map(|(_, id, _)| id).collect();
    assert_eq!(ids.len(), 8, "distinct");
    assert_valid_events(&years.database().pool).await;
}

#[tokio::test]
async fn p8_a_day_whose_budget_is_spent_ends_with_that_day() {
    let changes = [("api.count", "20"), ("api.requests_per_day", "20"), ("poll.interval", "1h")];
    let mut years = Years::new(options(600, AGE), &changes).await;
    let mut asked = 0;
    for day in 1..=4 {
        let end = years.now().date_naive().succ_opt().unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
        years.until(end).await;
        let of_day = years.world.simulator.requests().len() - asked;
        asked += of_day;
        assert!((10..=20).contains(&of_day), "{of_day} on day {day}");
    }
}
