//! Submissions read one by one, by id.

use chrono::NaiveDate;

use super::Engine;
use super::guard::shows_others;
use super::walk::Walking;
use crate::domain::lane::{Lane, View};
use crate::store::error::StoreError;
use crate::store::progress::{self, Walk};
use crate::store::{calendar, erasure, id_reads};
use crate::sync::apply::End;
use crate::sync::error::SyncError;
use crate::sync::report::{Counts, PassReport};

impl Engine {
    /// Reads one submission by id and applies what the answer shows; an answer without it changes nothing. Returns
    /// whether the vendor showed it, and the counts.
    pub async fn read_by_id(&mut self, lane: Lane, submission_id: &str) -> Result<(bool, Counts), SyncError> {
        self.look().await?;
        let Some(answer) = self.ask_by_id(submission_id).await? else { return Ok((false, Counts::default())) };
        let walking = Walking::new(lane, None, true);
        let (counts, _) = self.apply(&walking, None, false, &answer, View::Id, None, End::More).await?;
        counts.publish(&self.parts.metrics, lane);
        Ok((true, counts))
    }

    /// Reads one submission now. Returns whether the vendor showed it, and what became of it. One that cannot be read stays
    /// in the queue, if it is there, and the others come first.
    pub async fn refresh(&mut self, submission_id: &str) -> Result<(bool, Counts), SyncError> {
        let read = match self.read_by_id(Lane::Refresh, submission_id).await {
            // Whoever shows others will do so again: out of the queue with it, until it has rested.
            Err(error) if shows_others(&error) => Err(error),
            Err(error @ SyncError::OneSubmission { .. }) => {
                let mut transaction = self.fenced(&self.held()?).await?;
                let (project_id, now) = (&self.parts.project.id, self.parts.clock.now());
                id_reads::put_off(&mut transaction, project_id, submission_id, now).await?;
                transaction.commit().await.map_err(StoreError::doing("putting a submission off"))?;
                return Err(error);
            }
            read => Ok(read?),
        };
        let (now, project_id) = (self.parts.clock.now(), &self.parts.project.id);
        let mut transaction = self.fenced(&self.held()?).await?;
        if matches!(read, Ok((false, _))) {
            let ids = [submission_id.to_owned()];
            erasure::suspect_gone(&mut transaction, project_id, &ids, now, Lane::Refresh).await?;
        }
        if id_reads::done(&mut transaction, project_id, submission_id).await? {
            let useful = read.as_ref().is_ok_and(|(_, counts)| counts.new + counts.changed > 0);
            id_reads::checked(&mut transaction, project_id, submission_id, now, !useful).await?;
        }
        transaction.commit().await.map_err(StoreError::doing("taking a submission out of the queue"))?;
        read
    }

    /// The next submission in a lane's queue.
    pub(super) async fn single(&mut self, lane: Lane) -> Result<PassReport, SyncError> {
        match lane {
            Lane::Canary => self.canary().await,
            Lane::Confirm => self.confirm().await,
            _ => self.next_refresh().await,
        }
    }

    async fn next_refresh(&mut self) -> Result<PassReport, SyncError> {
        let mut report = PassReport { complete: true, ..PassReport::new(Lane::Refresh) };
        let now = self.parts.clock.now();
        let next = id_reads::next(&mut *self.connection().await?, &self.parts.project.id, now).await?;
        if let Some((id, _)) = next {
            report.counts.add(self.refresh(&id).await?.1);
            report.pages = 1;
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
        let answer = match self.ask_by_id(&id).await {
            Err(SyncError::Stopped) => {
                let report = walking.report.clone();
                self.keep_walking(walking);
                return Ok(Some(report));
            }
            Err(error @ SyncError::OneSubmission { .. }) => {
                self.go_past(walking, id, false).await?;
                return Err(error);
            }
            answer => answer?,
        };
        let Some(answer) = answer else {
            self.go_past(walking, id, true).await?;
            return Ok(None);
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

    /// The round goes on after a submission that was not read. One that does not show is suspected to be gone.
    async fn go_past(&mut self, mut walking: Walking, id: String, gone: bool) -> Result<(), SyncError> {
        let (now, project_id) = (self.parts.clock.now(), self.parts.project.id.clone());
        let walk = Walk { cursor: Some((id.clone(), String::new())), ..self.place(&walking, now) };
        let mut transaction = self.fenced(&self.held()?).await?;
        if gone {
            erasure::suspect_gone(&mut transaction, &project_id, &[id], now, Lane::Open).await?;
        }
        progress::save_walk(&mut transaction, &project_id, Lane::Open, &walk, None).await?;
        transaction.commit().await.map_err(StoreError::doing("going on with a round"))?;
        walking.place = Some(walk);
        walking.report.pages += 1;
        self.keep_walking(walking);
        Ok(())
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
        self.ended(&walking);
        Ok(PassReport { complete: true, ..walking.report })
    }
}
