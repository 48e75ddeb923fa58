//! `argos-sync status` and `argos-sync explain`, as processes beside a world.

use std::process::Stdio;

use argos_sync::clock::Clock;
use argos_sync::domain::lane::Lane;
use argos_sync::simulator::{Faults, Options};
use argos_sync::sync::plan::{Errand, Target};
use chrono::TimeDelta;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::program::{self, Ended, Program, eventually};
use crate::support::{Database, World};

const EVERYTHING: Errand = Errand { lane: Lane::Once, target: Target::Days(None) };

/// Runs a command against a database. It has no key, and the vendor is nowhere: it asks nobody.
async fn ask(url: &str, arguments: &[&str]) -> Ended {
    let ended = program::run(program::command(arguments, "http://127.0.0.1:9", url, &[("api.key", "")])).await;
    for said in [&ended.stdout, &ended.stderr] {
        assert!(!said.to_lowercase().contains("taint"), "P11: {said}");
    }
    ended
}

/// The text and the JSON of `status`.
async fn status(url: &str) -> (String, Value) {
    let (text, json) = (ask(url, &["status"]).await, ask(url, &["status", "--json"]).await);
    assert_eq!((text.code, json.code), (Some(0), Some(0)), "{text:?} {json:?}");
    assert_eq!(json.stdout.lines().count(), 1, "one line per project");
    let wide = text.stdout.lines().find(|line| line.chars().count() > 100);
    assert_eq!(wide, None, "readable in 100 columns");
    (text.stdout, serde_json::from_str(&json.stdout).unwrap())
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn faults(text: &str) -> Faults {
    Faults::parse(text).unwrap()
}

#[tokio::test]
async fn status_of_a_database_without_our_schema_and_of_an_empty_one() {
    let bare = ask(&Database::bare().await.url, &["status"]).await;
    assert_eq!((bare.code, bare.stdout.as_str()), (Some(4), ""), "{bare:?}");
    assert_has(&bare.stderr, &["the database is not migrated", "Run argos-sync migrate"]);

    let empty = Database::fresh().await;
    let (text, json) = status(&empty.url).await;
    assert_has(&text, &["project default", "not begun"]);
    assert_eq!((&json["project"], json.get("writer")), (&json!("default"), None), "{json}");
    assert_eq!(json["outbox"], json!({"last_position": 0, "first_position": null, "generation": 1}));

    // As with `| head`: a reader that wants no more.
    let mut command = program::command(&["status", "--json"], "http://127.0.0.1:9", &empty.url, &[]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));

    let other = ask(&empty.url, &["status", "--project", "other"]).await;
    assert_eq!(other.code, Some(2), "{other:?}");
    assert_has(&other.stderr, &["no project \"other\" is configured"]);
}

