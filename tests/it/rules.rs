//! The rules of states, versions and events, on a real PostgreSQL: what is a change, what is told of it, and under which
//! ids. (The quarantine and what is odd in items: `rules/items.rs`; positions and counts: `rules/ledger.rs`.)

mod items;
mod ledger;

use std::collections::BTreeSet;

use argos_sync::domain::hash::{Hash, HashKey};
use argos_sync::domain::submission::State;
use serde_json::{Value, json};

use crate::support::rows::{counter, rows, submission, written};
use crate::support::{Database, Verbatim, assert_valid_events};

/// An item created when the import began: news.
fn item(id: &str, members: &str) -> String {
    created(id, "2026-03-10T12:00:00Z", members)
}

fn created(id: &str, at: &str, members: &str) -> String {
    format!(r#"{{"submission_id":"{id}","created_at":"{at}",{members}}}"#)
}

fn result(result: &str) -> String {
    item("s", &format!(r#""data":{{"name":"a"}},"kyc":{{"result":"{result}"}}"#))
}

fn flag(status: &str) -> String {
    item("s", &format!(r#""data":{{"name":"a"}},"kyc":{{"result":"approved"}},"aml":{{"currentstatus":"{status}"}}"#))
}

/// All events: (submission, type), in order.
async fn told(database: &Database) -> Vec<(String, String)> {
    let sql = "select coalesce(submission_id, '-'), type from argos.outbox order by position";
    sqlx::query_as(sql).fetch_all(&database.pool).await.unwrap()
}

/// The types of one submission's events, in order.
async fn told_of(database: &Database, id: &str) -> Vec<String> {
    told(database).await.into_iter().filter(|(of, _)| of == id).map(|(_, kind)| kind).collect()
}

/// Ids and payloads of the events of a type, in order.
async fn payloads(database: &Database, kind: &str) -> Vec<(String, Value)> {
    let sql = "select id::text, payload from argos.outbox where type = $1 order by position";
    sqlx::query_as(sql).bind(kind).fetch_all(&database.pool).await.unwrap()
}

fn distinct<'a>(ids: impl IntoIterator<Item = &'a String>) -> usize {
    ids.into_iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test]
async fn p1_p2_each_flip_of_the_result_is_an_event_of_its_own() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let flips = ["approved", "rejected", "approved", "rejected", "approved"];
    for flip in flips {
        vendor.read(&mut engine, &[result(flip)]).await;
        // Reading it again says nothing.
        let before = written(&vendor.database).await;
        vendor.read(&mut engine, &[result(flip)]).await;
        assert_eq!(written(&vendor.database).await, before);
    }
    let events = payloads(&vendor.database, "kyc.result_changed").await;
    let steps: Vec<Value> =
        events.iter().map(|(_, payload)| json!([payload["from"], payload["to"], payload["version"]])).collect();
    let expected: Vec<Value> =
        (0..5_usize).map(|i| json!([i.checked_sub(1).map(|before| flips[before]), flips[i], i + 1])).collect();
    assert_eq!(steps, expected);
    assert_eq!(distinct(events.iter().map(|(id, _)| id)), 5);
    assert_eq!(vendor.database.number("select count(distinct version_id) from argos.submission_versions").await, 5);
    assert_valid_events(&vendor.database.pool).await;
}

#[tokio::test]
async fn p1_a_red_flag_that_goes_and_comes_back_is_raised_twice() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let mut open = Vec::new();
    for status in ["Not Screened", "Red Flag", "Not Screened", "Red Flag"] {
        vendor.read(&mut engine, &[flag(status)]).await;
        open.push(counter(&vendor.database, "red_flags_open").await);
    }
    assert_eq!(open, [0, 1, 0, 1]);
    assert_eq!(counter(&vendor.database, "red_flags_raised").await, 2);
    let raised = payloads(&vendor.database, "aml.red_flag_raised").await;
    assert_eq!(distinct(raised.iter().map(|(id, _)| id)), 2);
    assert_eq!(payloads(&vendor.database, "aml.red_flag_cleared").await.len(), 1);
    let flags: Vec<String> =
        told_of(&vendor.database, "s").await.into_iter().filter(|kind| kind.contains("red_flag")).collect();
    assert_eq!(flags, ["aml.red_flag_raised", "aml.red_flag_cleared", "aml.red_flag_raised"]);
    assert_valid_events(&vendor.database.pool).await;
}

const OLD: &str = "2026-03-01T08:00:00Z";
const FLAGGED: &str = r#""userid":"taint@example.com","data":{"name":"a"},"kyc":{"result":"approved"},"aml":{"currentstatus":"Red Flag"}"#;

#[tokio::test]
async fn p1_history_is_imported_and_what_comes_during_the_import_is_news() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[created("old", OLD, FLAGGED), item("new", r#""kyc":{"result":"pending"}"#)]).await;
    let expected = [
        ("new", "submission.created"),
        ("new", "kyc.result_changed"),
        ("old", "submission.imported"),
        ("-", "project.import_completed"),
    ];
    assert_eq!(told(&vendor.database).await, expected.map(|(id, kind)| (id.to_owned(), kind.to_owned())));
    let imported = &payloads(&vendor.database, "submission.imported").await[0].1;
    assert_eq!((imported["to"].as_str(), imported["aml_status"].as_str()), (Some("approved"), Some("Red Flag")));
    assert!(imported.get("userid").is_none());
    assert_eq!(counter(&vendor.database, "red_flags_open").await, 1, "an open flag counts as open");
    assert_eq!(counter(&vendor.database, "red_flags_raised").await, 0);
    let causes =
        "select string_agg(submission_id || ' ' || cause, ', ' order by submission_id) from argos.submission_versions";
    assert_eq!(vendor.database.text(causes).await.as_deref(), Some("new news, old history"));

    // Any later change of a history item is news.
    let cleared = FLAGGED.replace("Red Flag", "Not Screened");
    vendor.read(&mut engine, &[created("old", OLD, &cleared)]).await;
    vendor.read(&mut engine, &[created("old", OLD, FLAGGED)]).await;
    let later = &told_of(&vendor.database, "old").await[1..];
    let change = |flag: &str| ["aml.status_changed".to_owned(), flag.to_owned(), "submission.updated".to_owned()];
    assert_eq!(later, [change("aml.red_flag_cleared"), change("aml.red_flag_raised")].concat());
    assert_eq!(counter(&vendor.database, "red_flags_open").await, 1);
    assert_eq!(counter(&vendor.database, "red_flags_raised").await, 1);
    assert_eq!(payloads(&vendor.database, "project.import_completed").await.len(), 1, "once");
    assert_valid_events(&vendor.database.pool).await;
}

#[tokio::test]
async fn p1_an_old_item_on_a_day_that_was_read_before_is_news() {
    // By a walk without dates ...
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[created("old", OLD, FLAGGED)]).await;
    vendor.read(&mut engine, &[created("old", OLD, FLAGGED), created("late", OLD, FLAGGED)]).await;
    let expected = ["submission.created", "kyc.result_changed", "aml.status_changed", "aml.red_flag_raised"];
    assert_eq!(told_of(&vendor.database, "late").await, expected);

    // ... or by a hot one, which covers the look-back and no day before.
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.list(&[item("x", r#""email":"x""#)]);
    engine.hot().await.unwrap();
    let (inside, edge) = ("2026-03-07T00:00:00Z", "2026-03-06T23:59:59Z");
    vendor
        .read(
            &mut engine,
            &[created("in", inside, FLAGGED), created("out", edge, FLAGGED), item("x", r#""email":"x""#)],
        )
        .await;
    assert_eq!(told_of(&vendor.database, "in").await, expected);
    assert_eq!(told_of(&vendor.database, "out").await, ["submission.imported"], "asked for, but not covered");
}

#[tokio::test]
async fn p1_history_can_be_left_to_one_summary() {
    let vendor = Verbatim::with(&[("events.import", "summary")]).await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[created("old", OLD, FLAGGED), item("new", r#""email":"a""#)]).await;
    let expected = [("new", "submission.created"), ("-", "project.import_completed")];
    assert_eq!(told(&vendor.database).await, expected.map(|(id, kind)| (id.to_owned(), kind.to_owned())));
    assert_eq!(payloads(&vendor.database, "project.import_completed").await[0].1["submissions"], 2);
    assert_eq!(vendor.database.number("select count(*) from argos.submission_versions").await, 2);
    assert_eq!(counter(&vendor.database, "red_flags_open").await, 1);
}

#[tokio::test]
async fn p11_userid_is_told_only_where_a_setting_says_so() {
    for (setting, expected) in [("false", 0), ("true", 2)] {
        let vendor = Verbatim::with(&[("events.include_userid", setting)]).await;
        vendor
            .read(&mut vendor.engine().await, &[created("old", OLD, FLAGGED), item("new", "\"userid\":\"taint\"")])
            .await;
        let tainted = "select count(distinct submission_id) from argos.outbox where payload::text like '%taint%'";
        assert_eq!(vendor.database.number(tainted).await, expected, "{setting}");
        assert_valid_events(&vendor.database.pool).await;
    }
}

#[tokio::test]
async fn p2_the_same_id_twice_in_a_page_is_one_version_of_the_later_place() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let page = [result("approved"), item("t", r#""email":"t""#), result("rejected")];
    let report = vendor.read(&mut engine, &page).await;
    assert_eq!((report.counts.new, report.counts.duplicate), (2, 1));
    assert_eq!(submission(&vendor.database, "s").await["kyc_result"], "rejected");
    assert_eq!(
        vendor.database.number("select count(*) from argos.submission_versions where submission_id = 's'").await,
        1
    );
    assert_eq!(told_of(&vendor.database, "s").await, ["submission.created", "kyc.result_changed"]);
    let before = written(&vendor.database).await;
    let again = vendor.read(&mut engine, &page).await;
    assert_eq!((again.counts.unchanged, again.counts.duplicate), (2, 1));
    assert_eq!(written(&vendor.database).await, before);
}

#[tokio::test]
async fn p2_p9_a_screening_that_is_missing_leaves_the_flag_open_and_is_counted() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[flag("Red Flag")]).await;
    let before = written(&vendor.database).await;
    // Each time: an answer whose change was held leaves no hash behind.
    let with = |aml: &str| result("approved").replace("\"kyc\"", &format!("{aml},\"kyc\""));
    let empty = [with("\"aml\":null"), with("\"aml\":{}"), with("\"aml\":{\"currentstatus\":null}")];
    for missing in [result("approved"), result("approved")].into_iter().chain(empty) {
        let report = vendor.read(&mut engine, &[missing]).await;
        assert_eq!(report.counts.drift.get("aml_missing"), Some(&1));
        assert_eq!((report.counts.held, report.counts.events_total()), (1, 0));
        assert_eq!(written(&vendor.database).await, before, "no version");
    }
    // Another change in the same answer is told, and the flag stays.
    let report = vendor.read(&mut engine, &[result("rejected")]).await;
    assert_eq!((report.counts.changed, report.counts.drift.get("aml_missing")), (1, Some(&1)));
    assert_eq!(submission(&vendor.database, "s").await["aml_currentstatus"], "Red Flag");
    assert_eq!(counter(&vendor.database, "red_flags_open").await, 1);
    let changed = &payloads(&vendor.database, "submission.updated").await[0].1["changed"];
    assert_eq!(*changed, json!(["kyc.result"]));
    // It is back, as it was: nothing to tell. It is back, cleared: told.
    let back = flag("Red Flag").replace("approved", "rejected");
    assert_eq!(vendor.read(&mut engine, &[&back]).await.counts.unchanged, 1);
    vendor.read(&mut engine, &[back.replace("Red Flag", "Not Screened")]).await;
    assert_eq!(payloads(&vendor.database, "aml.red_flag_cleared").await.len(), 1);
}

#[tokio::test]
async fn p2_what_does_not_matter_writes_nothing() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let before = r#"{"submission_id":"s","created_at":"2026-03-10T12:00:00.120Z","email":"a","memo":null,
        "kyc":{"result":"approved","comment":"x","attempts":[{"attemptCnt":1,"livenessScore":"99","selfieImage":"https://i/1"}]},
        "image":{"idImage":"https://i/2"},"id_LivenessScore":{"Screen_play":99},"recognition_score":"1e2",
        "project_options":{"policy_approvePeriod":365,"option_aml":true}}"#;
    let after = r#"{"recognition_score":100,"project_options":{"option_aml":true,"policy_approvePeriod":365.0},
        "kyc":{"attempts":[{"selfieImage":"https://i/3","livenessScore":99.0,"attemptCnt":"1.0"}],"comment":["x"],"result":"approved"},
        "id_LivenessScore":{"Screen_play":"99.00"},"image":{"idImage":"https://i/4","addressImage":"https://i/5"},
        "created_at":"2026-03-10T21:00:00.120000900+09:00","email":"a","userid":null,"submission_id":"s"}"#;
    vendor.read(&mut engine, &[before]).await;
    let written_before = written(&vendor.database).await;
    let report = vendor.read(&mut engine, &[after]).await;
    assert_eq!((report.counts.unchanged, report.counts.changed), (1, 0));
    assert_eq!(written(&vendor.database).await, written_before);
    // And what does matter, does: the test above is not blind.
    let report = vendor.read(&mut engine, &[after.replace("99.00", "99.01")]).await;
    assert_eq!(report.counts.changed, 1);
}

#[tokio::test]
async fn p7_a_field_that_is_gone_is_null_in_the_row_unless_it_is_personal_data() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let full = item(
        "s",
        r#""email":"a","pending_at":"2026-03-10T12:00:00Z","data":{"name":"n","cf1":"c"},
           "kyc":{"result":"approved","comment":["x"],"attempts":[{"attemptCnt":1}]}"#,
    );
    vendor.read(&mut engine, &[full]).await;
    let report =
        vendor.read(&mut engine, &[item("s", r#""data":{"name":"n"},"userid":"u","kyc":{"result":"approved"}"#)]).await;
    assert_eq!((report.counts.changed, report.counts.drift.get("field_vanished")), (1, Some(&1)));
    let expected = json!({"submission_id": "s", "created_day": "2026-03-10", "created_at": "2026-03-10T12:00:00+00:00",
                          "name": "n", "kyc_result": "approved", "userid": "u", "email": "a", "cf1": "c"});
    assert_eq!(submission(&vendor.database, "s").await, expected);
    assert_eq!(rows(&vendor.database, "attempts").await, json!([]));
    let changed = &payloads(&vendor.database, "submission.updated").await[0].1["changed"];
    assert_eq!(*changed, json!(["kyc.attempts", "kyc.comment", "pending_at", "userid"]));
    let suspected = "select kind || ' ' || fields::text from argos.erasures";
    assert_eq!(vendor.database.text(suspected).await.as_deref(), Some("fields {data.cf1,email}"));
}

/// The secret of the tests; see `settings`.
fn secret() -> HashKey {
    HashKey::new(std::array::from_fn(|i| i as u8))
}

#[tokio::test]
async fn p2_version_ids_are_a_chain_and_event_ids_follow_from_them() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    for step in ["approved", "rejected", "approved"] {
        vendor.read(&mut engine, &[result(step)]).await;
    }
    let sql =
        "select version, version_id, item from argos.submission_versions where submission_id = 's' order by version";
    let versions: Vec<(i64, Vec<u8>, Value)> = sqlx::query_as(sql).fetch_all(&vendor.database.pool).await.unwrap();
    assert_eq!(versions.len(), 3);
    let mut previous: Hash = secret().chain_start("default", "s");
    for (i, (version, id, item)) in versions.iter().enumerate() {
        assert_eq!(*version, i as i64 + 1);
        let expected = secret().version(&previous, &State::of(item).bytes());
        assert_eq!(*id, expected, "H(previous version_id, canonical state)");
        let sql = "select id::text from argos.outbox where submission_id = 's' and version = $1 and type = 'kyc.result_changed'";
        let event: String = sqlx::query_scalar(sql).bind(version).fetch_one(&vendor.database.pool).await.unwrap();
        assert_eq!(event, secret().event(&expected, "kyc.result_changed", "", 0).to_string());
        previous = expected;
    }
    let current: Vec<u8> =
        sqlx::query_scalar("select version_id from argos.submissions").fetch_one(&vendor.database.pool).await.unwrap();
    assert_eq!(current, previous);
}

/// Version ids and event ids after some history.
async fn ids(secret: &str) -> (Vec<String>, Vec<String>) {
    let vendor = Verbatim::with(&[("database.hash_secret", secret)]).await;
    let mut engine = vendor.engine().await;
    for step in ["approved", "rejected", "approved"] {
        vendor.read(&mut engine, &[result(step), created("old", OLD, FLAGGED)]).await;
        vendor
            .read(&mut engine, &[flag("Red Flag"), item("t", r#""kyc":{"attempts":[{"attemptCnt":1},{},{}]}"#)])
            .await;
    }
    let list = async |sql: &'static str| -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&vendor.database.pool).await.unwrap()
    };
    let versions = list("select version_id::text from argos.submission_versions order by submission_id, version").await;
    (versions, list("select id::text from argos.outbox order by position").await)
}

#[tokio::test]
async fn p2_the_same_history_gives_the_same_ids_and_another_secret_others() {
    let (one, two) = ("11".repeat(32), "22".repeat(32));
    let (first, again, other) = (ids(&one).await, ids(&one).await, ids(&two).await);
    assert_eq!(first, again);
    assert!(first.0.len() >= 5 && first.1.len() >= 15, "{first:?}");
    assert_eq!((first.0.len(), first.1.len()), (other.0.len(), other.1.len()));
    for (a, b) in [(&first.0, &other.0), (&first.1, &other.1)] {
        assert_eq!(distinct(a.iter().chain(b)), a.len() + b.len(), "no id is shared");
    }
}

#[tokio::test]
async fn p1_matches_that_nothing_tells_apart_are_two_events() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let matches = |list: &str| item("s", &format!(r#""aml":{{"currentstatus":"Red Flag","matches":[{list}]}}"#));
    let one = r#"{"risk_level":"HIGH","score":95}"#;
    vendor.read(&mut engine, &[matches(&format!("{one},{one}"))]).await;
    let added = payloads(&vendor.database, "aml.match_added").await;
    assert_eq!((added.len(), distinct(added.iter().map(|(id, _)| id))), (2, 2));
    assert_eq!(added[0].1["to"], added[1].1["to"]);
    vendor.read(&mut engine, &[matches(one)]).await;
    assert_eq!(payloads(&vendor.database, "aml.match_removed").await.len(), 1);
}

#[tokio::test]
async fn p2_another_canonical_form_makes_no_version_and_no_event() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let served = item("s", r#""data":{"name":"a"},"recognition_score":99,"kyc":{"result":"approved","comment":["c"]}"#);
    vendor.read(&mut engine, std::slice::from_ref(&served)).await;
    // As a release with another form, and other hashes, would have left it: the same state, written in another way.
    let left = r#"update argos.submissions
                     set item = item || '{"recognition_score": "99.0", "memo": null,
                                          "kyc": {"comment": "c", "result": "approved"}}';
                  update argos.submission_views set body_hash = decode(repeat('ab', 32), 'hex')"#;
    vendor.database.execute(left).await;
    let before = written(&vendor.database).await;
    let report = vendor.read(&mut engine, &[served]).await;
    assert_eq!((report.counts.unchanged, report.counts.changed), (1, 0), "{report:?}");
    assert_eq!(written(&vendor.database).await, before);
}
