//! `argos-sync alerts`: what waits for a person, and who has looked at what.

use std::collections::BTreeSet;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::output;
use crate::app::{App, AppError};
use crate::clock::{Clock, Timestamp};
use crate::config::{Project, Settings};
use crate::domain::time;
use crate::exit::Exit;
use crate::store::alerts::{self, Acknowledged, Listed, Which, Word};
use crate::store::error::StoreError;
use crate::words::{count, moment, shown};

/// How many rows are read at once.
const PAGE: i64 = 1000;

/// The longest name and the longest reason.
const LONGEST: usize = 1000;

/// Options of `alerts`.
#[derive(Args)]
pub(super) struct Alerts {
    /// One project; without it: all of the settings
    #[arg(long, global = true, value_name = "ID")]
    project: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show what nobody has acknowledged, flags that stood before the import included
    List {
        /// Acknowledged ones too
        #[arg(long)]
        all: bool,
        /// As JSON, one line per alert
        #[arg(long)]
        json: bool,
    },
    /// Say that somebody has looked at alerts; the first word on each stays
    Ack(Ack),
}

#[derive(Args)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "submission", "all_imported"]))]
struct Ack {
    /// Ids of alerts, as `list` shows them
    #[arg(value_name = "ALERT_ID")]
    ids: Vec<Uuid>,
    /// All alerts of this submission that were raised until then: nothing that nobody has seen
    #[arg(long, value_name = "ID", requires = "raised_until")]
    submission: Option<String>,
    /// The time that stands at the end of `list`
    #[arg(long, value_name = "TIME", requires = "submission")]
    raised_until: Option<Timestamp>,
    /// All flags that stood before the import
    #[arg(long)]
    all_imported: bool,
    /// Who has looked; without it: the user of sudo, or of the shell
    #[arg(long, value_name = "NAME", value_parser = words_of_a_person)]
    by: Option<String>,
    /// What came of it. It is stored: no personal data
    #[arg(long, value_name = "TEXT", value_parser = words_of_a_person)]
    reason: String,
}

impl Alerts {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        let app = App::open(settings, Clock::system()).await?;
        let result = self.run(&app).await;
        let closed = app.close().await;
        result.and(closed)
    }

    async fn run(&self, app: &App) -> Result<(), AppError> {
        // A person's look is no time to migrate.
        app.check_database().await?;
        let chosen = |project: &&Project| self.project.as_ref().is_none_or(|id| *id == project.id);
        let projects: Vec<&str> =
            app.settings.projects.iter().filter(chosen).map(|project| project.id.as_str()).collect();
        if projects.is_empty() {
            return Err(failure("the settings hold no project of this id".to_owned()));
        }
        match &self.what {
            What::List { all, json } => {
                let mut connection = app.pool.acquire().await.map_err(StoreError::doing("connecting"))?;
                for project in projects {
                    list(&mut connection, project, *all, *json).await?;
                }
                Ok(())
            }
            What::Ack(ack) => ack.run(app, &projects).await,
        }
    }
}

