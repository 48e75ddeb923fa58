use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{File, FileFormat, Source as _, ValueKind};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::*;

/// No message, `Debug` or listing may hold this.
const MARKER: &str = "s3cr3t-M4RK3R";

/// A settings file, an environment and flags.
#[derive(Default)]
struct Given {
    file: Option<String>,
    env: HashMap<String, String>,
    flags: Vec<(String, String)>,
}

impl Given {
    fn file(text: &str) -> Self {
        Self {
            file: Some(text.to_owned()),
            ..Self::default()
        }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Loads; the file's path in messages is replaced by FILE, and its directory by DIR, also inside the file.
    fn load(&self) -> Result<Settings, Vec<String>> {
        let dir = TempDir::new().unwrap();
        self.load_in(&dir)
    }

    fn load_in(&self, dir: &TempDir) -> Result<Settings, Vec<String>> {
        let here = dir.path().to_str().unwrap();
        let path = self.file.as_ref().map(|text| {
            let path = dir.path().join("settings.toml");
            std::fs::write(&path, text.replace("DIR", here)).unwrap();
            path
        });
        load(path.as_deref(), &self.env, &self.flags).map_err(|error| {
            assert_eq!(error.to_string(), error.problems().join("\n"));
            assert!(!format!("{error} {error:?}").contains(MARKER), "{error}");
            let shown = |problem: &String| {
                problem
                    .replace(&format!("{here}/settings.toml"), "FILE")
                    .replace(here, "DIR")
            };
            error.problems().iter().map(shown).collect()
        })
    }

    fn settings(&self) -> Settings {
        self.load()
            .unwrap_or_else(|problems| panic!("{}", problems.join("\n")))
    }

    #[track_caller]
    fn fails_with(&self, expected: &[&str]) {
        assert_eq!(self.load().err().unwrap_or_default(), expected);
    }
}

fn none() -> Given {
    Given::default()
}

fn effective<'a>(settings: &'a Settings, key: &str) -> (&'a str, &'a str) {
    let found = settings
        .effective()
        .iter()
        .find(|effective| effective.key == key);
    found
        .map(|found| (found.value.as_str(), found.source.as_str()))
        .unwrap_or_else(|| panic!("{key} is not listed"))
}

#[test]
fn the_defaults_are_as_decided() {
    let settings = Settings::default();
    let [Project { id, name, api }] = settings.projects.as_slice() else {
        panic!("{settings:?}")
    };
    assert_eq!((id.as_str(), name.as_str()), ("default", "default"));
    assert_eq!(
        api.base_url.as_str(),
        "https://rest-api.argosidentity.com/v3"
    );
    assert!(api.key.is_none());
    assert_eq!(
        (api.dialect, api.parameters, api.count),
        (Dialect::Idcheck, Parameters::Query, 100)
    );
    assert_eq!(
        (
            api.connect_timeout.as_secs(),
            api.read_timeout.as_secs(),
            api.timeout.as_secs()
        ),
        (10, 30, 60)
    );
    assert_eq!(
        (api.max_response_bytes, api.requests_per_day, api.retries),
        (32 << 20, 100_000, 5)
    );
    assert!((api.requests_per_second - 5.0).abs() < f64::EPSILON);
    assert_eq!(
        (api.backoff_initial.as_millis(), api.backoff_max.as_secs()),
        (500, 30)
    );
    assert_eq!(api.retry_after_max.as_secs(), 300);
    assert_eq!(
        (
            settings.poll.interval.as_secs(),
            settings.poll.lookback.as_secs()
        ),
        (30, 3 * 86400)
    );
    assert_eq!(settings.poll.since, None);
    assert_eq!(
        (settings.events.import, settings.events.include_userid),
        (ImportEvents::Each, false)
    );
    let limits = &settings.limits;
    assert_eq!(
        (limits.item_bytes, limits.item_depth, limits.item_children),
        (1 << 20, 64, 2000)
    );
    assert_eq!((limits.page_items, limits.walk_pages), (10_000, 100_000));
    assert_eq!(settings.quarantine.retention.as_secs(), 7 * 86400);
    let database = &settings.database;
    assert!(
        database.embedded
            && database.migrate
            && database.url.is_none()
            && database.hash_secret.is_none()
    );
    assert_eq!(
        (database.max_connections, database.data_dir.as_ref()),
        (5, None)
    );
    assert_eq!(
        (
            database.connect_timeout.as_secs(),
            database.statement_timeout.as_secs()
        ),
        (10, 30)
    );
    assert_eq!(
        (settings.lease.ttl.as_secs(), settings.lease.holder.as_ref()),
        (30, None)
    );
    assert!(
        settings
            .lease
            .holder_name()
            .ends_with(&std::process::id().to_string())
    );
    assert_eq!(
        (
            settings.http.enabled,
            settings.http.listen.to_string().as_str()
        ),
        (true, "127.0.0.1:9464")
    );
    assert_eq!(
        (settings.log.level.as_str(), settings.log.format),
        ("info", LogFormat::Auto)
    );
    assert_eq!(settings.shutdown.grace.as_secs(), 20);
}

