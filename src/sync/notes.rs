//! What a page says beside its versions: what it showed, what it lacked, and whom to ask for by id.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::apply::Scope;
use super::prepare::Page;
use crate::config;
use crate::domain::erasure::Kind;
use crate::domain::views::{Fields, Merged};
use crate::store::erasure;
use crate::store::error::StoreError;
use crate::store::id_reads::{self, Reason};
use crate::store::views::{self, ViewWrite};

/// What is written about a page's items beside their versions.
#[derive(Default)]
pub(super) struct Notes {
    /// Fields that the page showed.
    pub(super) fields: Fields,
    /// Views whose first reading brought no version.
    pub(super) views: Vec<(String, ViewWrite)>,
    /// What seems to be deleted.
    pub(super) lost: Vec<(String, Kind, Fields)>,
    /// What every item showed that was compared: it refutes suspicions.
    pub(super) answered: Vec<(String, Fields)>,
    pub(super) lagging: Vec<String>,
    pub(super) reappeared: Vec<String>,
    pub(super) undated: Vec<String>,
    /// Whom an answer by id shows although fields of it were erased.
    pub(super) vouched: Vec<String>,
}

impl Notes {
    /// Takes what an item showed that was laid over what is stored.
    pub(super) fn take(&mut self, id: &str, merged: &Merged) {
        self.fields.extend(merged.answered.iter().cloned());
        if !merged.refused.is_empty() {
            self.reappeared.push(id.to_owned());
        }
        if !merged.blanked {
            self.answered.push((id.to_owned(), merged.answered.clone()));
        }
        if !merged.lost.is_empty() {
            let kind = if merged.blanked { Kind::Blanked } else { Kind::Fields };
            self.lost.push((id.to_owned(), kind, merged.lost.clone()));
        }
    }

    /// Writes all of it; part of the page's transaction.
    pub(super) async fn write(
        &self,
        connection: &mut PgConnection,
        scope: &Scope<'_>,
        project_fields: &HashSet<(String, String)>,
    ) -> Result<(), StoreError> {
        let Page { project_id, view, lane, observed_at: at, .. } = scope.page;
        views::note_fields(connection, project_id, view, project_fields, &self.fields, at).await?;
        let rows: Vec<_> = self.views.iter().map(|(id, row)| (id.as_str(), row)).collect();
        views::write(connection, project_id, &rows).await?;
        let reasons =
            [(&self.lagging, Reason::Lag), (&self.reappeared, Reason::Reappeared), (&self.undated, Reason::NoDate)];
        for (ids, reason) in reasons {
            id_reads::push(connection, project_id, ids, reason, at).await?;
        }
        id_reads::answered(connection, project_id, &self.vouched, at).await?;
        for (id, kind, fields) in &self.lost {
            erasure::suspect(connection, project_id, id, (*kind, fields), at, (view, lane)).await?;
        }
        // After what is missing, so that a suspicion that goes on keeps what an operator said of it.
        let suspected: Vec<String> = self.answered.iter().map(|(id, _)| id.clone()).collect();
        let suspected = erasure::suspected(connection, project_id, &suspected).await?;
        for (id, fields) in self.answered.iter().filter(|(id, _)| suspected.contains(id)) {
            erasure::refute(connection, project_id, id, view, fields).await?;
        }
        if !self.lost.is_empty() {
            let config::Erasure { max_count, max_share, .. } = *scope.erasure;
            erasure::hold_if_mass(connection, project_id, max_count, max_share, at).await?;
        }
        Ok(())
    }
}
