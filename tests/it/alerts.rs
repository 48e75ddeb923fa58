//! P9: what a person must look at is written with the change, and waits until somebody has.

use argos_sync::simulator::Options;
use argos_sync::sync::engine::Engine;
use serde_json::{Value, json};

use crate::support::program::{self, Ended};
use crate::support::rows::{counter, written};
use crate::support::verbatim::Verbatim;
use crate::support::{Database, World};

/// Older than the import, and created since.
const OLD: &str = "2026-03-01T10:00:00Z";
const NEW: &str = "2026-03-10T12:00:30Z";

fn item(id: &str, created_at: &str, result: &str, aml: &Value) -> String {
    json!({"submission_id": id, "created_at": created_at, "kyc": {"result": result}, "aml": aml}).to_string()
}

fn flag(risk: &str, matches: &[&str]) -> Value {
    let matches: Vec<Value> = matches.iter().map(|id| json!({"resource_id": id, "risk_level": "LOW"})).collect();
    json!({"currentstatus": "Red Flag", "risk_level_summary": risk, "matches": matches})
}

fn clear() -> Value {
    json!({"currentstatus": "Not Screened", "risk_level_summary": "Not Screened"})
}

/// All alerts, in the order in which they were raised.
async fn alerts(database: &Database) -> Vec<String> {
    let sql = "select concat_ws(' ', submission_id, 'v' || version, kind, risk, case when imported then 'imported' end,
                      case when cleared_at is not null then 'cleared' end)
                 from argos.alerts order by raised_at, submission_id, kind";
    sqlx::query_scalar(sql).fetch_all(&database.pool).await.unwrap()
}

async fn counters(database: &Database) -> [i64; 3] {
    let mut counted = [0; 3];
    for (place, name) in ["red_flags_raised", "red_flags_escalated", "approvals_revoked"].into_iter().enumerate() {
        counted[place] = counter(database, name).await;
    }
    counted
}

#[tokio::test]
async fn p9_flags_escalations_and_revoked_approvals_wait_for_a_person() {
    let vendor = Verbatim::new().await;
    let mut engine = vendor.engine().await;
    let state = |old: Value, new: Value, plain: &str| {
        [item("old", OLD, "approved", &old), item("new", NEW, "approved", &new), item("plain", OLD, plain, &clear())]
    };
    let read = async |engine: &mut Engine, items: &[String]| vendor.read(engine, items).await.counts.alerts;

    assert_eq!(read(&mut engine, &state(flag("High", &["a"]), flag("MEDIUM", &["a"]), "approved")).await, 1);
    let mut expected = vec!["new v1 red_flag medium", "old v1 red_flag high imported"];
    assert_eq!(alerts(&vendor.database).await, expected);
    assert_eq!(counters(&vendor.database).await, [1, 0, 0]);

    // The same again, and the same in other words, is no other alert.
    let before = written(&vendor.database).await;
    assert_eq!(read(&mut engine, &state(flag("High", &["a"]), flag("MEDIUM", &["a"]), "approved")).await, 0);
    assert_eq!(written(&vendor.database).await, before);
    assert_eq!(read(&mut engine, &state(flag("HIGH", &["a"]), flag("Medium", &["a"]), "approved")).await, 0);

    // A match more, a higher risk, an approval that is none any more.
    assert_eq!(read(&mut engine, &state(flag("HIGH", &["a", "b"]), flag("High", &["a"]), "rejected")).await, 3);
    expected.extend([
        "new v3 red_flag_escalated high",
        "old v3 red_flag_escalated high",
        "plain v2 approval_revoked none",
    ]);
    assert_eq!(alerts(&vendor.database).await, expected);
    assert_eq!(counters(&vendor.database).await, [1, 2, 1]);

    // Fewer matches and a lower risk are none.
    assert_eq!(read(&mut engine, &state(flag("Low", &["b"]), flag("Low", &[]), "rejected")).await, 0);

    // A flag that is cleared still waits; raised again, it is another one.
    assert_eq!(read(&mut engine, &state(flag("Low", &["b"]), clear(), "rejected")).await, 0);
    assert_eq!(read(&mut engine, &state(flag("Low", &["b"]), flag("", &[]), "rejected")).await, 1);
    let cleared = |line: &str| if line.starts_with("new") { format!("{line} cleared") } else { line.to_owned() };
    let mut expected: Vec<String> = expected.into_iter().map(cleared).collect();
    expected.push("new v6 red_flag none".to_owned());
    assert_eq!(alerts(&vendor.database).await, expected);
    assert_eq!(counters(&vendor.database).await, [2, 2, 1]);

    // Rows that an operator deleted by hand are read anew; what was told is not told twice.
    let forget = "delete from argos.submission_versions where submission_id = 'new';
                  delete from argos.submissions where submission_id = 'new'";
    vendor.database.execute(forget).await;
    read(&mut engine, &state(flag("Low", &["b"]), flag("MEDIUM", &["a"]), "rejected")).await;
    assert_eq!(alerts(&vendor.database).await, expected);
}