#[test]
fn each_layer_is_stronger_than_the_one_before() {
    let given = Given::file(
        "[poll]\ninterval = '2s'\nlookback = '2d'\n[lease]\nttl = '40s'\n[log]\nlevel = 'warn'",
    )
    .env("ARGOS_SYNC__POLL__LOOKBACK", "4d")
    .env("ARGOS_SYNC__LEASE__TTL", "50s")
    .flag("lease.ttl", "55s")
    .flag("lease.ttl", "60s");
    let dir = TempDir::new().unwrap();
    let settings = given.load_in(&dir).unwrap();
    assert_eq!(settings.shutdown.grace, Duration::from_secs(20));
    assert_eq!(settings.poll.interval, Duration::from_secs(2));
    assert_eq!(settings.poll.lookback, Duration::from_secs(4 * 86400));
    assert_eq!(settings.lease.ttl, Duration::from_secs(60));
    let file = dir.path().join("settings.toml");
    assert_eq!(effective(&settings, "shutdown.grace"), ("20s", "default"));
    assert_eq!(
        effective(&settings, "poll.interval"),
        ("2s", file.to_str().unwrap())
    );
    assert_eq!(
        effective(&settings, "poll.lookback"),
        ("4d", "ARGOS_SYNC__POLL__LOOKBACK")
    );
    assert_eq!(
        effective(&settings, "lease.ttl"),
        ("60s", "flag --set lease.ttl")
    );
    assert_eq!(
        effective(&settings, "lease.holder"),
        ("<not set>", "default")
    );
}

#[test]
fn the_file_may_be_named_by_a_variable_and_the_flag_wins() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two.toml"));
    std::fs::write(&one, "\u{feff}log.level = 'warn'").unwrap();
    std::fs::write(&two, "log.level = 'error'").unwrap();
    let env = none().env("ARGOS_SYNC_CONFIG", one.to_str().unwrap()).env;
    assert_eq!(load(None, &env, &[]).unwrap().log.level, "warn");
    assert_eq!(load(Some(&two), &env, &[]).unwrap().log.level, "error");
    assert_eq!(
        load(None, &none().env("ARGOS_SYNC_CONFIG", "").env, &[])
            .unwrap()
            .log
            .level,
        "info"
    );
    // Exactly this name: no other endings are tried.
    let error = load(Some(&dir.path().join("two")), &HashMap::new(), &[]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read the settings file /"),
        "{error}"
    );
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    Given::file("[poll]\nintervall = '1s'\n[polls]\n[api]\ntimeout = '9s'\ninterval = '1s'\n[zzzzzz]\nqqqqqq = 1").fails_with(&[
        "unknown setting \"api.interval\" in FILE: did you mean \"poll.interval\"?",
        "unknown setting \"poll.intervall\" in FILE: did you mean \"poll.interval\"?",
        "unknown setting \"polls\" in FILE: did you mean \"poll\"?",
        "unknown setting \"zzzzzz.qqqqqq\" in FILE: config/default.toml lists every setting",
    ]);
    Given::file("api = 'x'\npoll.interval.x = 1\n[lease]").fails_with(&[
        "\"api\" in FILE is a section, not a setting: write its settings as api.NAME",
        "unknown setting \"poll.interval.x\" in FILE: did you mean \"poll.interval\"?",
    ]);
    none().flag("databse.url", "x").flag("Poll.Interval", "1s").flag("", "x").fails_with(&[
        "unknown setting \"databse.url\" in flag --set databse.url: did you mean \"database.url\"?",
        "unknown setting \"Poll.Interval\" in flag --set Poll.Interval: did you mean \"poll.interval\"?",
        "unknown setting \"\" in flag --set : config/default.toml lists every setting",
    ]);
}

