//! argos.coverage_gaps: zero rows, or the days that were not completely read within an age.

use argos_sync::clock::Clock;
use argos_sync::domain::calendar::EARLIEST;
use argos_sync::simulator::Options;
use chrono::{Days, NaiveDate};
use sqlx::AssertSqlSafe;
use std::time::Duration;

use crate::support::{Database, World};

/// Days and whether they were ever read, as text.
async fn gaps(database: &Database, arguments: &str) -> Vec<String> {
    let sql = format!(
        "select day || case when covered_at is null and age is null then ' never'
                            when covered_at is null or age is null then ' CONTRADICTION'
                            else ' ' || round(extract(epoch from age) / 3600)::text || ' h' end
           from argos.coverage_gaps({arguments})"
    );
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&database.pool).await.unwrap()
}

async fn refusal(database: &Database, arguments: &str) -> String {
    let sql = format!("select * from argos.coverage_gaps({arguments})");
    let refused = sqlx::query(AssertSqlSafe(sql)).fetch_all(&database.pool).await.unwrap_err();
    refused.as_database_error().unwrap_or_else(|| panic!("{refused}")).message().to_owned()
}

/// Some past days; `read`: (day, hours ago).
async fn project(read: &[(&str, u32)]) -> Database {
    let database = Database::fresh().await;
    database.execute("insert into argos.projects (project_id, name, import_started_at) values ('p', 'P', now())").await;
    for (day, hours) in read {
        let sql = format!(
            "insert into argos.created_days (project_id, day, covered_at, submissions)
             values ('p', '{day}', now() - interval '{hours} hours', 1)"
        );
        database.execute(&sql).await;
    }
    database
}

#[tokio::test]
async fn each_day_counts_as_of_its_own_walk() {
    let database = project(&[("2026-01-02", 1), ("2026-01-03", 30), ("2026-01-04", 3)]).await;
    // Counted but never read.
    database
        .execute("insert into argos.created_days (project_id, day, submissions) values ('p', '2026-01-05', 7)")
        .await;
    let within = async |age: &str| gaps(&database, &format!("'p', '2026-01-01', '2026-01-06', '{age}'")).await;
    let never = ["2026-01-01 never", "2026-01-05 never", "2026-01-06 never"];
    assert_eq!(within("40 hours").await, never);
    assert_eq!(within("1 day").await, [never[0], "2026-01-03 30 h", never[1], never[2]]);
    assert_eq!(within("2 hours").await, [never[0], "2026-01-03 30 h", "2026-01-04 3 h", never[1], never[2]]);
    assert_eq!(within("0").await.len(), 6, "nothing was read this very moment");
    assert_eq!(gaps(&database, "'p', '2026-01-02', '2026-01-04', '40 hours'").await, [""; 0]);
    assert_eq!(gaps(&database, "'p', '2026-01-03', '2026-01-03', '1 hour'").await, ["2026-01-03 30 h"]);
    // Another project's days are not this one's.
    database.execute("insert into argos.projects (project_id, name, import_started_at) values ('q', 'Q', now())").await;
    assert_eq!(gaps(&database, "'q', '2026-01-02', '2026-01-02', '1 year'").await, ["2026-01-02 never"]);
}

#[tokio::test]
async fn a_walk_without_dates_covers_every_day_up_to_its_own() {
    let database = project(&[("2026-01-03", 200)]).await;
    database.execute("update argos.projects set fully_walked_at = '2026-01-05T23:59:59Z'").await;
    let asked = "'p', '1990-01-01', '2026-01-06', interval '100 years'";
    assert_eq!(gaps(&database, asked).await, ["2026-01-06 never"], "the day after the walk's own was not there yet");
    // The later of the two counts, whichever it is.
    database.execute("update argos.projects set fully_walked_at = now() - interval '5 hours'").await;
    assert_eq!(
        gaps(&database, "'p', '2026-01-03', '2026-01-04', '3 hours'").await,
        ["2026-01-03 5 h", "2026-01-04 5 h"]
    );
    database.execute("update argos.created_days set covered_at = now() - interval '2 hours'").await;
    assert_eq!(gaps(&database, "'p', '2026-01-03', '2026-01-04', '3 hours'").await, ["2026-01-04 5 h"]);
    // UTC decides, also in a session that lives elsewhere.
    database.execute("update argos.projects set fully_walked_at = '2026-01-05T20:00:00Z'").await;
    let mut session = database.pool.acquire().await.unwrap();
    sqlx::query("set timezone = 'Asia/Seoul'").execute(&mut *session).await.unwrap();
    let sql = "select count(*) from argos.coverage_gaps('p', '2026-01-06', '2026-01-06', '100 years')";
    let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *session).await.unwrap();
    assert_eq!(count, 1, "there it was the 6th already");
    sqlx::query("reset timezone").execute(&mut *session).await.unwrap();
}

