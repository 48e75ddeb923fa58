//! P9: from the fault to the alert. Each alert fires when its fault really happens to the daemon's engine, and none fires
//! before: what a scrape has, minute by minute, is given to the shipped rules, in Prometheus's own engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use argos_sync::app::App;
use argos_sync::clock::{Clock, Timestamp};
use argos_sync::simulator::{Faults, Options, Simulator};
use argos_sync::store::database::options as options_of;
use argos_sync::sync::engine::{Engine, Turn};
use argos_sync::sync::error::SyncError;
use chrono::{TimeDelta, TimeZone, Utc};
use serde_json::{Value, json};
use sqlx::ConnectOptions;

use crate::alert_rules::alerts;
use crate::support::World;
use crate::support::world::settings;

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/argos-sync.rules.yml");

/// Minutes before the first scrape: the rules' clock begins at 0, and what they compare with it must not be before. Times
/// before that are as good as its beginning.
const BEFORE: usize = 4 * 60;

/// Minutes after which the import is over and nothing has changed for a while.
const SETTLED: usize = 90;

/// How often the newest days are read, and what the loop waits after most errors.
const INTERVAL: TimeDelta = TimeDelta::minutes(5);

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// A daemon that is scraped every minute.
struct Watch {
    world: World,
    engine: Engine,
    /// When the next turn is.
    wake: Timestamp,
    /// What each scrape had: value by series.
    scrapes: Vec<BTreeMap<String, f64>>,
    /// See [`BEFORE`].
    before: usize,
    /// The alerts that fire, in which minute.
    expected: Vec<(usize, Vec<&'static str>)>,
}

fn options() -> Options {
    // All of them are read by the hot lane.
    Options { initial: 60, history: Duration::from_secs(36 * 3600), ..Options::default() }
}

/// Some of them are not.
fn older() -> Options {
    Options { history: Duration::from_secs(20 * 86_400), ..options() }
}

impl Watch {
    async fn new(options: Options, changes: &[(&str, &str)]) -> Self {
        let clock = Clock::manual(Utc.with_ymd_and_hms(2026, 3, 10, 0, 0, 0).unwrap());
        let changes = [&[("poll.interval", "5m")], changes].concat();
        let world = World::with(options, &changes, clock).await;
        world.simulator.freeze();
        // Nobody waits for a decision yet.
        for item in world.simulator.truth().iter().filter(|item| item["kyc"]["result"] == "pending") {
            world.simulator.patch(id(item), json!({"kyc": {"result": "approved"}}));
        }
        let engine = world.engine().await;
        Self { wake: world.app.clock.now(), world, engine, scrapes: Vec::new(), before: BEFORE, expected: Vec::new() }
    }

    /// One that is well, for which no alert fires.
    async fn settled(changes: &[(&str, &str)]) -> Self {
        let mut watch = Self::new(options(), changes).await;
        watch.pass(SETTLED).await;
        watch.fire(&[]);
        watch
    }

    /// Lets minutes pass, as the daemon's loop does.
    async fn pass(&mut self, minutes: usize) {
        let clock = self.world.app.clock.clone();
        for _ in 0..minutes {
            let next = clock.now() + MINUTE;
            while clock.now() < next {
                if self.wake <= clock.now() {
                    let rest = match self.engine.turn().await {
                        Ok(Turn::Rest(until)) => until - clock.now(),
                        Ok(Turn::Went | Turn::Ended(_)) => TimeDelta::milliseconds(100),
                        Err(SyncError::Store(_)) => TimeDelta::seconds(10),
                        Err(_) => INTERVAL,
                    };
                    self.engine.prune_when_due().await;
                    self.wake = clock.now() + rest;
                }
                clock.advance(self.wake.min(next) - clock.now());
            }
            self.scrape();
        }
    }

    fn scrape(&mut self) {
        let page = self.world.app.metrics.encode().unwrap();
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        let mut scrape: BTreeMap<String, f64> = lines.map(sample).collect();
        scrape.insert("up".to_owned(), 1.0);
        self.scrapes.push(scrape);
    }

    /// Nobody answers Prometheus.
    fn down(&mut self, minutes: usize) {
        let failed = BTreeMap::from([("up".to_owned(), 0.0)]);
        self.scrapes.extend(std::iter::repeat_n(failed, minutes));
        self.world.app.clock.advance(MINUTE * i32::try_from(minutes).unwrap());
    }

