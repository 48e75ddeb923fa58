//! Does the mirror equal what the vendor shows? Asked of the tables themselves, past the daemon's code.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use sqlx::PgPool;
use sqlx::types::Json;

use super::PROJECT;
use super::form::{Form, at};
use crate::domain::field::{ATTEMPT, BANK, Field, Kind, MATCH, SUBMISSION};

/// What the comparison found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Items the vendor shows.
    pub(super) truth_items: usize,
    /// Rows of submissions, by kyc.result.
    pub(super) mirrored: BTreeMap<String, usize>,
    /// Rows of the child tables.
    pub(super) attempts: usize,
    pub(super) matches: usize,
    pub(super) banks: usize,
    /// Rows whose AML status is Red Flag.
    pub(super) red_flags_open: usize,
    /// Items in quarantine.
    pub(super) quarantined: i64,
    /// What differs, by submission: names of fields, never values.
    pub(super) differing: BTreeMap<String, BTreeSet<String>>,
    /// Events in the outbox, by type.
    pub(super) events: BTreeMap<String, i64>,
    /// Rules that rows of the outbox and the history break, and how often.
    pub(super) broken: BTreeMap<&'static str, i64>,
}

impl Verdict {
    /// Rows of submissions.
    pub(super) fn submissions(&self) -> usize {
        self.mirrored.values().sum()
    }

    fn differs(&mut self, id: &str, what: &str) {
        self.differing.entry(id.to_owned()).or_default().insert(what.to_owned());
    }
}

/// Compares every item and every row.
pub(super) async fn verify(pool: &PgPool, truth: &[Value]) -> Result<Verdict, sqlx::Error> {
    let mut verdict = Verdict { truth_items: truth.len(), ..Verdict::default() };
    // Not checked at build time: a look into tables, as anybody may take it, and no part of the daemon.
    let rows: Vec<Json<Value>> =
        sqlx::query_scalar("select to_jsonb(t) from argos.submissions t where project_id = $1")
            .bind(PROJECT)
            .fetch_all(pool)
            .await?;
    let mut attempts =
        children(pool, "select to_jsonb(t) from argos.attempts t where project_id = $1 order by submission_id, place")
            .await?;
    let mut matches = children(
        pool,
        "select to_jsonb(t) from argos.aml_matches t where project_id = $1 order by submission_id, place",
    )
    .await?;
    let mut banks = children(pool, "select to_jsonb(t) from argos.bank_verifications t where project_id = $1").await?;
    verdict.attempts = attempts.values().map(Vec::len).sum();
    verdict.matches = matches.values().map(Vec::len).sum();
    verdict.banks = banks.values().map(Vec::len).sum();

    let mut shown: HashMap<&str, &Value> = truth.iter().map(|item| (id_of(item), item)).collect();
    for Json(row) in &rows {
        let id = id_of(row);
        let result = row["kyc_result"].as_str().unwrap_or("none").to_owned();
        *verdict.mirrored.entry(result).or_default() += 1;
        let flag = row["aml_currentstatus"].as_str().is_some_and(|status| status.eq_ignore_ascii_case("red flag"));
        verdict.red_flags_open += usize::from(flag);
        let Some(item) = shown.remove(id) else {
            verdict.differs(id, "only in the mirror");
            continue;
        };
        if Form::of(item, &[]).hash() != Form::of(&row["item"], &[]).hash() {
            verdict.differs(id, "item");
        }
        // The day of created_at in UTC, which is how the simulator writes it.
        if row["created_day"].as_str() != item["created_at"].as_str().and_then(|at| at.get(..10)) {
            verdict.differs(id, "created_day");
        }
        columns(&mut verdict, id, "", &[], SUBMISSION, item, row);
        list(&mut verdict, id, &["kyc", "attempts"], ATTEMPT, item, &attempts.remove(id).unwrap_or_default());
        list(&mut verdict, id, &["aml", "matches"], MATCH, item, &matches.remove(id).unwrap_or_default());
        let bank = banks.remove(id).unwrap_or_default();
        match (item["bank_verification"].is_object(), bank.as_slice()) {
            (false, []) => {}
            (true, [row]) => {
                let path = &["bank_verification"];
                columns(&mut verdict, id, "bank_verification.", path, BANK, &item["bank_verification"], row);
            }
            _ => verdict.differs(id, "bank_verification"),
        }
    }
    shown.keys().for_each(|id| verdict.differs(id, "not in the mirror"));
    for id in attempts.keys().chain(matches.keys()).chain(banks.keys()) {
        verdict.differs(id, "rows without a submission");
    }
    outbox(pool, &mut verdict).await?;
    Ok(verdict)
}

fn id_of(item: &Value) -> &str {
    item["submission_id"].as_str().unwrap_or_default()
}

