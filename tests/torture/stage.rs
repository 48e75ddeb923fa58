//! Plays one history.

mod evidence;
mod soak;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use argos_sync::clock::Clock;
use argos_sync::simulator::{Faults, Options, Simulator};
use chrono::TimeDelta;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::evidence::{NOTES, read_outbox};
pub use self::soak::soak;
use crate::draw::{self, Change, Deed};
use crate::judge::{self, Evidence, Violation};
use crate::report::Outcome;
use crate::server::Server;
use crate::support::process::argos_sync;
use crate::support::program::Program;
use crate::support::proxy::Proxy;
use crate::support::random::Random;

/// How long the mirror may take to become equal to the vendor once all is calm.
const CALM: Duration = Duration::from_secs(120);

/// What the mirror may need to believe a deletion, also among faults.
const SOON: Duration = Duration::from_secs(8);

/// After so long it is worth a note what is still different.
const SLOW: Duration = Duration::from_secs(15);

/// Makes another stream of numbers of a seed.
const DEEDS: u64 = 0x5eed;

/// What is done in every history, at the least.
const LEAST_DEEDS: usize = 12;

/// More lines than this in a history are a flood.
const MOST_LINES: usize = 5_000;

/// No submission.
const SPOILED: &str = r#"{"submission_id": 7, "kyc": []}"#;

const PROJECTS: [&str; 2] = ["one", "two"];

/// Between taking positions in the outbox and committing them, some time passes.
const SLOW_COMMITS: &str = "
    create function judge.linger() returns trigger language plpgsql as $$ begin
        perform pg_sleep(random() * 0.03);
        return null;
    end $$;
    create constraint trigger linger after insert on argos.outbox deferrable initially deferred
        for each row when (new.ordinal = 0) execute function judge.linger();
";

/// A commit of a page, which writes a walk, fails if its number is listed.
const FAILING_COMMITS: &str = "
    create sequence judge.commits;
    create table judge.doomed (commit bigint, sqlstate text);
    create function judge.fail() returns trigger language plpgsql as $$ declare
        this bigint := nextval('judge.commits');
        code text := (select sqlstate from judge.doomed where commit = this);
    begin
        if code = '57P01' then
            perform pg_terminate_backend(pg_backend_pid());
        elsif code is not null then
            raise exception 'this commit fails' using errcode = code;
        end if;
        return null;
    end $$;
    create constraint trigger fail after insert or update on argos.walks deferrable initially deferred
        for each row execute function judge.fail();
";

/// Everything of a history.
struct Stage<'s> {
    server: &'s mut Server,
    url: String,
    pool: PgPool,
    /// Each with the faults that it always has, and whether its lists are thin.
    vendors: Vec<(Simulator, String, bool)>,
    settings: String,
    daemons: Vec<Daemon>,
    random: Random,
    outcome: Outcome,
    removed: Vec<(usize, Value)>,
    /// What submissions were before their result changed, if nothing else has changed since.
    former: BTreeMap<String, (usize, Value)>,
    /// Vendors that show [`SPOILED`] among their submissions.
    spoiled: BTreeSet<usize>,
    number: u64,
    /// Whether the first daemon is left alone.
    spared: bool,
}

struct Daemon {
    config: PathBuf,
    proxy: Proxy,
    program: Program,
    said: String,
}

impl Daemon {
    fn start(config: &PathBuf) -> Program {
        let mut command = argos_sync();
        command.arg("run").arg("--config").arg(config);
        Program::start(command)
    }

    /// Whatever ran before is gone; what it said is kept.
    fn again(&mut self) {
        self.program.kill();
        self.said.push_str(&self.program.stderr());
        self.program = Self::start(&self.config);
    }

    /// Its memory in KiB, and how many descriptors it has.
    fn size(&self) -> Option<(u64, u64)> {
        let process = PathBuf::from(format!("/proc/{}", self.program.id()));
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let memory = memory.trim().trim_end_matches(" kB").parse().ok()?;
        Some((memory, std::fs::read_dir(process.join("fd")).ok()?.count() as u64))
    }

    fn ensure(&mut self) {
        if !self.program.runs() {
            self.again();
        }
    }
}

/// Whether something is done in the history of a seed.
pub fn does(seed: u64, deed: &str) -> bool {
    draw::deeds(Random::of(seed ^ DEEDS)).take(LEAST_DEEDS).any(|(_, drawn)| format!("{drawn:?}").contains(deed))
}

