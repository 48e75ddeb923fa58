//! How far a walk has come, and at its end: which days are covered, and whom it did not show.

use sqlx::PgConnection;

use super::apply::{End, Scope};
use super::report::Counts;
use crate::argos::envelope;
use crate::domain::lane::{Lane, View};
use crate::domain::seen::Seen;
use crate::domain::submission::drift;
use crate::store::error::StoreError;
use crate::store::progress::{self, Walk};
use crate::store::{calendar, erasure};

/// Saves a walk's place after a page; part of the page's transaction, after its rows. With the last page its days are
/// covered, and days that did not show all that is stored are marked to be walked again. Pages of screenings cover
/// nothing.
pub(super) async fn advance(
    connection: &mut PgConnection,
    page: &envelope::Page,
    scope: &Scope<'_>,
    mut walk: Walk,
    counts: &mut Counts,
) -> Result<Walk, StoreError> {
    if walk.by_id {
        progress::save_walk(connection, scope.page.project_id, scope.page.lane, &walk, None).await?;
        return Ok(walk);
    }
    let (project_id, lane, at) = (scope.page.project_id, scope.page.lane, scope.page.observed_at);
    let completed_at = matches!(scope.end, End::Covered | End::Imported).then_some(at);
    if walk.view == View::Aml {
        progress::save_walk(connection, project_id, lane, &walk, completed_at).await?;
        return Ok(walk);
    }
    // Each id once: an id that the page names twice would look like another id more.
    let mut ids: Vec<String> = page.items().filter_map(|item| item.submission_id.map(str::to_owned)).collect();
    ids.sort_unstable();
    ids.dedup();
    walk.seen.add(&calendar::seen(connection, project_id, &ids, walk.first_request).await?);
    if lane == Lane::Verify {
        if walk.pages == 1 {
            calendar::forget_ids(connection, project_id).await?;
        }
        calendar::collect_ids(connection, project_id, &ids).await?;
    }
    if scope.end == End::More {
        progress::save_walk(connection, project_id, lane, &walk, None).await?;
        return Ok(walk);
    }
    let screenings = Walk { view: View::Aml, cursor: None, seen: Seen::default(), ..walk.clone() };
    let next = if scope.end == End::Listed { screenings } else { walk.clone() };
    progress::save_walk(connection, project_id, lane, &next, completed_at).await?;
    // Where dates do not filter by created_at, a walk of some days has not seen all that was created on them.
    if scope.covers {
        calendar::cover(connection, project_id, &walk).await?;
    }
    if lane == Lane::Verify {
        let missing = calendar::missing(connection, project_id, walk.days, walk.first_request).await?;
        counts.missing = missing.len() as u64;
        erasure::suspect_gone(connection, project_id, &missing, at, lane).await?;
    } else if scope.covers {
        let expected = calendar::expected(connection, project_id, walk.days, walk.first_request).await?;
        let seen = walk.days.map_or_else(|| walk.seen.clone(), |days| walk.seen.clone().within(days));
        let differ = expected.differences(&seen);
        if !differ.is_empty() {
            drift(&mut counts.drift, "digest_differs");
            calendar::mark(connection, project_id, &differ, at).await?;
        }
    }
    Ok(next)
}
