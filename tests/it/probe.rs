//! The vendor's ways, found out: what is concluded from answers, stored, warned of, and told when it changes.

use std::io::Write;
use std::sync::{Arc, Mutex};

use argos_sync::app::App;
use argos_sync::argos::error::ApiError;
use argos_sync::clock::{Clock, Timestamp};
use argos_sync::domain::calendar::Filter;
use argos_sync::domain::lane::Lane;
use argos_sync::domain::probe::{Fact, Findings};
use argos_sync::heartbeat::Heartbeat;
use argos_sync::simulator::{Dialect, Faults, Options, Simulator};
use argos_sync::store::probe;
use argos_sync::sync::engine::Engine;
use argos_sync::sync::error::SyncError;
use argos_sync::sync::plan::{Errand, Target};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::rows::written;
use crate::support::vendor::{Reply, Request, Vendor};
use crate::support::world::{install_tls, settings};
use crate::support::{Database, World};

fn noon() -> Timestamp {
    "2026-03-20T12:00:00Z".parse().unwrap()
}

/// Sixteen days with 45 submissions each, whose lives are slow: many change days after they were created.
fn options() -> Options {
    let history = std::time::Duration::from_secs(16 * 86_400);
    Options { initial: 720, history, life: 5.0, dialect: Dialect::Idcheck, ..Options::default() }
}

/// A world whose mirror is filled, and its engine.
async fn mirrored(options: Options, changes: &[(&str, &str)]) -> (World, Engine) {
    let world = World::with(options, changes, Clock::manual(noon())).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    (world, engine)
}

/// What is found with these faults by somebody who knew nothing before.
async fn probe_with(world: &World, engine: &mut Engine, faults: &str) -> Findings {
    world.database.execute("delete from argos.probes").await;
    world.simulator.set_faults(Faults::parse(faults).unwrap());
    let asked = world.simulator.requests().len();
    let findings = engine.probe().await.unwrap();
    assert!(world.simulator.requests().len() - asked <= 9, "{faults}: a handful of requests");
    findings
}

fn created(before: u8, after: u8) -> Filter {
    Filter::Created { before, after }
}

