//! The demo as a user runs it: what it shows at its end is true, a second run goes on, nothing is left running.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{postgres, process};

fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    postgres::reachable(directory.path());
    directory
}

fn demo(directory: &Path, span: &str) -> Command {
    let mut command = process::argos_sync();
    command.args(["demo", "--json", "--for", span, "--dir"]).arg(directory);
    command
}

/// The last line of standard output, which must be the only one.
fn summary(output: &Output) -> Value {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(out.lines().last().unwrap()).unwrap()
}

/// Living processes that name the directory.
fn processes(directory: &Path) -> Vec<String> {
    let ps = Command::new("ps").args(["-A", "-ww", "-o", "pid=,stat=,args="]).output().unwrap();
    let all = String::from_utf8_lossy(&ps.stdout).into_owned();
    let name = directory.to_str().unwrap();
    let alive = |line: &&str| line.contains(name) && !line.split_whitespace().nth(1).unwrap_or("").starts_with('Z');
    all.lines().filter(alive).map(str::to_owned).collect()
}

fn holds(summary: &Value) {
    assert_eq!(summary["mirror_equals_truth"], true, "{summary}");
    assert_eq!(summary["mismatches"], 0, "{summary}");
    assert_eq!(summary["submissions"], summary["truth_items"], "{summary}");
    assert_eq!(summary["broken_rules"], serde_json::json!({}), "{summary}");
    assert_eq!(summary["leftovers"], serde_json::json!([]), "{summary}");
    assert!(summary["passes"].as_u64().unwrap() >= 1, "{summary}");
}

#[test]
fn the_demo_ends_with_the_truth_in_the_mirror_and_goes_on_where_it_ended() {
    let directory = directory();
    let dir = directory.path().join("demo");
    // What a user may have lying about does not concern the demo.
    let mut command = demo(&dir, "5s");
    command.env("ARGOS_SYNC__API__COUNT", "no number").env("ARGOS_SYNC_CONFIG", "/nonexistent");
    let first = summary(&command.output().unwrap());
    holds(&first);
    imported(&first);
    assert_eq!(processes(&dir), Vec::<String>::new());

    let second = summary(&demo(&dir, "5s").output().unwrap());
    holds(&second);
    assert!(second["submissions"].as_u64() > first["submissions"].as_u64(), "{second}");
    assert!(second["events_total"].as_u64() > first["events_total"].as_u64(), "{second}");
    imported(&second);
    assert_eq!(processes(&dir), Vec::<String>::new());
}

#[test]
fn a_demo_refuses_a_directory_in_use_and_goes_on_after_a_kill() {
    let directory = directory();
    let dir = directory.path().join("demo");
    let mut first = demo(&dir, "10m").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Until the daemon has read something.
    let log = dir.join("demo.log");
    let begun = std::time::Instant::now();
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("pass project")) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the demo did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    let refused = demo(&dir, "1s").output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("process {}", first.id())), "{told}");
    first.kill().unwrap();
    first.wait().unwrap();

    let second = summary(&demo(&dir, "3s").output().unwrap());
    holds(&second);
    imported(&second);
    assert_eq!(processes(&dir), Vec::<String>::new());

    // Somebody else's files are left alone.
    let other = demo(directory.path(), "1s").output().unwrap();
    assert_eq!(other.status.code(), Some(1));
    assert!(!directory.path().join("demo.lock").exists());
}

/// The 120 submissions of before are history, and so is what was born before the first request.
fn imported(summary: &Value) {
    let imported = summary["events"]["submission.imported"].as_u64().unwrap();
    assert!((120..=140).contains(&imported), "{summary}");
}
