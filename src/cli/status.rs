//! `argos-sync status`: how fresh, how complete, what fails. Reads only, and takes no lease.
//!
//! The JSON is [`crate::status`]'s picture itself; `text` writes it for people.

mod text;

use clap::Args;

use super::output;
use crate::app::{App, AppError};
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::Settings;
use crate::exit::Exit;
use crate::{status, store};

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
        let mut snapshot = store::status::snapshot(&app.pool).await?;
        let mut ids = status::projects(&mut snapshot, &app.settings).await?;
        if let Some(only) = &self.project {
            if !ids.contains(only) {
                let message = format!("no project {only:?} is configured, and the database knows none");
                return Err(AppError::Other { message, exit: Exit::Usage });
            }
            ids.retain(|id| id == only);
        }
        let now = app.clock.now();
        for (i, id) in ids.iter().enumerate() {
            let (picture, _) = status::project(&mut snapshot, &app.settings, id, now).await?;
            if self.json {
                let line = serde_json::to_string(&picture)
                    .map_err(|error| AppError::Other { message: chain(&error), exit: Exit::Failure })?;
                output::print_json(&format!("{line}\n"))?;
            } else {
                let blank = if i > 0 { "\n" } else { "" };
                output::print(&format!("{blank}{}", text::of(&picture)))?;
            }
        }
        Ok(())
    }
}
