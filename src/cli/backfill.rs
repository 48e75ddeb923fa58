//! `argos-sync backfill`: the first import, or some days again, in the foreground.

use std::time::Duration;

use chrono::NaiveDate;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::once::{stopped, with_database};
use super::project;
use crate::app::{App, AppError};
use crate::config::{Project, Settings};
use crate::domain::calendar::DayRange;
use crate::exit::Exit;
use crate::heartbeat::Heartbeat;
use crate::lifecycle;
use crate::sync::engine::Engine;
use crate::sync::plan::Errand;
use crate::sync::report::PassReport;

/// Where no terminal shows the bar, the log tells so often how far it is.
const TELL: Duration = Duration::from_secs(30);

/// Options of `backfill`.
#[derive(Args)]
pub(super) struct Backfill {
    /// Read these created-days again: the first (UTC), e.g. 2024-01-31
    #[arg(long, value_name = "DAY", requires = "to")]
    from: Option<NaiveDate>,
    /// The last of them
    #[arg(long, value_name = "DAY", requires = "from")]
    to: Option<NaiveDate>,
    /// Which project, where several are configured
    #[arg(long, value_name = "ID")]
    project: Option<String>,
}

impl Backfill {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        settings.require_keys()?;
        let days = self.from.zip(self.to);
        if days.is_some_and(|(from, to)| from > to) {
            let message = "--from is later than --to: exchange them".to_owned();
            return Err(AppError::Other { message, exit: Exit::Usage });
        }
        let project = project(&settings, self.project.as_deref())?.clone();
        let stop = lifecycle::stop_on_signals()?;
        with_database(settings, &stop, async |app| read(app, &project, days, &stop).await).await
    }
}

async fn read(app: &App, project: &Project, days: Option<DayRange>, stop: &CancellationToken) -> Result<(), AppError> {
    let holder = format!("{}:backfill", app.settings.lease.holder_name());
    let mut engine = app.engine(project, &holder, &Heartbeat::new(), stop).await?;
    let failed = |source| AppError::Sync { project: project.id.clone(), source };
    let result = match engine.backfill(days).await {
        Ok(Some(errand)) => walk(&mut engine, errand).await.map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let released = engine.release().await;
    match result.map_err(failed)? {
        None => println!("{}: the import is complete; nothing is left to do", project.id),
        Some(report) if report.complete => {
            let counts = &report.counts;
            println!(
                "{}: complete in {} pages: {} new, {} changed, {} unchanged, {} quarantined; {} events",
                project.id,
                report.pages,
                counts.new,
                counts.changed,
                counts.unchanged,
                counts.quarantined,
                counts.events_total()
            );
        }
        Some(_) => return Err(stopped()),
    }
    released.map_err(failed)
}

async fn walk(engine: &mut Engine, errand: Errand) -> Result<PassReport, crate::sync::error::SyncError> {
    let bar = ProgressBar::no_length();
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut told = tokio::time::Instant::now();
    loop {
        if let Some(report) = engine.go_on(errand).await? {
            bar.finish_and_clear();
            return Ok(report);
        }
        let (pages, items, expected) = engine.walked(errand.lane);
        // What is stored already tells how long the way is; in a first import that is little more than what was read.
        let template = if expected > items + items / 20 {
            bar.set_length(expected);
            "{bar:30} {pos}/{len} submissions, {msg}, {per_sec}, {eta} left"
        } else {
            bar.unset_length();
            "{spinner} {pos} submissions, {msg}, {per_sec}, {elapsed} so far"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_position(items);
        bar.set_message(format!("{pages} pages"));
        if bar.is_hidden() && told.elapsed() >= TELL {
            told = tokio::time::Instant::now();
            tracing::info!(pages, items, expected, "reading");
        }
    }
}