/// Plays the history of a seed.
pub async fn play(seed: u64, server: &mut Server) -> Outcome {
    let began = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(seed, server, &directory, |_| {}).await;
    stage.probed().await;
    let (stop, reader) = read_outbox(stage.pool.clone());
    let count = LEAST_DEEDS + stage.random.below(11) as usize;
    for (pause, deed) in draw::deeds(Random::of(seed ^ DEEDS)).take(count) {
        wait(pause).await;
        let (what, at) = (format!("{deed:?}"), began.elapsed().as_secs_f64());
        stage.act(deed).await;
        stage.outcome.deeds.push(format!("{what} at {at:.1} s for {:.1} s", began.elapsed().as_secs_f64() - at));
    }
    let ended = stage.settle(began).await;
    for evidence in &ended {
        stage.outcome.violations.extend(judge::judge(evidence));
        stage.count("requests", evidence.served.len());
    }
    stage.finish(began, &ended, stop, reader).await
}

impl<'s> Stage<'s> {
    async fn set(seed: u64, server: &'s mut Server, directory: &TempDir, change: impl Fn(&mut Options)) -> Self {
        let mut random = Random::of(seed);
        let url = server.database().await;
        // Terminated sessions are replaced.
        let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
        for triggers in [NOTES, FAILING_COMMITS] {
            sqlx::raw_sql(triggers).execute(&pool).await.unwrap();
        }
        if random.chance(30) {
            sqlx::raw_sql(SLOW_COMMITS).execute(&pool).await.unwrap();
        }
        let projects = if random.chance(40) { 2 } else { 1 };
        let mut vendors = Vec::new();
        for _ in 0..projects {
            let (mut options, manner) = draw::options(&mut random);
            change(&mut options);
            let thin = options.thin_lists;
            vendors.push((Simulator::start(options, Clock::system()).await.unwrap(), manner, thin));
        }
        let settings = settings(&vendors, &mut random);
        let (outcome, daemons) = (Outcome::default(), Vec::new());
        let mut stage = Self {
            server,
            url,
            pool,
            vendors,
            settings,
            daemons,
            random,
            outcome,
            removed: Vec::new(),
            former: BTreeMap::new(),
            spoiled: BTreeSet::new(),
            number: 0,
            spared: false,
        };
        for _ in 0..if stage.random.chance(35) { 2 } else { 1 } {
            stage.add_daemon(directory).await;
        }
        let manners: Vec<_> = stage.vendors.iter().map(|it| &it.1).collect();
        let setting = format!("Setting({projects} projects, {} daemons, {manners:?})", stage.daemons.len());
        stage.outcome.deeds.push(setting);
        stage
    }

    async fn add_daemon(&mut self, directory: &TempDir) {
        let proxy = Proxy::to(&self.url).await;
        let config = directory.path().join(format!("daemon-{}.toml", self.daemons.len()));
        std::fs::write(&config, self.settings.replace("DATABASE_URL", &proxy.url)).unwrap();
        let program = Daemon::start(&config);
        self.daemons.push(Daemon { config, proxy, program, said: String::new() });
    }

    /// Where lists lack fields, the first probe is not disturbed: what it has not found out it asks again an hour later.
    async fn probed(&self) {
        let began = Instant::now();
        while self.vendors.iter().any(|(_, _, thin)| *thin) && began.elapsed() < CALM {
            let sql = "select count(distinct project_id) from argos.probes";
            let probed: i64 = patiently(|| sqlx::query_scalar(sql).fetch_one(&self.pool)).await;
            if probed >= self.vendors.len() as i64 {
                break;
            }
            wait(50).await;
        }
    }

    /// All is calm until the mirror equals the vendor, and the daemons end: what there is then.
    async fn settle(&mut self, began: Instant) -> Vec<Evidence> {
        self.outcome.deeds.push(format!("Calm at {:.1} s", began.elapsed().as_secs_f64()));
        self.calm();
        let differences = self.converge().await;
        self.outcome.violations.extend(differences);
        self.outcome.deeds.push(format!("Equal at {:.1} s", began.elapsed().as_secs_f64()));
        self.end().await;
        // What was committed while the daemons ended counts, too.
        self.evidence().await
    }

    async fn finish(
        mut self,
        began: Instant,
        ended: &[Evidence],
        stop: watch::Sender<bool>,
        reader: JoinHandle<Vec<(i64, String)>>,
    ) -> Outcome {
        stop.send_replace(true);
        let (read, outbox) = (reader.await.unwrap(), self.outbox().await);
        self.outcome.violations.extend(judge::read_everything(&read, &outbox));
        for evidence in ended {
            for (name, table) in
                [("versions", "submission_versions"), ("events", "outbox"), ("erasures", "erasure_receipts")]
            {
                self.count(name, evidence.tables[table].len());
            }
        }
        self.outcome.seconds = began.elapsed().as_secs_f64();
        self.pool.close().await;
        self.server.remove(&self.url).await;
        self.outcome
    }

