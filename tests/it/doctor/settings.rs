//! Files, layers and secrets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::support::process::argos_sync;

/// The settings file alone: what [`command`] would set in the environment stays away.
fn with_file(file: &Path, arguments: &[&str]) -> Command {
    let mut command = argos_sync();
    command.args(["doctor", "--json", "--config"]).arg(file).args(arguments);
    command
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    write(&file, "[poll]\ninterval = 'soon'\nlokback = '3d'\n[database]\nembedded = false", 0o600);
    let mut command = with_file(&file, &["--set", "http.listen=nowhere"]);
    command.env("ARGOS_SYNC__API__CUONT", "7");
    let told = Told::by(command).await;
    told.ends_with(3);
    let all: Vec<&str> = told.findings.iter().filter_map(|finding| finding["seen"].as_str()).collect();
    for part in [
        "poll.interval = \"soon\"",
        "did you mean \"poll.lookback\"?",
        "did you mean ARGOS_SYNC__API__COUNT?",
        "http.listen",
        "database.url_file",
    ] {
        assert!(all.iter().any(|seen| seen.contains(part)), "{part} is not in {all:?}");
    }
    assert_eq!(told.checks("failed").len(), 5, "{all:?}");
    assert_eq!(told.checks("skipped").len(), 3, "machine, database and vendor: {all:?}");
}

#[tokio::test]
async fn what_is_written_in_vain_and_files_that_are_not_read_are_named() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write(&at("used.toml"), "[poll]\ninterval = '41s'\nlookback = '3d'", 0o600);
    write(&at("other.toml"), "[poll]\ninterval = '42s'", 0o600);
    let mut command = command(&vendor.base_url(), &database.url, &[("poll.interval", "43s"), ("poll.lookback", "3d")]);
    command.arg("--config").arg(at("used.toml")).args(["--set", "poll.open_interval=7m"]);
    command.env("ARGOS_SYNC_CONFIG", at("other.toml")).env("ARGOS_SYNC__POLL__OPEN_INTERVAL", "8m");
    let told = Told::by(command).await;
    told.ends_with(0);
    let overridden: Vec<&Value> = told.findings.iter().filter(|finding| finding["check"] == "overridden").collect();
    let seen: Vec<&str> = overridden.iter().map(|finding| finding["seen"].as_str().unwrap()).collect();
    assert_eq!(seen.len(), 2, "the same value said twice does no harm: {seen:?}");
    let used = at("used.toml").display().to_string();
    assert_eq!(seen[0], format!("poll.interval in {used} has no effect: ARGOS_SYNC__POLL__INTERVAL says otherwise"));
    assert!(seen[1].contains("ARGOS_SYNC__POLL__OPEN_INTERVAL") && seen[1].contains("--set poll.open_interval"));
    let files: Vec<&Value> = told.findings.iter().filter(|finding| finding["check"] == "file").collect();
    assert!(files.len() == 2 && files.iter().all(|finding| finding["outcome"] == "note"), "{files:?}");
    assert!(files[0]["seen"].as_str().unwrap().contains("ARGOS_SYNC_CONFIG names"));
    assert!(files[1]["seen"].as_str().unwrap().ends_with("other.toml not"), "{files:?}");
}