    /// Exactly these alerts fire now, besides the one that always does.
    fn fire(&mut self, alerts: &[&'static str]) {
        self.expected.push((self.scrapes.len() - 1, alerts.to_vec()));
    }

    fn fault(&self, faults: &str) {
        self.world.simulator.set_faults(Faults::parse(faults).unwrap());
    }

    /// The daemon is started anew with other settings, perhaps on another vendor.
    async fn restart(&mut self, base_url: &str, changes: &[(&str, &str)]) {
        self.engine.release().await.unwrap();
        let changes = [&[("poll.interval", "5m")], changes].concat();
        let settings = settings(base_url, &self.world.database.url, &changes);
        self.world.app = App::open(settings, self.world.app.clock.clone()).await.unwrap();
        self.engine = self.world.engine().await;
        self.engine.show_counts().await.unwrap();
    }

    /// The first submission of which this is true.
    fn find(&self, wanted: impl Fn(&Value) -> bool) -> String {
        let all = self.world.simulator.truth();
        id(all.iter().find(|item| wanted(item)).expect("there is one")).to_owned()
    }

    /// Asks Prometheus's engine.
    fn judge(self) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fired.test.yml");
        std::fs::write(&file, self.test()).unwrap();
        let output = Command::new("promtool").args(["test", "rules"]).arg(&file).output();
        let output = output.expect("promtool is installed: it comes with prometheus");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
    }

