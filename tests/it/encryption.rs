//! Encrypted projects, over real HTTP: the simulator encrypts with code of its own.

mod command;

use std::collections::BTreeSet;
use std::time::Duration;

use argos_sync::app::App;
use argos_sync::argos::cipher::{Cipher, Variant};
use argos_sync::argos::query::Query;
use argos_sync::clock::Clock;
use argos_sync::config::{CipherMode, KeyForm, TextEncoding};
use argos_sync::heartbeat::Heartbeat;
use argos_sync::simulator::{Encryption, Faults, Options, Simulator};
use argos_sync::sync::engine::Engine;
use argos_sync::sync::error::SyncError;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::support::program::{self, Ended};
use crate::support::rows::{data_tables, written};
use crate::support::vendor::{Reply, Vendor};
use crate::support::world::{install_tls, settings};
use crate::support::{Database, World};

const HEX_SECRET: &str = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
const BASE64_SECRET: &str = "YD3rEBXKcb4rc67whX13gR81LAc7YQjXLZgQowkU3/Q=";

/// Modes and forms of the key, by the settings' words.
const MODES: [&str; 6] = ["ecb", "cbc-prefixed-iv", "cbc-zero-iv", "cbc-key-iv", "gcm", "cbc-passphrase"];
const KEYS: [&str; 5] = ["first-32", "sha256", "sha256-hex", "hex", "base64"];

/// A frozen simulator of a few submissions that encrypts as the words say.
fn options(words: &str, secret: Option<&str>) -> Options {
    let encryption = Encryption::parse(words).unwrap().with_secret(secret.map(str::to_owned));
    Options { initial: 12, encryption: Some(encryption), ..Options::default() }
}

/// A frozen simulator that encrypts as the words say.
async fn simulator(words: &str, secret: Option<&str>) -> Simulator {
    let simulator = Simulator::start(options(words, secret), Clock::system()).await.unwrap();
    simulator.freeze();
    simulator
}

/// The daemon's side: pages of five, and what the test changes.
async fn app(simulator: &Simulator, database: &Database, changes: &[(&str, &str)]) -> App {
    install_tls();
    let changes = [&[("api.count", "5")], changes].concat();
    App::open(settings(&simulator.base_url(), &database.url, &changes), Clock::system()).await.unwrap()
}

async fn engine(app: &App) -> Engine {
    app.engine(&app.settings.projects[0], "test", &Heartbeat::new(), &CancellationToken::new()).await.unwrap()
}

/// Every item of the simulator is stored in the project, and no other.
async fn assert_mirrored(simulator: &Simulator, database: &Database, project: &str, what: &str) {
    let sql = format!(
        "select jsonb_object_agg(submission_id, item->'email') from argos.submissions where project_id = '{project}'"
    );
    let stored: Value = serde_json::from_str(&database.text(&sql).await.unwrap_or_default()).unwrap();
    let id = |item: &Value| item["submission_id"].as_str().unwrap().to_owned();
    let truth: Map<_, _> = simulator.truth().into_iter().map(|item| (id(&item), item["email"].clone())).collect();
    assert_eq!((stored, truth.len()), (Value::Object(truth), 12), "{what}");
}

/// Nothing of an answer is in a table, and no place was taken.
async fn assert_nothing_stored(database: &Database, what: &str) {
    let tables = data_tables(database).await.into_iter().filter(|table| table != "outbox_counter");
    let counts: Vec<_> = tables.map(|table| format!("(select count(*) from argos.{table})")).collect();
    let places = "(select count(*) from argos.created_days) + (select coalesce(sum(pages), 0) from argos.walks)";
    assert_eq!(database.number(&format!("{} + {places}", counts.join(" + "))).await, 0, "{what}");
}

#[tokio::test]
async fn p13_ecb_reaches_the_database() {
    every_variant_of(0).await;
}

#[tokio::test]
async fn p13_cbc_with_a_prefixed_iv_reaches_the_database() {
    every_variant_of(1).await;
}

#[tokio::test]
async fn p13_cbc_with_a_zero_iv_reaches_the_database() {
    every_variant_of(2).await;
}

#[tokio::test]
async fn p13_cbc_with_the_key_as_iv_reaches_the_database() {
    every_variant_of(3).await;
}

#[tokio::test]
async fn p13_gcm_reaches_the_database() {
    every_variant_of(4).await;
}

