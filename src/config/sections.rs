//! Which keys there are and what each must be: the settings, section by section, and the rules between them.

use std::collections::{BTreeMap, BTreeSet};

use super::encryption::{ENCODINGS, Encryption, KEY_FORMS, MODES};
use super::reader::{Entry, Reader};
use super::secret;
use super::settings::{
    Api, Database, Dialect, Erasure, ErasureMode, Events, Http, ImportEvents, Lease, Limits, Log, LogFormat,
    Parameters, Poll, Project, Reload, Retention, Settings, Shutdown,
};
use super::values::{
    address, base_url, boolean, bytes, choice, day, day_or_more, days, duration, is_project_id, log_level, path,
    project_id, rate, seconds, seconds_or_never, share, text, whole,
};

/// Reads everything; what is wrong is left with the reader.
pub(super) fn settings(reader: &mut Reader) -> Settings {
    let entries = reader.entries();
    let listed = !entries.is_empty();
    let projects = if listed { listed_projects(reader, &entries) } else { vec![single_project(reader)] };
    let settings = Settings {
        projects,
        poll: Poll {
            interval: reader.value("poll.interval", &seconds()),
            lookback: reader.value("poll.lookback", &days()),
            open_interval: reader.value("poll.open_interval", &seconds()),
            sweep_interval: reader.value("poll.sweep_interval", &seconds()),
            canary_interval: reader.value("poll.canary_interval", &seconds()),
            since: reader.optional("poll.since", &day()),
        },
        events: Events {
            import: reader
                .value("events.import", &choice(&[("each", ImportEvents::Each), ("summary", ImportEvents::Summary)])),
            include_userid: reader.value("events.include_userid", &boolean()),
        },
        limits: Limits {
            item_bytes: reader.value("limits.item_bytes", &bytes()),
            item_depth: reader.value("limits.item_depth", &whole(1, 100)),
            item_children: reader.value("limits.item_children", &whole(1, 10_000_000)),
            page_items: reader.value("limits.page_items", &whole(1, 10_000_000)),
            walk_pages: reader.value("limits.walk_pages", &whole(1, 1_000_000_000)),
        },
        retention: Retention {
            outbox: reader.optional("retention.outbox", &day_or_more()),
            versions: reader.optional("retention.versions", &day_or_more()),
            quarantine: reader.value("retention.quarantine", &duration()),
            batch: reader.value("retention.batch", &whole(1, 100_000)),
        },
        erasure: Erasure {
            mode: reader.value("erasure.mode", &choice(&[("erase", ErasureMode::Erase), ("hold", ErasureMode::Hold)])),
            confirm_after: reader.value("erasure.confirm_after", &duration()),
            max_count: reader.value("erasure.max_count", &whole(0, 1_000_000_000)),
            max_share: reader.value("erasure.max_share", &share()),
        },
        database: database(reader),
        lease: Lease { ttl: reader.value("lease.ttl", &seconds()), holder: reader.optional("lease.holder", &text()) },
        http: Http {
            enabled: reader.value("http.enabled", &boolean()),
            listen: reader.value("http.listen", &address()),
            status_page: reader.value("http.status_page", &boolean()),
            token: reader.secret("http.token", secret::token),
        },
        log: Log {
            level: reader.value("log.level", &log_level()),
            format: reader.value(
                "log.format",
                &choice(&[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)]),
            ),
        },
        reload: Reload { watch: reader.value("reload.watch", &seconds_or_never()) },
        shutdown: Shutdown { grace: reader.value("shutdown.grace", &duration()) },
        effective: Vec::new(),
        secrets: BTreeMap::new(),
        overridden: Vec::new(),
        listed,
    };
    between_sections(reader, &settings);
    settings
}

/// Without a list, `[api]` is the one project.
fn single_project(reader: &mut Reader) -> Project {
    let api = api(reader);
    let id = reader.value("api.project_id", &project_id());
    Project { name: id.clone(), id, api }
}

fn listed_projects(reader: &mut Reader, entries: &[Entry]) -> Vec<Project> {
    let own = ["api.key", "api.key_file", "api.project_id", "api.encryption_secret", "api.encryption_secret_file"];
    for key in own {
        if !reader.is_chosen(key) {
            continue;
        }
        let name = if key == "api.project_id" { "id" } else { key.trim_start_matches("api.") };
        let place = reader.place(key);
        reader.problem(format!("{place} belongs into a [[projects]] entry, as {name}, since there are such entries"));
    }
    let mut ids = BTreeSet::new();
    let mut projects = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let number = (index + 1).to_string();
        let given = entry.get("id").and_then(|id| id.clone().into_string().ok());
        // Until the id is known to be one, an entry goes by its number.
        let label = given.clone().filter(|id| is_project_id(id)).unwrap_or_else(|| number.clone());
        if !entry.contains_key("id") {
            reader.problem(format!("[[projects]] entry {number} has no id: 1 to 64 of a-z, 0-9, \"_\" and \"-\""));
        } else if !ids.insert(given) {
            reader
                .problem(format!("[[projects]] entry {number} repeats the id \"{label}\": each project needs its own"));
        }
        projects.push(reader.within(&label, entry, |reader| {
            let id = reader.optional("api.id", &project_id()).unwrap_or_default();
            let name = reader.optional("api.name", &text());
            if name.is_none() {
                reader.correct("api.name", &id, "default");
            }
            Project { name: name.unwrap_or_else(|| id.clone()), id, api: api(reader) }
        }));
    }
    projects
}

