//! The judge itself: a history that keeps every promise, and what it says when one thing in it is wrong.

use serde_json::{Value, json};

use super::{Evidence, Violation, differences, judge, read_everything};

/// A submission is imported, approved, and flagged; another one is new and then deleted.
fn sound() -> Evidence {
    let item = |result: &str, flag: Option<&str>| {
        let mut item = json!({"submission_id": "a", "created_at": "2026-01-01T10:00:00.000Z", "kyc": {"result": result},
            "data": {"full_name": "Somebody Telling"}});
        if let Some(status) = flag {
            item["aml"] = json!({"currentstatus": status, "matches": []});
        }
        item
    };
    let new = json!({"submission_id": "b", "created_at": "2026-01-05T10:00:00.000Z", "kyc": {"result": "approved"}, "email": "b@taint.example"});
    let erased = json!({"submission_id": "b", "created_at": "2026-01-05T10:00:00.000Z", "kyc": {"result": "approved"}});
    let list = |number: u64, items: Vec<&Value>| {
        json!({"number": number, "at": at(number), "query": "start_date=2026-01-01", "body": "", "status": 200,
            "answer": json!({"Items": items}).to_string()})
    };
    let by_id = |number: u64| json!({"number": number, "at": at(number), "query": "submission_id=b", "body": "", "status": 200, "answer": json!({"Items": []}).to_string()});
    let (pending, approved, flagged) =
        (item("pending", None), item("approved", None), item("approved", Some("Red Flag")));
    let progress = |xid: u64, number: u64, pages: u64| {
        json!({"xid": xid, "at": at(number), "lane": "hot", "view": "list", "by_id": false, "from_day": "2026-01-01",
            "to_day": "2026-01-05", "started_at": at(number), "cursor_id": null, "cursor_date": null, "pages": pages,
            "completed_at": at(number)})
    };
    let version = |id: &str, number: i64, cause: &str, item: &Value, xmin: i64, request: i64, view: &str| {
        json!({"submission_id": id, "version": number, "cause": cause, "view": view, "item": item, "xmin": xmin,
            "lease_epoch": 1, "request_no": request})
    };
    let event = |position: i64,
                 id: &str,
                 version: i64,
                 ordinal: i64,
                 kind: &str,
                 xmin: i64,
                 sides: Option<(Value, Value)>| {
        let (from, to) = sides.unwrap_or_default();
        json!({"position": position, "submission_id": id, "version": version, "ordinal": ordinal, "type": kind, "xmin": xmin,
            "payload": {"from": from, "to": to}})
    };
    let sides = |from: Value, to: &str| Some((from, json!(to)));
    let row = |id: &str, version: i64, item: &Value, gone: Value| {
        json!({"submission_id": id, "version": version, "item": item, "gone_at": gone, "kyc_result": item["kyc"]["result"],
            "aml_currentstatus": item["aml"]["currentstatus"]})
    };
    let tables = [
        ("projects", vec![json!({"import_started_at": "2026-01-04T00:00:00Z"})]),
        ("progress", vec![progress(10, 1, 1), progress(11, 2, 1), progress(12, 3, 1)]),
        (
            "submission_versions",
            vec![
                version("a", 1, "history", &pending, 10, 1, "list"),
                version("a", 2, "change", &approved, 11, 2, "list"),
                version("b", 1, "news", &erased, 14, 2, "list"),
                version("a", 3, "change", &flagged, 12, 3, "list"),
                version("b", 2, "erased", &erased, 14, 5, "id"),
            ],
        ),
        (
            "outbox",
            vec![
                event(1, "a", 1, 0, "submission.imported", 10, None),
                event(2, "a", 2, 0, "kyc.result_changed", 11, sides(json!("pending"), "approved")),
                event(3, "a", 2, 1, "submission.updated", 11, None),
                event(4, "b", 1, 0, "submission.created", 11, None),
                event(5, "b", 1, 1, "kyc.result_changed", 11, sides(Value::Null, "approved")),
                event(6, "a", 3, 0, "aml.status_changed", 12, sides(Value::Null, "Red Flag")),
                event(7, "a", 3, 1, "aml.red_flag_raised", 12, None),
                event(8, "a", 3, 2, "submission.updated", 12, None),
                event(9, "b", 2, 0, "submission.erased", 14, None),
                event(10, "b", 2, 1, "submission.updated", 14, None),
            ],
        ),
        ("submissions", vec![row("a", 3, &flagged, Value::Null), row("b", 2, &erased, json!(at(5)))]),
        (
            "counters",
            vec![
                json!({"name": "submissions", "label": "approved", "value": 1}),
                json!({"name": "red_flags_open", "label": "", "value": 1}),
            ],
        ),
        (
            "erasure_receipts",
            vec![
                json!({"submission_id": "b", "version": 2, "kind": "gone", "mode": "erase", "fields": [], "executed_at": at(5),
                    "reappeared_at": null}),
            ],
        ),
    ];
    Evidence {
        thin: false,
        served: vec![
            list(1, vec![&pending]),
            list(2, vec![&approved, &new]),
            list(3, vec![&flagged, &new]),
            by_id(4),
            by_id(5),
        ],
        tables: tables.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect(),
        dump: "all but what was erased".to_owned(),
        truth: vec![flagged],
        spoiled: Vec::new(),
    }
}

/// A second for each request.
fn at(number: u64) -> String {
    format!("2026-01-05T12:00:{number:02}Z")
}

fn rows<'e>(evidence: &'e mut Evidence, table: &str) -> &'e mut Vec<Value> {
    evidence.tables.get_mut(table).unwrap()
}

