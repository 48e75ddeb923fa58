//! One walk: fetch a page, see that the list can be believed, apply it, go on.

use std::collections::HashSet;

use chrono::{NaiveDate, TimeDelta};
use uuid::Uuid;

use super::Engine;
use super::upkeep::keep;
use crate::argos::client::Answer;
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::argos::query::{Cursor, Query};
use crate::domain::calendar::Filter;
use crate::domain::hash::Hash;
use crate::domain::lane::{Lane, View};
use crate::store::error::StoreError;
use crate::store::lease::Lease;
use crate::store::progress::{self, Project, Walk};
use crate::store::quarantine;
use crate::sync::apply::{self, End, Scope};
use crate::sync::error::SyncError;
use crate::sync::report::{Counts, PassReport};
use crate::sync::{plan, prepare};

/// After so many pages a page that had to be made smaller is doubled again.
const PAGES_UNTIL_LARGER: u64 = 16;

/// What a lane asks for.
#[derive(Clone, Copy)]
pub(super) struct Errand {
    /// Which lane.
    pub(super) lane: Lane,
    /// First and last day to cover; `None`: all.
    pub(super) days: Option<(NaiveDate, NaiveDate)>,
    /// How old an interrupted walk may be and still go on at its cursor.
    pub(super) max_age: TimeDelta,
    /// Whether it reads the project from its beginning, so that its end is the import's end.
    pub(super) whole_project: bool,
}

/// What holds for all pages of a pass.
pub(super) struct Pass {
    errand: Errand,
    pub(super) lease: Lease,
    project: Project,
    asked: Option<(NaiveDate, NaiveDate)>,
    pub(super) traceparent: String,
    /// The keys that this pass has followed.
    cursors: HashSet<Cursor>,
}

impl Engine {
    /// Walks to the end of the errand's days, or until it is asked to stop.
    pub(super) async fn walk(&mut self, errand: Errand) -> Result<PassReport, SyncError> {
        let (mut pass, mut place) = self.begin(errand).await?;
        let mut report = PassReport::new(errand.lane);
        while let Some(answer) = self.next_page(&pass, place.as_ref()).await? {
            self.request_no += 1;
            let asked_with = place.as_ref().and_then(cursor_of);
            let walk = after(place, self.source(), pass.errand.days, &answer);
            if let Err(error) = self.believable(&mut pass, &walk, asked_with, &answer.content).await {
                self.forget(&pass.lease, errand.lane).await?;
                return Err(error);
            }
            let end = match (&walk.cursor, errand.whole_project) {
                (Some(_), _) => End::More,
                (None, true) => End::Imported,
                (None, false) => End::Covered,
            };
            let counts = self.apply(&pass, &answer, View::List, Some(&walk), end).await?;
            counts.publish(&self.parts.metrics, errand.lane);
            report.counts.add(counts);
            report.pages += 1;
            if report.pages.is_multiple_of(PAGES_UNTIL_LARGER) {
                self.count = self.count.saturating_mul(2).min(self.parts.project.api.count);
            }
            place = Some(walk);
            if end != End::More {
                report.complete = true;
                break;
            }
        }
        Ok(report)
    }

