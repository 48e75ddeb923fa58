//! What each value must be.

use std::time::Duration;

use super::*;

/// One wrong value, and its sentence.
#[track_caller]
fn refused(key: &str, value: &str, sentence: &str) {
    none().flag(key, value).fails_with(&[&sentence.replace('@', &format!("flag --set {key}"))]);
}

#[test]
fn lengths_of_time_need_a_unit() {
    Given::file("[poll]\ninterval = 30")
        .fails_with(&["poll.interval = \"30\" (FILE) needs a unit: write 30s for seconds"]);
    none()
        .env("ARGOS_SYNC__LEASE__TTL", "20")
        .fails_with(&["lease.ttl = \"20\" (ARGOS_SYNC__LEASE__TTL) needs a unit: write 20s for seconds"]);
    refused("poll.interval", "999ms", "poll.interval = \"999ms\" (@) must be at least 1s");
    refused("poll.open_interval", "999ms", "poll.open_interval = \"999ms\" (@) must be at least 1s");
    refused("poll.sweep_interval", "1ms", "poll.sweep_interval = \"1ms\" (@) must be at least 1s");
    refused("lease.ttl", "1ms", "lease.ttl = \"1ms\" (@) must be at least 1s");
    refused("reload.watch", "999ms", "reload.watch = \"999ms\" (@) must be at least 1s");
    assert_eq!(none().flag("reload.watch", "0s").settings().reload.watch, None);
    refused("api.timeout", "0s", "api.timeout = \"0s\" (@) must be longer than nothing");
    refused("shutdown.grace", "4000d", "shutdown.grace = \"4000d\" (@) must not be longer than 3650d");
    for text in ["soon", "", "-5s", "-5", "nan", "5 parsecs", "99999999999999999999y"] {
        let sentence = "api.read_timeout = \"VALUE\" (@) is not a length of time: \
                        write a number and a unit, such as 30s, 5m or 3d";
        refused("api.read_timeout", text, &sentence.replace("VALUE", text));
    }
    for key in ["retention.outbox", "retention.versions"] {
        for text in ["30m", "23h 59m"] {
            refused(key, text, &format!("{key} = \"{text}\" (@) must be at least 1d"));
        }
        refused(key, "90", &format!("{key} = \"90\" (@) needs a unit: write 90s for seconds"));
    }
    let retention = none().flag("retention.outbox", "24h").flag("retention.versions", "1y").settings().retention;
    assert_eq!(retention.outbox, Some(Duration::from_secs(86400)));
    assert!(retention.versions.is_some_and(|versions| versions > Duration::from_secs(365 * 86400)));
    for text in ["36h", "1h", "1d 1ms"] {
        let sentence = "poll.lookback = \"VALUE\" (@) must be whole days, at least 1d";
        refused("poll.lookback", text, &sentence.replace("VALUE", text));
    }
    assert_eq!(none().flag("poll.lookback", "48h").settings().poll.lookback, Duration::from_secs(2 * 86400));
}

