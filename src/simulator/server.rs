//! The HTTP side: the vendor's paths under `/v3`, and the strings to pull under `/_sim`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use chrono::TimeDelta;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::answer::Ending;
use super::faults::{Fault, Faults, Mischief};
use super::vendor::{self, Incoming};
use super::world::World;
use super::{Options, SimulatorError, memory};
use crate::clock::{Clock, Timestamp};

/// A request that was served.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    /// Counts the requests from 1.
    pub number: u64,
    /// When it came in.
    pub at: Timestamp,
    /// GET, mostly.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query string as it came, still encoded.
    pub query: String,
    /// The body of the request.
    pub body: String,
    /// The status sent; 0 for a request that is never answered.
    pub status: u16,
    /// How many items the answer held.
    pub items: usize,
    /// Whether `x-api-key` was right. The key itself is never kept.
    pub key_ok: bool,
    /// The answer's text, if it was sent whole and [`Options::keep_answers`] says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// Older requests are forgotten, so that a demo can run for weeks.
const LOG: usize = 100_000;
/// How far ahead the state file says that things are served: what a killed run counts as active at most too long.
const AHEAD: TimeDelta = TimeDelta::seconds(30);
const BODY: usize = 1024 * 1024;

/// What the handle and the server share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
    world: Mutex<World>,
    /// The one that is valid now.
    key: Mutex<String>,
    mischief: Mutex<Mischief>,
    log: Mutex<VecDeque<Served>>,
    number: AtomicU64,
}

/// A panic of one request must not end the simulator: the data behind the lock is whole between any two steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(options: Options, clock: Clock, world: World) -> Self {
        let mischief = Mutex::new(Mischief::new(options.faults.clone(), options.seed));
        let (stop, log, number) = (CancellationToken::new(), Mutex::default(), AtomicU64::new(0));
        let key = Mutex::new(options.api_key.clone());
        Self { options, clock, stop, world: Mutex::new(world), key, mischief, log, number }
    }

    /// Changes the world and saves it.
    pub(super) fn change(&self, change: impl FnOnce(&mut World, Timestamp)) {
        let mut world = lock(&self.world);
        change(&mut world, self.clock.now());
        if let Err(error) = self.save(&world) {
            tracing::warn!(%error, "simulator: the state was not saved");
        }
    }

    /// Before anything is served at `now`, the state file says that it is: see `Timeline::recover`.
    fn promise(&self, world: &mut World, now: Timestamp) {
        if self.options.state_file.is_some() && world.state.timeline.unpromised(now) {
            world.state.timeline.promise(now + AHEAD);
            if let Err(error) = self.save(world) {
                tracing::warn!(%error, "simulator: the state was not saved");
            }
        }
    }

    fn save(&self, world: &World) -> Result<(), SimulatorError> {
        self.options.state_file.as_ref().map_or(Ok(()), |path| memory::save(path, &world.state))
    }

    pub(super) fn freeze(&self) {
        self.change(|world, now| world.state.timeline.freeze(now));
    }

    pub(super) fn thaw(&self) {
        self.change(|world, now| world.state.timeline.thaw(now, self.options.rate));
    }

    /// Freezes, and says whether the state could be saved.
    pub(super) fn finish(&self) -> Result<(), SimulatorError> {
        let mut world = lock(&self.world);
        world.state.timeline.freeze(self.clock.now());
        self.save(&world)
    }

    pub(super) fn truth(&self) -> Vec<Value> {
        let now = self.clock.now();
        let mut world = lock(&self.world);
        self.promise(&mut world, now);
        world.catch_up(now);
        world.truth(now)
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        *lock(&self.mischief) = Mischief::new(faults, self.options.seed);
    }

    pub(super) fn set_api_key(&self, key: &str) {
        key.clone_into(&mut lock(&self.key));
    }

    pub(super) fn fail_by_id(&self, id: &str, status: u16, body: &str) {
        lock(&self.mischief).by_id.insert(id.to_owned(), (status, body.to_owned()));
    }

    pub(super) fn requests(&self) -> Vec<Served> {
        let mut all: Vec<_> = lock(&self.log).iter().cloned().collect();
        // Requests in flight together may have been noted in another order.
        all.sort_by_key(|served| served.number);
        all
    }

    fn note(&self, served: Served) {
        let mut log = lock(&self.log);
        if log.len() == LOG {
            log.pop_front();
        }
        log.push_back(served);
    }
}