/// A gauge of the first project; labels as in `fact="filter"`.
fn gauge(app: &App, name: &str, label: &str) -> i64 {
    let page = app.metrics.encode().unwrap();
    let start = format!("argos_sync_{name}{{");
    let line = page.lines().find(|line| line.starts_with(&start) && line.contains(label));
    line.unwrap_or_else(|| panic!("{name} {label}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn disagreements(app: &App) -> Vec<&'static str> {
    let disagrees = |fact: &Fact| gauge(app, "probe_disagreement", &format!("fact=\"{}\"", fact.as_str())) == 1;
    Fact::ALL.into_iter().filter(disagrees).map(Fact::as_str).collect()
}

#[tokio::test]
async fn p8_a_pause_that_the_vendor_asks_for_ends_the_probe() {
    // Asked for where only a probe asks: with dates in the other form.
    let odd = |request: &Request| request.query().contains("start_date=20260");
    let items = ["s1", "s2"].map(|id| json!({"submission_id": id, "created_at": "2026-03-20T01:00:00.000Z"}));
    let list = json!({"Items": items}).to_string();
    let vendor = Vendor::start(move |_, request| match odd(request) {
        true => Reply::status(429, "retry-after: 900\r\n", ""),
        false => Reply::json(&list),
    })
    .await;
    install_tls();
    let database = Database::fresh().await;
    let settings = settings(&vendor.base_url(), &database.url, &[]);
    let app = App::open(settings, Clock::manual(noon())).await.unwrap();
    let (heartbeat, stop) = (Heartbeat::new(), CancellationToken::new());
    let mut engine = app.engine(&app.settings.projects[0], "test", &heartbeat, &stop).await.unwrap();
    let result = engine.probe().await;
    let Err(SyncError::Api(ApiError::TooManyRequests { retry_after })) = result else { panic!("{result:?}") };
    assert_eq!(retry_after, Some(std::time::Duration::from_secs(900)));
    let requests = vendor.requests();
    assert_eq!(requests.iter().position(odd), Some(requests.len() - 1), "no request after it");
}

#[tokio::test]
async fn p1_a_walk_in_progress_starts_over_when_the_filter_turns_out_another() {
    let (world, mut engine) = mirrored(options(), &[]).await;
    probe_with(&world, &mut engine, "").await;
    let today = noon().date_naive();
    let errand = Errand { lane: Lane::Once, target: Target::Days(Some((today - TimeDelta::days(9), today))) };
    let goes_on = || world.simulator.requests().last().unwrap().query.contains("nextpage_id");
    for page in 0..2 {
        assert!(engine.go_on(errand).await.unwrap().is_none());
        assert_eq!(goes_on(), page == 1);
    }
    // Its pages so far are those of other days.
    assert_eq!(probe_with(&world, &mut engine, "kst-dates").await.filter, created(0, 1));
    assert!(engine.go_on(errand).await.unwrap().is_none());
    assert!(!goes_on(), "{:?}", world.simulator.requests().last());
}

/// What is logged until it is dropped.
struct Log(Arc<Mutex<Vec<u8>>>, #[expect(dead_code, reason = "a guard")] tracing::subscriber::DefaultGuard);

struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let into = Arc::clone(&text);
        let writer = move || Writer(Arc::clone(&into));
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
        Self(text, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self, part: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_faultless_vendor_is_known_and_disagrees_with_nothing() {
    let (world, mut engine) = mirrored(options(), &[]).await;
    let findings = probe_with(&world, &mut engine, "").await;
    assert_eq!(findings.filter, created(0, 0));
    assert_eq!(findings.text(Fact::DateFormat), Some("idcheck"), "the other form is refused");
    assert_eq!(findings.facts[&Fact::Count].value, "honoured");
    assert_eq!(findings.text(Fact::Parameters), Some("both"));
    assert_eq!(findings.text(Fact::EndDate), Some("included"));
    for fact in [Fact::ListAttempts, Fact::ListAml, Fact::ListUpdatedAt] {
        assert_eq!(findings.text(fact), Some("shown"), "{fact:?}");
    }
    for fact in [Fact::ListFields, Fact::IdFields] {
        let names = findings.facts[&fact].value.as_array().unwrap();
        assert!(names.contains(&json!("kyc.result")) && names.contains(&json!("data.gender")), "{names:?}");
    }
    assert_eq!(disagreements(&world.app), Vec::<&str>::new());
    assert_eq!(gauge(&world.app, "probe_timestamp_seconds", ""), noon().timestamp());
    assert_eq!(findings.clip, None);
    let stored = probe::findings(&mut world.app.pool.acquire().await.unwrap(), "default").await.unwrap();
    assert_eq!(stored, findings, "what is stored is what was returned");
    let evidence = world.database.text("select evidence from argos.probes where fact = 'filter'").await.unwrap();
    assert!(evidence.contains("0 of them created more than a day outside"), "{evidence}");
}

#[tokio::test]
async fn p1_what_dates_filter_is_found_with_the_days_more_that_it_takes() {
    let (world, mut engine) = mirrored(options(), &[]).await;
    for (faults, filter, wrong) in [
        ("kst-dates", created(0, 1), vec![]),
        ("dates-offset=-5", created(1, 0), vec![]),
        ("end-excluded", created(0, 1), vec![]),
        ("kst-dates,end-excluded", created(0, 2), vec![]),
        ("updated-dates", Filter::Updated, vec!["filter"]),
        ("ignore-dates", Filter::Ignored, vec!["filter"]),
    ] {
        let findings = probe_with(&world, &mut engine, faults).await;
        assert_eq!(findings.filter, filter, "{faults}: {:?}", findings.facts.get(&Fact::Filter));
        assert_eq!(disagreements(&world.app), wrong, "{faults}");
    }
}

#[tokio::test]
async fn p1_with_the_days_more_that_were_found_no_submission_is_missed() {
    let (world, mut engine) = mirrored(options(), &[]).await;
    for faults in ["", "kst-dates", "dates-offset=-5", "end-excluded", "kst-dates,end-excluded"] {
        let findings = probe_with(&world, &mut engine, faults).await;
        let day = "2026-03-15".parse().unwrap();
        let (first, last) = findings.filter.asked((day, day));
        let url = format!("{}/submission?start_date={first}&end_date={last}&count=2000", world.simulator.base_url());
        let answer = get(&url).await;
        let served: Vec<&str> =
            answer["Items"].as_array().unwrap().iter().filter_map(|i| i["submission_id"].as_str()).collect();
        let truth = world.simulator.truth();
        let of_day = truth.iter().filter(|item| item["created_at"].as_str().unwrap().starts_with("2026-03-15"));
        let missed = of_day.filter(|item| !served.contains(&item["submission_id"].as_str().unwrap())).count();
        assert_eq!(missed, 0, "{faults}");
    }
}

/// Asks the simulator beside the client: a plain request over a socket.
async fn get(url: &str) -> Value {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (host, target) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request =
        format!("GET /{target} HTTP/1.0\r\nhost: {host}\r\nx-api-key: simulated-key\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn p9_forms_of_a_day_are_tried_and_a_wrong_setting_is_warned_of() {
    let (world, engine) = mirrored(options(), &[]).await;
    drop(engine);
    for (dialect, configured, faults, format, filter, wrong) in [
        (Dialect::Both, "idcheck", "", Some("both"), created(0, 0), vec![]),
        (Dialect::V3, "v3", "", Some("v3"), created(0, 0), vec![]),
        (Dialect::V3, "idcheck", "", Some("v3"), Filter::UNKNOWN, vec!["date_format"]),
        (Dialect::V3, "idcheck", "wrong-dates-nothing", Some("v3"), Filter::UNKNOWN, vec!["date_format"]),
        (Dialect::V3, "idcheck", "wrong-dates-everything", Some("v3"), Filter::Ignored, vec!["date_format", "filter"]),
        (Dialect::Idcheck, "idcheck", "wrong-dates-everything", Some("idcheck"), created(0, 0), vec![]),
    ] {
        // The same seed and clock: the same submissions.
        let clock = world.app.clock.clone();
        let simulator = Simulator::start(Options { dialect, ..options() }, clock.clone()).await.unwrap();
        simulator.set_faults(Faults::parse(faults).unwrap());
        let settings = settings(&simulator.base_url(), &world.database.url, &[("api.dialect", configured)]);
        let app = App::open(settings, clock).await.unwrap();
        world.database.execute("delete from argos.probes").await;
        let log = Log::start();
        let findings = world.engine_in(&app, "test").await.probe().await.unwrap();
        let case = format!("{dialect:?} {configured} {faults}");
        assert_eq!(findings.text(Fact::DateFormat), format, "{case}: {:?}", findings.facts);
        assert_eq!(findings.filter, filter, "{case}");
        assert_eq!(disagreements(&app), wrong, "{case}");
        let told = log.lines("set api.dialect to the form found");
        assert_eq!(told.len(), usize::from(wrong.contains(&"date_format")), "{case}: {told:?}");
    }
}

#[tokio::test]
async fn count_and_the_place_of_parameters_are_tried() {
    let (world, mut engine) = mirrored(options(), &[]).await;
    let findings = probe_with(&world, &mut engine, "count-clip=30").await;
    assert_eq!((findings.clip, disagreements(&world.app)), (Some(30), vec!["count"]));
    assert_eq!(findings.filter, Filter::UNKNOWN, "an answer that is cut off proves nothing about its edges");
    let findings = probe_with(&world, &mut engine, "ignore-count").await;
    assert_eq!((findings.text(Fact::Count), disagreements(&world.app)), (Some("ignored"), vec!["count"]));
    let findings = probe_with(&world, &mut engine, "ignore-body").await;
    assert_eq!((findings.text(Fact::Parameters), disagreements(&world.app)), (Some("query"), vec![]));
}

#[tokio::test]
async fn thin_lists_are_said_loudly() {
    let log = Log::start();
    let world = World::with(Options { thin_lists: true, ..options() }, &[], Clock::manual(noon())).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    let findings = engine.probe().await.unwrap();
    assert_eq!(findings.text(Fact::ListAttempts), Some("missing"));
    assert_eq!(findings.text(Fact::ListUpdatedAt), Some("missing"));
    let wrong = disagreements(&world.app);
    assert!(wrong.contains(&"list_attempts") && wrong.contains(&"list_updated_at"), "{wrong:?}");
    assert_eq!(log.lines("Lists carry no attempts").len(), 1);
    assert_eq!(findings.filter, created(0, 0), "without updated_at many submissions are the evidence");
}

#[tokio::test]
async fn an_empty_mirror_does_not_stop_a_probe_and_little_evidence_proves_nothing() {
    let world = World::with(options(), &[], Clock::manual(noon())).await;
    let findings = world.engine().await.probe().await.unwrap();
    assert!(matches!(findings.filter, Filter::Created { .. }), "{:?}", findings.filter);
    assert_eq!(findings.found_at, Some(noon()));

    let world = World::with(Options { initial: 2, ..options() }, &[], Clock::manual(noon())).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    let findings = engine.probe().await.unwrap();
    assert_eq!(findings.filter, Filter::UNKNOWN);
    assert!(!findings.facts.contains_key(&Fact::Filter) && !findings.facts.contains_key(&Fact::Slack));
    assert_eq!(world.database.number("select count(*) from argos.outbox where type not like '%imported'").await, 1);
}

#[tokio::test]
async fn p2_a_probe_writes_no_data() {
    let (world, mut engine) = mirrored(options(), &[]).await;
    let before = written(&world.database).await;
    engine.probe().await.unwrap();
    engine.probe().await.unwrap();
    assert_eq!(written(&world.database).await, before);
}

#[tokio::test]
async fn p9_a_change_of_mode_is_an_alarm_that_stays() {
    let (world, mut engine) = mirrored(options(), &[]).await;
    let log = Log::start();
    engine.probe().await.unwrap();
    assert_eq!(gauge(&world.app, "probe_mode_changed_timestamp_seconds", "fact=\"filter\""), 0);
    assert_eq!(log.lines("works in another way"), Vec::<String>::new());

    world.app.clock.advance(TimeDelta::days(1));
    world.simulator.set_faults(Faults::parse("ignore-dates").unwrap());
    let findings = engine.probe().await.unwrap();
    assert_eq!(findings.filter, Filter::Ignored);
    let told = log.lines("works in another way");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("ERROR") && told[0].contains("argos-sync backfill"), "{told:?}");
    let changed_at = world.app.clock.now();

    // It is told once, and the metric stays, also for the next process and a standby.
    world.app.clock.advance(TimeDelta::days(1));
    engine.probe().await.unwrap();
    assert_eq!(log.lines("works in another way").len(), 1);
    engine.release().await.unwrap();
    let settings = settings(&world.simulator.base_url(), &world.database.url, &[]);
    let app = App::open(settings, world.app.clock.clone()).await.unwrap();
    let next = World { app, ..world };
    next.engine().await.show_counts().await.unwrap();
    assert_eq!(gauge(&next.app, "probe_mode_changed_timestamp_seconds", "fact=\"filter\""), changed_at.timestamp());
    assert_eq!(gauge(&next.app, "probe_disagreement", "fact=\"filter\""), 1);
}

#[tokio::test]
async fn a_probe_is_due_daily_and_after_a_change_of_settings() {
    let (world, mut engine) = mirrored(options(), &[]).await;
    let nothing = probe::findings(&mut world.app.pool.acquire().await.unwrap(), "default").await.unwrap();
    assert!(engine.probe_due(&nothing));
    let findings = engine.probe().await.unwrap();
    assert!(!engine.probe_due(&findings));
    let settings = settings(&world.simulator.base_url(), &world.database.url, &[("api.dialect", "v3")]);
    let app = App::open(settings, world.app.clock.clone()).await.unwrap();
    assert!(world.engine_in(&app, "other").await.probe_due(&findings));
    world.app.clock.advance(TimeDelta::days(1));
    assert!(engine.probe_due(&findings));
}

#[tokio::test]
async fn p8_a_probe_counts_in_the_budget_and_a_refused_key_ends_it() {
    let (_world, mut engine) = mirrored(options(), &[("api.requests_per_day", "10")]).await;
    let error = engine.probe().await.unwrap_err();
    assert_eq!(error.kind(), "budget_spent");
    let (world, mut engine) = mirrored(options(), &[]).await;
    world.simulator.set_faults(Faults::parse("forbidden-key").unwrap());
    assert_eq!(engine.probe().await.unwrap_err().kind(), "key_refused");
    assert_eq!(world.database.number("select count(*) from argos.probes").await, 0);
}

// ----------------------------------------------------------------------------------------------------- drift

#[tokio::test]
async fn p11_unknown_fields_are_counted_by_name_and_hold_no_data() {
    let (world, mut engine) = mirrored(Options { initial: 90, ..options() }, &[]).await;
    engine.release().await.unwrap();
    let names = "select string_agg(name, ', ') from argos.drift";
    let known = world.database.text(names).await;
    assert_eq!(known.as_deref(), Some("matches.name"), "the simulator shows no other that the documents do not know");
    world.database.execute("delete from argos.drift").await;
    let log = Log::start();
    let ids: Vec<String> =
        world.simulator.truth().iter().map(|item| item["submission_id"].as_str().unwrap().to_owned()).collect();
    let odd = json!({"riskScore": 7, "data": {"taint7@example.com": "Taintname7", "shoe_size": 43},
        "kyc": {"result": "on_hold", "attempts": [{"attemptCnt": 1, "deviceId": "TAINT-ID-7"}]}});
    ids[..3].iter().for_each(|id| world.simulator.patch(id, odd.clone()));
    engine.once().await.unwrap();
    let rows = "select string_agg(kind || ' ' || name || ' ' || count, ', ' order by kind, name)
                from argos.drift where name <> 'matches.name'";
    assert_eq!(
        world.database.text(rows).await.unwrap(),
        "unknown_field attempts.deviceId 3, unknown_field data.other 3, unknown_field data.shoe_size 3, \
         unknown_field riskScore 3, unknown_value kyc.result=on_hold 3"
    );
    assert_eq!(log.lines("no document names this").len(), 6, "each name once");
    let said = log.lines("").join("\n").to_lowercase();
    assert!(!said.contains("taint"), "{said}");

    // Known names: nothing is written for a while, then their counts.
    let before = world.database.fingerprint("select xmin, d.* from argos.drift d order by name").await;
    world.simulator.patch(&ids[3], odd.clone());
    engine.once().await.unwrap();
    assert_eq!(world.database.fingerprint("select xmin, d.* from argos.drift d order by name").await, before);
    world.app.clock.advance(TimeDelta::minutes(1));
    world.simulator.patch(&ids[4], odd);
    engine.once().await.unwrap();
    let count = "select count from argos.drift where name = 'riskScore'";
    assert!(world.database.number(count).await >= 5, "nothing that was counted is lost");
    engine.show_counts().await.unwrap();
    assert_eq!(gauge(&world.app, "drift_names", ""), 6);
}

#[tokio::test]
async fn p12_a_vendor_that_invents_names_fills_no_table() {
    let (world, mut engine) = mirrored(Options { initial: 10, ..options() }, &[]).await;
    let ids: Vec<String> =
        world.simulator.truth().iter().map(|item| item["submission_id"].as_str().unwrap().to_owned()).collect();
    for (n, id) in ids.iter().enumerate() {
        let names: serde_json::Map<String, Value> = (0..60).map(|m| (format!("f{n}x{m}"), json!(1))).collect();
        world.simulator.patch(id, Value::Object(names));
        engine.once().await.unwrap();
        world.app.clock.advance(TimeDelta::minutes(2));
    }
    let names = world.database.number("select count(*) from argos.drift").await;
    assert!((200..=202).contains(&names), "{names}");
    assert!(world.database.number("select count from argos.drift where name = 'other'").await >= 100);
}

#[tokio::test]
async fn p9_an_unknown_aml_status_is_an_alarm() {
    let (world, mut engine) = mirrored(Options { initial: 40, ..options() }, &[]).await;
    engine.show_counts().await.unwrap();
    assert_eq!(gauge(&world.app, "unknown_aml_status", ""), 0);
    let log = Log::start();
    let ids: Vec<String> =
        world.simulator.truth().iter().map(|item| item["submission_id"].as_str().unwrap().to_owned()).collect();
    for (id, status) in ids.iter().zip([json!("Amber Flag"), json!(7), json!("RED FLAG"), json!("Not Screened")]) {
        world.simulator.patch(id, json!({"aml": {"currentstatus": status}}));
    }
    engine.once().await.unwrap();
    engine.show_counts().await.unwrap();
    assert_eq!(gauge(&world.app, "unknown_aml_status", ""), 2, "the number and the new word");
    let told = log.lines("AML status that no document names");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|line| line.contains("ERROR") && line.contains("dashboard")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("aml.currentstatus=Amber Flag")), "{told:?}");
    world.simulator.patch(&ids[0], json!({"aml": {"currentstatus": "Red Flag"}}));
    world.simulator.patch(&ids[1], json!({"aml": {"currentstatus": "Not Screened"}}));
    engine.once().await.unwrap();
    engine.show_counts().await.unwrap();
    assert_eq!(gauge(&world.app, "unknown_aml_status", ""), 0);
}
