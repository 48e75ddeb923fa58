//! Does the mirror equal what the vendor shows, and is everything told once? Compared without the daemon's code.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Database;

/// An item without links, which expire, and without what is empty.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let members = map.iter().filter(|(name, value)| !is_link(name) && !value.is_null());
            Value::Object(members.map(|(name, value)| (name.clone(), comparable(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(comparable).collect()),
        other => other.clone(),
    }
}

fn is_link(name: &str) -> bool {
    matches!(name, "image" | "selfieImage")
}

fn by_id(items: Vec<Value>) -> BTreeMap<String, Value> {
    items.into_iter().map(|item| (item["submission_id"].as_str().unwrap().to_owned(), item)).collect()
}

/// Every submission that is not gone, as it is mirrored, must be what the vendor shows, and the other way round.
pub async fn assert_equal(database: &Database, truth: Vec<Value>) {
    let sql = "select item from argos.submissions where gone_at is null";
    let mirrored: Vec<Value> = sqlx::query_scalar(sql).fetch_all(&database.pool).await.unwrap();
    let (mut mirrored, truth) = (by_id(mirrored), by_id(truth));
    let mut differing = Vec::new();
    for (id, shown) in &truth {
        match mirrored.remove(id) {
            None => differing.push(format!("{id} is not in the mirror")),
            Some(item) if comparable(&item) != comparable(shown) => {
                differing.push(format!("{id} differs\n  mirror: {item}\n  vendor: {shown}"));
            }
            Some(_) => {}
        }
    }
    differing.extend(mirrored.keys().map(|id| format!("{id} is only in the mirror")));
    assert!(differing.is_empty(), "{} differ, the first: {:#?}", differing.len(), &differing[..differing.len().min(3)]);
    let results = "select count(*) from argos.submissions where kyc_result is distinct from item->'kyc'->>'result'";
    assert_eq!(database.number(results).await, 0, "the columns say what the item says");
}

/// Every event is there once, positions have no gap, and each version is one of those that submissions count.
pub async fn assert_once(database: &Database) {
    let events = database.number("select count(*) from argos.outbox").await;
    assert_eq!(events, database.number("select count(distinct id) from argos.outbox").await);
    assert_eq!(events, database.number("select count(distinct position) from argos.outbox").await);
    assert_eq!(events, database.number("select coalesce(max(position), 0) from argos.outbox").await, "a gap");
    assert_eq!(events, database.number("select last_position from argos.outbox_counter").await);
    let versions = "select count(*) from argos.submission_versions";
    assert_eq!(
        database.number(versions).await,
        database.number("select coalesce(sum(version), 0) from argos.submissions").await
    );
}
