//! The current state: `submissions` and their child tables, and the counts that metrics show.

use std::collections::HashMap;

use chrono::NaiveDate;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::error::{StoreError, hash, touched};
use super::recordset::{AML_MATCHES, ATTEMPTS, BANK_VERIFICATIONS, SUBMISSIONS};
use crate::clock::Timestamp;
use crate::domain::hash::Hash;
use crate::domain::lane::View;
use crate::domain::submission::{Drift, Submission};
use crate::domain::time;
use crate::domain::views::Fields;

/// What is known about an id of a page before anything is decoded.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The body hash of this view, if it was taken at the current version.
    pub body_hash: Option<Hash>,
    /// Whether the quarantine holds something of this id.
    pub quarantined: bool,
    /// Whether it is suspected to be deleted, wholly or in part.
    pub suspected: bool,
}

/// A stored submission, to compare with.
pub struct Stored {
    /// Its version.
    pub version: i64,
    /// Its version id.
    pub version_id: Hash,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
    /// The request that first showed it; see [`Write::first_request`].
    pub first_request: i64,
    /// When it was confirmed to be gone.
    pub gone_at: Option<Timestamp>,
    /// When the last change was seen; see [`Write::changed_at`].
    pub changed_at: Timestamp,
    /// Its created-day; kept once it is set.
    pub created_day: NaiveDate,
    /// Whether its first sight was history.
    pub history: bool,
    /// Fields whose removal was carried out.
    pub removed_fields: Fields,
    /// The stored item.
    pub item: Value,
}

/// A submission to be written, at its new version.
pub struct Write<'a> {
    /// What it is now.
    pub submission: &'a Submission,
    /// The new version: 1 for a new submission.
    pub version: i64,
    /// The new version's id.
    pub version_id: Hash,
    /// When the submission was first seen.
    pub first_seen_at: Timestamp,
    /// The request that first showed it, counted over lease epochs.
    pub first_request: i64,
    /// When it was confirmed to be gone; `None`: the vendor has it.
    pub gone_at: Option<Timestamp>,
    /// When this version was observed.
    pub observed_at: Timestamp,
    /// When the last change of the vendor's state was seen: this version, unless it only adds what earlier views could
    /// not show.
    pub changed_at: Timestamp,
    /// Its created-day.
    pub created_day: NaiveDate,
    /// Whether its first sight was history.
    pub history: bool,
    /// Fields whose removal was carried out.
    pub removed_fields: &'a Fields,
    /// Whether each child table differs from what is stored.
    pub children_changed: ChildrenChanged,
}

/// Which child tables must be written anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChildrenChanged {
    /// `attempts`
    pub attempts: bool,
    /// `aml_matches`
    pub matches: bool,
    /// `bank_verifications`
    pub bank: bool,
}

/// Looks up the ids of a page. Ids that are not in the mirror are not in the answer.
pub async fn known(
    connection: &mut PgConnection,
    project_id: &str,
    view: View,
    ids: &[String],
) -> Result<HashMap<String, Known>, StoreError> {
    let rows = sqlx::query!(
        r#"select s.submission_id,
                  v.body_hash as "body_hash?",
                  exists (select from argos.quarantine q
                           where q.project_id = s.project_id and q.submission_id = s.submission_id) as "quarantined!",
                  exists (select from argos.erasures e
                           where e.project_id = s.project_id and e.submission_id = s.submission_id) as "suspected!"
             from argos.submissions s
             left join argos.submission_views v
               on v.project_id = s.project_id and v.submission_id = s.submission_id
              and v.view = $2 and v.version = s.version -- a hash is valid only for the version it was taken at
            where s.project_id = $1 and s.submission_id = any($3)"#,
        project_id,
        view.as_str(),
        ids
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("looking up a page's submissions"))?;
    let known = rows.into_iter().map(|row| {
        let body_hash = row.body_hash.and_then(|hash| hash.try_into().ok());
        (row.submission_id, Known { body_hash, quarantined: row.quarantined, suspected: row.suspected })
    });
    Ok(known.collect())
}

