//! Which layer wins, and names that nobody knows.

use std::time::Duration;

use super::*;

#[test]
fn the_defaults_are_as_decided() {
    let settings = Settings::default();
    let [Project { id, name, api }] = settings.projects.as_slice() else { panic!("{settings:?}") };
    assert_eq!((id.as_str(), name.as_str()), ("default", "default"));
    assert_eq!(api.base_url.as_str(), "https://rest-api.argosidentity.com/v3");
    assert!(api.key.is_none());
    assert_eq!((api.dialect, api.parameters, api.count), (Dialect::Idcheck, Parameters::Query, 100));
    assert_eq!((api.connect_timeout.as_secs(), api.read_timeout.as_secs(), api.timeout.as_secs()), (10, 30, 60));
    assert_eq!((api.max_response_bytes, api.requests_per_day, api.retries), (32 << 20, 100_000, 5));
    assert!((api.requests_per_second - 50.0).abs() < f64::EPSILON);
    assert_eq!((api.backoff_initial.as_millis(), api.backoff_max.as_secs()), (500, 30));
    assert_eq!(api.retry_after_max.as_secs(), 300);
    assert_eq!((settings.poll.interval.as_secs(), settings.poll.lookback.as_secs()), (30, 3 * 86400));
    assert_eq!((settings.poll.open_interval.as_secs(), settings.poll.sweep_interval.as_secs()), (300, 3600));
    assert_eq!(settings.poll.since, None);
    assert_eq!((settings.events.import, settings.events.include_userid), (ImportEvents::Each, false));
    let limits = &settings.limits;
    assert_eq!((limits.item_bytes, limits.item_depth, limits.item_children), (1 << 20, 64, 2000));
    assert_eq!((limits.page_items, limits.walk_pages), (10_000, 100_000));
    let retention = &settings.retention;
    assert_eq!((retention.outbox, retention.versions), (None, None), "kept for ever until a retention is set");
    assert_eq!((retention.quarantine.as_secs(), retention.batch), (7 * 86400, 1000));
    let database = &settings.database;
    assert!(database.embedded && database.migrate && database.url.is_none() && database.hash_secret.is_none());
    assert_eq!((database.max_connections, database.data_dir.as_ref()), (5, None));
    assert_eq!((database.connect_timeout.as_secs(), database.statement_timeout.as_secs()), (10, 30));
    assert_eq!((settings.lease.ttl.as_secs(), settings.lease.holder.as_ref()), (30, None));
    assert!(settings.lease.holder_name().ends_with(&std::process::id().to_string()));
    assert_eq!((settings.http.enabled, settings.http.listen.to_string().as_str()), (true, "127.0.0.1:9464"));
    assert_eq!((settings.log.level.as_str(), settings.log.format), ("info", LogFormat::Auto));
    assert_eq!(settings.shutdown.grace.as_secs(), 20);
}

#[test]
fn each_layer_is_stronger_than_the_one_before() {
    let given = Given::file("[poll]\ninterval = '2s'\nlookback = '2d'\n[lease]\nttl = '40s'\n[log]\nlevel = 'warn'")
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
    assert_eq!(effective(&settings, "poll.interval"), ("2s", file.to_str().unwrap()));
    assert_eq!(effective(&settings, "poll.lookback"), ("4d", "ARGOS_SYNC__POLL__LOOKBACK"));
    assert_eq!(effective(&settings, "lease.ttl"), ("60s", "flag --set lease.ttl"));
    assert_eq!(effective(&settings, "lease.holder"), ("<not set>", "default"));
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
    assert_eq!(load(None, &none().env("ARGOS_SYNC_CONFIG", "").env, &[]).unwrap().log.level, "info");
    // Exactly this name: no other endings are tried.
    let error = load(Some(&dir.path().join("two")), &HashMap::new(), &[]).unwrap_err();
    assert!(error.to_string().starts_with("cannot read the settings file /"), "{error}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    Given::file("[poll]\nintervall = '1s'\n[polls]\n[api]\ntimeout = '9s'\ninterval = '1s'\n[zzzzzz]\nqqqqqq = 1")
        .fails_with(&[
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
        .env("ARGOS_SYNC__PROJECTS", MARKER)
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
            "ARGOS_SYNC__PROJECTS cannot be used: projects can only be listed in the settings file",
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

#[test]
fn what_is_written_in_vain_is_known() {
    let given = Given::file("[poll]\ninterval = '10s'\nlookback = '2d'\n[api]\nkey_file = '/none'\ncount = 7")
        .env("ARGOS_SYNC__POLL__INTERVAL", "20s")
        .env("ARGOS_SYNC__API__KEY", "key")
        .env("ARGOS_SYNC__POLL__LOOKBACK", "2d")
        .flag("poll.interval", "30s");
    let settings = given.settings();
    let overridden: Vec<_> = settings.overridden().iter().map(|one| (one.key.as_str(), one.by.as_str())).collect();
    let expected = [
        ("api.key_file", "ARGOS_SYNC__API__KEY"),
        ("poll.interval", "ARGOS_SYNC__POLL__INTERVAL"),
        ("poll.interval", "flag --set poll.interval"),
        ("poll.interval", "flag --set poll.interval"),
    ];
    assert_eq!(overridden, expected);
    let sources: Vec<_> = settings.overridden().iter().map(|one| one.source.rsplit('/').next().unwrap()).collect();
    assert_eq!(sources, ["settings.toml", "settings.toml", "settings.toml", "ARGOS_SYNC__POLL__INTERVAL"]);
}

#[test]
fn a_file_of_settings_is_told_from_others() {
    let dir = TempDir::new().unwrap();
    let holds = |text: &str| {
        let path = dir.path().join("some.toml");
        std::fs::write(&path, text).unwrap();
        holds_settings(&path)
    };
    assert!(holds("[poll]\ninterval = '10s'") && holds("[[projects]]\nid = 'a'"));
    assert!(!holds("") && !holds("[package]\nname = 'x'") && !holds("[poll") && !holds("poll.interval = 1\nx = 2"));
}