#[test]
fn variables_that_look_like_settings_are_refused() {
    none()
        .env("ARGOS_SYNC__POLL__INTERVALL", MARKER)
        .env("ARGOS_SYNC_API_KEY", MARKER)
        .env("ARGOS_SYNC__API_KEY", MARKER)
        .env("ARGOS_SYNC_LOG__LEVEL", "debug")
        .env("ARGOS_SYNC__API", MARKER)
        .env("ARGOS_SYNC__", MARKER)
        .env("argos_sync__log__level", "debug")
        .env("ARGOS_SYNC__LOG.LEVEL", "debug")
        .env("ARGOS_SYNC__PROJECTS__0__KEY", MARKER)
        .env("ARGOS_SYNC_PG_BINDIR", "/usr/bin")
        .env("ARGOS_SYNCHRONY", "another program's")
        .env("HOME", "/")
        .fails_with(&[
            "unknown environment variable ARGOS_SYNC_API_KEY: did you mean ARGOS_SYNC__API__KEY?",
            "unknown environment variable ARGOS_SYNC_LOG__LEVEL: did you mean ARGOS_SYNC__LOG__LEVEL?",
            "unknown environment variable ARGOS_SYNC__: config/default.toml lists every setting",
            "unknown environment variable ARGOS_SYNC__API: config/default.toml lists every setting",
            "unknown environment variable ARGOS_SYNC__API_KEY: did you mean ARGOS_SYNC__API__KEY?",
            "unknown environment variable ARGOS_SYNC__LOG.LEVEL: did you mean ARGOS_SYNC__LOG__LEVEL?",
            "unknown environment variable ARGOS_SYNC__POLL__INTERVALL: did you mean ARGOS_SYNC__POLL__INTERVAL?",
            "ARGOS_SYNC__PROJECTS__0__KEY cannot be used: projects can only be listed in the settings file",
            "unknown environment variable argos_sync__log__level: did you mean ARGOS_SYNC__LOG__LEVEL?",
        ]);
}

#[test]
fn what_kubernetes_puts_into_every_pod_is_passed_over() {
    let mut given = none();
    for name in [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_METRICS",
        "PORT",
        "PORT_9464_TCP",
        "PORT_9464_TCP_PROTO",
        "PORT_9464_TCP_PORT",
        "PORT_9464_TCP_ADDR",
        "METRICS_SERVICE_HOST",
        "METRICS_PORT_80_UDP_ADDR",
    ] {
        given = given.env(&format!("ARGOS_SYNC_{name}"), "tcp://10.0.0.1:9464");
    }
    given.settings();
    none()
        .env("ARGOS_SYNC_PORT_X_TCP", "")
        .fails_with(&["unknown environment variable ARGOS_SYNC_PORT_X_TCP: config/default.toml lists every setting"]);
}

#[test]
fn all_problems_come_together() {
    let problems = Given::file("[poll]\ninterval = 30\nx = 1")
        .env("ARGOS_SYNC__API__COUNT", "2001")
        .flag("log.level", "inof")
        .load()
        .unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:#?}");
}

/// One wrong value, and its sentence.
#[track_caller]
fn refused(key: &str, value: &str, sentence: &str) {
    none()
        .flag(key, value)
        .fails_with(&[&sentence.replace('@', &format!("flag --set {key}"))]);
}

#[test]
fn lengths_of_time_need_a_unit() {
    Given::file("[poll]\ninterval = 30")
        .fails_with(&["poll.interval = \"30\" (FILE) needs a unit: write 30s for seconds"]);
    none().env("ARGOS_SYNC__LEASE__TTL", "20").fails_with(&[
        "lease.ttl = \"20\" (ARGOS_SYNC__LEASE__TTL) needs a unit: write 20s for seconds",
    ]);
    refused(
        "poll.interval",
        "999ms",
        "poll.interval = \"999ms\" (@) must be at least 1s",
    );
    refused(
        "lease.ttl",
        "1ms",
        "lease.ttl = \"1ms\" (@) must be at least 1s",
    );
    refused(
        "api.timeout",
        "0s",
        "api.timeout = \"0s\" (@) must be longer than nothing",
    );
    refused(
        "shutdown.grace",
        "4000d",
        "shutdown.grace = \"4000d\" (@) must not be longer than 3650d",
    );
    for text in ["soon", "", "-5s", "5 parsecs", "99999999999999999999y"] {
        let sentence = "api.read_timeout = \"VALUE\" (@) is not a length of time: \
                        write a number and a unit, such as 30s, 5m or 3d";
        refused("api.read_timeout", text, &sentence.replace("VALUE", text));
    }
    for text in ["36h", "1h", "1d 1ms"] {
        let sentence = "poll.lookback = \"VALUE\" (@) must be whole days, at least 1d";
        refused("poll.lookback", text, &sentence.replace("VALUE", text));
    }
    assert_eq!(
        none().flag("poll.lookback", "48h").settings().poll.lookback,
        Duration::from_secs(2 * 86400)
    );
}