    /// The scrapes as promtool takes them.
    fn test(&self) -> String {
        let mut text = format!(
            "rule_files: [\"{RULES}\"]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n"
        );
        let rules = std::fs::read_to_string(RULES).unwrap();
        let first = self.world.app.clock.now() - MINUTE * i32::try_from(self.scrapes.len() - 1).unwrap();
        let shift = (self.before as i64 * 60 - first.timestamp()) as f64;
        let names: BTreeSet<&String> = self.scrapes.iter().flat_map(BTreeMap::keys).collect();
        for series in names {
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            if !rules.contains(name) {
                continue;
            }
            let mut values = format!("_x{}", self.before);
            for scrape in &self.scrapes {
                match scrape.get(series) {
                    Some(value) if name.ends_with("_timestamp_seconds") && *value > 0.0 => {
                        write!(values, " {}", (value + shift).max(1.0)).unwrap();
                    }
                    Some(value) => write!(values, " {value}").unwrap(),
                    None => values.push_str(" _"),
                }
            }
            writeln!(
                text,
                "      - series: '{name}{{job=\"argos-sync\",instance=\"a\",{labels}'\n        values: '{values}'"
            )
            .unwrap();
        }
        text.push_str("    promql_expr_test:\n");
        for (minute, alerts) in &self.expected {
            let firing = r#"group by (alertname) (ALERTS{alertstate="firing", alertname!="ArgosSyncDeadMansSwitch"})"#;
            writeln!(text, "      - expr: '{firing}'\n        eval_time: {}m", self.before + minute).unwrap();
            let samples = alerts.iter().map(|alert| format!("{{labels: '{{alertname=\"{alert}\"}}', value: 1}}"));
            writeln!(text, "        exp_samples: [{}]", samples.collect::<Vec<_>>().join(", ")).unwrap();
        }
        text
    }
}

fn id(item: &Value) -> &str {
    item["submission_id"].as_str().unwrap()
}

#[test]
fn every_alert_has_its_fault() {
    let (alerts, tests) = (alerts(), include_str!("fired.rs"));
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in alerts {
        // One fires always, and what the other goes by is shown of the real process in `reload`.
        let elsewhere = ["ArgosSyncDeadMansSwitch", "ArgosSyncReloadFailed"].contains(&alert.as_str());
        assert!(
            elsewhere || tests.contains(&format!("&[\"{alert}\"")) || tests.contains(&format!(", \"{alert}\"")),
            "{alert}"
        );
    }
}

#[tokio::test]
async fn p9_what_compliance_must_know() {
    let mut watch = Watch::settled(&[]).await;
    let simulator = &watch.world.simulator;
    let approved = |item: &Value| item["kyc"]["result"] == "approved" && item["aml"]["currentstatus"] != "Red Flag";
    let flagged = watch.find(approved);
    simulator.patch(&flagged, json!({"aml": {"currentstatus": "Red Flag", "risk_level_summary": "LOW"}}));
    watch.pass(6).await;
    watch.fire(&["ArgosSyncRedFlagRaised", "ArgosSyncUnacknowledged"]);

    let acknowledged = "update argos.alerts set acknowledged_at = now(), acknowledged_by = 'a', reason = 'r'";
    watch.world.database.execute(acknowledged).await;
    watch.pass(20).await;
    watch.fire(&[]);

    watch.world.simulator.patch(&flagged, json!({"aml": {"risk_level_summary": "HIGH"}}));
    watch.pass(6).await;
    watch.fire(&["ArgosSyncRedFlagEscalated", "ArgosSyncUnacknowledged"]);
    watch.world.database.execute(acknowledged).await;
    watch.pass(20).await;

    let revoked = watch.find(approved);
    watch.world.simulator.patch(&revoked, json!({"kyc": {"result": "rejected", "commentCode": ["other"]}}));
    watch.pass(6).await;
    watch.fire(&["ArgosSyncApprovalRevoked", "ArgosSyncUnacknowledged"]);
    watch.world.database.execute(acknowledged).await;
    watch.pass(20).await;
    watch.fire(&[]);
    watch.judge();
}

#[tokio::test]
async fn p9_an_unknown_status_and_one_that_is_pending_for_days() {
    let mut watch = Watch::settled(&[]).await;
    watch.before = 3 * 24 * 60;
    let unlike = watch.find(|item| item["aml"]["currentstatus"] != "Red Flag");
    watch.world.simulator.patch(&unlike, json!({"aml": {"currentstatus": "Amber Flag"}}));
    watch.pass(10).await;
    watch.fire(&["ArgosSyncDrift", "ArgosSyncUnknownAmlStatus"]);
    watch.world.simulator.patch(&unlike, json!({"aml": {"currentstatus": "Not Screened"}}));
    let since = watch.world.app.clock.now() - TimeDelta::days(2) + TimeDelta::minutes(30);
    let pending =
        json!({"kyc": {"result": "pending"}, "pending_at": since.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()});
    watch.world.simulator.patch(&unlike, pending);
    watch.pass(20).await;
    watch.fire(&["ArgosSyncDrift"]);
    watch.pass(60).await;
    watch.fire(&["ArgosSyncPendingTooLong"]);
    watch.judge();
}

#[tokio::test]
async fn p9_reading_that_fails() {
    let mut watch = Watch::new(older(), &[("poll.sweep_interval", "1h"), ("poll.open_interval", "30m")]).await;
    watch.pass(240).await;
    watch.fire(&[]);
    watch.fault("status-500");
    watch.pass(60).await;
    watch.fire(&["ArgosSyncStalled"]);
    watch.pass(360).await;
    watch.fire(&["ArgosSyncLaneTooOld", "ArgosSyncStalled"]);
    watch.fault("");
    watch.pass(90).await;
    watch.fire(&[]);
    watch.judge();
}

#[tokio::test]
async fn p9_an_import_that_gets_stuck() {
    let mut watch = Watch::new(older(), &[("api.count", "5")]).await;
    while watch.world.simulator.requests().len() < 12 {
        watch.engine.turn().await.unwrap();
    }
    watch.fault("status-500");
    watch.pass(150).await;
    watch.fire(&["ArgosSyncImportStuck", "ArgosSyncStalled"]);
    watch.fault("");
    watch.pass(90).await;
    watch.fire(&[]);
    watch.judge();
}

#[tokio::test]
async fn p9_a_budget_that_is_too_small_or_spent() {
    let mut watch = Watch::settled(&[]).await;
    let vendor = watch.world.simulator.base_url();
    watch.restart(&vendor, &[("api.requests_per_day", "250")]).await;
    watch.pass(60).await;
    watch.fire(&["ArgosSyncBudgetShort"]);
    // Fewer than were asked today.
    watch.restart(&vendor, &[("api.requests_per_day", "10")]).await;
    watch.pass(30).await;
    watch.fire(&["ArgosSyncBudgetShort", "ArgosSyncBudgetSpent"]);
    watch.judge();
}

#[tokio::test]
async fn p9_a_vendor_that_refuses_or_shows_nothing() {
    let mut watch = Watch::settled(&[]).await;
    for (fault, alert) in [
        ("forbidden-key", "ArgosSyncKeyRefused"),
        ("forbidden-address", "ArgosSyncAddressRefused"),
        ("empty", "ArgosSyncEmptyList"),
    ] {
        watch.fault(fault);
        watch.pass(10).await;
        watch.fire(&[alert]);
        watch.fault("");
        watch.pass(30).await;
        watch.fire(&[]);
    }
    watch.judge();
}

#[tokio::test]
async fn p9_a_key_of_another_project() {
    let mut watch = Watch::settled(&[]).await;
    let other = Simulator::start(Options { seed: 99, ..options() }, watch.world.app.clock.clone()).await.unwrap();
    watch.restart(&other.base_url(), &[]).await;
    watch.pass(10).await;
    watch.fire(&["ArgosSyncOtherProject"]);
    watch.judge();
}

#[tokio::test]
async fn p9_a_vendor_that_changes_its_ways() {
    // Enough of them, with lives of days, for the first probe to be sure of it.
    let many = Options { initial: 720, history: Duration::from_secs(16 * 86_400), life: 5.0, ..options() };
    let mut watch = Watch::new(many, &[]).await;
    watch.pass(SETTLED).await;
    watch.engine.probe().await.unwrap();
    watch.fault("ignore-dates");
    watch.engine.probe().await.unwrap();
    watch.pass(10).await;
    watch.fire(&["ArgosSyncModeChanged"]);
    watch.judge();
}

#[tokio::test]
async fn p9_items_that_cannot_be_used_and_names_that_nobody_knows() {
    let mut watch = Watch::settled(&[]).await;
    watch.fault("bad-item");
    watch.pass(10).await;
    watch.fire(&["ArgosSyncDrift", "ArgosSyncQuarantine"]);
    watch.fault("");
    watch.pass(90).await;
    watch.fire(&[]);
    let someone = watch.find(|_| true);
    watch.world.simulator.patch(&someone, json!({"newfangled": 1}));
    watch.pass(10).await;
    watch.fire(&["ArgosSyncDrift"]);
    watch.judge();
}

#[tokio::test]
async fn p9_many_deletions_at_once_and_a_mirror_that_differs() {
    let mut watch = Watch::settled(&[("erasure.max_count", "5"), ("poll.canary_interval", "10m")]).await;
    watch.world.database.execute("update argos.submissions set kyc_result = 'approved', email = 'by hand'").await;
    watch.pass(30).await;
    watch.fire(&["ArgosSyncDivergence"]);
    for item in watch.world.simulator.truth().iter().take(10) {
        watch.world.simulator.remove(id(item));
    }
    watch.pass(60).await;
    watch.fire(&["ArgosSyncDivergence", "ArgosSyncMassVanish"]);
    watch.judge();
}

#[tokio::test]
async fn p9_a_database_that_refuses_and_a_process_that_is_gone() {
    let mut watch = Watch::settled(&[]).await;
    let refuse = async |watch: &Watch, allowed: bool| {
        let database = watch.world.database.text("select current_database()").await.unwrap();
        let elsewhere = options_of(&watch.world.database.url).unwrap().database("postgres");
        let mut elsewhere = elsewhere.connect().await.unwrap();
        let sql = format!("alter database {database} allow_connections {allowed}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut elsewhere).await.unwrap();
        let others = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                       where datname = current_database() and pid <> pg_backend_pid() and application_name = 'argos-sync'";
        watch.world.database.number(others).await;
    };
    refuse(&watch, false).await;
    watch.pass(6).await;
    watch.fire(&["ArgosSyncDatabaseUnreachable", "ArgosSyncNoLeader"]);
    refuse(&watch, true).await;
    watch.pass(10).await;
    watch.fire(&[]);
    watch.down(15);
    watch.fire(&["ArgosSyncDown", "ArgosSyncNoLeader"]);
    watch.judge();
}

#[tokio::test]
async fn p9_what_grows_and_is_not_removed() {
    let mut watch = Watch::settled(&[("retention.outbox", "1d")]).await;
    watch.world.database.execute("update argos.outbox set recorded_at = recorded_at - interval '2 days'").await;
    let refuse = "create function argos.refuse() returns trigger language plpgsql as
                  $$begin raise exception 'permission denied' using errcode = '42501'; end$$;
                  create trigger refuse before delete on argos.outbox execute function argos.refuse()";
    sqlx::raw_sql(refuse).execute(&watch.world.database.pool).await.unwrap();
    watch.pass(20).await;
    watch.fire(&["ArgosSyncPruningFails"]);
    // As if ten million had been written since the oldest that is there.
    watch.world.database.execute("update argos.outbox_counter set last_position = last_position + 10000000").await;
    watch.pass(20).await;
    watch.fire(&["ArgosSyncOutboxGrowing", "ArgosSyncPruningFails"]);
    watch.judge();
}