#[tokio::test]
async fn the_migration_lists_the_flags_that_stand_as_the_import_does() {
    let world = World::new(Options { initial: 200, ..Options::default() }).await;
    world.simulator.freeze();
    let odd = world.simulator.truth()[0]["submission_id"].as_str().unwrap().to_owned();
    world.simulator.patch(&odd, json!({"aml": {"currentstatus": "RED FLAG", "risk_level_summary": "Severe"}}));
    world.engine().await.once().await.unwrap();
    let imported = alerts(&world.database).await;
    assert!(imported.len() > 3 && imported.iter().all(|line| line.ends_with(" imported")), "{imported:?}");
    assert!(imported.iter().any(|line| line.contains(" unknown ")), "{imported:?}");
    world.database.execute("drop table argos.alerts; drop index argos.submissions_pending").await;
    world.database.execute(include_str!("../../migrations/0008_alerts.sql")).await;
    let (mut before, mut after) = (imported, alerts(&world.database).await);
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after);
}

// ------------------------------------------------------------------------------------------------- the command

struct Desk {
    world: World,
}

impl Desk {
    /// Flags of the import, and two that were raised since: their submissions.
    async fn new() -> (Self, [String; 2]) {
        let world = World::new(Options { initial: 80, life: 0.0, ..Options::default() }).await;
        world.simulator.freeze();
        let mut engine = world.engine().await;
        engine.once().await.unwrap();
        let plain = |item: &&Value| item["aml"]["currentstatus"] != "Red Flag";
        let truth = world.simulator.truth();
        let mut ids = truth.iter().filter(plain).map(|item| item["submission_id"].as_str().unwrap().to_owned());
        let ids = [ids.next().unwrap(), ids.next().unwrap()];
        for id in &ids {
            world.simulator.patch(id, json!({"aml": {"currentstatus": "Red Flag", "risk_level_summary": "High"}}));
        }
        engine.hot().await.unwrap();
        engine.release().await.unwrap();
        (Self { world }, ids)
    }

    async fn ask(&self, args: &[&str]) -> Ended {
        let args = [&["alerts"], args].concat();
        let mut command = program::command(&args, &self.world.simulator.base_url(), &self.world.database.url, &[]);
        command.env("SUDO_USER", "kim").env("USER", "root");
        program::run(command).await
    }

    async fn says(&self, args: &[&str], code: i32) -> String {
        let ended = self.ask(args).await;
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        ended.stdout + &ended.stderr
    }

