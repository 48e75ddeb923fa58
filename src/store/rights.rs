//! What the daemon's role must be allowed, and what of it is not granted.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::error::StoreError;

/// Rights on tables, as docs/postgresql.md grants them.
const TABLES: [(&str, &[&str]); 6] = [
    ("select", &["_sqlx_migrations", "compatibility"]),
    ("select, update", &["secret", "outbox_counter"]),
    (
        "select, insert, update",
        &[
            "projects",
            "leases",
            "created_days",
            "request_budget",
            "counters",
            "errors",
            "submissions",
            "erasure_receipts",
            "drift",
            "alerts",
        ],
    ),
    (
        "select, insert, update, delete",
        &["walks", "walk_ids", "id_reads", "id_checks", "probes", "submission_views", "erasures", "erasure_holds"],
    ),
    ("select, insert, delete", &["attempts", "aml_matches", "bank_verifications", "quarantine"]),
    ("select, insert", &["submission_versions", "outbox", "view_fields"]),
];

/// Rights to update one column: table, column.
const COLUMNS: [(&str, &str); 2] = [("submission_versions", "item"), ("outbox", "payload")];

/// The statements that grant the session's role what it lacks; tables that are not there need no grant yet. `pruning`:
/// whether events are to be deleted.
pub async fn missing(connection: &mut PgConnection, pruning: bool) -> Result<Vec<String>, StoreError> {
    let doing = "looking at the rights of the role";
    let schema = sqlx::query!(
        r#"select quote_ident(current_user) as "role!", has_schema_privilege(oid, 'usage') as "usage!"
             from pg_namespace where nspname = 'argos'"#
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    let Some(schema) = schema else { return Ok(Vec::new()) };
    let (tables, rights, columns) = needed(pruning);
    let rows = sqlx::query!(
        r#"select needed.name as "name!", needed.right_name as "right_name!", needed.column_name
             from unnest($1::text[], $2::text[], $3::text[]) with ordinality
                  as needed (name, right_name, column_name, place)
             join pg_class c on c.relname = needed.name
             join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'argos'
            where not case when needed.column_name is null then has_table_privilege(c.oid, needed.right_name)
                           else has_column_privilege(c.oid, needed.column_name, needed.right_name) end
            order by place"#,
        &tables,
        &rights,
        &columns as &[Option<String>]
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing(doing))?;
    let mut by_table: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        let right =
            row.column_name.map_or_else(|| row.right_name.clone(), |name| format!("{} ({name})", row.right_name));
        by_table.entry(row.name).or_default().push(right);
    }
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, rights) in by_table {
        missing.entry(rights.join(", ")).or_default().push(format!("argos.{table}"));
    }
    let usage = (!schema.usage).then(|| format!("grant usage on schema argos to {};", schema.role));
    let grants = missing
        .into_iter()
        .map(|(rights, tables)| format!("grant {rights} on {} to {};", tables.join(", "), schema.role));
    Ok(usage.into_iter().chain(grants).collect())
}

/// Table, right and column of everything that is needed.
fn needed(pruning: bool) -> (Vec<String>, Vec<String>, Vec<Option<String>>) {
    let tables = TABLES.iter().flat_map(|(rights, tables)| {
        tables.iter().flat_map(|table| rights.split(", ").map(|right| (*table, right, None)))
    });
    let columns = COLUMNS.iter().map(|(table, column)| (*table, "update", Some((*column).to_owned())));
    let events = pruning.then_some(("outbox", "delete", None));
    let (mut names, mut rights, mut of_columns) = (Vec::new(), Vec::new(), Vec::new());
    for (table, right, column) in tables.chain(columns).chain(events) {
        names.push(table.to_owned());
        rights.push(right.to_owned());
        of_columns.push(column);
    }
    (names, rights, of_columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_documents() {
        let docs = include_str!("../../docs/postgresql.md");
        let block = docs.split("**3. As the migrator").nth(1).unwrap().split("```").nth(1).unwrap();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let grants: Vec<String> = words(block.trim_start_matches("sql")).split("; ").map(str::to_owned).collect();
        let grants: Vec<&str> = grants.iter().map(|grant| grant.trim_end_matches(';')).collect();
        let named =
            |tables: &[&str]| tables.iter().map(|table| format!("argos.{table}")).collect::<Vec<_>>().join(", ");
        let usage = "grant usage on schema argos to argos_sync".to_owned();
        let tables = TABLES.iter().map(|(rights, tables)| format!("grant {rights} on {} to argos_sync", named(tables)));
        let columns =
            COLUMNS.iter().map(|(table, column)| format!("grant update ({column}) on argos.{table} to argos_sync"));
        assert_eq!(grants, std::iter::once(usage).chain(tables).chain(columns).collect::<Vec<_>>());
    }
}
