//! Where the sync stands: projects, their imports, and walks in progress.

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::error::{StoreError, touched};
use super::id_reads::PUT_OFF;
use crate::clock::Timestamp;
use crate::domain::calendar::{DayRange, Import};
use crate::domain::hash::Hash;
use crate::domain::lane::{Lane, View};
use crate::domain::seen::Seen;

/// A project's row, and what waits in other tables to be read for it.
#[derive(Clone, Debug)]
pub struct Project {
    /// What was created before this moment may be history.
    pub import_started_at: Timestamp,
    /// Which import this is; enters the id of `project.import_completed`.
    pub import_number: i32,
    /// When the first complete read ended.
    pub import_completed_at: Option<Timestamp>,
    /// What the import is to read; `None`: nobody has said so yet.
    pub import: Option<Import>,
    /// Submissions per page, as measured.
    pub page_items: Option<f64>,
    /// What is asked for per page while that is less than `api.count`.
    pub page_count: Option<u32>,
    /// Requests of today (UTC, by the database's clock) that were reserved.
    pub reserved: u64,
    /// Submissions that wait to be read by id for another reason than their details, and are not put off.
    pub refresh: u64,
    /// Whether any waits for its details and is not put off. Not counted: there may be as many as the project has submissions.
    pub details: bool,
    /// When the next suspected deletion is to be looked at again; `None`: nothing is suspected, or all of it is held.
    pub confirm_at: Option<Timestamp>,
}

/// Stands for [`Import::All`] in `import_from`: before any first day that somebody may want.
const ALL: NaiveDate = NaiveDate::from_ymd_opt(1, 1, 1).expect("a valid date");

/// What `import_from` and `import_to` say.
fn import(from: Option<NaiveDate>, to: Option<NaiveDate>) -> Option<Import> {
    from.map(|from| if from == ALL { Import::All } else { Import::Days { from, to } })
}

/// Creates the project's rows at first sight and keeps its display name.
pub async fn enrol(
    connection: &mut PgConnection,
    project_id: &str,
    name: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let doing = "noting the project";
    sqlx::query!(
        "insert into argos.projects as p (project_id, name, import_started_at) values ($1, $2, $3)
             on conflict (project_id) do update set name = excluded.name where p.name <> excluded.name",
        project_id,
        name,
        at
    )
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    sqlx::query!("insert into argos.leases (project_id) values ($1) on conflict do nothing", project_id)
        .execute(connection)
        .await
        .map_err(StoreError::doing(doing))?;
    Ok(())
}

/// Reads a project's row; `None`: the database does not know it.
pub async fn find(
    connection: &mut PgConnection,
    project_id: &str,
    now: Timestamp,
) -> Result<Option<Project>, StoreError> {
    let row = sqlx::query!(
        r#"select import_started_at, import_number, import_completed_at, import_from, import_to,
                  page_items, page_count,
                  coalesce((select reserved from argos.request_budget b
                             where b.project_id = p.project_id
                               and b.day = (clock_timestamp() at time zone 'UTC')::date), 0) as "reserved!",
                  (select count(*) from argos.id_reads r
                    where r.project_id = p.project_id and (reason = 'details') = false
                      and (requested_at <= $2 or requested_at > $3)) as "refresh!",
                  exists (select from argos.id_reads r
                           where r.project_id = p.project_id and (reason = 'details') = true
                             and (requested_at <= $2 or requested_at > $3)) as "details!",
                  (select min(next_check_at) from argos.erasures e
                    where e.project_id = p.project_id
                      and not exists (select from argos.erasure_holds h where h.project_id = e.project_id)) as confirm_at
             from argos.projects p where project_id = $1"#,
        project_id,
        now,
        now + PUT_OFF
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::doing(READING))?;
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(row.map(|row| Project {
        import_started_at: row.import_started_at,
        import_number: row.import_number,
        import_completed_at: row.import_completed_at,
        import: import(row.import_from, row.import_to),
        page_items: row.page_items,
        page_count: row.page_count.and_then(|count| u32::try_from(count).ok()),
        reserved: number(row.reserved),
        refresh: number(row.refresh),
        details: row.details,
        confirm_at: row.confirm_at,
    }))
}

