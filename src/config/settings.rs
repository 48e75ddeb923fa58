//! The settings as the rest of the program sees them. `config/default.toml` explains each at length.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDate;
use secrecy::SecretString;
use url::Url;

use super::ConfigError;
use super::encryption::Encryption;
use super::layers::variable;
use super::reader::REDACTED;

/// Everything the program can be told. `Debug` shows no secret. [`Settings::default`] is `default.toml`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The projects to mirror; at least one, each id once.
    pub projects: Vec<Project>,
    /// How often to look, and how far back.
    pub poll: Poll,
    /// The events in the outbox.
    pub events: Events,
    /// Guards against answers that no sane server gives.
    pub limits: Limits,
    /// How long things are kept.
    pub retention: Retention,
    /// What the vendor deletes.
    pub erasure: Erasure,
    /// PostgreSQL.
    pub database: Database,
    /// Which one of several running daemons does the work.
    pub lease: Lease,
    /// Metrics and probes.
    pub http: Http,
    /// The log.
    pub log: Log,
    /// Settings that change while the daemon runs.
    pub reload: Reload,
    /// The end.
    pub shutdown: Shutdown,
    pub(super) effective: Vec<Effective>,
    /// The secrets among `effective`, by their keys.
    pub(super) secrets: BTreeMap<String, SecretString>,
    pub(super) overridden: Vec<Overridden>,
    /// Whether the projects came from `[[projects]]`.
    pub(super) listed: bool,
}

impl Default for Settings {
    fn default() -> Self {
        super::load(None, &HashMap::new(), &[]).expect("default.toml is valid: a test loads it")
    }
}

impl Settings {
    /// Every key with the value in force and where it came from, section by section; no secrets.
    ///
    /// With `[[projects]]`, each key of `[api]` appears once per project, as `projects.ID.KEY`.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// What is written in a file, or in the environment, and has no effect because a stronger layer says otherwise.
    pub fn overridden(&self) -> &[Overridden] {
        &self.overridden
    }

    /// Refuses when a project has no API key. Loading does not, since `migrate` and others need none.
    pub fn require_keys(&self) -> Result<(), ConfigError> {
        let missing = self.projects.iter().filter(|project| project.api.key.is_none());
        let problems: Vec<String> = missing
            .map(|Project { id, .. }| match self.listed {
                true => format!(
                    "project \"{id}\" has no API key: give its [[projects]] entry a key_file that names a file with the key"
                ),
                false => format!(
                    "project \"{id}\" has no API key: let api.key_file ({}) name a file that holds it, or put it into {}",
                    variable("api.key_file"),
                    variable("api.key"),
                ),
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}

/// A setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The dotted key, such as `poll.interval`.
    pub key: String,
    /// The value as it was written; `<redacted>` for a secret, `<not set>` for nothing.
    pub value: String,
    /// `default`, a file's path, an environment variable's name, or `flag --set KEY`.
    pub source: String,
}

impl Effective {
    /// The file that holds a secret: one of its own, or the settings file.
    pub fn secret_file(&self) -> Option<&Path> {
        let elsewhere = ["flag ", "ARGOS_SYNC__"].iter().any(|begin| self.source.starts_with(begin));
        (self.value == REDACTED && !elsewhere).then(|| Path::new(&self.source))
    }

    /// Whether a secret stands on the command line.
    pub fn shows_secret(&self) -> bool {
        self.value == REDACTED && self.source.starts_with("flag ")
    }
}

/// A setting that a stronger layer has replaced by another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The dotted key.
    pub key: String,
    /// Where it is written in vain.
    pub source: String,
    /// Where the value in force comes from.
    pub by: String,
}

/// One of the vendor's projects: one API key, one set of submissions.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its name in the database: 1 to 64 of `a-z`, `0-9`, `_` and `-`.
    pub id: String,
    /// Its name for people; the id if none was given.
    pub name: String,
    /// How to reach it.
    pub api: Api,
}

/// The vendor's API, as one project uses it.
#[derive(Clone, Debug)]
pub struct Api {
    /// Where the API lives: https (or http to this machine), no user, no query. A path has no slash at its end; an
    /// empty path is `/`, as always in a [`Url`].
    pub base_url: Url,
    /// The API key; visible ASCII only, so it can be sent as a header. See [`Settings::require_keys`].
    pub key: Option<SecretString>,
    /// Which of the vendor's documents the server follows.
    pub dialect: Dialect,
    /// Where request parameters go.
    pub parameters: Parameters,
    /// The project's encryption, if it has one.
    pub encryption: Encryption,
    /// Submissions asked for per page: 1 to 2000.
    pub count: u32,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest silence while an answer is read.
    pub read_timeout: Duration,
    /// The longest time for one request in total.
    pub timeout: Duration,
    /// The largest answer that is read, after decompression.
    pub max_response_bytes: usize,
    /// Requests per second: 0.001 to 1,000,000.
    pub requests_per_second: f64,
    /// Requests per day (UTC); at least 1.
    pub requests_per_day: u64,
    /// Tries after the first.
    pub retries: u32,
    /// The wait before the first of these.
    pub backoff_initial: Duration,
    /// The longest wait between two tries; not below `backoff_initial`.
    pub backoff_max: Duration,
    /// The longest `Retry-After` that is waited for.
    pub retry_after_max: Duration,
}

