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

/// Progress, budget, coverage, lease, what was found out about the vendor (also which fields a view can show at all), and
/// what the installation is: where "nothing is written" need not hold. All others hold data, also one that a later migration
/// makes.
const PROGRESS_TABLES: &[&str] = &[
    "_sqlx_migrations",
    "compatibility",
    "created_days",
    "drift",
    "errors",
    "id_checks",
    "id_reads",
    "leases",
    "probes",
    "projects",
    "request_budget",
    "secret",
    "view_fields",
    "walk_ids",
    "walks",
];

/// Where "nothing is written" holds.
pub async fn data_tables(database: &Database) -> Vec<String> {
    let sql = "select relname::text from pg_class
                where relnamespace = 'argos'::regnamespace and relkind = 'r' order by relname";
    let all: Vec<String> = sqlx::query_scalar(sql).fetch_all(&database.pool).await.unwrap();
    for name in PROGRESS_TABLES {
        assert!(all.iter().any(|table| table == name), "there is no table {name}");
    }
    all.into_iter().filter(|table| !PROGRESS_TABLES.contains(&table.as_str())).collect()
}

/// What a page's transaction writes beside them, but for the lease.
pub const PLACE_TABLES: &[&str] = &["walks", "created_days", "projects"];

/// Every row of every data table, with the transaction that wrote it and its place on disk.
pub async fn written(database: &Database) -> Vec<String> {
    written_and(database, &[]).await
}

/// The same, and of these other tables.
pub async fn written_and(database: &Database, others: &[&str]) -> Vec<String> {
    let mut tables = data_tables(database).await;
    tables.extend(others.iter().map(|table| (*table).to_owned()));
    written_in(database, &tables).await
}

/// The same of these tables alone.
pub async fn written_in(database: &Database, tables: &[String]) -> Vec<String> {
    let mut written = Vec::new();
    for table in tables {
        let query = format!("select xmin, ctid, t.* from argos.{table} t order by ctid");
        written.push(format!("{table}: {}", database.fingerprint(&query).await));
    }
    written
}

/// A count that metrics show.
pub async fn counter(database: &Database, name: &str) -> i64 {
    database.number(&format!("select coalesce(sum(value), 0) from argos.counters where name = '{name}'")).await
}
