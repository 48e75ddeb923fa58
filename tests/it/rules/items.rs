//! What is odd in one item stops nothing: the quarantine, characters and numbers that PostgreSQL refuses, bad fields.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::Value;

use super::item;
use crate::support::rows::{submission, written};
use crate::support::{Database, Verbatim, assert_valid_events};

const LIMITS: &[(&str, &str)] =
    &[("limits.item_bytes", "2000"), ("limits.item_depth", "8"), ("limits.item_children", "3")];

async fn reasons(database: &Database) -> BTreeMap<String, i64> {
    let sql = "select coalesce(submission_id, '-') || ' ' || reason, count(*) from argos.quarantine group by 1";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&database.pool).await.unwrap();
    rows.into_iter().collect()
}

/// An item per reason, and a good one at each end and between.
fn page() -> Vec<String> {
    let deep = format!("\"x\":{}{}", "[".repeat(8), "]".repeat(8));
    let large = format!("\"x\":\"{}\"", "é".repeat(2_000));
    let many = |list: &str| format!("\"kyc\":{{\"{list}\":[1,2,3,4]}}");
    vec![
        item("good1", "\"email\":\"a\""),
        r#"{"created_at":"2026-03-10T12:00:00Z","email":"nameless"}"#.to_owned(),
        r#"{"submission_id":7}"#.to_owned(),
        r#"{"submission_id":"a\u0000b"}"#.to_owned(),
        "7".to_owned(),
        "\"text\"".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        item("deep", &deep),
        item("large", &large),
        item("many", &many("attempts")),
        item("matches", "\"aml\":{\"matches\":[1,2,3,4]}"),
        item("huge", "\"argos_score\":1e-16400"),
        item("long", "\"argos_score\":1e999999"),
        item("good2", "\"argos_score\":1e400"),
        // A place of the same id that is overruled does no harm.
        item("twice", &deep),
        item("twice", "\"email\":\"b\""),
    ]
}

fn expected_reasons() -> BTreeMap<String, i64> {
    [
        ("- no_id", 7),
        ("deep too_deep", 1),
        ("large too_large", 1),
        ("many too_many_children", 1),
        ("matches too_many_children", 1),
        ("huge refused_by_database", 1),
        ("long numbers_too_long", 1),
    ]
    .into_iter()
    .map(|(reason, count)| (reason.to_owned(), count))
    .collect()
}

#[tokio::test]
async fn p10_bad_items_are_kept_aside_and_the_rest_of_the_page_is_written() {
    let vendor = Verbatim::with(LIMITS).await;
    let mut engine = vendor.engine().await;
    let report = vendor.read(&mut engine, &page()).await;
    assert_eq!((report.counts.new, report.counts.quarantined, report.counts.duplicate), (3, 13, 1));
    assert_eq!(reasons(&vendor.database).await, expected_reasons());
    assert_eq!(report.counts.newly_quarantined.values().sum::<u64>(), 13);
    let ids = "select string_agg(submission_id, ' ' order by submission_id) from argos.submissions";
    assert_eq!(vendor.database.text(ids).await.as_deref(), Some("good1 good2 twice"));
    let body = "select octet_length(body) from argos.quarantine where submission_id = 'large'";
    assert!((1_990..=2_000).contains(&vendor.database.number(body).await), "as much as the limit lets in");
    let events = "select count(*) from argos.outbox where type = 'submission.created'";
    assert_eq!(vendor.database.number(events).await, 3);
    assert_eq!(vendor.database.number("select sum(value) from argos.counters where name = 'submissions'").await, 3);
    assert_valid_events(&vendor.database.pool).await;
}

#[tokio::test]
async fn p2_p10_a_repeat_of_bad_items_writes_nothing() {
    let vendor = Verbatim::with(LIMITS).await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &page()).await;
    let before = written(&vendor.database).await;
    for _ in 0..2 {
        let report = vendor.read(&mut engine, &page()).await;
        assert_eq!((report.counts.quarantined, report.counts.unchanged), (13, 3));
        assert!(report.counts.newly_quarantined.is_empty(), "{:?}", report.counts.newly_quarantined);
        assert_eq!(written(&vendor.database).await, before);
    }
}

