//! What was found out about a project's vendor, and what the mirror knows that helps to find it out.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::error::{StoreError, touched};
use crate::domain::probe::judge::{DayCount, Seen};
use crate::domain::probe::{Fact, Findings, Stored};

/// The fact that stands for the last probe itself.
const PROBE: &str = "probe";

/// The most submissions that are looked at around a day.
const KNOWN: i64 = 20_000;

/// How many days back the mirror is looked at.
const LOOK_BACK: u64 = 400;

/// Reads what is known; nothing of it is there before the first probe.
pub async fn findings(connection: &mut PgConnection, project_id: &str) -> Result<Findings, StoreError> {
    let rows = sqlx::query!(
        "select fact, value, evidence, found_at, settled, previous, changed_at
           from argos.probes where project_id = $1",
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading the findings"))?;
    let (mut facts, mut found_at, mut source) = (BTreeMap::new(), None, None);
    for row in rows {
        if row.fact == PROBE {
            found_at = Some(row.found_at);
            source = row.value.get("source").and_then(Value::as_str).map(str::to_owned);
        }
        // A fact of a newer release is not ours to judge.
        let Some(fact) = Fact::parse(&row.fact) else { continue };
        let stored = Stored {
            value: row.value,
            evidence: row.evidence,
            found_at: row.found_at,
            settled: row.settled,
            previous: row.previous,
            changed_at: row.changed_at,
        };
        facts.insert(fact, stored);
    }
    Ok(Findings::new(facts, found_at, source))
}

/// Writes what is known after a probe that took so many requests. In a transaction that only the leader can begin.
pub async fn save(
    connection: &mut PgConnection,
    project_id: &str,
    findings: &Findings,
    requests: u64,
) -> Result<(), StoreError> {
    let doing = "writing the findings";
    let Some(found_at) = findings.found_at else { return Ok(()) };
    let probe = Stored {
        value: json!({"source": findings.source, "requests": requests}),
        evidence: String::new(),
        found_at,
        settled: None,
        previous: None,
        changed_at: None,
    };
    let facts = findings.facts.iter().map(|(fact, stored)| (fact.as_str(), stored));
    let kept: Vec<String> = facts.clone().map(|(fact, _)| fact.to_owned()).collect();
    // Facts that another dialect or server showed; those of a newer release stay.
    let known: Vec<String> = Fact::ALL.map(|fact| fact.as_str().to_owned()).to_vec();
    sqlx::query!(
        "delete from argos.probes where project_id = $1 and fact = any($2) and fact <> all($3)",
        project_id,
        &known,
        &kept
    )
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    for (fact, stored) in facts.chain([(PROBE, &probe)]) {
        let done = sqlx::query!(
            "insert into argos.probes (project_id, fact, value, evidence, found_at, settled, previous, changed_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
                 on conflict (project_id, fact) do update
                set value = excluded.value, evidence = excluded.evidence, found_at = excluded.found_at,
                    settled = excluded.settled, previous = excluded.previous, changed_at = excluded.changed_at",
            project_id,
            fact,
            stored.value,
            stored.evidence,
            stored.found_at,
            stored.settled,
            stored.previous,
            stored.changed_at
        )
        .execute(&mut *connection)
        .await
        .map_err(StoreError::doing(doing))?;
        touched(doing, done.rows_affected(), 1)?;
    }
    Ok(())
}

/// How many submissions the mirror holds of each of the last days, and in their first and last hours (UTC). Reads an
/// index only.
pub async fn days(
    connection: &mut PgConnection,
    project_id: &str,
    today: NaiveDate,
) -> Result<Vec<DayCount>, StoreError> {
    let since = today.checked_sub_days(Days::new(LOOK_BACK)).unwrap_or(today);
    let rows = sqlx::query!(
        r#"select created_day, count(*) as "submissions!",
                  count(*) filter (where extract(hour from created_at at time zone 'utc') = 0) as "first_hour!",
                  count(*) filter (where extract(hour from created_at at time zone 'utc') = 23) as "last_hour!"
             from argos.submissions
            where project_id = $1 and created_day >= $2 and gone_at is null and created_at is not null
            group by created_day"#,
        project_id,
        since
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("counting days"))?;
    let number = |count: i64| u64::try_from(count).unwrap_or(0);
    let day = |row| {
        let (day, submissions, first_hour, last_hour) = row;
        DayCount { day, submissions: number(submissions), first_hour: number(first_hour), last_hour: number(last_hour) }
    };
    let rows = rows.into_iter().map(|row| (row.created_day, row.submissions, row.first_hour, row.last_hour));
    Ok(rows.map(day).collect())
}

/// The submissions that the mirror holds around a day: from two days before it to three after.
pub async fn known(connection: &mut PgConnection, project_id: &str, day: NaiveDate) -> Result<Vec<Seen>, StoreError> {
    let first = day.checked_sub_days(Days::new(2)).unwrap_or(day);
    let last = day.checked_add_days(Days::new(3)).unwrap_or(day);
    let rows = sqlx::query_as!(
        Seen,
        "select submission_id as id, created_at, updated_at
           from argos.submissions
          where project_id = $1 and created_day between $2 and $3 and gone_at is null and created_at is not null
          limit $4",
        project_id,
        first,
        last,
        KNOWN
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading a day's submissions"))?;
    Ok(rows)
}
