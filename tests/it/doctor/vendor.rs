//! The simulator with its faults, and as another dialect, key or project would have it.

use std::time::Duration;

use argos_sync::simulator::{Dialect, Encryption};

use super::*;
use crate::support::vendor::{Reply, Vendor};
use crate::support::world::World;

/// What no run may exceed for one project; the command's help says so.
const MOST: usize = 12;

#[tokio::test]
async fn all_is_well_with_one_request() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let told = doctor(&vendor, &database, &[]).await;
    told.ends_with(0);
    assert_eq!(told.ended.stderr, "", "{:?}", told.ended);
    assert!(told.checks("failed").is_empty() && told.checks("skipped").is_empty(), "{:?}", told.ended);
    assert_eq!(vendor.requests().len(), 1);
    told.has("requests", "ok", &["1 made"]);
    told.has("submissions", "ok", &["of the last days"]);
    // Every entry has the same form.
    for finding in &told.findings {
        let names: Vec<&str> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["check", "cure", "group", "outcome", "project", "seen"]);
    }
    let text = program::run(program::command(&["doctor"], &vendor.base_url(), &database.url, &[])).await;
    assert_eq!(text.code, Some(0), "{text:?}");
    for line in [
        "settings",
        "machine",
        "database",
        "vendor, project default",
        "  ok      submissions: of the last days are shown",
    ] {
        assert!(text.stdout.lines().any(|printed| printed == line), "{line:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn each_fault_has_its_cause_and_cure() {
    let database = Database::fresh().await;
    for (fault, parts) in [
        ("forbidden-key", ["the API key was refused", "copy the project's key from the ARGOS dashboard"]),
        ("status-401", ["status 401", "copy the project's key"]),
        ("forbidden-address", ["this machine's address was refused", "allow-list"]),
        ("status-429", ["status 429", "rate limit"]),
        ("retry-after-seconds=3600", ["status 429", "rate limit"]),
        ("retry-after-date=3600", ["status 429", "rate limit"]),
        ("status-500", ["status 500", "on the vendor's side"]),
        ("html-200", ["HTML", "perhaps a proxy"]),
        ("error-200", ["processing_error", "unknown error of its own"]),
        ("truncated-json", ["truncated JSON", "check api.base_url"]),
        ("encrypted", ["the answer is encrypted", "find-cipher"]),
    ] {
        let vendor = vendor(with_faults(fault)).await;
        let told = doctor(&vendor, &database, &[]).await;
        told.ends_with(5);
        told.has("answer", "failed", &parts);
        assert_eq!(told.checks("skipped"), ["clock", "encryption", "submissions", "project"], "{fault}");
        let requests = vendor.requests().len();
        assert!(requests <= MOST, "{fault}: {requests} requests");
        told.has("requests", "ok", &[&format!("{requests} made")]);
    }
    let vendor = vendor(with_faults("")).await;
    let told = doctor(&vendor, &database, &[("api.key", "s3cret")]).await;
    told.ends_with(5);
    told.has("answer", "failed", &["the API key was refused"]);
}

#[tokio::test]
async fn a_vendor_that_cannot_be_reached_is_told_and_why() {
    let database = Database::fresh().await;
    let tls = format!("https://127.0.0.1:{}/v3", crate::api::tls_server());
    for (base_url, parts) in [
        ("https://vendor.invalid/v3", ["cannot reach", "The name vendor.invalid is not known"]),
        ("http://127.0.0.1:1/v3", ["cannot reach", "firewall"]),
        (&tls, ["certificate", "does not trust the server's certificate"]),
    ] {
        let told = Told::by(command(base_url, &database.url, &[])).await;
        told.ends_with(5);
        told.has("answer", "failed", &parts);
    }
    let stalls = vendor(with_faults("stall")).await;
    let told = doctor(&stalls, &database, &[("api.timeout", "200ms")]).await;
    told.has("answer", "failed", &["did not answer in time", "raise api.timeout"]);
}

#[tokio::test]
async fn an_address_that_is_nearly_right_is_set_right() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let right = vendor.base_url();
    for (wrong, cure) in [
        (right.trim_end_matches("/v3").to_owned(), format!("{right} answers: set api.base_url to it")),
        (format!("{right}/submission"), format!("{right} answers: set api.base_url to it")),
        (format!("{right}/wrong"), "check that api.base_url ends in the version".to_owned()),
    ] {
        let told = Told::by(command(&wrong, &database.url, &[])).await;
        told.ends_with(5);
        told.has("answer", "failed", &["status 403", &cure]);
    }
    let elsewhere = Vendor::always(Reply::status(404, "", "nothing here")).await;
    let told = Told::by(command(&elsewhere.base_url(), &database.url, &[])).await;
    told.has("answer", "failed", &["status 404", "check that api.base_url ends in the version"]);
}

