//! A second and a third look, by id, at what seems to be deleted. The third one carries it out.

use chrono::TimeDelta;

use super::Engine;
use super::walk::Walking;
use crate::argos::client::Answer;
use crate::argos::decode::decode;
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::domain::erasure::confirmed;
use crate::domain::lane::{Lane, View};
use crate::domain::submission::Drift;
use crate::store::erasure::{self, Suspicion};
use crate::store::error::StoreError;
use crate::store::receipts::Receipt;
use crate::store::{id_reads, mirror};
use crate::sync::apply::End;
use crate::sync::erase::{self, Order};
use crate::sync::error::SyncError;
use crate::sync::report::PassReport;

/// How many submissions that should be there are tried before a look is put off.
const LIVE: i64 = 3;

/// Confirmations that a deletion needs.
const NEEDED: usize = 2;

/// What a look at a submission brought.
enum Look {
    /// The vendor does not show it.
    Nothing,
    /// It shows this.
    Item(Answer<Page>, serde_json::Value),
    /// It shows something that cannot be read.
    Unreadable,
}

impl Engine {
    /// Looks at the next suspicion that is due: a submission that should be there must answer by id, then the suspected
    /// one is asked for. Refuted: the answer is applied. Confirmed for the second time, `erasure.confirm_after` after the
    /// first: carried out.
    pub async fn confirm(&mut self) -> Result<PassReport, SyncError> {
        self.look().await?;
        let result = self.look_again().await;
        if matches!(result, Err(SyncError::Store(_))) {
            self.lose_the_lease();
        } else {
            self.show_erasures().await?;
        }
        result
    }

    async fn look_again(&mut self) -> Result<PassReport, SyncError> {
        let lane = Lane::Confirm;
        let walking = Walking::new(lane, None, true);
        let mut report = PassReport { complete: true, ..PassReport::new(lane) };
        let project_id = self.parts.project.id.clone();
        let now = self.parts.clock.now();
        let Some(suspicion) = self.due().await? else { return Ok(report) };
        let mut connection = self.connection().await?;
        let live = erasure::known_live(&mut connection, &project_id, &suspicion.submission_id, LIVE).await?;
        let ids = [suspicion.submission_id.clone()];
        let stored = mirror::stored(&mut connection, &project_id, &ids).await?.remove(&suspicion.submission_id);
        drop(connection);
        let Some(stored) = stored else {
            self.drop_suspicion(&suspicion).await?;
            return Ok(report);
        };
        // A wrong path, a gateway's 404 or a key that sees nothing looks the same as a submission that is gone.
        let mut answers = false;
        for id in live {
            report.pages += 1;
            answers = matches!(self.shown(&id).await?, Look::Item(..));
            if answers {
                break;
            }
        }
        if !answers {
            tracing::warn!(
                project = project_id,
                "no submission answers by id: nothing can be confirmed as deleted now"
            );
            self.put_off(suspicion).await?;
            return Ok(report);
        }
        report.pages += 1;
        let look = self.shown(&suspicion.submission_id).await?;
        let item = match &look {
            Look::Unreadable => {
                self.put_off(suspicion).await?;
                return Ok(report);
            }
            Look::Nothing => None,
            Look::Item(_, item) => Some(item),
        };
        let finding = confirmed(suspicion.kind, &suspicion.fields, &stored.item, &stored.removed_fields, item);
        match (finding, look) {
            (Some((kind, fields)), _) => {
                // Another form than before: that is the first confirmation of it.
                let before = if kind == suspicion.kind { suspicion.confirmed_at.clone() } else { Vec::new() };
                let confirmed_at: Vec<_> = before.into_iter().chain([now]).collect();
                self.believe(&walking, Suspicion { kind, fields, confirmed_at, ..suspicion }, &mut report).await?;
            }
            (None, look) => {
                self.drop_suspicion(&suspicion).await?;
                if let Look::Item(answer, _) = look {
                    let counts = self.apply(&walking, None, false, &answer, View::Id, None, End::More).await?.0;
                    counts.publish(&self.parts.metrics, lane);
                    report.counts.add(counts);
                }
            }
        }
        Ok(report)
    }

    /// The suspicion that is due, unless all of them are held.
    async fn due(&self) -> Result<Option<Suspicion>, SyncError> {
        let project_id = &self.parts.project.id;
        let now = self.parts.clock.now();
        let settings = &self.parts.settings.erasure;
        let mut transaction = self.fenced(&self.held()?).await?;
        let (count, share) = (settings.max_count, settings.max_share);
        let held = erasure::hold_if_mass(&mut transaction, project_id, count, share, now).await?;
        let due = if held { None } else { erasure::due(&mut transaction, project_id, now).await? };
        transaction.commit().await.map_err(StoreError::doing("looking for a suspicion"))?;
        Ok(due)
    }

