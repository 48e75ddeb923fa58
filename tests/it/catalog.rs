//! src/domain/field.rs against the database's catalog: a new vendor field has two halves, and forgetting one is told.

use std::collections::BTreeMap;

use argos_sync::clock::Clock;
use argos_sync::domain::field::{Field, Kind};
use argos_sync::simulator::Options;
use argos_sync::store::recordset::{AML_MATCHES, ATTEMPTS, BANK_VERIFICATIONS, SUBMISSIONS, Table};

use crate::support::{Database, World};

/// The mirror's tables, and the names of the constants that hold their fields.
const TABLES: [(Table, &str); 4] =
    [(SUBMISSIONS, "SUBMISSION"), (ATTEMPTS, "ATTEMPT"), (AML_MATCHES, "MATCH"), (BANK_VERIFICATIONS, "BANK")];

struct Column {
    sql_type: String,
    nullable: bool,
    comment: Option<String>,
}

async fn columns(database: &Database, table: &str) -> BTreeMap<String, Column> {
    let sql =
        "select attname::text, format_type(atttypid, atttypmod), not attnotnull, col_description(attrelid, attnum)
                 from pg_attribute where attrelid = ('argos.' || $1)::regclass and attnum > 0 and not attisdropped";
    let rows: Vec<(String, String, bool, Option<String>)> =
        sqlx::query_as(sql).bind(table).fetch_all(&database.pool).await.unwrap();
    rows.into_iter().map(|(name, sql_type, nullable, comment)| (name, Column { sql_type, nullable, comment })).collect()
}

fn types(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Text | Kind::Word => &["text"],
        Kind::Decimal => &["numeric"],
        Kind::Time => &["timestamp with time zone"],
        Kind::TextList => &["text[]"],
        Kind::Json => &["jsonb"],
        Kind::Link => &["text", "jsonb"],
    }
}

/// What is wrong with a table, each in a sentence that says what to do.
fn problems(written: &Table, constant: &str, columns: &BTreeMap<String, Column>) -> Vec<String> {
    let (table, fields): (_, &[Field]) = (written.name, written.fields);
    let mut problems = Vec::new();
    for field in fields {
        let path = field.path.join(".");
        let wanted = types(field.kind);
        let Some(column) = columns.get(field.column) else {
            problems.push(format!(
                "{path} has a line in {constant} of src/domain/field.rs and no column: add `alter table argos.{table} add \
                 column {} {}` and its comment '{path}' in a new migration",
                field.column, wanted[0]
            ));
            continue;
        };
        if !wanted.contains(&column.sql_type.as_str()) {
            problems.push(format!(
                "argos.{table}.{} is {} and its Kind in src/domain/field.rs is {:?}: make it {}, or change the Kind",
                field.column,
                column.sql_type,
                field.kind,
                wanted.join(" or ")
            ));
        }
        if !column.nullable {
            problems.push(format!(
                "argos.{table}.{} is not null, but the vendor may leave any field out: drop the constraint",
                field.column
            ));
        }
        let comment = column.comment.as_deref().unwrap_or_default();
        let begins = comment
            .strip_prefix(&path)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || "._".contains(next)));
        if !begins {
            problems.push(format!(
                "the comment of argos.{table}.{} must begin with the vendor's path {path} and is {comment:?}: add `comment \
                 on column argos.{table}.{} is '{path}'` in a migration",
                field.column, field.column
            ));
        }
    }
    for name in columns.keys() {
        let known = written.columns().filter(|column| column == name).count();
        if known != 1 {
            problems.push(format!(
                "argos.{table}.{name} is written {known} times: a vendor's column has one line in {constant} of \
                 src/domain/field.rs; a column of ours stands in the list of src/store/recordset.rs"
            ));
        }
    }
    for name in written.own.iter().filter(|name| !columns.contains_key(**name)) {
        problems.push(format!("argos.{table} has no column {name}: take it out of src/store/recordset.rs"));
    }
    problems
}

