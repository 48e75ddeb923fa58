//! What the status page shows beside the picture: marks for its calendar, open flags and the last events. Ids, codes
//! and times.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::store::error::StoreError;

/// How far back the last events are looked for among those of other projects.
const REACH: i64 = 10_000;

/// A submission whose AML status is Red Flag.
#[derive(Clone, Debug)]
pub struct RedFlag {
    /// Which one.
    pub submission_id: String,
    /// Its created-day.
    pub created_day: NaiveDate,
    /// aml.risk_level_summary.
    pub risk: Option<String>,
    /// When its last change was seen.
    pub changed_at: Timestamp,
}

/// An event of the outbox.
#[derive(Clone, Debug)]
pub struct RecentEvent {
    /// Its place.
    pub position: i64,
    /// Its type.
    pub kind: String,
    /// Whose it is; `None`: the project's.
    pub submission_id: Option<String>,
    /// When it was written.
    pub recorded_at: Timestamp,
    /// The payload's `from`, where that is a text.
    pub from: Option<String>,
    /// The payload's `to`, where that is a text.
    pub to: Option<String>,
}

/// Open red flags, the last changed first, so many at most.
pub async fn red_flags(
    connection: &mut PgConnection,
    project_id: &str,
    limit: i64,
) -> Result<Vec<RedFlag>, StoreError> {
    sqlx::query_as!(
        RedFlag,
        "select submission_id, created_day, aml_risk_level_summary as risk, changed_at
           from argos.submissions
          where project_id = $1 and lower(btrim(aml_currentstatus)) = 'red flag'
          order by changed_at desc, submission_id limit $2",
        project_id,
        limit
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading the open red flags"))
}

/// How many red flags are open on each created-day that has one.
pub async fn red_flag_days(
    connection: &mut PgConnection,
    project_id: &str,
) -> Result<BTreeMap<NaiveDate, i64>, StoreError> {
    let rows = sqlx::query!(
        r#"select created_day, count(*) as "count!"
             from argos.submissions
            where project_id = $1 and lower(btrim(aml_currentstatus)) = 'red flag'
            group by created_day"#,
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("counting the open red flags"))?;
    Ok(rows.into_iter().map(|row| (row.created_day, row.count)).collect())
}

/// A project's last events, the newest first, so many at most.
pub async fn last_events(
    connection: &mut PgConnection,
    project_id: &str,
    limit: i64,
) -> Result<Vec<RecentEvent>, StoreError> {
    sqlx::query_as!(
        RecentEvent,
        r#"select position, type as kind, submission_id, recorded_at,
                  case jsonb_typeof(payload -> 'from') when 'string' then payload ->> 'from' end as "from",
                  case jsonb_typeof(payload -> 'to') when 'string' then payload ->> 'to' end as "to"
             from argos.outbox
            where project_id = $1 and position > (select last_position - $3 from argos.outbox_counter)
            order by position desc limit $2"#,
        project_id,
        limit,
        REACH
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading the last events"))
}
