//! Answers that are made to do harm: to fill the memory, to hold the reader for ever, to command the terminal of whoever
//! looks at what was read.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, eventually};
use crate::support::program;
use crate::support::vendor::{Reply, Vendor};
use crate::support::world::keys;
use crate::support::{Database, Verbatim};

// ------------------------------------------------------------------------------------------------------ memory

/// The length of an answer: a quarter of what is read, so that it does not take long.
const LENGTH: usize = 8 << 20;

/// The most memory for it. Without an answer it is 40 MiB; what takes its hundredfold when it is decoded would need 700.
const MEMORY_KIB: u64 = 160 * 1024;

/// The most memory that a process has had, in KiB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// Lets a daemon read a list that begins with this body, over gzip, until it has done with it; its peak of memory.
async fn read_by_a_daemon(name: &str, body: &[u8]) -> u64 {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body).unwrap();
    let hostile = Reply::status(200, "content-encoding: gzip\r\n", gzip.finish().unwrap());
    let vendor = Vendor::start(move |_, request| match request.query().contains("nextpage_id") {
        false => hostile.clone(),
        true => Reply::Stall(Vec::new()),
    })
    .await;
    let database = Database::fresh().await;
    let settings = keys("", "", &[("api.count", "1"), ("poll.since", "2026-03-01"), ("api.retries", "0")]);
    let settings: Vec<(String, &str)> = settings
        .into_iter()
        .map(|(key, value)| (format!("ARGOS_SYNC__{}", key.to_uppercase().replace('.', "__")), value))
        .collect();
    let base_url = vendor.base_url();
    let mut environment: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    environment.retain(|(_, value)| !value.is_empty());
    environment
        .extend([("ARGOS_SYNC__API__BASE_URL", base_url.as_str()), ("ARGOS_SYNC__DATABASE__URL", &database.url)]);
    let daemon = Daemon::start(&environment).await;
    // It asks for what comes next, or it has given up.
    eventually(name, async || {
        vendor.requests().iter().any(|request| request.query().contains("nextpage_id"))
            || daemon.get("/metrics").await.1.lines().any(|line| {
                line.starts_with("argos_sync_request_errors_total")
                    && !line.contains("timed_out")
                    && !line.ends_with(" 0")
            })
    })
    .await;
    peak(daemon.id())
}

/// A list of these items with a next key.
fn list(items: &[String]) -> Vec<u8> {
    let key = r#"{"id":"a","created_at":"2026-03-10T12:00:00Z"}"#;
    format!("{{\"Items\":[{}],\"nextpageKey\":{key}}}", items.join(",")).into_bytes()
}