#[tokio::test]
async fn a_walk_from_the_earliest_day_covers_the_days_before_the_first_submission() {
    let database = project(&[("2026-01-03", 1)]).await;
    let before = "'p', '1999-12-31', '2026-01-02', interval '1 day'";
    assert_eq!(
        gaps(&database, before).await.len(),
        9_500,
        "a row of the first day does not say that a walk reached back"
    );
    let early =
        "update argos.projects set early_walked_at = now() - interval '2 hours', early_walked_to = '2026-01-01'";
    database.execute(early).await;
    assert_eq!(gaps(&database, before).await, ["2026-01-02 never"]);
    assert_eq!(
        gaps(&database, "'p', '2025-12-31', '2026-01-03', '1 hour 30 minutes'").await[..2],
        ["2025-12-31 2 h", "2026-01-01 2 h"]
    );
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_and_never_looks_like_no_gaps() {
    let database = project(&[]).await;
    let days = "'2026-01-01', '2026-01-02', '1 day'";
    assert_eq!(refusal(&database, &format!("'nobody', {days}")).await, "coverage_gaps: there is no project 'nobody'");
    for null in [
        "null, '2026-01-01', '2026-01-02', '1 day'",
        "'p', null, '2026-01-02', '1 day'",
        "'p', '2026-01-01', null, '1 day'",
        "'p', '2026-01-01', '2026-01-02', null",
    ] {
        assert_eq!(refusal(&database, null).await, "coverage_gaps: no argument may be null");
    }
    let turned = refusal(&database, "'p', '2026-01-02', '2026-01-01', '1 day'").await;
    assert_eq!(turned, "coverage_gaps: from_day (2026-01-02) lies after to_day (2026-01-01)");
    assert!(refusal(&database, "'p', '-infinity', '2026-01-01', '1 day'").await.contains("days of the calendar"));
    assert!(refusal(&database, "'p', '2026-01-01', 'infinity', '1 day'").await.contains("days of the calendar"));
    assert!(refusal(&database, "'p', '2026-01-01', '2026-01-01', '-1 day'").await.contains("negative"));
    // The future was not read and is no gap either.
    assert_eq!(gaps(&database, "'p', current_date + 2, current_date + 9, '1 day'").await, [""; 0]);
    assert_eq!(gaps(&database, "'p', '2026-01-01', '9999-12-31', '1 day'").await[0], "2026-01-01 never");
}

#[tokio::test]
async fn walks_leave_the_gaps_that_they_should() {
    let clock = Clock::manual(Clock::system().now());
    let today = clock.now().date_naive();
    let back = |days: u64| today.checked_sub_days(Days::new(days)).unwrap();
    let history = Duration::from_secs(20 * 24 * 60 * 60);
    let options = Options { initial: 60, history, ..Options::default() };
    let within = |from: NaiveDate, to: NaiveDate| format!("'default', '{from}', '{to}', interval '1 hour'");

    let world = World::with(options.clone(), &[], clock.clone()).await;
    let mut engine = world.engine().await;
    assert!(engine.hot().await.unwrap().complete);
    assert_eq!(gaps(&world.database, &within(back(3), today)).await, [""; 0]);
    let older = gaps(&world.database, &within(back(9), today)).await;
    assert_eq!(older, (4..=9).rev().map(|n| format!("{} never", back(n))).collect::<Vec<_>>());
    assert!(gaps(&world.database, &within(EARLIEST, back(4))).await.len() > 9_000);

    // A walk from the earliest day up to some day; what it shows besides is not covered.
    let errand = engine.backfill(Some((EARLIEST, back(8)))).await.unwrap().unwrap();
    assert!(engine.to_end(errand).await.unwrap().complete);
    let rest = gaps(&world.database, &within(EARLIEST, today)).await;
    assert_eq!(rest, (4..=7).rev().map(|n| format!("{} never", back(n))).collect::<Vec<_>>());
    engine.release().await.unwrap();

    // The walk without dates, in a world of its own.
    let world = World::with(options, &[], clock).await;
    let mut engine = world.engine().await;
    assert!(engine.once().await.unwrap().complete);
    assert_eq!(gaps(&world.database, &within(EARLIEST, today)).await, [""; 0]);
    assert_eq!(gaps(&world.database, &within("1900-01-01".parse().unwrap(), today)).await, [""; 0]);
}

#[tokio::test]
async fn an_auditor_with_the_documented_grants_can_ask_and_can_see_nobody() {
    let database = project(&[("2026-01-02", 1)]).await;
    let role = format!("argos_test_{}_auditor", std::process::id());
    database.execute(&format!("create role {role}")).await;
    let mut session = database.pool.begin().await.unwrap();
    let ask = "select count(*) from argos.coverage_gaps('p', '2026-01-01', '2026-01-02', '1 day')";
    // Usage of the schema alone is not enough.
    database.execute(&format!("grant usage on schema argos to {role}")).await;
    sqlx::query(AssertSqlSafe(format!("set local role {role}"))).execute(&mut *session).await.unwrap();
    let refused = sqlx::query(ask).fetch_one(&mut *session).await.unwrap_err().to_string();
    assert!(refused.contains("permission denied for function"), "{refused}");
    session.rollback().await.unwrap();

    let docs = include_str!("../../docs/postgresql.md");
    let grants = docs.split("**Auditors**").nth(1).and_then(|text| text.split("```sql").nth(1)).unwrap();
    let grants = grants.split("```").next().unwrap().replace("to kyc_auditor;", &format!("to {role};"));
    database.execute(&grants).await;
    let mut session = database.pool.begin().await.unwrap();
    // A search_path of the asker's own is of no consequence.
    let prepare = format!(
        "create schema trap; create table trap.projects (x int); set local search_path = trap; set local role {role}"
    );
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *session).await.unwrap();
    let count: i64 = sqlx::query_scalar(ask).fetch_one(&mut *session).await.unwrap();
    assert_eq!(count, 1);
    let refused =
        sqlx::query("select * from argos.submissions").fetch_all(&mut *session).await.unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    session.rollback().await.unwrap();
    database.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test]