#[tokio::test]
async fn p11_status_before_during_and_after_the_import() {
    let world =
        World::with(Options { initial: 200, ..Options::default() }, &[("api.count", "50")], Clock::system()).await;
    let url = &world.database.url;
    world.simulator.freeze();
    let mut engine = world.engine().await;

    // Before: the newest days alone. All submissions are of these days here.
    engine.hot().await.unwrap();
    let (text, json) = status(url).await;
    assert_has(&text, &["import        due", "submissions   200: ", "ERROR"][..2]);
    assert!(!text.contains("ERROR"), "{text}");
    assert_eq!((&json["import"]["state"], &json["submissions"]["total"]), (&json!("due"), &json!(200)));
    let hot = &json["lanes"][0];
    assert_eq!((&hot["lane"], &hot["days"], &hot["never_read"]), (&json!("hot"), &json!(4), &json!(0)));
    assert_eq!((&hot["walk"], hot["last_completed_at"].is_string()), (&Value::Null, true), "{hot}");
    assert_eq!(json["days"]["known"], json["days"]["covered"]);
    assert_eq!(json["writer"]["held"], true);

    // During.
    for _ in 0..2 {
        assert!(engine.go_on(EVERYTHING).await.unwrap().is_none());
    }
    let (text, json) = status(url).await;
    assert_has(&text, &["import        in progress: 2 pages, 100 submissions", "once", "2 pages, "]);
    let import = &json["import"];
    assert_eq!((&import["state"], &import["pages"], &import["items"]), (&json!("running"), &json!(2), &json!(100)));
    let once = json["lanes"].as_array().unwrap().iter().find(|lane| lane["lane"] == "once").unwrap();
    assert_eq!((&once["walk"]["pages"], &once["last_completed_at"]), (&json!(2), &Value::Null));

    // After; nobody is at work any more.
    assert!(engine.to_end(EVERYTHING).await.unwrap().complete);
    engine.release().await.unwrap();
    let (text, json) = status(url).await;
    assert_has(
        &text,
        &["import        completed ", "writer        none: no process is at work", "of 100,000,000 requests"],
    );
    assert_eq!(json["import"]["state"], "completed");
    let budget = &json["budget"];
    assert_eq!(budget["reserved"].as_i64().unwrap() + budget["left"].as_i64().unwrap(), 100_000_000, "{budget}");
    let sql = "select jsonb_object_agg(label, value) from argos.counters where name = 'submissions' and value <> 0";
    let counted: Value = serde_json::from_str(&world.database.text(sql).await.unwrap()).unwrap();
    assert_eq!(json["submissions"]["by_result"], counted);
    let open = "select count(*) from argos.submissions where kyc_result in ('incomplete', 'pending')";
    assert_eq!(json["submissions"]["open"], world.database.number(open).await);
    let flags = "select count(*) from argos.submissions where aml_currentstatus = 'Red Flag'";
    assert_eq!(json["submissions"]["red_flags_open"], world.database.number(flags).await);
    let last = "select last_position from argos.outbox_counter";
    assert_eq!(json["outbox"]["last_position"], world.database.number(last).await);

    // What waits, what is set aside, what is to be verified.
    world
        .database
        .execute("insert into argos.id_reads values ('default', 'x', 'refresh', now() - interval '3 hours')")
        .await;
    world
        .database
        .execute("update argos.created_days set verify_since = now() - interval '5 minutes' where open > 0")
        .await;
    world.simulator.put_raw(
        "deep",
        Clock::system().now(),
        &format!(r#"{{"submission_id":"deep","x":{}{}}}"#, "[".repeat(90), "]".repeat(90)),
    );
    engine.hot().await.unwrap();
    let (text, json) = status(url).await;
    assert_has(
        &text,
        &[
            "reads waiting 1: 1 refresh, the first since 3 h",
            "quarantine    1: 1 too_deep",
            "that did not show all that is stored",
        ],
    );
    assert_eq!(json["quarantine"], json!({"too_deep": 1}));
    assert_eq!(json["reads_waiting"]["by_reason"], json!({"refresh": 1}));
    assert!(json["days"]["to_verify_since"].is_string() && json["days"]["to_verify"].as_u64() > Some(0));
    engine.release().await.unwrap();
}

#[tokio::test]
async fn what_the_plan_promises_and_what_a_probe_found_is_told() {
    let options = Options { initial: 200, thin_lists: true, ..Options::default() };
    let world = World::with(options, &[("api.count", "50")], Clock::system()).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    let (text, json) = status(&world.database.url).await;
    assert_has(&text, &["vendor        not probed yet"]);
    assert_eq!((&json["vendor"]["probed_at"], &json["vendor"]["warnings"]), (&Value::Null, &json!([])));

    let findings = engine.probe().await.unwrap();
    engine.release().await.unwrap();
    let (text, json) = status(&world.database.url).await;
    assert_has(&text, &["vendor        probed ", "parameters in ", "WARNING the vendor's list_attempts is missing"]);
    assert_has(&text, &["Lists carry no attempts", "every    seen within", "only by id"]);
    let vendor = &json["vendor"];
    assert_eq!(vendor["facts"]["list_attempts"]["value"], "missing");
    assert_eq!(vendor["facts"].get("list_fields"), None, "names of fields stand in only_by_id");
    let warned: Vec<&str> =
        vendor["warnings"].as_array().unwrap().iter().map(|warning| warning["fact"].as_str().unwrap()).collect();
    assert!(warned.contains(&"list_attempts") && warned.contains(&"list_updated_at"), "{warned:?}");
    assert_eq!(vendor["probed_at"].is_string(), findings.found_at.is_some());
    assert!(!vendor["only_by_id"].as_array().unwrap().is_empty(), "{vendor}");

    // The promises are those that the daemon shows in its metrics; with few requests they are short, and it is said.
    let hot = &json["lanes"][0];
    assert!(hot["every_seconds"].as_u64() <= hot["seen_within_seconds"].as_u64(), "{hot}");
    assert_eq!((&hot["short"], hot["seen_within_seconds"].is_u64()), (&json!(false), true), "{hot}");
    assert!(!text.contains("short"), "{text}");
    let few = [("api.key", ""), ("api.requests_per_day", "300")];
    let few = program::command(&["status"], "http://127.0.0.1:9", &world.database.url, &few);
    let few = program::run(few).await.stdout;
    assert_has(&few, &[", short", "less than the settings ask for: see argos-sync plan"]);
    assert_eq!(few.lines().find(|line| line.chars().count() > 100), None);

    // Another daemon's project: nothing is promised, and there is no setting to disagree with.
    let other = [("api.key", ""), ("api.project_id", "another")];
    let other =
        program::command(&["status", "--project", "default"], "http://127.0.0.1:9", &world.database.url, &other);
    let other = program::run(other).await.stdout;
    assert_has(&other, &["not configured here", "vendor        probed "]);
    assert!(!other.contains("seen within") && !other.contains("WARNING"), "{other}");
}

#[tokio::test]
async fn p7_p9_deletions_holds_and_unknown_names_are_told() {
    let changes = [("erasure.confirm_after", "1ms")];
    let world = World::with(Options { initial: 20, ..Options::default() }, &changes, Clock::system()).await;
    let url = &world.database.url;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    let (text, json) = status(url).await;
    assert_has(&text, &["deletions     suspected 0; carried out 0"]);
    assert!(!text.contains("ALARM") && !text.contains("HELD"), "{text}");
    assert_eq!((&json["erasures"]["hold"], &json["drift"]["unknown_aml_status"]), (&Value::Null, &json!(0)));

    let id = |n: usize| world.simulator.truth()[n]["submission_id"].as_str().unwrap().to_owned();
    let (odd, blanked) = (id(0), id(1));
    world.simulator.patch(&odd, json!({"aml": {"currentstatus": "Amber Flag"}, "a_new_field": 1}));
    world.simulator.blank(&blanked);
    engine.once().await.unwrap();
    let (text, json) = status(url).await;
    assert_has(
        &text,
        &[
            "deletions     suspected 1: 1 blanked, the next is due; carried out 0",
            "ALARM 1 submission with an AML status",
        ],
    );
    assert_has(&text, &["drift         3 names that no document has: aml.currentstatus=Amber Flag, a_new_field,"]);
    assert_eq!(json["erasures"]["pending"], json!({"blanked": 1}));
    assert_eq!(json["drift"]["names"].as_array().unwrap().len(), 3);
    let told = ask(url, &["explain", &blanked]).await.stdout;
    assert_has(&told, &["suspected     blanked, noticed by once ", "not confirmed", "next look     confirm, "]);

    // Too much at once waits for an operator.
    let hold = "insert into argos.erasure_holds values ('default', now() - interval '3 hours', 15, 20)";
    world.database.execute(hold).await;
    let (text, json) = status(url).await;
    assert_has(&text, &["suspected 1: 1 blanked, HELD; ", "HELD since ", "15 of 20 submissions seemed to be deleted"]);
    assert_has(&text, &["erasure list --project default", "erasure release --project default"]);
    assert_eq!(
        (&json["erasures"]["hold"]["suspicions"], &json["erasures"]["next_check_at"]),
        (&json!(15), &Value::Null)
    );
    let told = ask(url, &["explain", &blanked]).await.stdout;
    assert_has(&told, &["held          the project's deletions wait for an operator"]);
    assert!(!told.contains("confirm, "), "{told}");

    world.database.execute("delete from argos.erasure_holds").await;
    for _ in 0..2 {
        engine.confirm().await.unwrap();
    }
    engine.release().await.unwrap();
    let (text, json) = status(url).await;
    assert_has(&text, &["deletions     suspected 0; carried out 1, the last "]);
    assert_eq!((&json["erasures"]["carried_out"], &json["erasures"]["pending"]), (&json!(1), &json!({})));
    let told = ask(url, &["explain", &blanked, "--json"]).await.stdout;
    let story: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&story["suspicion"], &story["erased"][0]["kind"]), (&Value::Null, &json!("blanked")));
    let told = ask(url, &["explain", &blanked]).await.stdout;
    assert_has(&told, &["receipt       blanked at version ", ", erased "]);
}

