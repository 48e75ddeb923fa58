//! A list item and an item read by id are two views of one submission; see docs/decisions/two-views.md.

use argos_sync::argos::envelope::Page;
use argos_sync::domain::lane::{Lane, View};
use argos_sync::store::database::hash_key;
use argos_sync::store::{erasure, id_reads, lease, progress};
use argos_sync::sync::apply::{End, Scope, apply};
use argos_sync::sync::engine::Engine;
use argos_sync::sync::prepare;
use argos_sync::sync::report::Counts;
use serde_json::json;

use crate::support::rows::{counter, rows, submission, written};
use crate::support::{Database, Verbatim, assert_valid_events};

const NEWS: &str = "2026-03-10T12:00:00Z";
const OLD: &str = "2026-03-01T08:00:00Z";
/// What the printed list samples show, and what only an answer by id shows.
const LISTED: &str = r#""data":{"name":"n","gender":"female"},"kyc":{"result":"approved"}"#;
const BY_ID: &str = r#""data":{"name":"n"},"updated_at":"2026-03-10T11:00:00Z","aml":{"currentstatus":"Red Flag"},
                       "kyc":{"result":"approved","attempts":[{"attemptCnt":1}]}"#;

fn item(created_at: &str, members: &str) -> String {
    format!(r#"{{"submission_id":"s","created_at":"{created_at}",{members}}}"#)
}

async fn by_id(vendor: &Verbatim, engine: &mut Engine, item: &str) -> Counts {
    vendor.answers("submission", &[("submission_id", "s")], &format!("{{\"Items\":[{item}]}}"));
    let (shown, counts) = engine.read_by_id(Lane::Refresh, "s").await.unwrap();
    vendor.clock.advance(chrono::TimeDelta::minutes(1));
    assert!(shown);
    counts
}

async fn causes(database: &Database) -> String {
    let sql = "select string_agg(cause, ' ' order by version) from argos.submission_versions";
    database.text(sql).await.unwrap()
}

async fn told(database: &Database) -> Vec<String> {
    let sql = "select type from argos.outbox where submission_id is not null order by position";
    sqlx::query_scalar(sql).fetch_all(&database.pool).await.unwrap()
}

async fn waiting(database: &Database) -> Option<String> {
    database.text("select string_agg(submission_id || ' ' || reason, ', ') from argos.id_reads").await
}

#[tokio::test]
async fn p1_p2_what_only_an_answer_by_id_shows_is_one_version_and_news_of_a_new_submission() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[item(NEWS, LISTED)]).await;
    let changed_at = vendor.database.text("select changed_at from argos.submissions").await;
    let counts = by_id(&vendor, &mut engine, &item(NEWS, BY_ID)).await;
    assert_eq!((counts.changed, counts.drift.len()), (1, 0));
    assert_eq!(causes(&vendor.database).await, "news view");
    let expected = [
        "submission.created",
        "kyc.result_changed",
        "kyc.attempt_added",
        "aml.status_changed",
        "aml.red_flag_raised",
        "submission.updated",
    ];
    assert_eq!(told(&vendor.database).await, expected);
    assert_eq!(vendor.database.text("select changed_at from argos.submissions").await, changed_at);
    let row = submission(&vendor.database, "s").await;
    assert_eq!((row["gender"].as_str(), row["aml_currentstatus"].as_str()), (Some("female"), Some("Red Flag")));
    assert_eq!(rows(&vendor.database, "attempts").await.as_array().map(Vec::len), Some(1));
    assert_valid_events(&vendor.database.pool).await;

    // Reading by turns, again and again, writes nothing.
    let before = written(&vendor.database).await;
    for _ in 0..3 {
        let report = vendor.read(&mut engine, &[item(NEWS, LISTED)]).await;
        assert_eq!((report.counts.unchanged, report.counts.drift.len()), (1, 0));
        assert_eq!(by_id(&vendor, &mut engine, &item(NEWS, BY_ID)).await.unchanged, 1);
        assert_eq!(written(&vendor.database).await, before);
    }
    // Each view's changes are changes, and what the other one shows stays.
    vendor.read(&mut engine, &[item(NEWS, &LISTED.replace("approved", "rejected"))]).await;
    let row = submission(&vendor.database, "s").await;
    assert_eq!((row["kyc_result"].as_str(), row["aml_currentstatus"].as_str()), (Some("rejected"), Some("Red Flag")));
    by_id(
        &vendor,
        &mut engine,
        &item(NEWS, &BY_ID.replace("approved", "rejected").replace("Red Flag", "Not Screened")),
    )
    .await;
    assert_eq!(causes(&vendor.database).await, "news view change change");
    assert_eq!(told(&vendor.database).await.iter().filter(|kind| *kind == "aml.red_flag_cleared").count(), 1);
    assert_eq!(counter(&vendor.database, "red_flags_open").await, 0);
    assert_eq!(submission(&vendor.database, "s").await["gender"], "female");
    assert_eq!(vendor.database.number("select count(*) from argos.erasures").await, 0);
}

