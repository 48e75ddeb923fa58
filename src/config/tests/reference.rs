//! `default.toml` and `production.toml` say what is true.

use std::collections::{BTreeMap, BTreeSet};

use config::{File, FileFormat, Source as _, ValueKind};

use super::super::layers;
use super::*;

/// Every key in `default.toml`, also those that stand as `# key = value`.
fn documented() -> BTreeSet<String> {
    let is_key = |line: &str| {
        line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    };
    let lines: Vec<&str> = DEFAULT_TOML
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_key(rest) || rest == "[[projects]]" => rest,
            _ => line,
        })
        .collect();
    let table = File::from_str(&lines.join("\n"), FileFormat::Toml).collect().unwrap();
    let mut keys = BTreeSet::new();
    for (section, value) in table {
        match value.kind {
            ValueKind::Table(table) => {
                keys.extend(table.into_keys().map(|key| format!("{section}.{key}")));
            }
            ValueKind::Array(entries) => {
                let entry = entries[0].clone().into_table().unwrap();
                keys.extend(entry.into_keys().map(|key| format!("{section}.{key}")));
            }
            _ => panic!("{section} stands outside a section"),
        }
    }
    keys
}

#[test]
fn default_toml_lists_every_key_and_no_other() {
    let mut known = known_keys();
    assert!(known.remove(layers::PROJECTS));
    known.extend(layers::PROJECT_KEYS.map(|key| format!("projects.{key}")));
    assert_eq!(documented(), known);
    assert!(known.len() > 40, "{known:?}");
}

#[test]
fn default_toml_explains_every_key() {
    let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
    for (above, line) in lines.iter().zip(&lines[1..]) {
        let key = line.trim_start_matches("# ");
        let is_key =
            key.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        assert!(!is_key || (above.starts_with("# ") && !above.contains(" = \"")), "nothing explains {line}");
        assert!(line.len() <= 120, "{line}");
    }
}

#[test]
fn every_single_key_is_listed_as_effective() {
    let settings = Settings::default();
    let listed: BTreeMap<&str, &str> =
        settings.effective().iter().map(|one| (one.key.as_str(), one.source.as_str())).collect();
    let known = known_keys();
    assert_eq!(listed.len(), settings.effective().len());
    assert_eq!(listed.len() + 1, known.len());
    assert!(
        known.iter().filter(|key| *key != layers::PROJECTS).all(|key| listed.get(key.as_str()) == Some(&"default"))
    );
    // What stands in the defaults can be said by a variable.
    for effective in settings.effective().iter().filter(|one| one.value != "<not set>") {
        none().env(&layers::variable(&effective.key), &effective.value).settings();
    }
}

#[test]
fn production_toml_loads_once_its_files_exist() {
    let text = include_str!("../../../config/production.toml");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/production.toml");
    if !Path::new("/etc/argos-sync").exists() {
        let error = load(Some(&path), &HashMap::new(), &[]).unwrap_err();
        assert_eq!(error.problems().len(), 2, "{error}");
    }
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("api-key"), "k3y\n").unwrap();
    std::fs::write(dir.path().join("database-url"), "postgres://u:p@h/d?sslmode=verify-full\n").unwrap();
    let settings = Given::file(&text.replace("\"/etc/argos-sync/", "\"DIR/")).load_in(&dir).unwrap();
    assert!(!settings.database.embedded && settings.database.url.is_some());
    assert_eq!(settings.log.format, LogFormat::Json);
    settings.require_keys().unwrap();
}

#[test]
fn the_reference_in_docs_is_what_the_program_writes() {
    let committed = include_str!("../../../docs/configuration.md");
    assert!(committed == reference(), "docs/configuration.md is out of date: run `make reference`");
    let headings: BTreeSet<String> =
        committed.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    assert_eq!(headings, documented());
}

#[test]
fn the_reference_says_what_a_value_must_be() {
    let reference = reference();
    let entry = |key: &str| {
        let entry = reference.split_once(&format!("\n### {key}\n\n")).unwrap().1;
        entry.split_once("\n\n").unwrap().0.to_owned()
    };
    assert_eq!(
        entry("poll.interval"),
        "Default `\"30s\"` · a length of time, at least 1s · `ARGOS_SYNC__POLL__INTERVAL` · taken up while running"
    );
    assert_eq!(
        entry("api.count"),
        "Default `100` · a whole number from 1 to 2000 · `ARGOS_SYNC__API__COUNT` · also in [`[[projects]]`](#projects) · taken up while running"
    );
    assert_eq!(entry("database.url"), "No default · a secret · `ARGOS_SYNC__DATABASE__URL` · taken up while running");
    assert_eq!(entry("projects.id"), "No default · such as `\"kr\"` · needs a restart");
}
