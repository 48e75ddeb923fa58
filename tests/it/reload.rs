//! Settings that change while `run` is at work: on SIGHUP and when a file holds something else. What is broken changes
//! nothing.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use argos_sync::clock::Clock;
use argos_sync::domain::lane::Lane;
use argos_sync::simulator::{Faults, Options, Simulator};
use argos_sync::store::database::options;
use argos_sync::sync::engine::Engine;
use argos_sync::sync::error::SyncError;
use argos_sync::sync::plan::{Errand, Target};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::ConnectOptions;
use tempfile::TempDir;

use crate::support::daemon::Daemon;
use crate::support::program::{Program, eventually};
use crate::support::world::settings;
use crate::support::{Database, World};

const MARKER: &str = "s3cr3t-th4t-must-not-show";
const KEY: &str = "simulated-key";

/// A daemon whose settings all come from files.
struct Place {
    vendor: Simulator,
    database: Database,
    directory: TempDir,
}

impl Place {
    async fn new(initial: u64) -> Self {
        let vendor = Simulator::start(Options { initial, ..Options::default() }, Clock::system()).await.unwrap();
        vendor.freeze();
        let place = Self { vendor, database: Database::fresh().await, directory: tempfile::tempdir().unwrap() };
        place.write("key", KEY);
        place.write("url", &place.database.url);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a new file in the old one's place.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Writes the settings file: what every test needs, and some lines of its own.
    fn settings(&self, lines: &[&str]) {
        let (base_url, key, url) = (self.vendor.base_url(), self.path("key"), self.path("url"));
        let text = format!(
            "api.base_url = '{base_url}'\napi.key_file = '{}'\napi.backoff_initial = '1ms'\napi.backoff_max = '5ms'\n\
             api.requests_per_second = 1000\ndatabase.url_file = '{}'\nlog.format = 'text'\n{}\n",
            key.display(),
            url.display(),
            lines.join("\n")
        );
        self.write("settings.toml", &text);
    }

    async fn daemon(&self, lines: &[&str]) -> Running<'_> {
        self.settings(lines);
        let file = self.path("settings.toml");
        Running { place: self, daemon: Daemon::start(&[("ARGOS_SYNC_CONFIG", file.to_str().unwrap())]).await }
    }

    fn hot_walks(&self) -> usize {
        self.vendor.requests().iter().filter(|request| request.query.contains("start_date")).count()
    }
}

struct Running<'p> {
    place: &'p Place,
    daemon: Daemon,
}

impl Running<'_> {
    fn hang_up(&self) {
        kill(Pid::from_raw(self.daemon.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
    }

    async fn says(&self, text: &str) {
        self.says_times(text, 1).await;
    }

    async fn says_times(&self, text: &str, times: usize) {
        eventually(&format!("it says {text:?}"), async || match self.daemon.output() {
            said if said.matches(text).count() >= times => Ok(()),
            said => Err(said),
        })
        .await;
    }

    /// The line that holds this.
    fn line(&self, text: &str) -> String {
        let said = self.daemon.output();
        said.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text} is not in {said}")).to_owned()
    }

    async fn shows(&self, metric: &str) {
        eventually(metric, async || match self.daemon.get("/metrics").await.1 {
            page if page.lines().any(|line| line == metric) => Ok(()),
            _ => Err(self.daemon.output()),
        })
        .await;
    }

    /// It has nothing to do until its next poll.
    async fn rests(&self, interval: u64) {
        self.shows(&format!("argos_sync_poll_interval_seconds{{project=\"default\"}} {interval}")).await;
    }

    async fn polls(&self, times: usize) {
        let before = self.place.hot_walks();
        eventually("it polls", async || match self.place.hot_walks() {
            enough if enough >= before + times => Ok(()),
            few => Err((few, self.daemon.output())),
        })
        .await;
    }

    /// It was this one process all the time, and it has told no secret.
    async fn ends_well(self) -> String {
        let (code, said, _) = self.daemon.stop().await;
        assert_eq!(code, Some(0), "{said}");
        for never in [MARKER, KEY, "panicked"] {
            assert!(!said.contains(never), "{never}: {said}");
        }
        said
    }
}

const SUCCESSFUL: &str = "argos_sync_config_last_reload_successful";
const RESTART_NEEDED: &str = "argos_sync_config_restart_needed";