#[tokio::test]
async fn p10_an_item_heals_when_it_is_served_well_again() {
    let vendor = Verbatim::with(LIMITS).await;
    let mut engine = vendor.engine().await;
    let stored = item("stored", "\"email\":\"a\"");
    vendor.read(&mut engine, std::slice::from_ref(&stored)).await;
    let bad = [
        item("stored", &format!("\"x\":\"{}\"", "x".repeat(3_000))),
        item("huge", "\"argos_score\":1e999999"),
        item("deep", &format!("\"x\":{}{}", "[".repeat(8), "]".repeat(8))),
    ];
    vendor.read(&mut engine, &bad).await;
    assert_eq!(reasons(&vendor.database).await.len(), 3);
    assert_eq!(submission(&vendor.database, "stored").await["email"], "a", "what is known stays");

    // One in the bytes that were read before, one new, one still bad.
    vendor.read(&mut engine, &[stored, item("huge", "\"argos_score\":1e9"), bad[2].clone()]).await;
    let left: Vec<String> = reasons(&vendor.database).await.into_keys().collect();
    assert_eq!(left, ["deep too_deep"]);
    assert_eq!(submission(&vendor.database, "huge").await["argos_score"].to_string(), "1000000000");
    assert_eq!(vendor.database.number("select version from argos.submissions where submission_id = 'stored'").await, 1);
}

#[tokio::test]
async fn p10_the_quarantine_expires_although_the_item_is_served_on() {
    let vendor = Verbatim::with(&[("retention.quarantine", "7d")]).await;
    let mut engine = vendor.engine().await;
    let (good, huge) = (item("good", "\"email\":\"a\""), item("huge", "\"argos_score\":1e999999"));
    vendor.read(&mut engine, &[good.as_str(), "7", &huge]).await;
    let first_seen = "select min(first_seen_at) || ' ' || max(first_seen_at) from argos.quarantine";
    let first = vendor.database.text(first_seen).await;
    vendor.clock.advance(TimeDelta::days(6));
    vendor.read(&mut engine, &[good.as_str(), "7", &huge]).await;
    assert_eq!(vendor.database.text(first_seen).await, first, "a repeat does not prolong it");
    vendor.clock.advance(TimeDelta::days(1));
    vendor.read(&mut engine, &[good]).await;
    assert_eq!(engine.prune().await.unwrap().quarantine, 2);
    assert_eq!(vendor.database.number("select count(*) from argos.quarantine").await, 0);
}

#[tokio::test]
async fn p10_characters_that_postgresql_refuses_are_replaced_and_flagged() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let odd = item(
        "s",
        r#""data":{"name":"a\u0000b\ud800c","cf1":"\ud83d\ude00","cf2":"\\u0000","\udc00":"key"},"email":"e""#,
    );
    let report = vendor.read(&mut engine, std::slice::from_ref(&odd)).await;
    assert_eq!((report.counts.new, report.counts.quarantined), (1, 0));
    assert_eq!(report.counts.drift.get("replaced_characters"), Some(&1));
    let row = submission(&vendor.database, "s").await;
    assert_eq!(row["name"], "a\u{fffd}b\u{fffd}c");
    assert_eq!((row["cf1"].as_str(), row["cf2"].as_str()), (Some("😀"), Some("\\u0000")), "good ones are left alone");
    let key = vendor.database.text("select item->'data'->>U&'\\FFFD' from argos.submissions").await;
    assert_eq!(key.as_deref(), Some("key"));
    let before = written(&vendor.database).await;
    assert_eq!(vendor.read(&mut engine, &[odd]).await.counts.unchanged, 1);
    assert_eq!(written(&vendor.database).await, before);
}