#[tokio::test]
async fn p9_a_refused_key_is_told_with_advice_until_it_is_taken_again() {
    let clock = Clock::manual(Clock::system().now());
    let world = World::with(Options::default(), &[], clock.clone()).await;
    world.simulator.freeze();
    let database = &world.database;
    let errors = async || {
        let sql = "select format('%s %s %s %s', lane, kind, count, ended_at is null) from argos.errors";
        database.text(sql).await.unwrap_or_default()
    };
    let mut engine = world.engine().await;
    engine.hot().await.unwrap();
    assert_eq!(errors().await, "");

    world.simulator.set_faults(faults("forbidden-key"));
    engine.hot().await.unwrap_err();
    assert_eq!(errors().await, "hot key_refused 1 t");
    let (text, json) = status(&database.url).await;
    assert_has(
        &text,
        &["ERROR in lane hot: key_refused, once since", "reading from the vendor failed", "copy the project's key"],
    );
    let error = &json["errors"][0];
    assert_eq!(
        (&error["lane"], &error["kind"], &error["count"], &error["ended_at"]),
        (&json!("hot"), &json!("key_refused"), &json!(1), &Value::Null)
    );

    // The same again is written once a minute, and then it is all there.
    clock.advance(TimeDelta::seconds(40));
    engine.hot().await.unwrap_err();
    assert_eq!(errors().await, "hot key_refused 1 t");
    clock.advance(TimeDelta::seconds(20));
    engine.hot().await.unwrap_err();
    assert_eq!(errors().await, "hot key_refused 3 t");
    // Another kind is told at once.
    world.simulator.set_faults(faults("forbidden-address"));
    engine.hot().await.unwrap_err();
    assert_eq!(errors().await, "hot address_refused 1 t");

    // Another process goes on: its first success ends what the former leader met.
    engine.release().await.unwrap();
    world.simulator.set_faults(Faults::default());
    let mut engine = world.engine_of(0, "another").await;
    engine.hot().await.unwrap();
    assert_eq!(errors().await, "hot address_refused 1 f");
    let (text, json) = status(&database.url).await;
    assert_has(&text, &["past error in lane hot: address_refused, once, last "]);
    assert!(!text.contains("ERROR") && !text.contains("allow-list"), "{text}");
    assert!(json["errors"][0]["ended_at"].is_string());

    // It begins anew when it comes back.
    world.simulator.set_faults(faults("forbidden-address"));
    clock.advance(TimeDelta::seconds(5));
    engine.hot().await.unwrap_err();
    assert_eq!(errors().await, "hot address_refused 1 t");
    assert_eq!(database.text("select first_at = last_at from argos.errors").await.as_deref(), Some("true"));

    // That it cannot be written stops nothing.
    database.execute("drop table argos.errors").await;
    clock.advance(TimeDelta::minutes(5));
    engine.hot().await.unwrap_err();
    world.simulator.set_faults(Faults::default());
    assert!(engine.hot().await.unwrap().complete);
    engine.release().await.unwrap();
}