    async fn shown(&mut self, id: &str) -> Result<Look, SyncError> {
        let answer = match self.ask_by_id(id).await {
            Err(SyncError::Api(ApiError::NotAList { .. })) => return Ok(Look::Unreadable),
            answer => answer?,
        };
        let Some(answer) = answer else { return Ok(Look::Nothing) };
        let limits = &self.parts.settings.limits;
        let raw = answer.content.items().filter(|item| item.submission_id == Some(id)).last();
        let decoded = raw.map(|raw| decode(raw, limits, &mut Drift::new()).map(|submission| submission.item));
        Ok(match decoded {
            None => Look::Nothing,
            Some(Err(_)) => Look::Unreadable,
            Some(Ok(item)) => Look::Item(answer, item),
        })
    }

    /// Notes a confirmation, or carries out what is confirmed often enough.
    async fn believe(&self, walking: &Walking, suspicion: Suspicion, report: &mut PassReport) -> Result<(), SyncError> {
        let project_id = &self.parts.project.id;
        let settings = &self.parts.settings;
        let at = self.parts.clock.now();
        self.parts.heartbeat.expect_within(settings.database.statement_timeout * 20);
        let mut transaction = self.fenced(&self.held()?).await?;
        let (count, share) = (settings.erasure.max_count, settings.erasure.max_share);
        let apart = suspicion.confirmed_at.first().map_or(TimeDelta::zero(), |first| at - *first);
        let enough = suspicion.confirmed_at.len() >= NEEDED
            && apart >= TimeDelta::from_std(settings.erasure.confirm_after).unwrap_or(TimeDelta::MAX);
        if !enough {
            let first = suspicion.confirmed_at.first().copied().unwrap_or(at);
            let next_check_at = first + settings.erasure.confirm_after;
            let suspicion = Suspicion { confirmed_at: vec![first], next_check_at, ..suspicion };
            erasure::save(&mut transaction, project_id, &suspicion).await?;
            id_reads::checked(&mut transaction, project_id, &suspicion.submission_id, at, true).await?;
        } else if !erasure::hold_if_mass(&mut transaction, project_id, count, share, at).await? {
            let order = Order {
                project_id,
                key: &self.parts.key,
                mode: settings.erasure.mode,
                request: (self.held()?.epoch, self.request_no),
                lane: Lane::Confirm,
                at,
                traceparent: &walking.traceparent,
            };
            let done = erase::carry_out(&mut transaction, &order, &suspicion, None).await?;
            transaction.commit().await.map_err(StoreError::doing("carrying out an erasure"))?;
            if let Some(done) = done {
                self.parts.metrics.erased(suspicion.kind);
                for kind in done.events {
                    *report.counts.events.entry(kind).or_default() += 1;
                    self.parts.metrics.events(kind, 1);
                }
                let Receipt { submission_id, kind, mode, .. } = &done.receipt;
                tracing::info!(project = project_id, submission_id, kind, mode, "a deletion was carried out");
            }
            return Ok(());
        }
        Ok(transaction.commit().await.map_err(StoreError::doing("noting a confirmation"))?)
    }

    /// Drops a refuted suspicion. A list that goes on suspecting the same must not cost requests at every poll.
    async fn drop_suspicion(&self, suspicion: &Suspicion) -> Result<(), SyncError> {
        let (project_id, at) = (&self.parts.project.id, self.parts.clock.now());
        let mut transaction = self.fenced(&self.held()?).await?;
        let ids = [suspicion.submission_id.clone()];
        erasure::drop(&mut transaction, project_id, &ids).await?;
        id_reads::checked(&mut transaction, project_id, &suspicion.submission_id, at, true).await?;
        Ok(transaction.commit().await.map_err(StoreError::doing("dropping a suspicion"))?)
    }

    /// Looks again later, without a confirmation.
    async fn put_off(&self, mut suspicion: Suspicion) -> Result<(), SyncError> {
        suspicion.next_check_at = self.parts.clock.now() + self.parts.settings.erasure.confirm_after / 6;
        let mut transaction = self.fenced(&self.held()?).await?;
        erasure::save(&mut transaction, &self.parts.project.id, &suspicion).await?;
        Ok(transaction.commit().await.map_err(StoreError::doing("putting a confirmation off"))?)
    }

    /// Takes the counts of suspicions over into the metrics.
    pub(super) async fn show_erasures(&self) -> Result<(), SyncError> {
        let project_id = &self.parts.project.id;
        let mut connection = self.connection().await?;
        let pending = erasure::pending(&mut connection, project_id).await?;
        let hold = erasure::hold(&mut connection, project_id).await?;
        drop(connection);
        let metrics = &self.parts.metrics;
        metrics.erasures_pending.set(pending);
        // The moment it begins is told once; the metric says that it lasts.
        let held = i64::from(hold.is_some());
        if let Some(hold) = hold.filter(|_| metrics.erasures_held.get() == 0) {
            tracing::error!(
                project = project_id,
                suspicions = hold.suspicions,
                submissions = hold.submissions,
                advice = "Check the key and its rights; if the deletions are meant: argos-sync erasure release.",
                "too much seems to be deleted at once: all erasures of the project wait"
            );
        }
        metrics.erasures_held.set(held);
        Ok(())
    }
}
