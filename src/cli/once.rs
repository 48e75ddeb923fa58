//! `argos-sync once`: one complete read, a summary, the end.

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::app::{App, AppError};
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::Settings;
use crate::exit::Exit;
use crate::heartbeat::Heartbeat;
use crate::lifecycle;
use crate::sync::report::PassReport;
use crate::words::harmless;

/// Options of `once`.
#[derive(Args)]
pub(super) struct Once {
    /// Print the summary as JSON, one line per project
    #[arg(long)]
    json: bool,
    /// Only say what would change: every page is applied and taken back again
    #[arg(long)]
    dry_run: bool,
}

impl Once {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        settings.require_keys()?;
        let stop = lifecycle::stop_on_signals()?;
        with_database(settings, &stop, async |app| {
            read_all(app, &stop, self.dry_run, |project, report| self.print(project, report)).await
        })
        .await
    }

    fn print(&self, project: &str, report: &PassReport) {
        let counts = &report.counts;
        if self.json {
            let events: serde_json::Map<_, _> =
                counts.events.iter().map(|(kind, count)| (kind.as_str().to_owned(), json!(count))).collect();
            let summary = json!({
                "project": project, "complete": report.complete, "pages": report.pages, "items": counts.items,
                "new": counts.new, "changed": counts.changed, "unchanged": counts.unchanged,
                "quarantined": counts.quarantined, "events": events, "drift": counts.drift,
            });
            println!("{summary}");
        } else {
            println!(
                "{project}: {}{} in {} pages, {} submissions: {} new, {} changed, {} unchanged, {} quarantined; {} events",
                if self.dry_run { "nothing was written; it would be: " } else { "" },
                if report.complete { "complete" } else { "stopped" },
                report.pages,
                counts.items,
                counts.new,
                counts.changed,
                counts.unchanged,
                counts.quarantined,
                counts.events_total()
            );
        }
    }
}

/// Opens the database and sees to its schema, does the work, and closes it again; gives up at once when it is asked to stop
/// before the work begins.
pub(super) async fn with_database(
    settings: Settings,
    stop: &CancellationToken,
    work: impl AsyncFnOnce(&App) -> Result<(), AppError>,
) -> Result<(), AppError> {
    let Some(app) = stop.run_until_cancelled(App::open(settings, Clock::system())).await else {
        return Err(stopped());
    };
    let app = app?;
    let result = match stop.run_until_cancelled(app.prepare_database()).await {
        None => Err(stopped()),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(())) => work(&app).await,
    };
    let closed = app.close().await;
    result.and(closed)
}

/// Reads every project once; the lease is given back after each.
pub(super) async fn read_all(
    app: &App,
    stop: &CancellationToken,
    dry_run: bool,
    mut done: impl FnMut(&str, &PassReport),
) -> Result<(), AppError> {
    // Not the name of a daemon with the same settings: from its own name it would take the lease.
    let holder = format!("{}:once", app.settings.lease.holder_name());
    let mut first_error = None;
    for project in &app.settings.projects {
        let heartbeat = Heartbeat::new();
        let Some(engine) = stop.run_until_cancelled(app.engine(project, &holder, &heartbeat, stop)).await else {
            return Err(stopped());
        };
        let mut engine = engine?;
        let failed = |source| AppError::Sync { project: project.id.clone(), source };
        if dry_run {
            engine.only_try();
        }
        let result = engine.once().await;
        if result.is_ok() {
            engine.prune_all().await;
        }
        let released = engine.release().await;
        let report = match (result, released) {
            (Ok(report), Ok(())) => report,
            // One project's refused key is no reason not to read the others.
            (Err(error), _) | (_, Err(error)) => {
                let error = failed(error);
                if first_error.is_some() || app.settings.projects.len() > 1 {
                    eprintln!("argos-sync: {}. {}", harmless(&chain(&error)), error.advice().unwrap_or_default());
                }
                first_error.get_or_insert(error);
                continue;
            }
        };
        report.log(&project.id);
        done(&project.id, &report);
        if !report.complete {
            return Err(stopped());
        }
    }
    first_error.map_or(Ok(()), Err)
}

pub(super) fn stopped() -> AppError {
    let message = "stopped before the end: run it again to go on".to_owned();
    AppError::Other { message, exit: Exit::Aborted }
}
