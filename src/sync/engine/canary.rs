//! A submission drawn at random is read by id: what it shows must be what the mirror says. A difference that a walk
//! should have seen long ago, or columns that do not follow from the stored item, are divergences; there must be none.

use chrono::TimeDelta;
use uuid::Uuid;

use super::Engine;
use crate::clock::Timestamp;
use crate::domain::lane::Lane;
use crate::domain::submission::State;
use crate::domain::time;
use crate::store::{canary, mirror};
use crate::sync::error::SyncError;
use crate::sync::report::PassReport;

/// How long after a change a list may still lag behind.
const LAG: TimeDelta = TimeDelta::minutes(10);

impl Engine {
    /// Draws a submission, reads it by id, applies what it shows (as any other lane would), and compares.
    pub async fn canary(&mut self) -> Result<PassReport, SyncError> {
        self.look().await?;
        self.canary_at = Some(self.parts.clock.now() + self.parts.settings.poll.canary_interval);
        let mut report = PassReport { complete: true, ..PassReport::new(Lane::Canary) };
        let Some((id, covered_at)) = self.draw().await? else { return Ok(report) };
        let (shown, counts) = self.read_by_id(Lane::Canary, &id).await?;
        report.pages = 1;
        let project_id = self.parts.project.id.clone();
        let mut connection = self.connection().await?;
        let stored = mirror::stored(&mut connection, &project_id, std::slice::from_ref(&id)).await?;
        let metrics = &self.parts.metrics;
        metrics.canary_checks.inc();
        if let Some(stored) = stored.get(&id) {
            let updated_at = State::of(&stored.item).text(&["updated_at"]).and_then(time::parse);
            // What changed before a complete walk of its day began must have been seen by that walk.
            let missed =
                updated_at.zip(covered_at).is_some_and(|(updated_at, covered_at)| updated_at + LAG < covered_at);
            // Where lists lack fields, no walk shows a change of those.
            let walks_show_all = !self.picture().lacking.details;
            if shown && counts.changed > 0 && missed && walks_show_all {
                metrics.canary_divergence("missed");
                tracing::error!(
                    project = project_id,
                    "the mirror had missed a change that a complete walk should have shown"
                );
            }
            if !canary::sound(&mut connection, &project_id, &id, &stored.item).await? {
                metrics.canary_divergence("columns");
                tracing::error!(
                    project = project_id,
                    submission_id = id,
                    "the columns of a submission do not follow from its item: has something else written to the tables?"
                );
            }
        }
        report.counts.add(counts);
        Ok(report)
    }

    /// A stored submission, each with the same chance, and as of when its day was last read completely.
    async fn draw(&mut self) -> Result<Option<(String, Option<Timestamp>)>, SyncError> {
        let calendar = &self.picture().calendar;
        let total = calendar.submissions(None);
        if total == 0 {
            return Ok(None);
        }
        let mut place = Uuid::new_v4().as_u64_pair().1 % total;
        let mut drawn = None;
        for day in &calendar.days {
            if place < day.submissions {
                drawn = Some((day.day, place));
                break;
            }
            place -= day.submissions;
        }
        let Some((day, place)) = drawn else { return Ok(None) };
        let covered_at = calendar.covered_at(day);
        let place = i64::try_from(place).unwrap_or(0);
        let id = canary::draw(&mut *self.connection().await?, &self.parts.project.id, day, place).await?;
        Ok(id.map(|id| (id, covered_at)))
    }
}