#[test]
fn numbers_and_words_are_held_to_their_range() {
    for text in ["0", "2001", "1.5", "yes", "-1", ""] {
        let sentence = "api.count = \"VALUE\" (@) must be a whole number from 1 to 2000";
        refused("api.count", text, &sentence.replace("VALUE", text));
    }
    Given::file("api.count = 99.9")
        .fails_with(&["api.count = \"99.9\" (FILE) must be a whole number from 1 to 2000"]);
    Given::file("api.count = [1]").fails_with(&["api.count (FILE) must be a single value"]);
    refused(
        "limits.item_depth",
        "101",
        "limits.item_depth = \"101\" (@) must be a whole number from 1 to 100",
    );
    for text in ["0", "nan", "inf", "-1", "many"] {
        let sentence = "api.requests_per_second = \"VALUE\" (@) must be a number above 0";
        refused(
            "api.requests_per_second",
            text,
            &sentence.replace("VALUE", text),
        );
    }
    let size = "limits.item_bytes = \"1 MB\" (@) is not a size: \
                write a number of bytes, or one with KiB, MiB or GiB, such as 32MiB";
    refused("limits.item_bytes", "1 MB", size);
    refused(
        "limits.item_bytes",
        "99999999999GiB",
        &size.replace("1 MB", "99999999999GiB"),
    );
    refused(
        "limits.item_bytes",
        "0KiB",
        "limits.item_bytes = \"0KiB\" (@) must be at least 1",
    );
    assert_eq!(
        none()
            .flag("limits.item_bytes", "64 KiB")
            .settings()
            .limits
            .item_bytes,
        64 << 10
    );
    assert_eq!(
        none()
            .flag("limits.item_bytes", "4096")
            .settings()
            .limits
            .item_bytes,
        4096
    );
    refused(
        "api.dialect",
        "v4",
        "api.dialect = \"v4\" (@) must be \"idcheck\" or \"v3\"",
    );
    refused(
        "api.parameters",
        "Query",
        "api.parameters = \"Query\" (@) must be \"query\" or \"body\"",
    );
    refused(
        "events.import",
        "all",
        "events.import = \"all\" (@) must be \"each\" or \"summary\"",
    );
    refused(
        "log.format",
        "xml",
        "log.format = \"xml\" (@) must be \"auto\" or \"text\" or \"json\"",
    );
    refused(
        "database.migrate",
        "1",
        "database.migrate = \"1\" (@) must be true or false",
    );
    refused(
        "poll.since",
        "20240131",
        "poll.since = \"20240131\" (@) is not a day: write it as 2024-01-31",
    );
    refused(
        "poll.since",
        "2023-02-29",
        "poll.since = \"2023-02-29\" (@) is not a day: write it as 2024-01-31",
    );
    assert_eq!(
        Given::file("poll.since = 2024-02-29")
            .settings()
            .poll
            .since
            .unwrap()
            .to_string(),
        "2024-02-29"
    );
    refused(
        "http.listen",
        "localhost:1",
        "http.listen = \"localhost:1\" (@) must be an address and a port, such as 127.0.0.1:9464",
    );
    refused(
        "lease.holder",
        "",
        "lease.holder = \"\" (@) must not be empty",
    );
    refused(
        "lease.holder",
        "a\nb",
        "lease.holder (@) must not hold control characters",
    );
    let long = "x".repeat(65);
    for (text, shown) in [
        ("A", " = \"A\""),
        ("a:b", " = \"a:b\""),
        ("", " = \"\""),
        (long.as_str(), ""),
    ] {
        let sentence =
            format!("api.project_id{shown} (@) must be 1 to 64 of a-z, 0-9, \"_\" and \"-\"");
        refused("api.project_id", text, &sentence);
    }
}

#[test]
fn log_levels_are_checked() {
    for text in ["inof", "info,sqlx=loud", "loud", "", "info,sqlx"] {
        let sentence = "log.level = \"VALUE\" (@) is not a log level: \
                        write error, warn, info, debug or trace, or with parts, such as info,sqlx=warn";
        refused("log.level", text, &sentence.replace("VALUE", text));
    }
    for text in [
        "warn",
        "OFF",
        "info,sqlx=warn",
        "argos_sync=debug, info",
        "info,[walk{project=kr}]=trace",
    ] {
        assert_eq!(none().flag("log.level", text).settings().log.level, text);
    }
}