/// The same of a project that has a row. Under the lease, so that nobody changes it meanwhile.
pub async fn project(connection: &mut PgConnection, project_id: &str, now: Timestamp) -> Result<Project, StoreError> {
    let found = find(connection, project_id, now).await?;
    found.ok_or_else(|| StoreError::doing(READING)(sqlx::Error::RowNotFound))
}

const READING: &str = "reading the project";

/// Notes from which day on everything is wanted (`None`: everything there is). The first time that begins the import; an
/// earlier day than before begins another one, of the days in between (of all, if the one before was not completed).
pub async fn want_from(
    connection: &mut PgConnection,
    project_id: &str,
    from: Option<NaiveDate>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update argos.projects
            set import_to = case when import_from is null or import_completed_at is null then null
                                 -- Everything is read without dates: there is no last day to such a list.
                                 when $2 = $3 then null
                                 else import_from - 1 end,
                import_number = import_number + case when import_completed_at is null then 0 else 1 end,
                import_completed_at = null,
                import_from = $2
          where project_id = $1 and (import_from is null or $2 < import_from)",
        project_id,
        from.unwrap_or(ALL),
        ALL
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("noting the import's first day"))?;
    Ok(())
}

/// Keeps what was learned about pages.
pub async fn keep_page(
    connection: &mut PgConnection,
    project_id: &str,
    items: Option<f64>,
    count: Option<u32>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update argos.projects set page_items = $2, page_count = $3
          where project_id = $1 and (page_items, page_count) is distinct from ($2, $3)",
        project_id,
        items,
        count.and_then(|count| i32::try_from(count).ok())
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("keeping the page size"))?;
    Ok(())
}

/// Notes that the first complete read ended; false if it had ended before.
pub async fn complete_import(
    connection: &mut PgConnection,
    project_id: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update argos.projects set import_completed_at = $2 where project_id = $1 and import_completed_at is null",
        project_id,
        at
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("ending the import"))?;
    Ok(done.rows_affected() == 1)
}

/// A walk in progress.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// Keyed hash of server, key and dialect: the list that the cursor belongs to.
    pub source: Hash,
    /// First and last day that it will cover; `None`: all days.
    pub days: Option<DayRange>,
    /// Whether it is a round over the open submissions of its day, by id.
    pub by_id: bool,
    /// What it reads now: lists, then screenings where lists lack them; or single submissions.
    pub view: View,
    /// Number of its first request, counted over lease epochs: what was stored before, it must show.
    pub first_request: i64,
    /// Send time of its first request.
    pub started_at: Timestamp,
    /// The vendor's key for the next page; `None` before the first.
    pub cursor: Option<(String, String)>,
    /// Pages committed.
    pub pages: i64,
    /// Items in them.
    pub items: i64,
    /// What it has shown.
    pub seen: Seen,
}

