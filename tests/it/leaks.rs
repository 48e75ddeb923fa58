//! P11: no personal data, no key and no password where they do not belong.
//!
//! The simulator's people carry markers (`Taintname7`, `taint7@example.com`, `TAINT-ID-7`). What the program writes is
//! searched for them, at the most talkative settings and with everything going wrong.

use std::process::Stdio;

use argos_sync::clock::Clock;
use argos_sync::simulator::{Faults, Options, Simulator};
use sqlx::ConnectOptions;

use crate::support::Database;
use crate::support::daemon::{Daemon, ask, eventually};
use crate::support::process::argos_sync;

const KEY: &str = "k3y-th4t-must-not-show";
const PASSWORD: &str = "p4ssw0rd-th4t-must-not-show";
const TOKEN: &str = "t0ken-th4t-must-not-show";
const CIPHER: &str = "c1pher-th4t-must-not-show";
const HASH: &str = "5ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7e75ec7";
const SECRETS: [&str; 5] = [KEY, PASSWORD, TOKEN, CIPHER, HASH];

/// Fails if a text holds a marker or a secret; shows the line.
#[track_caller]
fn assert_clean(what: &str, text: &str) {
    for line in text.lines() {
        let lower = line.to_lowercase();
        let clean = !lower.contains("taint") && !SECRETS.iter().any(|secret| lower.contains(secret));
        assert!(clean, "{what} leaks: {line}");
        assert!(!lower.contains("panicked"), "{what}: {line}");
    }
}

/// The database under a role of its own whose password is known here.
async fn with_password(database: &Database) -> (String, String) {
    use std::str::FromStr;
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let role = format!("argos_leaks_{}_{number}", std::process::id());
    let sql = format!("create role {role} superuser login password '{PASSWORD}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
    let options = sqlx::postgres::PgConnectOptions::from_str(&database.url).unwrap();
    (options.username(&role).password(PASSWORD).to_url_lossy().to_string(), role)
}

async fn drop_role(database: &Database, role: &str) {
    let sql = format!("reassign owned by {role} to current_user; drop owned by {role}; drop role {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
}

/// What goes wrong, and at which point it must have shown in the metrics.
const FAULTS: &[&str] = &[
    "bad-item,null-chars,huge-number,retyped,duplicates",
    "html-200",
    "error-200",
    "message-200",
    "truncated-json",
    "reset",
    "encrypted",
    "wrong-content-type,status-500=0.5",
    "status-401",
    "forbidden-key",
    "forbidden-address",
    "wrong-dates-nothing",
    "repeat-key",
    "cycle-key",
    "retry-after-seconds=1",
    "empty",
];

async fn simulator() -> Simulator {
    let options = Options { initial: 150, api_key: KEY.to_owned(), rate: 20.0, life: 0.001, ..Options::default() };
    Simulator::start(options, Clock::system()).await.unwrap()
}

fn environment<'a>(base_url: &'a str, database_url: &'a str, format: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("ARGOS_SYNC__API__KEY", KEY),
        ("ARGOS_SYNC__API__BASE_URL", base_url),
        ("ARGOS_SYNC__API__RETRIES", "1"),
        ("ARGOS_SYNC__API__BACKOFF_INITIAL", "1ms"),
        ("ARGOS_SYNC__API__REQUESTS_PER_SECOND", "1000"),
        ("ARGOS_SYNC__API__REQUESTS_PER_DAY", "100000000"),
        ("ARGOS_SYNC__API__COUNT", "50"),
        ("ARGOS_SYNC__API__ENCRYPTION", "cbc-prefixed-iv"),
        ("ARGOS_SYNC__API__ENCRYPTION_SECRET", CIPHER),
        ("ARGOS_SYNC__DATABASE__URL", database_url),
        ("ARGOS_SYNC__DATABASE__HASH_SECRET", HASH),
        ("ARGOS_SYNC__HTTP__TOKEN", TOKEN),
        ("ARGOS_SYNC__POLL__INTERVAL", "1s"),
        ("ARGOS_SYNC__LOG__LEVEL", "trace"),
        ("ARGOS_SYNC__LOG__FORMAT", format),
    ]
}

