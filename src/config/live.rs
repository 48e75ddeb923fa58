//! What a running daemon takes up of changed settings, and what waits for its next start.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::layers;
use super::settings::{Database, Http, Log, Project, Settings};

/// Of each section: the keys that a running daemon takes up, and those that it reads at its start alone. An entry of
/// `[[projects]]` holds keys of `[api]`, to which the same applies; the list itself is read at the start.
const KEYS: [(&str, &[&str], &[&str]); 12] = [
    (
        "api",
        &[
            "base_url",
            "key",
            "dialect",
            "parameters",
            "encryption",
            "encryption_key",
            "encryption_encoding",
            "encryption_secret",
            "encryption_requests",
            "count",
            "connect_timeout",
            "read_timeout",
            "timeout",
            "max_response_bytes",
            "requests_per_second",
            "requests_per_day",
            "retries",
            "backoff_initial",
            "backoff_max",
            "retry_after_max",
        ],
        &["project_id"],
    ),
    ("poll", &["interval", "lookback", "open_interval", "sweep_interval", "canary_interval", "since"], &[]),
    ("events", &["import", "include_userid"], &[]),
    ("limits", &["item_bytes", "item_depth", "item_children", "page_items", "walk_pages"], &[]),
    ("retention", &["outbox", "versions", "quarantine", "batch"], &[]),
    ("erasure", &["mode", "confirm_after", "max_count", "max_share"], &[]),
    (
        "database",
        // The user and the password in it: see `same_server`.
        &["url"],
        // What the pool was made with, and what a statement's time-out is weighed against.
        &["embedded", "data_dir", "max_connections", "connect_timeout", "statement_timeout", "migrate", "hash_secret"],
    ),
    ("lease", &[], &["ttl", "holder"]),
    ("http", &["token"], &["enabled", "listen", "status_page"]),
    ("log", &["level"], &["format"]),
    ("reload", &["watch"], &[]),
    ("shutdown", &[], &["grace"]),
];

/// Whether a running daemon takes up a change of this key, such as `poll.interval` or `projects.kr.count`. Of
/// `database.url` that is the user and the password.
pub fn applies_live(key: &str) -> bool {
    is_live(key) == Some(true)
}

/// The same; `None`: no such key.
pub(super) fn is_live(key: &str) -> Option<bool> {
    let (section, name) = match entry(key) {
        Some((_, "id" | "name")) => return Some(false),
        Some((_, name)) => ("api", name),
        None => key.split_once('.')?,
    };
    let (_, live, at_start) = KEYS.iter().find(|(known, ..)| *known == section)?;
    // The file that holds a secret is the secret's other form.
    let forms = [Some(name), name.strip_suffix("_file")];
    let one_of = |names: &[&str]| forms.iter().flatten().any(|form| names.contains(form));
    if one_of(live) { Some(true) } else { one_of(at_start).then_some(false) }
}

/// The project and the name in a key of an entry of `[[projects]]`.
fn entry(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("projects.")?.split_once('.')
}

/// What taking up changed settings comes to.
#[derive(Debug)]
pub struct TakenUp {
    /// What is in force then.
    pub settings: Settings,
    /// Keys that changed and apply.
    pub applied: Vec<String>,
    /// Keys that are not as in force, and wait for a restart.
    pub waiting: Vec<String>,
}

impl Settings {
    /// Takes up what a running daemon can of `new`; the rest stays as it is in `self`, which is in force.
    pub fn take_up(&self, new: &Self) -> TakenUp {
        let (waiting, applied): (Vec<String>, Vec<String>) =
            self.differing(new).into_iter().partition(|key| self.waits(new, key));
        let mut waiting: Vec<String> = waiting.into_iter().map(|key| self.shown(new, key)).collect();
        waiting.dedup();
        TakenUp { settings: self.with_live_parts_of(new), applied, waiting }
    }

    /// Keys that stood in the settings file `path` and stand nowhere in `new`. Those of projects that are gone altogether
    /// wait for a restart anyway.
    pub(super) fn lost(&self, new: &Self, path: &str) -> Vec<String> {
        let gone = |key: &str| entry(key).is_some_and(|(id, _)| new.projects.iter().all(|project| project.id != id));
        let unset = |key: &str| {
            let found = new.effective.iter().find(|effective| effective.key == key);
            found.is_none_or(|found| found.source == layers::DEFAULT)
        };
        let written = self.effective.iter().filter(|effective| effective.source == path && !gone(&effective.key));
        written.map(|effective| effective.key.clone()).filter(|key| unset(key)).collect()
    }

    /// Whether `other` asks the vendor for this project in another way.
    pub fn asks_otherwise(&self, other: &Self, id: &str) -> bool {
        let of_project = |key: &str| key.starts_with("api.") || entry(key).is_some_and(|(project, _)| project == id);
        self.differing(other).iter().any(|key| of_project(key))
    }