#[tokio::test]
async fn p13_cbc_with_a_passphrase_reaches_the_database() {
    every_variant_of(5).await;
}

/// Every form of the key and every encoding with one mode; shapes and requests take turns.
async fn every_variant_of(m: usize) {
    // A passphrase has no form.
    assert_eq!((MODES.len() - 1) * KEYS.len() * 2 + 2, Variant::all().count());
    let mode = MODES[m];
    let database = Database::fresh().await;
    for (k, key) in KEYS.into_iter().enumerate() {
        for (e, encoding) in ["base64", "hex"].into_iter().enumerate() {
            let text = if encoding == "hex" { "hex" } else { ["base64", "base64url"][(m + k) % 2] };
            let shape = ["flag-data", "flag-body", "data", "body-data", "quoted"][(m + 2 * k + e) % 5];
            // In the clear, encrypted in the URL, encrypted in a body.
            let requests = (m + k + e) % 3;
            let secret = match key {
                "hex" => Some(HEX_SECRET),
                "base64" => Some(BASE64_SECRET),
                _ => None,
            };
            let only = if requests > 0 { ",encrypted-requests" } else { "" };
            let words = format!("{mode},key-{key},{text},{shape}{only}");
            let project = format!("{key}_{encoding}");
            let mut changes = vec![
                ("api.project_id", project.as_str()),
                ("api.encryption", mode),
                ("api.encryption_key", key),
                ("api.encryption_encoding", encoding),
                ("api.encryption_requests", if requests > 0 { "true" } else { "false" }),
                ("api.parameters", if requests == 2 { "body" } else { "query" }),
            ];
            changes.extend(secret.map(|secret| ("api.encryption_secret", secret)));
            let simulator = simulator(&words, secret).await;
            let app = app(&simulator, &database, &changes).await;
            let mut engine = engine(&app).await;
            let report = engine.once().await.unwrap_or_else(|error| panic!("{words}: {error:?}"));
            assert!(report.complete && report.pages == 3 && report.counts.new == 12, "{words}: {report:?}");
            assert_mirrored(&simulator, &database, &project, &words).await;
            let before = written(&database).await;
            assert_eq!(engine.once().await.unwrap().counts.unchanged, 12, "{words}");
            assert_eq!(written(&database).await, before, "{words}");
            for served in simulator.requests() {
                match requests {
                    0 => assert!(served.query.contains("count=5"), "{words}: {served:?}"),
                    1 => assert!(served.query.starts_with("body=") && !served.query.contains('&'), "{words}"),
                    _ => {
                        let body: Value = serde_json::from_str(&served.body).unwrap();
                        assert!(body["body"].is_string() && body.as_object().unwrap().len() == 1, "{words}");
                        assert_eq!(served.query, "", "{words}");
                    }
                }
            }
        }
    }
}

/// One read that must stop, after exactly one request, with nothing stored. What it says.
async fn stops(simulator: &Simulator, database: &Database, changes: &[(&str, &str)], kind: &str, what: &str) -> String {
    let app = app(simulator, database, changes).await;
    let asked = simulator.requests().len();
    let error = engine(&app).await.once().await.expect_err(what);
    let SyncError::Api(api) = &error else { panic!("{what}: {error:?}") };
    assert_eq!(api.kind(), kind, "{what}: {error:?}");
    assert!(api.needs_a_person() && !api.retryable(), "{what}");
    assert_eq!(simulator.requests().len() - asked, 1, "{what}: it is not asked again");
    let line = format!("argos_sync_request_errors_total{{kind=\"{kind}\",project=\"default\"}} 1");
    assert!(app.metrics.encode().unwrap().contains(&line), "{what}: the metric counts it");
    assert_nothing_stored(database, what).await;
    format!("{error:?} {}", error.advice())
}