/// Which of the vendor's documents the server follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// developers.argosidentity.com: days as `2026-01-31`.
    Idcheck,
    /// The older guides: days as `20260131`.
    V3,
}

/// Where request parameters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// Into the URL.
    Query,
    /// Into a JSON body.
    Body,
}

/// How often to look, and how far back.
#[derive(Clone, Debug)]
pub struct Poll {
    /// From one look at the newest days to the next; at least a second.
    pub interval: Duration,
    /// How far back the newest days reach; whole days, at least one.
    pub lookback: Duration,
    /// From one look at an older open submission to the next, at the least; it grows with the day's age.
    pub open_interval: Duration,
    /// The shortest time for one round of the sweep; at least a second.
    pub sweep_interval: Duration,
    /// From one submission drawn at random, and compared with the vendor, to the next.
    pub canary_interval: Duration,
    /// The first day to mirror; everything if none.
    pub since: Option<NaiveDate>,
}

/// The events in the outbox.
#[derive(Clone, Debug)]
pub struct Events {
    /// What the first import writes.
    pub import: ImportEvents,
    /// Whether events carry `userid`.
    pub include_userid: bool,
}

/// What the first import writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportEvents {
    /// One event for each submission.
    Each,
    /// One event at the end.
    Summary,
}

/// Guards against answers that no sane server gives; all at least 1.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest single submission.
    pub item_bytes: usize,
    /// The deepest nesting inside one; at most 100.
    pub item_depth: usize,
    /// The most attempts, or matches, in one.
    pub item_children: usize,
    /// The most submissions on one page; not below any project's `count`.
    pub page_items: usize,
    /// The most pages in one walk.
    pub walk_pages: u32,
}

/// How long things are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Events in the outbox; at least a day, for ever if none.
    pub outbox: Option<Duration>,
    /// Bodies of states that another one has replaced, from then on; at least a day, for ever if none.
    pub versions: Option<Duration>,
    /// Items that could not be used, from their first sight.
    pub quarantine: Duration,
    /// The most rows that one statement removes; at least 1.
    pub batch: u32,
}

/// What the vendor deletes.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// Whether personal data is removed or kept and marked.
    pub mode: ErasureMode,
    /// From the first confirmation by id to the second.
    pub confirm_after: Duration,
    /// So many submissions may seem deleted at once ...
    pub max_count: u64,
    /// ... or this share of all, if that is more: 0 to 1. Beyond, an operator must release them.
    pub max_share: f64,
}

/// Whether personal data is removed or kept and marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureMode {
    /// Removed.
    Erase,
    /// Kept and marked.
    Hold,
}

impl ErasureMode {
    /// The name in settings, tables and payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Erase => "erase",
            Self::Hold => "hold",
        }
    }
}

/// PostgreSQL.
#[derive(Clone, Debug)]
pub struct Database {
    /// The connection URL; always there when `embedded` is false, never when it is true.
    pub url: Option<SecretString>,
    /// Whether to use a private PostgreSQL on this machine. A URL switches it off.
    pub embedded: bool,
    /// Where the private one keeps its data; a default place if none.
    pub data_dir: Option<PathBuf>,
    /// The most connections held at once.
    pub max_connections: u32,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest time one statement may take; not above `lease.ttl`.
    pub statement_timeout: Duration,
    /// Whether to bring the tables up to date at the start.
    pub migrate: bool,
    /// The secret behind the stored hashes, 64 hex digits; the one `migrate` made if none.
    pub hash_secret: Option<SecretString>,
}

/// Which one of several running daemons does the work.
#[derive(Clone, Debug)]
pub struct Lease {
    /// How long after its last sign of life another takes over; at least a second.
    pub ttl: Duration,
    /// The name to hold it under, if one was given. See [`Lease::holder_name`].
    pub holder: Option<String>,
}

impl Lease {
    /// The name to hold the lease under: the one given, else the host's name and the process's number.
    pub fn holder_name(&self) -> String {
        self.holder.clone().unwrap_or_else(|| {
            let host = hostname::get().map(|name| name.to_string_lossy().into_owned());
            format!("{}:{}", host.as_deref().unwrap_or("unknown-host"), std::process::id())
        })
    }
}

/// Metrics and probes.
#[derive(Clone, Debug)]
pub struct Http {
    /// Whether to serve them.
    pub enabled: bool,
    /// The address and port.
    pub listen: SocketAddr,
    /// Whether there is a status page at `/`.
    pub status_page: bool,
    /// What whoever wants to see the status page must know. Without it: nothing on a loopback address, and on another one
    /// there is no page.
    pub token: Option<SecretString>,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    /// A valid filter, such as `info,sqlx=warn`.
    pub level: String,
    /// The shape of a line.
    pub format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Settings that change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Reload {
    /// From one look at the files to the next; `None`: only a signal makes the daemon look.
    pub watch: Option<Duration>,
}

/// The end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// How long work in progress may take to finish after a signal.
    pub grace: Duration,
}
