//! What is shipped in `deploy/` is what its tools accept, and fits the program.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use argos_sync::config;
use argos_sync::simulator::Options;
use serde_json::Value;

use crate::support::World;
use crate::support::process::argos_sync;

/// The most that `systemd-analyze security` may count against the unit, in tenths: what remains is that it uses the network.
const EXPOSURE: &str = "15";

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap()
}

/// What a tool says; `None`: it is not installed (tests/setup installs it where it may).
fn said_by(mut command: Command) -> Option<(Output, String)> {
    let Ok(output) = command.output() else {
        eprintln!("{} is not installed: not checked", command.get_program().display());
        return None;
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((output, text))
}

#[test]
fn the_unit_is_right_and_gives_the_daemon_few_rights() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("argos-sync.service");
    // Where the program is while it is tested.
    let program = format!("ExecStart={}", env!("CARGO_BIN_EXE_argos-sync"));
    let text = read("systemd/argos-sync.service");
    assert!(text.contains("\nExecStart=argos-sync run "), "{text}");
    assert!(text.contains("\nExecReload=kill -HUP $MAINPID\n"), "{text}");
    std::fs::write(&unit, text.replace("ExecStart=argos-sync", &program)).unwrap();
    let systemd_analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", directory.path().display()));
        command.args(["--no-pager", "--man=no"]).args(arguments).arg(&unit);
        said_by(command)
    };
    let Some((verified, said)) = systemd_analyze(&["verify"]) else { return };
    assert!(verified.status.success() && said.is_empty(), "{said}");
    let (rated, said) = systemd_analyze(&["security", "--offline=true", "--threshold", EXPOSURE]).unwrap();
    assert!(rated.status.success(), "{said}");
}

// ----------------------------------------------------------------------------------------------------- package

/// `deploy/debian/try` does the rest, in a fresh Debian.
#[test]
fn every_command_has_a_manual_page_and_completions() {
    let directory = tempfile::tempdir().unwrap();
    let generated = argos_sync().arg("generate").arg(directory.path()).status().unwrap();
    assert!(generated.success());
    let written = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let (page, help) = (written("argos-sync.1"), argos_sync().arg("--help").output().unwrap());
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: Vec<&str> = commands.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(commands.len() > 10 && commands.contains(&"run"), "{help}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        assert!(page.contains(&format!("argos\\-sync\\-{}(1)", command.replace('-', "\\-"))), "{command}: {page}");
        assert!(written(&format!("argos-sync-{command}.1")).starts_with(".ie "), "{command}");
        for shell in ["argos-sync.bash", "_argos-sync", "argos-sync.fish"] {
            assert!(written(shell).contains(command), "{shell} lacks {command}");
        }
    }
}

// ------------------------------------------------------------------------------------------------- kubernetes

/// `deploy/check` does the rest: it needs the network once.
#[test]
fn the_settings_for_kubernetes_are_settings() {
    let secrets = [("api.key", "k"), ("database.url", "postgres://127.0.0.1/none")];
    let flags: Vec<(String, String)> = secrets.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let file = shipped("kubernetes/base/production.toml");
    let settings = config::load(Some(&file), &HashMap::new(), &flags).unwrap();
    assert!(settings.http.enabled && !settings.database.embedded && !settings.database.migrate);
}

#[test]
fn the_rules_for_the_prometheus_operator_are_the_rules() {
    let made = read("kubernetes/overlays/prometheus-operator/prometheusrule.yaml");
    let (_, spec) = made.split_once("\nspec:\n").unwrap();
    let expected = match std::fs::read_to_string(shipped("prometheus/argos-sync.rules.yml")) {
        Ok(rules) => {
            rules.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
        }
        Err(_) => "  groups: []\n".to_owned(),
    };
    assert_eq!(spec, expected, "run deploy/kubernetes/rules");
}

// ---------------------------------------------------------------------------------------------------- grafana

/// All expressions of the dashboard.
fn expressions() -> Vec<String> {
    fn collect(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                into.extend(object.get("expr").map(|expression| expression.as_str().unwrap().to_owned()));
                object.values().for_each(|value| collect(value, into));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            _ => {}
        }
    }
    let mut expressions = Vec::new();
    collect(&serde_json::from_str(&read("grafana/argos-sync.json")).unwrap(), &mut expressions);
    assert!(expressions.len() > 20, "{expressions:?}");
    expressions
}

/// A metric in an expression.
struct Asked<'e> {
    name: &'e str,
    /// Labels, each with its value if it must be equal.
    matchers: Vec<(&'e str, Option<&'e str>)>,
}

fn metrics_in(expression: &str) -> Vec<Asked<'_>> {
    let mut found = Vec::new();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for prefix in ["argos_sync_", "process_"] {
        for (at, _) in expression.match_indices(prefix).filter(|(at, _)| !expression[..*at].ends_with(word)) {
            let (name, rest) =
                expression[at..].split_at(expression[at..].find(|c| !word(c)).unwrap_or(expression.len() - at));
            let inside = rest.strip_prefix('{').map_or("", |rest| rest.split_once('}').unwrap().0);
            let matchers = inside.split(',').map(str::trim).filter(|matcher| !matcher.is_empty()).map(|matcher| {
                let (label, value) = matcher.split_once('=').unwrap();
                (label, value.strip_prefix('"').map(|value| value.trim_end_matches('"')))
            });
            found.push(Asked { name, matchers: matchers.collect() });
        }
    }
    found
}

#[tokio::test]
async fn the_dashboard_asks_for_what_a_scrape_has() {
    let world = World::new(Options { initial: 60, ..Options::default() }).await;
    world.engine().await.once().await.unwrap();
    let page = world.app.metrics.encode().unwrap();
    // Name -> label -> values.
    let mut scraped: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let known = scraped.entry(name).or_default();
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").unwrap();
            known.entry(label).or_default().insert(value.trim_end_matches('"'));
        }
    }
    for expression in expressions() {
        let metrics = metrics_in(&expression);
        assert!(!metrics.is_empty(), "{expression}");
        for Asked { name, matchers } in &metrics {
            let labels = scraped.get(name).unwrap_or_else(|| panic!("{name} is not scraped: {expression}"));
            for (label, value) in matchers {
                let values = labels.get(label).unwrap_or_else(|| panic!("{name} has no label {label}: {expression}"));
                assert!(
                    value.is_none_or(|value| values.contains(value)),
                    "{name} has no {label}={value:?}: {expression}"
                );
            }
        }
        // The first metric is the one that is shown; Prometheus itself adds `instance`.
        let shown = &scraped[metrics[0].name];
        for by in expression.split("by (").skip(1) {
            for label in by.split_once(')').unwrap().0.split(", ") {
                assert!(shown.contains_key(label), "by ({label}): {expression}");
            }
        }
    }
}

#[test]
fn promtool_reads_every_expression_of_the_dashboard() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dashboard.yml");
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, expression) in expressions().iter().enumerate() {
        let expression = expression.replace("$project", ".*").replace("$__rate_interval", "5m");
        assert!(!expression.contains('$'), "{expression}: which variable is this?");
        rules += &format!("  - record: dashboard:{number}\n    expr: {}\n", Value::from(expression));
    }
    std::fs::write(&file, rules).unwrap();
    let mut command = Command::new("promtool");
    command.args(["check", "rules"]).arg(file);
    let Some((checked, said)) = said_by(command) else { return };
    assert!(checked.status.success(), "{said}");
}