#[tokio::test]
async fn p1_what_only_an_answer_by_id_shows_of_an_old_submission_is_history() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[item(OLD, LISTED)]).await;
    by_id(&vendor, &mut engine, &item(OLD, BY_ID)).await;
    assert_eq!(causes(&vendor.database).await, "history view");
    assert_eq!(told(&vendor.database).await, ["submission.imported"]);
    assert_eq!(counter(&vendor.database, "red_flags_open").await, 1, "an open flag counts as open");
    assert_eq!(counter(&vendor.database, "red_flags_raised").await, 0);
    // From then on it is news.
    by_id(&vendor, &mut engine, &item(OLD, &BY_ID.replace("Red Flag", "Not Screened"))).await;
    by_id(&vendor, &mut engine, &item(OLD, BY_ID)).await;
    assert_eq!(counter(&vendor.database, "red_flags_raised").await, 1);

    // A change beside the first sight is told, and nothing else.
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[item(OLD, LISTED)]).await;
    by_id(&vendor, &mut engine, &item(OLD, &BY_ID.replace("approved", "rejected"))).await;
    assert_eq!(causes(&vendor.database).await, "history change");
    assert_eq!(told(&vendor.database).await, ["submission.imported", "kyc.result_changed", "submission.updated"]);
    assert_valid_events(&vendor.database.pool).await;
}

#[tokio::test]
async fn p1_what_a_list_could_have_shown_is_a_change_when_an_answer_by_id_shows_it_first() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let screened = item(OLD, BY_ID).replace("\"s\"", "\"t\"");
    vendor.read(&mut engine, &[item(OLD, LISTED), screened]).await;
    by_id(&vendor, &mut engine, &item(OLD, BY_ID)).await;
    let raised = told(&vendor.database).await.iter().filter(|kind| *kind == "aml.red_flag_raised").count();
    assert_eq!(raised, 1, "lists of this project do show screenings");
    let cause = "select cause from argos.submission_versions where submission_id = 's' and version = 2";
    assert_eq!(vendor.database.text(cause).await.as_deref(), Some("change"));
}

#[tokio::test]
async fn p4_a_list_that_lags_does_not_take_back_what_an_answer_by_id_said() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let old = item(NEWS, LISTED);
    vendor.read(&mut engine, &[&old]).await;
    by_id(&vendor, &mut engine, &item(NEWS, &BY_ID.replace("approved", "rejected"))).await;
    let before = written(&vendor.database).await;
    for _ in 0..2 {
        let report = vendor.read(&mut engine, &[&old]).await;
        assert_eq!((report.counts.held, report.counts.changed), (1, 0));
    }
    assert_eq!(written(&vendor.database).await, before);
    assert_eq!(waiting(&vendor.database).await.as_deref(), Some("s lag"));
    let mut connection = vendor.database.pool.acquire().await.unwrap();
    let (project, now) = (&vendor.app.settings.projects[0].id, vendor.clock.now());
    assert_eq!(id_reads::next(&mut connection, project, now).await.unwrap(), Some(("s".to_owned(), "lag".to_owned())));
    // It was no lag: the answer by id says so too.
    by_id(&vendor, &mut engine, &item(NEWS, BY_ID)).await;
    id_reads::done(&mut connection, project, "s").await.unwrap();
    assert_eq!(progress::project(&mut connection, project, now).await.unwrap().refresh, 0);
    assert_eq!(submission(&vendor.database, "s").await["kyc_result"], "approved");
    assert_eq!(vendor.read(&mut engine, &[&old]).await.counts.unchanged, 1);
}

