//! `argos-sync status`: how fresh, how complete, what fails. Reads only, and takes no lease.
//!
//! One file per step: `picture` makes of the database's facts what is printed, `lanes` says how fresh each lane's days
//! are and what the plan promises, `vendor` and `deletions` tell of probes and erasures, `text` writes it for people. The JSON is the picture itself.

mod deletions;
mod lanes;
mod picture;
mod text;
mod vendor;

use std::collections::BTreeSet;

use clap::Args;

use self::picture::Picture;
use super::words;
use crate::app::{App, AppError};
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::Settings;
use crate::exit::Exit;
use crate::store::database;
use crate::store::error::StoreError;
use crate::store::status;

/// Options of `status`.
#[derive(Args)]
pub(super) struct Status {
    /// Only this project
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Print JSON, one line per project
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        let app = App::open(settings, Clock::system()).await?;
        let result = self.print(&app).await;
        let closed = app.close().await;
        result.and(closed)
    }

    async fn print(&self, app: &App) -> Result<(), AppError> {
        let mut snapshot = status::snapshot(&app.pool).await?;
        readable(database::compatible(&mut snapshot).await)?;
        // Those that are configured here, and those of other daemons that share the database.
        let mut ids: BTreeSet<String> = status::projects(&mut snapshot).await?.into_iter().collect();
        ids.extend(app.settings.projects.iter().map(|project| project.id.clone()));
        if let Some(only) = &self.project {
            if !ids.contains(only) {
                let message = format!("no project {only:?} is configured, and the database knows none");
                return Err(AppError::Other { message, exit: Exit::Usage });
            }
            ids.retain(|id| id == only);
        }
        let outbox = status::outbox(&mut snapshot).await?;
        let now = app.clock.now();
        for (i, id) in ids.iter().enumerate() {
            let facts = status::facts(&mut snapshot, id).await?;
            let configured = app.settings.projects.iter().find(|project| project.id == *id);
            let picture = Picture::new(id, facts, configured, &app.settings.poll, outbox, now);
            if self.json {
                let line = serde_json::to_string(&picture)
                    .map_err(|error| AppError::Other { message: chain(&error), exit: Exit::Failure })?;
                words::print(&format!("{line}\n"))?;
            } else {
                let blank = if i > 0 { "\n" } else { "" };
                words::print(&format!("{blank}{}", text::of(&picture)))?;
            }
        }
        Ok(())
    }
}

/// A database that only a newer release may write can still be read.
pub(super) fn readable(checked: Result<(), StoreError>) -> Result<(), StoreError> {
    match checked {
        Err(StoreError::TooOld { .. }) => Ok(()),
        checked => checked,
    }
}
