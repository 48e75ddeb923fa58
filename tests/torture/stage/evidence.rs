//! What there is for the judge to look at.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{PROJECTS, SPOILED, Stage, patiently, wait};
use crate::judge::Evidence;

/// What the judge looks at, row by row.
const TABLES: &[&str] = &[
    "projects",
    "submissions",
    "submission_versions",
    "outbox",
    "attempts",
    "aml_matches",
    "bank_verifications",
    "counters",
    "erasure_receipts",
];

/// What a trigger notes of every step of a walk, and by which transaction.
pub(super) const NOTES: &str = "
    create schema judge;
    create table judge.progress (seq bigint generated always as identity, xid bigint, at timestamptz, project_id text,
        lane text, view text, by_id boolean, from_day date, to_day date, started_at timestamptz,
        cursor_id text, cursor_date text, pages bigint, completed_at timestamptz);
    create function judge.note() returns trigger language plpgsql as $$ begin
        insert into judge.progress (xid, at, project_id, lane, view, by_id, from_day, to_day, started_at, cursor_id,
                                    cursor_date, pages, completed_at)
        values (pg_current_xact_id()::text::bigint, clock_timestamp(), new.project_id, new.lane, new.view, new.by_id,
                new.from_day, new.to_day, new.started_at, new.cursor_id, new.cursor_date, new.pages, new.completed_at);
        return null;
    end $$;
    create trigger note after insert or update on argos.walks for each row execute function judge.note();
";

impl Stage<'_> {
    async fn rows(&self, sql: &str) -> Vec<Value> {
        patiently(|| sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&self.pool)).await
    }

    /// What the mirror holds and what the vendor has.
    pub(super) async fn mirrors(&self) -> Vec<Evidence> {
        let mut all = Vec::new();
        for (which, ((vendor, _, thin), project)) in self.vendors.iter().zip(PROJECTS).enumerate() {
            let tables =
                self.tables(project, &["submissions", "erasure_receipts", "erasure_holds", "quarantine"]).await;
            let spoiled = self.spoiled.contains(&which).then_some(SPOILED).into_iter().collect();
            all.push(Evidence { thin: *thin, tables, truth: vendor.truth(), spoiled, ..Evidence::default() });
        }
        all
    }

    /// The same, what was served, and what else the database holds.
    pub(super) async fn evidence(&self) -> Vec<Evidence> {
        let sql = "select relname::text from pg_class where relnamespace = 'argos'::regnamespace and relkind = 'r'";
        let names: Vec<String> = patiently(|| sqlx::query_scalar(sql).fetch_all(&self.pool)).await;
        let mut all = self.mirrors().await;
        for ((vendor, ..), (project, evidence)) in self.vendors.iter().zip(PROJECTS.iter().zip(&mut all)) {
            for table in &names {
                let sql = format!(
                    "select coalesce(string_agg(row::text, E'\\n'), '')
                       from (select to_jsonb(t) as row from argos.{table} t) rows
                      where coalesce(row->>'project_id', '{project}') = '{project}'"
                );
                let text: String =
                    patiently(|| sqlx::query_scalar(AssertSqlSafe(sql.clone())).fetch_one(&self.pool)).await;
                evidence.dump.push_str(&text);
            }
            evidence.tables = self.tables(project, TABLES).await;
            let sql = format!("select to_jsonb(t) from judge.progress t where project_id = '{project}' order by seq");
            evidence.tables.insert("progress".to_owned(), self.rows(&sql).await);
            evidence.served = vendor.requests().iter().map(|served| serde_json::to_value(served).unwrap()).collect();
        }
        all
    }

    async fn tables(&self, project: &str, names: &[&str]) -> BTreeMap<String, Vec<Value>> {
        let mut tables = BTreeMap::new();
        for name in names {
            let sql = format!(
                "select to_jsonb(t) || jsonb_build_object('xmin', t.xmin::text::bigint) from argos.{name} t
                  where project_id = '{project}'"
            );
            tables.insert((*name).to_owned(), self.rows(&sql).await);
        }
        tables
    }

    pub(super) async fn outbox(&self) -> Vec<(i64, String)> {
        patiently(|| {
            sqlx::query_as("select position, id::text from argos.outbox order by position").fetch_all(&self.pool)
        })
        .await
    }
}

/// A consumer that reads on from the last position it has seen, as README says, until it is told to stop; then once more.
pub(super) fn read_outbox(pool: PgPool) -> (watch::Sender<bool>, JoinHandle<Vec<(i64, String)>>) {
    let (stop, stopped) = watch::channel(false);
    let reader = tokio::spawn(async move {
        let mut read: Vec<(i64, String)> = Vec::new();
        loop {
            let last = *stopped.borrow();
            let mine = read.last().map_or(0, |(position, _)| *position);
            let sql = "select position, id::text from argos.outbox where position > $1 order by position";
            if let Ok(rows) = sqlx::query_as(sql).bind(mine).fetch_all(&pool).await {
                read.extend::<Vec<(i64, String)>>(rows);
                if last {
                    return read;
                }
            }
            wait(10).await;
        }
    });
    (stop, reader)
}
