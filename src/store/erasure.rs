//! `erasures` and `erasure_holds`: what the vendor seems to have deleted, and whether that is believed.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::error::StoreError;
use crate::clock::Timestamp;
use crate::domain::erasure::{Kind, mass};
use crate::domain::lane::{Lane, View};
use crate::domain::views::Fields;

/// A suspicion.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspicion {
    /// The submission.
    pub submission_id: String,
    /// In which form it seems to be deleted.
    pub kind: Kind,
    /// The fields that are missing; none if the submission is gone.
    pub fields: Fields,
    /// Which walk noticed it.
    pub lane: String,
    /// When it was noticed.
    pub noticed_at: Timestamp,
    /// When it was confirmed by id.
    pub confirmed_at: Vec<Timestamp>,
    /// When it is looked at next.
    pub next_check_at: Timestamp,
    /// When an operator released it.
    pub released_at: Option<Timestamp>,
    /// When a list last lacked it, to within ten minutes; `None`: no list did since it was noticed.
    pub lacked_at: Option<Timestamp>,
}

/// A project's erasures that wait for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The project.
    pub project_id: String,
    /// Since when.
    pub since: Timestamp,
    /// Suspicions when it began.
    pub suspicions: i64,
    /// Submissions then.
    pub submissions: i64,
}

/// Notes that an answer by id, or (lane verify) a complete walk, did not show these submissions. One that is suspected
/// already is left as it is, but for when a list lacked it; so is one that is gone already or is not stored. None is looked
/// at before it has rested: see [`super::id_reads::checked`].
pub async fn suspect_gone(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
    at: Timestamp,
    lane: Lane,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into argos.erasures as e (project_id, submission_id, kind, lane, noticed_at, next_check_at, lacked_at)
         select s.project_id, s.submission_id, 'gone', $3, $4, greatest($4, c.not_before), $5
           from argos.submissions s
           left join argos.id_checks c on c.project_id = s.project_id and c.submission_id = s.submission_id
          where s.project_id = $1 and s.submission_id = any($2) and s.gone_at is null
             on conflict (project_id, submission_id) do update set lacked_at = excluded.lacked_at
          where excluded.lacked_at > coalesce(e.lacked_at, '-infinity') + interval '10 minutes'",
        project_id,
        ids,
        lane.as_str(),
        at,
        (lane == Lane::Verify).then_some(at)
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting what is no longer shown"))?;
    Ok(())
}

/// Notes that an answer of a view lacks fields that the view had shown. What is suspected already writes nothing but, now
/// and then, when a list lacked it; more fields, or another form, begin the confirmation anew, after its rest: see
/// [`super::id_reads::checked`].
pub async fn suspect(
    connection: &mut PgConnection,
    project_id: &str,
    submission_id: &str,
    (kind, fields): (Kind, &Fields),
    at: Timestamp,
    (view, lane): (View, Lane),
) -> Result<(), StoreError> {
    let doing = "noting that fields are missing";
    let fields: Vec<String> = fields.iter().cloned().collect();
    let lacked_at = (view == View::List).then_some(at);
    sqlx::query!(
        "insert into argos.erasures as e
                (project_id, submission_id, kind, fields, lane, noticed_at, next_check_at, lacked_at)
         select $1, $2, $3, $4::text[], $5, $6,
                greatest($6, (select not_before from argos.id_checks where project_id = $1 and submission_id = $2)), $7
             on conflict (project_id, submission_id) do update
            set kind = excluded.kind,
                fields = (select array_agg(distinct field order by field)
                            from unnest(e.fields || excluded.fields) field),
                confirmed_at = '{}', next_check_at = excluded.next_check_at, lacked_at = excluded.lacked_at
          where e.kind = 'gone' or not e.fields @> excluded.fields",
        project_id,
        submission_id,
        kind.as_str(),
        &fields,
        lane.as_str(),
        at,
        lacked_at
    )
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    sqlx::query!(
        "update argos.erasures set lacked_at = $3
          where project_id = $1 and submission_id = $2
            and $3::timestamptz > coalesce(lacked_at, '-infinity') + interval '10 minutes'",
        project_id,
        submission_id,
        lacked_at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing(doing))?;
    Ok(())
}

