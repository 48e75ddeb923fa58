//! Submissions read one by one, by id.

use chrono::NaiveDate;

use super::Engine;
use super::walk::Walking;
use crate::argos::client::Answer;
use crate::argos::envelope::Page;
use crate::argos::query::Query;
use crate::domain::lane::{Lane, View};
use crate::store::error::StoreError;
use crate::store::progress::{self, Walk};
use crate::store::{calendar, id_reads};
use crate::sync::apply::End;
use crate::sync::error::SyncError;
use crate::sync::report::{Counts, PassReport};

impl Engine {
    /// Reads one submission by id and applies what the answer shows; an answer without it changes nothing. Returns
    /// whether the vendor showed it, and the counts.
    pub async fn read_by_id(&mut self, lane: Lane, submission_id: &str) -> Result<(bool, Counts), SyncError> {
        let Some(answer) = self.ask_for(submission_id).await? else { return Err(SyncError::Stopped) };
        let walking = Walking::new(lane, None, true);
        let (counts, _) = self.apply(&walking, None, false, &answer, View::Id, None, End::More).await?;
        counts.publish(&self.parts.metrics, lane);
        Ok((shows(&answer, submission_id), counts))
    }

    /// Asks for one submission; `None`: asked to stop.
    async fn ask_for(&mut self, submission_id: &str) -> Result<Option<Answer<Page>>, SyncError> {
        let select = Some(("submission_id", submission_id.to_owned()));
        let answer = self.fetch_unless_stopped(&Query { select, ..Query::default() }).await;
        self.request_no += 1;
        answer
    }

    /// Reads one submission now. Returns whether the vendor showed it, and what became of it.
    pub async fn refresh(&mut self, submission_id: &str) -> Result<(bool, Counts), SyncError> {
        self.look().await?;
        let read = self.read_by_id(Lane::Refresh, submission_id).await?;
        let mut transaction = self.fenced(&self.held()?).await?;
        id_reads::done(&mut transaction, &self.parts.project.id, submission_id).await?;
        transaction.commit().await.map_err(StoreError::doing("taking a submission out of the queue"))?;
        Ok(read)
    }

    /// The next submission in a lane's queue.
    pub(super) async fn single(&mut self, lane: Lane) -> Result<PassReport, SyncError> {
        if lane == Lane::Canary {
            return self.canary().await;
        }
        let mut report = PassReport { complete: true, ..PassReport::new(lane) };
        if lane == Lane::Refresh {
            let next = id_reads::next(&mut *self.connection().await?, &self.parts.project.id).await?;
            if let Some((id, _)) = next {
                report.counts.add(self.refresh(&id).await?.1);
                report.pages = 1;
            }
        }
        Ok(report)
    }

    /// Asks for the next open submission of a day; the report, if there is none left.
    pub(super) async fn open_submission(&mut self, day: NaiveDate) -> Result<Option<PassReport>, SyncError> {
        let mut walking = self.walking_of(Lane::Open, Some((day, day)), true).await?;
        let after =
            walking.place.as_ref().and_then(|walk| walk.cursor.clone()).map_or(String::new(), |cursor| cursor.0);
        let project_id = self.parts.project.id.clone();
        let next = calendar::next_open(&mut *self.connection().await?, &project_id, day, &after).await?;
        let Some(id) = next else { return self.end_round(walking, day).await.map(Some) };
        let Some(answer) = self.ask_for(&id).await? else {
            let report = walking.report.clone();
            self.keep_walking(walking);
            return Ok(Some(report));
        };
        let walk = Walk { cursor: Some((id, String::new())), ..self.after(&walking, &answer) };
        let (counts, walk) = self.apply(&walking, None, false, &answer, View::Id, Some(&walk), End::More).await?;
        counts.publish(&self.parts.metrics, Lane::Open);
        walking.place = walk;
        walking.report.counts.add(counts);
        walking.report.pages += 1;
        self.keep_walking(walking);
        Ok(None)
    }

    async fn end_round(&mut self, walking: Walking, day: NaiveDate) -> Result<PassReport, SyncError> {
        let now = self.parts.clock.now();
        let at = walking.place.as_ref().map_or(now, |walk| walk.started_at);
        let mut transaction = self.fenced(&self.held()?).await?;
        calendar::open_checked(&mut transaction, &self.parts.project.id, day, at).await?;
        if let Some(walk) = &walking.place {
            progress::save_walk(&mut transaction, &self.parts.project.id, Lane::Open, walk, Some(now)).await?;
        }
        transaction.commit().await.map_err(StoreError::doing("ending a round over open submissions"))?;
        let progress = self.lanes.entry(Lane::Open).or_default();
        progress.running = None;
        progress.begun_at = Some(at);
        progress.requests = walking.place.as_ref().map_or(1, |walk| u64::try_from(walk.pages).unwrap_or(1));
        Ok(PassReport { complete: true, ..walking.report })
    }
}

fn shows(answer: &Answer<Page>, submission_id: &str) -> bool {
    answer.content.items().any(|item| item.submission_id == Some(submission_id))
}
