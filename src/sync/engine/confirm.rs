//! A second and a third look, by id, at what seems to be deleted. The third one carries it out.

use std::collections::HashSet;

use chrono::{NaiveDate, TimeDelta};

use super::Engine;
use super::walk::Walking;
use crate::argos::client::Answer;
use crate::argos::decode::decode;
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::domain::calendar::Filter;
use crate::domain::erasure::{Evidence, Kind, confirmed, stands};
use crate::domain::lane::{Lane, View};
use crate::domain::submission::{Drift, State};
use crate::domain::views::{Fields, personal};
use crate::store::erasure::{self, Suspicion};
use crate::store::error::StoreError;
use crate::store::mirror::Stored;
use crate::store::receipts::Receipt;
use crate::store::{calendar, id_reads, mirror, views};
use crate::sync::apply::End;
use crate::sync::erase::{self, Order};
use crate::sync::error::SyncError;
use crate::sync::plan::PUT_OFF;
use crate::sync::prepare;
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

/// What is known of a suspected submission.
struct File {
    stored: Stored,
    project_fields: HashSet<(String, String)>,
    /// Fields that answers by id can show of it.
    by_id: Fields,
    /// Fields that lists have shown of it.
    listed: Fields,
}

impl Engine {
    /// Looks at the next suspicion that is due: a submission that should be there must answer by id, then the suspected
    /// one is asked for. Refuted: the answer is applied. Confirmed for the second time, `erasure.confirm_after` after the
    /// first: carried out. What lists have shown they must lack, too: see [`Evidence`].
    pub async fn confirm(&mut self) -> Result<PassReport, SyncError> {
        self.look().await?;
        let result = Box::pin(self.look_again()).await;
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
        let Some(file) = self.file(&suspicion).await? else {
            self.drop_suspicion(&suspicion).await?;
            return Ok(report);
        };
        let File { stored, project_fields, .. } = &file;
        let confirm_after = self.parts.settings.erasure.confirm_after;
        let evidence = Evidence {
            by_id: &file.by_id,
            listed: &file.listed,
            lacked_at: suspicion.lacked_at,
            second_from: suspicion.confirmed_at.first().map(|first| *first + confirm_after),
        };
        if !evidence.suffices(suspicion.kind, &suspicion.fields) {
            self.read_day_again(stored.created_day).await?;
            self.put_off(suspicion).await?;
            return Ok(report);
        }
        let Some(live) = self.live(&suspicion.submission_id, project_fields, &mut report).await? else {
            tracing::warn!(
                project = project_id,
                "no submission answers by id as it is stored: nothing can be confirmed as deleted now"
            );
            self.put_off(suspicion).await?;
            return Ok(report);
        };
        report.pages += 1;
        let look = match self.shown(&suspicion.submission_id).await {
            Err(error @ SyncError::OneSubmission { .. }) => {
                self.put_off(suspicion).await?;
                return Err(error);
            }
            look => look?,
        };
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
            // Where answers by id show nothing personal of anybody, one that shows nothing of this one says nothing.
            (Some((Kind::Blanked, _)), _) if !personal(&live) => self.put_off(suspicion).await?,
            (Some((kind, fields)), _) => {
                // Another form than before: that is the first confirmation of it.
                let again = kind == suspicion.kind;
                if again && !evidence.suffices(kind, &fields) {
                    self.put_off(suspicion).await?;
                    return Ok(report);
                }
                let before = if again { suspicion.confirmed_at.clone() } else { Vec::new() };
                let confirmed_at: Vec<_> = before.into_iter().chain([now]).collect();
                if suspicion.lacked_at.is_none() && !evidence.listed.is_disjoint(&fields) {
                    self.read_day_again(stored.created_day).await?;
                }
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

    /// What is known of a suspected submission; `None`: it is not stored.
    async fn file(&self, suspicion: &Suspicion) -> Result<Option<File>, SyncError> {
        let (project_id, ids) = (&self.parts.project.id, [suspicion.submission_id.clone()]);
        let mut connection = self.connection().await?;
        let stored = mirror::stored(&mut connection, project_id, &ids).await?.remove(&suspicion.submission_id);
        let Some(stored) = stored else { return Ok(None) };
        let rows = views::of(&mut connection, project_id, &ids).await?.remove(&suspicion.submission_id);
        let rows = rows.unwrap_or_default();
        let project_fields = views::fields(&mut connection, project_id).await?;
        let by_id = prepare::by_id(&rows, &stored, &project_fields);
        // No walk with dates need show one without a date: no list is waited for.
        let dated = State::of(&stored.item).created_at().is_some();
        let listed = if dated { prepare::shown(&rows, View::List, &stored) } else { Fields::new() };
        Ok(Some(File { stored, project_fields, by_id, listed }))
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

    /// Asks for submissions that should be there, until one answers as it is stored; returns the fields that it shows. A
    /// wrong path, a gateway's 404 or a key with fewer rights looks the same as a deletion.
    async fn live(
        &mut self,
        suspected: &str,
        project_fields: &HashSet<(String, String)>,
        report: &mut PassReport,
    ) -> Result<Option<Fields>, SyncError> {
        let project_id = self.parts.project.id.clone();
        let mut connection = self.connection().await?;
        let ids = erasure::known_live(&mut connection, &project_id, suspected, LIVE).await?;
        let known = mirror::stored(&mut connection, &project_id, &ids).await?;
        let rows = views::of(&mut connection, &project_id, &ids).await?;
        drop(connection);
        for id in &ids {
            report.pages += 1;
            let look = match self.shown(id).await {
                Err(SyncError::OneSubmission { .. }) => continue,
                look => look?,
            };
            let (Look::Item(_, item), Some(stored)) = (look, known.get(id)) else { continue };
            let by_id = match rows.get(id).filter(|rows| rows.iter().any(|row| row.view == View::Id.as_str())) {
                Some(rows) => prepare::shown(rows, View::Id, stored),
                None => prepare::by_id(&[], stored, project_fields),
            };
            let Some(shown) = stands(&stored.item, &by_id, &stored.removed_fields, item) else { continue };
            let at = self.parts.clock.now();
            let mut transaction = self.fenced(&self.held()?).await?;
            views::note_fields(&mut transaction, &project_id, View::Id, project_fields, &shown, at).await?;
            transaction.commit().await.map_err(StoreError::doing("noting what answers by id show"))?;
            return Ok(Some(shown));
        }
        Ok(None)
    }

    /// Has the lists of a created-day read again, to hear what they say.
    async fn read_day_again(&self, day: NaiveDate) -> Result<(), SyncError> {
        // Without days every walk reads everything anyway.
        if !matches!(self.filter(), Filter::Created { .. }) {
            return Ok(());
        }
        let at = self.parts.clock.now();
        let mut transaction = self.fenced(&self.held()?).await?;
        calendar::mark(&mut transaction, &self.parts.project.id, &[day], at).await?;
        Ok(transaction.commit().await.map_err(StoreError::doing("marking a day to be read again"))?)
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
            let done = Box::pin(erase::carry_out(&mut transaction, &order, &suspicion, None)).await?;
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
        erasure::clear(&mut transaction, project_id, &ids).await?;
        id_reads::checked(&mut transaction, project_id, &suspicion.submission_id, at, true).await?;
        Ok(transaction.commit().await.map_err(StoreError::doing("dropping a suspicion"))?)
    }

    /// Looks again later, without a confirmation.
    async fn put_off(&self, mut suspicion: Suspicion) -> Result<(), SyncError> {
        suspicion.next_check_at = self.parts.clock.now() + self.parts.settings.erasure.confirm_after / PUT_OFF;
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
