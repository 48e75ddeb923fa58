//! What the vendor may do while it is read, beside what `api.rs` (answers), `rules/items.rs` (items) and `probe.rs` (ways of
//! asking) hold: lists that change under the reader, times that go backwards, outages; and that it converges after each.

use std::sync::{Arc, Mutex};

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::simulator::{Faults, Options};
use argos_sync::sync::engine::Engine;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::rows::{rows, submission, written};
use crate::support::truth::assert_equal;
use crate::support::vendor::{Reply, Request, Vendor};
use crate::support::verbatim::noon;
use crate::support::world::{install_tls, settings};
use crate::support::{Database, Verbatim, World, assert_valid_events};

/// A list that a test changes while it is read: (created_at, id, result), in the order of the list.
type List = Arc<Mutex<Vec<(String, String, &'static str)>>>;

fn entry(second: u32, id: &str) -> (String, String, &'static str) {
    (format!("2026-03-10T12:00:{second:02}Z"), id.to_owned(), "pending")
}

fn parameter(request: &Request, name: &str) -> Option<String> {
    request.parameters().into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// The page behind a request's cursor, whether or not the row of the cursor is still there.
fn page(list: &[(String, String, &str)], request: &Request) -> Reply {
    let count: usize = parameter(request, "count").unwrap().parse().unwrap();
    let behind = parameter(request, "nextpage_date").zip(parameter(request, "nextpage_id"));
    let is_behind = |at: &str, id: &str| behind.as_ref().is_none_or(|(date, last)| (at, id) > (date.as_str(), last));
    let rest: Vec<_> = list.iter().filter(|(at, id, _)| is_behind(at, id)).collect();
    let items: Vec<Value> = rest
        .iter()
        .take(count)
        .map(|(at, id, result)| json!({"submission_id": id, "created_at": at, "kyc": {"result": result}}))
        .collect();
    let mut body = json!({"Items": items});
    if rest.len() > count {
        body["nextpageKey"] = json!({"id": rest[count - 1].1, "created_at": rest[count - 1].0});
    }
    Reply::json(body.to_string())
}

/// A vendor that does something to its list before it answers a request; requests are counted from 0.
async fn lively(
    list: &List,
    happens: impl Fn(usize, &mut Vec<(String, String, &'static str)>) + Send + Sync + 'static,
) -> Vendor {
    let list = Arc::clone(list);
    Vendor::start(move |number, request| {
        let mut list = list.lock().unwrap();
        happens(number, &mut list);
        page(&list, request)
    })
    .await
}

async fn engine(vendor: &Vendor, database: &Database, changes: &[(&str, &str)]) -> (App, Engine) {
    install_tls();
    let settings = settings(&vendor.base_url(), &database.url, changes);
    let app = App::open(settings, Clock::manual(noon() + TimeDelta::minutes(2))).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let heartbeat = argos_sync::heartbeat::Heartbeat::new();
    let engine = app.engine(&app.settings.projects[0], "test", &heartbeat, &stop).await.unwrap();
    (app, engine)
}

/// Ids and results of the mirror.
async fn mirror(database: &Database) -> Vec<(String, String)> {
    let sql = "select submission_id, kyc_result from argos.submissions order by submission_id";
    sqlx::query_as(sql).fetch_all(&database.pool).await.unwrap()
}

#[tokio::test]
async fn p1_p7_a_list_that_changes_while_it_is_read_loses_nobody_who_stays() {
    let list: List = Arc::new(Mutex::new((0..12).map(|n| entry(n, &format!("s{n:02}"))).collect()));
    let vendor = lively(&list, |number, list| match number {
        // The row of the key is gone, and one before it: what is behind moves up.
        1 => list.retain(|(_, id, _)| id != "s02" && id != "s03"),
        // One before the cursor, one behind it, and one that was read has changed.
        2 => {
            list.push(entry(1, "before"));
            list.push(entry(11, "t-behind"));
            list.sort();
            list.iter_mut().filter(|(_, id, _)| id == "s00").for_each(|one| one.2 = "approved");
        }
        _ => {}
    })
    .await;
    let database = Database::fresh().await;
    let (_app, mut engine) = engine(&vendor, &database, &[("api.count", "4"), ("poll.since", "2026-03-10")]).await;
    assert!(engine.once().await.unwrap().complete);
    let ids: Vec<String> = mirror(&database).await.into_iter().map(|(id, _)| id).collect();
    for id in (0..12).map(|n| format!("s{n:02}")).chain(["t-behind".to_owned()]) {
        assert!(ids.contains(&id), "{id} was there all the time: {ids:?}");
    }
    // The next walk shows the rest; who is gone is suspected, not erased.
    assert!(engine.once().await.unwrap().complete);
    let now = mirror(&database).await;
    assert_eq!(now.len(), 14);
    assert!(now.contains(&("before".to_owned(), "pending".to_owned())));
    assert!(now.contains(&("s00".to_owned(), "approved".to_owned())));
    assert_eq!(database.number("select count(*) from argos.erasure_receipts").await, 0);
}

#[tokio::test]
async fn p1_a_key_whose_row_is_gone_may_be_refused_and_the_walk_starts_over() {
    let list: List = Arc::new(Mutex::new((0..8).map(|n| entry(n, &format!("s{n}"))).collect()));
    let rows = Arc::clone(&list);
    let vendor = Vendor::start(move |number, request| {
        let mut list = rows.lock().unwrap();
        if number == 1 {
            list.retain(|(_, id, _)| id != "s3");
        }
        match parameter(request, "nextpage_id") {
            Some(key) if !list.iter().any(|(_, id, _)| *id == key) => {
                Reply::status(400, "", r#"{"errorCode":"invalid_parameter"}"#)
            }
            _ => page(&list, request),
        }
    })
    .await;
    let database = Database::fresh().await;
    let (_app, mut engine) = engine(&vendor, &database, &[("api.count", "4"), ("poll.since", "2026-03-10")]).await;
    let error = engine.once().await.unwrap_err();
    assert!(error.to_string().contains("refused its own"), "{error}");
    assert_eq!(database.number("select count(covered_at) from argos.created_days").await, 0);
    assert!(engine.once().await.unwrap().complete);
    assert_eq!(mirror(&database).await.len(), 8);
    assert!(database.number("select count(covered_at) from argos.created_days").await > 0);
}

#[tokio::test]
async fn p1_p4_updated_at_may_be_missing_go_backwards_or_stand_still_and_every_state_is_told() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let item = |updated: &str, result: &str| {
        format!(r#"{{"submission_id":"s","created_at":"2026-03-10T12:00:00Z"{updated},"kyc":{{"result":"{result}"}}}}"#)
    };
    let at = |time: &str| format!(r#","updated_at":"2026-03-10T12:{time}Z""#);
    let told = [
        item(&at("05:00"), "pending"),
        // Equal, with another body; backwards; missing; unreadable.
        item(&at("05:00"), "approved"),
        item(&at("01:00"), "rejected"),
        item("", "approved"),
        item(r#","updated_at":"yesterday""#, "rejected"),
    ];
    for item in &told {
        vendor.read(&mut engine, std::slice::from_ref(item)).await;
    }
    let sql = "select payload->>'to' from argos.outbox where type = 'kyc.result_changed' order by position";
    let results: Vec<String> = sqlx::query_scalar(sql).fetch_all(&vendor.database.pool).await.unwrap();
    assert_eq!(results, ["pending", "approved", "rejected", "approved", "rejected"]);
    assert_eq!(submission(&vendor.database, "s").await["kyc_result"], "rejected");
    assert_valid_events(&vendor.database.pool).await;
}

#[tokio::test]
async fn p10_of_equal_keys_the_last_counts_in_every_place() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let twice = r#"{"submission_id":"a","submission_id":"b","created_at":"2026-03-10T12:00:00Z","email":"x","email":"y",
        "kyc":{"result":"approved"},"kyc":{"result":"rejected","result":"pending"}}"#;
    let report = vendor.read(&mut engine, &[twice]).await;
    assert_eq!((report.counts.new, report.counts.quarantined), (1, 0));
    let row = submission(&vendor.database, "b").await;
    assert_eq!((row["kyc_result"].as_str(), row["email"].as_str()), (Some("pending"), Some("y")));
    let item = "select item#>>'{kyc,result}' || ' ' || (item->>'submission_id') from argos.submissions";
    assert_eq!(vendor.database.text(item).await.as_deref(), Some("pending b"));
    let before = written(&vendor.database).await;
    assert_eq!(vendor.read(&mut engine, &[twice]).await.counts.unchanged, 1);
    assert_eq!(written(&vendor.database).await, before);
}

#[tokio::test]
async fn p10_p12_an_item_with_100_000_attempts_is_set_aside_and_heals() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let item =
        |id: &str, list: &str| format!(r#"{{"submission_id":"{id}","created_at":"2026-03-10T12:00:00Z",{list}}}"#);
    let many = |of: &str, one: &str, count| format!(r#""{of}":[{}]"#, vec![one; count].join(","));
    let attempts = |one: &str, count| format!(r#""kyc":{{{}}}"#, many("attempts", one, count));
    let good = item("good", &attempts("{\"attemptCnt\":1}", 1));
    let page = [
        good.clone(),
        // By its length, by its values, by its count.
        item("long", &attempts("{\"attemptCnt\":1}", 100_000)),
        item("heavy", &attempts("{\"a\":1}", 100_000)),
        item("many", &attempts("1", 100_000)),
        item("matches", &format!(r#""aml":{{"currentstatus":"Red Flag",{}}}"#, many("matches", "7", 100_000))),
        // As many as are let in.
        item("most", &attempts("{\"attemptCnt\":1}", 2_000)),
    ];
    let report = vendor.read(&mut engine, &page).await;
    assert_eq!((report.counts.new, report.counts.quarantined), (2, 4));
    let reasons =
        "select string_agg(submission_id || ' ' || reason, ', ' order by submission_id) from argos.quarantine";
    let expected = "heavy too_many_values, long too_large, many too_many_children, matches too_many_children";
    assert_eq!(vendor.database.text(reasons).await.as_deref(), Some(expected));
    assert_eq!(vendor.database.number("select count(*) from argos.attempts where submission_id = 'most'").await, 2_000);
    // Each of the many has changed: they are compared, not each with each.
    let changed = item("most", &attempts("{\"attemptCnt\":1,\"errorCode\":\"x\"}", 2_000));
    let well = ["long", "heavy", "many", "matches"].map(|id| item(id, &attempts("{\"attemptCnt\":1}", 1)));
    let report = vendor.read(&mut engine, &[vec![good, changed], well.to_vec()].concat()).await;
    assert_eq!((report.counts.new, report.counts.changed, report.counts.quarantined), (4, 1, 0));
    assert_eq!(vendor.database.number("select count(*) from argos.quarantine").await, 0);
    let events = "select count(*) from argos.outbox where type = 'kyc.attempt_changed'";
    assert_eq!(vendor.database.number(events).await, 2_000);
}

/// Ours is right, the vendor's is a day ahead or behind: its header, and the times that it writes into what it creates.
#[tokio::test]
async fn p1_a_vendor_whose_clock_is_a_day_off_is_read_as_any_other() {
    for seconds in [86_400, -86_400] {
        let faults = Faults::parse(&format!("clock-skew={seconds}")).unwrap();
        let options = Options { initial: 30, faults, ..Options::default() };
        let world = World::with(options, &[("api.count", "7"), ("api.retries", "0")], Clock::system()).await;
        let mut engine = world.engine().await;
        assert!(engine.once().await.unwrap().complete);
        let at = Clock::system().now() + TimeDelta::seconds(seconds);
        world.simulator.put(json!({"submission_id": "off", "created_at": at, "kyc": {"result": "pending"}}));
        engine.hot().await.unwrap();
        assert_equal(&world.database, world.simulator.truth()).await;
    }
}

#[tokio::test]
async fn p12_p13_a_month_of_outage_leaves_a_few_rows_and_is_made_up_for() {
    let clock = Clock::manual(noon());
    let day = std::time::Duration::from_secs(86_400);
    let options = Options { initial: 50, history: 20 * day, rate: 20.0 / day.as_secs_f64(), ..Options::default() };
    let world = World::with(options, &[("api.retries", "0")], clock.clone()).await;
    let mut engine = world.engine().await;
    assert!(engine.once().await.unwrap().complete);
    let data = written(&world.database).await;
    let faults = ["status-503", "html-200", "reset", "status-429", "error-200", "message-200", "truncated-json"];
    for number in 0..30 {
        world.simulator.set_faults(Faults::parse(faults[number % faults.len()]).unwrap());
        engine.hot().await.unwrap_err();
        clock.advance(TimeDelta::days(1));
    }
    assert_eq!(written(&world.database).await, data, "nothing was invented");
    assert!(world.database.number("select count(*) from argos.errors").await <= 6, "a row for each kind");
    world.simulator.set_faults(Faults::default());
    assert!(engine.once().await.unwrap().complete);
    let submissions = rows(&world.database, "submissions").await.as_array().unwrap().len();
    assert!(submissions > 500, "{submissions}");
    assert_equal(&world.database, world.simulator.truth()).await;
    assert_valid_events(&world.database.pool).await;
}

/// Every fault that spoils answers or lists, one after the other on the same mirror, while the vendor goes on living.
#[tokio::test]
async fn p13_after_each_fault_of_the_vendor_the_mirror_equals_the_vendor() {
    let options = Options { initial: 20, ..Options::default() };
    let changes = [("api.count", "10"), ("api.retries", "0"), ("api.read_timeout", "300ms"), ("api.timeout", "300ms")];
    let world = World::with(options, &changes, Clock::system()).await;
    let mut engine = world.engine().await;
    assert!(engine.once().await.unwrap().complete);
    let others = ["heavy", "slow", "dates-offset", "clock-skew", "index-lag", "refuse-aml", "count-clip"];
    let values = ["2", "20", "-5", "86400", "5", "500", "3"];
    let mut tried = 0;
    for (name, _) in Faults::NAMES {
        // For an encrypted vendor; and those that add a field, which goes only when its deletion is confirmed by id.
        if name.starts_with("cipher") || ["in-the-clear", "null-chars", "huge-number"].contains(name) {
            continue;
        }
        let value = others.iter().position(|other| other == name).map(|place| values[place]);
        let value = value.or(name.starts_with("retry-after").then_some("1"));
        let fault = value.map_or((*name).to_owned(), |value| format!("{name}={value}"));
        let id = format!("during-{name}");
        let item = |result: &str| json!({"submission_id": id, "created_at": "2026-01-01T00:00:00Z", "kyc": {"result": result}});
        world.simulator.put(item("pending"));
        world.simulator.set_faults(Faults::parse(&fault).unwrap());
        // It may fail, and it may read what is there.
        let _ = engine.once().await;
        world.simulator.put(item("approved"));
        world.simulator.set_faults(Faults::default());
        assert!(engine.once().await.unwrap_or_else(|error| panic!("{fault}: {error:?}")).complete, "{fault}");
        let erased = world.database.number("select count(*) from argos.erasure_receipts").await;
        assert_eq!(erased, 0, "{fault}");
        tried += 1;
    }
    assert_equal(&world.database, world.simulator.truth()).await;
    assert!(tried > 35, "{tried}");
    assert_eq!(world.database.number("select count(*) from argos.quarantine where submission_id is not null").await, 0);
    assert_valid_events(&world.database.pool).await;
}
