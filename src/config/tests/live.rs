//! What a running daemon takes up of changed settings, and when files count as changed.

use super::super::layers;
use super::super::live::is_live;
use super::*;

/// Another value for every key that has one in the defaults, or could.
const OTHERS: [(&str, &str); 51] = [
    ("api.base_url", "https://rest-api.example/v3"),
    ("api.dialect", "v3"),
    ("api.parameters", "body"),
    ("api.encryption", "gcm"),
    ("api.encryption_key", "sha256"),
    ("api.encryption_encoding", "hex"),
    ("api.encryption_requests", "true"),
    ("api.count", "99"),
    ("api.connect_timeout", "9s"),
    ("api.read_timeout", "9s"),
    ("api.timeout", "9s"),
    ("api.max_response_bytes", "9MiB"),
    ("api.requests_per_second", "9"),
    ("api.requests_per_day", "9"),
    ("api.retries", "9"),
    ("api.backoff_initial", "9s"),
    ("api.backoff_max", "9s"),
    ("api.retry_after_max", "9s"),
    ("poll.interval", "9s"),
    ("poll.lookback", "9d"),
    ("poll.open_interval", "9s"),
    ("poll.sweep_interval", "9s"),
    ("poll.canary_interval", "9s"),
    ("poll.since", "2026-01-09"),
    ("events.import", "summary"),
    ("events.include_userid", "true"),
    ("limits.item_bytes", "9"),
    ("limits.item_depth", "9"),
    ("limits.item_children", "9"),
    ("limits.page_items", "999"),
    ("limits.walk_pages", "9"),
    ("retention.outbox", "9d"),
    ("retention.versions", "9d"),
    ("retention.quarantine", "9d"),
    ("retention.batch", "9"),
    ("erasure.mode", "hold"),
    ("erasure.confirm_after", "9s"),
    ("erasure.max_count", "9"),
    ("erasure.max_share", "0.09"),
    ("database.data_dir", "/nine"),
    ("database.max_connections", "9"),
    ("database.connect_timeout", "9s"),
    ("database.statement_timeout", "9s"),
    ("database.migrate", "false"),
    ("lease.ttl", "99s"),
    ("lease.holder", "nine"),
    ("http.enabled", "false"),
    ("http.listen", "127.0.0.9:9"),
    ("http.status_page", "false"),
    ("log.level", "error"),
    ("log.format", "json"),
];

/// Keys that are tried in tests of their own, or here below.
const APART: [&str; 9] = [
    "api.project_id",
    "api.key",
    "api.encryption_secret",
    "database.embedded",
    "database.url",
    "database.hash_secret",
    "http.token",
    "reload.watch",
    "shutdown.grace",
];

/// Everything but what is only shown.
fn in_force(settings: &Settings) -> String {
    let Settings { projects, poll, events, limits, retention, erasure, database, lease, .. } = settings;
    let (http, log, reload, shutdown) = (&settings.http, &settings.log, &settings.reload, &settings.shutdown);
    format!(
        "{projects:?}{poll:?}{events:?}{limits:?}{retention:?}{erasure:?}{database:?}{lease:?}{http:?}{log:?}{reload:?}{shutdown:?}"
    )
}

/// What is in force after `new` came in the place of `old`; keys that apply and keys that wait.
fn take_up<'t>(old: &Settings, new: &Settings, taken: &'t mut Option<TakenUp>) -> (&'t Settings, String, String) {
    let taken = taken.insert(old.take_up(new));
    (&taken.settings, taken.applied.join(" "), taken.waiting.join(" "))
}

#[test]
fn every_key_is_classified() {
    let unknown: Vec<String> = known_keys().into_iter().filter(|key| is_live(key).is_none()).collect();
    assert_eq!(unknown, [layers::PROJECTS], "a new setting: does a running daemon take it up?");
    let names = |key: &str| OTHERS.iter().map(|(key, _)| key).chain(&APART).any(|tried| *tried == key);
    let secret = |key: &str| key.strip_suffix("_file").is_some_and(|key| APART.contains(&key));
    let untried: Vec<String> = known_keys().into_iter().filter(|key| !names(key) && !secret(key)).collect();
    assert_eq!(untried, [layers::PROJECTS]);
    for (key, live) in [
        ("api.key_file", true),
        ("projects.kr.key", true),
        ("projects.kr.count", true),
        ("projects.kr.id", false),
        ("projects.kr.name", false),
        ("projects", false),
        ("database.hash_secret_file", false),
        ("pol.interval", false),
    ] {
        assert_eq!(applies_live(key), live, "{key}");
    }
}

