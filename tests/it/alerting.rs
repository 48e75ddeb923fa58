//! P9: from a new Red Flag at the vendor's to a receiver, through the real Prometheus and Alertmanager with the shipped
//! files. Where these programs are not installed, this is not tried.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use argos_sync::clock::Clock;
use argos_sync::simulator::{Options, Simulator};
use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::Database;
use crate::support::daemon::{Daemon, get};
use crate::support::program::{self, Program, eventually};

/// What Alertmanager has told: the path and the message.
type Told = Arc<Mutex<Vec<(String, Value)>>>;

/// A receiver of webhooks; ends when it is dropped.
struct Receiver {
    address: SocketAddr,
    told: Told,
    serving: JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Self {
        let told = Told::default();
        let router = Router::new().fallback(take).with_state(Arc::clone(&told));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, told, serving }
    }

    /// Every alert that was told there: status, name and labels.
    fn alerts(&self, path: &str) -> Vec<(String, String, Value)> {
        let told = self.told.lock().unwrap();
        let messages = told.iter().filter(|(at, _)| at == path);
        let alerts = messages.flat_map(|(_, message)| message["alerts"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        alerts
            .map(|alert| (text(&alert["status"]), text(&alert["labels"]["alertname"]), alert["labels"].clone()))
            .collect()
    }

    /// Waits until an alert is told to compliance.
    async fn hears(&self, status: &str, name: &str, label: (&str, &str)) {
        eventually(&format!("{status} {name} {label:?}"), async || {
            let alerts = self.alerts("/compliance");
            let is =
                |alert: &&(String, String, Value)| alert.0 == status && alert.1 == name && alert.2[label.0] == label.1;
            alerts.iter().find(is).map(|_| ()).ok_or_else(|| format!("{alerts:?}"))
        })
        .await;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(told): State<Told>, uri: Uri, body: String) {
    told.lock().unwrap().push((uri.path().to_owned(), serde_json::from_str(&body).unwrap()));
}

/// A shipped file with changes; each must hit.
fn shipped(name: &str, changes: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus").join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} does not say {from}");
        text = text.replace(from, to);
    }
    text
}

/// The first of these programs that is installed.
fn installed(names: &[&str]) -> Option<String> {
    let found =
        names.iter().find(|name| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success()));
    found.map(|name| (*name).to_owned())
}

/// Where a program says that it listens.
async fn listens(program: &Program) -> SocketAddr {
    eventually("it says where it listens", async || {
        let said = program.stderr();
        let line = said.lines().find(|line| line.contains("Listening on")).ok_or_else(|| said.clone())?;
        let address = line.split_once("address=").ok_or_else(|| said.clone())?.1;
        address.split_whitespace().next().and_then(|address| address.parse().ok()).ok_or_else(|| said.clone())
    })
    .await
}

/// Prometheus, its files and its data.
struct Monitoring {
    program: String,
    directory: TempDir,
}

impl Monitoring {
    fn prepare(program: String, alertmanager: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        file("argos-sync.rules.yml", &shipped("argos-sync.rules.yml", &[]));
        let target = directory.path().join("targets.json");
        let discovery = format!("file_sd_configs: [{{files: [\"{}\"]}}]\n    unused:", target.display());
        let changes = [
            ("interval: 15s", "interval: 1s"),
            ("    static_configs:\n      # Every daemon", &format!("    {discovery}\n      # Every daemon")),
            ("127.0.0.1:9093", &alertmanager.to_string()),
        ];
        // What is discovered stands in place of the static targets.
        let text = shipped("prometheus.example.yml", &changes);
        let kept: Vec<&str> =
            text.lines().filter(|line| !line.contains("unused:") && !line.contains("127.0.0.1:9464")).collect();
        file("prometheus.yml", &kept.join("\n"));
        Self { program, directory }
    }

    /// Has a daemon scraped, under a name that its restarts do not change.
    fn scrapes(&self, daemon: &Daemon) {
        let targets = json!([{"targets": [daemon.address.to_string()], "labels": {"instance": "daemon"}}]);
        let (new, file) = (self.directory.path().join("new"), self.directory.path().join("targets.json"));
        std::fs::write(&new, targets.to_string()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    async fn start(&self) -> (Program, SocketAddr) {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let mut command = Command::new(&self.program);
        command.arg(format!("--config.file={}", path("prometheus.yml")));
        command.arg(format!("--storage.tsdb.path={}", path("data"))).arg("--web.listen-address=127.0.0.1:0");
        // What is sent before it has found Alertmanager is lost, and sent again after this; four times this without a word,
        // and Alertmanager takes an alert for over. Prometheus's default is a minute.
        command.arg("--rules.alert.resend-delay=15s");
        let program = Program::start(command);
        let address = listens(&program).await;
        (program, address)
    }
}

async fn start_daemon(vendor: &Simulator, database: &Database) -> Daemon {
    let base_url = vendor.base_url();
    Daemon::start(&[
        ("ARGOS_SYNC__API__KEY", "simulated-key"),
        ("ARGOS_SYNC__API__BASE_URL", &base_url),
        ("ARGOS_SYNC__DATABASE__URL", &database.url),
        ("ARGOS_SYNC__POLL__INTERVAL", "1s"),
        ("ARGOS_SYNC__API__REQUESTS_PER_DAY", "100000000"),
    ])
    .await
}

#[tokio::test]
async fn p9_a_new_red_flag_reaches_a_receiver_and_stays_until_it_is_acknowledged() {
    let (Some(prometheus), Some(alertmanager)) =
        (installed(&["prometheus"]), installed(&["prometheus-alertmanager", "alertmanager"]))
    else {
        eprintln!("prometheus or alertmanager is not installed: alerting was not tried from end to end");
        return;
    };
    let vendor =
        Simulator::start(Options { initial: 80, life: 0.0, ..Options::default() }, Clock::system()).await.unwrap();
    vendor.freeze();
    let database = Database::fresh().await;
    let receiver = Receiver::start().await;

    let directory = tempfile::tempdir().unwrap();
    let changes = [
        ("http://127.0.0.1:9099", &*format!("http://{}", receiver.address)),
        ("group_wait: 10s", "group_wait: 1s"),
        ("group_interval: 1m", "group_interval: 1s"),
    ];
    let config = directory.path().join("alertmanager.yml");
    std::fs::write(&config, shipped("alertmanager.example.yml", &changes)).unwrap();
    let mut command = Command::new(alertmanager);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", directory.path().join("data").display()));
    let alertmanager = Program::start({
        command.args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]);
        command
    });
    let monitoring = Monitoring::prepare(prometheus, listens(&alertmanager).await);