/// What the tables show that consumers and operators read without a right to personal data.
async fn check_tables(database: &Database) {
    for (what, sql) in [
        ("outbox", "select string_agg(to_jsonb(o)::text, E'\\n') from argos.outbox o"),
        (
            "quarantine",
            "select string_agg(to_jsonb(q)::text, E'\\n') from (select reason, detail, lane, view from argos.quarantine) q",
        ),
        (
            "changed",
            "select string_agg(to_jsonb(v)::text, E'\\n') from (select changed, cause from argos.submission_versions) v",
        ),
        ("alerts", "select string_agg(to_jsonb(a)::text, E'\\n') from argos.alerts a"),
        ("counters", "select string_agg(to_jsonb(c)::text, E'\\n') from argos.counters c"),
    ] {
        let text = database.text(sql).await.unwrap_or_default();
        assert!(what == "quarantine" || !text.is_empty(), "{what} is empty: nothing was tried");
        assert_clean(what, &text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_the_daemon_says_nothing_personal() {
    for format in ["json", "text"] {
        let simulator = simulator().await;
        let database = Database::fresh().await;
        let (url, role) = with_password(&database).await;
        let base_url = simulator.base_url();
        let daemon = Daemon::start(&environment(&base_url, &url, format)).await;
        let passes = async || {
            let (_, page) = daemon.get("/metrics").await;
            let lines = page.lines().filter(|line| line.starts_with("argos_sync_passes_total{lane=\"hot\""));
            lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum::<f64>()
        };
        eventually("the first pass", async || passes().await >= 1.0).await;
        // A fault that only a person can mend makes the daemon wait for minutes: those are for `once`, below.
        for fault in ["bad-item,null-chars,huge-number,retyped,duplicates", "html-200", "truncated-json", "reset"] {
            simulator.set_faults(Faults::parse(fault).unwrap());
            let before = passes().await;
            eventually(fault, async || passes().await >= before + 2.0).await;
        }
        simulator.set_faults(Faults::default());
        // The database breaks off in the middle.
        let kill = format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(kill)).execute(&database.pool).await.unwrap();
        sqlx::raw_sql("alter table argos.submissions rename to elsewhere").execute(&database.pool).await.unwrap();
        let failed =
            async || daemon.get("/metrics").await.1.contains("argos_sync_database_errors_total{project=\"default\"} ");
        assert!(failed().await);
        eventually("an error of the database", async || daemon.output().contains("42P01")).await;
        sqlx::raw_sql("alter table argos.elsewhere rename to submissions").execute(&database.pool).await.unwrap();
        let before = passes().await;
        eventually("it goes on", async || passes().await >= before + 1.0).await;

        for path in ["/metrics", "/livez", "/readyz", "/", "/?project=other", "/nothing"] {
            assert_clean(path, &daemon.get(path).await.1);
        }
        let known = format!("authorization: Bearer {TOKEN}\r\n");
        for (path, expected) in [("/", 200), ("/?project=other", 404), ("/?project=a&project=b", 400)] {
            let (status, page) = ask(daemon.address, path, &known).await;
            assert_eq!(status, expected, "{page}");
            assert_clean(path, &page);
        }
        let arguments = std::fs::read(format!("/proc/{}/cmdline", daemon.id())).unwrap();
        assert_clean("ps", &String::from_utf8_lossy(&arguments));
        let (code, said, _) = daemon.stop().await;
        assert_eq!(code, Some(0));
        // It did speak: of each pass, of the lease, of what failed.
        for word in ["this process is the writer", "the request is tried again", "not a list of submissions", "42P01"] {
            assert!(said.contains(word), "{word} is missing in {said}");
        }
        assert!(said.lines().filter(|line| line.contains("unchanged")).count() >= 3, "one line per pass: {said}");
        assert_clean(format, &said);
        check_tables(&database).await;
        drop_role(&database, &role).await;
    }
}

/// A command's standard output and error.
async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (String, String) {
    let mut command = argos_sync();
    command.args(arguments).envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_commands_that_fail_say_nothing_personal() {
    let simulator = simulator().await;
    let base_url = simulator.base_url();
    let database = Database::fresh().await;
    let (url, role) = with_password(&database).await;
    for (number, fault) in FAULTS.iter().enumerate() {
        let format = if number % 2 == 0 { "json" } else { "text" };
        let environment = environment(&base_url, &url, format);
        simulator.set_faults(Faults::parse(fault).unwrap());
        let (out, err) = run(&["once"], &environment).await;
        assert_clean(&format!("once with {fault}"), &format!("{out}{err}"));
        // What `get` prints on purpose is personal; what it says when it fails is not.
        let (_, err) = run(&["get", "--email", "taint7@example.com"], &environment).await;
        assert_clean(&format!("get with {fault}"), &err);
        let (out, err) = run(&["doctor"], &environment).await;
        assert_clean(&format!("doctor with {fault}"), &format!("{out}{err}"));
    }
    simulator.set_faults(Faults::default());
    check_tables(&database).await;
    drop_role(&database, &role).await;
}

/// Every command but those that are hunted above, and the ones that bring a simulator with settings of its own.
const COMMANDS: &[&[&str]] = &[
    &["once", "--json"],
    &["once", "--dry-run"],
    &["backfill"],
    &["refresh", "ID"],
    &["plan"],
    &["migrate"],
    &["erasure", "list"],
    &["erasure", "release"],
    &["erasure", "accept-key"],
    &["erasure", "receipts", "export"],
    &["status"],
    &["status", "--json"],
    &["explain", "ID"],
    &["explain", "ID", "--json"],
    &["alerts", "list"],
    &["alerts", "list", "--all", "--json"],
    &["alerts", "ack", "--all-imported", "--by", "a", "--reason", "b"],
    &["find-cipher"],
    &["doctor", "--settings"],
    &["doctor", "--json"],
    &["restored", "--yes"],
    &["no-such-command"],
];
const HUNTED_ABOVE: [&str; 2] = ["run", "get"];
const OF_THE_SIMULATOR: [&str; 2] = ["demo", "simulate"];

#[tokio::test(flavor = "multi_thread")]
async fn p11_no_command_says_anything_personal() {
    let (help, _) = run(&["--help"], &[]).await;
    let listed = help.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| !line.is_empty());
    // What a command does goes on in lines that are indented further.
    let names = listed.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    for name in names.map(|line| line.split(' ').next().unwrap()).filter(|name| *name != "help") {
        let hunted = COMMANDS.iter().any(|command| command[0] == name);
        assert!(hunted || [HUNTED_ABOVE, OF_THE_SIMULATOR].concat().contains(&name), "nobody hunts in {name}");
    }

    let simulator =
        Simulator::start(Options { initial: 20, api_key: KEY.to_owned(), ..Options::default() }, Clock::system())
            .await
            .unwrap();
    let base_url = simulator.base_url();
    let database = Database::fresh().await;
    let (url, role) = with_password(&database).await;
    let environment = environment(&base_url, &url, "text");
    run(&["once"], &environment).await;
    let id = database.text("select min(submission_id) from argos.submissions").await.unwrap();
    for (case, fault, sql) in [
        ("all is well", "", ""),
        ("a vendor that refuses", "forbidden-key", ""),
        ("a database that breaks", "", "alter table argos.submissions rename to elsewhere"),
    ] {
        simulator.set_faults(Faults::parse(fault).unwrap());
        database.execute(sql).await;
        for command in COMMANDS {
            let arguments: Vec<&str> = command.iter().map(|word| if *word == "ID" { &id } else { *word }).collect();
            let (out, err) = run(&arguments, &environment).await;
            assert!(command[0] == "erasure" || !format!("{out}{err}").is_empty(), "{command:?} with {case}");
            assert_clean(&format!("{command:?} with {case}"), &format!("{out}{err}"));
        }
    }
    drop_role(&database, &role).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_a_database_that_quotes_values_is_not_repeated() {
    let simulator = simulator().await;
    let base_url = simulator.base_url();
    // PostgreSQL's messages, and those of somebody's triggers, may quote what was to be written.
    let cases = [
        (
            "a trigger",
            "create function argos.shout() returns trigger language plpgsql as
                 $$ begin raise exception 'no entry for %', new.item; end $$;
             create trigger shout before insert on argos.submissions for each row execute function argos.shout();",
        ),
        (
            "a warning",
            "create function argos.shout() returns trigger language plpgsql as
                 $$ begin raise warning 'this is %', new.item; raise notice 'and %', new.item; return new; end $$;
             create trigger shout before insert on argos.submissions for each row execute function argos.shout();",
        ),
        ("another type", "alter table argos.submissions alter column cf1 type integer using null"),
        ("a constraint", "alter table argos.submissions add constraint c check (email is null)"),
        ("an index", "create unique index u on argos.submissions (gender)"),
        ("another type in the outbox", "alter table argos.outbox alter column submission_id type date using null"),
        ("another type of cursor", "alter table argos.walks alter column cursor_id type integer using null"),
    ];
    for (number, (name, sql)) in cases.into_iter().enumerate() {
        let database = Database::fresh().await;
        sqlx::raw_sql(sql).execute(&database.pool).await.unwrap();
        let format = if number % 2 == 0 { "json" } else { "text" };
        let (out, err) = run(&["once"], &environment(&base_url, &database.url, format)).await;
        assert!(!err.is_empty(), "{name}: it speaks");
        assert_clean(name, &format!("{out}{err}"));
        for submission in simulator.truth() {
            let id = submission["submission_id"].as_str().unwrap();
            assert!(!err.contains(id), "{name}: {err}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_a_refused_password_is_not_repeated() {
    let database = Database::fresh().await;
    let options = {
        use std::str::FromStr;
        sqlx::postgres::PgConnectOptions::from_str(&database.url).unwrap()
    };
    let wrong = options.username("nobody_of_this_name").password(PASSWORD).to_url_lossy().to_string();
    for url in [
        wrong.as_str(),
        &format!("postgres://u:{PASSWORD}@127.0.0.1:1/d"),
        &format!("postgres://u:{PASSWORD}@[bad/d"),
        &format!("postgres://u@127.0.0.1:1/d?pasword={PASSWORD}"),
        &format!("postgres://u:{PASSWORD}@h:{PASSWORD}/d"),
    ] {
        let mut environment = environment("http://127.0.0.1:1/v3", url, "json");
        environment.push(("ARGOS_SYNC__DATABASE__CONNECT_TIMEOUT", "1s"));
        for command in ["once", "doctor", "migrate"] {
            let (out, err) = run(&[command], &environment).await;
            assert!(!err.is_empty() || !out.is_empty());
            assert_clean(&format!("{command} {url}"), &format!("{out}{err}"));
        }
    }
}
