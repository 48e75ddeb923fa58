//! The status page, over real HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use argos_sync::clock::Clock;
use argos_sync::config::Settings;
use argos_sync::domain::lane::Lane;
use argos_sync::heartbeat::Heartbeat;
use argos_sync::http::{self, Pages, StatusPage};
use argos_sync::simulator::Options;
use argos_sync::sync::plan::{Errand, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::World;

const EVERYTHING: Errand = Errand { lane: Lane::Once, target: Target::Days(None) };
const TOKEN: &str = "a-token-of-twenty-four-c";

/// The page of a world. It is served until this is dropped.
struct Served {
    address: SocketAddr,
    settings: watch::Sender<Arc<Settings>>,
    _until: DropGuard,
}

impl Served {
    async fn of(world: &World, token: Option<&str>) -> Self {
        let listener = http::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = &world.app;
        let (settings, in_force) = watch::channel(app.settings.clone());
        let status = StatusPage::new(in_force, app.pool.clone(), app.clock.clone(), true);
        let (metrics, pool) = (app.metrics.clone(), app.pool.clone());
        let pages = Pages { metrics, heartbeats: vec![Heartbeat::new()], pool, status: Some(status) };
        let stop = CancellationToken::new();
        tokio::spawn(http::serve(listener, pages, stop.clone()));
        let served = Self { address, settings, _until: stop.drop_guard() };
        served.asks_for(token);
        served
    }

    /// From now on for this token.
    fn asks_for(&self, token: Option<&str>) {
        self.settings.send_modify(|settings| Arc::make_mut(settings).http.token = token.map(Into::into));
    }

    /// Status, head and body.
    async fn get(&self, path: &str, headers: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    /// The page, asked for from this machine.
    async fn page(&self, path: &str) -> (u16, String) {
        let (status, head, body) = self.get(path, "host: localhost\r\n").await;
        assert!(head.contains("content-security-policy: default-src 'none'; style-src 'self'; "), "{head}");
        assert!(!body.to_lowercase().contains("taint"), "P11: {body}");
        for foreign in ["http://", "https://", "//", "<script", "javascript:", "style=\"", " onload"] {
            assert!(!body.contains(foreign), "{foreign} is on the page:\n{body}");
        }
        (status, body)
    }
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn p11_the_page_shows_what_the_database_tells_and_nothing_personal() {
    let world = World::with(Options { initial: 200, ..Options::default() }, &[], Clock::system()).await;
    let served = Served::of(&world, None).await;
    let (status, page) = served.page("/").await;
    assert_eq!(status, 200);
    assert_has(&page, &["Nothing is known of this project yet", "http-equiv=\"refresh\""]);

    world.simulator.freeze();
    let mut engine = world.engine().await;
    engine.to_end(EVERYTHING).await.unwrap();
    engine.hot().await.unwrap();
    let (status, page) = served.page("/?refresh=off").await;
    assert_eq!(status, 200);
    assert!(!page.contains("http-equiv=\"refresh\""), "it holds still");
    assert_has(&page, &["All is read, and read again as planned.", "<dt>Submissions</dt><dd>200</dd>"]);
    let database = &world.database;
    let flags = database.number("select count(*) from argos.submissions where aml_currentstatus = 'Red Flag'").await;
    assert!(flags > 0);
    assert_has(&page, &[&format!("<dt>Red flags</dt><dd>{flags}</dd>"), "class=\"flag\"", "class=\"open\""]);
    let today = world.app.clock.now().date_naive();
    let of_today =
        database.number(&format!("select count(*) from argos.submissions where created_day = '{today}'")).await;
    assert_has(&page, &[&format!("<title>{today}: {of_today} submission")]);
    let event = database
        .text("select submission_id from argos.outbox where submission_id is not null order by position desc limit 1")
        .await
        .unwrap();
    assert_has(&page, &["Last events", &event]);

    let (status, page) = served.page("/?project=other").await;
    assert_eq!(status, 404);
    assert_has(&page, &["There is no such project", "href=\"?project=default\""]);
    let (status, head, css) = served.get("/status.css", "host: localhost\r\n").await;
    assert_eq!((status, head.contains("text/css")), (200, true));
    assert!(!css.contains("url(") && !css.contains("@import"), "the style sheet fetches nothing");
}

#[tokio::test]
async fn p9_a_stall_is_what_the_page_says_first() {
    let world = World::with(Options { initial: 20, ..Options::default() }, &[], Clock::system()).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    engine.to_end(EVERYTHING).await.unwrap();
    engine.hot().await.unwrap();
    let past =
        ["argos.created_days set covered_at = covered_at", "argos.projects set fully_walked_at = fully_walked_at"];
    for what in past {
        world.database.execute(&format!("update {what} - interval '3 hours'")).await;
    }
    let errors = "insert into argos.errors (project_id, lane, kind, message, advice, first_at, last_at, count)
                  select 'default', lane, 'unreachable', 'no answer', 'Wait.', now(), now(), 2
                    from unnest(array['hot', 'sweep']) lane";
    world.database.execute(errors).await;
    let (status, page) = Served::of(&world, None).await.page("/").await;
    assert_eq!(status, 200);
    let stalled = "STALLED</span> the newest days were last read 3 h ago";
    let cause = "ERROR</span> in lane hot, sweep: unreachable, 4 times since";
    assert_has(&page, &["Reading has stalled: 2 things to look at.", stalled, cause]);
}

#[tokio::test]
async fn what_the_vendor_sends_is_text_on_the_page() {
    let world = World::with(Options { initial: 1, ..Options::default() }, &[], Clock::system()).await;
    world.engine().await.to_end(EVERYTHING).await.unwrap();
    let hostile = "update argos.submissions set aml_risk_level_summary = '<script>alert(1)</script>\"', \
                   aml_currentstatus = 'Red Flag'";
    world.database.execute(hostile).await;
    let (status, page) = Served::of(&world, None).await.page("/").await;
    assert_eq!(status, 200);
    assert_has(&page, &["&#60;script&#62;alert(1)&#60;/script&#62;&#34;"]);
}

#[tokio::test]
async fn who_may_see_the_page() {
    let world = World::with(Options { initial: 1, ..Options::default() }, &[], Clock::system()).await;
    let open = Served::of(&world, None).await;
    assert_eq!(open.get("/", "host: 127.0.0.1\r\n").await.0, 200);
    assert_eq!(open.get("/", "host: rebound.example\r\n").await.0, 403);
    let locked = Served::of(&world, Some(TOKEN)).await;
    let (status, head, body) = locked.get("/", "host: localhost\r\n").await;
    assert_eq!(status, 401);
    assert_has(&head, &["www-authenticate: basic"]);
    assert!(!body.contains("default"), "nothing of a project is told: {body}");
    assert_eq!(locked.get("/", &format!("host: x.example\r\nauthorization: Bearer {TOKEN}\r\n")).await.0, 200);
    // Of who may not see it, nothing is looked at; of who may, what is no question is told.
    assert_eq!(locked.get("/?project=a&project=b", "host: localhost\r\n").await.0, 401);
    let known = format!("host: x.example\r\nauthorization: Bearer {TOKEN}\r\n");
    let (status, head, _) = locked.get("/?project=a&project=b", &known).await;
    assert_eq!(status, 400);
    assert_has(&head, &["content-security-policy: default-src 'none'"]);
    // Settings change while the page is served.
    locked.asks_for(Some("another-token-of-twenty-"));
    assert_eq!(locked.get("/", &format!("host: x.example\r\nauthorization: Bearer {TOKEN}\r\n")).await.0, 401);
    locked.asks_for(Some(TOKEN));
    // Probes and metrics ask for nothing.
    assert_eq!(locked.get("/livez", "host: x.example\r\n").await.0, 200);
}

#[tokio::test]
async fn p9_a_database_that_does_not_answer_is_told() {
    let world = World::with(Options { initial: 1, ..Options::default() }, &[], Clock::system()).await;
    let served = Served::of(&world, None).await;
    world.app.pool.close().await;
    let (status, page) = served.page("/").await;
    assert_eq!(status, 503);
    assert_has(&page, &["The database cannot be read", "What to do:"]);
}