/// What is said when one thing is changed: promises and submissions.
fn said(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = sound();
    change(&mut evidence);
    let of = |it: &Violation| format!("{} {}", it.promise, it.submission).trim_end().to_owned();
    let mut said: Vec<String> = judge(&evidence).iter().map(of).collect();
    said.dedup();
    said
}

#[test]
fn a_history_that_keeps_every_promise_is_sound() {
    assert_eq!(judge(&sound()), []);
    assert_eq!(differences(&sound()), []);
}

#[test]
fn what_breaks_a_promise_is_noticed() {
    // An answer that was taken over is not reflected: the version is missing, with its events.
    let missed = said(|evidence| {
        rows(evidence, "submission_versions").retain(|row| row["submission_id"] != "a" || row["version"] != 2);
        rows(evidence, "outbox").retain(|row| row["submission_id"] != "a" || row["version"] != 2);
    });
    assert!(missed.contains(&"P1 a".to_owned()), "{missed:?}");
    // A state that nobody served.
    let invented = said(|evidence| {
        rows(evidence, "submission_versions")[1]["item"]["kyc"]["result"] = json!("rejected");
    });
    assert!(invented.contains(&"P1 a".to_owned()), "{invented:?}");
    let twice = said(|evidence| {
        let again = rows(evidence, "outbox")[6].clone();
        rows(evidence, "outbox").insert(7, again);
    });
    assert!(twice.contains(&"P2 a".to_owned()), "{twice:?}");
    let silent = said(|evidence| drop(rows(evidence, "outbox").remove(6)));
    assert!(silent.contains(&"P1 a".to_owned()), "{silent:?}");
    let torn = said(|evidence| rows(evidence, "outbox")[6]["xmin"] = json!(13));
    assert_eq!(torn, ["P3 a"]);
    let without_its_walk = said(|evidence| rows(evidence, "progress")[1]["xid"] = json!(9));
    assert!(without_its_walk.contains(&"P3 a".to_owned()), "{without_its_walk:?}");
    let too_far = said(|evidence| {
        let mut row = rows(evidence, "progress")[2].clone();
        (row["pages"], row["cursor_id"]) = (json!(2), json!("nowhere"));
        rows(evidence, "progress").push(row);
    });
    assert_eq!(too_far, ["P3"]);
    let miscounted = said(|evidence| rows(evidence, "counters")[1]["value"] = json!(0));
    assert_eq!(miscounted, ["P3"]);
    let other_row = said(|evidence| rows(evidence, "submissions")[0]["aml_currentstatus"] = json!("Not Screened"));
    assert_eq!(other_row, ["P3 a"]);
    let out_of_order = said(|evidence| rows(evidence, "submission_versions")[3]["request_no"] = json!(1));
    assert_eq!(out_of_order, ["P4 a", "P5"]);
    let former_leader = said(|evidence| rows(evidence, "submission_versions")[1]["lease_epoch"] = json!(2));
    assert!(former_leader.contains(&"P5".to_owned()), "{former_leader:?}");
    let hasty = said(|evidence| drop(evidence.served.remove(3)));
    assert_eq!(hasty, ["P7 b"]);
    let early = said(|evidence| rows(evidence, "erasure_receipts")[0]["executed_at"] = json!(at(4)));
    assert_eq!(early, ["P7 b"]);
    let personal = said(|evidence| rows(evidence, "outbox")[6]["payload"]["name"] = json!("Taintname"));
    assert!(personal.contains(&"P11 a".to_owned()), "{personal:?}");
    let kept = said(|evidence| evidence.dump = r#"{"email": "b@taint.example"}"#.to_owned());
    assert_eq!(kept, ["P7 b"]);
    let history_as_news = said(|evidence| {
        rows(evidence, "submission_versions")[0]["cause"] = json!("news");
    });
    assert!(history_as_news.contains(&"P1 a".to_owned()), "{history_as_news:?}");
    // Its day had been read before it appeared.
    let news_as_history = said(|evidence| {
        rows(evidence, "progress")[0]["xid"] = json!(8);
    });
    assert!(news_as_history.contains(&"P1 a".to_owned()), "{news_as_history:?}");
}

#[test]
fn what_the_mirror_lacks_is_told() {
    let mut evidence = sound();
    evidence.truth.push(json!({"submission_id": "c"}));
    evidence.truth[0]["kyc"]["result"] = json!("rejected");
    let who: Vec<_> = differences(&evidence).into_iter().map(|it| it.submission).collect();
    assert_eq!(who, ["a", "c"]);
    let mut evidence = sound();
    rows(&mut evidence, "submissions")[1]["gone_at"] = Value::Null;
    assert_eq!(differences(&evidence)[0].submission, "b");
    let mut evidence = sound();
    evidence.spoiled.push("[7]");
    evidence.tables.insert("quarantine".to_owned(), vec![json!({"body": "[8]"})]);
    assert_eq!(differences(&evidence)[0].promise, "P10");
    rows(&mut evidence, "quarantine")[0]["body"] = json!("[7]");
    assert_eq!(differences(&evidence), []);
}

#[test]
fn what_a_daemon_may_not_say_is_told() {
    assert_eq!(super::said("one\nanother"), None);
    assert_eq!(super::said("one\nof Taintname 7").unwrap().promise, "P11");
}

#[test]
fn an_event_that_a_consumer_skipped_is_told() {
    let row = |position: i64| (position, format!("event {position}"));
    assert_eq!(read_everything(&[row(1), row(2)], &[row(1), row(2)]), []);
    assert_eq!(read_everything(&[row(1)], &[row(1), row(2)]).len(), 1);
    assert_eq!(read_everything(&[row(1), row(3)], &[row(1)]).len(), 1);
}