impl Ack {
    async fn run(&self, app: &App, projects: &[&str]) -> Result<(), AppError> {
        let user =
            || ["SUDO_USER", "USER"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
        let Some(by) = self.by.clone().or_else(user) else {
            return Err(AppError::Other { message: "say who has looked: --by NAME".to_owned(), exit: Exit::Usage });
        };
        let word = Word { by: &by, reason: &self.reason, at: app.clock.now() };
        let which = match (&self.submission, self.raised_until) {
            (Some(submission), Some(until)) => Which::Submission { id: submission, until },
            _ if self.all_imported => Which::Imported,
            _ => Which::Ids(&self.ids),
        };
        // All or none: a wrong id may mean that the others are wrong, too.
        let mut transaction = app.pool.begin().await.map_err(StoreError::doing("beginning a transaction"))?;
        let mut done = Vec::new();
        for project in projects {
            done.push((*project, alerts::acknowledge(&mut transaction, project, &which, &word).await?));
        }
        self.all_known(&done)?;
        transaction.commit().await.map_err(StoreError::doing("acknowledging alerts"))?;
        done.iter().try_for_each(|(project, done)| output::print(&told(project, done)))
    }

    /// That everything that was named is there.
    fn all_known(&self, done: &[(&str, Acknowledged)]) -> Result<(), AppError> {
        let before = |done: &Acknowledged| done.before.iter().map(|alert| alert.alert_id).collect::<Vec<_>>();
        let known: BTreeSet<Uuid> =
            done.iter().flat_map(|(_, done)| [done.now.clone(), before(done)].concat()).collect();
        if let Some(id) = self.ids.iter().find(|id| !known.contains(id)) {
            return Err(failure(format!("there is no alert {id}: nothing was acknowledged")));
        }
        if self.submission.is_some() && known.is_empty() {
            return Err(failure("there is no alert of this submission until then".to_owned()));
        }
        Ok(())
    }
}

fn told(project: &str, done: &Acknowledged) -> String {
    let mut text = format!("{project}: {} acknowledged\n", count(done.now.len() as i64, "alert"));
    for alert in &done.before {
        text.push_str(&format!("  {} was acknowledged before: {}\n", alert.alert_id, acknowledged(alert)));
    }
    text
}

async fn list(connection: &mut PgConnection, project: &str, all: bool, as_json: bool) -> Result<(), AppError> {
    let (mut place, mut waiting, mut imported) = ((Timestamp::UNIX_EPOCH, Uuid::nil()), 0, 0);
    loop {
        let page = alerts::page(connection, project, all, place, PAGE).await?;
        let Some(last) = page.last() else { break };
        place = (last.raised_at, last.alert_id);
        for alert in &page {
            let open = alert.acknowledged_at.is_none();
            *(if alert.imported { &mut imported } else { &mut waiting }) += i64::from(open);
            if as_json {
                output::print_json(&json(project, alert))?;
            } else {
                output::print(&line(alert))?;
            }
        }
    }
    if !as_json {
        let last = Some(place.0).filter(|raised_at| *raised_at != Timestamp::UNIX_EPOCH);
        let until = last.map(|raised_at| format!("; raised until {}", time::format(raised_at))).unwrap_or_default();
        let waiting = count(waiting, "alert");
        output::print(&format!("{project}: {waiting} to be acknowledged, and {imported} of the import{until}\n"))?;
    }
    Ok(())
}

fn line(alert: &Listed) -> String {
    let mut text = format!(
        "{}  {}  {:<18}  {:<7}  {} (version {})",
        alert.alert_id,
        moment(alert.raised_at),
        alert.kind,
        alert.risk,
        shown(&alert.submission_id),
        alert.version
    );
    if alert.imported {
        text.push_str("  imported");
    }
    if let Some(at) = alert.cleared_at {
        text.push_str(&format!("  cleared {}", moment(at)));
    }
    if alert.acknowledged_at.is_some() {
        text.push_str(&format!("  acknowledged {}", acknowledged(alert)));
    }
    text + "\n"
}

fn acknowledged(alert: &Listed) -> String {
    let at = alert.acknowledged_at.map(moment).unwrap_or_default();
    let (by, reason) = (alert.acknowledged_by.as_deref(), alert.reason.as_deref());
    format!("{at} by {}: {}", by.unwrap_or_default(), reason.unwrap_or_default())
}

fn json(project: &str, alert: &Listed) -> String {
    let line = json!({
        "project": project, "alert_id": alert.alert_id.to_string(), "submission_id": alert.submission_id,
        "version": alert.version, "kind": alert.kind, "risk": alert.risk, "raised_at": alert.raised_at,
        "imported": alert.imported, "cleared_at": alert.cleared_at, "acknowledged_at": alert.acknowledged_at,
        "acknowledged_by": alert.acknowledged_by, "reason": alert.reason,
    });
    format!("{line}\n")
}

/// A name or a reason: one line that says something.
fn words_of_a_person(text: &str) -> Result<String, String> {
    let text = text.trim();
    match () {
        () if text.is_empty() => Err("it must say something".to_owned()),
        () if text.chars().any(char::is_control) => Err("it must be one line".to_owned()),
        () if text.chars().count() > LONGEST => Err(format!("it must not be longer than {LONGEST} characters")),
        () => Ok(text.to_owned()),
    }
}

fn failure(message: String) -> AppError {
    AppError::Other { message, exit: Exit::Failure }
}