#[tokio::test]
async fn sighup_changes_how_often_the_vendor_is_asked() {
    let place = Place::new(20).await;
    let only_signals = "reload.watch = '0s'";
    let daemon = place.daemon(&[only_signals, "poll.interval = '1h'"]).await;
    daemon.rests(3600).await;
    daemon.shows(&format!("{SUCCESSFUL} 1")).await;

    place.settings(&[only_signals, "poll.interval = '1s'"]);
    daemon.hang_up();
    daemon.hang_up();
    daemon.polls(3).await;
    daemon.rests(1).await;
    let line = daemon.line("changed settings are in force");
    assert!(line.contains("SIGHUP") && line.contains("keys=\"poll.interval\""), "{line}");

    // Nothing has changed: that is said, too.
    let told = "nothing new is in force";
    let before = daemon.daemon.output().matches(told).count();
    daemon.hang_up();
    daemon.says_times(told, before + 1).await;
    let said = daemon.ends_well().await;
    assert_eq!(said.matches("changed settings are in force").count(), 1, "{said}");
}

#[tokio::test]
async fn a_file_that_changes_is_taken_up_without_a_signal() {
    let place = Place::new(20).await;
    let watched = "reload.watch = '1s'";
    let daemon = place.daemon(&[watched, "poll.interval = '1h'"]).await;
    daemon.rests(3600).await;
    // A word that means nothing is no reload.
    place.settings(&[watched, "poll.interval = '1h' # as ever"]);
    place.settings(&[watched, "poll.interval = '1s' # more often"]);
    daemon.says("changed settings are in force").await;
    daemon.polls(3).await;
    let line = daemon.line("changed settings are in force");
    assert!(line.contains("a file has changed") && line.contains("keys=\"poll.interval\""), "{line}");
    // From now on only a signal counts; and that is taken up itself.
    place.settings(&["reload.watch = '0s'", "poll.interval = '1s'"]);
    daemon.says("keys=\"reload.watch\"").await;
    daemon.ends_well().await;
}

#[tokio::test]
async fn what_decides_over_data_is_told_with_both_values() {
    let place = Place::new(5).await;
    let daemon = place.daemon(&["reload.watch = '1s'", "erasure.mode = 'hold'", "retention.versions = '90d'"]).await;
    place.settings(&["reload.watch = '1s'", "erasure.mode = 'erase'", "retention.versions = '30d'"]);
    daemon.says("changed settings are in force").await;
    for told in
        ["key=\"erasure.mode\" old=\"hold\" new=\"erase\"", "key=\"retention.versions\" old=\"90d\" new=\"30d\""]
    {
        let line = daemon.line(told);
        assert!(line.contains("WARN"), "{line}");
    }
    daemon.ends_well().await;
}

#[tokio::test]
async fn a_rotated_key_is_taken_up_without_a_restart() {
    let place = Place::new(20).await;
    let daemon = place.daemon(&["reload.watch = '1s'", "poll.interval = '1s'", "api.requests_per_day = 100000"]).await;
    daemon.says("lane=\"backfill\" complete=true").await;
    place.vendor.set_api_key(MARKER);
    daemon.says("kind=\"key_refused\"").await;

    // Now it waits for five minutes; the key makes it ask at once.
    let asked = place.vendor.requests().len();
    place.write("key", MARKER);
    daemon.polls(2).await;
    assert!(place.vendor.requests()[asked..].iter().all(|request| request.key_ok));
    daemon.says("known submissions answer").await;
    assert!(daemon.line("changed settings are in force").contains("keys=\"api.key\""));
    daemon.shows("argos_sync_other_project{project=\"default\"} 0").await;
    daemon.shows("argos_sync_leader{project=\"default\"} 1").await;
    let database = &place.database;
    assert_eq!(database.number("select epoch from argos.leases").await, 1, "the lease was kept");
    assert_eq!(database.number("select reserved from argos.request_budget").await, 1000, "and the permits");
    assert_eq!(database.number("select count(*) from argos.submissions").await, 20);
    daemon.ends_well().await;
}

