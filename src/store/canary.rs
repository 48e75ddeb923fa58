//! Draws a submission and looks whether its row is what its item says.

use chrono::NaiveDate;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::error::StoreError;
use crate::domain::field::SUBMISSION;
use crate::domain::submission::{Drift, Submission};

/// The submission at a place (from 0) of a created-day, in the order of ids.
pub async fn draw(
    connection: &mut PgConnection,
    project_id: &str,
    day: NaiveDate,
    place: i64,
) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar!(
        "select submission_id from argos.submissions
          where project_id = $1 and created_day = $2 and gone_at is null
          order by submission_id offset $3 limit 1",
        project_id,
        day,
        place
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("drawing a submission"))
}

/// Whether a submission's columns and the numbers of its child rows are those that its stored item makes.
pub async fn sound(
    connection: &mut PgConnection,
    project_id: &str,
    submission_id: &str,
    item: &Value,
) -> Result<bool, StoreError> {
    let submission = Submission::new(submission_id.to_owned(), item.clone());
    let mut unused = Drift::default();
    let mut row: Map<String, Value> = SUBMISSION.iter().map(|field| (field.column.to_owned(), Value::Null)).collect();
    row.extend(submission.row(&mut unused));
    let children = [
        submission.attempt_rows(&mut unused).len(),
        submission.match_rows(&mut unused).len(),
        usize::from(submission.bank_row(&mut unused).is_some()),
    ]
    .map(|count| count as i64);
    sqlx::query_scalar!(
        // The row with its own columns written over it anew: the same, if nothing else has written there.
        r#"select not (s.* is distinct from jsonb_populate_record(s, $3))
              and (select count(*) from argos.attempts c
                    where c.project_id = s.project_id and c.submission_id = s.submission_id) = $4
              and (select count(*) from argos.aml_matches c
                    where c.project_id = s.project_id and c.submission_id = s.submission_id) = $5
              and (select count(*) from argos.bank_verifications c
                    where c.project_id = s.project_id and c.submission_id = s.submission_id) = $6 as "sound!"
             from argos.submissions s where project_id = $1 and submission_id = $2"#,
        project_id,
        submission_id,
        Json(Value::Object(row)) as _,
        children[0],
        children[1],
        children[2]
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("comparing a submission with its item"))
}
