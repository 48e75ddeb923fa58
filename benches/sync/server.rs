//! The vendor's side: serves prepared items as `GET /v3/submission`, in a process of its own, so that its CPU can be told
//! apart. It reads pages from files (which the system keeps in memory) and holds no item itself.
//!
//! A file has one item per line, each followed by a comma: a run of lines is the inside of a JSON list as it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::NaiveDate;

use crate::Result;
use crate::items::{self, Changed, Form, Times};

/// The argument that makes the bench this server.
pub const SERVE: &str = "serve-items";

/// The largest page, as the vendor documents it.
const LARGEST_PAGE: usize = 2000;

/// Writes a file of items.
pub fn write_items(path: &Path, submissions: u64, times: Times, form: Form) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for place in 0..submissions {
        writeln!(file, "{},", items::item(place, times.of(place), form))?;
    }
    file.flush()?;
    Ok(())
}

/// The server, as the bench sees it.
pub struct Server {
    child: Child,
    // At its end the server ends: it never outlives the bench.
    _alive: ChildStdin,
    address: String,
    directory: PathBuf,
}

/// What was served so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Requests for a list.
    pub requests: u64,
    /// Items.
    pub items: u64,
}

impl Server {
    /// Starts it.
    pub fn start(directory: &Path, times: Times) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .arg(directory)
            .args([times.first.to_string(), times.spacing.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let alive = child.stdin.take().ok_or("the data server has no standard input")?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("the data server has no standard output")?).read_line(&mut address)?;
        let address = address.trim().to_owned();
        if address.is_empty() {
            return Err("the data server did not start".into());
        }
        Ok(Self { child, _alive: alive, address, directory: directory.to_path_buf() })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `api.base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v3", self.address)
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// From now on serves this file: the first `shown` items of it, each page after `delay`.
    pub fn serve(&self, name: &str, shown: u64, delay: Duration) -> Result<()> {
        let path = format!("/bench/serve?file={name}&shown={shown}&delay_ms={}", delay.as_millis());
        self.ask(&path).map(drop)
    }

    /// From now on shows a submission in its changed form, whatever the file says.
    pub fn change(&self, place: u64) -> Result<()> {
        self.ask(&format!("/bench/change?place={place}")).map(drop)
    }

    /// What was served so far.
    pub fn served(&self) -> Result<Served> {
        let answer = self.ask("/bench/served")?;
        let (requests, items) = answer.trim().split_once(' ').ok_or("the data server counts in another way")?;
        Ok(Served { requests: requests.parse()?, items: items.parse()? })
    }

    /// One request over a connection of its own.
    fn ask(&self, path: &str) -> Result<String> {
        let mut stream = std::net::TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("the data server's answer has no end of its head")?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(format!("the data server refuses {path}: {body}").into());
        }
        Ok(body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Shared {
    directory: PathBuf,
    times: Times,
    state: Mutex<Serving>,
}

#[derive(Default)]
struct Serving {
    list: Option<Arc<List>>,
    shown: usize,
    delay: Duration,
    changed: BTreeMap<usize, String>,
    served: Served,
}

/// A file and where its lines begin.
struct List {
    file: File,
    starts: Vec<u64>,
}

impl List {
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
        let (mut starts, mut at) = (vec![0], 0);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            at += line.len() as u64;
            starts.push(at);
            line.clear();
        }
        Ok(Self { file: reader.into_inner(), starts })
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Appends the lines of some items, without the comma after the last.
    fn append(&self, items: std::ops::Range<usize>, body: &mut Vec<u8>) -> std::io::Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let (from, to) = (self.starts[items.start], self.starts[items.end] - 2);
        let begin = body.len();
        body.resize(begin + (to - from) as usize, 0);
        self.file.read_exact_at(&mut body[begin..], from)
    }
}

/// Serves until standard input ends. Arguments: the directory of the files, and when their items were created.
pub async fn run(arguments: &[String]) -> Result<()> {
    let [directory, first, spacing] = arguments else { return Err("DIRECTORY FIRST SPACING".into()) };
    let times = Times { first: first.parse()?, spacing: spacing.parse()? };
    let shared = Shared { directory: directory.into(), times, state: Mutex::default() };
    let router = Router::new()
        .route("/v3/submission", get(submissions))
        .route("/bench/serve", get(serve))
        .route("/bench/change", get(change))
        .route("/bench/served", get(served))
        .with_state(Arc::new(shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    tokio::select! {
        result = axum::serve(listener, router) => result?,
        _ = end => {}
    }
    Ok(())
}

type Parameters = Query<BTreeMap<String, String>>;
type Answer = std::result::Result<Response, Refused>;

struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

fn bad(why: impl std::fmt::Display) -> Refused {
    Refused(StatusCode::BAD_REQUEST, format!("{{\"errorCode\":\"invalid_parameter\",\"message\":\"{why}\"}}"))
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Serving> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first_on(&self, day: NaiveDate) -> usize {
        usize::try_from(self.times.first_on(day)).unwrap_or(usize::MAX)
    }
}

async fn serve(State(shared): State<Arc<Shared>>, Query(parameters): Parameters) -> Answer {
    let number = |name: &str| parameters.get(name).and_then(|text| text.parse::<u64>().ok());
    let name = parameters.get("file").ok_or_else(|| bad("file"))?;
    let list = List::open(&shared.directory.join(name))?;
    let mut state = shared.state();
    state.shown = list.len().min(number("shown").and_then(|shown| shown.try_into().ok()).unwrap_or(usize::MAX));
    state.delay = Duration::from_millis(number("delay_ms").unwrap_or(0));
    state.changed.clear();
    state.list = Some(Arc::new(list));
    Ok(StatusCode::OK.into_response())
}

async fn change(State(shared): State<Arc<Shared>>, Query(parameters): Parameters) -> Answer {
    let place: u64 = parameters.get("place").and_then(|text| text.parse().ok()).ok_or_else(|| bad("place"))?;
    let at = usize::try_from(place).map_err(bad)?;
    let item = items::item(place, shared.times.of(place), Form { changed: Changed::All, reading: 0 });
    shared.state().changed.insert(at, item);
    Ok(StatusCode::OK.into_response())
}

async fn served(State(shared): State<Arc<Shared>>) -> String {
    let Served { requests, items } = shared.state().served;
    format!("{requests} {items}")
}

/// The vendor's list: `start_date`, `end_date`, `count`, `nextpage_id`, `nextpage_date`, `submission_id`.
async fn submissions(State(shared): State<Arc<Shared>>, Query(parameters): Parameters) -> Answer {
    let (list, shown, delay) = {
        let state = shared.state();
        (state.list.clone().ok_or_else(|| bad("nothing is served yet"))?, state.shown, state.delay)
    };
    let day = |name: &str| parameters.get(name).map(|text| read_day(text).ok_or_else(|| bad(name))).transpose();
    let place = |name: &str| {
        let known = |id: &String| items::place_of(id).map(|place| place as usize).filter(|place| *place < shown);
        parameters.get(name).map(known)
    };
    let mut from = day("start_date")?.map_or(0, |day| shared.first_on(day));
    let mut end = day("end_date")?.and_then(|day| day.succ_opt()).map_or(shown, |day| shared.first_on(day).min(shown));
    let mut count = parameters.get("count").and_then(|text| text.parse().ok()).unwrap_or(50).clamp(1, LARGEST_PAGE);
    match (place("nextpage_id"), parameters.contains_key("nextpage_date")) {
        (None, _) => {}
        (Some(Some(last)), true) => from = last + 1,
        (Some(_), _) => return Err(bad("nextpage_id")),
    }
    match place("submission_id") {
        None => {}
        Some(Some(one)) => (from, end, count) = (one, one + 1, 1),
        Some(None) => end = 0,
    }
    let from = from.min(end);
    let to = (from + count).min(end);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut body = b"{\"Items\":[".to_vec();
    let changed: Vec<(usize, String)> =
        shared.state().changed.range(from..to).map(|(place, item)| (*place, item.clone())).collect();
    let mut at = from;
    for (place, item) in changed {
        list.append(at..place, &mut body)?;
        if at < place {
            body.push(b',');
        }
        body.extend_from_slice(item.as_bytes());
        at = place + 1;
        if at < to {
            body.push(b',');
        }
    }
    list.append(at..to, &mut body)?;
    body.push(b']');
    if to < end {
        let last = to as u64 - 1;
        let (id, created_at) = (items::id_of(last), items::time(shared.times.of(last)));
        body.extend_from_slice(
            format!(",\"nextpageKey\":{{\"id\":\"{id}\",\"created_at\":\"{created_at}\"}}").as_bytes(),
        );
    }
    body.push(b'}');
    let mut state = shared.state();
    state.served.requests += 1;
    state.served.items += (to - from) as u64;
    Ok(([("content-type", "application/json")], body).into_response())
}

/// A day in either of the vendor's forms.
fn read_day(text: &str) -> Option<NaiveDate> {
    ["%Y%m%d", "%Y-%m-%d"].iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok())
}