#[tokio::test]
async fn p9_a_key_that_is_refused_before_any_list_is_read_is_told() {
    let world = World::new(Options { initial: 5, ..Options::default() }).await;
    let told = "select string_agg(lane || ' ' || kind, ' ') from argos.errors where ended_at is null";
    let refused = || world.simulator.set_faults(Faults::parse("forbidden-key").unwrap());
    refused();
    let mut engine = world.engine().await;
    assert!(engine.turn().await.is_err(), "the probe");
    assert_eq!(world.database.text(told).await.as_deref(), Some("hot key_refused"));
    world.simulator.set_faults(Faults::default());
    engine.hot().await.unwrap();
    assert_eq!(world.database.text(told).await, None);

    engine.release().await.unwrap();
    refused();
    assert!(world.engine().await.turn().await.is_err(), "the ids that are known");
    assert_eq!(world.database.text(told).await.as_deref(), Some("hot key_refused"));
}

#[tokio::test]
async fn p5_a_former_leader_leaves_no_word() {
    let world = World::with(Options::default(), &[("api.count", "50")], Clock::system()).await;
    let mut engine = world.engine().await;
    let errors = "select count(*) from argos.errors";
    assert!(engine.go_on(EVERYTHING).await.unwrap().is_none());
    // In the middle of a walk: this one learns of it at its next page.
    world.database.execute("update argos.leases set holder = 'another', epoch = epoch + 1").await;
    world.simulator.set_faults(faults("forbidden-key"));
    let error = engine.go_on(EVERYTHING).await.unwrap_err();
    assert_eq!((error.kind(), world.database.number(errors).await), ("key_refused", 0));
    // Without a usurper the same is told.
    world.database.execute("update argos.leases set holder = null, expires_at = '-infinity'").await;
    engine.go_on(EVERYTHING).await.unwrap_err();
    assert_eq!(world.database.number(errors).await, 1);
}

