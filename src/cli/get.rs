//! `argos-sync get`: the vendor's query modes, printed as JSON.

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{output, project};
use crate::app::AppError;
use crate::argos::client::Client;
use crate::argos::decode::Refusal;
use crate::argos::envelope::RawItem;
use crate::argos::error::ApiError;
use crate::argos::query::Query;
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::Settings;
use crate::exit::Exit;
use crate::heartbeat::Heartbeat;
use crate::metrics::Metrics;
use crate::sync::error::SyncError;

/// Options of `get`.
#[derive(Args)]
pub(super) struct Get {
    #[command(flatten)]
    by: By,
    /// Which project, where several are configured
    #[arg(long, value_name = "ID")]
    project: Option<String>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct By {
    /// The submission with this id
    #[arg(long, value_name = "ID")]
    submission_id: Option<String>,
    /// All submissions with this userid
    #[arg(long)]
    userid: Option<String>,
    /// All submissions with this e-mail address
    #[arg(long)]
    email: Option<String>,
    /// The approved submissions of this person
    #[arg(long, value_name = "ID")]
    applicant_id: Option<String>,
}

impl Get {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        settings.require_keys()?;
        let project = project(&settings, self.project.as_deref())?;
        let metrics =
            Metrics::new(&ApiError::KINDS, &Refusal::REASONS).map_err(AppError::Metrics)?.project(&project.id);
        let client = Client::new(&project.api, &settings.limits, Clock::system(), metrics, Heartbeat::new())
            .map_err(AppError::Client)?;
        // A person asks: the day's budget, which lives in the database, is not touched.
        client.pace.grant(u64::from(u32::MAX), Duration::from_secs(24 * 60 * 60));
        let found = self
            .by
            .fetch(&client, project.api.count)
            .await
            .map_err(|error| AppError::Sync { project: project.id.clone(), source: SyncError::Api(error) })?;
        match serde_json::to_string_pretty(&found) {
            Ok(text) => output::print_json(&format!("{text}\n")),
            Err(error) => Err(AppError::Other { message: chain(&error), exit: Exit::Failure }),
        }
    }
}

impl By {
    async fn fetch(self, client: &Client, count: u32) -> Result<Vec<Value>, ApiError> {
        if let Some(applicant_id) = self.applicant_id {
            return client.applicant(&applicant_id).await;
        }
        let one = self.submission_id.map(|id| ("submission_id", id));
        let count = one.is_none().then_some(count);
        let select = one.or(self.userid.map(|userid| ("userid", userid))).or(self.email.map(|email| ("email", email)));
        let mut query = Query { select, count, ..Query::default() };
        let (mut found, mut cursors) = (Vec::new(), HashSet::new());
        loop {
            let page = client.submissions(&query).await?.content;
            // What cannot be read as JSON (a lone surrogate, say), or would fill the memory, is printed as its text.
            let readable = |raw: RawItem<'_>| (!raw.is_heavy()).then(|| serde_json::from_str(raw.json).ok())?;
            found.extend(page.items().map(|raw| readable(raw).unwrap_or_else(|| Value::from(raw.json))));
            match page.next {
                Some(next) if cursors.insert(next.clone()) => query.cursor = Some(next),
                Some(_) => return Err(ApiError::NotAList { what: "its nextpageKey repeats" }),
                None => return Ok(found),
            }
        }
    }
}
