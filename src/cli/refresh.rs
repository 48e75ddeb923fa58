//! `argos-sync refresh`: one submission, now.

use clap::Args;

use super::once::{stopped, with_database};
use super::project;
use crate::app::{App, AppError};
use crate::config::Settings;
use crate::exit::Exit;
use crate::heartbeat::Heartbeat;
use crate::lifecycle;
use crate::store::error::StoreError;
use crate::store::id_reads::{self, Reason};
use crate::sync::error::SyncError;
use crate::words::shown;

/// Options of `refresh`.
#[derive(Args)]
pub(super) struct Refresh {
    /// The submission_id
    id: String,
    /// Which project, where several are configured
    #[arg(long, value_name = "ID")]
    project: Option<String>,
}

impl Refresh {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        settings.require_keys()?;
        let stop = lifecycle::stop_on_signals()?;
        with_database(settings, &stop, async |app| {
            stop.run_until_cancelled(self.read(app)).await.unwrap_or_else(|| Err(stopped()))
        })
        .await
    }

    async fn read(&self, app: &App) -> Result<(), AppError> {
        let project = project(&app.settings, self.project.as_deref())?;
        let holder = format!("{}:refresh", app.settings.lease.holder_name());
        let mut engine =
            app.engine(project, &holder, &Heartbeat::new(), &tokio_util::sync::CancellationToken::new()).await?;
        let failed = |source| AppError::Sync { project: project.id.clone(), source };
        let result = engine.refresh(&self.id).await;
        let id = shown(&self.id);
        let released = engine.release().await;
        match result {
            Ok((shown, counts)) => {
                let what = match (counts.new, counts.changed, counts.quarantined) {
                    _ if !shown => "the vendor does not show it",
                    (1.., _, _) => "new",
                    (_, 1.., _) => "changed",
                    (_, _, 1..) => "quarantined",
                    _ => "unchanged",
                };
                println!("{id}: {what}; {} events", counts.events_total());
                if !shown {
                    let message = format!("project {:?} shows no submission {:?}", project.id, self.id);
                    return Err(AppError::Other { message, exit: Exit::Failure });
                }
                released.map_err(failed)
            }
            Err(SyncError::NotLeader { holder, .. }) => {
                let connecting = StoreError::doing("connecting");
                let mut connection = app.pool.acquire().await.map_err(connecting)?;
                let ids = [self.id.clone()];
                id_reads::push(&mut connection, &project.id, &ids, Reason::Refresh, app.clock.now()).await?;
                println!("{id}: queued; {holder}, which is at work, reads it next");
                println!("`argos-sync explain` shows what came of it: nothing, if the vendor does not show this id");
                Ok(())
            }
            Err(error) => Err(failed(error)),
        }
    }
}