/// All paths.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_sim/truth", get(truth))
        .route("/_sim/freeze", post(async |State(s): State<Arc<Shared>>| s.freeze()))
        .route("/_sim/thaw", post(async |State(s): State<Arc<Shared>>| s.thaw()))
        .route("/_sim/items", put(put_item))
        .route("/_sim/items/{id}", patch(patch_item).delete(remove_item))
        .route("/_sim/faults", post(faults))
        .route("/_sim/requests", get(requests))
        .fallback(serve)
        .with_state(shared)
}

/// A refused control request: what was wrong, in words.
type Refused = (StatusCode, String);

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Refused> {
    serde_json::from_str(text)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("the body is not as expected: {error}")))
}

fn json(text: String) -> Response {
    ([("content-type", "application/json")], text).into_response()
}

async fn truth(State(shared): State<Arc<Shared>>) -> Response {
    // Working out every item takes a while; other connections go on.
    let text = tokio::task::spawn_blocking(move || Value::Array(shared.truth()).to_string()).await;
    text.map_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response(), json)
}

async fn put_item(State(shared): State<Arc<Shared>>, body: String) -> Result<(), Refused> {
    let item: Value = read(&body)?;
    if !item["submission_id"].is_string() {
        return Err((StatusCode::BAD_REQUEST, "the item needs a submission_id".to_owned()));
    }
    shared.change(|world, now| world.put(item, now));
    Ok(())
}

async fn patch_item(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: String) -> Result<(), Refused> {
    let with = read(&body)?;
    shared.change(|world, now| world.patch(&id, with, now));
    Ok(())
}

async fn remove_item(State(shared): State<Arc<Shared>>, Path(id): Path<String>) {
    shared.change(|world, now| world.remove(&id, now));
}

async fn faults(State(shared): State<Arc<Shared>>, body: String) -> Result<(), Refused> {
    let names: Vec<String> = read(&body)?;
    let faults = names.iter().map(|name| Faults::parse(name)).collect::<Result<Faults, _>>();
    shared.set_faults(faults.map_err(|why| (StatusCode::BAD_REQUEST, why))?);
    Ok(())
}

async fn requests(State(shared): State<Arc<Shared>>) -> Response {
    serde_json::to_string(&shared.requests()).map_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response(), json)
}

/// Everything else is the vendor's.
async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let number = shared.number.fetch_add(1, Ordering::Relaxed) + 1;
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    let key = lock(&shared.key).clone();
    let key_ok = parts.headers.get("x-api-key").is_some_and(|given| given.as_bytes() == key.as_bytes());
    let now = shared.clock.now();
    let (answer, slow, skew) = {
        let incoming = Incoming { number, method: &parts.method, uri: &parts.uri, body: &body, key: &key, key_ok };
        let mut world = lock(&shared.world);
        shared.promise(&mut world, now);
        let mut mischief = lock(&shared.mischief);
        let answer = vendor::answer(&incoming, &mut world, &mut mischief, &shared.options, now);
        (answer, mischief.happens(Fault::Slow, number), mischief.happens(Fault::ClockSkew, number))
    };
    let kept = shared.options.keep_answers && answer.ending == Ending::Whole;
    shared.note(Served {
        number,
        at: now,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body,
        status: if answer.ending == Ending::Stalled { 0 } else { answer.status },
        items: answer.items,
        key_ok,
        answer: kept.then(|| answer.body.clone()),
    });
    if let Some(wait) = slow {
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.stop.cancelled() => {}
        }
    }
    let skew = TimeDelta::try_seconds(skew.unwrap_or(0)).unwrap_or_default();
    let date = vendor::http_date(now.checked_add_signed(skew).unwrap_or(now));
    answer.send(&date, shared.stop.clone()).await
}