    fn with_live_parts_of(&self, new: &Self) -> Self {
        let project = |ours: &Project| match new.projects.iter().find(|theirs| theirs.id == ours.id) {
            Some(theirs) if self.listed == new.listed => Project { api: theirs.api.clone(), ..ours.clone() },
            _ => ours.clone(),
        };
        let url = if self.waits(new, "database.url") { &self.database.url } else { &new.database.url };
        let effective = self.effective.iter().map(|ours| match new.effective.iter().find(|new| new.key == ours.key) {
            Some(theirs) if !self.waits(new, &ours.key) => theirs.clone(),
            _ => ours.clone(),
        });
        let secrets = |of: &Self, waiting: bool| {
            let wanted = of.secrets.iter().filter(|(key, _)| self.waits(new, key) == waiting);
            wanted.map(|(key, secret)| (key.clone(), secret.clone())).collect::<Vec<_>>()
        };
        Self {
            projects: self.projects.iter().map(project).collect(),
            poll: new.poll.clone(),
            events: new.events.clone(),
            limits: new.limits.clone(),
            retention: new.retention.clone(),
            erasure: new.erasure.clone(),
            database: Database { url: url.clone(), ..self.database.clone() },
            lease: self.lease.clone(),
            http: Http { token: new.http.token.clone(), ..self.http.clone() },
            log: Log { level: new.log.level.clone(), ..self.log.clone() },
            reload: new.reload.clone(),
            shutdown: self.shutdown.clone(),
            effective: effective.collect(),
            // What the doctor asks of settings that were just read.
            overridden: self.overridden.clone(),
            secrets: [secrets(self, true), secrets(new, false)].concat().into_iter().collect(),
            listed: self.listed,
        }
    }

    /// Keys whose values differ, also those that only one of the two has. The path of a secret's file is none: what is in
    /// it counts.
    pub(super) fn differing(&self, new: &Self) -> Vec<String> {
        let keys = self.effective.iter().chain(&new.effective).map(|effective| &effective.key);
        let mut differing: Vec<String> = Vec::new();
        for key in keys.filter(|key| !self.names_a_file(key) && !new.names_a_file(key)) {
            if !differing.contains(key) && self.value_of(key) != new.value_of(key) {
                differing.push(key.clone());
            }
        }
        differing
    }

    /// What is written, and the secret if it is one.
    fn value_of(&self, key: &str) -> Option<(&str, Option<&str>)> {
        let found = self.effective.iter().find(|effective| effective.key == key)?;
        Some((&found.value, self.secrets.get(key).map(ExposeSecret::expose_secret)))
    }

    fn names_a_file(&self, key: &str) -> bool {
        key.strip_suffix("_file").is_some_and(|secret| self.effective.iter().any(|effective| effective.key == secret))
    }

    /// Whether a key of either waits for a restart, given that the two differ in it.
    fn waits(&self, new: &Self, key: &str) -> bool {
        let has = |of: &Self, id: &str| of.projects.iter().any(|project| project.id == id);
        let of_a_project = key.starts_with("api.") || entry(key).is_some();
        let another_project = match entry(key) {
            _ if of_a_project && self.listed != new.listed => true,
            Some((id, _)) => !has(self, id) || !has(new, id),
            // A key that is given together with another id is most likely that project's.
            None => of_a_project && self.projects[0].id != new.projects[0].id,
        };
        let other_server = key == "database.url" && !same_server(self.database.url.as_ref(), new.database.url.as_ref());
        another_project || other_server || !applies_live(key)
    }

    /// What people are told of a key that waits.
    fn shown(&self, new: &Self, key: String) -> String {
        let in_both = |id: &str| [self, new].iter().all(|of| of.projects.iter().any(|project| project.id == id));
        match entry(&key) {
            _ if self.listed != new.listed && (key.starts_with("api.") || entry(&key).is_some()) => {
                "projects".to_owned()
            }
            Some((id, _)) if !in_both(id) => format!("projects.{id}"),
            _ => key,
        }
    }
}

/// Whether two URLs lead to the same database with the same options: then a connection that is made anew may have another
/// user and password than those that are open.
fn same_server(a: Option<&SecretString>, b: Option<&SecretString>) -> bool {
    let rest = |url: &SecretString| {
        let mut url = Url::parse(url.expose_secret()).ok()?;
        let is_credential = |name: &str| ["user", "password"].contains(&name);
        let options = url.query_pairs().into_owned().filter(|(name, _)| !is_credential(name)).collect::<Vec<_>>();
        url.set_query(None);
        // Of a URL without a host neither can be taken away; it is compared as it is.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        Some((url, options))
    };
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => rest(a).is_some_and(|a| Some(a) == rest(b)),
        _ => false,
    }
}