#[tokio::test]
async fn a_key_that_is_not_what_was_meant_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    let key = directory.path().join("key");
    let settings = format!(
        "[api]\nbase_url = 'http://127.0.0.1:1/v3'\nkey_file = '{}'\n[database]\nurl = 'postgres://u@127.0.0.1:1/d'\n\
         [http]\nlisten = '127.0.0.1:0'",
        key.display()
    );
    write(&file, &settings, 0o600);
    for (text, part) in [
        ("", "is empty"),
        ("\n", "is empty"),
        ("s3cret\n\n", "one line"),
        ("\u{feff}s3cret\n", "byte-order mark"),
        ("Bearer s3cret\n", "\"Bearer\""),
        (" s3cret", "begins or ends with a space"),
        ("s3 cret", "holds a space"),
        ("s3cret\t", "control character"),
    ] {
        write(&key, text, 0o600);
        let told = Told::by(with_file(&file, &[])).await;
        told.ends_with(3);
        told.has("values", "failed", &[part, key.to_str().unwrap()]);
    }
    write(&key, "s3cret\n", 0o600);
    let told = Told::by(with_file(&file, &[])).await;
    told.ends_with(4);
    told.has("secrets", "ok", &["2 files"]);
    assert!(told.checks("note").is_empty(), "{:?}", told.ended);

    // In quotes it is a key, of which only the vendor could say that it is wrong. All may read the file besides.
    write(&key, "\"s3cret\"\n", 0o644);
    let told = Told::by(with_file(&file, &["--set", "http.token=s3cret-s3cret-s3cret"])).await;
    told.has("key", "note", &["quotation mark"]);
    told.has("secrets", "note", &["(mode 644)", &format!("chmod o-rwx {}", key.display())]);
    assert!(told.ended.stdout.contains("http.token stands on the command line"), "{:?}", told.ended);

    write(&file, &settings.replace("key_file = '", "key_file = '/nowhere"), 0o600);
    Told::by(with_file(&file, &[])).await.has("values", "failed", &["cannot be read from /nowhere"]);
    let mut command = with_file(&file, &[]);
    command.env("ARGOS_SYNC__API__KEY_FILE", &key);
    Told::by(command).await.has("overridden", "note", &["api.key_file", "ARGOS_SYNC__API__KEY_FILE says otherwise"]);
}

#[tokio::test]
async fn two_projects_with_one_key_are_told_and_one_without_is_named() {
    let (vendor, database) = (vendor(with_faults("")).await, Database::fresh().await);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    let text = "[[projects]]\nid = 'kr'\nkey = 'simulated-key'\n[[projects]]\nid = 'us'\nkey = 'simulated-key'\n\
                [[projects]]\nid = 'jp'";
    write(&file, text, 0o600);
    let mut command = command(&vendor.base_url(), &database.url, &[("api.key", "")]);
    command.arg("--config").arg(&file);
    let told = Told::by(command).await;
    told.ends_with(3);
    told.has("values", "failed", &["project \"jp\" has no API key"]);
    told.has("key", "failed", &["projects kr and us have the same API key"]);
    let of = |project: &str, check: &str| {
        let found = told.findings.iter().find(|one| one["project"] == project && one["check"] == check);
        found.map(|one| one["outcome"].as_str().unwrap().to_owned())
    };
    assert_eq!(of("kr", "answer").as_deref(), Some("ok"));
    assert_eq!(of("us", "answer").as_deref(), Some("ok"));
    assert_eq!(of("jp", "all").as_deref(), Some("skipped"));
}

#[tokio::test]
async fn the_settings_in_force_are_printed_with_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    write(&file, "[api]\nkey = 's3cret'\n[poll]\ninterval = '41s'", 0o600);
    let mut command = argos_sync();
    command.args(["doctor", "--settings", "--config"]).arg(&file).env("ARGOS_SYNC__API__COUNT", "7");
    let ended = program::run(command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let file = file.display();
    for line in [
        format!("poll.interval = 41s    # {file}"),
        format!("api.key = <redacted>    # {file}"),
        "api.count = 7    # ARGOS_SYNC__API__COUNT".to_owned(),
        "poll.lookback = 3d    # default".to_owned(),
    ] {
        assert!(ended.stdout.lines().any(|printed| printed == line), "{line} is not in {ended:?}");
    }
    assert!(!ended.stdout.contains("s3cret"), "{ended:?}");

    let mut command = argos_sync();
    command.args(["doctor", "--settings", "--set", "poll.interval=soon"]);
    let ended = program::run(command).await;
    assert!(ended.code == Some(3) && ended.stderr.contains("poll.interval"), "{ended:?}");
}