async fn it_says_what_it_does() {
    let database = Database::fresh().await;
    let described = "select obj_description('argos.coverage_gaps(text,date,date,interval)'::regprocedure, 'pg_proc')";
    assert!(database.text(described).await.unwrap().contains("docs/coverage.md"));
    let kind = "select format('%s %s', provolatile, prosecdef) from pg_proc where proname = 'coverage_gaps'";
    assert_eq!(database.text(kind).await.as_deref(), Some("s f"), "stable, with the caller's rights");
}

#[tokio::test]
async fn p1_an_old_submission_on_a_day_that_was_covered_without_a_row_is_news() {
    let clock = Clock::manual(Clock::system().now());
    let days = Some((EARLIEST, clock.now().date_naive()));
    let world = World::with(Options { initial: 5, ..Options::default() }, &[], clock.clone()).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    let old = |id: &str, at: &str| world.simulator.put(serde_json::json!({"submission_id": id, "created_at": at}));
    old("before", "2010-05-05T12:00:00Z");
    let errand = engine.backfill(days).await.unwrap().unwrap();
    assert!(engine.to_end(errand).await.unwrap().complete);
    // Rows begin with the first day that holds anything; the walk covered the days before as well.
    old("after", "2009-01-01T12:00:00Z");
    clock.advance(chrono::TimeDelta::minutes(1));
    let errand = engine.backfill(days).await.unwrap().unwrap();
    assert!(engine.to_end(errand).await.unwrap().complete);
    let causes = "select string_agg(submission_id || ' ' || cause, ', ' order by submission_id)
                    from argos.submission_versions where submission_id in ('before', 'after')";
    assert_eq!(world.database.text(causes).await.unwrap(), "after news, before history");
}
