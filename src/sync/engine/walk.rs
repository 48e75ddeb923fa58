//! One page of a walk: fetch it, see that the list can be believed, apply it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use uuid::Uuid;

use super::Engine;
use super::upkeep::keep;
use crate::argos::client::Answer;
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::argos::query::{Cursor, Query};
use crate::clock::Timestamp;
use crate::domain::calendar::{DayRange, Filter, Import};
use crate::domain::hash::Hash;
use crate::domain::lane::{Lane, View};
use crate::domain::seen::Seen;
use crate::store::progress::{self, Walk};
use crate::sync::apply::{self, End, Scope};
use crate::sync::error::SyncError;
use crate::sync::plan::{self, Errand, Running, Target};
use crate::sync::prepare;
use crate::sync::report::{Counts, PassReport};

/// After so many pages a page that had to be made smaller is doubled again.
const PAGES_UNTIL_LARGER: u64 = 16;

/// How long an item may take when a page is written item by item.
const PER_ITEM: Duration = Duration::from_millis(50);

/// So often in a row a page may come too late before it is asked for in half the size.
const SLOW: u32 = 2;

/// Up to so many known submissions a complete walk that shows none of them is taken for what it says: each of them is
/// then asked for by id, and nothing is believed before that. Where more are known, the answer is an error.
const MAY_BE_GONE: u64 = 20;

/// A walk in progress.
pub(super) struct Walking {
    pub(super) lane: Lane,
    /// First and last day to cover; `None`: all.
    pub(super) days: Option<DayRange>,
    pub(super) by_id: bool,
    /// W3C trace context of the walk.
    pub(super) traceparent: String,
    /// Where it stands; `None` before its first answer.
    pub(super) place: Option<Walk>,
    pub(super) report: PassReport,
    /// Hashes of the keys that this process has followed.
    cursors: HashSet<u64>,
    hasher: RandomState,
    /// Items of pages that were not the last.
    full_pages: (u64, u64),
}

impl Walking {
    pub(super) fn new(lane: Lane, days: Option<DayRange>, by_id: bool) -> Self {
        let traceparent = format!("00-{}-{:016x}-01", Uuid::new_v4().simple(), Uuid::new_v4().as_u64_pair().0);
        Self {
            lane,
            days,
            by_id,
            traceparent,
            place: None,
            report: PassReport::new(lane),
            cursors: HashSet::new(),
            hasher: RandomState::new(),
            full_pages: (0, 0),
        }
    }

    pub(super) fn resumed(lane: Lane, walk: Walk) -> Self {
        let (days, by_id) = (walk.days, walk.by_id);
        Self { place: Some(walk), ..Self::new(lane, days, by_id) }
    }

    /// As the plan sees it.
    pub(super) fn running(&self, now: Timestamp) -> Running {
        let target = match self.days {
            Some((day, _)) if self.by_id => Target::OpenIds(day),
            days => Target::Days(days),
        };
        Running {
            errand: Errand { lane: self.lane, target },
            started_at: self.place.as_ref().map_or(now, |walk| walk.started_at),
            requests: self.place.as_ref().map_or(0, |walk| u64::try_from(walk.pages).unwrap_or(0)),
        }
    }

    fn follow(&mut self, cursor: &Cursor) -> bool {
        self.cursors.insert(self.hasher.hash_one(cursor))
    }
}

impl Engine {
    /// Reads the next page of a lane's walk over some days; the report, if it was the last page, or it was asked to stop.
    pub(super) async fn page(&mut self, lane: Lane, days: Option<DayRange>) -> Result<Option<PassReport>, SyncError> {
        let mut walking = self.walking_of(lane, days, false).await?;
        let result = self.page_of(&mut walking).await;
        match &result {
            // A place that the database has moved on from, or that leads nowhere.
            Err(SyncError::Store(_)) => {}
            Err(SyncError::EndlessList { .. } | SyncError::SuspiciouslyEmpty) => self.forget(lane).await?,
            Ok(Some(report)) if report.complete => {}
            _ => self.keep_walking(walking),
        }
        result
    }