fn api(reader: &mut Reader) -> Api {
    let api = Api {
        base_url: reader.value("api.base_url", &base_url()),
        key: reader.secret("api.key", secret::api_key),
        dialect: reader.value("api.dialect", &choice(&[("idcheck", Dialect::Idcheck), ("v3", Dialect::V3)])),
        parameters: reader
            .value("api.parameters", &choice(&[("query", Parameters::Query), ("body", Parameters::Body)])),
        encryption: encryption(reader),
        count: reader.value("api.count", &whole(1, 2000)),
        connect_timeout: reader.value("api.connect_timeout", &duration()),
        read_timeout: reader.value("api.read_timeout", &duration()),
        timeout: reader.value("api.timeout", &duration()),
        max_response_bytes: reader.value("api.max_response_bytes", &bytes()),
        requests_per_second: reader.value("api.requests_per_second", &rate()),
        requests_per_day: reader.value("api.requests_per_day", &whole(1, 1_000_000_000)),
        retries: reader.value("api.retries", &whole(0, 100)),
        backoff_initial: reader.value("api.backoff_initial", &duration()),
        backoff_max: reader.value("api.backoff_max", &duration()),
        retry_after_max: reader.value("api.retry_after_max", &duration()),
    };
    if reader.are_sound(&["api.backoff_initial", "api.backoff_max"]) && api.backoff_initial > api.backoff_max {
        let (initial, max) = (reader.place("api.backoff_initial"), reader.place("api.backoff_max"));
        reader.problem(format!("{initial} must not be longer than {max}"));
    }
    api
}

fn encryption(reader: &mut Reader) -> Encryption {
    let encryption = Encryption {
        mode: reader.value("api.encryption", &choice(&MODES)),
        key: reader.value("api.encryption_key", &choice(&KEY_FORMS)),
        encoding: reader.value("api.encryption_encoding", &choice(&ENCODINGS)),
        secret: reader.secret("api.encryption_secret", |_| Ok(())),
        requests: reader.value("api.encryption_requests", &boolean()),
    };
    let keys = ["api.encryption", "api.encryption_requests"];
    if encryption.requests && encryption.mode.is_none() && reader.are_sound(&keys) {
        let [mode, requests] = keys.map(|key| reader.place(key));
        reader.problem(format!("{requests} is true although {mode} is \"off\": say how requests are encrypted"));
    }
    encryption
}

fn database(reader: &mut Reader) -> Database {
    let mut database = Database {
        url: reader.secret("database.url", secret::database_url),
        embedded: reader.value("database.embedded", &boolean()),
        data_dir: reader.optional("database.data_dir", &path()),
        max_connections: reader.value("database.max_connections", &whole(1, 10_000)),
        connect_timeout: reader.value("database.connect_timeout", &duration()),
        statement_timeout: reader.value("database.statement_timeout", &duration()),
        migrate: reader.value("database.migrate", &boolean()),
        hash_secret: reader.secret("database.hash_secret", secret::hash_secret),
    };
    let url_given = reader.is_chosen("database.url") || reader.is_chosen("database.url_file");
    match (database.embedded, url_given) {
        (true, true) if !reader.are_sound(&["database.embedded"]) => {}
        (true, true) if reader.is_chosen("database.embedded") => {
            let embedded = reader.place("database.embedded");
            reader.problem(format!("{embedded} is true although there is a database.url: keep one of the two"));
        }
        (true, true) => {
            database.embedded = false;
            reader.correct("database.embedded", "false", "database.url is set");
        }
        (false, false) if reader.are_sound(&["database.embedded"]) => {
            let embedded = reader.place("database.embedded");
            reader.problem(format!(
                "{embedded} is false and there is no database: let database.url_file ({}) name a file that holds \
                 postgres://user:password@host:5432/database",
                super::layers::variable("database.url_file")
            ));
        }
        _ => {}
    }
    database
}

fn between_sections(reader: &mut Reader, settings: &Settings) {
    let keys = ["database.statement_timeout", "lease.ttl"];
    if reader.are_sound(&keys) && settings.database.statement_timeout > settings.lease.ttl {
        let [statement, lease] = keys.map(|key| reader.place(key));
        reader.problem(format!(
            "{statement} must not be longer than {lease}: another daemon could take over while a statement still runs"
        ));
    }
    let page_items = reader.place("limits.page_items");
    for Project { id, api, .. } in &settings.projects {
        if api.count as usize > settings.limits.page_items && reader.are_sound(&["limits.page_items"]) {
            let count = api.count;
            reader.problem(format!("{page_items} must not be less than project \"{id}\" asks for per page, {count}"));
        }
    }
}
