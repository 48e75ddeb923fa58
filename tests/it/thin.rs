//! Lists may lack what matters: attempts, screenings, `updated_at`. Then submissions are read by id, too, and every list
//! is read again as pages of request_type=aml. See docs/modes.md.

use std::collections::BTreeMap;
use std::time::Duration;

use argos_sync::clock::{Clock, Timestamp};
use argos_sync::simulator::{Faults, Options};
use argos_sync::sync::engine::{Engine, Turn};
use chrono::TimeDelta;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::program::{self, Program, eventually};
use crate::support::rows::{counter, submission, written};
use crate::support::verbatim::noon;
use crate::support::{Database, World, assert_valid_events};

const DAY: u64 = 86_400;

const SUBMISSIONS: i64 = 60;

/// Submissions of the last 60 days whose lives are over, in lists of ten that lack what matters.
fn options() -> Options {
    let history = Duration::from_secs(60 * DAY);
    Options { initial: SUBMISSIONS as u64, history, life: 0.001, count_max: 10, thin_lists: true, ..Options::default() }
}

const SETTINGS: [(&str, &str); 6] = [
    ("api.count", "10"),
    ("api.requests_per_day", "20000"),
    ("poll.interval", "5m"),
    ("poll.open_interval", "1h"),
    ("poll.sweep_interval", "1h"),
    ("poll.canary_interval", "30d"),
];

struct Thin {
    world: World,
    clock: Clock,
    engine: Engine,
}

impl Thin {
    async fn new(options: Options) -> Self {
        let clock = Clock::manual(noon());
        let world = World::with(options, &SETTINGS, clock.clone()).await;
        let engine = world.engine().await;
        Self { world, clock, engine }
    }

    fn database(&self) -> &Database {
        &self.world.database
    }

    /// One turn, and its time; a rest ends at `end` at the latest.
    async fn turn(&mut self, end: Timestamp) {
        let before = self.clock.now();
        let time = match self.engine.turn().await.unwrap() {
            Turn::Went | Turn::Ended(_) => TimeDelta::milliseconds(300),
            Turn::Rest(until) => (until.min(end) - before).max(TimeDelta::milliseconds(1)),
        };
        self.clock.advance(time);
        if self.clock.now().date_naive() != before.date_naive() {
            // The budget's day is the database's, and there the night has not passed.
            self.database().execute("delete from argos.request_budget").await;
        }
    }

    async fn until(&mut self, end: Timestamp) {
        while self.clock.now() < end {
            self.turn(end).await;
        }
    }

    /// Turns until a query counts something; not longer than so many rounds of the sweep.
    async fn until_counted(&mut self, rounds: u32, sql: &str) {
        let sweep = self.engine.forecast().await.unwrap().sweep.unwrap();
        let end = self.clock.now() + TimeDelta::from_std(sweep.every * rounds).unwrap();
        while self.database().number(sql).await == 0 {
            assert!(self.clock.now() < end, "not within {rounds} rounds: {sql}");
            self.turn(end).await;
        }
    }

    async fn imported(&self) -> bool {
        let sql = "select count(*) from argos.projects where import_completed_at is not null";
        self.database().number(sql).await > 0
    }

    async fn waiting(&self) -> i64 {
        self.database().number("select count(*) from argos.id_reads").await
    }

    /// The import, and the submissions that it queued.
    async fn import(&mut self) {
        while !self.imported().await || self.waiting().await > 0 {
            self.turn(Timestamp::MAX_UTC).await;
        }
    }

    /// An old approval without a flag.
    fn old_approval(&self) -> String {
        let items = self.world.simulator.truth().into_iter();
        let plain =
            items.filter(|item| item["kyc"]["result"] == "approved" && item["aml"]["currentstatus"] == "Not Screened");
        let oldest = plain.min_by_key(|item| item["created_at"].as_str().unwrap().to_owned()).unwrap();
        oldest["submission_id"].as_str().unwrap().to_owned()
    }

    fn raise_flag(&self, id: &str) {
        let updated_at = self.clock.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let aml = json!({"currentstatus": "Red Flag", "risk_level_summary": "High"});
        self.world.simulator.patch(id, json!({"aml": aml, "updated_at": updated_at}));
    }

    fn screenings_asked(&self) -> usize {
        self.world.simulator.requests().iter().filter(|request| request.query.contains("request_type=aml")).count()
    }

    async fn assert_equal(&self) {
        assert_equal(&self.world).await;
    }

    /// What was found out about pages of screenings.
    async fn aml_pages(&self) -> Option<String> {
        self.database().text("select value #>> '{}' from argos.probes where fact = 'aml_pages'").await
    }

