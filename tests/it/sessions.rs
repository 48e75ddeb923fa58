//! What a database sets for its sessions makes no difference.

use argos_sync::app::App;
use argos_sync::clock::{Clock, Timestamp};
use argos_sync::domain::lane::{Lane, View};
use argos_sync::domain::seen::Seen;
use argos_sync::simulator::Options;
use argos_sync::store::database::{options, pool};
use argos_sync::store::{calendar, progress};
use chrono::{NaiveDate, TimeDelta};
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::support::rows::{PLACE_TABLES, data_tables};
use crate::support::world::settings;
use crate::support::{Database, World};

/// A session of this database finds itself in Cairo, with other dates, another isolation, other functions and tables, and
/// with texts read and written in other ways.
const HOSTILE: &str = "
    create schema evil;
    create function evil.lower(text) returns text language sql as $$select 'x'$$;
    create function evil.btrim(text, text) returns text language sql as $$select 'red flag'$$;
    create function evil.hashtextextended(text, bigint) returns bigint language sql as 'select 7::bigint';
    create function evil.clock_timestamp() returns timestamptz language sql as $$select '-infinity'::timestamptz$$;
    create function evil.jsonb_populate_recordset(anyelement, jsonb) returns setof anyelement language sql
        as 'select $1 where false';
    create table evil.submissions as select 'x' as submission_id;
    create table evil.leases as select 'x' as holder;
    create table evil.outbox_counter as select 7 as last_position;
    do $$
    declare
        setting text;
    begin
        foreach setting in array array['timezone = ''Africa/Cairo''', 'datestyle = ''SQL, DMY''',
                                       'default_transaction_isolation = serializable',
                                       'search_path = evil, pg_catalog', 'bytea_output = escape',
                                       'intervalstyle = sql_standard', 'standard_conforming_strings = off',
                                       'extra_float_digits = -5', 'transform_null_equals = on',
                                       'array_nulls = off', 'lc_numeric = ''C''', 'lc_monetary = ''C''',
                                       'lc_messages = ''C'''] loop
            execute format('alter database %I set %s', current_database(), setting);
        end loop;
    end
    $$";

/// What a life at the vendor's leaves behind in a database that was prepared like this: all rows, table by table.
async fn life(prepare: &str, at: Timestamp) -> Vec<String> {
    let clock = Clock::manual(at);
    let world = World::with(Options { initial: 40, ..Options::default() }, &[], clock.clone()).await;
    world.simulator.freeze();
    world.database.execute(prepare).await;
    // Sessions that begin now.
    let changes = [("erasure.confirm_after", "1ms")];
    let settings = settings(&world.simulator.base_url(), &world.database.url, &changes);
    let app = App::open(settings, clock.clone()).await.unwrap();
    app.prepare_database().await.unwrap();
    let mut engine = world.engine_in(&app, "test").await;
    assert!(engine.once().await.unwrap().complete);
    let ids: Vec<String> =
        world.simulator.truth().iter().map(|item| item["submission_id"].as_str().unwrap().to_owned()).collect();
    let patch = json!({"kyc": {"attempts": [{"attemptCnt": 9, "step1Time1st": "2026-04-24T22:30:00Z"}]},
        "aml": {"currentstatus": "Red Flag", "matches": [{"resource_id": "r", "score": 1.5}]},
        "bank_verification": {"result": "fail"}, "memo": {"text": "m", "updated_at": "2026-02-03T04:05:06Z"}});
    world.simulator.patch(&ids[0], patch);
    world.simulator.blank(&ids[1]);
    world.simulator.put_raw("no object", at, "7");
    clock.advance(TimeDelta::minutes(1));
    let report = engine.once().await.unwrap();
    assert!(report.counts.changed > 0 && report.counts.quarantined == 1, "{report:?}");
    assert!(engine.hot().await.unwrap().complete);
    for _ in 0..2 {
        clock.advance(TimeDelta::minutes(1));
        engine.confirm().await.unwrap();
    }
    engine.read_by_id(Lane::Refresh, &ids[2]).await.unwrap();
    let mut tables = data_tables(&world.database).await;
    tables.extend(PLACE_TABLES.iter().map(|table| (*table).to_owned()));
    let mut rows = Vec::new();
    let mut session = app.pool.acquire().await.unwrap();
    // The one thing that is read here as text and nowhere else.
    session.execute("set bytea_output = hex").await.unwrap();
    for table in tables {
        // The one is drawn at random, the other a hash of the vendor's address.
        let sql = format!("select (to_jsonb(t) - 'traceparent' - 'source')::text from argos.{table} t order by 1");
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *session).await.unwrap();
        rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
    }
    session.close().await.unwrap();
    engine.release().await.unwrap();
    app.close().await.unwrap();
    rows
}

#[tokio::test]
async fn what_a_database_sets_for_its_sessions_changes_no_row() {
    let at = "2026-03-10T22:30:00Z".parse().unwrap();
    let (plain, hostile) = (life("select 1", at).await, life(HOSTILE, at).await);
    assert!(plain.len() > 200, "{}", plain.len());
    for (plain, hostile) in plain.iter().zip(&hostile) {
        assert_eq!(plain, hostile);
    }
    assert_eq!(plain.len(), hostile.len());
}

#[tokio::test]
async fn the_pools_sessions_are_set_as_the_program_needs_them() {
    let database = Database::fresh().await;
    database.execute(HOSTILE).await;
    let ask = "select concat_ws('; ', current_setting('default_transaction_isolation'), current_setting('search_path'),
                                lower('A'))";
    let mut session = options(&database.url).unwrap().connect().await.unwrap();
    let theirs: String = sqlx::query_scalar(ask).fetch_one(&mut session).await.unwrap();
    assert_eq!(theirs, "serializable; evil, pg_catalog; x");
    session.close().await.unwrap();
    let pool = pool(&database.url, &settings("http://127.0.0.1:1/v3", &database.url, &[]).database).unwrap();
    let ours: String = sqlx::query_scalar(ask).fetch_one(&pool).await.unwrap();
    assert_eq!(ours, "read committed; \"\"; a");
    let times = "select current_setting('timezone') || ', ' || current_setting('datestyle')";
    let ours: String = sqlx::query_scalar(times).fetch_one(&pool).await.unwrap();
    assert_eq!(ours, "UTC, ISO, YMD");
    pool.close().await;
}

#[tokio::test]
async fn a_day_without_a_midnight_is_covered() {
    let database = Database::fresh().await;
    database.execute("insert into argos.projects (project_id, name, import_started_at) values ('p', 'P', now())").await;
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    let walk = progress::Walk {
        source: [0; 32],
        days: Some((day("2024-04-20"), day("2024-05-01"))),
        by_id: false,
        view: View::List,
        first_request: 1,
        started_at: "2024-05-02T00:00:00Z".parse().unwrap(),
        cursor: None,
        pages: 1,
        items: 1,
        seen: Seen::default(),
    };
    let mut session = database.pool.acquire().await.unwrap();
    // On 26 April 2024, Cairo's clocks went from 23:59 to 01:00.
    sqlx::query("set timezone = 'Africa/Cairo'").execute(&mut *session).await.unwrap();
    calendar::cover(&mut session, "p", &walk).await.unwrap();
    session.close().await.unwrap();
    let covered = "select min(day) || ' ' || max(day) || ' ' || count(*) from argos.created_days";
    assert_eq!(database.text(covered).await.unwrap(), "2024-04-20 2024-05-01 12");
}
