//! The contract of docs/events, held against an outbox.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use argos_sync::domain::event::EventType;
use jsonschema::Validator;
use serde_json::Value;
use sqlx::PgPool;

/// Where the schemas are.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/events")
}

/// The schema of every event type, by the type's name.
pub static SCHEMAS: LazyLock<BTreeMap<&str, (Value, Validator)>> = LazyLock::new(|| {
    let load = |kind: EventType| {
        let path = directory().join(format!("{}.v1.schema.json", kind.as_str()));
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("every event type has a schema: write {} ({error})", path.display()));
        let schema: Value = serde_json::from_str(&text).unwrap();
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        (kind.as_str(), (schema, validator))
    };
    EventType::ALL.into_iter().map(load).collect()
});

/// Why a payload does not fit its type's schema; empty if it does.
pub fn misfits(kind: &str, payload: &Value) -> Vec<String> {
    let (_, validator) = SCHEMAS.get(kind).unwrap_or_else(|| panic!("{kind} is not in EventType::ALL"));
    validator.iter_errors(payload).map(|error| format!("{kind} {}: {error}", error.instance_path())).collect()
}

/// Holds every payload in the outbox against its schema, and the row's columns against the payload. Returns the types
/// that occurred.
pub async fn assert_valid_events(pool: &PgPool) -> BTreeSet<String> {
    type Row = (i64, String, String, String, Value, String, Option<String>, Option<i64>);
    let sql = "select position, type, aggregatetype, aggregateid, payload, project_id, submission_id, version
                 from argos.outbox order by position";
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(pool).await.unwrap();
    let mut types = BTreeSet::new();
    for (position, kind, aggregate, aggregate_id, payload, project, submission, version) in rows {
        assert_eq!(misfits(&kind, &payload), Vec::<String>::new(), "position {position}: {payload:#}");
        assert_eq!(payload["type"], kind);
        assert_eq!(payload["project"], project);
        assert_eq!(payload.get("submission_id").and_then(Value::as_str), submission.as_deref());
        assert_eq!(payload.get("version").and_then(Value::as_i64), version);
        match submission {
            Some(submission) => {
                assert_eq!((aggregate.as_str(), aggregate_id), ("submission", format!("{project}:{submission}")));
            }
            None => assert_eq!((aggregate.as_str(), aggregate_id), ("project", project)),
        }
        types.insert(kind);
    }
    types
}
