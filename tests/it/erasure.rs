//! P7: a deletion is believed slowly and carried out fully.

use argos_sync::app::App;
use argos_sync::clock::Clock;
use argos_sync::domain::lane::Lane;
use argos_sync::simulator::{Faults, Options, Simulator};
use argos_sync::store::{erasure, id_reads, progress};
use argos_sync::sync::engine::Engine;
use argos_sync::sync::error::SyncError;
use argos_sync::sync::report::PassReport;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::process::argos_sync;
use crate::support::rows::{counter, written};
use crate::support::verbatim::noon;
use crate::support::world::settings;
use crate::support::{Database, Verbatim, World, assert_valid_events};

/// In everything that is said of the person who will be erased.
const MARKER: &str = "Zebra";
const ID: &str = "erase-me";

/// A submission with the marker in every kind of field.
fn person() -> Value {
    let text = |what: &str| format!("{MARKER}-{what}");
    json!({
        "submission_id": ID, "created_at": "2026-03-10T10:00:00Z", "updated_at": "2026-03-10T10:10:00Z",
        "email": "Zebra@example.com", "userid": text("user"), "applicant_id": text("applicant"),
        "data": {"name": text("name"), "cf1": text("cf1"), "idType": "passport"},
        "kyc": {"result": "rejected", "comment": [text("comment")], "commentCode": ["other"],
                "attempts": [{"attemptCnt": 1, "verificationParams": {"fullName": text("full")}, "selfieImage": "https://x/Zebra"}]},
        "aml": {"currentstatus": "Red Flag", "raw_data": {"name": text("raw")}, "matches": [{"resource_id": "r1", "score": 99}]},
        "bank_verification": {"result": "fail", "account_number": text("account")}, "additional_list": [{"answer": text("answer")}],
        "memo": {"text": text("memo")}, "OCR_raw": {"name": {"value": text("ocr")}}, "image": {"idImage": "https://x/Zebra"},
        "new_field": text("new")
    })
}

struct Stage {
    world: World,
    clock: Clock,
    engine: Engine,
}

impl Stage {
    async fn new(options: Options, changes: &[(&str, &str)]) -> Self {
        let clock = Clock::manual(noon());
        let world = World::with(options, changes, clock.clone()).await;
        world.simulator.freeze();
        let engine = world.engine().await;
        Self { world, clock, engine }
    }

    /// Some people, and one who has three versions and a broken item in the quarantine.
    async fn with_person(changes: &[(&str, &str)]) -> Self {
        let mut stage = Self::new(Options { initial: 10, ..Options::default() }, changes).await;
        stage.world.simulator.put(person());
        stage.read().await;
        stage.world.simulator.patch(ID, json!({"data": {"cf2": "Zebra-cf2"}, "memo": {"text": "Zebra-second"}}));
        stage.read().await;
        stage.world.simulator.patch(ID, json!({"kyc": {"result": "approved"}}));
        stage.read().await;
        let good = stage.world.simulator.truth().into_iter().find(|item| item["submission_id"] == ID).unwrap();
        let broken = format!(r#"{{"submission_id":"{ID}","x":"Zebra{}"}}"#, "x".repeat(2 << 20));
        stage.world.simulator.put_raw(ID, noon() - TimeDelta::hours(2), &broken);
        stage.read().await;
        assert_eq!(stage.database().number("select count(*) from argos.quarantine").await, 1);
        stage.world.simulator.put(good);
        stage
    }

    fn database(&self) -> &Database {
        &self.world.database
    }

    async fn read(&mut self) {
        self.engine.once().await.unwrap();
        self.clock.advance(TimeDelta::minutes(1));
    }

    /// What a complete walk that does not show it leads to.
    async fn suspect_gone(&self, id: &str) {
        let mut connection = self.database().pool.acquire().await.unwrap();
        let (at, ids) = (self.clock.now(), [id.to_owned()]);
        erasure::suspect_gone(&mut connection, "default", &ids, at, Lane::Verify).await.unwrap();
    }

    /// Looks twice, `erasure.confirm_after` apart.
    async fn confirm_twice(&mut self) {
        self.engine.confirm().await.unwrap();
        self.clock.advance(TimeDelta::hours(6));
        self.engine.confirm().await.unwrap();
    }

    async fn suspicions(&self) -> i64 {
        self.database().number("select count(*) from argos.erasures").await
    }

    async fn receipts(&self) -> i64 {
        self.database().number("select count(*) from argos.erasure_receipts").await
    }

    /// Every row of the mirror, to see that nothing was erased.
    async fn items(&self) -> Option<String> {
        self.database()
            .text("select md5(string_agg(item::text, '' order by submission_id)) from argos.submissions")
            .await
    }
}

/// Every column of every row of every table.
async fn dump(database: &Database) -> String {
    let sql = "select tablename::text from pg_tables where schemaname = 'argos' order by 1";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&database.pool).await.unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    let mut dump = String::new();
    for table in tables {
        let rows = database.text(&format!("select string_agg(t::text, E'\\n') from argos.{table} t")).await;
        rows.into_iter().for_each(|rows| rows.lines().for_each(|line| dump.push_str(&format!("{table}: {line}\n"))));
    }
    dump
}