    /// The walk of a lane, if it is in progress and the same; otherwise a new one.
    pub(super) async fn walking_of(
        &mut self,
        lane: Lane,
        days: Option<DayRange>,
        by_id: bool,
    ) -> Result<Walking, SyncError> {
        // A walk on request goes up to now: what came after its last day is another one's.
        let first = |days: Option<DayRange>| days.map(|days| days.0);
        let same = |walking: &Walking| match lane {
            Lane::Once => first(walking.days) == first(days),
            _ => walking.days == days && walking.by_id == by_id,
        };
        let now = self.parts.clock.now();
        if let Some(walking) = self.walking.remove(&lane)
            && same(&walking)
            && !plan::stale(&walking.running(now), &self.situation())
        {
            return Ok(walking);
        }
        // One that is given up is overwritten by the first page of the new one.
        self.ledger.given_up(lane);
        Ok(Walking::new(lane, days, by_id))
    }

    pub(super) fn keep_walking(&mut self, walking: Walking) {
        self.ledger.goes_on(walking.running(self.parts.clock.now()));
        self.walking.insert(walking.lane, walking);
    }

    /// Notes for the plan that a walk or round has come to its end.
    pub(super) fn ended(&mut self, walking: &Walking) {
        self.ledger.ended(walking.running(self.parts.clock.now()));
    }

    async fn page_of(&mut self, walking: &mut Walking) -> Result<Option<PassReport>, SyncError> {
        let cursor = walking.place.as_ref().and_then(cursor_of);
        let asked = walking.days.map(|days| self.filter().asked(days));
        let view = walking.place.as_ref().map_or(View::List, |walk| walk.view);
        let Some(answer) = self.next_page(walking.lane, view, asked, cursor.clone()).await? else {
            return Ok(Some(walking.report.clone()));
        };
        self.request_no += 1;
        let walk = self.after(walking, &answer);
        self.believable(walking, &walk, cursor, &answer.content).await?;
        let end = match &walk.cursor {
            Some(_) => End::More,
            None if view == View::List && self.screens(walking.lane) && walk.items > 0 => End::Listed,
            None if self.imports(walking) => End::Imported,
            None => End::Covered,
        };
        if end == End::More {
            walking.full_pages.0 += 1;
            walking.full_pages.1 += answer.content.len() as u64;
        }
        let covers = walking.days.is_none() || matches!(self.filter(), Filter::Created { .. });
        let (counts, walk) = self.apply(walking, asked, covers, &answer, view, Some(&walk), end).await?;
        walking.place = walk;
        counts.publish(&self.parts.metrics, walking.lane);
        self.drift.note(&counts.drift);
        walking.report.counts.add(counts);
        walking.report.pages += 1;
        if end != End::More || walking.report.pages.is_multiple_of(PAGES_UNTIL_LARGER) {
            self.flush_drift(&self.held()?).await;
        }
        if walking.report.pages.is_multiple_of(PAGES_UNTIL_LARGER) && self.count < self.parts.project.api.count {
            self.count = self.count.saturating_mul(2).min(self.parts.project.api.count);
        }
        if matches!(end, End::More | End::Listed) {
            if end == End::Listed {
                // The keys of the second list are likely those of the first.
                walking.cursors.clear();
            }
            return Ok(None);
        }
        walking.report.complete = true;
        self.ended(walking);
        self.learn_page(walking.full_pages).await?;
        Ok(Some(walking.report.clone()))
    }

    /// An answer that shows nothing more.
    fn nothing(&self) -> Answer<Page> {
        let now = self.parts.clock.now();
        Answer { sent_at: now, received_at: now, date: None, content: Page::default() }
    }

    /// Whether a lane reads the screenings of its days, too. To learn whom a list shows it needs none.
    fn screens(&self, lane: Lane) -> bool {
        self.picture().lacking.screenings && lane != Lane::Verify
    }

    /// Whether a lane's complete walk is the end of the import.
    fn imports(&self, walking: &Walking) -> bool {
        let project = &self.picture().project;
        let Some(import) = project.import.filter(|_| project.import_completed_at.is_none()) else { return false };
        let started_at = walking.place.as_ref().map_or_else(|| self.parts.clock.now(), |walk| walk.started_at);
        matches!(walking.lane, Lane::Backfill | Lane::Once)
            && match (walking.days, import) {
                (None, _) => true,
                (Some(_), Import::All) => false,
                (Some((first, last)), Import::Days { from, to }) => {
                    first <= from && last >= to.unwrap_or(started_at.date_naive())
                }
            }
    }

