//! What an operator sees: /metrics, /livez, /readyz.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use argos_sync::app::App;
use argos_sync::argos::decode::Refusal;
use argos_sync::argos::error::ApiError;
use argos_sync::clock::Clock;
use argos_sync::domain::event::EventType;
use argos_sync::domain::probe::Fact;
use argos_sync::domain::submission::{DRIFT_KINDS, REJECT_CODES};
use argos_sync::heartbeat::Heartbeat;
use argos_sync::http::{self, Pages};
use argos_sync::metrics::{ITEM_OUTCOMES, Metrics, PASS_OUTCOMES};
use argos_sync::simulator::{Faults, Options};
use argos_sync::sync::error::SyncError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgPool};
use tokio_util::sync::CancellationToken;

use crate::support::daemon::{Daemon, get};
use crate::support::world::settings;
use crate::support::{Database, World};

/// Samples of a page: name and labels, sorted, and value.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

fn samples(page: &str) -> Samples {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()).map(|label| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        ((name.to_owned(), labels.collect()), value.parse().unwrap())
    };
    page.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

/// One value; labels as `"lane=hot,outcome=failed"`, the project left out.
#[track_caller]
fn value(samples: &Samples, name: &str, labels: &str) -> u64 {
    let mut wanted: BTreeMap<String, String> = labels
        .split(',')
        .filter_map(|label| label.split_once('='))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect();
    wanted.insert("project".to_owned(), "default".to_owned());
    let key = (format!("argos_sync_{name}"), wanted);
    *samples.get(&key).unwrap_or_else(|| panic!("{key:?} is not on the page")) as u64
}

fn page_of(metrics: &Metrics) -> Samples {
    samples(&metrics.encode().unwrap())
}

/// The pages of an app, served on a free port until the token is cancelled.
async fn serve(
    metrics: &Metrics,
    pool: &PgPool,
) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = http::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let pages =
        Pages { metrics: metrics.clone(), heartbeats: vec![Heartbeat::new()], pool: pool.clone(), status: None };
    (address, stop.clone(), tokio::spawn(http::serve(listener, pages, stop)))
}

// ----------------------------------------------------------------------------------------------------- names