#[test]
fn a_key_applies_as_a_whole_or_waits_as_a_whole() {
    let base = || none().flag("api.encryption", "ecb");
    let old = base().settings();
    for (key, value) in OTHERS.into_iter().chain([("reload.watch", "0s"), ("shutdown.grace", "9s")]) {
        let new = base().flag(key, value).settings();
        assert_ne!(in_force(&old), in_force(&new), "{key}");
        let mut taken = None;
        let (taken, applied, waiting) = take_up(&old, &new, &mut taken);
        let expected = if applies_live(key) { (&new, key, "") } else { (&old, "", key) };
        assert_eq!((applied.as_str(), waiting.as_str()), (expected.1, expected.2));
        assert_eq!(in_force(taken), in_force(expected.0), "{key}");
        assert_eq!(effective(taken, key).0, effective(expected.0, key).0);
        // What waits goes on waiting, and what applies does so once.
        let mut again = None;
        let (again, applied, waiting) = take_up(taken, &new, &mut again);
        assert_eq!((applied.as_str(), waiting.as_str()), ("", expected.2), "{key}");
        assert_eq!(in_force(again), in_force(taken));
        assert_eq!(again.take_up(&old).waiting, Vec::<String>::new(), "{key}: put back, it waits no longer");
        let of_api = key.starts_with("api.");
        assert_eq!((old.asks_otherwise(taken, "default"), taken.asks_otherwise(again, "default")), (of_api, false));
    }
}

#[test]
fn a_secret_is_compared_by_what_it_is_and_not_by_where_it_stands() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, two) = (at("one", "0123456789abcdef"), at("two", "0123456789abcdef\n"));
    let (low, high) = ("01".repeat(32), "02".repeat(32));
    for (key, value, other) in [
        ("api.key", "0123456789abcdef", "fedcba9876543210"),
        ("api.encryption_secret", "0123456789abcdef", "fedcba9876543210"),
        ("http.token", "0123456789abcdef", "fedcba9876543210"),
        ("database.hash_secret", &low, &high),
    ] {
        let (old, new) = (none().flag(key, value).settings(), none().flag(key, other).settings());
        let mut taken = None;
        let (now, applied, waiting) = take_up(&old, &new, &mut taken);
        let live = applies_live(key);
        assert_eq!((applied.as_str(), waiting.as_str()), if live { (key, "") } else { ("", key) });
        assert_eq!(now.differing(&new).is_empty(), live, "{key}");
        assert_eq!(now.differing(&old).is_empty(), !live, "{key}");
        // None at all is another one, too.
        assert_eq!(none().settings().take_up(&new).applied.is_empty(), !live, "{key}");
    }
    let file = |path: &str| none().flag("api.key_file", path).settings();
    let mut taken = None;
    let (_, applied, waiting) = take_up(&file(&one), &file(&two), &mut taken);
    assert_eq!((applied, waiting), Default::default());
}

#[test]
fn of_the_database_only_user_and_password_are_taken_up() {
    let old = "postgres://user:one@db:5432/kyc?sslmode=require";
    let cases = [
        ("postgres://user:two@db:5432/kyc?sslmode=require", true),
        ("postgres://another:two@db:5432/kyc?sslmode=require", true),
        ("postgres://db:5432/kyc?sslmode=require&user=another&password=two", true),
        ("postgres://user:one@db2:5432/kyc?sslmode=require", false),
        ("postgres://user:one@db:5433/kyc?sslmode=require", false),
        ("postgres://user:one@db:5432/kyb?sslmode=require", false),
        ("postgres://user:one@db:5432/kyc?sslmode=disable", false),
        ("postgres://user:one@db:5432/kyc", false),
    ];
    let with = |url: &str| none().flag("database.url", url).settings();
    for (new, live) in cases {
        let mut taken = None;
        let (_, applied, waiting) = take_up(&with(old), &with(new), &mut taken);
        let url = "database.url";
        assert_eq!((applied.as_str(), waiting.as_str()), if live { (url, "") } else { ("", url) }, "{new}");
    }
    let taken = with(old).take_up(&none().settings());
    assert_eq!(
        (taken.applied.join(" "), taken.waiting.join(" ")),
        (String::new(), "database.url database.embedded".to_owned())
    );
    assert!(!taken.settings.database.embedded && taken.settings.database.url.is_some());
}

