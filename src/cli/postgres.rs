//! `argos-sync postgres -- COMMAND`: a command beside a private PostgreSQL. Developers renew `.sqlx` with it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::app::{self, AppError, EMBEDDED_DATABASE};
use crate::config::Settings;
use crate::exit::Exit;
use crate::store::database;

/// Options of `postgres`.
#[derive(Args)]
pub(super) struct Postgres {
    /// Run the migrations of this directory in place of the compiled-in ones
    #[arg(long, value_name = "DIR")]
    migrations: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Postgres {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        let directory = std::env::temp_dir().join(format!("argos-sync-postgres-{}", std::process::id()));
        let cluster = app::start_cluster(&directory).await?;
        let url = cluster.url(EMBEDDED_DATABASE);
        let result = async {
            let pool = database::pool(&url, &settings.database)?;
            database::run_migrations(&pool, self.migrations.as_deref()).await?;
            pool.close().await;
            let status = tokio::process::Command::new(&self.command[0])
                .args(&self.command[1..])
                .env("DATABASE_URL", &url)
                .status()
                .await;
            match status {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(format!("the command failed: {status}")),
                Err(error) => Err(format!("the command cannot be started: {error}")),
            }
            .map_err(|message| AppError::Other { message, exit: Exit::Failure })
        }
        .await;
        cluster.stop().await.map_err(AppError::Embedded)?;
        let _ = std::fs::remove_dir_all(&directory);
        result
    }
}