fn assert_no_marker(dump: &str) {
    let left: Vec<&str> = dump.lines().filter(|line| line.to_lowercase().contains("zebra")).collect();
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test]
async fn p7_whoever_is_gone_or_blanked_is_erased_everywhere() {
    for kind in ["gone", "blanked"] {
        let mut stage = Stage::with_person(&[("events.include_userid", "true")]).await;
        let open = counter(stage.database(), "red_flags_open").await;
        let all = counter(stage.database(), "submissions").await;
        if kind == "gone" {
            stage.world.simulator.remove(ID);
            stage.suspect_gone(ID).await;
        } else {
            stage.world.simulator.blank(ID);
            stage.read().await;
        }
        assert_eq!(stage.suspicions().await, 1);
        let before = stage.items().await;
        stage.engine.confirm().await.unwrap();
        stage.clock.advance(TimeDelta::hours(5));
        stage.engine.confirm().await.unwrap();
        assert_eq!(stage.items().await, before, "believed slowly");
        assert!(dump(stage.database()).await.contains("Zebra-user"));
        stage.clock.advance(TimeDelta::hours(1));
        let report = stage.engine.confirm().await.unwrap();
        assert_eq!(report.counts.events_total(), 2);

        assert_no_marker(&dump(stage.database()).await);
        assert_eq!((stage.suspicions().await, stage.receipts().await), (0, 1));
        let receipt = "select kind || ' ' || mode || ' ' || version || ' ' || versions_touched || ' ' ||
                              cardinality(confirmed_at) from argos.erasure_receipts";
        assert_eq!(stage.database().text(receipt).await, Some(format!("{kind} erase 4 3 2")));
        let state = format!(
            "select kyc_result || ' ' || id_type || ' ' || (gone_at is not null) || ' ' || coalesce(aml_currentstatus, '-')
               from argos.submissions where submission_id = '{ID}'"
        );
        let expected = if kind == "gone" { "approved passport true Red Flag" } else { "approved passport false -" };
        assert_eq!(stage.database().text(&state).await.as_deref(), Some(expected));
        assert_eq!(counter(stage.database(), "red_flags_open").await, open - 1);
        let gone = i64::from(kind == "gone");
        assert_eq!(counter(stage.database(), "submissions").await, all - gone);
        assert_valid_events(&stage.database().pool).await;

        // And it stays so: nothing comes back, nothing is told twice.
        stage.read().await;
        let after = written(stage.database()).await;
        stage.read().await;
        stage.engine.confirm().await.unwrap();
        assert_eq!(written(stage.database()).await, after);
        assert_no_marker(&dump(stage.database()).await);
        assert_eq!(stage.database().number("select count(*) from argos.outbox where type like '%erased'").await, 1);
    }
}