/// Reads the stored states of ids.
pub async fn stored(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
) -> Result<HashMap<String, Stored>, StoreError> {
    let rows = sqlx::query!(
        r#"select submission_id, version, version_id, first_seen_at, first_request, gone_at, changed_at, created_day,
                  history, removed_fields, item as "item: Json<Value>"
             from argos.submissions
            where project_id = $1 and submission_id = any($2)"#,
        project_id,
        ids
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading stored submissions"))?;
    rows.into_iter()
        .map(|row| {
            let stored = Stored {
                version: row.version,
                version_id: hash("submissions", "version_id", row.version_id)?,
                first_seen_at: row.first_seen_at,
                first_request: row.first_request,
                gone_at: row.gone_at,
                changed_at: row.changed_at,
                created_day: row.created_day,
                history: row.history,
                removed_fields: row.removed_fields.unwrap_or_default().into_iter().collect(),
                item: row.item.0,
            };
            Ok((row.submission_id, stored))
        })
        .collect()
}

/// Writes submissions and their children. Compare-and-set: a row whose version is not the one
/// before the new one is not touched, and that is an error.
pub async fn write(
    connection: &mut PgConnection,
    project_id: &str,
    writes: &[Write<'_>],
    drift: &mut Drift,
) -> Result<(), StoreError> {
    let rows: Vec<Value> = writes.iter().map(|write| row(project_id, write, drift)).collect();
    let done = SUBMISSIONS.replace(connection, rows).await.map_err(StoreError::doing("writing submissions"))?;
    touched("writing submissions", done, writes.len() as u64)?;
    children(connection, project_id, writes, drift).await
}

/// Writes the child rows of the submissions whose children differ: all of them anew, because a place in a list has no
/// identity of its own.
async fn children(
    connection: &mut PgConnection,
    project_id: &str,
    writes: &[Write<'_>],
    drift: &mut Drift,
) -> Result<(), StoreError> {
    let (ids, rows) =
        child_rows(project_id, writes, |changed| changed.attempts, |submission| submission.attempt_rows(drift));
    if !ids.is_empty() {
        sqlx::query!("delete from argos.attempts where project_id = $1 and submission_id = any($2)", project_id, &ids)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::doing("replacing attempts"))?;
        ATTEMPTS.insert(connection, rows).await.map_err(StoreError::doing("writing attempts"))?;
    }
    let (ids, rows) =
        child_rows(project_id, writes, |changed| changed.matches, |submission| submission.match_rows(drift));
    if !ids.is_empty() {
        sqlx::query!(
            "delete from argos.aml_matches where project_id = $1 and submission_id = any($2)",
            project_id,
            &ids
        )
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing("replacing AML matches"))?;
        AML_MATCHES.insert(connection, rows).await.map_err(StoreError::doing("writing AML matches"))?;
    }
    let bank = |submission: &Submission| submission.bank_row(drift).into_iter().collect();
    let (ids, rows) = child_rows(project_id, writes, |changed| changed.bank, bank);
    if !ids.is_empty() {
        sqlx::query!(
            "delete from argos.bank_verifications where project_id = $1 and submission_id = any($2)",
            project_id,
            &ids
        )
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing("replacing bank verifications"))?;
        BANK_VERIFICATIONS.insert(connection, rows).await.map_err(StoreError::doing("writing bank verifications"))?;
    }
    Ok(())
}