#[tokio::test]
async fn p9_what_is_broken_changes_nothing_and_is_told_once() {
    let place = Place::new(20).await;
    let sound = ["reload.watch = '1s'", "poll.interval = '1s'"];
    let daemon = place.daemon(&sound).await;
    daemon.polls(1).await;
    let told = "those from before stay in force";
    let broken = async |times: usize, problem: &str| {
        daemon.says_times(told, times).await;
        daemon.says(problem).await;
        daemon.shows(&format!("{SUCCESSFUL} 0")).await;
        // Several looks go by meanwhile.
        daemon.polls(3).await;
        assert_eq!(daemon.daemon.output().matches(told).count(), times, "{}", daemon.daemon.output());
    };
    let mended = async |times: usize| {
        daemon.shows(&format!("{SUCCESSFUL} 1")).await;
        daemon.says_times("nothing new is in force", times).await;
    };

    // Half written, or by somebody who does not know TOML.
    place.settings(&[sound[0], &format!("poll.interval = '5h'\napi.key = '{MARKER}")]);
    broken(1, "is not valid TOML: see line").await;
    assert!(daemon.line(told).contains("ERROR"));
    // Another mistake is told, too; the sound value beside it is not taken up.
    place.settings(&[sound[0], "poll.interval = '5h'", "retention.batch = 0", "pol.interval = '1s'"]);
    broken(2, "retention.batch").await;
    assert!(daemon.line("retention.batch").contains("did you mean \"poll.interval\"?"));
    place.settings(&sound);
    mended(1).await;

    std::fs::write(place.path("key"), "").unwrap();
    broken(3, "is empty").await;
    place.write("key", KEY);
    mended(2).await;
    std::fs::remove_file(place.path("settings.toml")).unwrap();
    broken(4, "cannot read the settings file").await;
    place.settings(&sound);
    mended(3).await;
    std::fs::write(place.path("settings.toml"), "").unwrap();
    broken(5, "which may be half written").await;
    // A key that answers cannot be decrypted with is found before anything is put in force.
    place.settings(&[sound[0], sound[1], "api.encryption = 'gcm'", "api.encryption_key = 'hex'"]);
    broken(6, "the key to decrypt answers with cannot be made").await;

    // Who asks by a signal is answered, also if it is the same as before.
    daemon.hang_up();
    daemon.says_times(told, 7).await;
    place.settings(&sound);
    mended(4).await;
    let said = daemon.ends_well().await;
    assert!(!said.contains("changed settings are in force"), "{said}");
}

#[tokio::test]
async fn what_waits_for_a_restart_is_named_and_the_rest_applies() {
    let place = Place::new(20).await;
    let common = "reload.watch = '0s'";
    let daemon = place.daemon(&[common, "poll.interval = '1h'"]).await;
    daemon.rests(3600).await;
    daemon.shows(&format!("{RESTART_NEEDED} 0")).await;
    place.settings(&[common, "poll.interval = '1s'", "database.max_connections = 3", "http.status_page = false"]);
    daemon.hang_up();
    daemon.rests(1).await;
    daemon.says("wait for a restart").await;
    let line = daemon.line("wait for a restart");
    assert!(line.contains("WARN") && line.contains("keys=\"database.max_connections, http.status_page\""), "{line}");
    daemon.shows(&format!("{RESTART_NEEDED} 1")).await;
    daemon.shows(&format!("{SUCCESSFUL} 1")).await;
    assert_ne!(daemon.daemon.get("/").await.0, 404, "the page is still there");
    // Put back, nothing waits.
    place.settings(&[common, "poll.interval = '1s'"]);
    daemon.hang_up();
    daemon.shows(&format!("{RESTART_NEEDED} 0")).await;
    daemon.ends_well().await;
}

#[tokio::test]
async fn the_log_level_is_taken_up() {
    let place = Place::new(20).await;
    let common = ["reload.watch = '0s'", "poll.interval = '1s'"];
    place.vendor.set_faults(Faults::parse("status-500=0.5").unwrap());
    let daemon = place.daemon(&common).await;
    daemon.polls(3).await;
    let debug = "the request is tried again";
    assert!(!daemon.daemon.output().contains(debug));
    place.settings(&[common[0], common[1], "log.level = 'debug'"]);
    daemon.hang_up();
    daemon.says(debug).await;
    place.settings(&[common[0], common[1], "log.level = 'error'"]);
    daemon.hang_up();
    eventually("it falls silent", async || {
        let before = daemon.daemon.output();
        daemon.polls(2).await;
        if daemon.daemon.output() == before { Ok(()) } else { Err(daemon.daemon.output()) }
    })
    .await;
    daemon.ends_well().await;
}