#[tokio::test]
async fn another_dialect_or_place_of_parameters_is_found() {
    let database = Database::fresh().await;
    let v3 = |faults: &str| Options { dialect: Dialect::V3, ..with_faults(faults) };
    for faults in ["", "wrong-dates-nothing"] {
        let vendor = vendor(v3(faults)).await;
        let told = doctor(&vendor, &database, &[]).await;
        told.ends_with(5);
        let check = if faults.is_empty() { "answer" } else { "submissions" };
        told.has(check, "failed", &["With api.dialect = \"v3\" it answers: set that."]);
        doctor(&vendor, &database, &[("api.dialect", "v3")]).await.ends_with(0);
    }
    let vendor = vendor(with_faults("ignore-body")).await;
    let told = doctor(&vendor, &database, &[("api.parameters", "body")]).await;
    told.ends_with(5);
    told.has("submissions", "failed", &["asked for 2", "20 came", "With api.parameters = \"query\" it answers"]);

    // A server of the older documents: the parameters in a body, and days without dashes.
    let old = Vendor::start(|_, request| match request.body.contains("20") && !request.body.contains("-") {
        true => Reply::json(r#"{"Items":[{"submission_id":"a"}]}"#),
        false => Reply::status(400, "", r#"{"errorCode":"missing_data"}"#),
    })
    .await;
    let told = Told::by(command(&old.base_url(), &database.url, &[])).await;
    let cure = "With api.dialect = \"v3\" and api.parameters = \"body\" it answers";
    told.has("answer", "failed", &["missing_data", cure]);
    assert_eq!(old.requests().len(), 4);
}

#[tokio::test]
async fn a_count_that_is_not_honoured_is_told() {
    let (vendor, database) = (vendor(with_faults("ignore-count")).await, Database::fresh().await);
    let told = doctor(&vendor, &database, &[]).await;
    told.ends_with(0);
    told.has("submissions", "note", &["asked for 2 on a page, 20 came", "does not honour count"]);
}

#[tokio::test]
async fn an_empty_project_is_told_from_one_without_news() {
    let database = Database::fresh().await;
    let empty = vendor(Options { initial: 0, ..Options::default() }).await;
    let told = doctor(&empty, &database, &[]).await;
    told.ends_with(0);
    told.has("submissions", "note", &["no submission at all", "another project's key"]);

    let clock = Clock::manual(Clock::system().now() - chrono::TimeDelta::days(30));
    let old = Simulator::start(with_faults(""), clock).await.unwrap();
    old.freeze();
    let told = doctor(&old, &database, &[]).await;
    told.has("submissions", "note", &["none of the last days; older ones are shown"]);
    // The vendor's clock is a month behind.
    told.ends_with(1);
}

#[tokio::test]
async fn encryption_that_does_not_fit_is_told() {
    let database = Database::fresh().await;
    let encryption = Some(Encryption::parse("gcm").unwrap());
    let vendor = vendor(Options { encryption, ..with_faults("") }).await;
    let told = doctor(&vendor, &database, &[("api.encryption", "ecb")]).await;
    told.ends_with(5);
    told.has("answer", "failed", &["cannot be decrypted", "find-cipher"]);
    let told = doctor(&vendor, &database, &[("api.encryption", "gcm")]).await;
    told.ends_with(0);
    told.has("encryption", "ok", &["the settings open them"]);
    vendor.set_faults(Faults::parse("in-the-clear").unwrap());
    let told = doctor(&vendor, &database, &[("api.encryption", "gcm")]).await;
    told.has("encryption", "note", &["in the clear", "api.encryption = \"off\""]);
}

#[tokio::test]
async fn the_key_of_another_project_is_told() {
    let world = World::new(Options { initial: 20, ..Options::default() }).await;
    world.engine().await.once().await.unwrap();
    let told = doctor(&world.simulator, &world.database, &[]).await;
    told.ends_with(0);
    told.has("project", "ok", &["those that the stored submissions came with"]);

    let other = vendor(Options { seed: 2, api_key: "s3cret".to_owned(), ..Options::default() }).await;
    let told = doctor(&other, &world.database, &[("api.key", "s3cret")]).await;
    told.ends_with(5);
    told.has(
        "project",
        "failed",
        &["0 of 3 known submissions", "most likely the key is another project's", "accept-key"],
    );
}

#[tokio::test]
async fn a_budget_that_is_too_small_is_told() {
    let options = Options { initial: 300, history: Duration::from_secs(60 * 24 * 60 * 60), ..Options::default() };
    let world = World::new(options).await;
    world.engine().await.once().await.unwrap();
    doctor(&world.simulator, &world.database, &[]).await.has("budget", "ok", &["300 submissions"]);
    let told = doctor(&world.simulator, &world.database, &[("api.requests_per_day", "100")]).await;
    told.ends_with(0);
    told.has("budget", "note", &["100 requests a day for 300 submissions: too few", "raise api.requests_per_day to"]);
}
