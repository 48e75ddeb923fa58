//! Whose data is this? Asked before anything is written.

use super::Engine;
use crate::argos::client::Answer;
use crate::argos::envelope::Page;
use crate::argos::error::ApiError;
use crate::argos::query::Query;
use crate::domain::submission::State;
use crate::store::error::StoreError;
use crate::store::{erasure, mirror};
use crate::sync::error::SyncError;

/// How many known submissions are asked for after a change of the key; more than half must be there.
const ASKED: i64 = 5;

/// What is wrong with an answer by id that shows other submissions.
const OTHERS: &str = "it shows others than the submission asked for";

/// Whether an error is that an answer by id showed other submissions.
pub(super) fn shows_others(error: &SyncError) -> bool {
    matches!(error, SyncError::OneSubmission { source: ApiError::NotAList { what }, .. } if *what == OTHERS)
}

impl Engine {
    /// After a change of server, key or dialect: known submissions must answer by id as the same ones. Another project's
    /// key must neither mix its data into this one nor erase it. Whether that was seen: where nothing is known, it is believed.
    pub(super) async fn same_project(&mut self) -> Result<bool, SyncError> {
        let source = self.parts.key.source(&self.parts.client.identity());
        let project_id = self.parts.project.id.clone();
        let mut connection = self.connection().await?;
        let stored = erasure::source(&mut connection, &project_id).await?;
        if stored.as_deref() == Some(&source[..]) {
            self.parts.metrics.other_project.set(0);
            return Ok(true);
        }
        let ids = match stored {
            Some(_) => erasure::known_live(&mut connection, &project_id, "", ASKED).await?,
            // The first pass, or an operator has said that the new key is meant.
            None => Vec::new(),
        };
        let known = mirror::stored(&mut connection, &project_id, &ids).await?;
        drop(connection);
        let (mut asked, mut same, mut untold) = (0, 0, None);
        for (id, stored) in &known {
            let answer = match self.ask_by_id(id).await {
                // Whoever shows others does not show this one.
                Err(error) if shows_others(&error) => None,
                // The others tell.
                Err(error @ SyncError::OneSubmission { .. }) => {
                    untold = Some(error);
                    continue;
                }
                answer => answer?,
            };
            asked += 1;
            let Some(answer) = answer else { continue };
            let item = answer.content.items().find(|item| item.submission_id == Some(id) && !item.is_heavy());
            let item = item.and_then(|item| serde_json::from_str(item.json).ok());
            let created_at = |item: &serde_json::Value| State::of(item).created_at();
            let (ours, theirs) = (created_at(&stored.item), item.as_ref().and_then(created_at));
            same += usize::from(item.is_some() && (ours == theirs || ours.is_none()));
        }
        if let Some(error) = untold.filter(|_| asked == 0) {
            return Err(error);
        }
        if let Some(error) = SyncError::other_project(asked, same) {
            self.parts.metrics.other_project.set(1);
            return Err(error);
        }
        let mut transaction = self.fenced(&self.held()?).await?;
        erasure::set_source(&mut transaction, &project_id, Some(&source[..])).await?;
        transaction.commit().await.map_err(StoreError::doing("noting whose data this is"))?;
        self.parts.metrics.other_project.set(0);
        if asked > 0 {
            tracing::info!(project = project_id, same, "server, key or dialect changed: known submissions answer");
        }
        Ok(asked > 0)
    }

    /// Asks for one submission; `None`: the answer holds no such item. How the vendor says so is not documented: an empty
    /// list, an object without one, 400, 404 or 410, or an error object that blames the request. A wrong path or a gateway
    /// may say the same. An answer that shows others says nothing of the one that was asked for: it is an error, also if
    /// that one is among them, because it may be a list, and lists may lag.
    pub(super) async fn ask_by_id(&mut self, id: &str) -> Result<Option<Answer<Page>>, SyncError> {
        let query = Query { select: Some(("submission_id", id.to_owned())), ..Query::default() };
        let answer = self.fetch_unless_stopped(&query).await;
        match answer {
            Ok(None) => Err(SyncError::Stopped),
            Ok(Some(answer)) => {
                self.request_no += 1;
                let there = answer.content.items().any(|item| item.submission_id == Some(id));
                let others = answer.content.items().any(|item| item.submission_id.is_some_and(|other| other != id));
                if others || !(there || answer.content.is_empty()) {
                    self.parts.metrics.drift("other_submissions", 1);
                    let source = ApiError::NotAList { what: OTHERS };
                    return Err(SyncError::OneSubmission { submission_id: id.to_owned(), source });
                }
                Ok(there.then_some(answer))
            }
            Err(SyncError::Api(ApiError::BadRequest { status: 200 | 400 | 404 | 410, .. })) => Ok(None),
            Err(SyncError::Api(source)) if source.may_be_one_submission() => {
                Err(SyncError::OneSubmission { submission_id: id.to_owned(), source })
            }
            Err(error) => Err(error),
        }
    }
}