#[tokio::test]
async fn p9_every_known_label_is_at_0_from_the_first_scrape_on() {
    // Nothing answers at either address: what is on the page does not wait for anybody.
    let daemon = Daemon::start(&[
        ("ARGOS_SYNC__API__KEY", "k"),
        ("ARGOS_SYNC__API__BASE_URL", "http://127.0.0.1:1/v3"),
        ("ARGOS_SYNC__DATABASE__URL", "postgres://127.0.0.1:1/none"),
    ])
    .await;
    let (status, page) = daemon.get("/metrics").await;
    assert_eq!(status, 200);
    let samples = samples(&page);
    let mut known = Vec::new();
    for status in ["200", "400", "401", "403", "404", "408", "413", "429", "500", "502", "503", "504", "other", "none"]
    {
        known.push(("requests_total", format!("status={status}")));
        known.push(("request_duration_seconds_count", format!("status={status}")));
    }
    known.extend(ApiError::KINDS.iter().map(|kind| ("request_errors_total", format!("kind={kind}"))));
    known.extend(ITEM_OUTCOMES.iter().map(|outcome| ("items_total", format!("outcome={outcome}"))));
    known.extend(EventType::ALL.iter().map(|kind| ("events_total", format!("type={}", kind.as_str()))));
    known.extend(DRIFT_KINDS.iter().map(|kind| ("drift_total", format!("kind={kind}"))));
    known.extend(Refusal::REASONS.iter().map(|reason| ("quarantined_total", format!("reason={reason}"))));
    known.extend(
        ["quarantine", "outbox", "submission_versions"].map(|table| ("pruned_rows_total", format!("table={table}"))),
    );
    for lane in ["hot", "once"] {
        known.push(("pages_total", format!("lane={lane}")));
        known.push(("last_success_timestamp_seconds", format!("lane={lane}")));
        known.extend(PASS_OUTCOMES.iter().map(|outcome| ("passes_total", format!("lane={lane},outcome={outcome}"))));
    }
    for fact in Fact::ALL.map(Fact::as_str) {
        known.push(("probe_disagreement", format!("fact={fact}")));
        known.push(("probe_mode_changed_timestamp_seconds", format!("fact={fact}")));
    }
    for result in ["incomplete", "pending", "approved", "rejected", "other", "none"] {
        known.push(("submissions", format!("result={result}")));
    }
    for code in REJECT_CODES.iter().chain(&["unlisted", "none"]) {
        known.push(("rejected_submissions", format!("code={code}")));
    }
    for name in [
        "suspicious_empty_walks_total",
        "database_errors_total",
        "prune_failures_total",
        "red_flags_open",
        "oldest_pending_timestamp_seconds",
        "request_budget_remaining",
        "open_due_timestamp_seconds",
        "poll_interval_seconds",
        "leader",
        "probe_timestamp_seconds",
        "unknown_aml_status",
        "drift_names",
        "detection_latency_seconds_count",
    ] {
        known.push((name, String::new()));
    }
    for (name, labels) in known {
        assert_eq!(value(&samples, name, &labels), 0, "{name} {labels}");
    }
    for (name, expected) in [("successful", 1), ("success_timestamp_seconds", Clock::system().now().timestamp())] {
        let shown = samples[&(format!("argos_sync_config_last_reload_{name}"), BTreeMap::new())] as i64;
        assert!((0..600).contains(&(expected - shown)), "{name}: {shown}");
    }
    assert_eq!(samples[&("argos_sync_config_restart_needed".to_owned(), BTreeMap::new())], 0.0);
    // At 0 here it would look like a reset, and all flags ever raised like new ones; or as if all were acknowledged.
    for name in
        ["red_flags_raised_total", "red_flags_escalated_total", "approvals_revoked_total", "alerts_unacknowledged"]
    {
        assert!(!page.contains(&format!("argos_sync_{name}{{")), "the database has not said {name} yet");
    }
    assert_eq!(daemon.get("/livez").await.0, 200, "waiting for a database is no reason to be restarted");
    let (status, why) = daemon.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(why.starts_with("not ready: "), "{why}");
    assert_eq!(daemon.get("/nothing").await.0, 404);
    let (code, said, took) = daemon.stop().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// A page on which something has happened.
async fn busy_page() -> (World, String) {
    let options =
        Options { initial: 120, faults: Faults::parse("bad-item=1,null-chars,retyped").unwrap(), ..Options::default() };
    let world = World::new(options).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    engine.hot().await.unwrap();
    let page = world.app.metrics.encode().unwrap();
    (world, page)
}

#[tokio::test]
async fn metrics_keep_to_the_conventions() {
    let (_world, page) = busy_page().await;
    let (mut help, mut kinds, mut names) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(text)) => drop(help.insert(name.to_owned(), text.to_owned())),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => drop(kinds.insert(name.to_owned(), kind.to_owned())),
            _ => drop(names.insert(line.split(['{', ' ']).next().unwrap().to_owned())),
        }
    }
    assert!(kinds.len() >= 20, "{kinds:?}");
    // Those of every Prometheus client are not ours to name.
    kinds.retain(|name, _| !name.starts_with("process_"));
    help.retain(|name, _| !name.starts_with("process_"));
    names.retain(|name| !name.starts_with("process_"));
    assert_eq!(help.keys().collect::<Vec<_>>(), kinds.keys().collect::<Vec<_>>());
    for (name, kind) in &kinds {
        let text = &help[name];
        assert!(text.ends_with('.') && !text.starts_with(char::is_lowercase), "HELP of {name}: {text}");
        let rest = name.strip_prefix("argos_sync_").unwrap_or_else(|| panic!("{name} lacks the prefix"));
        assert!(
            rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}: snake case, no colon, no digit"
        );
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        for unit in ["milliseconds", "_ms", "minutes", "hours", "_kb", "_mb", "kilobytes", "percent", "_count", "_sum"]
        {
            assert!(!name.contains(unit), "{name}: base units, and no suffix of a histogram");
        }
        let timed = ["duration", "latency", "interval", "timestamp", "within"].iter().any(|word| name.contains(word));
        assert_eq!(timed, name.ends_with("_seconds"), "{name}");
        assert!(!name.contains("_counter") && !name.contains("_gauge"), "{name}: the kind is no part of the name");
    }
    for name in names {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let known = kinds.contains_key(&name)
            || family.is_some_and(|name| kinds.get(name).is_some_and(|kind| kind == "histogram"));
        assert!(known, "{name} has no TYPE");
    }
    for (_, labels) in samples(&page).keys() {
        for name in labels.keys() {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "label {name}");
        }
    }
}

