//! `argos-sync demo`.

use clap::Args;

use crate::app::AppError;
use crate::config::Settings;

/// Options of `demo`.
#[derive(Args)]
pub(super) struct Demo {}

impl Demo {
    pub(super) async fn execute(self, _settings: Settings) -> Result<(), AppError> {
        Ok(())
    }
}
