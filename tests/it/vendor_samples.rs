//! The samples of the vendor's documents, and one constructed item with every documented field, through the real path
//! into all tables. See tests/fixtures/README.md.

use argos_sync::argos::query::Query;
use argos_sync::domain::field::{ATTEMPT, BANK, Field, MATCH, SUBMISSION};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::rows::{rows, whole_rows};
use crate::support::{Verbatim, assert_valid_events};

const TABLES: [(&str, &[Field]); 4] =
    [("submissions", SUBMISSION), ("attempts", ATTEMPT), ("aml_matches", MATCH), ("bank_verifications", BANK)];

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/vendor/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn expected(name: &str) -> Value {
    serde_json::from_str(&fixture(&format!("{name}.expected.json"))).unwrap()
}

fn items(body: &str) -> Vec<Value> {
    let body: Value = serde_json::from_str(body).unwrap();
    body["Items"].as_array().unwrap().clone()
}

/// The first placeholder becomes `{submission_id} 1`, the second `{submission_id} 2`, and so on.
fn numbered(body: &str) -> String {
    let mut parts = body.split("\"{submission_id}\"");
    let mut text = parts.next().unwrap().to_owned();
    for (i, part) in parts.enumerate() {
        text.push_str(&format!("\"{{submission_id}} {}\"{part}", i + 1));
    }
    text
}

async fn assert_tables(vendor: &Verbatim, expected: &Value) {
    for (table, _) in TABLES {
        let rows = rows(&vendor.database, table).await;
        let (rows, expected) = (rows.as_array().unwrap(), expected[table].as_array().unwrap());
        assert_eq!(rows.len(), expected.len(), "{table}");
        for (row, expected) in rows.iter().zip(expected) {
            let (row, expected) = (row.as_object().unwrap(), expected.as_object().unwrap());
            for column in row.keys().chain(expected.keys()) {
                assert_eq!(row.get(column), expected.get(column), "{table}.{column}");
            }
        }
    }
}

#[tokio::test]
async fn printed_samples_go_into_the_tables_field_by_field() {
    // How many placeholders stand where a time belongs: null columns, counted as drift.
    let samples =
        [("s001-specific", 0), ("s001-by-id", 6), ("s001-by-userid", 4), ("s001-by-email", 4), ("s001-list", 4)];
    for (name, unreadable) in samples {
        let vendor = Verbatim::new().await;
        let body = numbered(&fixture(&format!("{name}.json")));
        vendor.pages(vec![body.clone()]);
        let report = vendor.engine().await.once().await.unwrap();
        let items = items(&body);
        assert_eq!((report.counts.new, report.counts.quarantined), (items.len() as u64, 0), "{name}");
        assert_eq!(report.counts.drift.values().sum::<u64>(), unreadable, "{name}: {:?}", report.counts.drift);
        assert_eq!(report.counts.drift.get("bad_field").copied().unwrap_or(0), unreadable, "{name}");
        assert_tables(&vendor, &expected(name)).await;
        // The whole item is kept as it was sent, in the mirror and in the history.
        for table in ["submissions", "submission_versions"] {
            for item in &items {
                let sql = format!("select item from argos.{table} where submission_id = $1");
                let stored: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                    .bind(item["submission_id"].as_str())
                    .fetch_one(&vendor.database.pool)
                    .await
                    .unwrap();
                assert_eq!(stored, *item, "{name}: {table}");
            }
        }
        assert_valid_events(&vendor.database.pool).await;
    }
}

#[tokio::test]
async fn p2_placeholders_as_printed_are_one_id_and_the_last_place_wins() {
    for name in ["s001-by-userid", "s001-by-email", "s001-list"] {
        let vendor = Verbatim::new().await;
        let body = fixture(&format!("{name}.json"));
        vendor.pages(vec![body.clone()]);
        let report = vendor.engine().await.once().await.unwrap();
        assert_eq!((report.counts.new, report.counts.duplicate), (1, 2), "{name}");
        assert_eq!(vendor.database.number("select count(*) from argos.submission_versions").await, 1);
        let mut last = expected(name)["submissions"][2].clone();
        last["submission_id"] = json!("{submission_id}");
        assert_eq!(rows(&vendor.database, "submissions").await, json!([last]), "{name}");
    }
}