#[test]
fn base_urls_are_checked_and_not_repeated() {
    let https = "api.base_url (@) must start with https:// (http:// only to this machine: the key would be readable)";
    let refusals = [
        ("http://example.com/v3", https),
        ("http://localhost.example.com/v3", https),
        ("http://10.0.0.1/v3", https),
        ("ftp://127.0.0.1/v3", https),
        ("data:text/plain,x", https),
        (
            "example.com/v3",
            "api.base_url (@) is not a URL such as https://rest-api.argosidentity.com/v3",
        ),
        (
            "https://user:s3cr3t-M4RK3R@example.com",
            "api.base_url (@) must not hold a user name or password: the API takes only its key",
        ),
        (
            "https://user:s3cr3t-M4RK3R@exa mple",
            "api.base_url (@) is not a URL such as https://rest-api.argosidentity.com/v3",
        ),
        (
            "https://example.com/v3?key=s3cr3t-M4RK3R",
            "api.base_url (@) must end with its path: no \"?\" and no \"#\"",
        ),
    ];
    for (url, sentence) in refusals {
        let problems = none().flag("api.base_url", url).load().unwrap_err();
        assert_eq!(
            problems,
            [sentence.replace('@', "flag --set api.base_url")],
            "{url}"
        );
    }
    let accepted = [
        ("https://example.com/v3/", "https://example.com/v3"),
        ("https://example.com", "https://example.com/"),
        ("http://127.9.9.9:8080/v3//", "http://127.9.9.9:8080/v3"),
        ("http://[::1]:80/v3", "http://[::1]/v3"),
        ("http://LOCALHOST/v3", "http://localhost/v3"),
    ];
    for (url, shown) in accepted {
        assert_eq!(
            none().flag("api.base_url", url).settings().projects[0]
                .api
                .base_url
                .as_str(),
            shown
        );
    }
}

#[test]
fn settings_are_held_against_each_other() {
    none().flag("database.statement_timeout", "31s").fails_with(&[
        "database.statement_timeout (flag --set database.statement_timeout) must not be longer than lease.ttl (default): \
         another daemon could take over while a statement still runs",
    ]);
    none().flag("api.backoff_initial", "31s").fails_with(&[
        "api.backoff_initial (flag --set api.backoff_initial) must not be longer than api.backoff_max (default)",
    ]);
    none().flag("limits.page_items", "99").fails_with(&[
        "limits.page_items (flag --set limits.page_items) must not be less than project \"default\" asks for per page, 100",
    ]);
    // A value that is refused is not compared as well.
    none()
        .flag("lease.ttl", "1")
        .flag("database.statement_timeout", "31s")
        .fails_with(&[
            "lease.ttl = \"1\" (flag --set lease.ttl) needs a unit: write 1s for seconds",
        ]);
}

#[test]
fn a_database_url_switches_the_private_one_off() {
    let settings = none()
        .env("ARGOS_SYNC__DATABASE__URL", "postgres://u:p@h/d")
        .settings();
    assert!(!settings.database.embedded);
    assert_eq!(
        effective(&settings, "database.embedded"),
        ("false", "database.url is set")
    );
    none().flag("database.embedded", "true").flag("database.url", "postgres://u:p@h/d").fails_with(&[
        "database.embedded (flag --set database.embedded) is true although there is a database.url: keep one of the two",
    ]);
    none().flag("database.embedded", "false").fails_with(&[
        "database.embedded (flag --set database.embedded) is false and there is no database: let database.url_file \
         (ARGOS_SYNC__DATABASE__URL_FILE) name a file that holds postgres://user:password@host:5432/database",
    ]);
}