#[tokio::test]
async fn promtool_agrees() {
    let (_world, page) = busy_page().await;
    let mut command = Command::new("promtool");
    let spawned =
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut promtool) = spawned else {
        eprintln!("promtool is not installed: only our own rules were checked");
        return;
    };
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn p11_labels_hold_projects_and_documented_names_only() {
    let world = World::new(Options { initial: 60, ..Options::default() }).await;
    // Values of the vendor's that are in no document, and that may be anything.
    let mut item = world.simulator.truth().remove(0);
    item["kyc"]["result"] = "Taintname1".into();
    item["aml"] = serde_json::json!({"currentstatus": "Taintname2"});
    item["reviewer"] = serde_json::json!({"by": "Taintname3"});
    world.simulator.put(item);
    let mut item = world.simulator.truth().remove(1);
    item["kyc"] = serde_json::json!({"result": "rejected", "commentCode": ["Taintcode", "Taint code", "Taint code"]});
    world.simulator.put(item);
    world.engine().await.once().await.unwrap();
    let page = world.app.metrics.encode().unwrap();
    assert!(!page.contains("aint"), "{page}");
    for submission in world.simulator.truth() {
        for id in ["submission_id", "applicant_id", "userid"].map(|name| submission[name].as_str().unwrap_or("-none-"))
        {
            assert!(!page.contains(id), "{id}");
        }
    }
    let allowed: BTreeSet<&str> = [
        "project", "status", "kind", "lane", "outcome", "type", "reason", "result", "table", "fact", "risk", "le",
        "version", "code",
    ]
    .into();
    for (name, labels) in samples(&page).keys() {
        assert!(labels.keys().all(|label| allowed.contains(label.as_str())), "{name} {labels:?}");
    }
    // As many series after 60 submissions as before the first.
    let empty =
        Metrics::new(&argos_sync::argos::error::ApiError::KINDS, &argos_sync::argos::decode::Refusal::REASONS).unwrap();
    let _project = empty.project("default");
    // What the database must have said before: five risks raised and escalated, revoked, three kinds by five risks.
    assert_eq!(page_of(&empty).len() + 5 + 5 + 1 + 15, samples(&page).len());
    let samples = samples(&page);
    assert_eq!(value(&samples, "submissions", "result=other"), 1);
    assert_eq!(value(&samples, "rejected_submissions", "code=unlisted"), 2, "two codes");
    assert_eq!(value(&samples, "drift_total", "kind=unknown_kyc_result"), 1);
    assert_eq!(value(&samples, "drift_total", "kind=unknown_aml_status"), 1);
    assert!(value(&samples, "drift_total", "kind=bad_field") >= 1);
}

// ---------------------------------------------------------------------------------------------------- counts

