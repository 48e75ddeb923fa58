//! The client against a vendor, a gateway or a network that misbehaves, over real HTTP.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use argos_sync::argos::client::Client;
use argos_sync::argos::error::ApiError;
use argos_sync::argos::query::{Cursor, Query};
use argos_sync::chain::chain;
use argos_sync::clock::Clock;
use argos_sync::config::Dialect;
use argos_sync::heartbeat::Heartbeat;
use argos_sync::metrics::Metrics;
use argos_sync::simulator::{Faults, Options};
use argos_sync::sync::error::SyncError;
use flate2::{Compress, Compression, FlushCompress};

use crate::support::process::argos_sync;
use crate::support::vendor::{Reply, Request, Vendor};
use crate::support::world::{install_tls, settings};
use crate::support::{Database, World};

const KEY: &str = "k3y-th4t-must-not-show";

/// A client of `base_url` with some settings changed, with all the permits it may want.
fn client_of(base_url: &str, changes: &[(&str, &str)]) -> (Client, Metrics) {
    install_tls();
    let changes = [&[("api.key", KEY)], changes].concat();
    let settings = settings(base_url, "postgres://unused/", &changes);
    let metrics =
        Metrics::new(&argos_sync::argos::error::ApiError::KINDS, &argos_sync::argos::decode::Refusal::REASONS).unwrap();
    let api = &settings.projects[0].api;
    let project = metrics.project("default");
    let client = Client::new(api, &settings.limits, Clock::system(), project, Heartbeat::new()).unwrap();
    client.pace.grant(1_000_000, Duration::from_secs(3600));
    (client, metrics)
}

/// Asks for the list once, tries included.
async fn ask(vendor: &Vendor, changes: &[(&str, &str)]) -> (Result<usize, ApiError>, Metrics) {
    let (client, metrics) = client_of(&vendor.base_url(), changes);
    let answer = client.submissions(&Query::default()).await;
    (answer.map(|answer| answer.content.len()), metrics)
}