async fn children(pool: &PgPool, sql: &'static str) -> Result<HashMap<String, Vec<Value>>, sqlx::Error> {
    let rows: Vec<Json<Value>> = sqlx::query_scalar(sql).bind(PROJECT).fetch_all(pool).await?;
    let mut by_id: HashMap<String, Vec<Value>> = HashMap::new();
    for Json(row) in rows {
        by_id.entry(id_of(&row).to_owned()).or_default().push(row);
    }
    Ok(by_id)
}

/// Compares the rows of a list with the list.
fn list(verdict: &mut Verdict, id: &str, path: &[&str], fields: &[Field], item: &Value, rows: &[Value]) {
    let none = Vec::new();
    let shown = at(item, &[], path).as_array().unwrap_or(&none);
    let name = path.join(".");
    if shown.len() != rows.len() {
        return verdict.differs(id, &name);
    }
    for (i, (object, row)) in shown.iter().zip(rows).enumerate() {
        if row["place"].as_u64() != Some(i as u64 + 1) {
            verdict.differs(id, &format!("{name}: place"));
        }
        columns(verdict, id, &format!("{name}."), path, fields, object, row);
    }
}

/// Compares the columns of a row with the object they come from.
fn columns(
    verdict: &mut Verdict,
    id: &str,
    prefix: &str,
    within: &[&str],
    fields: &[Field],
    object: &Value,
    row: &Value,
) {
    for field in fields.iter().filter(|field| field.kind != Kind::Link) {
        let (shown, stored) = (at(object, within, field.path), row.get(field.column));
        let same = match (field.kind, stored) {
            (_, None) => false,
            (Kind::Json, Some(stored)) => {
                let path = [within, field.path].concat();
                Form::of(shown, &path) == Form::of(stored, &path)
            }
            // What is not usable leaves the column empty.
            (kind, Some(stored)) => Some(Form::field(shown, kind).unwrap_or(Form::Absent)) == Form::field(stored, kind),
        };
        if !same {
            verdict.differs(id, &format!("{prefix}{}", field.path.join(".")));
        }
    }
}

/// Rules, and the query that counts what breaks them.
const RULES: &[(&str, &str)] = &[
    (
        "a version without an event",
        "select count(*) from argos.submission_versions v where not exists (
             select from argos.outbox o
              where o.project_id = v.project_id and o.submission_id = v.submission_id and o.version = v.version)",
    ),
    (
        "an event without its version",
        "select count(*) from argos.outbox o where o.submission_id is not null and not exists (
             select from argos.submission_versions v
              where v.project_id = o.project_id and v.submission_id = o.submission_id and v.version = o.version)",
    ),
    ("an event id that repeats", "select count(*) - count(distinct id) from argos.outbox"),
    ("positions that do not begin at 1", "select abs(coalesce(min(position), 1) - 1) from argos.outbox"),
    ("a gap in the positions", "select coalesce(max(position), 0) - count(*) from argos.outbox"),
    (
        "a counter that is not the last position",
        "select count(*) from argos.outbox_counter
          where last_position <> (select coalesce(max(position), 0) from argos.outbox)",
    ),
    (
        "a version whose events are not numbered from 0",
        "select count(*) from (select from argos.outbox where submission_id is not null
                                group by project_id, submission_id, version
                               having min(ordinal) <> 0 or max(ordinal) <> count(*) - 1) v",
    ),
    (
        "a row that is not its last version",
        "select count(*) from argos.submissions s where not exists (
             select from argos.submission_versions v
              where v.project_id = s.project_id and v.submission_id = s.submission_id
                and v.version = s.version and v.version_id = s.version_id and v.item = s.item)",
    ),
    (
        "versions that are not numbered from 1 to the row's",
        "select count(*) from argos.submissions s
           left join (select project_id, submission_id, count(*), min(version), max(version)
                        from argos.submission_versions group by 1, 2) v using (project_id, submission_id)
          where (v.count, v.min, v.max) is distinct from (s.version, 1::bigint, s.version)",
    ),
    (
        "a count by result that is wrong",
        "select count(*) from (select coalesce(kyc_result, 'none') as label, count(*) from argos.submissions group by 1) s
           full join (select label, value from argos.counters where name = 'submissions' and value <> 0) c using (label)
          where s.count is distinct from c.value",
    ),
    (
        "a wrong count of open Red Flags",
        "select abs((select count(*) from argos.submissions where lower(aml_currentstatus) = 'red flag')
                    - (select coalesce(sum(value), 0) from argos.counters where name = 'red_flags_open'))::bigint",
    ),
];

async fn outbox(pool: &PgPool, verdict: &mut Verdict) -> Result<(), sqlx::Error> {
    let events: Vec<(String, i64)> =
        sqlx::query_as("select type, count(*) from argos.outbox group by type").fetch_all(pool).await?;
    verdict.events = events.into_iter().collect();
    verdict.quarantined = sqlx::query_scalar("select count(*) from argos.quarantine").fetch_one(pool).await?;
    for (rule, sql) in RULES {
        let times: i64 = sqlx::query_scalar(*sql).fetch_one(pool).await?;
        if times != 0 {
            verdict.broken.insert(rule, times);
        }
    }
    Ok(())
}