#[tokio::test]
async fn p3_what_cannot_be_decrypted_is_a_clear_stop_and_nothing_is_stored() {
    for (m, mode) in MODES.into_iter().enumerate() {
        let simulator = simulator(mode, None).await;
        let database = Database::fresh().await;
        let right = ("api.encryption", mode);
        let other = ("api.encryption", MODES[(m + 1) % MODES.len()]);
        for (what, changes, kind, advice) in [
            ("off", vec![], "encrypted", "find-cipher"),
            ("another secret", vec![right, ("api.encryption_secret", "wrong")], "decryption_failed", "find-cipher"),
            ("another key", vec![right, ("api.encryption_key", "sha256")], "decryption_failed", "do not fit"),
            ("another mode", vec![other], "decryption_failed", "do not fit"),
            ("another encoding", vec![right, ("api.encryption_encoding", "hex")], "decryption_failed", "do not fit"),
        ] {
            // A passphrase is the secret itself, whatever the form of the key says.
            if (mode, what) == ("cbc-passphrase", "another key") {
                continue;
            }
            let what = format!("{mode}: {what}");
            let said = stops(&simulator, &database, &changes, kind, &what).await;
            assert!(said.contains(advice), "{what}: {said}");
        }
        for fault in ["cipher-cut", "cipher-garbled"] {
            simulator.set_faults(Faults::parse(fault).unwrap());
            stops(&simulator, &database, &[right], "decryption_failed", &format!("{mode}: {fault}")).await;
        }
        // It heals by itself when the vendor is well again.
        simulator.set_faults(Faults::default());
        let app = app(&simulator, &database, &[right]).await;
        assert!(engine(&app).await.once().await.unwrap().complete);
        assert_mirrored(&simulator, &database, "default", mode).await;
    }
}

#[tokio::test]
async fn p3_a_project_that_is_encrypted_later_stops_with_what_it_has() {
    let world = World::new(Options { initial: 12, ..Options::default() }).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    assert!(engine.once().await.unwrap().complete);
    let before = written(&world.database).await;
    world.simulator.set_faults(Faults::parse("encrypted").unwrap());
    let error = engine.once().await.unwrap_err();
    assert_eq!(error.kind(), "encrypted");
    assert!(error.advice().contains("secure data transmission") && error.advice().contains("find-cipher"));
    assert_eq!(written(&world.database).await, before);
}