    /// Whose list this is: a cursor of another key's or server's list, or of other days, must not be followed here.
    pub(super) fn source(&self) -> Hash {
        self.source_of(self.parts.client.identity())
    }

    /// The same for a client of this identity.
    pub(super) fn source_of(&self, [server, key, dialect]: [&[u8]; 3]) -> Hash {
        let filter = format!("{:?}", self.filter());
        self.parts.key.source(&[server, key, dialect, filter.as_bytes()])
    }

    /// Fetches a page, in smaller pieces if it is too large; `None`: asked to stop.
    async fn next_page(
        &mut self,
        lane: Lane,
        view: View,
        days: Option<DayRange>,
        cursor: Option<Cursor>,
    ) -> Result<Option<Answer<Page>>, SyncError> {
        let request_type = (view == View::Aml).then_some("aml");
        loop {
            let query =
                Query { days, request_type, count: Some(self.count), cursor: cursor.clone(), ..Query::default() };
            match self.fetch_unless_stopped(&query).await {
                Err(SyncError::Api(ApiError::BadRequest { .. })) if cursor.is_some() => {
                    self.forget(lane).await?;
                    return Err(SyncError::EndlessList { what: "it refused its own nextpageKey" });
                }
                // Also in the words of a refused key: if it is that, the next list says so.
                Err(SyncError::Api(error)) if view == View::Aml && error.refuses() => {
                    // Else the lane would never come to an end. A probe finds out whether it lasts.
                    self.screenings_refused = true;
                    let advice = "Red Flags of older submissions are seen late: ask the vendor's support.";
                    let project = &self.parts.project.id;
                    tracing::error!(project, advice, "lists carry no aml, and request_type=aml is refused: {error}");
                    return Ok(Some(self.nothing()));
                }
                Err(SyncError::Api(error)) if error.page_too_large() && self.count > 1 => {
                    self.count /= 2;
                    let project = &self.parts.project.id;
                    tracing::warn!(project, count = self.count, "{error}: trying smaller pages");
                }
                Err(SyncError::Api(error)) if error.page_too_slow() => {
                    self.too_slow(lane, cursor);
                    return Err(error.into());
                }
                answer => {
                    if answer.is_ok() && self.slow.get(&lane).is_some_and(|(page, _)| *page == cursor) {
                        self.slow.remove(&lane);
                    }
                    return answer;
                }
            }
        }
    }

    /// A page that the vendor did not serve in time, in all tries: it may hold too much for it.
    fn too_slow(&mut self, lane: Lane, cursor: Option<Cursor>) {
        let before = self.slow.remove(&lane).filter(|(page, _)| *page == cursor);
        let times = before.map_or(0, |(_, times)| times) + 1;
        if times < SLOW {
            self.slow.insert(lane, (cursor, times));
        } else if self.count > 1 {
            self.count /= 2;
            let project = &self.parts.project.id;
            tracing::warn!(project, count = self.count, "a page came too late again and again: trying smaller pages");
        }
    }