#[test]
fn secrets_come_from_their_own_place_or_a_file() {
    let dir = TempDir::new().unwrap();
    let hash = "0123456789abcdefABCDEF".repeat(3)[..64].to_owned();
    for (name, text) in [
        ("key", "k3y\r\n"),
        ("url", "postgres:///d?host=/run\n"),
        ("hash", hash.as_str()),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let text =
        "api.key_file = 'DIR/key'\n[database]\nurl_file = 'DIR/url'\nhash_secret_file = 'DIR/hash'";
    let settings = Given::file(text).load_in(&dir).unwrap();
    assert_eq!(
        settings.projects[0]
            .api
            .key
            .as_ref()
            .unwrap()
            .expose_secret(),
        "k3y"
    );
    assert_eq!(
        settings.database.url.as_ref().unwrap().expose_secret(),
        "postgres:///d?host=/run"
    );
    assert_eq!(
        settings
            .database
            .hash_secret
            .as_ref()
            .unwrap()
            .expose_secret(),
        hash
    );
    let key = dir.path().join("key");
    assert_eq!(
        effective(&settings, "api.key"),
        ("<redacted>", key.to_str().unwrap())
    );
    assert_eq!(
        effective(&settings, "api.key_file").0,
        key.to_str().unwrap()
    );
    // An all-digit key stays text, zeros and all.
    let settings = none().env("ARGOS_SYNC__API__KEY", "0042").settings();
    assert_eq!(
        settings.projects[0]
            .api
            .key
            .as_ref()
            .unwrap()
            .expose_secret(),
        "0042"
    );
    assert_eq!(
        effective(&settings, "api.key"),
        ("<redacted>", "ARGOS_SYNC__API__KEY")
    );
    assert_eq!(
        effective(&Settings::default(), "api.key"),
        ("<not set>", "default")
    );
}

#[test]
fn bad_secret_files_are_named() {
    let dir = TempDir::new().unwrap();
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("empty", b"\n".to_vec(), "the secret in DIR/empty is empty"),
        (
            "two",
            format!("{MARKER}\n\n").into_bytes(),
            "the secret in DIR/two holds a control character, such as a line break: it must be one line",
        ),
        (
            "middle",
            format!("a\n{MARKER}").into_bytes(),
            "the secret in DIR/middle holds a control character, such as a line break: it must be one line",
        ),
        (
            "space",
            format!("{MARKER} ").into_bytes(),
            "the secret in DIR/space holds a space or a letter outside ASCII: it could not be sent",
        ),
        (
            "binary",
            vec![0xff, 0xfe],
            "the secret in DIR/binary is not UTF-8 text",
        ),
        (
            "long",
            vec![b'x'; 70_000],
            "the secret in DIR/long is too long for a secret: more than 65536 bytes",
        ),
    ];
    for (name, content, sentence) in cases {
        std::fs::write(dir.path().join(name), content).unwrap();
        let problems = Given::file(&format!("api.key_file = 'DIR/{name}'"))
            .load_in(&dir)
            .unwrap_err();
        assert_eq!(problems, [format!("api.key_file (FILE): {sentence}")]);
    }
    let problems = Given::file("api.key_file = 'DIR/none'")
        .load_in(&dir)
        .unwrap_err();
    assert_eq!(
        problems,
        [
            "api.key_file (FILE): the secret cannot be read from DIR/none: No such file or directory (os error 2)"
        ]
    );
}

#[test]
fn a_secret_and_its_file_together_are_refused() {
    Given::file("api.key_file = 'DIR/key'")
        .env("ARGOS_SYNC__API__KEY", MARKER)
        .fails_with(&[
            "api.key (ARGOS_SYNC__API__KEY) and api.key_file (FILE) are both set: keep one",
        ]);
}

#[test]
fn secrets_never_show() {
    let url = format!("postgres://user:{MARKER}@host/d?password={MARKER}");
    let hash = "0badc0de".repeat(8);
    let settings = none()
        .env("ARGOS_SYNC__API__KEY", MARKER)
        .env("ARGOS_SYNC__DATABASE__URL", &url)
        .env("ARGOS_SYNC__DATABASE__HASH_SECRET", &hash)
        .settings();
    let shown = format!("{settings:?} {settings:#?} {:?}", settings.effective());
    assert!(
        !shown.contains(MARKER) && !shown.contains("0badc0de"),
        "{shown}"
    );

    let api = "api.key (flag --set api.key) holds a space or a letter outside ASCII: it could not be sent";
    none().flag("api.key", "s3cr3t-M4RK3R é").fails_with(&[api]);
    none()
        .flag("api.key", "")
        .fails_with(&["api.key (flag --set api.key) is empty"]);
    let url = "database.url (flag --set database.url) is not a URL such as postgres://user:password@host:5432/database \
               (a \"/\", \"?\", \"#\" or \"@\" in the password must be written as %2F, %3F, %23 or %40)";
    none()
        .flag("database.url", "mysql://u:s3cr3t-M4RK3R@h/d")
        .fails_with(&[url]);
    none()
        .flag("database.url", "postgres://u:s3cr3t-M4RK3R#@h/d")
        .fails_with(&[url]);
    none().flag("database.hash_secret", MARKER).fails_with(&[
        "database.hash_secret (flag --set database.hash_secret) must be 64 hexadecimal digits",
    ]);
    Given::file("api.key = 12345").fails_with(&["api.key (FILE) must be text, in quotes"]);
}