/// Reads the walks in progress.
pub async fn walks(connection: &mut PgConnection, project_id: &str) -> Result<Vec<(Lane, Walk)>, StoreError> {
    let rows = sqlx::query!(
        "select lane, source, from_day, to_day, by_id, first_request, started_at, cursor_id, cursor_date, pages, items,
                seen, view
           from argos.walks where project_id = $1 and completed_at is null",
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading walks"))?;
    // A lane or a view of a later release, or a digest that is none, is a walk that begins anew.
    let walk = rows.into_iter().filter_map(|row| {
        let walk = Walk {
            // A source that is no hash equals none, so such a walk is not gone on with.
            source: row.source.try_into().unwrap_or_default(),
            days: row.from_day.zip(row.to_day),
            by_id: row.by_id,
            view: View::parse(&row.view)?,
            first_request: row.first_request,
            started_at: row.started_at,
            cursor: row.cursor_id.map(|id| (id, row.cursor_date.unwrap_or_default())),
            pages: row.pages,
            items: row.items,
            seen: Seen::from_bytes(&row.seen)?,
        };
        Some((Lane::parse(&row.lane)?, walk))
    });
    Ok(walk.collect())
}

/// When each lane last came to the end of a walk.
pub async fn completed(
    connection: &mut PgConnection,
    project_id: &str,
) -> Result<Vec<(String, Timestamp)>, StoreError> {
    let rows = sqlx::query!(
        r#"select lane, last_completed_at as "completed_at!" from argos.walks
            where project_id = $1 and last_completed_at is not null"#,
        project_id
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::doing("reading completed walks"))?;
    Ok(rows.into_iter().map(|row| (row.lane, row.completed_at)).collect())
}

/// Writes a walk's place; the transaction that writes a page's rows calls this. `completed_at`: the page was the last.
pub async fn save_walk(
    connection: &mut PgConnection,
    project_id: &str,
    lane: Lane,
    walk: &Walk,
    completed_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let done = sqlx::query!(
        "insert into argos.walks (project_id, lane, from_day, to_day, started_at, cursor_id, cursor_date, pages, items,
                                  completed_at, last_completed_at, source, by_id, first_request, seen, view)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12, $13, $14, $15)
             on conflict (project_id, lane) do update
            set from_day = excluded.from_day, to_day = excluded.to_day, started_at = excluded.started_at,
                cursor_id = excluded.cursor_id, cursor_date = excluded.cursor_date,
                pages = excluded.pages, items = excluded.items, completed_at = excluded.completed_at,
                last_completed_at = coalesce(excluded.completed_at, walks.last_completed_at),
                source = excluded.source, by_id = excluded.by_id, first_request = excluded.first_request,
                seen = excluded.seen, view = excluded.view",
        project_id,
        lane.as_str(),
        walk.days.map(|days| days.0),
        walk.days.map(|days| days.1),
        walk.started_at,
        walk.cursor.as_ref().map(|cursor| cursor.0.as_str()),
        walk.cursor.as_ref().map(|cursor| cursor.1.as_str()),
        walk.pages,
        walk.items,
        completed_at,
        &walk.source[..],
        walk.by_id,
        walk.first_request,
        // Of no use once the walk is complete.
        completed_at.map_or_else(|| walk.seen.to_bytes(), |_| Vec::new()),
        walk.view.as_str()
    )
    .execute(connection)
    .await
    .map_err(StoreError::doing("saving a walk's place"))?;
    touched("saving a walk's place", done.rows_affected(), 1)
}

/// Forgets a walk in progress, so that the next one starts over. When the lane last came to an end stays known.
pub async fn drop_walk(connection: &mut PgConnection, project_id: &str, lane: Lane) -> Result<(), StoreError> {
    let doing = "forgetting a walk";
    let kept = sqlx::query!(
        "update argos.walks
            set completed_at = last_completed_at, pages = 0, items = 0, cursor_id = null, cursor_date = null, seen = '',
                view = 'list'
          where project_id = $1 and lane = $2 and completed_at is null and last_completed_at is not null",
        project_id,
        lane.as_str()
    )
    .execute(&mut *connection)
    .await
    .map_err(StoreError::doing(doing))?;
    if kept.rows_affected() == 0 {
        sqlx::query!(
            "delete from argos.walks where project_id = $1 and lane = $2 and completed_at is null",
            project_id,
            lane.as_str()
        )
        .execute(connection)
        .await
        .map_err(StoreError::doing(doing))?;
    }
    Ok(())
}

/// Whether the mirror holds a submission of these days; `None`: of any day.
pub async fn any_submission(
    connection: &mut PgConnection,
    project_id: &str,
    days: Option<(NaiveDate, NaiveDate)>,
) -> Result<bool, StoreError> {
    let (first, last) = days.unwrap_or((NaiveDate::MIN, NaiveDate::MAX));
    let (first, last) = (first.max(FIRST_DAY), last.min(LAST_DAY));
    sqlx::query_scalar!(
        r#"select exists (select from argos.submissions
                           where project_id = $1 and created_day between $2 and $3) as "any!""#,
        project_id,
        first,
        last
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("looking for submissions"))
}

/// Bounds of the days that the vendor's times may have; see `domain::time`.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1900, 1, 1).expect("a valid date");
const LAST_DAY: NaiveDate = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a valid date");
