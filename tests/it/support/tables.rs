//! What two runs over the same submissions must have in common.

use std::collections::BTreeMap;

use super::Database;

/// Every table but for what may differ between two runs: when it was, by which request, and links that expire. A hash of
/// each row by its key.
pub struct Tables(Vec<(String, BTreeMap<String, String>)>);

impl Tables {
    /// Those of a database.
    pub async fn of(database: &Database) -> Self {
        let mut tables = Vec::new();
        for (table, query) in queries() {
            tables.push((table, rows(database, &query).await));
        }
        Self(tables)
    }

    /// Those, and what must be the same where both asked in the same order: how far the walks are, which days are covered,
    /// what seems to be deleted, and at which position each event is.
    pub async fn and_places(database: &Database) -> Self {
        let mut tables = Self::of(database).await;
        for (table, key, but) in PLACES {
            let query =
                format!("select {key} as key, (to_jsonb(t) - '{{{but}}}'::text[])::text as rest from argos.{table} t");
            tables.0.push((format!("{table}: places"), rows(database, &query).await));
        }
        tables
    }

    /// Without how far the walks are.
    pub fn without_walks(&self) -> Self {
        Self(self.0.iter().filter(|(table, _)| table != "walks: places").cloned().collect())
    }

    /// Whether others are the same; or where they differ.
    pub fn compare(&self, others: &Self) -> Result<(), String> {
        for ((table, one), (_, other)) in self.0.iter().zip(&others.0) {
            let differ: Vec<_> =
                one.keys().chain(other.keys()).filter(|key| one.get(*key) != other.get(*key)).collect();
            if !differ.is_empty() {
                let few = &differ[..differ.len().min(5)];
                return Err(format!("{table}: {} of {} rows differ: {few:?}", differ.len(), one.len()));
            }
        }
        Ok(())
    }

    /// Fails unless others are the same.
    pub fn same(&self, others: &Self) {
        for (table, rows) in &self.0 {
            assert!(!rows.is_empty() || MAY_BE_EMPTY.contains(&table.as_str()), "{table} is empty");
        }
        self.compare(others).unwrap();
    }
}

/// Not every test has something for them.
const MAY_BE_EMPTY: [&str; 4] = ["quarantine", "erasures: places", "erasure_receipts: places", "id_reads: places"];

/// Table, key, columns that may differ.
const PLACES: [(&str, &str, &str); 6] = [
    ("walks", "lane", "source,started_at,completed_at,last_completed_at,first_request"),
    ("created_days", "day::text", "covered_at,open_checked_at,verify_since"),
    ("erasures", "submission_id", "noticed_at,confirmed_at,next_check_at,released_at,lacked_at"),
    ("erasure_receipts", "submission_id || '/' || version", "noticed_at,confirmed_at,executed_at,digest"),
    ("id_reads", "submission_id", "requested_at"),
    ("outbox", "position::text", "payload,traceparent,recorded_at"),
];

fn queries() -> Vec<(String, String)> {
    const ITEM: &str = "jsonb_set(item - 'image', '{kyc,attempts}',
        (select coalesce(jsonb_agg(attempt - 'selfieImage' order by place), '[]')
           from jsonb_array_elements(item #> '{kyc,attempts}') with ordinality a (attempt, place)), false)";
    let whole = |table: &str, key: &str, but: &str| {
        (
            table.to_owned(),
            format!("select {key} as key, md5((to_jsonb(t) - '{{{but}}}'::text[])::text) as rest from argos.{table} t"),
        )
    };
    let with_item = |table: &str, key: &str, but: &str| {
        let rest = format!("md5((to_jsonb(t) - '{{item,{but}}}'::text[])::text) || md5(({ITEM})::text)");
        (table.to_owned(), format!("select {key} as key, {rest} as rest from argos.{table} t"))
    };
    let child = "submission_id || '/' || place";
    vec![
        with_item("submissions", "submission_id", "first_seen_at,first_request,changed_at,observed_at,image"),
        whole("attempts", child, "selfie_image"),
        whole("aml_matches", child, ""),
        whole("bank_verifications", "submission_id", ""),
        // The hash is one of bytes with expiring links in them.
        whole("submission_views", "submission_id || '/' || view", "body_hash"),
        with_item("submission_versions", "submission_id || '/' || version", "observed_at,lease_epoch,request_no"),
        whole("alerts", "alert_id::text", "raised_at"),
        whole("counters", "name || '/' || label", ""),
        whole("quarantine", "body_hash::text", "first_seen_at,expires_at"),
        // Two vendors listen at two ports. How much a page holds is what one process has measured.
        whole(
            "projects",
            "project_id",
            "import_started_at,import_completed_at,fully_walked_at,early_walked_at,source,page_items",
        ),
        whole("outbox_counter", "'only'", ""),
        // In their order within each submission, whatever lies between.
        (
            "outbox".to_owned(),
            "select aggregateid || '/' || row_number() over (partition by aggregateid order by position) as key,
                    md5(jsonb_build_array(id, aggregatetype, type, payload - 'observed_at', project_id, submission_id,
                                          version, ordinal)::text) as rest
               from argos.outbox"
                .to_owned(),
        ),
    ]
}

async fn rows(database: &Database, query: &str) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> =
        sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_all(&database.pool).await.unwrap();
    let count = rows.len();
    let rows: BTreeMap<_, _> = rows.into_iter().collect();
    assert_eq!(rows.len(), count, "keys repeat in {query}");
    rows
}