/// What is wrong with a reply, how often it was asked for, and that nothing of the key or the body shows.
#[track_caller]
fn expect(name: &str, vendor: &Vendor, answer: &Result<usize, ApiError>, kind: &str, requests: usize, advice: &str) {
    let error = answer.as_ref().expect_err(name);
    assert_eq!(error.kind(), kind, "{name}: {error:?}");
    assert_eq!(vendor.requests().len(), requests, "{name}: requests seen by the server");
    assert!(error.advice().contains(advice), "{name}: {}", error.advice());
    let shown = format!("{} {error:?} {}", chain(error), error.advice());
    assert!(!shown.to_lowercase().contains("taint") && !shown.contains(KEY), "{name}: {shown}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The start of a gzip stream of `Items` and a piece that stands for a MiB of spaces and can follow again and again.
fn bomb() -> (Vec<u8>, Vec<u8>) {
    let mut compress = Compress::new(Compression::best(), false);
    let mut piece = |bytes: &[u8]| {
        let mut out = Vec::with_capacity(64 * 1024);
        compress.compress_vec(bytes, &mut out, FlushCompress::Full).unwrap();
        assert!(out.len() < out.capacity());
        out
    };
    let first = piece(br#"{"Items":["#);
    let spaces = piece(&vec![b' '; 1 << 20]);
    ([&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &first].concat(), spaces)
}

// ------------------------------------------------------------------------------------------------- requests

const AWKWARD: [&str; 6] = ["2026-01-02T03:04:05.678+09:00", "a&b=c", "a b", "서울 50%+1", "\"q\"/\\?#", "%2B"];

#[tokio::test]
async fn parameters_are_those_of_the_documents() {
    let vendor = Vendor::always(Reply::json(r#"{"Items":[]}"#)).await;
    let day = |text: &str| text.parse().unwrap();
    let query = Query {
        select: None,
        days: Some((day("2026-01-02"), day("2026-01-31"))),
        count: Some(100),
        cursor: Some(Cursor { id: "abc_1".to_owned(), created_at: "2026-01-05T00:00:00.000Z".to_owned() }),
        ..Query::default()
    };
    let page = |start: &str, end: &str| {
        vec![
            ("start_date", start),
            ("end_date", end),
            ("count", "100"),
            ("nextpage_id", "abc_1"),
            ("nextpage_date", "2026-01-05T00:00:00.000Z"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect::<Vec<_>>()
    };
    client_of(&vendor.base_url(), &[]).0.submissions(&query).await.unwrap();
    client_of(&vendor.base_url(), &[("api.dialect", "v3")]).0.submissions(&query).await.unwrap();
    let one = Query { select: Some(("submission_id", "x y".to_owned())), ..Query::default() };
    client_of(&vendor.base_url(), &[]).0.submissions(&one).await.unwrap();
    client_of(&vendor.base_url(), &[]).0.submissions(&Query::default()).await.unwrap();
    let requests = vendor.requests();
    assert_eq!(requests[0].parameters(), page("2026-01-02", "2026-01-31"), "idcheck");
    assert_eq!(requests[1].parameters(), page("20260102", "20260131"), "v3");
    assert_eq!(requests[2].parameters(), [("submission_id".to_owned(), "x y".to_owned())]);
    assert_eq!(requests[3].target(), "/v3/submission", "no parameter, no question mark");
    for request in &requests {
        assert!(request.head.starts_with("GET /v3/submission"), "{}", request.head);
        assert!(request.body.is_empty() && request.header("content-length").is_empty(), "a GET has no body");
        assert_eq!(request.header("x-api-key"), [KEY], "once");
        assert!(!request.target().contains(KEY), "never in the URL");
        assert_eq!(request.head.matches(KEY).count(), 1);
        assert!(request.header("user-agent")[0].starts_with("argos-sync/"));
    }
}

#[tokio::test]
async fn parameters_may_go_into_a_json_body() {
    let vendor = Vendor::always(Reply::json(r#"{"Items":[]}"#)).await;
    let (client, _) = client_of(&vendor.base_url(), &[("api.parameters", "body")]);
    let cursor = Cursor { id: "7".to_owned(), created_at: AWKWARD[3].to_owned() };
    client.submissions(&Query { count: Some(7), cursor: Some(cursor), ..Query::default() }).await.unwrap();
    let request = &vendor.requests()[0];
    assert_eq!(request.target(), "/v3/submission", "no query string");
    assert_eq!(request.header("content-type"), ["application/json"]);
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body, serde_json::json!({"count": 7, "nextpage_id": "7", "nextpage_date": AWKWARD[3]}));
    assert_eq!(request.header("x-api-key"), [KEY]);
}

#[tokio::test]
async fn a_cursor_comes_back_byte_for_byte() {
    for text in AWKWARD {
        let key = serde_json::json!({"Items": [], "nextpageKey": {"id": text, "created_at": text}}).to_string();
        let vendor = Vendor::start(move |number, _| {
            Reply::json(if number == 0 { key.clone() } else { r#"{"Items":[]}"#.to_owned() })
        })
        .await;
        let (client, _) = client_of(&vendor.base_url(), &[]);
        let next = client.submissions(&Query::default()).await.unwrap().content.next;
        client.submissions(&Query { cursor: next, ..Query::default() }).await.unwrap();
        let sent = vendor.requests()[1].parameters();
        assert_eq!(sent.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), [text, text]);
        let raw = vendor.requests()[1].query().to_owned();
        assert!(raw.is_ascii() && !raw.contains(' '), "{raw}");
        // A plus sign must not be sent as one: it would be read as a space.
        assert_eq!(raw.matches("%2B").count(), 2 * text.matches('+').count(), "{raw}");
    }
    // The simulator refuses a date that is not written exactly as it wrote it.
    let world =
        World::with(Options { initial: 30, ..Options::default() }, &[("api.count", "7")], Clock::system()).await;
    assert_eq!(world.engine().await.once().await.unwrap().pages, 5);
}

// ----------------------------------------------------------------------------------------------------- walks

/// A walk over canned pages; a page is (items, next key).
async fn walk(pages: Vec<(usize, Option<&'static str>)>) -> (Database, Vec<Request>, Result<u64, SyncError>) {
    let vendor = Vendor::start(move |number, request| {
        let Some((items, next)) = pages.get(number) else { return Reply::status(500, "", "asked too often") };
        let item = |n| serde_json::json!({"submission_id": format!("s{number}x{n}"), "created_at": "2026-01-05T00:00:00.000Z"});
        let mut page = serde_json::json!({"Items": (0..*items).map(item).collect::<Vec<_>>()});
        match next {
            Some("refuse") => return Reply::status(400, "", r#"{"errorCode":"invalid_parameter"}"#),
            Some(id) => page["nextpageKey"] = serde_json::json!({"id": id, "created_at": "2026-01-05T00:00:00.000Z"}),
            None => {}
        }
        assert_eq!(request.parameters().iter().filter(|(name, _)| name == "nextpage_id").count(), usize::from(number > 0));
        Reply::json(page.to_string())
    })
    .await;
    let database = Database::fresh().await;
    let settings = settings(&vendor.base_url(), &database.url, &[("api.retries", "0"), ("poll.since", "2026-01-01")]);
    install_tls();
    let app = argos_sync::app::App::open(settings, Clock::system()).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let project = app.settings.projects[0].clone();
    let mut engine = app.engine(&project, "test", &Heartbeat::new(), &stop).await.unwrap();
    let result = engine.once().await.map(|report| {
        assert!(report.complete);
        report.counts.items
    });
    (database, vendor.requests(), result)
}

#[tokio::test]
async fn p1_a_walk_ends_only_where_no_next_key_is() {
    // Short pages, empty pages with a key: it goes on.
    let (database, requests, result) =
        walk(vec![(3, Some("a")), (0, Some("b")), (0, Some("c")), (1, Some("d")), (2, None)]).await;
    assert_eq!((result.unwrap(), requests.len()), (6, 5));
    assert!(database.number("select count(covered_at) from argos.created_days").await > 0);
    assert_eq!(database.number("select count(*) from argos.submissions").await, 6);
    // A list that is empty to its end, where nothing is known: complete.
    let (_, _, result) = walk(vec![(0, Some("a")), (0, None)]).await;
    assert_eq!(result.unwrap(), 0);
}

#[tokio::test]
async fn p1_a_list_that_does_not_end_is_not_covered() {
    let cases = [
        (vec![(1, Some("a")), (1, Some("a"))], 2, "repeats"),
        (vec![(1, Some("a")), (1, Some("b")), (1, Some("a"))], 3, "circle"),
        (vec![(1, Some("a")), (1, Some("b")), (1, Some("c")), (1, Some("b"))], 4, "circle"),
        (vec![(1, Some("a")), (0, Some("refuse"))], 2, "refused its own"),
    ];
    for (pages, expected, what) in cases {
        let (database, requests, result) = walk(pages).await;
        let error = result.unwrap_err();
        assert!(matches!(error, SyncError::EndlessList { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(requests.len(), expected, "{what}");
        assert_eq!(
            database.number("select count(covered_at) from argos.created_days").await,
            0,
            "{what}: nothing is covered"
        );
        assert_eq!(database.number("select count(*) from argos.walks").await, 0, "{what}: the walk starts over");
        // What was shown before is kept all the same.
        assert_eq!(database.number("select count(*) from argos.submissions").await, expected as i64 - 1, "{what}");
    }
}

#[tokio::test]
async fn p1_the_simulators_ways_not_to_end() {
    for (fault, ends) in [
        ("empty-page-with-key", true),
        ("count-clip=3", true),
        ("duplicates", true),
        ("repeat-key", false),
        ("cycle-key", false),
    ] {
        let options = Options { initial: 40, faults: Faults::parse(fault).unwrap(), ..Options::default() };
        let world = World::with(options, &[("api.count", "10")], Clock::system()).await;
        let result = world.engine().await.once().await;
        assert_eq!(result.is_ok(), ends, "{fault}: {result:?}");
        assert_eq!(world.simulator.requests().iter().filter(|request| request.status != 200).count(), 0);
        let submissions = world.database.number("select count(*) from argos.submissions").await;
        let covered = world.database.text("select fully_walked_at from argos.projects").await;
        assert_eq!((submissions == 40, covered.is_some()), (ends, ends), "{fault}");
        assert_eq!(world.database.number("select count(*) from argos.walks where completed_at is null").await, 0);
    }
}

#[tokio::test]
async fn p9_a_page_that_is_too_large_is_asked_for_in_pieces() {
    let big = |count: usize| serde_json::json!({"Items": vec!["x".repeat(100); count]}).to_string();
    for gateway in [true, false] {
        let vendor = Vendor::start(move |_, request| {
            let count: usize =
                request.parameters().iter().find(|(name, _)| name == "count").unwrap().1.parse().unwrap();
            if gateway && count > 3 { Reply::status(413, "", "") } else { Reply::json(big(count)) }
        })
        .await;
        let database = Database::fresh().await;
        let changes = [("api.count", "16"), ("api.max_response_bytes", "500")];
        let settings = settings(&vendor.base_url(), &database.url, &changes);
        install_tls();
        let app = argos_sync::app::App::open(settings, Clock::system()).await.unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        let mut engine = app.engine(&app.settings.projects[0], "test", &Heartbeat::new(), &stop).await.unwrap();
        let asked = |from: usize| {
            let requests = vendor.requests();
            requests[from..].iter().map(|r| r.query().replace("count=", "").parse::<u32>().unwrap()).collect::<Vec<_>>()
        };
        assert!(engine.once().await.unwrap().complete);
        assert!(asked(0).starts_with(&[16, 8, 4]), "{:?}", asked(0));
        let before = vendor.requests().len();
        // The next pass starts where this one got through, a step larger, and not from the top.
        engine.once().await.unwrap();
        assert!(asked(before)[0] < 16, "{:?}", asked(before));
    }
}

#[tokio::test]
async fn p9_a_page_that_takes_the_vendor_too_long_is_asked_for_in_pieces() {
    let options = Options { initial: 60, faults: Faults::parse("heavy=20").unwrap(), ..Options::default() };
    let world = World::with(options, &[("api.count", "50"), ("api.retries", "0")], Clock::system()).await;
    let mut engine = world.engine().await;
    for _ in 0..4 {
        let result = engine.once().await;
        assert!(matches!(result, Err(SyncError::Api(ApiError::ServerFailed { status: 504, .. }))), "{result:?}");
    }
    assert!(engine.once().await.unwrap().complete);
    let requests = world.simulator.requests();
    let counts: Vec<_> =
        requests.iter().filter_map(|one| one.query.split('&').find(|part| part.starts_with("count="))).collect();
    assert!(counts.starts_with(&["count=50", "count=50", "count=25", "count=25", "count=12"]), "{counts:?}");
    assert_eq!(world.database.number("select count(*) from argos.submissions").await, 60);
}

// ---------------------------------------------------------------------------------------------------- answers

#[tokio::test]
async fn p9_each_status_is_told_apart_and_only_what_may_pass_is_retried() {
    let tries = 4;
    let html = "<html>Taintname7</html>";
    #[rustfmt::skip]
    let cases: Vec<(u16, &str, &str, &str, usize, &str)> = vec![
        // status, headers, body, kind, requests, advice
        (400, "", r#"{"errorCode":"invalid_payload"}"#, "bad_request", 1, "could not read the parameters"),
        (400, "", r#"{"errorCode":"missing_data","message":"Taintname7"}"#, "bad_request", 1, "misses a parameter"),
        (400, "", r#"{"errorCode":"invalid_project"}"#, "key_refused", 1, "no valid project"),
        (400, "", r#"{"errorCode":"invalid_admin"}"#, "key_refused", 1, "no permission"),
        (400, "", r#"{"errorCode":"invalid_parameter"}"#, "bad_request", 1, "does not know a parameter"),
        (400, "", r#"{"errorCode":"invalid_format"}"#, "bad_request", 1, "most likely the dates"),
        (400, "", r#"{"errorCode":"processing_error"}"#, "bad_request", 1, "refuses the request as it is"),
        (400, "", r#"{"errorCode":"Taintname7"}"#, "bad_request", 1, "refuses the request as it is"),
        (400, "", html, "bad_request", 1, "refuses the request as it is"),
        (401, "", "", "key_refused", 1, "missing, wrong or withdrawn"),
        (403, "", r#"{"message":"Forbidden"}"#, "key_refused", 1, "missing, wrong or withdrawn"),
        (403, "", html, "key_refused", 1, "missing, wrong or withdrawn"),
        (403, "", r#"{"Message":"User is not authorized to access this resource with an explicit deny"}"#, "address_refused", 1, "allow-list"),
        (403, "", r#"{"message":"User is not authorized to access this resource with an explicit deny"}"#, "address_refused", 1, "allow-list"),
        (404, "", r#"{"message":"Not Found"}"#, "bad_request", 1, "ends in the version"),
        (409, "", "", "bad_request", 1, "refuses the request as it is"),
        (413, "", "", "answer_too_large_for_vendor", 1, "lower api.count"),
        (408, "", "", "server_failed", tries, "vendor's side"),
        (425, "", "", "server_failed", tries, "vendor's side"),
        (429, "", r#"{"message":"Too Many Requests"}"#, "too_many_requests", tries, "rate limit"),
        (429, "retry-after: 0\r\n", "", "too_many_requests", tries, "rate limit"),
        (429, "retry-after: soon\r\n", "", "too_many_requests", tries, "rate limit"),
        (429, "retry-after: 99999999999999999999999999\r\n", "", "too_many_requests", tries, "rate limit"),
        // Longer than api.retry_after_max (10 ms here): not waited for inside the request, and not ignored either.
        (429, "retry-after: 1\r\n", "", "too_many_requests", 1, "rate limit"),
        (429, "retry-after: 18446744073709551615\r\n", "", "too_many_requests", 1, "rate limit"),
        (429, "retry-after: Fri, 31 Dec 2100 00:00:00 GMT\r\n", "", "too_many_requests", 1, "rate limit"),
        // The date is in the past by the sender's own clock, however far that is off.
        (429, "date: Fri, 31 Dec 2100 00:00:01 GMT\r\nretry-after: Fri, 31 Dec 2100 00:00:00 GMT\r\n", "", "too_many_requests", tries, "rate limit"),
        (429, "retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", "", "too_many_requests", tries, "rate limit"),
        (500, "", "", "server_failed", tries, "vendor's side"),
        (500, "", r#"{"errorCode":"processing_error"}"#, "server_failed", tries, "unknown error of its own"),
        (501, "", "", "server_failed", tries, "vendor's side"),
        (502, "", html, "server_failed", tries, "vendor's side"),
        (503, "retry-after: 3600\r\n", "", "server_failed", 1, "vendor's side"),
        (503, "", "", "server_failed", tries, "vendor's side"),
        (504, "", r#"{"message":"Endpoint request timed out"}"#, "server_failed", tries, "vendor's side"),
        (599, "", "", "server_failed", tries, "vendor's side"),
        (204, "", "", "not_a_list", tries, "proxy or a maintenance page"),
        (200, "content-type: text/html\r\n", html, "not_a_list", tries, "proxy or a maintenance page"),
        (200, "", "", "not_a_list", tries, "proxy or a maintenance page"),
        (200, "", r#"{"Items":[{"submission_id":"Taintname7"#, "not_a_list", tries, "proxy or a maintenance page"),
        (200, "", r#"[]"#, "not_a_list", tries, "proxy or a maintenance page"),
        (200, "", r#"{"Items":[],"nextpageKey":{"id":"Taintname7"}}"#, "not_a_list", tries, "proxy or a maintenance page"),
        (200, "", r#"{"statusCode":200,"success":false,"retryCode":"Taintname7"}"#, "server_failed", tries, "vendor's side"),
        (200, "", r#"{"errorCode":"processing_error","message":"Taintname7"}"#, "server_failed", tries, "unknown error of its own"),
        (200, "", r#"{"errorCode":"invalid_project"}"#, "key_refused", 1, "no valid project"),
        (200, "", r#"{"isEncrypted":true,"body":"Taintname7"}"#, "encrypted", 1, "secure data transmission"),
        (200, "content-encoding: gzip\r\n", "Taintname7 is no gzip", "broke_off", tries, "cut in mid-answer"),
    ];
    for (status, headers, body, kind, requests, advice) in cases {
        let name = format!("{status} {headers:?} {body}");
        let vendor = Vendor::always(Reply::status(status, headers, body)).await;
        let (answer, metrics) = ask(&vendor, &[("api.retries", "3")]).await;
        expect(&name, &vendor, &answer, kind, requests, advice);
        let page = metrics.encode().unwrap();
        let line = format!("argos_sync_request_errors_total{{kind=\"{kind}\",project=\"default\"}} {requests}");
        assert!(page.contains(&line), "{name}: {line}");
    }
}

#[tokio::test]
async fn p1_good_answers_in_odd_clothes_are_read() {
    let list = r#"{"Items":[{"submission_id":"a"}]}"#;
    let latin = [b"{\"Items\":[{\"submission_id\":\"a\",\"x\":\"".as_slice(), &[0xe9], b"\"}]}"].concat();
    let gzipped =
        Reply::status(200, "content-encoding: gzip\r\ncontent-type: application/json\r\n", gzip(list.as_bytes()));
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{list}\r\n0\r\n\r\n", list.len());
    let until_close = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{list}");
    for (name, reply) in [
        ("wrong content type", Reply::status(200, "content-type: text/plain\r\n", list)),
        ("no content type", Reply::status(200, "", list)),
        ("201", Reply::status(201, "", list)),
        ("a byte order mark", Reply::json(format!("\u{feff}{list}"))),
        ("not UTF-8", Reply::json(latin)),
        ("gzip", gzipped),
        ("chunks", Reply::Bytes(chunked.into_bytes())),
        ("until the connection closes", Reply::Bytes(until_close.into_bytes())),
    ] {
        let vendor = Vendor::always(reply).await;
        let (answer, _) = ask(&vendor, &[("api.retries", "0")]).await;
        assert_eq!(answer.unwrap_or_else(|error| panic!("{name}: {error:?}")), 1, "{name}");
        assert!(vendor.requests()[0].header("accept-encoding")[0].contains("gzip"));
    }
}

#[tokio::test]
async fn p9_a_broken_connection_is_tried_again() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"Items\":[{\"submission_id\":\"Taintname7\"".to_vec();
    for (name, reply) in [
        ("closed in mid-body", Reply::Bytes(half.clone())),
        ("reset in mid-body", Reply::Reset(half)),
        ("closed at once", Reply::Bytes(Vec::new())),
        ("no HTTP", Reply::Bytes(b"Taintname7\r\n\r\n".to_vec())),
        ("a chunk cut short", Reply::Bytes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{".to_vec())),
    ] {
        let vendor = Vendor::always(reply).await;
        let (answer, _) = ask(&vendor, &[("api.retries", "2")]).await;
        expect(name, &vendor, &answer, "broke_off", 3, "cut in mid-answer");
    }
    // It passes: the next try is the answer.
    let vendor = Vendor::start(|number, _| match number {
        0 => Reply::Reset(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{".to_vec()),
        1 => Reply::status(500, "", ""),
        _ => Reply::json(r#"{"Items":[]}"#),
    })
    .await;
    assert_eq!(ask(&vendor, &[]).await.0.unwrap(), 0);
    assert_eq!(vendor.requests().len(), 3);
    // Nobody listens.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (client, metrics) = client_of(&format!("http://{free}/v3"), &[("api.retries", "2")]);
    let error = client.submissions(&Query::default()).await.err().unwrap();
    assert_eq!(error.kind(), "unreachable");
    assert!(error.advice().contains("HTTPS_PROXY"), "{}", error.advice());
    assert!(metrics.encode().unwrap().contains("argos_sync_requests_total{project=\"default\",status=\"none\"} 3"));
}

#[tokio::test]
async fn p9_every_request_has_a_deadline() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"Items\":[".to_vec();
    let quick = [("api.retries", "1"), ("api.read_timeout", "200ms"), ("api.timeout", "20s")];
    let total = [("api.retries", "1"), ("api.read_timeout", "10s"), ("api.timeout", "300ms")];
    let slow_head = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 4000]].concat();
    let slow_head = Reply::Trickle(slow_head, Duration::from_millis(20));
    let slow_body = Reply::Trickle([head.clone(), vec![b' '; 4000]].concat(), Duration::from_millis(20));
    for (name, reply, changes) in [
        ("no answer: read timeout", Reply::Stall(Vec::new()), &quick),
        ("half an answer: read timeout", Reply::Stall(head.clone()), &quick),
        ("no answer: total timeout", Reply::Stall(Vec::new()), &total),
        ("half an answer: total timeout", Reply::Stall(head), &total),
        // Each byte restarts the read timeout; only the total one ends this.
        ("a slow head", slow_head, &total),
        ("a slow body", slow_body, &total),
    ] {
        let vendor = Vendor::always(reply).await;
        let started = Instant::now();
        let (answer, _) = ask(&vendor, changes).await;
        let took = started.elapsed();
        expect(name, &vendor, &answer, "timed_out", 2, "raise api.timeout");
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
    }
    // An error status counts although its body stalls.
    let vendor = Vendor::always(Reply::Stall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 50\r\n\r\n{".to_vec())).await;
    let (answer, _) = ask(&vendor, &quick).await;
    expect("403 that stalls", &vendor, &answer, "key_refused", 1, "missing, wrong or withdrawn");
}

#[tokio::test]
async fn p12_a_body_is_read_up_to_the_limit_and_no_further() {
    let limit = [("api.max_response_bytes", "1MiB")];
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"Items\":[".to_vec();
    let (first, piece) = bomb();
    let bomb_head = [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n".to_vec(), first].concat();
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    for (name, reply) in [
        ("a body without end", Reply::Endless(head, vec![b' '; 64 * 1024])),
        ("a gzip bomb without end", Reply::Endless(bomb_head, piece)),
        ("a large body, announced", Reply::Endless(announced, vec![b' '; 64 * 1024])),
    ] {
        let vendor = Vendor::always(reply).await;
        let (answer, _) = ask(&vendor, &limit).await;
        expect(name, &vendor, &answer, "too_large", 1, "api.max_response_bytes");
    }
    // A body of exactly the limit is read.
    let list = format!("{{\"Items\":[]{}}}", " ".repeat((1 << 20) - 12));
    assert_eq!(list.len(), 1 << 20);
    let vendor = Vendor::always(Reply::json(list)).await;
    assert_eq!(ask(&vendor, &limit).await.0.unwrap(), 0);
    // An error's body is read only for its code: one without end does not hold us.
    let endless = Reply::Endless(b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec(), vec![b' '; 64 * 1024]);
    let vendor = Vendor::always(endless).await;
    let (answer, _) = ask(&vendor, &limit).await;
    expect("an endless 403", &vendor, &answer, "key_refused", 1, "missing, wrong or withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_a_gzip_bomb_does_not_fill_the_memory() {
    let (first, piece) = bomb();
    let head = [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n".to_vec(), first].concat();
    let vendor = Vendor::always(Reply::Endless(head, piece)).await;
    // With the address space bounded, a process that kept what it unpacks would die of it, and not tell our error.
    let program = format!("ulimit -v 1500000; exec {} get --submission-id x", env!("CARGO_BIN_EXE_argos-sync"));
    let mut command = argos_sync();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", &program]);
    for (name, value) in command.env("ARGOS_SYNC__API__KEY", KEY).get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.env("ARGOS_SYNC__API__BASE_URL", vendor.base_url()).stdin(Stdio::null());
    let output = tokio::process::Command::from(limited).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("larger than the limit (33554432 bytes, api.max_response_bytes)"), "{said}");
}

#[tokio::test]
async fn the_key_follows_no_redirect() {
    let other = Vendor::always(Reply::json(r#"{"Items":[]}"#)).await;
    for status in [300, 301, 302, 303, 307, 308] {
        let location = format!("location: http://{}/v3/submission\r\n", other.addr);
        let vendor = Vendor::always(Reply::status(status, &location, "")).await;
        let (answer, _) = ask(&vendor, &[]).await;
        expect(&format!("{status}"), &vendor, &answer, "redirected", 1, "api.base_url");
    }
    // Not to another path of the same server either.
    let vendor = Vendor::always(Reply::status(301, "location: /v4/submission\r\n", "")).await;
    let (answer, _) = ask(&vendor, &[]).await;
    expect("same server", &vendor, &answer, "redirected", 1, "api.base_url");
    assert!(other.requests().is_empty(), "the key arrived at {:?}", other.requests());
}

#[tokio::test]
async fn p8_retry_after_is_obeyed_within_its_limit() {
    let vendor = Vendor::start(|number, _| match number {
        0 => Reply::status(429, "retry-after: 1\r\n", ""),
        _ => Reply::json(r#"{"Items":[]}"#),
    })
    .await;
    assert_eq!(ask(&vendor, &[("api.retry_after_max", "2s")]).await.0.unwrap(), 0);
    let requests = vendor.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(1), "{:?}", requests[1].at - requests[0].at);
}

#[tokio::test]
async fn p8_the_rate_per_second_holds_from_the_first_request() {
    let vendor = Vendor::always(Reply::json(r#"{"Items":[]}"#)).await;
    let (client, _) = client_of(&vendor.base_url(), &[("api.requests_per_second", "20")]);
    for _ in 0..10 {
        client.submissions(&Query::default()).await.unwrap();
    }
    let at: Vec<Instant> = vendor.requests().iter().map(|request| request.at).collect();
    // Ten requests have nine pauses of a twentieth of a second between them; a burst would have none.
    assert!(at[9] - at[0] >= Duration::from_millis(400), "{:?}", at[9] - at[0]);
}

#[tokio::test]
async fn dialects_fit_or_say_which_setting_does_not() {
    use argos_sync::simulator::Dialect as Simulated;
    for (simulated, ours, good) in [
        (Simulated::V3, Dialect::V3, true),
        (Simulated::V3, Dialect::Idcheck, false),
        (Simulated::Idcheck, Dialect::Idcheck, true),
    ] {
        let name = if ours == Dialect::V3 { "v3" } else { "idcheck" };
        let options = Options { dialect: simulated, initial: 20, ..Options::default() };
        for parameters in ["query", "body"] {
            let changes = [("api.dialect", name), ("api.parameters", parameters)];
            let world = World::with(options.clone(), &changes, Clock::system()).await;
            let result = world.engine().await.hot().await;
            match result {
                Ok(report) => assert!(good && report.counts.new == 20, "{simulated:?} {name} {parameters}"),
                Err(error) => {
                    assert!(!good, "{simulated:?} {name} {parameters}: {error:?}");
                    assert!(error.advice().contains("api.dialect"), "{}", error.advice());
                    assert_eq!(world.simulator.requests().len(), 1, "a 400 is not repeated");
                }
            }
        }
    }
}

// -------------------------------------------------------------------------------------------- TLS and proxies

/// `argos-sync get` of one submission, as a process.
async fn get(base_url: &str, environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = argos_sync();
    command.args(["get", "--submission-id", "taint7"]);
    for name in
        ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"]
    {
        command.env_remove(name);
    }
    command
        .env("ARGOS_SYNC__API__BASE_URL", base_url)
        .env("ARGOS_SYNC__API__KEY", KEY)
        .env("ARGOS_SYNC__API__RETRIES", "0")
        .env("ARGOS_SYNC__LOG__LEVEL", "trace")
        .envs(environment.iter().copied());
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stderr);
    assert!(!said.contains("panicked") && !said.contains(KEY) && !said.contains("taint7"), "{said}");
    (output.status.code(), text(&output.stdout), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn https_only_beyond_this_machine() {
    for url in [
        "http://rest-api.argosidentity.com/v3",
        "http://10.0.0.1/v3",
        "http://localhost.example.com/",
        "ftp://127.0.0.1/",
    ] {
        let (code, _, said) = get(url, &[]).await;
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("must start with https://"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_proxy_is_used_and_sees_no_key() {
    for (name, reply, expected) in [
        ("refuses", Reply::status(403, "", "no"), "cannot reach the vendor's API"),
        ("wants a password", Reply::status(407, "proxy-authenticate: Basic\r\n", ""), "cannot reach the vendor's API"),
        ("answers garbage in the tunnel", Reply::Bytes(b"HTTP/1.1 200 OK\r\n\r\ngarbage".to_vec()), "vendor's API"),
    ] {
        let proxy = Vendor::always(reply).await;
        let address = format!("http://someone:pr0xy-p4ss@{}", proxy.addr);
        let (code, _, said) = get("https://vendor.invalid/v3", &[("HTTPS_PROXY", &address)]).await;
        assert_eq!(code, Some(5), "{name}: {said}");
        assert!(said.contains(expected) && said.contains("HTTPS_PROXY"), "{name}: {said}");
        assert!(!said.contains("pr0xy-p4ss"), "{name}: {said}");
        let requests = proxy.requests();
        assert_eq!(requests.len(), 1, "{name}");
        assert!(requests[0].head.starts_with("CONNECT vendor.invalid:443 "), "{name}: {}", requests[0].head);
        assert!(!requests[0].head.contains(KEY), "{name}: the key went to the proxy");
    }
    // NO_PROXY, and plain http to this machine, go past it.
    let proxy = Vendor::always(Reply::status(403, "", "no")).await;
    let address = format!("http://{}", proxy.addr);
    let past = [
        ("HTTPS_PROXY", address.as_str()),
        ("HTTP_PROXY", &address),
        ("ALL_PROXY", &address),
        ("NO_PROXY", "vendor.invalid"),
    ];
    assert_eq!(get("https://vendor.invalid/v3", &past).await.0, Some(5));
    let vendor = Vendor::always(Reply::json(r#"{"Items":[]}"#)).await;
    let (code, out, _) = get(&vendor.base_url(), &past[..3]).await;
    assert_eq!((code, out.trim()), (Some(0), "[]"));
    assert!(proxy.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_checked() {
    // A server that speaks no TLS, on an https address: a sentence, no panic.
    let garbage = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = garbage.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = garbage.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-garbage\r\n").await;
        }
    });
    let (code, _, said) = get(&format!("https://{address}/v3"), &[]).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("cannot reach the vendor's API") && said.contains("api.base_url"), "{said}");

    // A certificate of an authority that this machine does not trust; then the same with the authority trusted.
    let server = tls_server();
    let url = format!("https://127.0.0.1:{server}/v3");
    let (code, _, said) = get(&url, &[]).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("certificate") && said.contains("cannot reach the vendor's API"), "{said}");
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/tls/ca.pem");
    let (code, out, said) = get(&url, &[("SSL_CERT_FILE", authority)]).await;
    assert_eq!((code, out.trim()), (Some(0), "[]"), "{said}");
    // Its name must fit as well.
    let (code, _, said) = get(&format!("https://127.0.0.2:{server}/v3"), &[("SSL_CERT_FILE", authority)]).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("certificate"), "{said}");
}

/// A TLS server for 127.0.0.1 with a certificate of the test authority, that answers each request with an empty list.
pub fn tls_server() -> u16 {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::io::Read;
    install_tls();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("support/tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("support/tls/server.key")).unwrap();
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = std::sync::Arc::new(config);
    // All of 127.0.0.0/8 is this machine.
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            if !request.is_empty() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"Items\":[]}");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    port
}