#[tokio::test]
async fn counters_say_what_the_report_and_the_tables_say() {
    let options = Options { initial: 150, rate: 0.0, ..Options::default() };
    let world = World::with(options, &[("api.count", "40")], Clock::system()).await;
    world.simulator.set_faults(Faults::parse("bad-item,null-chars,huge-number=1,status-500=2").unwrap());
    world.simulator.freeze();
    let mut engine = world.engine().await;
    let report = engine.once().await.unwrap();
    let page = page_of(&world.app.metrics);
    let counts = &report.counts;
    assert!(counts.quarantined > 0 && !counts.drift.is_empty() && counts.new > 0, "{report:?}");
    for (outcome, expected) in [
        ("new", counts.new),
        ("changed", counts.changed),
        ("unchanged", counts.unchanged),
        ("quarantined", counts.quarantined),
        ("duplicate", counts.duplicate),
    ] {
        assert_eq!(value(&page, "items_total", &format!("outcome={outcome}")), expected, "{outcome}");
    }
    assert_eq!(counts.items, counts.new + counts.changed + counts.unchanged + counts.quarantined + counts.duplicate);
    assert_eq!(value(&page, "pages_total", "lane=once"), report.pages);
    assert_eq!(value(&page, "passes_total", "lane=once,outcome=complete"), 1);
    assert!(value(&page, "last_success_timestamp_seconds", "lane=once") > 1_500_000_000);
    for kind in EventType::ALL {
        let name = kind.as_str();
        let rows = world.database.number(&format!("select count(*) from argos.outbox where type = '{name}'")).await;
        assert_eq!(value(&page, "events_total", &format!("type={name}")), rows as u64, "{name}");
        assert_eq!(counts.events.get(&kind).copied().unwrap_or(0), rows as u64, "{name}");
    }
    for reason in Refusal::REASONS {
        let rows =
            world.database.number(&format!("select count(*) from argos.quarantine where reason = '{reason}'")).await;
        assert_eq!(value(&page, "quarantined_total", &format!("reason={reason}")), rows as u64, "{reason}");
    }
    for kind in DRIFT_KINDS {
        let drift = counts.drift.get(kind).copied().unwrap_or(0);
        assert_eq!(value(&page, "drift_total", &format!("kind={kind}")), drift, "{kind}");
    }
    for result in ["incomplete", "pending", "approved", "rejected"] {
        let sql = format!("select count(*) from argos.submissions where kyc_result = '{result}'");
        assert_eq!(value(&page, "submissions", &format!("result={result}")), world.database.number(&sql).await as u64);
    }
    let sql = "select jsonb_object_agg(code, n)::text from (select code, count(*) as n from argos.submissions, unnest(kyc_comment_code) as code
                where kyc_result = 'rejected' group by code) by_code";
    let rejected = world.database.text(sql).await.unwrap();
    let rejected: serde_json::Value = serde_json::from_str(&rejected).unwrap();
    for code in REJECT_CODES {
        let rows = rejected[code].as_u64().unwrap_or(0);
        assert_eq!(value(&page, "rejected_submissions", &format!("code={code}")), rows, "{code}");
    }
    assert!(rejected.as_object().unwrap().len() >= 2, "{rejected}");
    let open =
        world.database.number("select count(*) from argos.submissions where aml_currentstatus = 'Red Flag'").await;
    assert!(open > 0);
    assert_eq!(value(&page, "red_flags_open", ""), open as u64);
    // What was asked, as the server saw it.
    let served = world.simulator.requests();
    for status in [200u16, 500] {
        let seen = served.iter().filter(|request| request.status == status).count() as u64;
        assert_eq!(value(&page, "requests_total", &format!("status={status}")), seen, "{status}");
        assert_eq!(value(&page, "request_duration_seconds_count", &format!("status={status}")), seen);
    }
    assert_eq!(value(&page, "request_errors_total", "kind=server_failed"), 2);
    assert_eq!(
        value(&page, "request_errors_total", "kind=budget_spent"),
        0,
        "a block of permits that runs out is no error"
    );
    let left = world.database.number("select 100000000 - reserved from argos.request_budget").await;
    assert_eq!(value(&page, "request_budget_remaining", ""), left as u64);
    assert_eq!(value(&page, "leader", ""), 1);
    engine.release().await.unwrap();
    assert_eq!(value(&page_of(&world.app.metrics), "leader", ""), 0);
    // A writer of another release did not count: the next one of this release counts anew.
    world.database.execute("update argos.counters set value = value - 1 where name = 'rejected'").await;
    world.database.execute("insert into argos.counters values ('default', 'rejected', 'left_over', 3)").await;
    let counted = "select string_agg(label || value, ' ' order by label) from argos.counters where name = 'rejected' and value <> 0";
    engine.hot().await.unwrap();
    let sql = "select string_agg(code || n, ' ' order by code) from (select code, count(*) as n
                 from argos.submissions, unnest(kyc_comment_code) as code where kyc_result = 'rejected' group by code) by_code";
    assert_eq!(world.database.text(counted).await, world.database.text(sql).await);
}