#[tokio::test]
async fn printed_samples_answer_the_query_modes() {
    let vendor = Verbatim::new().await;
    let samples = [
        ("submission_id", "gt7rcxx9l1o*****", "s001-specific.json"),
        ("submission_id", "{submission_id}", "s001-by-id.json"),
        ("userid", "{userid}", "s001-by-userid.json"),
        ("email", "{email}", "s001-by-email.json"),
    ];
    let engine = vendor.engine().await;
    let client = &engine.parts().client;
    client.pace.grant(100, std::time::Duration::from_secs(60));
    for (parameter, value, file) in samples {
        vendor.answers("submission", &[(parameter, value)], &fixture(file));
        let query = Query { select: Some((parameter, value.to_owned())), ..Query::default() };
        let page = client.submissions(&query).await.unwrap().content;
        let found: Vec<Value> = page.items().map(|raw| serde_json::from_str(raw.json).unwrap()).collect();
        assert_eq!(found, items(&fixture(file)), "{file}");
        assert!(page.items().all(|raw| raw.submission_id.is_some()) && page.next.is_none(), "{file}");
    }
    vendor.answers("submission/applicant", &[("applicant_id", "{applicant_id}")], &fixture("s001-applicant.json"));
    let found = client.applicant("{applicant_id}").await.unwrap();
    let one = json!({"submission_id": "{submission_id}", "email": "{email}"});
    assert_eq!(found, [one.clone(), one.clone(), one]);
}

/// By an insert, and by an update of a row that was nearly empty: a column in the wrong place of either shows.
#[tokio::test]
async fn the_constructed_item_fills_every_column_and_its_next_page_is_read() {
    for through_an_update in [false, true] {
        let vendor = Verbatim::new().await;
        let mut engine = vendor.engine().await;
        if through_an_update {
            vendor.list(&[r#"{"submission_id":"constructed_0001","created_at":"2024-01-01T00:00:00Z"}"#]);
            engine.once().await.unwrap();
            vendor.clock.advance(TimeDelta::minutes(1));
        }
        vendor.pages(vec![fixture("constructed-page-1.json"), fixture("constructed-page-2.json")]);
        let asked = vendor.requests().len();
        let report = engine.once().await.unwrap();
        assert_eq!((report.complete, report.pages, report.counts.items), (true, 2, 2));
        let drift: Vec<_> = report.counts.drift.names.keys().map(|(_, name)| name.as_str()).collect();
        assert_eq!((drift, report.counts.drift.len()), (vec!["undocumented_field"], 1));

        let requests = &vendor.requests()[asked..];
        assert_eq!(requests.len(), 2);
        assert!(!requests[0].1.iter().any(|(name, _)| name.starts_with("nextpage")));
        let key = [("nextpage_id", "constructed_0001"), ("nextpage_date", "2025-01-02T03:04:05.678Z")];
        for (name, value) in key {
            assert!(requests[1].1.contains(&(name.to_owned(), value.to_owned())), "byte for byte: {requests:?}");
        }

        assert_tables(&vendor, &expected("constructed")).await;
        let sent = &items(&fixture("constructed-page-1.json"))[0];
        let sql = "select item from argos.submissions where submission_id = 'constructed_0001'";
        let stored: Value = sqlx::query_scalar(sql).fetch_one(&vendor.database.pool).await.unwrap();
        assert_eq!(stored, *sent);
        for (table, fields) in TABLES {
            let all = whole_rows(&vendor.database, table).await;
            let row = all.iter().find(|row| row["submission_id"] == "constructed_0001").unwrap();
            for (column, value) in row {
                assert!(!value.is_null(), "{table}.{column} is null: give constructed-page-1.json this field");
            }
            for field in fields {
                assert!(row.contains_key(field.column), "{table}.{}", field.column);
                assert!(
                    expected("constructed")[table][0].get(field.column).is_some(),
                    "{table}.{} is not in constructed.expected.json: add it by hand",
                    field.column
                );
            }
        }
        assert_valid_events(&vendor.database.pool).await;
    }
}