#[test]
fn projects_come_and_go_with_a_restart_and_their_keys_change_at_once() {
    let old = Given::file("[[projects]]\nid = 'kr'\nkey = 'one'\n[[projects]]\nid = 'jp'\nkey = 'two'").settings();
    let new = "[api]\ncount = 7\n[[projects]]\nid = 'de'\nkey = 'four'\n[[projects]]\nid = 'kr'\nname = 'Korea'\nkey = 'three'";
    let new = Given::file(new).settings();
    let mut taken = None;
    let (now, applied, waiting) = take_up(&old, &new, &mut taken);
    assert_eq!(
        (applied.as_str(), waiting.as_str()),
        ("projects.kr.key projects.kr.count", "projects.kr.name projects.jp projects.de")
    );
    let shown: Vec<_> =
        now.projects.iter().map(|project| (project.id.as_str(), project.name.as_str(), project.api.count)).collect();
    assert_eq!(shown, [("kr", "kr", 7), ("jp", "jp", 100)]);
    assert!(old.asks_otherwise(now, "kr") && !old.asks_otherwise(now, "jp"));
    assert!(now.take_up(&old).waiting.is_empty(), "put back, nothing waits");

    // Another id makes it another project: its key must not be used for this one.
    let single = |id: &str, key: &str| none().flag("api.project_id", id).flag("api.key", key).settings();
    let mut taken = None;
    let (now, applied, waiting) = take_up(&single("kr", "one"), &single("jp", "two"), &mut taken);
    assert_eq!((applied.as_str(), waiting.as_str()), ("", "api.key api.project_id"));
    assert!(now.differing(&single("kr", "one")).is_empty());
    // A list in the place of [api] is another form, even of the same project.
    let mut taken = None;
    let (now, applied, waiting) = take_up(&single("kr", "one"), &old, &mut taken);
    assert_eq!((applied.as_str(), waiting.as_str()), ("", "projects"));
    assert!(now.differing(&single("kr", "one")).is_empty());
}

#[test]
fn files_are_compared_by_what_they_hold() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let key_file = path("key").to_str().unwrap().to_owned();
    let sources =
        Sources::new(Some(&path("settings.toml")), HashMap::new(), vec![("api.key_file".to_owned(), key_file)]);
    let content = || sources.read().content;
    write("settings.toml", "poll.interval = '9s'");
    write("key", MARKER);
    let first = content();
    assert!(first == content());
    write("key", "another");
    let second = content();
    assert!(first != second);
    // Replaced as editors and Kubernetes do: what counts is what is found under the name.
    write("other", MARKER);
    std::fs::rename(path("other"), path("key")).unwrap();
    assert!(first == content());
    std::fs::remove_file(path("key")).unwrap();
    assert!(first != content() && content() == content() && sources.read().settings.is_err());
    write("key", MARKER);
    write("settings.toml", "poll.interval = '9s' # a word");
    assert!(first != content());
}

#[test]
fn p7_a_file_that_has_lost_a_key_is_half_written_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let flags = vec![("poll.lookback".to_owned(), "4d".to_owned())];
    let sources = Sources::new(Some(&path), HashMap::new(), flags);
    let whole = "[poll]\nsince = 2026-01-01\nlookback = '5d'\n[erasure]\nconfirm_after = '7d'\nmode = 'hold'\n";
    write(whole);
    let in_force = sources.read().settings.unwrap();
    let said = || sources.read_again(&in_force).settings.map(drop).map_err(|error| error.to_string());

    // Cut at the end of a line, which leaves a file that can be read.
    write(whole.strip_suffix("mode = 'hold'\n").unwrap());
    let problem = said().unwrap_err();
    assert!(problem.starts_with("erasure.mode is no longer in ") && problem.contains("half written"), "{problem}");
    write("# settings\n");
    let problem = said().unwrap_err();
    assert!(problem.starts_with("poll.since, erasure.mode, erasure.confirm_after are no longer"), "{problem}");
    // What is meant is written, or given elsewhere.
    write(&whole.replace("'hold'", "'erase'").replace("lookback = '5d'\n", ""));
    assert_eq!(said(), Ok(()));
    // Who had nothing in it has nothing to lose.
    write("");
    let in_force = sources.read().settings.unwrap();
    assert!(sources.read_again(&in_force).settings.is_ok());
}