#[tokio::test]
async fn p9_red_flags_raised_survives_a_restart_and_is_the_same_on_a_replica() {
    let world = World::new(Options { initial: 80, life: 0.0, ..Options::default() }).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    let clear = world
        .database
        .text("select min(submission_id) from argos.submissions where coalesce(aml_currentstatus, '') <> 'Red Flag'")
        .await
        .unwrap();
    world.simulator.patch(&clear, serde_json::json!({"aml": {"currentstatus": "Red Flag"}}));
    engine.hot().await.unwrap();
    let raised = value(&page_of(&world.app.metrics), "red_flags_raised_total", "risk=none");
    let events = world.database.number("select count(*) from argos.outbox where type = 'aml.red_flag_raised'").await;
    assert_eq!((raised, events), (1, 1));
    const WAITING: &str = "kind=red_flag,risk=none";
    assert_eq!(value(&page_of(&world.app.metrics), "alerts_unacknowledged", WAITING), 1, "the import's do not wait");

    // Another process, first as a replica that waits for the lease, then after a restart.
    let settings = settings(&world.simulator.base_url(), &world.database.url, &[]);
    let other = World { app: App::open(settings, Clock::system()).await.unwrap(), ..world };
    let mut replica = other.engine_of(0, "replica").await;
    assert!(matches!(replica.hot().await, Err(SyncError::NotLeader { .. })));
    let page = page_of(&other.app.metrics);
    assert_eq!(value(&page, "red_flags_raised_total", "risk=none"), 1);
    assert_eq!(value(&page, "alerts_unacknowledged", WAITING), 1);
    assert_eq!((value(&page, "leader", ""), value(&page, "passes_total", "lane=hot,outcome=not_leader")), (0, 1));
    // A standby that kept an old number would hold the alert open.
    let ack = "update argos.alerts set acknowledged_at = now(), acknowledged_by = 'a', reason = 'b' where not imported";
    assert_eq!(other.database.execute(ack).await, 1);
    assert!(matches!(replica.hot().await, Err(SyncError::NotLeader { .. })));
    assert_eq!(value(&page_of(&other.app.metrics), "alerts_unacknowledged", WAITING), 0);
    engine.release().await.unwrap();
    replica.hot().await.unwrap();
    assert_eq!(value(&page_of(&other.app.metrics), "red_flags_raised_total", "risk=none"), 1);
}

#[tokio::test]
async fn p9_a_list_that_is_suddenly_empty_is_told() {
    let world = World::new(Options { initial: 30, ..Options::default() }).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    world.simulator.set_faults(Faults::parse("empty").unwrap());
    let covered = world.database.text("select fully_walked_at from argos.projects").await;
    for lane in ["hot", "once"] {
        let result = if lane == "hot" { engine.hot().await } else { engine.once().await };
        assert!(matches!(result, Err(SyncError::SuspiciouslyEmpty)), "{result:?}");
        let page = page_of(&world.app.metrics);
        assert_eq!(value(&page, "passes_total", &format!("lane={lane},outcome=failed")), 1);
    }
    assert_eq!(value(&page_of(&world.app.metrics), "suspicious_empty_walks_total", ""), 2);
    assert_eq!(world.database.text("select fully_walked_at from argos.projects").await, covered);
    assert_eq!(world.database.number("select count(*) from argos.submissions").await, 30);
}

// ---------------------------------------------------------------------------------------------------- probes

#[tokio::test]
async fn readyz_says_why_not() {
    let database = Database::bare().await;
    let settings = settings("http://127.0.0.1:1/v3", &database.url, &[]);
    let app = App::open(settings, Clock::system()).await.unwrap();
    let (address, stop, serving) = serve(&app.metrics, &app.pool).await;
    let (status, why) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(why.contains("not migrated") && why.contains("argos-sync migrate"), "{why}");
    app.prepare_database().await.unwrap();
    assert_eq!(get(address, "/readyz").await, (200, "ok\n".to_owned()));
    // The database goes away with all its connections, and comes back.
    let name = database.text("select current_database()").await.unwrap();
    let admin = PgConnectOptions::from_str(&database.url).unwrap().database("postgres");
    let mut admin = admin.connect().await.unwrap();
    let mut tell = async |sql: String| sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    tell(format!("alter database {name} with allow_connections false")).await;
    tell(format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")).await;
    let (status, why) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(why.starts_with("not ready: ") && why.len() > 20, "{why}");
    assert_eq!(get(address, "/livez").await.0, 200, "no restart mends the database");
    tell(format!("alter database {name} with allow_connections true")).await;
    assert_eq!(get(address, "/readyz").await.0, 200);
    // A newer release has taken the database over.
    sqlx::raw_sql("update argos.compatibility set min_writer = 99").execute(&app.pool).await.unwrap();
    let (status, why) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(why.contains("newer argos-sync"), "{why}");
    stop.cancel();
    serving.await.unwrap();
}
