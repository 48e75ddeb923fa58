//! Lists may lack what matters: attempts, screenings, `updated_at`. Then submissions are read by id, too, and every list
//! is read again as pages of request_type=aml. See docs/modes.md.

use std::collections::BTreeMap;
use std::time::Duration;

use argos_sync::clock::{Clock, Timestamp};
use argos_sync::simulator::Options;
use argos_sync::sync::engine::{Engine, Turn};
use chrono::TimeDelta;
use serde_json::{Value, json};

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
        let items: Vec<Value> = sqlx::query_scalar("select item from argos.submissions where gone_at is null")
            .fetch_all(&self.database().pool)
            .await
            .unwrap();
        let (mirrored, truth) = (by_id(items), by_id(self.world.simulator.truth()));
        assert_eq!(mirrored.len(), truth.len());
        for (id, item) in &truth {
            assert_eq!(&mirrored[id], item, "{id}");
        }
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