/// Refutes what an answer of a view shows: that the submission is gone, and that these fields are missing. A page of
/// screenings does not say that a submission is there.
pub async fn refute(
    connection: &mut PgConnection,
    project_id: &str,
    submission_id: &str,
    view: View,
    fields: &Fields,
) -> Result<(), StoreError> {
    let doing = "dropping a refuted suspicion";
    let fields: Vec<String> = fields.iter().cloned().collect();
    sqlx::query!(
        "delete from argos.erasures
          where project_id = $1 and submission_id = $2 and case kind when 'gone' then $4 else fields <@ $3 end",
        project_id,
        submission_id,
        &fields,
        view != View::Aml
    )
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    sqlx::query!(
        "update argos.erasures
            set kind = 'fields',
                fields = (select array_agg(field order by field) from unnest(fields) field where field <> all ($3))
          where project_id = $1 and submission_id = $2 and fields && $3",
        project_id,
        submission_id,
        &fields
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing(doing))?;
    Ok(())
}

/// Which of these submissions are suspected.
pub async fn suspected(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
) -> Result<HashSet<String>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select submission_id from argos.erasures where project_id = $1 and submission_id = any($2)",
        project_id,
        ids
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("looking for suspicions"))?;
    Ok(rows.into_iter().collect())
}

/// Drops suspicions: refuted by an answer by id, or carried out.
pub async fn clear(connection: &mut PgConnection, project_id: &str, ids: &[String]) -> Result<(), StoreError> {
    sqlx::query!("delete from argos.erasures where project_id = $1 and submission_id = any($2)", project_id, ids)
        .execute(connection)
        .await
        .map_err(StoreError::doing("dropping suspicions"))?;
    Ok(())
}

/// The suspicion that is to be confirmed first, if it is due.
pub async fn due(
    connection: &mut PgConnection,
    project_id: &str,
    now: Timestamp,
) -> Result<Option<Suspicion>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "select submission_id, kind, fields, lane, noticed_at, confirmed_at, next_check_at, released_at, lacked_at
           from argos.erasures
          where project_id = $1 and next_check_at <= $2
          order by next_check_at, submission_id limit 1",
        project_id,
        now
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("reading a suspicion"))?;
    Ok(row.map(Suspicion::from))
}

/// Suspicions of a project, those first that are looked at first.
pub async fn all(connection: &mut PgConnection, project_id: &str, limit: i64) -> Result<Vec<Suspicion>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "select submission_id, kind, fields, lane, noticed_at, confirmed_at, next_check_at, released_at, lacked_at
           from argos.erasures where project_id = $1 order by next_check_at, submission_id limit $2",
        project_id,
        limit
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading suspicions"))?;
    Ok(rows.into_iter().map(Suspicion::from).collect())
}

struct Row {
    submission_id: String,
    kind: String,
    fields: Vec<String>,
    lane: String,
    noticed_at: Timestamp,
    confirmed_at: Vec<Timestamp>,
    next_check_at: Timestamp,
    released_at: Option<Timestamp>,
    lacked_at: Option<Timestamp>,
}

impl From<Row> for Suspicion {
    fn from(row: Row) -> Self {
        Self {
            submission_id: row.submission_id,
            // The table holds no other.
            kind: Kind::parse(&row.kind).unwrap_or(Kind::Fields),
            fields: row.fields.into_iter().collect(),
            lane: row.lane,
            noticed_at: row.noticed_at,
            confirmed_at: row.confirmed_at,
            next_check_at: row.next_check_at,
            released_at: row.released_at,
            lacked_at: row.lacked_at,
        }
    }
}

/// Writes what a look by id brought: the form and fields now, the confirmations so far, and when to look again.
pub async fn save(connection: &mut PgConnection, project_id: &str, suspicion: &Suspicion) -> Result<(), StoreError> {
    let fields: Vec<String> = suspicion.fields.iter().cloned().collect();
    sqlx::query!(
        "update argos.erasures set kind = $3, fields = $4, confirmed_at = $5, next_check_at = $6
          where project_id = $1 and submission_id = $2",
        project_id,
        suspicion.submission_id,
        suspicion.kind.as_str(),
        &fields,
        &suspicion.confirmed_at,
        suspicion.next_check_at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("writing a suspicion"))?;
    Ok(())
}

/// Which of these submissions were erased, wholly or in part, or are marked so.
pub async fn erased(
    connection: &mut PgConnection,
    project_id: &str,
    ids: &[String],
) -> Result<HashSet<String>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select submission_id from argos.submissions
          where project_id = $1 and submission_id = any($2) and (gone_at is not null or removed_fields is not null)",
        project_id,
        ids
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("looking for what was erased"))?;
    Ok(rows.into_iter().collect())
}