#[tokio::test]
async fn p9_p10_a_bad_field_is_null_and_counted_and_the_rest_is_read() {
    let vendor = Verbatim::new().await;
    let odd = r#"{"submission_id":"s","created_at":["2026"],"email":{"a":1},"updated_at":5,"reviewer":[],"image":7,
        "recognition_score":"high","id_LivenessScore":"none","bank_verification":"success",
        "data":{"name":["n"],"nationality":410,"gender":true,"cf1":null},
        "kyc":{"result":"approved","comment":{"a":1},"attempts":[{"attemptCnt":"one","livenessScore":90},"text"]},
        "aml":{"currentstatus":"Red Flag","risk_level_summary":{"a":1},"matches":{"resource_id":"r"}}}"#;
    let report = vendor.read(&mut vendor.engine().await, &[odd]).await;
    assert_eq!((report.counts.new, report.counts.quarantined), (1, 0));
    let row = submission(&vendor.database, "s").await;
    assert_eq!((row["kyc_result"].as_str(), row["aml_currentstatus"].as_str()), (Some("approved"), Some("Red Flag")));
    assert_eq!(
        (row["nationality"].as_str(), row["gender"].as_str()),
        (Some("410"), Some("true")),
        "taken in JSON form"
    );
    let nulls = [
        "created_at",
        "email",
        "updated_at",
        "reviewer",
        "recognition_score",
        "name",
        "kyc_comment",
        "aml_risk_level_summary",
    ];
    for column in nulls {
        assert_eq!(row.get(column), None, "{column}");
    }
    assert_eq!(row["created_day"], "2026-03-10", "no readable day: the day of the import");
    // The eight above, id_LivenessScore, bank_verification, matches, the attempt's count, the attempt that is no object.
    assert_eq!(report.counts.drift.get("bad_field"), Some(&13), "{:?}", report.counts.drift);
    let item: Value =
        sqlx::query_scalar("select item from argos.submissions").fetch_one(&vendor.database.pool).await.unwrap();
    assert_eq!(item, serde_json::from_str::<Value>(odd).unwrap(), "the stored item keeps it all");
    let flag =
        "select count(*) from argos.outbox where type = 'submission.imported' and payload->>'aml_status' = 'Red Flag'";
    assert_eq!(vendor.database.number(flag).await, 1);
    assert_valid_events(&vendor.database.pool).await;
}

/// A container in another type takes a whole family of columns with it; that must not happen in silence.
#[tokio::test]
async fn p9_a_retyped_container_is_counted() {
    for (members, bad) in [
        (r#""data":"cipher""#, 1),
        (r#""kyc":["approved"]"#, 1),
        (r#""aml":"Red Flag""#, 1),
        (r#""kyc":{"attempts":{"attemptCnt":1}}"#, 1),
        (r#""aml":{"matches":"none"},"data":[],"memo":"text""#, 3),
        (r#""kyc":{"attempts":[{"liveness":7},{"liveness":7}]}"#, 2),
    ] {
        let vendor = Verbatim::new().await;
        let report = vendor.read(&mut vendor.engine().await, &[item("s", members)]).await;
        assert_eq!((report.counts.new, report.counts.drift.get("bad_field")), (1, Some(&bad)), "{members}");
    }
}

#[tokio::test]
async fn p9_a_status_that_is_no_text_is_counted_as_unknown() {
    for status in ["1", "true", "{\"value\":\"Red Flag\"}", "[\"Red Flag\"]", "\"Red Flags\""] {
        let vendor = Verbatim::new().await;
        let odd = item("s", &format!(r#""kyc":{{"result":{status}}},"aml":{{"currentstatus":{status}}}"#));
        let report = vendor.read(&mut vendor.engine().await, &[odd]).await;
        let drift = &report.counts.drift;
        assert_eq!(
            (drift.get("unknown_kyc_result"), drift.get("unknown_aml_status")),
            (Some(&1), Some(&1)),
            "{status}"
        );
    }
}