    /// What the metric says of it.
    fn aml_pages_disagree(&self) -> bool {
        let page = self.world.app.metrics.encode().unwrap();
        let gauge = |line: &&str| line.starts_with("argos_sync_probe_disagreement{fact=\"aml_pages\"");
        page.lines().find(gauge).unwrap().ends_with(" 1")
    }

    fn faults(&self, faults: &str) {
        self.world.simulator.set_faults(Faults::parse(faults).unwrap());
    }
}

async fn assert_equal(world: &World) {
    let items: Vec<Value> = sqlx::query_scalar("select item from argos.submissions where gone_at is null")
        .fetch_all(&world.database.pool)
        .await
        .unwrap();
    let (mirrored, truth) = (by_id(items), by_id(world.simulator.truth()));
    assert_eq!(mirrored.len(), truth.len());
    for (id, item) in &truth {
        assert_eq!(&mirrored[id], item, "{id}");
    }
}

/// Items by id, without links, which expire, and nulls.
fn by_id(items: Vec<Value>) -> BTreeMap<String, Value> {
    fn comparable(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map
                    .into_iter()
                    .filter(|(name, value)| !matches!(name.as_str(), "image" | "selfieImage") && !value.is_null());
                Value::Object(kept.map(|(name, value)| (name, comparable(value))).collect())
            }
            Value::Array(list) => Value::Array(list.into_iter().map(comparable).collect()),
            other => other,
        }
    }
    let id = |item: &Value| item["submission_id"].as_str().unwrap().to_owned();
    items.into_iter().map(|item| (id(&item), comparable(item))).collect()
}

#[tokio::test]
async fn p1_p7_an_import_of_thin_lists_brings_what_they_lack_and_a_second_round_writes_nothing() {
    let mut thin = Thin::new(options()).await;
    thin.import().await;
    thin.assert_equal().await;
    let truth = thin.world.simulator.truth();
    let updated = truth.iter().filter(|item| item["updated_at"].is_string()).count();
    let columns = "select count(updated_at) from argos.submissions";
    assert!(updated > 30);
    assert_eq!(thin.database().number(columns).await, updated as i64);
    let attempts: usize = truth.iter().filter_map(|item| item["kyc"]["attempts"].as_array()).map(Vec::len).sum();
    assert!(attempts > 50);
    assert_eq!(thin.database().number("select count(*) from argos.attempts").await, attempts as i64);
    let told =
        "select count(*) from argos.outbox where type not in ('submission.imported', 'project.import_completed')";
    assert_eq!(thin.database().number(told).await, 0, "what is as old as the submission is no news");
    let standing = thin.database().number("select count(*) from argos.alerts where imported").await;
    assert_eq!(standing, counter(thin.database(), "red_flags_open").await);
    assert!(standing > 0);
    assert_eq!(thin.database().number("select count(*) from argos.alerts where not imported").await, 0);
    assert_valid_events(&thin.database().pool).await;

    let before = written(thin.database()).await;
    let asked = thin.screenings_asked();
    let sweep = thin.engine.forecast().await.unwrap().sweep.unwrap();
    thin.until(thin.clock.now() + TimeDelta::from_std(sweep.every * 2).unwrap()).await;
    assert!(thin.screenings_asked() > asked + 10, "everything was read again, screenings too");
    assert_eq!(written(thin.database()).await, before);
    assert_eq!(thin.waiting().await, 0);
    assert_eq!(thin.database().number("select count(*) from argos.erasures").await, 0);
    let suspected = "select count(*) from argos.walks where lane = 'verify'";
    assert_eq!(thin.database().number(suspected).await, 0, "pages of screenings are no lists");
}

#[tokio::test]
async fn p1_a_late_red_flag_is_seen_in_time_although_lists_carry_no_aml() {
    let mut thin = Thin::new(options()).await;
    thin.import().await;
    let sweep = thin.engine.forecast().await.unwrap().sweep.unwrap();
    let id = thin.old_approval();
    let raised = counter(thin.database(), "red_flags_raised").await;
    for moment in [1, 3] {
        // At different places of the round.
        thin.until(thin.clock.now() + TimeDelta::from_std(sweep.every / 7 * moment).unwrap()).await;
        thin.raise_flag(&id);
        let within = thin.engine.forecast().await.unwrap().sweep.unwrap().seen_within;
        thin.until(thin.clock.now() + TimeDelta::from_std(within).unwrap()).await;
        assert_eq!(submission(thin.database(), &id).await["aml_currentstatus"], "Red Flag");
        // For the second moment.
        if moment == 1 {
            thin.world.simulator.patch(&id, json!({"aml": {"currentstatus": "Not Screened"}}));
            thin.until(thin.clock.now() + TimeDelta::from_std(within).unwrap()).await;
            assert_eq!(submission(thin.database(), &id).await["aml_currentstatus"], "Not Screened");
        }
    }
    assert_eq!(counter(thin.database(), "red_flags_raised").await, raised + 2);
    let events = "select count(*) from argos.outbox where type = 'aml.red_flag_raised' and payload->>'view' = 'aml'
                     and payload->>'lane' = 'sweep'";
    assert_eq!(thin.database().number(events).await, 2);
    // What changed is read by id, too: updated_at moved with it.
    thin.until(thin.clock.now() + TimeDelta::minutes(5)).await;
    thin.assert_equal().await;
    assert_valid_events(&thin.database().pool).await;
}