#[tokio::test]
async fn p7_removed_fields_leave_all_versions() {
    let mut stage = Stage::with_person(&[("events.include_userid", "true")]).await;
    let gone = json!({"email": null, "userid": null, "memo": null, "data": {"name": null, "cf1": null}});
    stage.world.simulator.patch(ID, gone);
    stage.world.simulator.patch(ID, json!({"kyc": {"commentCode": ["timeout"]}}));
    stage.read().await;
    let code = format!("select kyc_comment_code::text from argos.submissions where submission_id = '{ID}'");
    assert_eq!(stage.database().text(&code).await.as_deref(), Some("{timeout}"), "other changes are not held up");
    stage.confirm_twice().await;
    // Nobody else's answer by id shows a memo, so a second list is to lack it.
    assert_eq!(stage.receipts().await, 0);
    stage.read().await;
    stage.clock.advance(TimeDelta::hours(1));
    stage.engine.confirm().await.unwrap();
    let dump = dump(stage.database()).await;
    for part in ["Zebra@", "Zebra-user", "Zebra-name", "Zebra-cf1", "Zebra-memo", "Zebra-second"] {
        let left: Vec<&str> = dump.lines().filter(|line| line.contains(part)).collect();
        assert!(left.is_empty(), "{part}: {left:#?}");
    }
    assert!(dump.contains("Zebra-applicant") && dump.contains("Zebra-cf2"), "nobody removed these");
    let older = "select count(*) from argos.submission_versions
                  where version < 5 and (item::text like '%fullName%' or item::text like '%raw_data%')";
    assert_eq!(
        stage.database().number(&format!("{older} and submission_id = '{ID}'")).await,
        0,
        "they repeat the name"
    );
    let cause = format!("select cause from argos.submission_versions where submission_id = '{ID}' and version = 5");
    assert_eq!(stage.database().text(&cause).await.as_deref(), Some("removed"));
    assert_valid_events(&stage.database().pool).await;
    stage.read().await;
    let after = written(stage.database()).await;
    stage.read().await;
    assert_eq!(written(stage.database()).await, after);
    assert_eq!(stage.suspicions().await, 0);

    // Sticky: a list alone does not bring a field back, but what else it says counts.
    stage.world.simulator.patch(ID, json!({"email": "Zebra@example.com", "kyc": {"result": "rejected"}}));
    stage.read().await;
    let row =
        format!("select coalesce(email, '-') || ' ' || kyc_result from argos.submissions where submission_id = '{ID}'");
    assert_eq!(stage.database().text(&row).await.as_deref(), Some("- rejected"));
    assert_eq!(stage.database().text("select reason from argos.id_reads").await.as_deref(), Some("reappeared"));
    stage.engine.read_by_id(Lane::Refresh, ID).await.unwrap();
    assert_eq!(stage.database().text(&row).await.as_deref(), Some("Zebra@example.com rejected"));
    let told = "select payload->>'fields' from argos.outbox where type = 'submission.reappeared'";
    assert_eq!(stage.database().text(told).await.as_deref(), Some(r#"["email"]"#));
    assert_valid_events(&stage.database().pool).await;
}

#[tokio::test]
async fn p7_a_list_that_lags_brings_nobody_back_and_an_answer_by_id_does() {
    let mut stage = Stage::with_person(&[]).await;
    let full = stage.world.simulator.truth().into_iter().find(|item| item["submission_id"] == ID).unwrap();
    let (open, all) =
        (counter(stage.database(), "red_flags_open").await, counter(stage.database(), "submissions").await);
    stage.world.simulator.remove(ID);
    stage.suspect_gone(ID).await;
    stage.confirm_twice().await;
    assert_eq!(stage.receipts().await, 1);
    stage.world.simulator.put(full);
    let before = written(stage.database()).await;
    stage.read().await;
    stage.read().await;
    assert_eq!(written(stage.database()).await, before);
    assert_eq!(stage.database().text("select reason from argos.id_reads").await.as_deref(), Some("reappeared"));
    stage.engine.read_by_id(Lane::Refresh, ID).await.unwrap();
    let cause = format!(
        "select cause from argos.submission_versions where submission_id = '{ID}' order by version desc limit 1"
    );
    assert_eq!(stage.database().text(&cause).await.as_deref(), Some("reappeared"));
    let back = format!("select name from argos.submissions where submission_id = '{ID}' and gone_at is null");
    assert_eq!(stage.database().text(&back).await.as_deref(), Some("Zebra-name"));
    assert_eq!(
        (counter(stage.database(), "red_flags_open").await, counter(stage.database(), "submissions").await),
        (open, all)
    );
    assert_eq!(
        stage.database().number("select count(*) from argos.erasure_receipts where reappeared_at is null").await,
        0
    );
    assert_valid_events(&stage.database().pool).await;
    stage.read().await;
    let after = written(stage.database()).await;
    stage.read().await;
    assert_eq!(written(stage.database()).await, after);
}

#[tokio::test]
async fn p7_what_is_shown_again_was_not_deleted() {
    let mut stage = Stage::with_person(&[]).await;
    // Not in a walk, but there by id.
    stage.suspect_gone(ID).await;
    stage.engine.confirm().await.unwrap();
    assert_eq!(stage.suspicions().await, 0);
    // In a list again before the second look. What was asked for in vain rests before it is asked for again.
    stage.clock.advance(TimeDelta::minutes(5));
    stage.world.simulator.patch(ID, json!({"email": null}));
    stage.read().await;
    stage.engine.confirm().await.unwrap();
    assert_eq!(stage.database().number("select max(cardinality(confirmed_at)) from argos.erasures").await, 1);
    stage.world.simulator.patch(ID, json!({"email": "Zebra@example.com"}));
    stage.read().await;
    assert_eq!((stage.suspicions().await, stage.receipts().await), (0, 0));
}

#[tokio::test]
async fn p7_nothing_is_confirmed_while_nobody_answers_by_id() {
    let mut stage = Stage::with_person(&[]).await;
    stage.suspect_gone(ID).await;
    for item in stage.world.simulator.truth() {
        stage.world.simulator.remove(item["submission_id"].as_str().unwrap());
    }
    for _ in 0..20 {
        stage.engine.confirm().await.unwrap();
        stage.clock.advance(TimeDelta::hours(1));
    }
    assert_eq!(stage.database().number("select max(cardinality(confirmed_at)) from argos.erasures").await, 0);
    assert_eq!(stage.receipts().await, 0);
}

#[tokio::test]
async fn p7_p9_a_mass_of_deletions_waits_for_an_operator() {
    let options = Options { initial: 60, ..Options::default() };
    let mut stage = Stage::new(options, &[("erasure.max_count", "5")]).await;
    stage.read().await;
    let ids: Vec<String> =
        stage.world.simulator.truth().iter().map(|item| item["submission_id"].as_str().unwrap().to_owned()).collect();
    for id in &ids[..6] {
        stage.world.simulator.remove(id);
        stage.suspect_gone(id).await;
    }
    let before = stage.items().await;
    for _ in 0..4 {
        stage.confirm_twice().await;
    }
    assert_eq!((stage.items().await, stage.receipts().await), (before, 0));
    assert_eq!(stage.world.app.metrics.project("default").erasures_held.get(), 1);
    assert_eq!(stage.world.app.metrics.project("default").erasures_pending.get(), 6);
    let mut connection = stage.database().pool.acquire().await.unwrap();
    assert_eq!(progress::project(&mut connection, "default", Clock::system().now()).await.unwrap().confirm_at, None);
    // Nothing else waits.
    stage.world.simulator.patch(&ids[30], json!({"email": "other@example.com"}));
    let report = stage.engine.once().await.unwrap();
    assert_eq!(report.counts.changed, 1);

    let url = stage.database().url.clone();
    let list = command(&["erasure", "list"], &url).await;
    assert!(list.contains("HELD") && list.contains(&ids[0]), "{list}");
    assert!(command(&["erasure", "release"], &url).await.contains("6 released"));
    assert!(progress::project(&mut connection, "default", Clock::system().now()).await.unwrap().confirm_at.is_some());
    for _ in 0..12 {
        stage.engine.confirm().await.unwrap();
        stage.clock.advance(TimeDelta::hours(1));
    }
    assert_eq!((stage.receipts().await, stage.suspicions().await), (6, 0));
    assert_eq!(stage.world.app.metrics.project("default").erasures_held.get(), 0);
}

/// Runs the program on a database; what it prints.
async fn command(arguments: &[&str], url: &str) -> String {
    let (arguments, url) = (arguments.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(), url.to_owned());
    let run = move || {
        let output = argos_sync()
            .args(&arguments)
            .env("ARGOS_SYNC__DATABASE__URL", url)
            .env(
                "ARGOS_SYNC__DATABASE__HASH_SECRET",
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            )
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn p7_a_narrowed_key_erases_nothing() {
    let mut stage = Stage::new(Options { initial: 40, ..Options::default() }, &[]).await;
    stage.read().await;
    let before = (stage.items().await, dump(stage.database()).await.matches("Taint").count());
    stage.world.simulator.set_faults(Faults::parse("narrowed-key").unwrap());
    stage.read().await;
    assert!(stage.suspicions().await > 20);
    for _ in 0..3 {
        stage.confirm_twice().await;
        stage.read().await;
    }
    assert_eq!((stage.items().await, dump(stage.database()).await.matches("Taint").count()), before);
    assert_eq!(stage.world.app.metrics.project("default").erasures_held.get(), 1);
    // The key sees everything again.
    stage.world.simulator.set_faults(Faults::default());
    stage.read().await;
    assert_eq!((stage.suspicions().await, stage.receipts().await), (0, 0));
    assert_eq!(stage.items().await, before.0);
}

#[tokio::test]
async fn p7_another_projects_key_writes_and_erases_nothing() {
    let stage = &mut Stage::new(Options { initial: 20, ..Options::default() }, &[]).await;
    stage.read().await;
    stage.engine.release().await.unwrap();
    let before = written(stage.database()).await;
    let options = Options { initial: 20, seed: 99, ..Options::default() };
    let other = Simulator::start(options, stage.clock.clone()).await.unwrap();
    let app = open(&other, stage, "idcheck").await;
    let mut engine = stage.world.engine_in(&app, "other").await;
    for _ in 0..2 {
        let Err(error) = engine.once().await else { panic!("another project's list was read") };
        assert!(matches!(error, SyncError::OtherProject { asked: 5, same: 0 }), "{error}");
        let Err(error) = engine.confirm().await else { panic!("another project's list was believed") };
        assert!(matches!(error, SyncError::OtherProject { .. }), "{error}");
    }
    assert_eq!(app.metrics.project("default").other_project.get(), 1);
    assert_eq!(written(stage.database()).await, before);
    engine.release().await.unwrap();

    // Another source of the same submissions is believed, because they answer.
    let app = open(&stage.world.simulator, stage, "v3").await;
    let mut engine = stage.world.engine_in(&app, "rotated").await;
    engine.once().await.unwrap();
    engine.release().await.unwrap();
    // And any key, if an operator says so.
    let output = command(&["erasure", "accept-key"], &stage.database().url).await;
    assert!(output.contains("default"), "{output}");
    let app = open(&other, stage, "idcheck").await;
    let mut engine = stage.world.engine_in(&app, "accepted").await;
    assert_eq!(engine.once().await.unwrap().counts.new, 20);
}

async fn open(simulator: &Simulator, stage: &Stage, dialect: &str) -> App {
    let settings = settings(&simulator.base_url(), &stage.database().url, &[("api.dialect", dialect)]);
    App::open(settings, stage.clock.clone()).await.unwrap()
}

#[tokio::test]
async fn p7_hold_keeps_the_data_and_marks_it() {
    for kind in ["gone", "blanked", "fields"] {
        let mut stage = Stage::with_person(&[("erasure.mode", "hold")]).await;
        let before = stage.items().await;
        match kind {
            "gone" => {
                stage.world.simulator.remove(ID);
                stage.suspect_gone(ID).await;
            }
            "blanked" => stage.world.simulator.blank(ID),
            _ => stage.world.simulator.patch(ID, json!({"email": null})),
        }
        if kind != "gone" {
            stage.read().await;
        }
        stage.confirm_twice().await;
        assert_eq!(stage.items().await, before, "{kind}");
        let told =
            "select payload->>'kind' || ' ' || (payload->>'mode') from argos.outbox where type = 'submission.erased'";
        assert_eq!(stage.database().text(told).await, Some(format!("{kind} hold")));
        let marked = format!(
            "select (gone_at is not null or removed_fields is not null) from argos.submissions where submission_id = '{ID}'"
        );
        assert_eq!(stage.database().text(&marked).await.as_deref(), Some("true"));
        assert_valid_events(&stage.database().pool).await;
        // It is not noticed, confirmed and told again and again.
        stage.read().await;
        let after = written(stage.database()).await;
        stage.read().await;
        stage.confirm_twice().await;
        assert_eq!((written(stage.database()).await, stage.suspicions().await), (after, 0), "{kind}");
    }
}

#[tokio::test]
async fn p7_receipts_erase_again_in_a_restored_backup() {
    let mut stage = Stage::with_person(&[]).await;
    // What a backup of this moment would hold: the same states, read by another daemon.
    let backup = Database::fresh().await;
    let keys = settings(&stage.world.simulator.base_url(), &backup.url, &[]);
    let app = App::open(keys, stage.clock.clone()).await.unwrap();
    let mut engine = stage.world.engine_in(&app, "backup").await;
    engine.once().await.unwrap();
    engine.release().await.unwrap();
    stage.read().await;
    stage.world.simulator.blank(ID);
    stage.read().await;
    stage.confirm_twice().await;
    assert_eq!(stage.receipts().await, 1);

    let exported = command(&["erasure", "receipts", "export"], &stage.database().url).await;
    assert_eq!(exported.lines().count(), 1);
    assert_no_marker(&exported);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("receipts.jsonl");
    std::fs::write(&file, &exported).unwrap();
    let apply = ["erasure", "receipts", "apply", file.to_str().unwrap()];
    assert!(dump(&backup).await.contains("Zebra-name"));
    command(&["restored", "--yes"], &backup.url).await;
    let said = command(&apply, &backup.url).await;
    assert!(said.contains("1 carried out"), "{said}");
    assert_no_marker(&dump(&backup).await);
    let before = written(&backup).await;
    let said = command(&apply, &backup.url).await;
    assert!(said.contains("0 carried out, 1 had nothing left"), "{said}");
    assert_eq!(written(&backup).await, before);
    assert_valid_events(&backup.pool).await;
}

#[tokio::test]
async fn p7_thin_lists_erase_nothing() {
    let mut stage = Stage::new(Options { initial: 30, thin_lists: true, ..Options::default() }, &[]).await;
    stage.read().await;
    let ids: Vec<String> =
        stage.world.simulator.truth().iter().map(|item| item["submission_id"].as_str().unwrap().to_owned()).collect();
    for id in &ids {
        stage.engine.read_by_id(Lane::Refresh, id).await.unwrap();
    }
    let before = written(stage.database()).await;
    for _ in 0..2 {
        let report = stage.engine.once().await.unwrap();
        assert_eq!((report.counts.held, report.counts.changed, report.counts.drift.len()), (0, 0, 0));
    }
    assert_eq!(written(stage.database()).await, before);
    assert_eq!(stage.suspicions().await, 0);
    assert!(stage.database().number("select count(*) from argos.attempts").await > 0);
}

/// A vendor whose lists and answers by id are told apart.
struct Views {
    vendor: Verbatim,
    engine: Engine,
}

/// A submission, with members changed; null leaves one out.
fn someone(id: &str, changes: Value) -> Value {
    let mut item = json!({
        "submission_id": id, "created_at": "2026-03-10T10:00:00Z", "email": "e@example.com",
        "kyc": {"result": "approved"}, "data": {"name": "n", "idType": "passport"}
    });
    if let (Value::Object(item), Value::Object(changes)) = (&mut item, changes) {
        item.extend(changes);
    }
    item
}

/// What is left of a deleted submission.
fn stub(id: &str) -> Value {
    json!({"submission_id": id, "created_at": "2026-03-10T10:00:00Z", "kyc": {"result": "approved"}})
}

impl Views {
    async fn new() -> Self {
        let vendor = Verbatim::new().await;
        let engine = vendor.engine().await;
        Self { vendor, engine }
    }

    /// From now on the answers by id show this.
    fn by_id(&self, id: &str, items: &[Value]) {
        self.vendor.answers("submission", &[("submission_id", id)], &json!({"Items": items}).to_string());
    }

    async fn list(&mut self, items: &[Value]) -> PassReport {
        let items: Vec<String> = items.iter().map(Value::to_string).collect();
        self.vendor.read(&mut self.engine, &items).await
    }

    /// Looks at suspicions once an hour.
    async fn confirm_for(&mut self, hours: i64) {
        for _ in 0..hours {
            self.engine.confirm().await.unwrap();
            self.vendor.clock.advance(TimeDelta::hours(1));
        }
    }

    /// Reads who waits to be read by id.
    async fn read_queue(&mut self) {
        let mut connection = self.vendor.database.pool.acquire().await.unwrap();
        while let Some((id, _)) = id_reads::next(&mut connection, "default", self.vendor.clock.now()).await.unwrap() {
            self.engine.refresh(&id).await.unwrap();
        }
    }

    /// How often an id was asked for.
    fn asked(&self, id: &str) -> usize {
        let of_id = ("submission_id".to_owned(), id.to_owned());
        self.vendor.requests().iter().filter(|(_, parameters)| parameters.contains(&of_id)).count()
    }

    async fn number(&self, sql: &str) -> i64 {
        self.vendor.database.number(sql).await
    }

    /// Suspicions and receipts.
    async fn state(&self) -> (i64, i64) {
        let receipts = self.number("select count(*) from argos.erasure_receipts").await;
        (self.number("select count(*) from argos.erasures").await, receipts)
    }
}

#[tokio::test]
async fn p7_answers_by_id_that_show_less_of_everybody_erase_nobody() {
    let mut views = Views::new().await;
    let all: Vec<Value> = ["s", "t", "u", "v", "w"].map(|id| someone(id, json!({}))).into();
    views.list(&all).await;
    for item in &all {
        views.by_id(item["submission_id"].as_str().unwrap(), std::slice::from_ref(item));
    }
    views.engine.read_by_id(Lane::Canary, "s").await.unwrap();
    // The key loses rights, and answers by id alone say less; the list has not been read since.
    for item in &all {
        let id = item["submission_id"].as_str().unwrap();
        views.by_id(id, &[stub(id)]);
    }
    views.engine.read_by_id(Lane::Canary, "s").await.unwrap();
    assert_eq!(views.number("select count(*) from argos.erasures where kind = 'blanked'").await, 1);
    views.confirm_for(20).await;
    assert_eq!(views.state().await, (1, 0));
    // Not even if the list says so too: nobody else answers as stored.
    let listed = [&[stub("s")], &all[1..]].concat();
    views.list(&listed).await;
    views.confirm_for(20).await;
    assert_eq!(views.state().await, (1, 0));
    // It was the truth about this one.
    for item in &all[1..] {
        views.by_id(item["submission_id"].as_str().unwrap(), std::slice::from_ref(item));
    }
    views.confirm_for(20).await;
    assert_eq!(views.state().await, (0, 1));
}

#[tokio::test]
async fn p7_nobody_is_blanked_whom_a_list_shows() {
    let mut views = Views::new().await;
    let all = ["s", "t", "u"].map(|id| someone(id, json!({})));
    views.list(&all).await;
    for item in &all {
        views.by_id(item["submission_id"].as_str().unwrap(), std::slice::from_ref(item));
        views.engine.read_by_id(Lane::Canary, item["submission_id"].as_str().unwrap()).await.unwrap();
    }
    views.by_id("s", &[stub("s")]);
    views.engine.read_by_id(Lane::Canary, "s").await.unwrap();
    views.confirm_for(20).await;
    assert_eq!(views.state().await, (1, 0), "the list's last word is another one");
    assert_eq!(views.number("select count(*) from argos.created_days where verify_since is not null").await, 1);
    let asked = views.asked("s");
    views.confirm_for(20).await;
    assert_eq!(views.asked("s"), asked, "to wait for a list costs nothing");
    views.list(&all).await;
    assert_eq!(views.state().await, (0, 0));
}

#[tokio::test]
async fn p7_an_answer_by_id_that_shows_others_is_no_answer() {
    let mut views = Views::new().await;
    let all = ["s", "t"].map(|id| someone(id, json!({})));
    views.list(&all).await;
    views.by_id("t", &all[1..]);
    views.by_id("s", &[]);
    let mut connection = views.vendor.database.pool.acquire().await.unwrap();
    let (at, ids) = (views.vendor.clock.now(), ["s".to_owned()]);
    erasure::suspect_gone(&mut connection, "default", &ids, at, Lane::Verify).await.unwrap();
    views.confirm_for(7).await;
    assert_eq!(views.state().await, (0, 1));

    // Whatever is asked for, the answer is a list that lags.
    views.by_id("s", &all);
    views.by_id("t", &all[..1]);
    views.list(&all).await;
    assert_eq!(views.number("select count(*) from argos.id_reads where reason = 'reappeared'").await, 1);
    let Err(error) = views.engine.refresh("s").await else { panic!("a list was taken for an answer by id") };
    assert!(error.to_string().contains("cannot be read by id"), "{error}");
    assert_eq!(views.number("select count(*) from argos.submissions where gone_at is not null").await, 1);
    assert_eq!(views.number("select count(*) from argos.id_reads").await, 0, "the next one has its turn");
    assert!(views.engine.refresh("t").await.is_err(), "it does not say that t is not there");
    assert_eq!(views.state().await, (0, 1));
    let samples = views.vendor.app.metrics.encode().unwrap();
    let told = r#"argos_sync_drift_total{kind="other_submissions",project="default"} 2"#;
    assert!(samples.contains(told), "{samples}");
}

#[tokio::test]
async fn p7_what_is_deleted_soon_after_an_erasure_is_noticed() {
    let mut stage = Stage::with_person(&[]).await;
    stage.world.simulator.patch(ID, json!({"email": null}));
    stage.read().await;
    stage.confirm_twice().await;
    assert_eq!((stage.suspicions().await, stage.receipts().await), (0, 1));
    stage.world.simulator.patch(ID, json!({"memo": null, "data": {"name": null}}));
    stage.read().await;
    let fields = stage.database().text("select fields::text from argos.erasures").await;
    assert_eq!(fields.as_deref(), Some("{data.name,memo.text}"));
}

#[tokio::test]
async fn p7_the_same_bytes_of_a_list_refute_what_they_show_and_no_more() {
    let mut views = Views::new().await;
    let listed = someone("s", json!({"email": null}));
    // First by id, so that the list's bytes are those of the current version.
    views.by_id("s", &[someone("s", json!({"memo": "m"}))]);
    views.engine.read_by_id(Lane::Refresh, "s").await.unwrap();
    views.list(std::slice::from_ref(&listed)).await;
    views.by_id("s", &[someone("s", json!({"email": null}))]);
    views.engine.read_by_id(Lane::Refresh, "s").await.unwrap();
    let suspected = "select kind || ' ' || fields::text from argos.erasures";
    for _ in 0..2 {
        let said = views.vendor.database.text(suspected).await;
        assert_eq!(said.as_deref(), Some("fields {email,memo}"));
        assert_eq!(views.list(std::slice::from_ref(&listed)).await.counts.unchanged, 1);
    }
    // They do show that it is there.
    sqlx::query("update argos.erasures set kind = 'gone', fields = '{}'")
        .execute(&views.vendor.database.pool)
        .await
        .unwrap();
    views.list(&[listed]).await;
    assert_eq!(views.state().await, (0, 0));
}

#[tokio::test]
async fn p7_an_unusable_item_brings_nothing_back() {
    let mut stage = Stage::with_person(&[]).await;
    stage.world.simulator.remove(ID);
    stage.suspect_gone(ID).await;
    stage.confirm_twice().await;
    assert_eq!(stage.receipts().await, 1);
    let broken = format!(r#"{{"submission_id":"{ID}","x":"Zebra{}"}}"#, "x".repeat(2 << 20));
    stage.world.simulator.put_raw(ID, noon() - TimeDelta::hours(2), &broken);
    stage.read().await;
    assert_no_marker(&dump(stage.database()).await);
    assert_eq!(stage.database().number("select count(*) from argos.quarantine where body = ''").await, 1);
    assert_eq!(stage.database().text("select reason from argos.id_reads").await.as_deref(), Some("reappeared"));
}

#[tokio::test]
async fn p7_a_field_that_only_lists_show_goes_and_comes_back_by_lists() {
    let mut views = Views::new().await;
    let gender = json!({"data": {"name": "n", "gender": "female", "idType": "passport"}});
    let all = ["s", "t"].map(|id| someone(id, gender.clone()));
    let less = [someone("s", json!({})), all[1].clone()];
    views.list(&all).await;
    for id in ["s", "t"] {
        views.by_id(id, &[someone(id, json!({}))]);
        views.engine.read_by_id(Lane::Canary, id).await.unwrap();
    }
    views.list(&less).await;
    views.confirm_for(12).await;
    assert_eq!(views.state().await, (1, 0), "answers by id never showed it, and one list is not enough");
    views.list(&less).await;
    views.confirm_for(2).await;
    assert_eq!(views.state().await, (0, 1));

    let row = "select coalesce(gender, '-') from argos.submissions where submission_id = 's'";
    assert_eq!(views.vendor.database.text(row).await.as_deref(), Some("-"));
    views.list(&all).await;
    assert_eq!(views.vendor.database.text(row).await.as_deref(), Some("-"), "not before it answers by id");
    views.read_queue().await;
    views.list(&all).await;
    assert_eq!(views.vendor.database.text(row).await.as_deref(), Some("female"));
    let told = "select payload->>'fields' from argos.outbox where type = 'submission.reappeared'";
    assert_eq!(views.vendor.database.text(told).await.as_deref(), Some(r#"["data.gender"]"#));
    assert_valid_events(&views.vendor.database.pool).await;
    let before = written(&views.vendor.database).await;
    views.list(&all).await;
    assert_eq!(written(&views.vendor.database).await, before);
    assert_eq!(views.number("select count(*) from argos.id_reads").await, 0);
}

#[tokio::test]
async fn p7_what_lists_go_on_showing_costs_fewer_and_fewer_requests() {
    let mut views = Views::new().await;
    let all = ["s", "t", "u"].map(|id| someone(id, json!({})));
    for item in &all {
        views.by_id(item["submission_id"].as_str().unwrap(), std::slice::from_ref(item));
    }
    views.list(&all).await;
    views.by_id("s", &[]);
    let mut connection = views.vendor.database.pool.acquire().await.unwrap();
    let (at, ids) = (views.vendor.clock.now(), ["s".to_owned()]);
    erasure::suspect_gone(&mut connection, "default", &ids, at, Lane::Verify).await.unwrap();
    drop(connection);
    views.confirm_for(7).await;
    assert_eq!(views.state().await, (0, 1));
    // A tombstone in the list, and a field that the list lacks and an answer by id shows.
    let listed = [all[0].clone(), someone("t", json!({"email": null})), all[2].clone()];
    let before = (views.asked("s"), views.asked("t"));
    for _ in 0..72 {
        views.list(&listed).await;
        views.read_queue().await;
        views.engine.confirm().await.unwrap();
        views.vendor.clock.advance(TimeDelta::minutes(9));
    }
    let asked = (views.asked("s") - before.0, views.asked("t") - before.1);
    assert!((5..=10).contains(&asked.0) && (5..=10).contains(&asked.1), "{asked:?} in 12 hours");
    // It is there again: seen at the next turn, which is a day later at most.
    views.by_id("s", &all[..1]);
    views.vendor.clock.advance(TimeDelta::days(1));
    views.list(&listed).await;
    views.read_queue().await;
    assert_eq!(views.number("select count(*) from argos.submissions where gone_at is null").await, 3);
}
