//! docs/events is the contract: every type has a schema, and what is in the outbox keeps to it.

use std::collections::BTreeSet;

use argos_sync::clock::Clock;
use argos_sync::domain::event::EventType;
use argos_sync::domain::lane::{Lane, View};
use argos_sync::simulator::Options;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::events::{SCHEMAS, assert_valid_events, directory, misfits};
use crate::support::verbatim::noon;
use crate::support::{Database, World};

#[test]
fn there_is_one_strict_schema_per_event_type() {
    let files: BTreeSet<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    let expected: BTreeSet<String> =
        EventType::ALL.iter().map(|kind| format!("{}.v1.schema.json", kind.as_str())).collect();
    assert_eq!(files, expected);
    for (kind, (schema, _)) in SCHEMAS.iter() {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], format!("urn:argos-sync:event:{kind}:v1"));
        for name in ["title", "description"] {
            assert!(schema[name].as_str().is_some_and(|text| !text.is_empty()), "{kind} lacks {name}");
        }
        strict(kind, schema);
        // Everything is required but what a setting adds.
        let required: BTreeSet<&str> = schema["required"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
        let properties = schema["properties"].as_object().unwrap();
        for name in properties.keys().filter(|name| *name != "userid") {
            assert!(required.contains(name.as_str()), "{kind}: {name} is always there");
        }
        if *kind != "project.import_completed" {
            assert_eq!(properties["lane"]["enum"], json!(Lane::ALL.map(Lane::as_str)), "{kind}");
            assert_eq!(properties["view"]["enum"], json!(View::ALL.map(View::as_str)), "{kind}");
        }
    }
}

/// Every object lists all its members, and every member says what it is.
fn strict(kind: &str, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], json!(false), "{kind}: {schema:#}");
    for (name, property) in properties {
        assert!(property["description"].is_string(), "{kind}: {name} has no description");
        strict(kind, property);
    }
}

#[test]
fn examples_keep_to_their_schemas_and_mistakes_do_not() {
    for (kind, (schema, _)) in SCHEMAS.iter() {
        let examples = schema["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{kind}");
        for example in examples {
            assert_eq!(misfits(kind, example), Vec::<String>::new(), "{kind}");
            for (name, spoilt) in [
                ("email", json!("jane@example.com")),
                ("schema_version", json!(2)),
                ("type", json!("other")),
                ("observed_at", json!("yesterday")),
                ("project", Value::Null),
            ] {
                let mut payload = example.clone();
                payload[name] = spoilt;
                assert!(!misfits(kind, &payload).is_empty(), "{kind} takes a wrong {name}");
            }
            for name in schema["required"].as_array().unwrap() {
                let mut payload = example.clone();
                payload.as_object_mut().unwrap().remove(name.as_str().unwrap());
                assert!(!misfits(kind, &payload).is_empty(), "{kind} does without {name}");
            }
        }
    }
}

#[tokio::test]
async fn p1_p11_every_event_type_occurs_and_keeps_to_its_schema() {
    let clock = Clock::manual(noon());
    let options = Options { initial: 120, rate: 0.0005, ..Options::default() };
    let world = World::with(options, &[("events.include_userid", "true")], clock.clone()).await;
    let mut engine = world.engine().await;
    engine.once().await.unwrap();
    for _ in 0..6 {
        clock.advance(TimeDelta::hours(10));
        engine.hot().await.unwrap();
    }
    // What few lives hold is made by hand.
    let of = |n: usize| world.simulator.truth()[n]["submission_id"].as_str().unwrap().to_owned();
    let (id, other) = (of(0), of(1));
    let found = |score: f64| json!({"resource_id": "r1", "risk_level": "HIGH", "score": score, "risk_icons": ["PEP"]});
    for patch in [
        json!({"kyc": {"result": "rejected", "commentCode": ["other"], "comment": ["for Jane"]}, "reviewer": "system"}),
        json!({"kyc": {"comment": ["for Jack"]}, "reviewer": "agent"}),
        json!({"kyc": {"attempts": [{"attemptCnt": 1}]}}),
        json!({"kyc": {"attempts": [{"attemptCnt": 1, "errorCode": "x"}, {"attemptCnt": 2, "livenessScore": "9.50"}]}}),
        json!({"aml": {"currentstatus": "Not Screened", "risk_level_summary": "Not Screened", "matches": null}}),
        json!({"aml": {"currentstatus": "Red Flag", "risk_level_summary": "High", "matches": [found(90.0)]}}),
        json!({"aml": {"matches": [found(95.5)]}}),
        json!({"aml": {"currentstatus": "Not Screened", "risk_level_summary": "Low", "matches": null}}),
        json!({"bank_verification": {"result": "fail", "type": "occupancy", "bank_code": "004", "retry_count": 5}}),
        json!({"Injection_action": {"type": "address", "time": "2026-03-10T12:00:00Z"}}),
        json!({"userid": null}),
    ] {
        world.simulator.patch(&id, patch);
        engine.once().await.unwrap();
    }
    let life = world.simulator.truth()[1].clone();
    world.simulator.blank(&other);
    engine.once().await.unwrap();
    // Both were deleted at the vendor's, one of them by mistake.
    for _ in 0..4 {
        engine.confirm().await.unwrap();
        clock.advance(TimeDelta::hours(6));
    }
    world.simulator.put(life);
    engine.read_by_id(Lane::Refresh, &other).await.unwrap();

    let types = assert_valid_events(&world.database.pool).await;
    let all: BTreeSet<String> = EventType::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(types, all, "a type is missing, or one is not in EventType::ALL");
    let without = "select count(*) from argos.outbox where submission_id is not null and not payload ? 'userid'
                      and submission_id not in (select submission_id from argos.erasure_receipts)";
    assert_eq!(world.database.number(without).await, 0, "the setting adds userid to every submission's event");
    the_queries_of_the_readme_run(&world.database).await;
}

/// docs/events/README.md shows a query per type; each runs.
async fn the_queries_of_the_readme_run(database: &Database) {
    let readme = readme();
    let sql: String = readme.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let queries: Vec<&str> = sql.split(";\n").map(str::trim).filter(|query| !query.is_empty()).collect();
    assert_eq!(queries.len(), 1 + EventType::ALL.len());
    for (kind, query) in EventType::ALL.iter().zip(&queries[1..]) {
        assert!(query.starts_with(&format!("-- {}: ", kind.as_str())), "in the order of the types: {query}");
    }
    for query in queries {
        let query = query.replace("$1", "0");
        sqlx::raw_sql(sqlx::AssertSqlSafe(query.as_str()))
            .execute(&database.pool)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

fn readme() -> String {
    std::fs::read_to_string(directory().join("README.md")).unwrap()
}

#[test]
fn the_readme_lists_the_types_in_their_order_within_a_version() {
    let readme = readme();
    let rows: Vec<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(name, _)| name).collect();
    let types: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(rows[..types.len()], types);
    assert!(EventType::ALL.is_sorted());
}