    // The import: its flags are open, and nobody is told of them.
    let daemon = start_daemon(&vendor, &database).await;
    eventually("the import is complete", async || {
        let sql = "select count(*) from argos.projects where import_completed_at is not null";
        if database.number(sql).await == 1 { Ok(()) } else { Err(daemon.output()) }
    })
    .await;
    assert!(database.number("select count(*) from argos.alerts where imported").await > 0);
    monitoring.scrapes(&daemon);
    let (mut running, address) = monitoring.start().await;
    eventually("the daemon's flags are scraped", async || {
        let (_, page) = get(address, "/api/v1/query?query=argos_sync_red_flags_open%3E0").await;
        if page.contains("\"instance\":\"daemon\"") { Ok(()) } else { Err(page) }
    })
    .await;
    eventually("the dead man's switch arrives", async || match receiver.alerts("/watchdog").len() {
        0 => Err(()),
        _ => Ok(()),
    })
    .await;
    assert_eq!(receiver.alerts("/compliance"), []);

    let truth = vendor.truth();
    let plain = truth.iter().filter(|item| item["aml"]["currentstatus"] != "Red Flag");
    let mut plain = plain.map(|item| item["submission_id"].as_str().unwrap().to_owned());
    let mut raise = || {
        let id = plain.next().unwrap();
        vendor.patch(&id, json!({"aml": {"currentstatus": "Red Flag", "risk_level_summary": "High"}}));
    };
    // The first, and a second one while the first waits.
    raise();
    receiver.hears("firing", "ArgosSyncRedFlagRaised", ("raised", "1")).await;
    receiver.hears("firing", "ArgosSyncUnacknowledged", ("risk", "high")).await;
    raise();
    receiver.hears("firing", "ArgosSyncRedFlagRaised", ("raised", "2")).await;

    // Across a restart of the daemon, and of Prometheus: also what comes while that is down.
    let (code, said, _) = daemon.stop().await;
    assert_eq!(code, Some(0), "{said}");
    let daemon = start_daemon(&vendor, &database).await;
    monitoring.scrapes(&daemon);
    raise();
    receiver.hears("firing", "ArgosSyncRedFlagRaised", ("raised", "3")).await;
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().await.code, Some(0));
    raise();
    eventually("the daemon has counted it", async || {
        let (_, page) = daemon.get("/metrics").await;
        let line = "argos_sync_red_flags_raised_total{project=\"default\",risk=\"high\"} 4";
        if page.contains(line) { Ok(()) } else { Err(page) }
    })
    .await;
    let (running, _) = monitoring.start().await;
    receiver.hears("firing", "ArgosSyncRedFlagRaised", ("raised", "4")).await;

    // Told once each, of what is new alone, and still open.
    let told = receiver.alerts("/compliance");
    let mut numbers: Vec<&str> = told.iter().filter_map(|(_, _, labels)| labels["raised"].as_str()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["1", "2", "3", "4"]);
    let names: BTreeSet<(&str, &str)> = told.iter().map(|(status, name, _)| (status.as_str(), name.as_str())).collect();
    assert_eq!(names, [("firing", "ArgosSyncRedFlagRaised"), ("firing", "ArgosSyncUnacknowledged")].into());

    let list = "select string_agg(alert_id::text, ' ') from argos.alerts where not imported";
    let ids = database.text(list).await.unwrap();
    let args: Vec<&str> =
        ["alerts", "ack", "--by", "kim", "--reason", "looked at"].into_iter().chain(ids.split(' ')).collect();
    let ended = program::run(program::command(&args, &vendor.base_url(), &database.url, &[])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    receiver.hears("resolved", "ArgosSyncUnacknowledged", ("risk", "high")).await;
    let (code, said, _) = daemon.stop().await;
    assert_eq!(code, Some(0), "{said}");
    drop((running, alertmanager));
}
