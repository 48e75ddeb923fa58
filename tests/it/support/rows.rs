//! Rows of the mirror as JSON, to compare with what a test says by hand.

use serde_json::{Map, Value};

use super::Database;

/// Columns of the mirror's tables that do not come from the vendor.
pub const OWN_COLUMNS: &[&str] = &[
    "project_id",
    "version",
    "version_id",
    "first_seen_at",
    "changed_at",
    "observed_at",
    "item",
    "first_request",
    "gone_at",
    "history",
    "removed_fields",
];

/// The vendor's columns of a table, nulls included, ordered by id and place.
pub async fn whole_rows(database: &Database, table: &str) -> Vec<Map<String, Value>> {
    // Only attempts and matches have a place.
    let sql = format!(
        "select to_jsonb(t) from argos.{table} t
          order by t.submission_id, (to_jsonb(t)->>'place')::integer"
    );
    let rows: Vec<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&database.pool).await.unwrap();
    rows.into_iter()
        .map(|row| {
            let Value::Object(mut row) = row else { panic!("a row is an object") };
            row.retain(|column, _| !OWN_COLUMNS.contains(&column.as_str()));
            row
        })
        .collect()
}

/// The same without nulls.
pub async fn rows(database: &Database, table: &str) -> Value {
    let mut rows = whole_rows(database, table).await;
    rows.iter_mut().for_each(|row| row.retain(|_, value| !value.is_null()));
    Value::Array(rows.into_iter().map(Value::Object).collect())
}

/// One submission's columns, without nulls.
pub async fn submission(database: &Database, id: &str) -> Value {
    let Value::Array(all) = rows(database, "submissions").await else { panic!("a list") };
    all.into_iter().find(|row| row["submission_id"] == id).expect("the submission is in the mirror")
}

/// Where "nothing is written" holds; the other tables are progress, budget, coverage and lease.
pub const DATA_TABLES: &[&str] = &[
    "submissions",
    "attempts",
    "aml_matches",
    "bank_verifications",
    "submission_views",
    "submission_versions",
    "outbox",
    "outbox_counter",
    "quarantine",
    "alerts",
    "counters",
];

/// What a page's transaction writes beside them, but for the lease.
pub const PLACE_TABLES: &[&str] = &["walks", "created_days", "projects"];

/// Every row of every data table, with the transaction that wrote it and its place on disk.
pub async fn written(database: &Database) -> Vec<String> {
    written_in(database, &[DATA_TABLES]).await
}

/// The same of these lists of tables.
pub async fn written_in(database: &Database, lists: &[&[&str]]) -> Vec<String> {
    let mut written = Vec::new();
    for table in lists.iter().copied().flatten() {
        let query = format!("select xmin, ctid, t.* from argos.{table} t order by ctid");
        written.push(format!("{table}: {}", database.fingerprint(&query).await));
    }
    written
}

/// A count that metrics show.
pub async fn counter(database: &Database, name: &str) -> i64 {
    database.number(&format!("select coalesce(sum(value), 0) from argos.counters where name = '{name}'")).await
}