    /// Reads one submission by id and applies what the answer shows; an answer without it changes nothing. Returns
    /// whether the vendor showed it, and the counts.
    pub async fn read_by_id(&mut self, lane: Lane, submission_id: &str) -> Result<(bool, Counts), SyncError> {
        let errand = Errand { lane, days: None, max_age: TimeDelta::zero(), whole_project: false };
        let (pass, _) = self.begin(errand).await?;
        let select = Some(("submission_id", submission_id.to_owned()));
        let query = Query { select, ..Query::default() };
        let stop = self.parts.stop.clone();
        let answer = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(SyncError::Stopped),
            lost = keep(self.parts.pool.clone(), pass.lease.clone()) => return Err(lost.into()),
            answer = self.fetch(&query) => answer?,
        };
        self.request_no += 1;
        let shown = answer.content.items().any(|item| item.submission_id == Some(submission_id));
        let counts = self.apply(&pass, &answer, View::Id, None, End::More).await?;
        counts.publish(&self.parts.metrics, lane);
        Ok((shown, counts))
    }

    /// Takes the lease, and finds where an interrupted walk goes on.
    pub(super) async fn begin(&mut self, errand: Errand) -> Result<(Pass, Option<Walk>), SyncError> {
        let project_id = self.parts.project.id.clone();
        let now = self.parts.clock.now();
        let mut connection = self.connection().await?;
        progress::enrol(&mut connection, &project_id, &self.parts.project.name, now).await?;
        let lease = self.lease(&mut connection).await?;
        drop(connection);
        self.same_project(&lease).await?;
        let mut transaction = self.fenced(&lease).await?;
        quarantine::expire(&mut transaction, &project_id, now).await?;
        let project = progress::project(&mut transaction, &project_id).await?;
        let saved = progress::walk(&mut transaction, &project_id, errand.lane).await?;
        transaction.commit().await.map_err(StoreError::doing("beginning a pass"))?;

        let place = saved
            .filter(|walk| walk.source == self.source())
            .filter(|walk| plan::resumable(walk, errand.days, errand.whole_project, now, errand.max_age));
        // An interrupted walk keeps the days that it began with.
        let days = place.as_ref().map_or(errand.days, |walk| walk.days);
        let errand = Errand { days, ..errand };
        let asked = days.map(|days| Filter::UNKNOWN.asked(days));
        let traceparent = format!("00-{}-{:016x}-01", Uuid::new_v4().simple(), Uuid::new_v4().as_u64_pair().0);
        Ok((Pass { errand, lease, project, asked, traceparent, cursors: HashSet::new() }, place))
    }

    /// Whose list this is: a cursor of another key's or server's list must not be followed here.
    pub(super) fn source(&self) -> Hash {
        self.parts.key.source(&self.parts.client.identity())
    }

    /// Fetches the page at a walk's place, in smaller pieces if it is too large; `None`: asked to stop.
    async fn next_page(&mut self, pass: &Pass, place: Option<&Walk>) -> Result<Option<Answer<Page>>, SyncError> {
        let stop = self.parts.stop.clone();
        let cursor = place.and_then(cursor_of);
        loop {
            let query = Query { days: pass.asked, count: Some(self.count), cursor: cursor.clone(), ..Query::default() };
            let answer = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(None),
                lost = keep(self.parts.pool.clone(), pass.lease.clone()) => return Err(lost.into()),
                answer = self.fetch(&query) => answer,
            };
            match answer {
                Err(SyncError::Api(ApiError::BadRequest { .. })) if cursor.is_some() => {
                    self.forget(&pass.lease, pass.errand.lane).await?;
                    return Err(SyncError::EndlessList { what: "it refused its own nextpageKey" });
                }
                Err(SyncError::Api(error)) if error.page_too_large() && self.count > 1 => {
                    self.count /= 2;
                    let project = &self.parts.project.id;
                    tracing::warn!(project, count = self.count, "{error}: trying smaller pages");
                }
                answer => return answer.map(Some),
            }
        }
    }

    /// A list that does not end must not pass for one that is read, and an empty one not for news that there is nothing.
    async fn believable(
        &self,
        pass: &mut Pass,
        walk: &Walk,
        asked_with: Option<Cursor>,
        page: &Page,
    ) -> Result<(), SyncError> {
        let Some(next) = &page.next else {
            let project_id = &self.parts.project.id;
            let empty = walk.items == 0
                && progress::any_submission(&mut *self.connection().await?, project_id, walk.days).await?;
            return if empty { Err(SyncError::SuspiciouslyEmpty) } else { Ok(()) };
        };
        if asked_with.as_ref() == Some(next) {
            return Err(SyncError::EndlessList { what: "its nextpageKey repeats" });
        }
        pass.cursors.extend(asked_with);
        if pass.cursors.contains(next) {
            return Err(SyncError::EndlessList { what: "its nextpageKeys go round in a circle" });
        }
        if walk.pages >= i64::from(self.parts.settings.limits.walk_pages) {
            return Err(SyncError::EndlessList { what: "it has more pages than limits.walk_pages" });
        }
        Ok(())
    }

    pub(super) async fn apply(
        &self,
        pass: &Pass,
        answer: &Answer<Page>,
        view: View,
        walk: Option<&Walk>,
        end: End,
    ) -> Result<Counts, SyncError> {
        let settings = &self.parts.settings;
        // A page is some twenty statements, each within its own bound, and more when it is written item by item.
        self.parts.heartbeat.expect_within(settings.database.statement_timeout * 20);
        let scope = Scope {
            page: prepare::Page {
                project_id: &self.parts.project.id,
                key: &self.parts.key,
                view,
                lane: pass.errand.lane,
                request: (pass.lease.epoch << 32) + self.request_no,
                observed_at: answer.received_at,
                fallback_day: pass.asked.map_or(pass.project.import_started_at.date_naive(), |days| days.0),
                import_started_at: pass.project.import_started_at,
                import_events: settings.events.import,
                include_userid: settings.events.include_userid,
            },
            lease: &pass.lease,
            request_no: self.request_no,
            limits: &settings.limits,
            retention: settings.quarantine.retention,
            asked: pass.asked,
            project: &pass.project,
            walk,
            end,
            traceparent: &pass.traceparent,
            statement_timeout: settings.database.statement_timeout,
            erasure: &settings.erasure,
        };
        Ok(apply::apply(&self.parts.pool, &answer.content, &scope).await?)
    }
}

fn cursor_of(walk: &Walk) -> Option<Cursor> {
    let (id, created_at) = walk.cursor.clone()?;
    Some(Cursor { id, created_at })
}

/// A walk's place after a page; it covers its days as of its first request.
fn after(place: Option<Walk>, source: Hash, days: Option<(NaiveDate, NaiveDate)>, answer: &Answer<Page>) -> Walk {
    let page = &answer.content;
    let first = Walk { source, days, started_at: answer.sent_at, cursor: None, pages: 0, items: 0 };
    let place = place.unwrap_or(first);
    Walk {
        cursor: page.next.clone().map(|next| (next.id, next.created_at)),
        pages: place.pages + 1,
        items: place.items + page.len() as i64,
        ..place
    }
}