#[tokio::test]
async fn every_vendor_field_has_its_column_and_every_column_its_field() {
    let database = Database::fresh().await;
    let mut all = Vec::new();
    for (written, constant) in TABLES {
        let (table, fields) = (written.name, written.fields);
        all.extend(problems(&written, constant, &columns(&database, table).await));
        let comment = database.text(&format!("select obj_description('argos.{table}'::regclass, 'pg_class')")).await;
        if comment.is_none() {
            all.push(format!(
                "argos.{table} has no comment: add `comment on table argos.{table} is '...'` in a migration"
            ));
        }
        for (i, field) in fields.iter().enumerate() {
            if fields[..i].iter().any(|other| other.path == field.path) {
                all.push(format!("{} stands twice in {constant}: remove one line", field.path.join(".")));
            }
        }
    }
    assert!(all.is_empty(), "\n{}\n", all.join("\n"));
}

#[tokio::test]
async fn every_table_and_every_column_says_what_it_is_for() {
    let database = Database::fresh().await;
    // The migrator makes a table of its own.
    let sql = "select format('argos.%s%s', relname, '.' || attname)
                 from pg_class c
                 join lateral (select null::name as attname, 0 as attnum
                                union all
                               select attname, attnum from pg_attribute
                                where attrelid = c.oid and attnum > 0 and not attisdropped) a on true
                where relnamespace = 'argos'::regnamespace and relkind in ('r', 'v') and relname <> '_sqlx_migrations'
                  and coalesce(case attnum when 0 then obj_description(c.oid, 'pg_class')
                                           else col_description(c.oid, attnum) end, '') = ''
                order by 1";
    let silent: Vec<String> = sqlx::query_scalar(sql).fetch_all(&database.pool).await.unwrap();
    assert!(silent.is_empty(), "a migration must say with `comment on` what these are for: {silent:#?}");
}

#[tokio::test]
async fn a_forgotten_half_is_told() {
    let database = Database::fresh().await;
    let forget = "alter table argos.bank_verifications drop column type;
                  alter table argos.bank_verifications rename column project_id to project;
                  alter table argos.bank_verifications add column holder text;
                  alter table argos.bank_verifications alter column retry_count type text;
                  comment on column argos.bank_verifications.result is 'resulting'";
    sqlx::raw_sql(forget).execute(&database.pool).await.unwrap();
    let (written, constant) = &TABLES[3];
    let told = problems(written, constant, &columns(&database, written.name).await);
    let about = |text: &str| told.iter().filter(|problem| problem.contains(text)).count();
    assert_eq!(told.len(), 6, "{told:#?}");
    assert_eq!(about("add column type text"), 1);
    assert_eq!(about("argos.bank_verifications.holder is written 0 times"), 1);
    assert_eq!(about("argos.bank_verifications.project is written 0 times"), 1);
    assert_eq!(about("has no column project_id"), 1);
    assert_eq!(about("make it numeric"), 1);
    assert_eq!(about("must begin with the vendor's path result"), 1);
}

/// The statements of docs/operating.md remove a project, also from tables that were added after they were written, and
/// leave the others alone.
#[tokio::test]
async fn p7_a_project_is_removed_whole_and_alone() {
    let world = World::with(Options { initial: 30, ..Options::default() }, &[], Clock::system()).await;
    world.engine().await.once().await.unwrap();
    let database = &world.database;
    database
        .execute("insert into argos.projects (project_id, name, import_started_at) values ('other', 'other', now())")
        .await;
    let docs = include_str!("../../docs/operating.md");
    let section = docs.split("## Removing a project").nth(1).expect("the section");
    let sql = section.split("```sql").nth(1).and_then(|block| block.split("```").next()).expect("its statements");
    database.execute(sql).await;
    let tables = "select string_agg(c.relname, ' ') from pg_class c join pg_attribute a on a.attrelid = c.oid
                   where c.relnamespace = 'argos'::regnamespace and c.relkind = 'r' and a.attname = 'project_id'";
    for table in database.text(tables).await.unwrap().split(' ') {
        let left = database.number(&format!("select count(*) from argos.{table} where project_id = 'default'")).await;
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(database.number("select count(*) from argos.projects where project_id = 'other'").await, 1);
}