    fn count(&mut self, name: &'static str, by: usize) {
        *self.outcome.counts.entry(name).or_default() += by as u64;
    }

    async fn act(&mut self, deed: Deed) {
        let which = if self.spared { 1 } else { self.random.below(self.daemons.len() as u64) as usize };
        let daemon = &mut self.daemons[which];
        match deed {
            Deed::Vendor(change) => {
                if let Change::Back(true) = change {
                    if self.removed.is_empty() {
                        self.change(Change::Gone);
                    }
                    self.believed().await;
                }
                self.change(change);
            }
            Deed::Faults(faults) => {
                let which = self.random.below(self.vendors.len() as u64) as usize;
                let (vendor, manner, _) = &self.vendors[which];
                vendor.set_faults(Faults::parse(manner).unwrap().and(Faults::parse(&faults).unwrap()));
            }
            Deed::Kill(pause) => {
                daemon.program.kill();
                wait(pause).await;
                daemon.again();
            }
            Deed::Restart => {
                daemon.ensure();
                daemon.program.signal(Signal::SIGTERM);
                let ended = daemon.program.end().await;
                self.ended(ended.code, which);
                self.daemons[which].again();
            }
            Deed::Pause(pause) => {
                daemon.ensure();
                daemon.program.signal(Signal::SIGSTOP);
                wait(pause).await;
                daemon.program.signal(Signal::SIGCONT);
            }
            Deed::Terminate => self.terminate().await,
            Deed::Lock(table, pause) => {
                let mut transaction = patiently(|| self.pool.begin()).await;
                let lock = format!("lock table argos.{table} in access exclusive mode");
                if sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *transaction).await.is_ok() {
                    wait(pause).await;
                }
                let _ = transaction.rollback().await;
            }
            Deed::FailCommits(code, count) => {
                let sql = format!(
                    "insert into judge.doomed select last_value + n, '{code}' from judge.commits, generate_series(1, {count}) n"
                );
                self.execute(&sql).await;
            }
            Deed::Silence(pause) => {
                daemon.proxy.fall_silent();
                wait(pause).await;
                daemon.proxy.speak();
            }
            Deed::ReadOnly(pause) => {
                self.read_only("on").await;
                wait(pause).await;
                self.read_only("off").await;
            }
            Deed::RestartPostgres => self.server.restart().await,
            Deed::CrashPostgres => self.server.crash().await,
        }
    }

    async fn execute(&self, sql: &str) {
        patiently(|| sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool)).await;
    }

    async fn terminate(&self) {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and pid <> pg_backend_pid()";
        self.execute(sql).await;
    }

    async fn read_only(&self, on: &str) {
        self.server.read_only(&self.url, on).await;
        self.terminate().await;
    }

    /// Waits, not for ever, until the mirror has believed that who was removed last is gone.
    async fn believed(&self) {
        let Some((_, item)) = self.removed.last() else { return };
        let (began, id) = (Instant::now(), item["submission_id"].as_str().unwrap_or_default());
        let sql = "select exists (select from argos.submissions where submission_id = $1 and gone_at is not null)";
        while began.elapsed() < SOON && !patiently(|| sqlx::query_scalar(sql).bind(id).fetch_one(&self.pool)).await {
            wait(50).await;
        }
    }

    fn change(&mut self, change: Change) {
        let which = self.random.below(self.vendors.len() as u64) as usize;
        let vendor = &self.vendors[which].0;
        let mut truth = vendor.truth();
        // What is spoiled has no id by which it could be changed.
        truth.retain(|item| item["submission_id"].is_string());
        if truth.is_empty() {
            return;
        }
        let item = truth[self.random.below(truth.len() as u64) as usize].clone();
        let id = item["submission_id"].as_str().unwrap_or_default().to_owned();
        match change {
            Change::Undo => {
                if let Some((_, (which, former))) = self.former.pop_first() {
                    self.vendors[which].0.put(former);
                }
                return;
            }
            Change::Result(_) => drop(self.former.entry(id.clone()).or_insert((which, item.clone()))),
            _ => drop(self.former.remove(&id)),
        }
        if let Some(patch) = draw::patch(change, &item, &mut self.random) {
            return vendor.patch(&id, patch);
        }
        self.number += 1;
        match change {
            Change::Born | Change::Late(_) => {
                let ago = match change {
                    Change::Late(days) => TimeDelta::days(days as i64) + TimeDelta::minutes(30),
                    _ => TimeDelta::zero(),
                };
                vendor.put(json!({
                    "submission_id": format!("laid-{which}-{}", self.number),
                    "created_at": (Clock::system().now() - ago).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
                    "kyc": {"result": "approved"},
                    "email": format!("laid-{which}-{}@taint.example", self.number),
                    "data": {"full_name": format!("Taintlaid{which} Number{}", self.number), "date_of_birth": "1990-02-03"},
                }));
            }
            Change::Blanked => vendor.blank(&id),
            Change::Gone => {
                vendor.remove(&id);
                self.removed.push((which, item));
            }
            Change::Back(_) => {
                if let Some((which, item)) = self.removed.pop() {
                    self.vendors[which].0.put(item);
                }
            }
            Change::Spoiled => {
                let before = Clock::system().now() - TimeDelta::minutes(1);
                vendor.put_raw(&format!("raw-{}", self.number), before, SPOILED);
                self.spoiled.insert(which);
            }
            _ => {}
        }
    }

    /// All faults end.
    fn calm(&mut self) {
        for (vendor, manner, _) in &self.vendors {
            vendor.set_faults(Faults::parse(manner).unwrap());
            vendor.freeze();
        }
        for daemon in &mut self.daemons {
            daemon.proxy.speak();
        }
    }

    /// Waits until the mirror equals the vendor: what is still different after a long time.
    async fn converge(&mut self) -> Vec<Violation> {
        let (began, mut told) = (Instant::now(), false);
        loop {
            for which in 0..self.daemons.len() {
                // As systemd does.
                if !self.daemons[which].program.runs() {
                    let ended = self.daemons[which].program.end().await;
                    self.ended(ended.code, which);
                    self.daemons[which].again();
                }
            }
            let differences: Vec<_> = self.mirrors().await.iter().flat_map(judge::differences).collect();
            if differences.is_empty() || began.elapsed() > CALM {
                return differences;
            }
            if began.elapsed() > SLOW && !told {
                told = true;
                self.outcome.deeds.push(format!("Slow: after {SLOW:?} of calm still {differences:?}"));
            }
            wait(250).await;
        }
    }

    fn ended(&mut self, code: Option<i32>, which: usize) {
        let said = self.daemons[which].program.stderr();
        // 4 and the like: the database did not answer at the start. Before it says anything a signal just ends it.
        if (code.is_none() && !said.is_empty()) || said.contains("panicked") {
            let what = format!("a daemon ended with {code:?}");
            self.outcome.violations.push(Violation { promise: "P9", submission: String::new(), what });
        }
    }

    async fn end(&mut self) {
        for which in 0..self.daemons.len() {
            let daemon = &mut self.daemons[which];
            if daemon.program.runs() {
                daemon.program.signal(Signal::SIGTERM);
            }
            let ended = daemon.program.end().await;
            daemon.said.push_str(&ended.stderr);
            self.ended(ended.code, which);
            let said = std::mem::take(&mut self.daemons[which].said);
            if said.lines().count() > MOST_LINES || said.contains("panicked") {
                let what = format!("a daemon said {} lines, or panicked", said.lines().count());
                self.outcome.violations.push(Violation { promise: "P9", submission: String::new(), what });
            }
            self.outcome.violations.extend(judge::said(&said));
            self.outcome.said.push_str(&said);
        }
    }
}

