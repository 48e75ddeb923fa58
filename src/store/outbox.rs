//! The outbox: one row per event, appended last in the transaction that writes what it tells.

use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::{Json, Uuid};

use super::error::{StoreError, touched};
use crate::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::time;

/// Appends the events that are not there yet (those that are leave the list) and returns the position of the last one. Must
/// be the last write of the transaction: the counter's row stays locked until the commit, which makes position order commit
/// order, and holds up every other project's commit.
pub async fn append(
    connection: &mut PgConnection,
    project_id: &str,
    events: &mut Vec<Event>,
    traceparent: &str,
    recorded_at: Timestamp,
) -> Result<i64, StoreError> {
    // A submission whose rows an operator has deleted by hand is new again, with the ids of before: told is told.
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let told = sqlx::query_scalar!("select id from argos.outbox where id = any($1)", &ids)
        .fetch_all(&mut *connection)
        .await
        .map_err(StoreError::doing("looking for events that are told"))?;
    events.retain(|event| !told.contains(&event.id));
    let count = events.len() as i64;
    let last = sqlx::query_scalar!(
        "update argos.outbox_counter set last_position = last_position + $1 returning last_position",
        count
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::doing("taking outbox positions"))?;
    let rows: Vec<Value> = events
        .iter()
        .zip(last - count + 1..)
        .map(|(event, position)| {
            let (aggregate, id) = match &event.submission_id {
                Some(submission_id) => ("submission", format!("{project_id}:{submission_id}")),
                None => ("project", project_id.to_owned()),
            };
            json!({
                "position": position,
                "id": event.id.to_string(),
                "aggregatetype": aggregate,
                "aggregateid": id,
                "type": event.kind.as_str(),
                "payload": event.payload,
                "project_id": project_id,
                "submission_id": event.submission_id,
                "version": event.version,
                "ordinal": event.ordinal,
                "traceparent": traceparent,
                "recorded_at": time::format(recorded_at),
            })
        })
        .collect();
    let done = sqlx::query!(
        "insert into argos.outbox (position, id, aggregatetype, aggregateid, type, payload, project_id, submission_id,
                                   version, ordinal, traceparent, recorded_at)
         select position, id, aggregatetype, aggregateid, type, payload, project_id, submission_id,
                version, ordinal, traceparent, recorded_at
           from jsonb_populate_recordset(null::argos.outbox, $1)",
        Json(rows) as _
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("appending to the outbox"))?;
    touched("appending to the outbox", done.rows_affected(), count as u64)?;
    Ok(last)
}

/// Takes `userid` out of a submission's payloads (it is there only with events.include_userid): the one exception to
/// "rows are never updated".
pub async fn forget_userid(
    connection: &mut PgConnection,
    project_id: &str,
    submission_id: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update argos.outbox set payload = payload - 'userid'
          where project_id = $1 and submission_id = $2 and payload ? 'userid'",
        project_id,
        submission_id
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("erasing userid from payloads"))?;
    Ok(())
}

/// After a restore: another generation, so that consumers start over; the former and the new one. It rises to the seconds
/// since 1970: the same backup may be restored twice, and the same number must not come twice.
pub async fn begin_generation(connection: &mut PgConnection, at: Timestamp) -> Result<(i64, i64), StoreError> {
    let row = sqlx::query!(
        "with former as (select outbox_generation from argos.outbox_counter for update)
         update argos.outbox_counter c set outbox_generation = greatest(c.outbox_generation + 1, $1)
           from former
      returning former.outbox_generation as former, c.outbox_generation as new",
        at.timestamp()
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("beginning a generation of the outbox"))?;
    Ok((row.former, row.new))
}

/// How many events there are, at most: positions from the oldest that is kept to the newest, of all projects.
pub async fn size(connection: &mut PgConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar!(
        r#"select coalesce(last_position - (select min(position) from argos.outbox) + 1, 0) as "size!"
             from argos.outbox_counter"#
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("measuring the outbox"))
}