#[tokio::test]
async fn p2_a_submission_without_a_date_is_queued_once() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let undated = item("soon", LISTED);
    for _ in 0..2 {
        vendor.read(&mut engine, &[&undated]).await;
        assert_eq!(waiting(&vendor.database).await.as_deref(), Some("s no_date"));
    }
    let mut connection = vendor.database.pool.acquire().await.unwrap();
    let project = &vendor.app.settings.projects[0].id;
    id_reads::done(&mut connection, project, "s").await.unwrap();
    vendor.read(&mut engine, &[undated.replace("approved", "rejected")]).await;
    assert_eq!(waiting(&vendor.database).await, None);
    let now = vendor.clock.now();
    assert_eq!(id_reads::undated(&mut connection, project, now).await.unwrap(), ["s"]);
    assert!(id_reads::undated(&mut connection, project, now - chrono::TimeDelta::hours(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn p1_a_submission_from_a_day_that_no_walk_asks_for_is_read_by_id() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let of = |id: &str, at: &str| item(at, LISTED).replace("\"s\"", &format!("\"{id}\""));
    let items = [of("epoch", "1970-01-01T00:00:00Z"), of("future", "2099-01-01T00:00:00Z"), of("today", NEWS)];
    vendor.read(&mut engine, &items).await;
    let mut connection = vendor.database.pool.acquire().await.unwrap();
    let project = &vendor.app.settings.projects[0].id;
    let undated = id_reads::undated(&mut connection, project, vendor.clock.now()).await.unwrap();
    assert_eq!(undated, ["epoch", "future"]);
    // No day is made of such a date that no walk covers: it would stay a gap, or be taken for covered.
    let early = "select count(*) from argos.created_days where day < '2000-01-01'";
    assert_eq!(vendor.database.number(early).await, 0);
    assert_eq!(waiting(&vendor.database).await.as_deref(), Some("epoch no_date"));
}

#[tokio::test]
async fn p2_each_submission_without_a_date_has_its_turn() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let items: Vec<String> = (0..150).map(|n| item("soon", LISTED).replace("\"s\"", &format!("\"s{n:03}\""))).collect();
    vendor.read(&mut engine, &items).await;
    let mut connection = vendor.database.pool.acquire().await.unwrap();
    let project = &vendor.app.settings.projects[0].id;
    let mut read = Vec::new();
    for _ in 0..2 {
        let now = vendor.clock.now();
        for id in id_reads::undated(&mut connection, project, now).await.unwrap() {
            id_reads::checked(&mut connection, project, &id, now, true).await.unwrap();
            read.push(id);
        }
        vendor.clock.advance(chrono::TimeDelta::days(1));
    }
    read.sort_unstable();
    read.dedup();
    assert_eq!(read.len(), 150);
}

#[tokio::test]
async fn p2_a_view_keeps_note_of_what_it_shows_only_where_it_must() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[item(NEWS, LISTED)]).await;
    let shown = "select string_agg(view || ':' || coalesce(array_to_string(shown, ','), 'all'), ' ' order by view)
                   from argos.submission_views";
    assert_eq!(vendor.database.text(shown).await.as_deref(), Some("list:all"));
    by_id(&vendor, &mut engine, &item(NEWS, BY_ID)).await;
    let id = "aml.currentstatus,created_at,data.name,kyc.attempts,kyc.result,updated_at";
    let expected = format!("id:{id} list:created_at,data.gender,data.name,kyc.result");
    assert_eq!(vendor.database.text(shown).await, Some(expected));
    let fields = "select count(*) from argos.view_fields where view = 'list'";
    assert_eq!(vendor.database.number(fields).await, 4);
    // A name that may be somebody's data is no name.
    vendor.read(&mut engine, &[item(NEWS, &format!("{LISTED},\"Jane Doe\":1"))]).await;
    let names: Vec<String> =
        sqlx::query_scalar("select field from argos.view_fields").fetch_all(&vendor.database.pool).await.unwrap();
    assert!(names.iter().any(|name| name == "other") && !json!(names).to_string().contains("Jane"));
}