#[tokio::test]
async fn requests_that_the_vendor_cannot_decrypt_are_told_apart() {
    let database = Database::fresh().await;
    let encrypt = ("api.encryption_requests", "true");
    for (what, words, changes) in [
        ("in the clear", "ecb,encrypted-requests", vec![("api.encryption", "ecb")]),
        ("off", "ecb,encrypted-requests", vec![]),
        ("another key", "gcm", vec![("api.encryption", "gcm"), encrypt, ("api.encryption_secret", "wrong")]),
    ] {
        let simulator = simulator(words, None).await;
        let said = stops(&simulator, &database, &changes, "encryption_refused", what).await;
        assert!(said.contains("api.encryption_requests = true"), "{what}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_the_clear_is_read_and_told_once() {
    let simulator = simulator("ecb", None).await;
    let right = ("api.encryption", "ecb");
    simulator.set_faults(Faults::parse("in-the-clear=2").unwrap());
    let database = Database::fresh().await;
    let ended = once(&simulator, &database, &[right]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr.matches("answers in the clear").count(), 1, "{ended:?}");
    assert_mirrored(&simulator, &database, "default", "in the clear").await;

    simulator.set_faults(Faults::parse("in-the-clear=2").unwrap());
    let app = app(&simulator, &database, &[right]).await;
    let report = engine(&app).await.once().await.unwrap();
    assert!(report.complete && report.counts.unchanged == 12, "{report:?}");
    let line = "argos_sync_drift_total{kind=\"not_encrypted\",project=\"default\"} 2";
    assert!(app.metrics.encode().unwrap().contains(line));
}

/// `argos-sync once` at its most talkative.
async fn once(simulator: &Simulator, database: &Database, changes: &[(&str, &str)]) -> Ended {
    let changes = [&[("api.count", "5"), ("log.level", "trace")], changes].concat();
    program::run(program::command(&["once"], &simulator.base_url(), &database.url, &changes)).await
}

/// The body of an answer, as the vendor sends it.
async fn raw(simulator: &Simulator) -> String {
    let url = format!("{}/submission?count=5", simulator.base_url());
    let answer = reqwest::Client::new().get(url).header("x-api-key", "simulated-key").send().await;
    answer.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_neither_the_encrypted_text_nor_the_plain_one_is_logged_or_set_aside() {
    install_tls();
    let simulator = simulator("ecb", None).await;
    let sealed: Value = serde_json::from_str(&raw(&simulator).await).unwrap();
    // In ECB equal blocks look alike: the beginning is that of every answer.
    let sealed = &sealed["data"].as_str().unwrap()[..20];
    let right = ("api.encryption", "ecb");
    let secret = "an-encryption-secret-that-must-not-show";
    for (what, fault, changes, code) in [
        ("right", "", vec![right], 0),
        ("off", "", vec![], 5),
        ("wrong", "", vec![right, ("api.encryption_secret", secret)], 5),
        ("cut", "cipher-cut", vec![right], 5),
        ("garbled", "cipher-garbled", vec![right], 5),
        ("requests", "", vec![right, ("api.encryption_requests", "true"), ("api.encryption_secret", secret)], 5),
        ("bad items inside", "bad-item,null-chars,huge-number", vec![right], 0),
    ] {
        simulator.set_faults(Faults::parse(fault).unwrap());
        let database = Database::fresh().await;
        let ended = once(&simulator, &database, &changes).await;
        assert_eq!(ended.code, Some(code), "{what}: {ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("default"), "{what}: it speaks of its project: {said}");
        assert!(!said.to_lowercase().contains("taint"), "{what}: {said}");
        assert!(!said.contains(sealed) && !said.contains(secret) && !said.contains("simulated-key"), "{what}: {said}");
        if code != 0 {
            assert_nothing_stored(&database, what).await;
        }
        let aside = "select string_agg(body::text, '') like '%' || $$SEALED$$ || '%' from argos.quarantine";
        assert_ne!(database.text(&aside.replace("SEALED", sealed)).await.as_deref(), Some("true"), "{what}");
    }
}

#[tokio::test]
async fn an_error_is_understood_in_the_clear_and_encrypted() {
    let variant = Variant { mode: CipherMode::Gcm, key: KeyForm::Sha256, encoding: TextEncoding::Base64 };
    let cipher = Cipher::new(variant, "simulated-key").unwrap();
    let changes = [("api.encryption", "gcm"), ("api.encryption_key", "sha256"), ("api.retries", "0")];
    for (status, error, kind) in [
        (400, r#"{"errorCode":"invalid_project"}"#, "key_refused"),
        (
            403,
            r#"{"message":"User is not authorized to access this resource with an explicit deny"}"#,
            "address_refused",
        ),
        (400, r#"{"message":"Decryption is Failed. Please check the api-key."}"#, "encryption_refused"),
        (400, r#"{"errorCode":"invalid_format"}"#, "bad_request"),
        (200, r#"{"success":false,"errorCode":"invalid_admin"}"#, "key_refused"),
    ] {
        let sealed = format!(r#"{{"isEncrypted":true,"data":"{}"}}"#, cipher.encrypt(error.as_bytes(), [9; 16]));
        for body in [error, &sealed] {
            let vendor = Vendor::always(Reply::status(status, "", body)).await;
            install_tls();
            let settings = settings(&vendor.base_url(), "postgres://unused/", &changes);
            let app = App::open(settings, Clock::system()).await.unwrap();
            let client = app.client(&app.settings.projects[0], &Heartbeat::new()).unwrap();
            client.pace.grant(10, Duration::from_secs(60));
            let error = client.submissions(&Query::default()).await.err().unwrap();
            assert_eq!(error.kind(), kind, "{status} {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_questions_are_encrypted_too() {
    let words = "cbc-prefixed-iv,key-sha256,hex,body-data,encrypted-requests";
    let simulator = simulator(words, None).await;
    let changes = [
        ("api.encryption", "cbc-prefixed-iv"),
        ("api.encryption_key", "sha256"),
        ("api.encryption_encoding", "hex"),
        ("api.encryption_requests", "true"),
    ];
    let get = async |by: &str, value: &str| {
        let command = program::command(&["get", by, value], &simulator.base_url(), "postgres://unused/", &changes);
        let ended = program::run(command).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let found: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
        found.iter().map(|item| item["submission_id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let truth = simulator.truth();
    let approved = truth.iter().find(|item| item["applicant_id"].is_string()).unwrap();
    let id = approved["submission_id"].as_str().unwrap();
    assert_eq!(get("--submission-id", id).await, BTreeSet::from([id.to_owned()]));
    assert!(get("--applicant-id", approved["applicant_id"].as_str().unwrap()).await.contains(id));
    assert!(get("--email", approved["email"].as_str().unwrap()).await.contains(id));
    assert_eq!(get("--submission-id", "nobody").await, BTreeSet::new());
}