#[tokio::test]
async fn when_a_lane_last_came_to_its_end_stays_known_while_it_walks_and_when_it_fails() {
    let world =
        World::with(Options { initial: 200, ..Options::default() }, &[("api.count", "50")], Clock::system()).await;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    let ended = "select last_completed_at from argos.walks where lane = 'once'";
    let first = world.database.text(ended).await.unwrap();
    assert!(engine.go_on(EVERYTHING).await.unwrap().is_none());
    assert_eq!(world.database.text(ended).await.as_ref(), Some(&first));
    assert_eq!(world.database.number("select count(*) from argos.walks where completed_at is null").await, 1);
    world.simulator.set_faults(faults("repeat-key"));
    engine.to_end(EVERYTHING).await.unwrap_err();
    assert_eq!(world.database.text(ended).await.as_ref(), Some(&first), "the walk was given up");
    let (text, _) = status(&world.database.url).await;
    assert_has(&text, &["ERROR in lane once: endless_list"]);
    world.simulator.set_faults(Faults::default());
    assert_eq!(engine.once().await.unwrap().pages, 4, "it starts over");
    assert_ne!(world.database.text(ended).await, Some(first));
    engine.release().await.unwrap();
}

#[tokio::test]
async fn status_and_explain_work_beside_a_running_daemon_and_with_the_documented_grants() {
    let world = World::new(Options { initial: 60, ..Options::default() }).await;
    let url = &world.database.url;
    let changes = [("lease.holder", "the-daemon"), ("log.format", "text")];
    let mut daemon = Program::start(program::command(&["run"], &world.simulator.base_url(), url, &changes));
    daemon.says("complete=true").await;

    let role = format!("argos_test_{}_operator", std::process::id());
    let docs = include_str!("../../docs/postgresql.md");
    let grants = docs.split("**Operators**").nth(1).and_then(|text| text.split("```sql").nth(1)).unwrap();
    let grants = grants.split("```").next().unwrap().replace("to kyc_operator;", &format!("to {role};"));
    world.database.execute(&format!("create role {role}; {grants}")).await;
    let separator = if url.contains('?') { '&' } else { '?' };
    let reader = format!("{url}{separator}options[role]={role}");

    let (text, json) = status(&reader).await;
    assert_has(&text, &["writer        the-daemon, epoch 1, lease until "]);
    assert_eq!(json["writer"]["holder"], "the-daemon");
    assert!(json["vendor"]["facts"].is_object() && json["drift"]["unknown_aml_status"].is_i64(), "{json}");
    let id = world.database.text("select min(submission_id) from argos.submissions").await.unwrap();
    let told = ask(&reader, &["explain", &id]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    // They wrote nothing and took nothing.
    assert_eq!(world.database.text("select holder || epoch from argos.leases").await.as_deref(), Some("the-daemon1"));
    for table in ["submissions", "submission_versions", "quarantine"] {
        let mut session = world.database.pool.begin().await.unwrap();
        let sql = format!("set local role {role}; select * from argos.{table}");
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *session).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{table}: {refused}");
        session.rollback().await.unwrap();
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end().await.code, Some(0));
    eventually("the role can be dropped", async || {
        let sql = format!("drop owned by {role}; drop role {role}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&world.database.pool).await.map(drop)
    })
    .await;
}

#[tokio::test]
async fn p11_explain_tells_every_version_and_event_and_nothing_of_the_person() {
    let world = World::new(Options { initial: 30, ..Options::default() }).await;
    let url = &world.database.url;
    world.simulator.freeze();
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    let id = world.simulator.truth()[0]["submission_id"].as_str().unwrap().to_owned();
    world.simulator.patch(&id, json!({"kyc": {"result": "rejected"}, "data": {"name": "Taintname changed"}}));
    engine.hot().await.unwrap();
    world.simulator.patch(&id, json!({"kyc": {"result": "approved"}, "aml": {"currentstatus": "Red Flag"}}));
    engine.refresh(&id).await.unwrap();
    engine.release().await.unwrap();
    world.database.execute(&format!("insert into argos.id_reads values ('default', '{id}', 'lag', now())")).await;

    let told = ask(url, &["explain", &id]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    let submission = format!("submission {id} of project default");
    assert_has(
        &told.stdout,
        &[
            &submission,
            "version 3; kyc approved; aml Red Flag",
            "list at version 3",
            "id at version 3",
            "waits         lag, since ",
            "next look     refresh, as soon as the budget allows: it waits to be read by id",
            "and by        hot, ",
            "no process reads this project now",
            "list by once",
            "change, list by hot",
            "change, id by refresh, epoch 1 request ",
            "data.name",
            "rejected -> approved",
            "aml.red_flag_raised",
            "submission.updated",
        ],
    );
    let json = ask(url, &["explain", &id, "--json"]).await;
    let story: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(story["versions"].as_array().unwrap().len(), 3);
    assert_eq!(story["versions"][1]["lane"], "hot");
    let events =
        world.database.number(&format!("select count(*) from argos.outbox where submission_id = '{id}'")).await;
    assert_eq!(story["events"].as_array().unwrap().len() as i64, events);
    assert_eq!((&story["submission"]["kyc_result"], &story["next"][1]["lane"]), (&json!("approved"), &json!("hot")));
    assert!(story["next"][1]["latest_at"].as_str() > story["next"][1]["expected_at"].as_str(), "{story}");
    assert!(story["day"]["covered_at"].is_string() && story["submission"]["gone_at"].is_null(), "{story}");
    let text = story.to_string();
    assert!(!text.contains("\"item\"") && !text.contains("email") && !text.contains("body"), "{text}");
}

#[tokio::test]
async fn explain_of_an_id_that_the_mirror_does_not_hold_has_an_exit_code_of_its_own() {
    let world = World::new(Options::default()).await;
    let url = &world.database.url;
    let deep = format!(r#"{{"submission_id":"deep","name":"Taint","x":{}{}}}"#, "[".repeat(90), "]".repeat(90));
    world.simulator.put_raw("deep", Clock::system().now(), &deep);
    let mut engine = world.engine().await;
    engine.hot().await.unwrap();
    engine.release().await.unwrap();

    let unknown = ask(url, &["explain", "no such\tid"]).await;
    assert_eq!(unknown.code, Some(11), "{unknown:?}");
    assert_has(
        &unknown.stderr,
        &[r#"the mirror of project "default" does not hold "no such\tid"; nor does its quarantine"#],
    );

    let aside = ask(url, &["explain", "deep"]).await;
    assert_eq!(aside.code, Some(11), "{aside:?}");
    assert_has(&aside.stderr, &["its quarantine holds an item with this id"]);
    assert_has(&aside.stdout, &["quarantine    too_deep: ", "(list, hot,"]);
    let json = ask(url, &["explain", "deep", "--json"]).await;
    assert_eq!(json.code, Some(11));
    let story: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&story["submission"], &story["quarantine"][0]["reason"]), (&Value::Null, &json!("too_deep")));

    let other = ask(url, &["explain", "deep", "--project", "other"]).await;
    assert_eq!(other.code, Some(2), "{other:?}");
}
