//! `argos-sync explain`: everything that is known of how a submission was seen, and when it is looked at next. Of the
//! submission itself: states and codes only. Reads only, and takes no lease.

mod next;
mod text;

use clap::Args;
use serde::Serialize;
use sqlx::PgConnection;

use self::next::Look;
use super::output;
use super::project;
use crate::app::{App, AppError};
use crate::chain::chain;
use crate::clock::{Clock, Timestamp};
use crate::config::{Project, Settings};
use crate::domain::calendar::Day;
use crate::exit::Exit;
use crate::status::forecast::forecast;
use crate::status::readable;
use crate::store::error::StoreError;
use crate::store::explain::{self, Erased, Event, Quarantined, Submission, Suspicion, Version, View, Waiting};
use crate::store::{database, status};

/// Options of `explain`.
#[derive(Args)]
pub(super) struct Explain {
    /// The submission_id
    id: String,
    /// Which project, where several are configured
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is known of an id.
#[derive(Serialize)]
struct Story {
    project: String,
    submission_id: String,
    at: Timestamp,
    /// `None`: the mirror does not hold it.
    submission: Option<Submission>,
    day: Option<DayRead>,
    views: Vec<View>,
    versions: Vec<Version>,
    events: Vec<Event>,
    quarantine: Vec<Quarantined>,
    /// Whether it is to be read by id.
    waiting: Option<Waiting>,
    /// Who looks at it next, the soonest first.
    next: Vec<Look>,
    /// Whether a process is at work; otherwise nobody looks before one is.
    writer_held: bool,
    /// Whether it seems to be deleted.
    suspicion: Option<Suspicion>,
    /// The erasures that were carried out.
    erased: Vec<Erased>,
}

/// Its created-day.
#[derive(Serialize)]
struct DayRead {
    /// When the day was last read completely; `None`: never.
    covered_at: Option<Timestamp>,
    /// When its open submissions were last asked for by id.
    open_checked_at: Option<Timestamp>,
    /// Whether a complete walk of it did not show all that is stored.
    to_verify: bool,
}

impl Explain {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        project(&settings, self.project.as_deref())?;
        let app = App::open(settings, Clock::system()).await?;
        let result = self.print(&app).await;
        let closed = app.close().await;
        result.and(closed)
    }

    async fn print(&self, app: &App) -> Result<(), AppError> {
        let project = project(&app.settings, self.project.as_deref())?;
        let mut snapshot = status::snapshot(&app.pool).await?;
        readable(database::compatible(&mut snapshot).await)?;
        let story = self.story(&mut snapshot, project, app).await?;
        if self.json {
            let line = serde_json::to_string(&story)
                .map_err(|error| AppError::Other { message: chain(&error), exit: Exit::Failure })?;
            output::print_json(&format!("{line}\n"))?;
        } else {
            output::print(&text::of(&story))?;
        }
        if story.submission.is_some() {
            return Ok(());
        }
        let quarantine = match story.quarantine.len() {
            0 => "nor does its quarantine".to_owned(),
            1 => "its quarantine holds an item with this id".to_owned(),
            many => format!("its quarantine holds {many} items with this id"),
        };
        let message = format!("the mirror of project {:?} does not hold {:?}; {quarantine}", project.id, self.id);
        Err(AppError::Other { message, exit: Exit::NotFound })
    }

    async fn story(&self, connection: &mut PgConnection, project: &Project, app: &App) -> Result<Story, StoreError> {
        let (project_id, id, now) = (project.id.as_str(), self.id.as_str(), app.clock.now());
        let poll = &app.settings.poll;
        let submission = explain::submission(connection, project_id, id).await?;
        let waiting = explain::waiting(connection, project_id, id).await?;
        let facts = status::facts(connection, project_id, now).await?;
        let day = submission.as_ref().zip(facts.as_ref()).map(|(submission, facts)| {
            let row: Option<&Day> = facts.calendar.day(submission.created_day);
            DayRead {
                covered_at: facts.calendar.covered_at(submission.created_day),
                open_checked_at: row.and_then(|row| row.open_checked_at),
                to_verify: row.is_some_and(|row| row.verify),
            }
        });
        let suspicion = explain::suspicion(connection, project_id, id).await?;
        let promised = facts.as_ref().map(|facts| forecast(facts, project, poll, now));
        let known = next::Known {
            submission: submission.as_ref(),
            day: day.as_ref(),
            waiting: waiting.as_ref(),
            suspicion: suspicion.as_ref(),
            forecast: promised.as_ref(),
        };
        let next = next::looks(&known, poll, now);
        Ok(Story {
            project: project_id.to_owned(),
            submission_id: id.to_owned(),
            at: now,
            views: explain::views(connection, project_id, id).await?,
            versions: explain::versions(connection, project_id, id).await?,
            events: explain::events(connection, project_id, id).await?,
            quarantine: explain::quarantine(connection, project_id, id).await?,
            erased: explain::erased(connection, project_id, id).await?,
            suspicion,
            submission,
            day,
            waiting,
            next,
            writer_held: facts.is_some_and(|facts| facts.writer.held),
        })
    }
}