#[test]
fn mistakes_in_toml_are_placed_and_not_quoted() {
    let cases = [
        (
            "[api]\nkey = \"s3cr3t-M4RK3R",
            "FILE is not valid TOML: see line 2, column 21",
        ),
        (
            "[api]\nkey = s3cr3t-M4RK3R",
            "FILE is not valid TOML: see line 2, column 7",
        ),
        (
            "[api]\nkey = 's3cr3t-M4RK3R'\nkey = 's3cr3t-M4RK3R'",
            "FILE is not valid TOML: see line 3, column 1",
        ),
        (
            "s3cr3t-M4RK3R",
            "FILE is not valid TOML: see line 1, column 14",
        ),
        ("api.key = 99999999999999999999", "FILE is not valid TOML"),
    ];
    for (text, sentence) in cases {
        assert_eq!(Given::file(text).load().unwrap_err(), [sentence], "{text}");
    }
}

#[test]
fn projects_may_be_listed() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("kr"), "kr-key\n").unwrap();
    let text = "
        [api]
        count = 50
        timeout = '20s'
        [[projects]]
        id = 'kr'
        name = 'Korea'
        key_file = 'DIR/kr'
        dialect = 'v3'
        [[projects]]
        id = 'jp'
        key = 's3cr3t-M4RK3R'
        count = 7
    ";
    let settings = Given::file(text)
        .env("ARGOS_SYNC__API__TIMEOUT", "25s")
        .load_in(&dir)
        .unwrap();
    let [kr, jp] = settings.projects.as_slice() else {
        panic!("{settings:?}")
    };
    assert_eq!(
        (
            kr.id.as_str(),
            kr.name.as_str(),
            jp.id.as_str(),
            jp.name.as_str()
        ),
        ("kr", "Korea", "jp", "jp")
    );
    assert_eq!((kr.api.count, jp.api.count), (50, 7));
    assert_eq!(
        (kr.api.dialect, jp.api.dialect),
        (Dialect::V3, Dialect::Idcheck)
    );
    assert_eq!(
        (kr.api.timeout.as_secs(), jp.api.timeout.as_secs()),
        (25, 25)
    );
    assert_eq!(kr.api.key.as_ref().unwrap().expose_secret(), "kr-key");
    assert_eq!(jp.api.key.as_ref().unwrap().expose_secret(), MARKER);
    settings.require_keys().unwrap();

    let file = dir.path().join("settings.toml");
    let file = file.to_str().unwrap();
    assert_eq!(effective(&settings, "projects.kr.count"), ("50", file));
    assert_eq!(
        effective(&settings, "projects.kr.timeout"),
        ("25s", "ARGOS_SYNC__API__TIMEOUT")
    );
    assert_eq!(
        effective(&settings, "projects.kr.retries"),
        ("5", "default")
    );
    assert_eq!(effective(&settings, "projects.kr.name"), ("Korea", file));
    assert_eq!(effective(&settings, "projects.jp.name"), ("jp", "default"));
    assert_eq!(
        effective(&settings, "projects.jp.key"),
        ("<redacted>", file)
    );
    assert!(
        !settings
            .effective()
            .iter()
            .any(|effective| effective.key.starts_with("api."))
    );
    assert!(!format!("{settings:?}").contains(MARKER));
}

#[test]
fn mistakes_in_the_list_are_named() {
    Given::file("api.key = 's3cr3t-M4RK3R'\napi.project_id = 'x'\n[[projects]]\nid = 'a'\nkey = 'k'").fails_with(&[
        "api.key (FILE) belongs into a [[projects]] entry, as key, since there are such entries",
        "api.project_id (FILE) belongs into a [[projects]] entry, as id, since there are such entries",
    ]);
    let text = "
        api.retries = -1
        [[projects]]
        id = 'a'
        keyfile = 'x'
        project_id = 'b'
        [[projects]]
        id = 'a'
        timeout = 5
        [[projects]]
        name = 'c'
        key = 'x'
        key_file = 'y'
        [[projects]]
        id = 'D'
        backoff_initial = '40s'
    ";
    Given::file(text).fails_with(&[
        "unknown setting \"keyfile\" in [[projects]] entry 1 of FILE: did you mean \"key_file\"?",
        "unknown setting \"project_id\" in [[projects]] entry 1 of FILE: config/default.toml lists every setting",
        "api.retries = \"-1\" (FILE) must be a whole number from 0 to 100",
        "[[projects]] entry 2 repeats the id \"a\": each project needs its own",
        "projects.a.timeout = \"5\" (FILE) needs a unit: write 5s for seconds",
        "[[projects]] entry 3 has no id: 1 to 64 of a-z, 0-9, \"_\" and \"-\"",
        "projects.3.key (FILE) and projects.3.key_file (FILE) are both set: keep one",
        "projects.4.id = \"D\" (FILE) must be 1 to 64 of a-z, 0-9, \"_\" and \"-\"",
        "projects.4.backoff_initial (FILE) must not be longer than api.backoff_max (default)",
    ]);
    Given::file("[projects]\nid = 'a'").fails_with(&[
        "[projects] in FILE must be [[projects]], with two brackets, once per project",
    ]);
    Given::file("projects = 'a'")
        .fails_with(&["projects in FILE must be [[projects]] entries, one for each project"]);
    none()
        .flag("projects.kr.key", MARKER)
        .fails_with(&["flag --set projects.kr.key cannot be used: projects can only be listed in the settings file"]);
}