/// The submissions whose children of one kind differ, and all their rows of that kind.
fn child_rows(
    project_id: &str,
    writes: &[Write<'_>],
    changed: fn(&ChildrenChanged) -> bool,
    mut rows_of: impl FnMut(&Submission) -> Vec<Map<String, Value>>,
) -> (Vec<String>, Vec<Value>) {
    let (mut ids, mut rows) = (Vec::new(), Vec::new());
    for write in writes.iter().filter(|write| changed(&write.children_changed)) {
        let id = &write.submission.submission_id;
        for mut row in rows_of(write.submission) {
            row.insert("project_id".to_owned(), json!(project_id));
            row.insert("submission_id".to_owned(), json!(id));
            rows.push(Value::Object(row));
        }
        ids.push(id.clone());
    }
    (ids, rows)
}

fn row(project_id: &str, write: &Write<'_>, drift: &mut Drift) -> Value {
    let mut row = write.submission.row(drift);
    let mut set = |column: &str, value: Value| row.insert(column.to_owned(), value);
    set("project_id", json!(project_id));
    set("submission_id", json!(write.submission.submission_id));
    set("version", json!(write.version));
    set("version_id", bytea(&write.version_id));
    set("first_seen_at", json!(time::format(write.first_seen_at)));
    set("first_request", json!(write.first_request));
    set("gone_at", json!(write.gone_at.map(time::format)));
    set("changed_at", json!(time::format(write.changed_at)));
    set("observed_at", json!(time::format(write.observed_at)));
    set("created_day", json!(write.created_day));
    set("history", json!(write.history));
    set("removed_fields", if write.removed_fields.is_empty() { Value::Null } else { json!(write.removed_fields) });
    set("item", write.submission.item.clone());
    Value::Object(row)
}

/// The text form of a bytea.
pub(super) fn bytea(bytes: &[u8]) -> Value {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    Value::String(text)
}

/// Adds to the counts that metrics show; see [`counts`].
pub async fn count(
    connection: &mut PgConnection,
    project_id: &str,
    deltas: &HashMap<(&'static str, String), i64>,
) -> Result<(), StoreError> {
    let mut deltas: Vec<_> = deltas.iter().filter(|(_, delta)| **delta != 0).collect();
    if deltas.is_empty() {
        return Ok(());
    }
    deltas.sort_unstable();
    let names: Vec<String> = deltas.iter().map(|((name, _), _)| (*name).to_owned()).collect();
    let labels: Vec<String> = deltas.iter().map(|((_, label), _)| label.clone()).collect();
    let values: Vec<i64> = deltas.iter().map(|(_, delta)| **delta).collect();
    sqlx::query!(
        "insert into argos.counters as c (project_id, name, label, value)
         select $1, name, label, value from unnest($2::text[], $3::text[], $4::bigint[]) as d (name, label, value)
             on conflict (project_id, name, label) do update set value = c.value + excluded.value",
        project_id,
        &names,
        &labels,
        &values
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("counting"))?;
    Ok(())
}

/// Counts anew how many rejected submissions have a code: a writer of another release may not have counted them. The same
/// as `State::reject_codes`, of the column.
pub async fn recount_rejected(connection: &mut PgConnection, project_id: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "with found as (
             select label, count(*) as value
               from argos.submissions,
                    lateral (select distinct case when code ~ '^[A-Za-z0-9_.-]{1,64}$' then code
                                                  else 'unlisted' end as label
                               from unnest(case when cardinality(kyc_comment_code) > 0 then kyc_comment_code
                                                else '{none}' end) as code) as codes
              where project_id = $1 and kyc_result = 'rejected' and gone_at is null
              group by label),
         gone as (
             update argos.counters set value = 0
              where project_id = $1 and name = 'rejected' and value <> 0 and label not in (select label from found))
         insert into argos.counters as c (project_id, name, label, value)
         select $1, 'rejected', label, value from found
             on conflict (project_id, name, label) do update set value = excluded.value where c.value <> excluded.value",
        project_id
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("counting reject codes"))?;
    Ok(())
}

/// The counts: `submissions` by kyc.result (label `none`: no result), `rejected` by code, `red_flags_open`; by risk `red_flags_raised` and
/// `red_flags_escalated`; `approvals_revoked`.
pub async fn counts(
    connection: &mut PgConnection,
    project_id: &str,
) -> Result<HashMap<(String, String), i64>, StoreError> {
    let rows = sqlx::query!("select name, label, value from argos.counters where project_id = $1", project_id)
        .fetch_all(connection)
        .await
        .map_err(StoreError::doing("reading the counts"))?;
    Ok(rows.into_iter().map(|row| ((row.name, row.label), row.value)).collect())
}

/// Since when the submission has been pending that has been so for longest. Reads the end of an index.
pub async fn pending_since(connection: &mut PgConnection, project_id: &str) -> Result<Option<Timestamp>, StoreError> {
    sqlx::query_scalar!(
        "select min(coalesce(pending_at, created_at, first_seen_at)) from argos.submissions
          where project_id = $1 and kyc_result = 'pending' and gone_at is null",
        project_id
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("looking for the oldest pending submission"))
}