    /// Fetches, and keeps the lease meanwhile; `None`: asked to stop.
    pub(super) async fn fetch_unless_stopped(&mut self, query: &Query) -> Result<Option<Answer<Page>>, SyncError> {
        let (stop, lease) = (self.parts.stop.clone(), self.held()?);
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(None),
            lost = keep(self.parts.pool.clone(), lease) => Err(lost.into()),
            answer = self.fetch(query) => answer.map(Some),
        }
    }

    /// A list that does not end must not pass for one that is read, and an empty one not for news that there is nothing.
    async fn believable(
        &self,
        walking: &mut Walking,
        walk: &Walk,
        asked_with: Option<Cursor>,
        page: &Page,
    ) -> Result<(), SyncError> {
        let known = self.picture().calendar.submissions(walk.days);
        let Some(next) = &page.next else {
            if walk.items > 0 {
                return Ok(());
            }
            let project_id = &self.parts.project.id;
            let empty = progress::any_submission(&mut *self.connection().await?, project_id, walk.days).await?;
            if empty && known <= MAY_BE_GONE {
                self.parts.metrics.suspicious_empty.inc();
            }
            return if empty && known > MAY_BE_GONE { Err(SyncError::SuspiciouslyEmpty) } else { Ok(()) };
        };
        if asked_with.as_ref() == Some(next) {
            return Err(SyncError::EndlessList { what: "its nextpageKey repeats" });
        }
        if let Some(asked_with) = &asked_with {
            walking.follow(asked_with);
        }
        if !walking.follow(next) {
            return Err(SyncError::EndlessList { what: "its nextpageKeys go round in a circle" });
        }
        // What the limit allows, or three times what the mirror lets expect.
        let expected = known * 3 / u64::from(self.count.max(1));
        let lists = if walk.view == View::Aml { 2 } else { 1 };
        let most = lists * u64::from(self.parts.settings.limits.walk_pages).max(expected);
        if u64::try_from(walk.pages).unwrap_or(0) >= most {
            return Err(SyncError::EndlessList { what: "it has more pages than limits.walk_pages" });
        }
        Ok(())
    }

    /// Applies an answer.
    #[expect(clippy::too_many_arguments, reason = "they differ between a page and a submission read by id")]
    pub(super) async fn apply(
        &self,
        walking: &Walking,
        asked: Option<DayRange>,
        covers: bool,
        answer: &Answer<Page>,
        view: View,
        walk: Option<&Walk>,
        end: End,
    ) -> Result<(Counts, Option<Walk>), SyncError> {
        let settings = &self.parts.settings;
        let (project, lease) = (&self.picture().project, self.held()?);
        // A page is some twenty statements, and some for each item when it is written item by item.
        let items = u32::try_from(answer.content.len()).unwrap_or(u32::MAX);
        let most = settings.database.connect_timeout + self.patience() + PER_ITEM * items;
        self.parts.heartbeat.expect_within(most);
        let scope = Scope {
            page: prepare::Page {
                project_id: &self.parts.project.id,
                key: &self.parts.key,
                view,
                lane: walking.lane,
                request: self.request(),
                observed_at: answer.received_at,
                fallback_day: asked.map_or(project.import_started_at.date_naive(), |days| days.0),
                import_started_at: project.import_started_at,
                import_events: settings.events.import,
                include_userid: settings.events.include_userid,
            },
            lease: &lease,
            request_no: self.request_no,
            limits: &settings.limits,
            retention: settings.retention.quarantine,
            covers,
            asked,
            project,
            walk,
            end,
            traceparent: &walking.traceparent,
            details: self.picture().lacking.details,
            by_id: self.picture().lacking.by_id && walking.lane == Lane::Sweep,
            statement_timeout: settings.database.statement_timeout,
            dry_run: self.dry_run,
            erasure: &settings.erasure,
        };
        // On the heap, as in `in_time`.
        let applied = Box::pin(apply::apply(&self.parts.pool, &answer.content, &scope)).await?;
        if applied.0.alerts > 0 {
            // Not only at the end of the walk, which may be far.
            self.try_show_counts().await;
        }
        Ok(applied)
    }

    /// The number of the last request, counted over lease epochs.
    pub(super) fn request(&self) -> i64 {
        (self.lease.as_ref().map_or(0, |lease| lease.epoch) << 32) + self.request_no
    }

    /// A walk's place after an answer.
    pub(super) fn after(&self, walking: &Walking, answer: &Answer<Page>) -> Walk {
        let page = &answer.content;
        let place = self.place(walking, answer.sent_at);
        Walk {
            cursor: page.next.clone().map(|next| (next.id, next.created_at)),
            pages: place.pages + 1,
            items: place.items + page.len() as i64,
            ..place
        }
    }

    /// A walk's place, or its beginning. It covers its days as of its first request.
    pub(super) fn place(&self, walking: &Walking, sent_at: Timestamp) -> Walk {
        walking.place.clone().unwrap_or_else(|| Walk {
            source: self.source(),
            days: walking.days,
            by_id: walking.by_id,
            view: if walking.by_id { View::Id } else { View::List },
            first_request: self.request(),
            started_at: sent_at,
            cursor: None,
            pages: 0,
            items: 0,
            seen: Seen::default(),
        })
    }
}

fn cursor_of(walk: &Walk) -> Option<Cursor> {
    let (id, created_at) = walk.cursor.clone()?;
    Some(Cursor { id, created_at })
}
