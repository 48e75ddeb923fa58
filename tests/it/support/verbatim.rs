//! A vendor that serves the bytes a test gives it, word for word, over real HTTP.
//!
//! The simulator writes its JSON by itself. Where the form of the bytes matters (fixtures, the same id twice, the forms
//! of numbers, what no JSON library would write), a test says them here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use argos_sync::app::App;
use argos_sync::clock::{Clock, Timestamp};
use argos_sync::sync::engine::Engine;
use argos_sync::sync::report::PassReport;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Database;
use super::world::{install_tls, settings};

/// A verbatim vendor, a database, and a clock that only the test moves.
pub struct Verbatim {
    /// The database.
    pub database: Database,
    /// Settings, pool, metrics.
    pub app: App,
    /// The time, for both sides.
    pub clock: Clock,
    shared: Arc<Mutex<Shared>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// The pages of the list; a page's place is what its predecessor's nextpageKey leads to.
    pages: Vec<String>,
    /// Answers to other questions, by path and parameters.
    answers: HashMap<(String, Vec<(String, String)>), String>,
    requests: Vec<(String, Vec<(String, String)>)>,
}

/// The import of every [`Verbatim`] begins then.
pub fn noon() -> Timestamp {
    "2026-03-10T12:00:00Z".parse().unwrap()
}

impl Verbatim {
    /// With the default settings, at [`noon`].
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With settings changed: (key, value).
    pub async fn with(changes: &[(&str, &str)]) -> Self {
        install_tls();
        let clock = Clock::manual(noon());
        let database = Database::fresh().await;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v3", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let app = App::open(settings(&base_url, &database.url, changes), clock.clone()).await.unwrap();
        Self { database, app, clock, shared, serving }
    }

    /// An engine for the first project.
    pub async fn engine(&self) -> Engine {
        let project = &self.app.settings.projects[0];
        let heartbeat = argos_sync::heartbeat::Heartbeat::new();
        self.app.engine(project, "test", &heartbeat, &CancellationToken::new()).await.unwrap()
    }

    /// Lists these items, each a JSON text, on one page.
    pub fn list<S: AsRef<str>>(&self, items: &[S]) {
        let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
        self.pages(vec![format!("{{\"Items\":[{}]}}", items.join(","))]);
    }

    /// Lists these pages, each a whole body. Any question with a nextpage_id gets the page after the one whose
    /// nextpageKey has that id.
    pub fn pages(&self, pages: Vec<String>) {
        self.shared.lock().unwrap().pages = pages;
    }

    /// Answers a question: path below /v3, parameters, body.
    pub fn answers(&self, path: &str, parameters: &[(&str, &str)], body: &str) {
        let question = (format!("/v3/{path}"), owned(parameters));
        self.shared.lock().unwrap().answers.insert(question, body.to_owned());
    }

    /// What was asked: path and parameters.
    pub fn requests(&self) -> Vec<(String, Vec<(String, String)>)> {
        self.shared.lock().unwrap().requests.clone()
    }

    /// Lists these items and reads all of the list; then a minute passes.
    pub async fn read<S: AsRef<str>>(&self, engine: &mut Engine, items: &[S]) -> PassReport {
        self.list(items);
        let report = engine.once().await.unwrap();
        self.clock.advance(TimeDelta::minutes(1));
        assert!(report.complete);
        assert_eq!(report.counts.items, items.len() as u64);
        report
    }
}

impl Drop for Verbatim {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, uri: Uri) -> impl IntoResponse {
    let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap();
    let mut shared = shared.lock().unwrap();
    let question = (uri.path().to_owned(), parameters);
    shared.requests.push(question.clone());
    let body = shared.answers.get(&question).cloned().unwrap_or_else(|| {
        assert_eq!(question.0, "/v3/submission", "no answer was given for {question:?}");
        let key = question.1.iter().find(|(name, _)| name == "nextpage_id").map(|(_, id)| format!("\"{id}\""));
        let place = key.map_or(0, |key| {
            let leads = |page: &String| page.split_once("\"nextpageKey\"").is_some_and(|(_, rest)| rest.contains(&key));
            1 + shared.pages.iter().position(leads).expect("a page has this nextpageKey")
        });
        shared.pages[place].clone()
    });
    ([(CONTENT_TYPE, "application/json")], body)
}