/// Items that hold this text.
fn items(count: usize, text: &str) -> Vec<String> {
    let item = |n| format!(r#"{{"submission_id":"s{n}","created_at":"2026-03-10T12:00:00Z","x":{text}}}"#);
    (0..count).map(item).collect()
}

/// A list of a value, this many bytes long.
fn many(value: &str, bytes: usize) -> String {
    format!("[{}]", vec![value; bytes / (value.len() + 1)].join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_no_answer_within_the_limits_fills_the_memory() {
    let text = |c: &str, bytes: usize| format!("\"{}\"", c.repeat(bytes));
    let part = LENGTH / 10;
    let mut no_text = list(&items(1, "\"@\""));
    let at = no_text.iter().position(|byte| *byte == b'@').unwrap();
    no_text.splice(at..=at, vec![0xff; LENGTH]);
    for (name, body) in [
        ("millions of elements", list(&[many("1", LENGTH).trim_matches(['[', ']']).to_owned()])),
        ("objects that take a hundred times their length", list(&items(100, &many(r#"{"":0}"#, LENGTH / 100)))),
        ("items of which each is too heavy", list(&items(20, &many(r#"{"":0}"#, LENGTH / 20)))),
        ("as much as is let in", list(&items(120, &many("0", 10_000)))),
        ("long texts", list(&items(10, &text("x", part)))),
        ("brackets", list(&items(10, &format!("{}{}", "[".repeat(part / 2), "]".repeat(part / 2))))),
        ("control characters", list(&items(10, &text("\n", part)))),
        ("no text at all", no_text),
    ] {
        let peak = read_by_a_daemon(name, &body).await;
        assert!(peak < MEMORY_KIB, "{name}: {peak} KiB");
    }
}

// ---------------------------------------------------------------------------------------------------- for ever

#[tokio::test(flavor = "multi_thread")]
async fn p9_p12_what_never_ends_beside_the_body_is_given_up() {
    let mut member = GzEncoder::new(Vec::new(), Compression::fast());
    member.write_all(b"").unwrap();
    let empty = member.finish().unwrap().repeat(100);
    let ok = b"HTTP/1.1 200 OK\r\n".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let gzip = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n".to_vec();
    for (name, reply) in [
        ("headers", Reply::Endless(ok.clone(), b"x-taint: taint\r\n".repeat(50))),
        ("one header", Reply::Endless([&ok[..], b"x-taint: "].concat(), b"taint".repeat(500))),
        ("interim answers", Reply::Endless(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".repeat(50))),
        ("chunk extensions", Reply::Endless([&chunked[..], b"5;"].concat(), b"taint".repeat(500))),
        ("trailers", Reply::Endless([&chunked[..], b"0\r\n"].concat(), b"x-taint: taint\r\n".repeat(50))),
        ("empty gzip members", Reply::Endless(gzip, empty)),
    ] {
        let vendor = Vendor::always(reply).await;
        let changes = [("api.timeout", "2s"), ("api.retries", "0"), ("database.url", "")];
        let ended =
            program::run(program::command(&["get", "--submission-id", "x"], &vendor.base_url(), "", &changes)).await;
        assert_eq!(ended.code, Some(5), "{name}: {ended:?}");
        assert!(!ended.stderr.to_lowercase().contains("taint"), "{name}: {ended:?}");
    }
}

// ---------------------------------------------------------------------------------------------------- terminals

/// Clears the screen, sets a title, writes a line of its own, turns the order around, hides what follows.
const COMMANDS: &str =
    "a\u{1b}[2J\u{9b}31m\u{1b}]0;x\u{7}\r\nFORGED line\u{202e}b\u{2066}c\u{200b}\u{feff}\u{7f}\u{e0041}";

/// The same without control characters: an id may be that.
const ID: &str = "s\u{202e}b\u{2066}c\u{200b}\u{feff}\u{e0041}";

#[track_caller]
fn assert_obeyed_by_no_terminal(name: &str, text: &str) {
    let odd = text.chars().find(|c| {
        (c.is_control() && *c != '\n') || ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{e0041}'].contains(c)
    });
    assert_eq!(odd, None, "{name}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with("FORGED")), "{name}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_no_text_of_the_vendors_reaches_a_terminal_that_would_obey_it() {
    let vendor = Verbatim::with(&[("erasure.confirm_after", "1h")]).await;
    let mut engine = vendor.engine().await;
    let item = |state: &str, email: Option<&str>| {
        json!({
            "submission_id": ID, "created_at": "2026-03-10T12:00:00Z", "email": email, "reviewer": COMMANDS,
            "updated_at": COMMANDS, COMMANDS: COMMANDS, "data": {COMMANDS: 1, "name": COMMANDS},
            "kyc": {"result": state, "commentCode": [COMMANDS], "comment": COMMANDS, COMMANDS: 1,
                    "attempts": [{"attemptCnt": 1, "errorCode": COMMANDS}]},
            "aml": {"currentstatus": "Red Flag", "risk_level_summary": COMMANDS,
                    "matches": [{"resource_id": COMMANDS, "risk_level": COMMANDS}]},
        })
    };
    let odd = json!({"submission_id": "odd", "created_at": COMMANDS, "kyc": {"result": COMMANDS},
                     "aml": {"currentstatus": COMMANDS}});
    let unusable = json!({"submission_id": format!("{ID}2"), "x": vec![COMMANDS; 1 << 16]});
    let list = |item: Value| [&item, &odd, &unusable].map(Value::to_string);
    vendor.read(&mut engine, &list(item("approved", Some("e")))).await;
    // A change, and a field that is gone: something to be confirmed.
    vendor.read(&mut engine, &list(item(COMMANDS, None))).await;
    vendor.answers("submission", &[("submission_id", ID)], &json!({"Items": [item(COMMANDS, None)]}).to_string());
    engine.release().await.unwrap();
    let base_url = vendor.app.settings.projects[0].api.base_url.to_string();
    let text = [("log.format", "text"), ("log.level", "trace"), ("poll.since", "2026-03-01")];
    let run = async |args: &[&str]| {
        let ended = program::run(program::command(args, &base_url, &vendor.database.url, &text)).await;
        let name = args.join(" ");
        assert_obeyed_by_no_terminal(&name, &ended.stdout);
        assert_obeyed_by_no_terminal(&name, &ended.stderr);
        (ended.code, ended.stdout, ended.stderr)
    };
    for (args, told) in [
        (vec!["status"], "\\u{1b}[2J"),
        (vec!["explain", ID], "approved -> a\\u{1b}[2J"),
        (vec!["explain", "odd"], "none -> a\\u{1b}[2J"),
        (vec!["alerts", "list"], "s\\u{202e}b"),
        (vec!["erasure", "list"], "s\\u{202e}b"),
    ] {
        let (code, out, err) = run(&args).await;
        assert_eq!(code, Some(0), "{args:?}: {err}");
        assert!(out.contains(told), "{args:?}: {out}");
        if args[0] != "status" || args.len() == 1 {
            let (_, out, _) = run(&[&args[..], &["--json"]].concat()).await;
            assert!(!out.is_empty());
            for line in out.lines() {
                serde_json::from_str::<Value>(line).unwrap();
            }
        }
    }
    let (_, out, _) = run(&["get", "--submission-id", ID]).await;
    let got: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(got[0]["kyc"]["result"], COMMANDS, "escaped, and the same");
    for args in [
        vec!["refresh", ID],
        vec!["once"],
        vec!["backfill", "--from", "2026-03-10", "--to", "2026-03-10"],
        vec!["doctor"],
    ] {
        let (_, out, err) = run(&args).await;
        assert!(!out.is_empty(), "{args:?}: {err}");
    }
    // What was not found is named, too.
    let (code, _, err) = run(&["explain", &format!("{ID}3")]).await;
    assert_eq!(code, Some(11), "{err}");
}
