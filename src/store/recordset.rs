//! Statements that write rows handed over as one JSON document: columns are named, never counted.
//!
//! A statement names the columns that this binary knows and no other. So a binary goes on writing when a newer one has
//! added a column: new rows get the column's default, others keep what stands there.

use serde_json::Value;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::domain::field::{ATTEMPT, BANK, Field, MATCH, SUBMISSION};

/// A table of the mirror: its columns that are ours, and then one per field of the vendor's.
pub struct Table {
    /// Its name, without the schema.
    pub name: &'static str,
    /// Columns that do not come from the vendor.
    pub own: &'static [&'static str],
    /// The vendor's fields.
    pub fields: &'static [Field],
}

/// `argos.submissions`
pub const SUBMISSIONS: Table = Table {
    name: "submissions",
    own: &[
        "project_id",
        "submission_id",
        "version",
        "version_id",
        "first_seen_at",
        "first_request",
        "gone_at",
        "changed_at",
        "observed_at",
        "created_day",
        "history",
        "removed_fields",
        "item",
    ],
    fields: SUBMISSION,
};

/// `argos.attempts`
pub const ATTEMPTS: Table = Table { name: "attempts", own: &["project_id", "submission_id", "place"], fields: ATTEMPT };

/// `argos.aml_matches`
pub const AML_MATCHES: Table =
    Table { name: "aml_matches", own: &["project_id", "submission_id", "place"], fields: MATCH };

/// `argos.bank_verifications`
pub const BANK_VERIFICATIONS: Table =
    Table { name: "bank_verifications", own: &["project_id", "submission_id"], fields: BANK };

impl Table {
    /// The columns that are written, each once.
    pub fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.own.iter().copied().chain(self.fields.iter().map(|field| field.column))
    }

    /// Inserts rows; the keys of `rows` are columns.
    pub(super) async fn insert(&self, connection: &mut PgConnection, rows: Vec<Value>) -> Result<u64, sqlx::Error> {
        execute(connection, self.insert_sql(), rows).await
    }

    /// Inserts rows, and replaces a submission's row whose version is the one before.
    pub(super) async fn replace(&self, connection: &mut PgConnection, rows: Vec<Value>) -> Result<u64, sqlx::Error> {
        let columns: Vec<&str> = self.columns().collect();
        let sql = format!(
            "{} on conflict (project_id, submission_id) do update
                   set ({}) = row(excluded.{})
                 where t.version = excluded.version - 1",
            self.insert_sql(),
            columns.join(", "),
            columns.join(", excluded.")
        );
        execute(connection, sql, rows).await
    }

    fn insert_sql(&self) -> String {
        let Self { name, .. } = self;
        let columns = self.columns().collect::<Vec<_>>().join(", ");
        format!(
            "insert into argos.{name} as t ({columns})
             select {columns} from jsonb_populate_recordset(null::argos.{name}, $1)"
        )
    }
}

/// The text is the same every time, so a connection prepares it once.
async fn execute(connection: &mut PgConnection, sql: String, rows: Vec<Value>) -> Result<u64, sqlx::Error> {
    // Made of names that stand in this crate.
    Ok(sqlx::query(AssertSqlSafe(sql)).bind(Json(rows)).execute(connection).await?.rows_affected())
}
