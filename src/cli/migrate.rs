//! `argos-sync migrate`: creates or upgrades the schema.

use crate::app::{App, AppError};
use crate::clock::Clock;
use crate::config::Settings;
use crate::store::database;

/// Migrates and says so.
pub(super) async fn execute(settings: Settings) -> Result<(), AppError> {
    let app = App::open(settings, Clock::system()).await?;
    let result = database::migrate(&app.pool).await;
    let closed = app.close().await;
    result?;
    closed?;
    println!("the schema argos is up to date");
    Ok(())
}