#[test]
fn numbers_and_words_are_held_to_their_range() {
    for text in ["0", "2001", "1.5", "yes", "-1", ""] {
        let sentence = "api.count = \"VALUE\" (@) must be a whole number from 1 to 2000";
        refused("api.count", text, &sentence.replace("VALUE", text));
    }
    Given::file("api.count = 99.9").fails_with(&["api.count = \"99.9\" (FILE) must be a whole number from 1 to 2000"]);
    Given::file("api.count = [1]").fails_with(&["api.count (FILE) must be a single value"]);
    refused("retention.batch", "0", "retention.batch = \"0\" (@) must be a whole number from 1 to 100000");
    refused("limits.item_depth", "101", "limits.item_depth = \"101\" (@) must be a whole number from 1 to 100");
    for text in ["0", "nan", "inf", "-1", "many"] {
        let sentence = "api.requests_per_second = \"VALUE\" (@) must be a number from 0.001 to 1000000";
        refused("api.requests_per_second", text, &sentence.replace("VALUE", text));
    }
    let size = "limits.item_bytes = \"1 MB\" (@) is not a size: \
                write a number of bytes, or one with KiB, MiB or GiB, such as 32MiB";
    refused("limits.item_bytes", "1 MB", size);
    refused("limits.item_bytes", "99999999999GiB", &size.replace("1 MB", "99999999999GiB"));
    refused("limits.item_bytes", "0KiB", "limits.item_bytes = \"0KiB\" (@) must be at least 1");
    assert_eq!(none().flag("limits.item_bytes", "64 KiB").settings().limits.item_bytes, 64 << 10);
    assert_eq!(none().flag("limits.item_bytes", "4096").settings().limits.item_bytes, 4096);
    refused("api.dialect", "v4", "api.dialect = \"v4\" (@) must be \"idcheck\" or \"v3\"");
    refused("api.parameters", "Query", "api.parameters = \"Query\" (@) must be \"query\" or \"body\"");
    refused("events.import", "all", "events.import = \"all\" (@) must be \"each\" or \"summary\"");
    refused("log.format", "xml", "log.format = \"xml\" (@) must be \"auto\" or \"text\" or \"json\"");
    refused("database.migrate", "1", "database.migrate = \"1\" (@) must be true or false");
    refused("poll.since", "20240131", "poll.since = \"20240131\" (@) is not a day: write it as 2024-01-31");
    refused("poll.since", "2023-02-29", "poll.since = \"2023-02-29\" (@) is not a day: write it as 2024-01-31");
    assert_eq!(Given::file("poll.since = 2024-02-29").settings().poll.since.unwrap().to_string(), "2024-02-29");
    refused(
        "http.listen",
        "localhost:1",
        "http.listen = \"localhost:1\" (@) must be an address and a port, such as 127.0.0.1:9464",
    );
    refused("lease.holder", "", "lease.holder = \"\" (@) must not be empty");
    refused("lease.holder", "a\nb", "lease.holder (@) must not hold control characters");
    let long = "x".repeat(65);
    for (text, shown) in [("A", " = \"A\""), ("a:b", " = \"a:b\""), ("", " = \"\""), (long.as_str(), "")] {
        let sentence = format!("api.project_id{shown} (@) must be 1 to 64 of a-z, 0-9, \"_\" and \"-\"");
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
    for text in ["warn", "OFF", "info,sqlx=warn", "argos_sync=debug, info", "info,[walk{project=kr}]=trace"] {
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
        ("example.com/v3", "api.base_url (@) is not a URL such as https://rest-api.argosidentity.com/v3"),
        (
            "https://user:s3cr3t-M4RK3R@example.com",
            "api.base_url (@) must not hold a user name or password: the API takes only its key",
        ),
        (
            "https://user:s3cr3t-M4RK3R@exa mple",
            "api.base_url (@) is not a URL such as https://rest-api.argosidentity.com/v3",
        ),
        ("https://example.com/v3?key=s3cr3t-M4RK3R", "api.base_url (@) must end with its path: no \"?\" and no \"#\""),
    ];
    for (url, sentence) in refusals {
        let problems = none().flag("api.base_url", url).load().unwrap_err();
        assert_eq!(problems, [sentence.replace('@', "flag --set api.base_url")], "{url}");
    }
    let accepted = [
        ("https://example.com/v3/", "https://example.com/v3"),
        ("https://example.com", "https://example.com/"),
        ("http://127.9.9.9:8080/v3//", "http://127.9.9.9:8080/v3"),
        ("http://[::1]:80/v3", "http://[::1]/v3"),
        ("http://LOCALHOST/v3", "http://localhost/v3"),
    ];
    for (url, shown) in accepted {
        assert_eq!(none().flag("api.base_url", url).settings().projects[0].api.base_url.as_str(), shown);
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
        .fails_with(&["lease.ttl = \"1\" (flag --set lease.ttl) needs a unit: write 1s for seconds"]);
}

#[test]
fn a_database_url_switches_the_private_one_off() {
    let settings = none().env("ARGOS_SYNC__DATABASE__URL", "postgres://u:p@h/d").settings();
    assert!(!settings.database.embedded);
    assert_eq!(effective(&settings, "database.embedded"), ("false", "database.url is set"));
    none().flag("database.embedded", "true").flag("database.url", "postgres://u:p@h/d").fails_with(&[
        "database.embedded (flag --set database.embedded) is true although there is a database.url: keep one of the two",
    ]);
    none().flag("database.embedded", "false").fails_with(&[
        "database.embedded (flag --set database.embedded) is false and there is no database: let database.url_file \
         (ARGOS_SYNC__DATABASE__URL_FILE) name a file that holds postgres://user:password@host:5432/database",
    ]);
}