#[tokio::test]
async fn p3_between_the_list_and_its_screenings_nothing_is_lost() {
    let mut thin = Thin::new(options()).await;
    let phase = "select count(*) from argos.walks where lane = 'backfill' and view = 'aml' and cursor_id is null
                    and completed_at is null";
    while thin.database().number(phase).await == 0 {
        thin.turn(Timestamp::MAX_UTC).await;
    }
    assert!(!thin.imported().await, "the import ends with the screenings");
    assert_eq!(thin.database().number("select count(*) from argos.submissions").await, SUBMISSIONS);
    let screened = "select count(*) from argos.submission_views where view = 'aml'";
    assert_eq!(thin.database().number("select count(*) from argos.walks where lane = 'backfill'").await, 1);
    let before = thin.database().number(screened).await;
    let requests = thin.world.simulator.requests().len();

    // Killed here: another process goes on with the screenings, and does not read the list again.
    thin.database().execute("update argos.leases set expires_at = now() - interval '1 second'").await;
    thin.engine = thin.world.engine_of(0, "another").await;
    while !thin.imported().await {
        thin.turn(Timestamp::MAX_UTC).await;
    }
    assert!(thin.database().number(screened).await > before + 20);
    let served = thin.world.simulator.requests();
    let listed = served[requests..].iter().filter(|served| {
        let list = !served.query.contains("submission_id") && !served.query.contains("request_type");
        list && !served.query.contains("start_date")
    });
    assert_eq!(listed.count(), 0, "the list was complete");
    thin.import().await;
    thin.assert_equal().await;
}

#[tokio::test]
async fn what_was_mirrored_before_lists_were_known_to_be_thin_is_read_by_id_too() {
    let mut thin = Thin::new(options()).await;
    thin.engine.once().await.unwrap();
    assert_eq!(thin.waiting().await, 0);
    assert_eq!(thin.database().number("select count(*) from argos.attempts").await, 0);
    thin.engine.probe().await.unwrap();
    assert_eq!(thin.waiting().await, SUBMISSIONS);
    thin.import().await;
    thin.assert_equal().await;
    // Once: the next probe finds nobody left.
    thin.engine.probe().await.unwrap();
    assert_eq!(thin.waiting().await, 0);
}

#[tokio::test]
async fn whole_lists_cost_what_they_did() {
    let mut thin = Thin::new(Options { thin_lists: false, ..options() }).await;
    thin.import().await;
    thin.until(thin.clock.now() + TimeDelta::hours(1)).await;
    assert_eq!(thin.screenings_asked(), 0);
    assert_eq!(thin.database().number("select count(*) from argos.submission_views where view <> 'list'").await, 0);
    thin.assert_equal().await;
}

/// An import, and a flag that is raised afterwards, where pages of screenings cannot be had.
async fn screenings_come_by_id(fault: &str, found: &str) {
    let mut thin = Thin::new(options()).await;
    thin.faults(fault);
    thin.import().await;
    thin.assert_equal().await;
    assert_eq!(thin.aml_pages().await.as_deref(), Some(found));
    assert!(thin.aml_pages_disagree());
    assert_valid_events(&thin.database().pool).await;

    let id = thin.old_approval();
    thin.raise_flag(&id);
    let event = "select count(*) from argos.outbox where type = 'aml.red_flag_raised' and payload->>'view' = 'id'";
    // A round that began before, a whole one, and the queue.
    thin.until_counted(3, event).await;
    assert_eq!(submission(thin.database(), &id).await["aml_currentstatus"], "Red Flag");
    assert_eq!(thin.database().number(event).await, 1);
    // Probes ask for screenings; they ask without dates, and once each. Walks of days do not ask.
    let dated = |query: &str| query.contains("request_type=aml") && query.contains("start_date");
    assert!(!thin.world.simulator.requests().iter().any(|served| dated(&served.query)));
    assert!(thin.screenings_asked() <= 5, "{}", thin.screenings_asked());
    thin.assert_equal().await;
}

#[tokio::test]
async fn p1_p9_screenings_that_the_vendor_refuses_come_by_id() {
    screenings_come_by_id("refuse-aml=400", "refused").await;
}