/// Applies a page of request_type=aml.
async fn screenings(vendor: &Verbatim, items: &str) -> Counts {
    let settings = &vendor.app.settings;
    let mut connection = vendor.database.pool.acquire().await.unwrap();
    let key = hash_key(&mut connection, &settings.database).await.unwrap();
    let lease = lease::acquire(&mut connection, "default", "test", settings.lease.ttl).await.unwrap().unwrap();
    let project = progress::project(&mut connection, "default", vendor.clock.now()).await.unwrap();
    let scope = Scope {
        covers: false,
        dry_run: false,
        details: false,
        by_id: false,
        page: prepare::Page {
            project_id: "default",
            key: &key,
            view: View::Aml,
            lane: Lane::Sweep,
            request: (lease.epoch << 32) + 1,
            observed_at: vendor.clock.now(),
            fallback_day: vendor.clock.now().date_naive(),
            import_started_at: project.import_started_at,
            import_events: settings.events.import,
            include_userid: false,
        },
        lease: &lease,
        request_no: 1,
        limits: &settings.limits,
        retention: settings.retention.quarantine,
        asked: None,
        project: &project,
        walk: None,
        end: End::More,
        traceparent: "00-00000000000000000000000000000001-0000000000000001-01",
        statement_timeout: settings.database.statement_timeout,
        erasure: &settings.erasure,
    };
    let page = Page::split(format!("{{\"Items\":[{items}]}}").into_bytes(), None, 10, false).unwrap();
    apply(&vendor.database.pool, &page, &scope).await.unwrap().0
}

#[tokio::test]
async fn p1_p7_a_page_of_screenings_adds_screenings_and_makes_no_submission() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    vendor.read(&mut engine, &[item(NEWS, LISTED)]).await;
    let flags = r#"{"submission_id":"s","aml":{"currentstatus":"Red Flag"}},{"submission_id":"u","aml":{"currentstatus":"Red Flag"}}"#;
    let counts = screenings(&vendor, flags).await;
    assert_eq!((counts.changed, counts.skipped, counts.new), (1, 1, 0));
    assert_eq!(causes(&vendor.database).await, "news view");
    assert_eq!(counter(&vendor.database, "red_flags_raised").await, 1);
    assert_eq!(submission(&vendor.database, "s").await["name"], "n");
    let before = written(&vendor.database).await;
    assert_eq!(screenings(&vendor, flags).await.unchanged, 1);
    assert_eq!(written(&vendor.database).await, before);
    // Missing now, where it had been shown: neither cleared nor deleted.
    let counts = screenings(&vendor, r#"{"submission_id":"s"}"#).await;
    assert_eq!((counts.held, counts.drift.get("aml_missing")), (1, Some(&1)));
    assert_eq!(written(&vendor.database).await, before);
    screenings(&vendor, r#"{"submission_id":"s","aml":{"currentstatus":"Not Screened"}}"#).await;
    assert_eq!(counter(&vendor.database, "red_flags_open").await, 0);
    assert_eq!(vendor.database.number("select count(*) from argos.erasures").await, 0);

    // It does not say that the submission is there: neither at first, nor by the same bytes.
    let mut connection = vendor.database.pool.acquire().await.unwrap();
    let (now, ids) = (vendor.clock.now(), ["s".to_owned()]);
    erasure::suspect_gone(&mut connection, "default", &ids, now, Lane::Verify).await.unwrap();
    for status in ["Red Flag", "Red Flag", "Not Screened"] {
        let page = format!(r#"{{"submission_id":"s","aml":{{"currentstatus":"{status}"}}}}"#);
        screenings(&vendor, &page).await;
    }
    assert_eq!(vendor.database.number("select count(*) from argos.erasures where kind = 'gone'").await, 1);
    vendor.read(&mut engine, &[item(NEWS, LISTED)]).await;
    assert_eq!(vendor.database.number("select count(*) from argos.erasures").await, 0);
}
