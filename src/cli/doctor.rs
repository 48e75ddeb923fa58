//! `argos-sync doctor`: what would `run` do, would it work, and if not, why not and what to do about it?
//!
//! One file per group of checks. Each check is a small function that gives a [`Finding`]; what it judges by is asked for
//! first, and the judging is pure where it can be. Nothing is written, no lease is taken, and each step has a deadline.

mod clock;
mod database;
mod machine;
mod report;
mod settings;
mod vendor;

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tokio::task::JoinSet;

use self::report::{Finding, Group, Report};
use super::output;
use crate::app::{AppError, EMBEDDED_DATABASE};
use crate::clock::Clock;
use crate::config::{self, ConfigError, Effective, Settings};
use crate::embedded::Cluster;
use crate::logging;

/// Options of `doctor`.
#[derive(Args)]
#[command(
    after_help = "Ends with the exit code of the first failure. Reads only: no table is written, no lease taken. \
The vendor is asked once per project if all is well, and 12 times at most; these requests are not counted in the day's \
budget. Without database.url, the private PostgreSQL is made and started, as run does it."
)]
pub(super) struct Doctor {
    /// Print the settings in force and where each came from, and end
    #[arg(long, conflicts_with = "json")]
    settings: bool,
    /// Print JSON: a list of {group, project, check, outcome, seen, cure}
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// `file` and `flags` are what the command line says; a file or flag that is wrong is what this command is for.
    pub(super) async fn execute(&self, file: Option<&Path>, flags: &[(String, String)]) -> Result<(), AppError> {
        let env = config::environment();
        let loaded = config::load(file, &env, flags);
        if self.settings {
            let line = |one: &Effective| format!("{} = {}    # {}\n", one.key, one.value, one.source);
            return output::print(&loaded?.effective().iter().map(line).collect::<String>());
        }
        let mut report = Report::new(self.json);
        report.all(&Group::Settings, settings::files(file, config::named_file(&env).as_deref()));
        match loaded {
            Ok(settings) => {
                logging::init(&settings.log);
                examine(&mut report, settings).await;
            }
            Err(error) => unusable(&mut report, &error),
        }
        report.end()
    }
}

/// Without settings there is nothing more to look at.
fn unusable(report: &mut Report, error: &ConfigError) {
    report.all(&Group::Settings, settings::invalid(error));
    for group in [Group::Machine, Group::Database, Group::Vendor(None)] {
        report.tell(&group, Finding::skipped("all", "values"));
    }
}

async fn examine(report: &mut Report, settings: Settings) {
    report.all(&Group::Settings, settings::values(&settings));
    report.all(&Group::Machine, machine::http(&settings.http).await);
    let cluster = machine::private_postgres(&settings).await;
    let url = match &cluster {
        None => settings.database.url.clone(),
        Some(Ok(cluster)) => Some(cluster.url(EMBEDDED_DATABASE).into()),
        Some(Err(_)) => None,
    };
    if let Some(result) = &cluster {
        report.tell(&Group::Machine, machine::private(result));
    }
    let clock = Clock::system();
    let known = match &url {
        Some(url) => {
            let (findings, known) = database::examine(&settings, url, &clock).await;
            report.all(&Group::Database, findings);
            known
        }
        None => {
            report.tell(&Group::Database, Finding::skipped("all", "private PostgreSQL"));
            None
        }
    };
    stop(cluster).await;
    vendors(report, settings, known, clock).await;
}

/// Stops the private PostgreSQL if this process started it.
async fn stop(cluster: Option<Result<Cluster, AppError>>) {
    if let Some(Ok(cluster)) = cluster
        && let Err(error) = cluster.stop().await
    {
        tracing::warn!("{error}");
    }
}

/// Asks for all projects at once, and tells of them in their order.
async fn vendors(report: &mut Report, settings: Settings, known: Option<database::Known>, clock: Clock) {
    let (settings, known) = (Arc::new(settings), Arc::new(known));
    let mut asking = JoinSet::new();
    for number in 0..settings.projects.len() {
        let (settings, known, clock) = (settings.clone(), known.clone(), clock.clone());
        asking.spawn(async move { (number, vendor::examine(&settings, number, (*known).as_ref(), &clock).await) });
    }
    let mut told = asking.join_all().await;
    told.sort_by_key(|(number, _)| *number);
    for (number, findings) in told {
        report.all(&Group::Vendor(Some(settings.projects[number].id.clone())), findings);
    }
}