#[tokio::test]
async fn p1_p9_screenings_come_by_id_where_request_type_changes_nothing() {
    screenings_come_by_id("ignore-request-type", "ignored").await;
}

#[tokio::test]
async fn p9_screenings_that_are_refused_from_some_day_on_do_not_hold_up_the_lists() {
    let mut thin = Thin::new(options()).await;
    thin.import().await;
    assert_eq!(thin.aml_pages().await.as_deref(), Some("shown"));
    assert!(!thin.aml_pages_disagree());
    // In the words that it has for a wrong key.
    thin.faults("refuse-aml=403");
    let since = thin.clock.now();
    let id = thin.old_approval();
    thin.world.simulator.patch(&id, json!({"memo": {"text": "lists show this"}}));
    for lane in ["hot", "sweep"] {
        let sql = format!("select count(*) from argos.walks where lane = '{lane}' and started_at > '{since}'");
        thin.until_counted(3, &format!("{sql} and completed_at is not null")).await;
    }
    assert_eq!(submission(thin.database(), &id).await["memo_text"], "lists show this");
    assert_eq!(thin.aml_pages().await.as_deref(), Some("refused"), "the walk's refusal has it probed");
    assert!(thin.aml_pages_disagree());
    let changed = "select count(*) from argos.probes where fact = 'aml_pages' and previous = '\"shown\"'";
    assert_eq!(thin.database().number(changed).await, 1);
    let dated = |thin: &Thin| {
        let served = thin.world.simulator.requests().into_iter().map(|served| served.query);
        served.filter(|query| query.contains("request_type=aml") && query.contains("start_date")).count()
    };
    let (asked, now) = (dated(&thin), thin.clock.now());
    let hot = format!("select count(*) from argos.walks where lane = 'hot' and last_completed_at > '{now}'");
    thin.until_counted(1, &hot).await;
    assert_eq!(dated(&thin), asked, "walks do not ask any more");

    // Mended: the next probe finds it, and walks ask again.
    thin.faults("");
    thin.engine.probe().await.unwrap();
    assert_eq!(thin.aml_pages().await.as_deref(), Some("shown"));
    let now = thin.clock.now();
    let hot = format!("select count(*) from argos.walks where lane = 'hot' and last_completed_at > '{now}'");
    thin.until_counted(1, &hot).await;
    assert!(dated(&thin) > asked);
    assert!(!thin.aml_pages_disagree());
}

#[tokio::test]
async fn p2_p3_killed_between_the_list_and_its_screenings_a_process_goes_on_with_them() {
    let world = World::with(options(), &[], Clock::system()).await;
    world.simulator.freeze();
    world.simulator.set_faults(Faults::parse("slow=150").unwrap());
    let run = || {
        let changes = [
            ("api.count", "10"),
            ("lease.holder", "thin"),
            ("poll.interval", "1h"),
            ("poll.open_interval", "1h"),
            ("log.format", "text"),
        ];
        Program::start(program::command(&["run"], &world.simulator.base_url(), &world.database.url, &changes))
    };
    let between = "select count(*) from argos.walks where lane = 'backfill' and view = 'aml' and completed_at is null";
    let mut first = run();
    eventually("its list is complete", async || match world.database.number(between).await {
        1 => Ok(()),
        _ => Err(first.stderr()),
    })
    .await;
    first.kill();
    assert_eq!(world.database.number(between).await, 1, "it was killed between the two");
    assert_eq!(world.database.number("select count(*) from argos.submissions").await, SUBMISSIONS);
    let asked = world.simulator.requests().len();
    world.simulator.set_faults(Faults::default());

    let mut second = run();
    let rest = "select (select count(*) from argos.projects where import_completed_at is null)
                     + (select count(*) from argos.id_reads)";
    eventually("the import is complete, and what it queued is read", async || {
        match world.database.number(rest).await {
            0 => Ok(()),
            left => Err((left, second.stderr())),
        }
    })
    .await;
    second.signal(Signal::SIGTERM);
    let ended = second.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let served = world.simulator.requests();
    let list = |query: &str| ["submission_id", "request_type", "start_date"].iter().all(|name| !query.contains(name));
    assert!(!served[asked..].iter().any(|served| list(&served.query)), "the list was complete");
    assert_equal(&world).await;
    let imported = "select count(*) from argos.outbox where type = 'submission.imported'";
    assert_eq!(world.database.number(imported).await, SUBMISSIONS);
    let others = "select count(*) from argos.outbox
                   where type not in ('submission.imported', 'project.import_completed')";
    assert_eq!(world.database.number(others).await, 0, "what is as old as the submission is no news");
    assert_valid_events(&world.database.pool).await;
}