async fn wait(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Again and again, while PostgreSQL is down or ends sessions.
async fn patiently<T, F: Future<Output = Result<T, sqlx::Error>>>(mut ask: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(60), "{error}"),
        }
        wait(20).await;
    }
}

fn settings(vendors: &[(Simulator, String, bool)], random: &mut Random) -> String {
    let mut text = format!(
        r#"[api]
count = {}
timeout = "2s"
connect_timeout = "1s"
read_timeout = "1s"
max_response_bytes = "2MiB"
retries = 2
backoff_initial = "20ms"
backoff_max = "100ms"
retry_after_max = "1500ms"
requests_per_second = 200
requests_per_day = 100_000_000
[poll]
interval = "1s"
lookback = "{}d"
open_interval = "1s"
sweep_interval = "1s"
canary_interval = "4s"
[erasure]
confirm_after = "1s"
[database]
url = "DATABASE_URL"
connect_timeout = "2s"
statement_timeout = "1500ms"
[lease]
ttl = "2s"
[http]
listen = "127.0.0.1:0"
[log]
format = "json"
[shutdown]
grace = "5s"
"#,
        random.between(4, 12),
        random.between(1, 3),
    );
    for ((vendor, _, _), project) in vendors.iter().zip(PROJECTS) {
        text.push_str(&format!(
            "[[projects]]\nid = \"{project}\"\nkey = \"simulated-key\"\nbase_url = \"{}\"\n",
            vendor.base_url()
        ));
    }
    text
}
