//! `argos-sync restored`: says that the database is a restored backup.

use clap::Args;
use sqlx::PgConnection;

use crate::app::{App, AppError};
use crate::clock::Clock;
use crate::config::Settings;
use crate::exit::Exit;
use crate::store::error::StoreError;
use crate::store::{budget, database, erasure, lease, outbox};
use crate::words::grouped;

/// Options of `restored`.
#[derive(Args)]
pub(super) struct Restored {
    /// Do it: consumers of the outbox start over, and no daemon of before can write any more
    #[arg(long)]
    yes: bool,
}

impl Restored {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        if !self.yes {
            let message = "nothing was changed. If this database is a restored backup: argos-sync restored --yes makes all \
                           consumers of the outbox start over, and ends the lease of every project (docs/backup.md)";
            return Err(AppError::Other { message: message.to_owned(), exit: Exit::Usage });
        }
        let app = App::open(settings, Clock::system()).await?;
        let result = restored(&app).await;
        let closed = app.close().await;
        result.and(closed)
    }
}

/// All in one transaction: who sees the new generation sees nothing of a leader of before after it.
async fn restored(app: &App) -> Result<(), AppError> {
    app.prepare_database().await?;
    let at = app.clock.now();
    let mut transaction = app.pool.begin().await.map_err(StoreError::doing("beginning a transaction"))?;
    database::bound(&mut transaction, app.settings.database.statement_timeout, app.settings.lease.ttl).await?;
    // In the order of a page's transaction: the leases first, the outbox last.
    let fenced = lease::fence_all(&mut transaction, at).await?;
    if fenced.is_empty() {
        let message = "nothing was changed: this database holds no project. Is it the restored one? See --config and \
                       database.url";
        return Err(AppError::Other { message: message.to_owned(), exit: Exit::Config });
    }
    let spent = presume_spent(app, &mut transaction).await?;
    let (former, generation) = outbox::begin_generation(&mut transaction, at).await?;
    transaction.commit().await.map_err(StoreError::doing("committing that a backup was restored"))?;
    for lease in fenced {
        let who =
            lease.former.map(|holder| format!(" {holder} held it and cannot write any more.")).unwrap_or_default();
        println!("{}: the lease is free, under epoch {}.{who}", lease.project_id, lease.epoch);
    }
    for (project, spent, per_day) in spent {
        println!("{project}: {} of today's {} requests count as spent.", grouped(spent), grouped(per_day));
    }
    println!("outbox: generation {generation} after {former}; consumers that look at it start over.");
    println!("Next: argos-sync erasure receipts apply FILE, then start the daemon. See docs/backup.md.");
    Ok(())
}

/// For the projects of the settings, whose budget is known: project, presumed, of how many.
async fn presume_spent(app: &App, connection: &mut PgConnection) -> Result<Vec<(String, i64, i64)>, StoreError> {
    let mut all = Vec::new();
    for project in &app.settings.projects {
        if erasure::known_project(connection, &project.id).await? {
            let per_day = project.api.requests_per_day;
            let spent = budget::presume_spent(connection, &project.id, per_day).await?;
            all.push((project.id.clone(), spent, i64::try_from(per_day).unwrap_or(i64::MAX)));
        }
    }
    Ok(all)
}