/// Submissions that the vendor should show by id: stored, not gone, not suspected; up to `limit`, beginning after an id.
pub async fn known_live(
    connection: &mut PgConnection,
    project_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    // Another one each time, so that one that has vanished unnoticed does not stand in the way for ever.
    sqlx::query_scalar!(
        r#"select s.submission_id as "submission_id!" from (
               (select submission_id, 1 as half from argos.submissions
                 where project_id = $1 and submission_id > $2 and gone_at is null
                   and not exists (select from argos.erasures e
                                    where e.project_id = $1 and e.submission_id = submissions.submission_id)
                 order by submission_id limit $3)
               union all
               (select submission_id, 2 from argos.submissions
                 where project_id = $1 and submission_id < $2 and gone_at is null
                   and not exists (select from argos.erasures e
                                    where e.project_id = $1 and e.submission_id = submissions.submission_id)
                 order by submission_id limit $3)
           ) s order by half, submission_id limit $3"#,
        project_id,
        after,
        limit
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("looking for a submission that is there"))
}

/// Holds all erasures of a project if too many of its submissions seem to have vanished; returns whether they are held.
/// What an operator has released does not count.
pub async fn hold_if_mass(
    connection: &mut PgConnection,
    project_id: &str,
    max_count: u64,
    max_share: f64,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let doing = "looking whether too much vanished";
    let row = sqlx::query!(
        r#"select exists (select from argos.erasure_holds where project_id = $1) as "held!",
                  (select count(*) from argos.erasures where project_id = $1 and released_at is null) as "suspicions!",
                  (select coalesce(sum(value), 0)::bigint from argos.counters
                    where project_id = $1 and name = 'submissions') as "submissions!""#,
        project_id
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    if row.held || !mass(number(row.suspicions), number(row.submissions), max_count, max_share) {
        return Ok(row.held);
    }
    sqlx::query!(
        "insert into argos.erasure_holds (project_id, since, suspicions, submissions) values ($1, $2, $3, $4)
             on conflict do nothing",
        project_id,
        at,
        row.suspicions,
        row.submissions
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("holding erasures"))?;
    Ok(true)
}

/// The hold of a project, if there is one.
pub async fn hold(connection: &mut PgConnection, project_id: &str) -> Result<Option<Hold>, StoreError> {
    sqlx::query_as!(
        Hold,
        "select project_id, since, suspicions, submissions from argos.erasure_holds where project_id = $1",
        project_id
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing("reading a hold"))
}

/// How many suspicions there are.
pub async fn pending(connection: &mut PgConnection, project_id: &str) -> Result<i64, StoreError> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from argos.erasures where project_id = $1"#, project_id)
        .fetch_one(connection)
        .await
        .map_err(StoreError::doing("counting suspicions"))
}

/// Ends a hold on an operator's word: the suspicions of now no longer count against the cap and go on to be confirmed.
/// Returns how many they are.
pub async fn release(connection: &mut PgConnection, project_id: &str, at: Timestamp) -> Result<u64, StoreError> {
    let doing = "releasing erasures";
    let released = sqlx::query!(
        "update argos.erasures set released_at = $2 where project_id = $1 and released_at is null",
        project_id,
        at
    )
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    sqlx::query!("delete from argos.erasure_holds where project_id = $1", project_id)
        .execute(connection)
        .await
        .map_err(StoreError::doing(doing))?;
    Ok(released.rows_affected())
}

/// Keyed hash of server, key and dialect that were last used; `None`: the next ones are accepted.
pub async fn source(connection: &mut PgConnection, project_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
    sqlx::query_scalar!("select source from argos.projects where project_id = $1", project_id)
        .fetch_one(connection)
        .await
        .map_err(StoreError::doing("reading whose data this is"))
}

/// Whether the database knows a project.
pub async fn known_project(connection: &mut PgConnection, project_id: &str) -> Result<bool, StoreError> {
    sqlx::query_scalar!(r#"select exists (select from argos.leases where project_id = $1) as "there!""#, project_id)
        .fetch_one(connection)
        .await
        .map_err(StoreError::doing("looking for a project"))
}

/// Notes whose data this is; `None`: whoever comes next is believed. Returns whether the project is known.
pub async fn set_source(
    connection: &mut PgConnection,
    project_id: &str,
    source: Option<&[u8]>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!("update argos.projects set source = $2 where project_id = $1", project_id, source)
        .execute(connection)
        .await
        .map_err(StoreError::doing("noting whose data this is"))?;
    Ok(done.rows_affected() == 1)
}