#[test]
fn missing_keys_are_told_when_they_are_needed() {
    let one = Settings::default().require_keys().unwrap_err();
    assert_eq!(
        one.to_string(),
        "project \"default\" has no API key: let api.key_file (ARGOS_SYNC__API__KEY_FILE) name a file that holds it, \
         or put it into ARGOS_SYNC__API__KEY"
    );
    let listed =
        Given::file("[[projects]]\nid = 'a'\n[[projects]]\nid = 'b'\nkey = 'k'").settings();
    assert_eq!(
        listed.require_keys().unwrap_err().to_string(),
        "project \"a\" has no API key: give its [[projects]] entry a key_file that names a file with the key"
    );
}

/// Every key in `default.toml`, also those that stand as `# key = value`.
fn documented() -> BTreeSet<String> {
    let is_key = |line: &str| {
        line.split_once(" = ").is_some_and(|(key, _)| {
            key.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
    };
    let lines: Vec<&str> = DEFAULT_TOML
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_key(rest) || rest == "[[projects]]" => rest,
            _ => line,
        })
        .collect();
    let table = File::from_str(&lines.join("\n"), FileFormat::Toml)
        .collect()
        .unwrap();
    let mut keys = BTreeSet::new();
    for (section, value) in table {
        match value.kind {
            ValueKind::Table(table) => {
                keys.extend(table.into_keys().map(|key| format!("{section}.{key}")))
            }
            ValueKind::Array(entries) => {
                let entry = entries[0].clone().into_table().unwrap();
                keys.extend(entry.into_keys().map(|key| format!("{section}.{key}")));
            }
            _ => panic!("{section} stands outside a section"),
        }
    }
    keys
}

#[test]
fn default_toml_lists_every_key_and_no_other() {
    let mut known = known_keys();
    assert!(known.remove(layers::PROJECTS));
    known.extend(layers::PROJECT_KEYS.map(|key| format!("projects.{key}")));
    assert_eq!(documented(), known);
    assert!(known.len() > 40, "{known:?}");
}

#[test]
fn default_toml_explains_every_key() {
    let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
    for (above, line) in lines.iter().zip(&lines[1..]) {
        let key = line.trim_start_matches("# ");
        let is_key = key
            .split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        assert!(
            !is_key || (above.starts_with("# ") && !above.contains(" = \"")),
            "nothing explains {line}"
        );
        assert!(line.len() <= 120, "{line}");
    }
}

#[test]
fn every_single_key_is_listed_as_effective() {
    let settings = Settings::default();
    let listed: BTreeMap<&str, &str> = settings
        .effective()
        .iter()
        .map(|one| (one.key.as_str(), one.source.as_str()))
        .collect();
    let known = known_keys();
    assert_eq!(listed.len(), settings.effective().len());
    assert_eq!(listed.len() + 1, known.len());
    assert!(
        known
            .iter()
            .filter(|key| *key != layers::PROJECTS)
            .all(|key| listed.get(key.as_str()) == Some(&"default"))
    );
    // What stands in the defaults can be said by a variable.
    for effective in settings
        .effective()
        .iter()
        .filter(|one| one.value != "<not set>")
    {
        none()
            .env(&layers::variable(&effective.key), &effective.value)
            .settings();
    }
}

#[test]
fn production_toml_loads_once_its_files_exist() {
    let text = include_str!("../../config/production.toml");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/production.toml");
    if !Path::new("/etc/argos-sync").exists() {
        let error = load(Some(&path), &HashMap::new(), &[]).unwrap_err();
        assert_eq!(error.problems().len(), 2, "{error}");
    }
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("api-key"), "k3y\n").unwrap();
    std::fs::write(
        dir.path().join("database-url"),
        "postgres://u:p@h/d?sslmode=verify-full\n",
    )
    .unwrap();
    let settings = Given::file(&text.replace("\"/etc/argos-sync/", "\"DIR/"))
        .load_in(&dir)
        .unwrap();
    assert!(!settings.database.embedded && settings.database.url.is_some());
    assert_eq!(settings.log.format, LogFormat::Json);
    settings.require_keys().unwrap();
}
