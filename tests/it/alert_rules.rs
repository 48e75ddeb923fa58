//! P9: the shipped alert rules: they are well-formed, tested, and ask for what a scrape really has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use argos_sync::simulator::Options;

use crate::support::World;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rules() -> String {
    read(&directory("deploy/prometheus/argos-sync.rules.yml"))
}

fn files(name: &str, suffix: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
    files.sort();
    assert!(!files.is_empty(), "{name}");
    files
}

/// What stands behind each occurrence of a key, in order.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::trim).collect()
}

/// The names of all alerts.
pub fn alerts() -> BTreeSet<String> {
    values(&rules(), "- alert:").into_iter().map(str::to_owned).collect()
}

/// Runs one of Prometheus's tools; without it only our own checks are made.
fn tool(name: &str, args: &[&str], files: &[PathBuf]) {
    let Ok(output) = Command::new(name).args(args).args(files).output() else {
        eprintln!("{name} is not installed: {args:?} was not run");
        return;
    };
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn the_tools_agree_with_rules_tests_and_examples() {
    let file = |name: &str| vec![directory("deploy/prometheus").join(name)];
    tool("promtool", &["check", "rules"], &file("argos-sync.rules.yml"));
    tool("promtool", &["check", "config"], &file("prometheus.example.yml"));
    tool("promtool", &["test", "rules"], &files("deploy/prometheus/tests", ".test.yml"));
    tool("amtool", &["check-config"], &file("alertmanager.example.yml"));
}

#[test]
fn every_alert_is_tested_both_ways_and_has_its_page() {
    let tests: String = files("deploy/prometheus/tests", ".test.yml").iter().map(|path| read(path)).collect();
    let names: Vec<&str> = values(&tests, "- name:").into_iter().map(|name| name.trim_matches('"')).collect();
    let alerts = alerts();
    assert!(alerts.len() >= 20, "{alerts:?}");
    for alert in &alerts {
        let is = |what: &str| names.iter().any(|name| name.starts_with(&format!("{alert} {what} ")));
        assert!(is("fires"), "no test in which {alert} fires");
        assert!(is("is silent") || alert == "ArgosSyncDeadMansSwitch", "no test in which {alert} is silent");
    }
    for name in names {
        assert!(alerts.contains(name.split(' ').next().unwrap()), "{name}: no such alert");
    }
    let pages: BTreeSet<String> = files("docs/runbooks", ".md")
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(pages, alerts, "one page for each alert");
    let text = rules();
    let expected: Vec<String> =
        values(&text, "- alert:").iter().map(|alert| format!("docs/runbooks/{alert}.md")).collect();
    assert_eq!(values(&text, "runbook_url:"), expected);
    for alert in &alerts {
        let page = read(&directory("docs/runbooks").join(format!("{alert}.md")));
        let headings: Vec<&str> = page.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(headings, [&format!("# {alert}"), "## Meaning", "## Impact", "## Look", "## Do"], "{alert}");
        assert!(
            page.split("## Look").nth(1).unwrap().contains("```sh") || page.contains("```sql"),
            "{alert}: what to type"
        );
    }
    for block in text.split("- alert: ").skip(1) {
        for part in ["severity: ", "audience: ", "summary: ", "description: "] {
            assert!(block.contains(part), "{part} is missing: {block}");
        }
    }
}

/// Labels by series: every name of a scrape with the label sets it has there.
type Scrape = BTreeMap<String, Vec<BTreeMap<String, String>>>;

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{pair} in {text}"));
        (name.trim().to_owned(), value.trim().trim_matches('"').to_owned())
    };
    pairs.map(pair).collect()
}

async fn scrape() -> Scrape {
    let world = World::new(Options { initial: 60, ..Options::default() }).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    engine.hot().await.unwrap();
    let mut scrape = Scrape::new();
    for line in world.app.metrics.encode().unwrap().lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let inside = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
        scrape.entry(name.to_owned()).or_default().push(labels(inside));
    }
    scrape
}

/// Every `name{matchers}` of a text: the names are those that begin with our prefix.
fn selectors(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("argos_sync_") {
        rest = &rest[at..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let inside = after.strip_prefix('{').and_then(|inside| inside.split_once('}')).map_or("", |(inside, _)| inside);
        found.push((name.to_owned(), inside.to_owned()));
        rest = after;
    }
    found
}

#[tokio::test]
async fn rules_and_their_tests_ask_for_what_a_real_scrape_has() {
    let scrape = scrape().await;
    let has = |name: &str, label: &str, value: &str| {
        let sets = scrape.get(name).unwrap_or_else(|| panic!("{name} is in no scrape"));
        sets.iter().any(|labels| labels.get(label).is_some_and(|real| real == value))
    };
    // The rules: every value that a matcher names.
    let asked = selectors(&rules());
    assert!(asked.len() > 30, "{asked:?}");
    for (name, matchers) in &asked {
        assert!(scrape.contains_key(name), "{name} is in no scrape");
        for matcher in matchers.split(',').filter(|matcher| !matcher.is_empty()) {
            let (label, value) = matcher.split_once(['=', '!']).unwrap();
            for value in value.trim_start_matches(['=', '~', '!']).trim_matches('"').split('|') {
                assert!(has(name, label, value), "{name}{{{matcher}}}: no series has that {label}");
            }
        }
    }
    // Labels of aggregations and of matching are those of some series, or are made by the rules.
    let known: BTreeSet<&str> = scrape.values().flatten().flat_map(BTreeMap::keys).map(String::as_str).collect();
    let text = rules();
    for list in [" by (", " on ("].iter().flat_map(|word| text.split(word).skip(1)) {
        for label in list.split(')').next().unwrap().split(',').map(str::trim) {
            assert!(known.contains(label) || ["job", "instance"].contains(&label), "{label} is a label of no series");
        }
    }
    // The tests: whole sets of labels. The project is theirs to choose; job and instance are Prometheus's.
    let tests: String = files("deploy/prometheus/tests", ".test.yml").iter().map(|path| read(path)).collect();
    let series = values(&tests, "- series:");
    assert!(series.len() > 60);
    for series in series {
        let series = series.trim_matches('\'');
        let Some((name, inside)) = series.split_once('{') else { panic!("{series} lacks job and instance") };
        let mut wanted = labels(inside.trim_end_matches('}'));
        assert!(wanted.remove("job").is_some() && wanted.remove("instance").is_some(), "{series}");
        if name == "up" {
            continue;
        }
        if let Some(project) = wanted.get_mut("project") {
            *project = "default".to_owned();
        }
        let sets = scrape.get(name).unwrap_or_else(|| panic!("{name} is in no scrape"));
        assert!(sets.contains(&wanted), "no real series is {series}; there are {sets:?}");
    }
}