    async fn listed(&self, args: &[&str]) -> Vec<Value> {
        let text = self.says(&[&["list", "--json"], args].concat(), 0).await;
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn alerts_are_listed_and_acknowledged_by_somebody_for_a_reason() {
    let (desk, submissions) = Desk::new().await;
    let all = desk.listed(&[]).await;
    let imported = all.iter().filter(|alert| alert["imported"] == true).count();
    assert!(imported > 0);
    assert_eq!(all.len(), imported + 2);
    let text = desk.says(&["list"], 0).await;
    let (_, seen) = text.trim_end().rsplit_once("; raised until ").unwrap();
    let sum = format!("default: 2 alerts to be acknowledged, and {imported} of the import; raised until {seen}\n");
    assert!(text.ends_with(&sum), "{text}");
    assert!(text.contains("red_flag") && text.contains(&submissions[0]), "{text}");
    let of = |submission: &str| {
        let alert = all.iter().find(|alert| alert["submission_id"] == submission).unwrap();
        assert_eq!((&alert["kind"], &alert["risk"]), (&json!("red_flag"), &json!("high")), "{alert}");
        alert["alert_id"].as_str().unwrap().to_owned()
    };
    let [first, second] = [of(&submissions[0]), of(&submissions[1])];

    // Nothing without a reason, a choice, or an alert of this id; and then nothing at all.
    desk.says(&["ack", &first], 2).await;
    desk.says(&["ack", "--reason", "r"], 2).await;
    desk.says(&["ack", &first, "--reason", " "], 2).await;
    let none = "00000000-0000-0000-0000-000000000000";
    let said = desk.says(&["ack", &first, none, "--reason", "r"], 1).await;
    assert!(said.contains(none) && said.contains("nothing was acknowledged"), "{said}");
    desk.says(&["ack", "--submission", "nobody", "--raised-until", seen, "--reason", "r"], 1).await;
    desk.says(&["ack", "--submission", &submissions[1], "--reason", "r"], 2).await;
    desk.says(&["--project", "other", "list"], 1).await;
    assert_eq!(desk.listed(&[]).await, all);

    let said = desk.says(&["ack", &first, "--reason", "looked at it: false hit"], 0).await;
    assert_eq!(said, "default: 1 alert acknowledged\n");
    assert_eq!(desk.listed(&[]).await.len(), imported + 1);
    // The first word stays, and a second one is told of it.
    let said = desk.says(&["ack", &first, &second, "--by", "lee", "--reason", "other"], 0).await;
    let told = [
        "default: 1 alert acknowledged\n",
        &format!("  {first} was acknowledged before: 20"),
        "by kim: looked at it: false hit\n",
    ];
    assert!(told.iter().all(|part| said.contains(part)), "{said}");
    let of_second = ["ack", "--submission", &submissions[1], "--raised-until", seen, "--reason", "again"];
    let said = desk.says(&of_second, 0).await;
    assert!(said.contains("by lee: other") && said.starts_with("default: 0 alerts acknowledged"), "{said}");
    assert_eq!(desk.listed(&[]).await.len(), imported);

    let said = desk.says(&["ack", "--all-imported", "--reason", "known before"], 0).await;
    assert_eq!(said, format!("default: {imported} alert{} acknowledged\n", if imported == 1 { "" } else { "s" }));
    assert_eq!(desk.listed(&[]).await, Vec::<Value>::new());
    let kept = desk.listed(&["--all"]).await;
    assert_eq!(kept.len(), all.len());
    let first = kept.iter().find(|alert| alert["alert_id"] == *first).unwrap();
    assert_eq!((&first["acknowledged_by"], &first["reason"]), (&json!("kim"), &json!("looked at it: false hit")));
    assert!(first["acknowledged_at"].is_string());
}

#[tokio::test]
async fn what_was_raised_after_the_list_is_not_acknowledged_with_it() {
    let (desk, [submission, _]) = Desk::new().await;
    let text = desk.says(&["list"], 0).await;
    let (_, seen) = text.trim_end().rsplit_once("; raised until ").unwrap();
    // Meanwhile the vendor finds more.
    let worse = json!({"aml": {"matches": [{"resource_id": "new", "risk_level": "HIGH"}]}});
    desk.world.simulator.patch(&submission, worse);
    let mut engine = desk.world.engine().await;
    engine.hot().await.unwrap();
    engine.release().await.unwrap();
    let of_it = async || {
        let all = desk.listed(&[]).await.into_iter().filter(|alert| alert["submission_id"] == submission.as_str());
        all.map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of_it().await, ["red_flag", "red_flag_escalated"]);
    let ack = ["ack", "--submission", &submission, "--raised-until", seen, "--reason", "a namesake"];
    assert_eq!(desk.says(&ack, 0).await, "default: 1 alert acknowledged\n");
    assert_eq!(of_it().await, ["red_flag_escalated"]);
}

#[tokio::test]
async fn a_look_at_the_alerts_does_not_migrate() {
    let database = Database::bare().await;
    let ended = program::run(program::command(&["alerts", "list"], "http://127.0.0.1:1/v3", &database.url, &[])).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("argos-sync migrate"), "{ended:?}");
    assert_eq!(database.text("to_regnamespace('argos')").await, None);
}
