//! The command line: one file per subcommand.

mod alerts;
mod backfill;
mod demo;
mod doctor;
mod erasure;
mod explain;
mod find_cipher;
mod generate;
mod get;
mod migrate;
mod once;
mod output;
mod plan;
mod postgres;
mod refresh;
mod restored;
mod run;
mod simulate;
mod status;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::app::AppError;
use crate::config::{self, Project, Reading, Settings, Sources};
use crate::exit::{self, Exit};
use crate::logging;

/// Mirrors ARGOS ID check submissions into PostgreSQL by polling GET /submission, and writes an event for every change
/// into an outbox table in the same transaction.
#[derive(Parser)]
#[command(name = "argos-sync", version, about, long_about = None, after_help = exit::TABLE, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Global {
    /// Settings file (TOML); every key is explained in config/default.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, e.g. --set poll.interval=10s (seen by other users in the process list: no secrets here)
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

#[derive(Subcommand)]
enum Command {
    /// Poll until stopped: the daemon
    Run,
    /// Read everything once (from poll.since, or all), print a summary, and end
    Once(once::Once),
    /// Do what is left of the first import, or read some days again, with a progress bar
    Backfill(backfill::Backfill),
    /// Read one submission by id now, or have the running daemon do it
    Refresh(refresh::Refresh),
    /// Create or upgrade the schema argos
    Migrate,
    /// Say what is wrong with settings, machine, database and vendor, why, and what to do; print the settings in force
    Doctor(doctor::Doctor),
    /// Say how soon a change is seen, with so many submissions and so many requests a day
    Plan(plan::Plan),
    /// What the vendor seems to have deleted: list it, release what is held, export and apply receipts
    Erasure(erasure::Erasure),
    /// What a person must look at: list Red Flags, escalations and revoked approvals, and acknowledge them
    Alerts(alerts::Alerts),
    /// Say that the database is a restored backup: consumers start over, no daemon of before can write
    Restored(restored::Restored),
    /// Show how fresh and how complete the mirror is, the budget, and what fails
    Status(status::Status),
    /// Show how a submission was seen: every version and event, and when it is looked at next
    Explain(explain::Explain),
    /// Print submissions as the vendor shows them, without touching the database
    Get(get::Get),
    /// Try every encryption setting on one encrypted answer, and print those that open it
    FindCipher(find_cipher::FindCipher),
    /// Show the main job: a private PostgreSQL, the simulator and the daemon, with a live view
    Demo(demo::Demo),
    /// Serve a stand-in for the vendor's API on loopback
    Simulate(Box<simulate::Simulate>),
    /// Run a command beside a private, migrated PostgreSQL, with DATABASE_URL set (for developers)
    #[command(hide = true)]
    Postgres(postgres::Postgres),
    /// Write manual pages and shell completions (for packages)
    #[command(hide = true)]
    Generate(generate::Generate),
}

impl Cli {
    /// Does what the command line says.
    pub fn execute(self) -> Result<(), AppError> {
        let runtime = || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            runtime.expect("a thread for the runtime can be started")
        };
        // The demo brings settings and a log of its own: a broken file of the user's does not concern it.
        if let Command::Demo(demo) = self.command {
            if self.global.config.is_some() || !self.global.set.is_empty() {
                eprintln!("argos-sync: the demo brings its own settings; --config and --set are not used");
            }
            return runtime().block_on(demo.execute());
        }
        // Settings that cannot be loaded are what it is for.
        if let Command::Doctor(doctor) = self.command {
            let runtime = runtime();
            let result = runtime.block_on(doctor.execute(self.global.config.as_deref(), &self.global.set));
            runtime.shutdown_background();
            return result;
        }
        if let Command::Generate(generate) = self.command {
            return generate.execute();
        }
        let sources = Sources::new(self.global.config.as_deref(), config::environment(), self.global.set);
        let Reading { settings, content } = sources.read();
        let settings = settings.map_err(AppError::Config)?;
        let level = logging::init(&settings.log);
        let runtime = runtime();
        let result = runtime.block_on(async {
            match self.command {
                Command::Run => run::execute(settings, sources, content, level).await,
                Command::Once(once) => once.execute(settings).await,
                Command::Backfill(backfill) => backfill.execute(settings).await,
                Command::Refresh(refresh) => refresh.execute(settings).await,
                Command::Migrate => migrate::execute(settings).await,
                Command::Plan(plan) => plan.execute(&settings).await,
                Command::Erasure(erasure) => erasure.execute(settings).await,
                Command::Alerts(alerts) => alerts.execute(settings).await,
                Command::Restored(restored) => restored.execute(settings).await,
                Command::Status(status) => status.execute(settings).await,
                Command::Explain(explain) => explain.execute(settings).await,
                Command::Get(get) => get.execute(settings).await,
                Command::FindCipher(find) => find.execute(settings).await,
                Command::Simulate(simulate) => simulate.execute().await,
                Command::Postgres(postgres) => postgres.execute(settings).await,
                Command::Demo(_) | Command::Doctor(_) | Command::Generate(_) => {
                    unreachable!("these take no settings: they were done above")
                }
            }
        });
        // Not waiting for its threads: one may hang in the system's name resolution.
        runtime.shutdown_background();
        result
    }
}

/// The project that the command line names, or the only one.
fn project<'s>(settings: &'s Settings, id: Option<&str>) -> Result<&'s Project, AppError> {
    let other = |message: String| AppError::Other { message, exit: Exit::Usage };
    match (id, settings.projects.as_slice()) {
        (None, [project]) => Ok(project),
        (None, _) => Err(other("several projects are configured: name one with --project ID".to_owned())),
        (Some(id), projects) => projects
            .iter()
            .find(|project| project.id == *id)
            .ok_or_else(|| other(format!("no project {id:?} is configured"))),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, e.g. poll.interval=10s")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
