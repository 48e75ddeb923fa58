//! The grants of docs/postgresql.md are enough for the daemon's role, and each is needed for what it is said to be for.

use std::io::Write;
use std::sync::{Arc, Mutex};

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::heartbeat::Heartbeat;
use argos_sync::simulator::Options;
use argos_sync::store::database::options;
use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::support::program;
use crate::support::work::{self, work};
use crate::support::world::{World, settings};
use crate::support::{Database, Verbatim};

/// The statements of a step of docs/postgresql.md, for a role of the test's own.
fn step(begins: &str, role: &str) -> String {
    let docs = include_str!("../../docs/postgresql.md");
    let after = docs.split(begins).nth(1).expect("the step");
    let grants = after.split("```sql").nth(1).and_then(|block| block.split("```").next()).expect("its statements");
    grants.replace("to argos_sync;", &format!("to {role};"))
}

/// A role with the grants of step 3, and the database's URL under which everything is done as that role, after connecting
/// as whom the tests connect.
async fn daemon(database: &Database, name: &str) -> (String, String) {
    let role = format!("argos_test_{}_{name}", std::process::id());
    execute(&database.pool, &format!("create role {role}")).await;
    execute(&database.pool, &step("**3. As the migrator", &role)).await;
    let url = as_role(database, &role);
    assert!(options(&url).is_ok());
    (role, url)
}

#[tokio::test]
async fn a_role_with_the_documented_grants_can_do_the_daemons_work() {
    let world = World::new(Options { initial: 50, ..Options::default() }).await;
    let (role, url) = daemon(&world.database, "daemon").await;
    let changes = [&[("database.migrate", "false")], &work::SETTINGS[..]].concat();
    let app = App::open(settings(&world.simulator.base_url(), &url, &changes), Clock::system()).await.unwrap();
    app.prepare_database().await.unwrap();
    let who: String = sqlx::query_scalar("select current_user::text").fetch_one(&app.pool).await.unwrap();
    assert_eq!(who, role);
    let mut engine = world.engine_in(&app, "granted").await;
    assert_eq!(engine.once().await.unwrap().counts.new, 50);
    work(&world, &app, &mut engine).await;
    engine.release().await.unwrap();
    let args = ["restored", "--yes"];
    let ended = program::run(program::command(&args, &world.simulator.base_url(), &url, &changes)).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    app.close().await.unwrap();
    execute(&world.database.pool, &format!("drop owned by {role}; drop role {role}")).await;
    drop::<Database>(world.database);
}

