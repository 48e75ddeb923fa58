//! `argos-sync generate DIR`: manual pages and shell completions, for packages, and docs/configuration.md.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::app::AppError;
use crate::config;
use crate::exit::Exit;

/// Options of `generate`.
#[derive(Args)]
pub(super) struct Generate {
    /// Where to write them; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Generate {
    pub(super) fn execute(self) -> Result<(), AppError> {
        self.write().map_err(|error| AppError::Other {
            message: format!("cannot write to {}: {error}", self.directory.display()),
            exit: Exit::Failure,
        })
    }

    fn write(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let mut command = Cli::command();
        clap_mangen::generate_to(command.clone(), &self.directory)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command, "argos-sync", &self.directory)?;
        }
        std::fs::write(self.directory.join("configuration.md"), config::reference())
    }
}