#[tokio::test]
async fn p8_another_budget_counts_today() {
    let place = Place::new(60).await;
    let common = ["reload.watch = '0s'", "api.count = 10"];
    let daemon = place.daemon(&[common[0], common[1], "api.requests_per_day = 5"]).await;
    eventually("the day is spent", async || match place.vendor.requests().len() {
        5 => Ok(()),
        other => Err((other, daemon.daemon.output())),
    })
    .await;
    place.settings(&[common[0], common[1], "api.requests_per_day = 100000"]);
    daemon.hang_up();
    eventually("everything is read", async || {
        match place.database.number("select count(*) from argos.submissions").await {
            60 => Ok(()),
            few => Err((few, daemon.daemon.output())),
        }
    })
    .await;
    daemon.ends_well().await;
}

#[tokio::test]
async fn new_connections_are_made_with_the_databases_new_credentials() {
    let place = Place::new(20).await;
    let role = |name: &str| format!("argos_reload_{}_{name}", std::process::id());
    let url =
        |role: &str| options(&place.database.url).unwrap().username(role).password(MARKER).to_url_lossy().to_string();
    let (one, two) = (role("one"), role("two"));
    for role in [&one, &two] {
        place.database.execute(&format!("create role {role} superuser login password '{MARKER}'")).await;
    }
    place.write("url", &url(&one));
    // Who cannot write for a while lets others lead for twice lease.ttl.
    let quick = ["lease.ttl = '2s'", "database.statement_timeout = '2s'"];
    let daemon = place.daemon(&["reload.watch = '1s'", "poll.interval = '1s'", quick[0], quick[1]]).await;
    daemon.polls(2).await;
    let connected = async |role: &str| {
        let sql = format!("select count(*) from pg_stat_activity where usename = '{role}'");
        place.database.number(&sql).await
    };
    assert!(connected(&one).await > 0);

    // The server lets the old one in no longer. What is open goes on; a new connection fails, and the daemon reports.
    place.database.execute(&format!("alter role {one} nologin")).await;
    assert!(connected(&one).await > 0);
    place.write("url", &url(&two));
    daemon.says("keys=\"database.url\"").await;
    place
        .database
        .execute(&format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{one}'"))
        .await;
    eventually("it is connected as the other", async || match (connected(&one).await, connected(&two).await) {
        (0, 1..) => Ok(()),
        other => Err((other, daemon.daemon.output())),
    })
    .await;
    daemon.polls(3).await;
    // Another database is not changed to under way.
    place.write("url", &url(&two).replace("argos_test_", "argos_other_"));
    daemon.says("wait for a restart").await;
    daemon.shows(&format!("{RESTART_NEEDED} 1")).await;
    daemon.ends_well().await;
    let drop =
        |role: &str| format!("reassign owned by {role} to current_user; drop owned by {role}; drop role {role};");
    place.database.execute(&(drop(&one) + &drop(&two))).await;
}

#[tokio::test]
async fn sighup_ends_nothing_while_the_database_is_waited_for() {
    let place = Place::new(20).await;
    place.write("url", &format!("postgres://user:{MARKER}@127.0.0.1:1/none"));
    let daemon = place.daemon(&["reload.watch = '0s'"]).await;
    daemon.says("waiting for the database").await;
    daemon.hang_up();
    daemon.says("nothing new is in force").await;
    daemon.ends_well().await;
}

/// A terminal that closes is a SIGHUP, too; nobody wants to have a daemon left by that.
#[tokio::test]
async fn a_daemon_ends_with_its_terminal() {
    let place = Place::new(20).await;
    place.settings(&["http.enabled = false", "poll.interval = '1h'"]);
    let mut terminal = Command::new("script");
    // Without the shell that `script` puts between: it may have been told to ignore SIGHUP, as under nohup.
    let program = env!("CARGO_BIN_EXE_argos-sync");
    let run = format!("exec '{program}' run --config '{}'", place.path("settings.toml").display());
    terminal.args(["--quiet", "--return", "--command", &run, "/dev/null"]).env_clear().stdin(Stdio::null());
    let mut terminal = Program::start(terminal);
    let leads = async |wanted: bool| {
        eventually("the lease", async || match place.database.text("select max(holder) from argos.leases").await {
            holder if holder.is_some() == wanted => Ok(()),
            other => Err(other),
        })
        .await;
    };
    leads(true).await;
    let holder = place.database.text("select max(holder) from argos.leases").await.unwrap();
    let process = std::path::Path::new("/proc").join(holder.rsplit_once(':').unwrap().1);
    terminal.kill();
    eventually("its end", async || match std::fs::read_to_string(process.join("status")) {
        Err(_) => Ok(()),
        // Who reaps it is not ours to say.
        Ok(status) if status.contains("State:\tZ") => Ok(()),
        Ok(status) => Err(status),
    })
    .await;
    // Given back: it has come to its end in the usual way.
    leads(false).await;
}

// ----------------------------------------------------------------------------------------------------- engine

/// Puts other settings in force.
async fn reload(world: &World, engine: &mut Engine, base_url: &str, changes: &[(&str, &str)]) {
    let new = settings(base_url, &world.database.url, changes);
    engine.reload(Arc::new(new)).await.unwrap();
}

const EVERYTHING: Errand = Errand { lane: Lane::Once, target: Target::Days(None) };

#[tokio::test]
async fn a_walk_goes_on_under_a_new_key_of_the_same_project() {
    let world =
        World::with(Options { initial: 100, ..Options::default() }, &[("api.count", "10")], Clock::system()).await;
    let mut engine = world.engine().await;
    for _ in 0..4 {
        assert!(engine.go_on(EVERYTHING).await.unwrap().is_none());
    }
    world.simulator.set_api_key("new-key");
    let base_url = world.simulator.base_url();
    reload(&world, &mut engine, &base_url, &[("api.count", "10"), ("api.key", "new-key")]).await;
    let report = engine.to_end(EVERYTHING).await.unwrap();
    assert!(report.complete);
    assert_eq!(world.database.number("select count(*) from argos.submissions").await, 100);
    assert_eq!(world.database.number("select pages from argos.walks where lane = 'once'").await, 10);
    let by_id = |query: &str| query.contains("submission_id=");
    let pages = world.simulator.requests().iter().filter(|request| request.key_ok && !by_id(&request.query)).count();
    assert_eq!(pages, 10, "no page was read twice");

    // Somewhere else is somewhere else: the walk starts over, if the submissions are there at all.
    let other =
        Simulator::start(Options { initial: 100, seed: 2, ..Options::default() }, Clock::system()).await.unwrap();
    reload(&world, &mut engine, &other.base_url(), &[("api.count", "10")]).await;
    let error = engine.go_on(EVERYTHING).await.unwrap_err();
    assert!(matches!(error, SyncError::OtherProject { asked: 5, same: 0 }), "{error:?}");
    assert_eq!(world.database.number("select count(*) from argos.submissions").await, 100);
    // The right one again.
    reload(&world, &mut engine, &base_url, &[("api.count", "10"), ("api.key", "new-key")]).await;
    assert_eq!(engine.to_end(EVERYTHING).await.unwrap().counts.unchanged, 100);
}

#[tokio::test]
async fn p8_a_smaller_budget_takes_back_what_was_reserved() {
    let world = World::with(
        Options { initial: 20, ..Options::default() },
        &[("api.requests_per_day", "100000")],
        Clock::system(),
    )
    .await;
    let mut engine = world.engine().await;
    engine.hot().await.unwrap();
    let reserved = async || world.database.number("select reserved from argos.request_budget").await;
    assert_eq!(reserved().await, 1000);
    let asked = world.simulator.requests().len();
    reload(&world, &mut engine, &world.simulator.base_url(), &[("api.requests_per_day", "7")]).await;
    assert_eq!(reserved().await, asked as i64);
    let error = loop {
        if let Err(error) = engine.hot().await {
            break error;
        }
    };
    assert!(matches!(error, SyncError::Api(_)) && error.kind() == "budget_spent", "{error:?}");
    assert_eq!((reserved().await, world.simulator.requests().len()), (7, 7));
}

#[tokio::test]
async fn the_page_size_follows_the_settings_unless_it_had_to_be_made_smaller() {
    let world =
        World::with(Options { initial: 200, ..Options::default() }, &[("api.count", "20")], Clock::system()).await;
    let mut engine = world.engine().await;
    let base_url = world.simulator.base_url();
    for count in ["50", "10"] {
        reload(&world, &mut engine, &base_url, &[("api.count", count)]).await;
        assert!(engine.go_on(EVERYTHING).await.unwrap().is_none());
        let query = world.simulator.requests().last().unwrap().query.clone();
        assert!(query.contains(&format!("count={count}")), "{query}");
    }
    reload(&world, &mut engine, &base_url, &[("api.count", "40")]).await;
    world.simulator.set_faults(Faults::parse("status-413=1").unwrap());
    for count in ["40", "500"] {
        reload(&world, &mut engine, &base_url, &[("api.count", count)]).await;
        assert!(engine.go_on(EVERYTHING).await.unwrap().is_none());
        let query = world.simulator.requests().last().unwrap().query.clone();
        assert!(query.contains("count=20"), "{query}");
    }
}
