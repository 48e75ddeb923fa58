//! The status page: a project at one glance, for a person. HTML made here, without scripts, and one style sheet. It shows
//! ids, codes, counts and times; no personal data.

mod calendar;
mod view;

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use sqlx::PgPool;
use tokio::sync::{Semaphore, watch};

use self::view::{Page, State as Shown};
use super::AT_ONCE;
use super::guard::Guard;
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::Settings;
use crate::status;
use crate::store;
use crate::store::error::StoreError;

/// The whole page's time; a database that needs longer is told to be slow.
const DEADLINE: Duration = Duration::from_secs(5);

/// Nothing is fetched but the style sheet, nothing is run, and no other site may frame the page or learn its address.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// What the page is made of.
#[derive(Clone)]
pub struct StatusPage {
    settings: watch::Receiver<Arc<Settings>>,
    pool: PgPool,
    clock: Clock,
    loopback: bool,
    turns: Arc<Semaphore>,
}

impl StatusPage {
    /// A page of these projects, by the settings in force; `loopback`: the port listens on a loopback address alone.
    pub fn new(settings: watch::Receiver<Arc<Settings>>, pool: PgPool, clock: Clock, loopback: bool) -> Self {
        Self { settings, pool, clock, loopback, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    async fn read(&self, only: Option<&str>) -> Result<Shown, StoreError> {
        let settings = self.settings();
        let mut snapshot = store::status::snapshot(&self.pool).await?;
        let ids = status::projects(&mut snapshot, &settings).await?;
        // The first one that is configured here, rather than one of another daemon's that comes before it.
        let first = settings.projects.first().map(|project| project.id.as_str());
        let Some(id) = only.or(first).filter(|id| ids.contains(*id)) else { return Ok(Shown::NoSuchProject { ids }) };
        let now = self.clock.now();
        let (picture, calendar) = status::project(&mut snapshot, &settings, id, now).await?;
        Ok(Shown::Project(Box::new(view::Project {
            red_flag_days: store::status::red_flag_days(&mut snapshot, id).await?,
            red_flags: store::status::red_flags(&mut snapshot, id, view::ROWS).await?,
            events: store::status::last_events(&mut snapshot, id, view::ROWS).await?,
            ids,
            picture,
            calendar,
        })))
    }
}

/// What may stand behind the `?`.
#[derive(Deserialize)]
pub(super) struct Asked {
    project: Option<String>,
    /// `off`: the page stays as it is.
    refresh: Option<String>,
}

/// `/`.
pub(super) async fn show(State(page): State<StatusPage>, uri: Uri, headers: HeaderMap) -> Response {
    let guard = Guard::new(page.settings().http.token.clone(), page.loopback);
    if let Some(refused) = guard.refusal(&headers) {
        return (HEADERS, refused).into_response();
    }
    // Not by an extractor: of a stranger's request nothing but the headers is looked at.
    let Ok(Query(asked)) = Query::<Asked>::try_from_uri(&uri) else {
        return (StatusCode::BAD_REQUEST, HEADERS, "Ask for / or /?project=ID.\n").into_response();
    };
    let read = async {
        let _turn = page.turns.acquire().await;
        page.read(asked.project.as_deref()).await
    };
    let shown = match tokio::time::timeout(DEADLINE, read).await {
        Ok(Ok(shown)) => shown,
        Ok(Err(error)) => Shown::Unreadable { problem: chain(&error), advice: error.advice().to_owned() },
        Err(_) => Shown::Unreadable {
            problem: format!("the database did not answer within {} s", DEADLINE.as_secs()),
            advice: "Look whether the database is up and what it is busy with.".to_owned(),
        },
    };
    let status = match shown {
        Shown::Project(_) => StatusCode::OK,
        Shown::NoSuchProject { .. } => StatusCode::NOT_FOUND,
        Shown::Unreadable { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    let refreshes = asked.refresh.as_deref() != Some("off");
    match Page::new(shown, refreshes, page.clock.now()).render() {
        Ok(html) => (status, HEADERS, Html(html)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, HEADERS, error.to_string()).into_response(),
    }
}

/// `/status.css`.
pub(super) async fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (kind, include_str!("page/status.css")).into_response()
}