#[tokio::test]
async fn a_retention_without_its_grant_is_told_once_and_reading_goes_on() {
    let vendor = Verbatim::new().await;
    let (role, url) = daemon(&vendor.database, "pruner").await;
    let outbox = step("**5. Optional", &role);
    let changes = [("database.migrate", "false"), ("retention.outbox", "30d"), ("retention.versions", "30d")];
    let base_url = vendor.app.settings.projects[0].api.base_url.as_str();
    let app = App::open(settings(base_url, &url, &changes), vendor.clock.clone()).await.unwrap();
    let project = &app.settings.projects[0];
    let mut engine = app.engine(project, "pruner", &Heartbeat::new(), &CancellationToken::new()).await.unwrap();
    let item =
        |email: &str| format!(r#"{{"submission_id":"s","created_at":"2026-03-10T12:00:00Z","email":"{email}"}}"#);
    vendor.read(&mut engine, &[item("a"), "7".to_owned()]).await;
    vendor.read(&mut engine, &[item("b")]).await;
    vendor.clock.advance(TimeDelta::days(30));

    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || written.clone()).with_ansi(false).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let counts = async || {
        let sql = "select format('%s events, %s bodies, %s quarantined', (select count(*) from argos.outbox),
                          (select count(item) from argos.submission_versions), (select count(*) from argos.quarantine))";
        vendor.database.text(sql).await.unwrap()
    };
    let before = counts().await;
    let events = before.split(' ').next().unwrap().to_owned();
    assert_eq!(before, format!("{events} events, 2 bodies, 1 quarantined"));

    engine.prune_when_due().await;
    let told = log.text();
    for part in ["retention is not kept", "pruning the outbox", "42501", "table outbox", "docs/postgresql.md"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    assert_eq!(counts().await, format!("{events} events, 1 bodies, 0 quarantined"), "the others are still done");
    assert_eq!(vendor.read(&mut engine, &[item("b")]).await.counts.unchanged, 1, "reading goes on");
    for failures in [2, 3] {
        vendor.clock.advance(TimeDelta::minutes(5));
        engine.prune_when_due().await;
        let line = format!("argos_sync_prune_failures_total{{project=\"default\"}} {failures}\n");
        assert!(app.metrics.encode().unwrap().contains(&line));
    }
    assert_eq!(log.text().matches("retention is not kept").count(), 1, "{}", log.text());

    execute(&vendor.database.pool, &outbox).await;
    vendor.clock.advance(TimeDelta::minutes(5));
    engine.prune_when_due().await;
    assert_eq!(counts().await, "0 events, 1 bodies, 0 quarantined");
    assert_eq!(log.text().matches("retention is not kept").count(), 1, "{}", log.text());
    drop(guard);

    // The grant is for the body alone.
    let column = "update argos.submission_versions set changed = '{}'";
    let refused = sqlx::raw_sql(column).execute(&app.pool).await.unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    engine.release().await.unwrap();
    app.close().await.unwrap();
    execute(&vendor.database.pool, &format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn a_role_with_the_documented_grants_can_work_the_list_of_alerts() {
    let world = World::new(Options { initial: 60, ..Options::default() }).await;
    world.engine().await.once().await.unwrap();
    let role = format!("argos_test_{}_compliance", std::process::id());
    execute(&world.database.pool, &format!("create role {role}")).await;
    let grants = step("**Compliance**, who", &role).replace("to kyc_compliance;", &format!("to {role};"));
    execute(&world.database.pool, &grants).await;
    let url = as_role(&world.database, &role);
    let alerts = async |args: &[&str]| {
        let args = [&["alerts"], args].concat();
        program::run(program::command(&args, &world.simulator.base_url(), &url, &[("database.migrate", "false")])).await
    };
    let waiting = alerts(&["list", "--json"]).await;
    assert!(waiting.code == Some(0) && waiting.stdout.lines().count() > 0, "{waiting:?}");
    let ended = alerts(&["ack", "--all-imported", "--by", "a", "--reason", "b"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let listed = alerts(&["list", "--json"]).await;
    assert_eq!((listed.code, listed.stdout.as_str()), (Some(0), ""), "{listed:?}");
    execute(&world.database.pool, &format!("drop owned by {role}; drop role {role}")).await;
}

/// What the daemon's role has no need of: most of it would undo what was told, or what keeps somebody else out.
const NOT_THE_DAEMONS: [&str; 17] = [
    "alter table argos.submissions add column more text",
    "alter table argos.outbox disable trigger all",
    "drop table argos.submissions",
    "truncate argos.outbox",
    "create table argos.more (more text)",
    "create function argos.more() returns text language sql return 'more'",
    "create schema more",
    "create role more",
    "delete from argos.submissions",
    "delete from argos.submission_versions",
    "delete from argos.outbox",
    "delete from argos.erasure_receipts",
    "delete from argos.alerts",
    "update argos.submission_versions set changed = '{}'",
    "update argos.outbox set type = 'submission.created'",
    "update argos.compatibility set min_writer = 0",
    "insert into argos._sqlx_migrations (version) values (0)",
];

#[tokio::test]
async fn the_migrator_needs_little_and_the_daemon_has_nothing_of_it() {
    let world = World::new(Options { initial: 20, ..Options::default() }).await;
    let database = Database::bare().await;
    let name = database.text("current_database()").await.unwrap();
    let owner = format!("argos_test_{}_owner", std::process::id());
    execute(&database.pool, &format!("create role {owner}; grant connect, create on database {name} to {owner}")).await;
    let base_url = world.simulator.base_url();
    let url = as_role(&database, &owner);
    let ended = program::run(program::command(&["migrate"], &base_url, &url, &[])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let others = "select count(*) from pg_class where relnamespace = 'argos'::regnamespace and relowner <> ";
    assert_eq!(database.number(&format!("{others} '{owner}'::regrole")).await, 0);

    let daemon_role = format!("argos_test_{}_plain", std::process::id());
    execute(&database.pool, &format!("create role {daemon_role}")).await;
    execute(&database.pool, &format!("set role {owner}; {}; reset role", step("**3. As the migrator", &daemon_role)))
        .await;
    let url = as_role(&database, &daemon_role);
    let ended = program::run(program::command(&["once"], &base_url, &url, &[("database.migrate", "false")])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(database.number("select count(*) from argos.submissions").await, 20);
    for sql in NOT_THE_DAEMONS {
        let refused = in_session(&url, sql).await.expect_err(sql).to_string();
        assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{sql}: {refused}");
    }
    for role in [daemon_role, owner] {
        execute(&database.pool, &format!("drop owned by {role}; drop role {role}")).await;
    }
}

/// As whom the documents' statements are meant, where the words before them do not say "owner": where its grants stand in
/// docs/postgresql.md, and the role there.
const OPERATOR: (&str, &str) = ("**Operators**", "kyc_operator");
const AUDITOR: (&str, &str) = ("**Auditors**", "kyc_auditor");
const CONSUMER: (&str, &str) = ("## Readers", "kyc_consumer");

#[tokio::test]
async fn the_documents_statements_can_be_executed_by_whom_they_are_meant_for() {
    let world = World::new(Options { initial: 20, ..Options::default() }).await;
    world.engine().await.once().await.unwrap();
    let database = &world.database;
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut executed = 0;
    for (file, before, sql) in documents(&docs) {
        let (begins, named) = match file.as_str() {
            // Its statements make the roles: the tests above execute them.
            "postgresql.md" => continue,
            "coverage.md" => AUDITOR,
            "backup.md" | "retention.md" | "../README.md" => CONSUMER,
            _ => OPERATOR,
        };
        // Whatever they change is taken back.
        let sql = sql.replace("'PROJECT'", "'default'").replace("$mine", "0").replace("commit;", "rollback;");
        let role = format!("argos_test_{}_{named}", std::process::id());
        let grants = step(begins, "").replace(&format!(" to {named};"), &format!(" to {role};"));
        let grants: String = grants.split_inclusive(';').filter(|grant| grant.contains(&role)).collect();
        execute(&database.pool, &format!("create role {role}; {grants}; create schema work authorization {role}"))
            .await;
        let owner = before.contains("owner");
        let url = if owner { database.url.clone() } else { as_role(database, &role) };
        let result = in_session(&url, &format!("set search_path = work; {sql}")).await;
        assert!(result.is_ok(), "docs/{file}, as {}: {result:?}\n{sql}", if owner { "the owner" } else { named });
        execute(&database.pool, &format!("drop schema work cascade; drop owned by {role}; drop role {role}")).await;
        executed += 1;
    }
    assert!(executed >= 15, "{executed}");
}

/// Every block of SQL in the documents: its file, the paragraph before it, and the statements.
fn documents(docs: &std::path::Path) -> Vec<(String, String, String)> {
    let mut files = vec!["../README.md".to_owned()];
    for directory in ["", "runbooks/"] {
        for entry in std::fs::read_dir(docs.join(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            files.extend(name.ends_with(".md").then(|| format!("{directory}{name}")));
        }
    }
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(docs.join(&file)).unwrap();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("```sql\n") {
            let (sql, next) = after.split_once("```").expect("the block's end");
            let paragraph = before.trim_end().rsplit("\n\n").next().unwrap_or_default();
            found.push((file.clone(), paragraph.to_owned(), sql.to_owned()));
            rest = next;
        }
    }
    found
}

/// The database's URL under which everything is done as a role, after connecting as whom the tests connect.
fn as_role(database: &Database, role: &str) -> String {
    let separator = if database.url.contains('?') { '&' } else { '?' };
    format!("{}{separator}options[role]={role}", database.url)
}

/// Executes statements in a session of their own.
async fn in_session(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut session = options(url).unwrap().connect().await?;
    let result = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut session).await.map(drop);
    session.close().await?;
    result
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn execute(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}
