//! `argos-sync erasure`: what seems to be deleted, what waits for an operator, and receipts.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use sqlx::PgConnection;

use super::output;
use crate::app::{App, AppError};
use crate::clock::Clock;
use crate::config::{Project, Settings};
use crate::domain::lane::Lane;
use crate::exit::Exit;
use crate::store::error::StoreError;
use crate::store::lease::{self, Lease};
use crate::store::receipts::{self, Receipt};
use crate::store::{database, erasure};
use crate::sync::erase::{Order, apply_receipt};
use crate::sync::error::SyncError;
use crate::words::{harmless_json, shown};

/// How many rows are read at once, and the most suspicions that `list` shows.
const PAGE: i64 = 1000;

/// Options of `erasure`.
#[derive(Args)]
pub(super) struct Erasure {
    /// One project; without it: all of the settings
    #[arg(long, global = true, value_name = "ID")]
    project: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show what seems to be deleted and is not confirmed yet, and what waits for an operator
    List {
        /// As JSON, one line per suspicion
        #[arg(long)]
        json: bool,
    },
    /// Say that a mass of deletions is meant: they are confirmed by id and carried out after all
    Release,
    /// Say that another key, server or dialect is meant, although known submissions do not answer
    AcceptKey,
    /// Receipts of erasures that were carried out
    #[command(subcommand)]
    Receipts(Receipts),
}

#[derive(Subcommand)]
enum Receipts {
    /// Print all receipts, one JSON object per line: keep them where backups are kept
    Export,
    /// Erase again, after a backup was restored, what a file of receipts says
    Apply {
        /// The file that `export` wrote
        file: PathBuf,
    },
}

impl Erasure {
    pub(super) async fn execute(self, settings: Settings) -> Result<(), AppError> {
        let app = App::open(settings, Clock::system()).await?;
        let result = self.run(&app).await;
        let closed = app.close().await;
        result.and(closed)
    }

    async fn run(&self, app: &App) -> Result<(), AppError> {
        app.prepare_database().await?;
        let chosen = |project: &&Project| self.project.as_ref().is_none_or(|id| *id == project.id);
        let projects: Vec<&Project> = app.settings.projects.iter().filter(chosen).collect();
        if projects.is_empty() {
            return Err(failure("the settings hold no project of this id".to_owned()));
        }
        let mut connection = app.pool.acquire().await.map_err(StoreError::doing("connecting"))?;
        if let What::Receipts(Receipts::Apply { file }) = &self.what {
            return apply(app, &mut connection, &projects, file).await;
        }
        for project in projects {
            let id = project.id.as_str();
            match &self.what {
                What::List { json } => list(&mut connection, id, *json).await?,
                What::Release => {
                    let released = erasure::release(&mut connection, id, app.clock.now()).await?;
                    println!("{id}: {released} released; each is still confirmed by id before it is carried out");
                }
                What::AcceptKey => match erasure::set_source(&mut connection, id, None).await? {
                    true => println!("{id}: the next pass takes the key in the settings for this project's"),
                    false => println!("{id}: not in the database yet"),
                },
                What::Receipts(_) => export(&mut connection, id).await?,
            }
        }
        Ok(())
    }
}

async fn list(connection: &mut PgConnection, project: &str, as_json: bool) -> Result<(), AppError> {
    let hold = erasure::hold(connection, project).await?;
    let pending = erasure::pending(connection, project).await?;
    let suspicions = erasure::all(connection, project, PAGE).await?;
    if as_json {
        for suspicion in &suspicions {
            let line = json!({
                "project": project, "submission_id": suspicion.submission_id, "kind": suspicion.kind.as_str(),
                "fields": suspicion.fields, "noticed_at": suspicion.noticed_at, "confirmed_at": suspicion.confirmed_at,
                "next_check_at": suspicion.next_check_at, "released_at": suspicion.released_at,
                "held_since": hold.as_ref().map(|hold| hold.since),
            });
            output::print_json(&format!("{line}\n"))?;
        }
        return Ok(());
    }
    match &hold {
        Some(hold) => println!(
            "{project}: HELD since {}: {} of {} submissions seemed to be deleted at once. Check the key and its rights; \
             if it is meant: argos-sync erasure release",
            hold.since.format("%Y-%m-%d %H:%M UTC"),
            hold.suspicions,
            hold.submissions
        ),
        None => println!("{project}: nothing is held"),
    }
    println!("{project}: {pending} not confirmed yet");
    for suspicion in &suspicions {
        let fields: Vec<&str> = suspicion.fields.iter().map(String::as_str).collect();
        output::print(&format!(
            "  {}  {}  {}/2 confirmed, next look {}  {}\n",
            shown(&suspicion.submission_id),
            suspicion.kind.as_str(),
            suspicion.confirmed_at.len(),
            suspicion.next_check_at.format("%Y-%m-%d %H:%M UTC"),
            fields.join(" ")
        ))?;
    }
    if pending > PAGE {
        println!("  and {} more", pending - PAGE);
    }
    Ok(())
}

async fn export(connection: &mut PgConnection, project: &str) -> Result<(), AppError> {
    let mut out = std::io::stdout().lock();
    let (mut id, mut version) = (String::new(), 0);
    loop {
        let page = receipts::page(connection, project, (&id, version), PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        (id, version) = (last.submission_id.clone(), last.version);
        for receipt in &page {
            let line = serde_json::to_string(receipt).expect("a receipt is plain text and numbers");
            writeln!(out, "{}", harmless_json(&line))
                .map_err(|error| failure(format!("the receipts cannot be written: {error}")))?;
        }
    }
}

/// Reads the whole file first, so that a broken line stops it before anything is erased.
fn read(file: &PathBuf) -> Result<Vec<Receipt>, AppError> {
    let cannot = |error| failure(format!("the file of receipts cannot be read: {error}"));
    let mut all = Vec::new();
    for (number, line) in BufReader::new(std::fs::File::open(file).map_err(cannot)?).lines().enumerate() {
        let line = line.map_err(cannot)?;
        if !line.trim().is_empty() {
            let receipt = serde_json::from_str(&line);
            all.push(receipt.map_err(|_| failure(format!("line {} of the file is no receipt", number + 1)))?);
        }
    }
    Ok(all)
}

async fn apply(
    app: &App,
    connection: &mut PgConnection,
    projects: &[&Project],
    file: &PathBuf,
) -> Result<(), AppError> {
    let all: Vec<Receipt> = read(file)?;
    let key = database::hash_key(connection, &app.settings.database).await?;
    let wrong = all.iter().filter(|receipt| (*receipt).clone().signed(&key).digest != receipt.digest).count();
    if wrong > 0 {
        return Err(failure(format!(
            "{wrong} receipts of the file are altered, or of a database with another secret: nothing was erased"
        )));
    }
    for project in projects {
        let id = project.id.as_str();
        let of: Vec<&Receipt> = all.iter().filter(|receipt| receipt.project_id == id).collect();
        let Some(lease) = take_lease(app, connection, id).await? else { continue };
        let mut erased = 0;
        for receipt in &of {
            let mut transaction = app.pool.begin().await.map_err(StoreError::doing("beginning a transaction"))?;
            database::bound(&mut transaction, app.settings.database.statement_timeout, lease.ttl).await?;
            lease::renew(&mut transaction, &lease).await?;
            let order = Order {
                project_id: id,
                key: &key,
                mode: app.settings.erasure.mode,
                request: (lease.epoch, 0),
                lane: Lane::Confirm,
                at: app.clock.now(),
                traceparent: "",
            };
            let done = apply_receipt(&mut transaction, &order, receipt).await?;
            transaction.commit().await.map_err(StoreError::doing("applying a receipt"))?;
            erased += usize::from(done.is_some());
        }
        lease::release(connection, &lease).await?;
        println!("{id}: {} receipts, {erased} carried out, {} had nothing left to erase", of.len(), of.len() - erased);
    }
    Ok(())
}

/// Takes a project's lease; `None`: the database does not know the project.
async fn take_lease(app: &App, connection: &mut PgConnection, project: &str) -> Result<Option<Lease>, AppError> {
    let known = erasure::known_project(connection, project).await?;
    if !known {
        println!("{project}: not in the database");
        return Ok(None);
    }
    let holder = format!("{}:erasure", app.settings.lease.holder_name());
    let taken = lease::acquire(connection, project, &holder, app.settings.lease.ttl).await?;
    taken.map(Some).map_err(|holder| AppError::Sync {
        project: project.to_owned(),
        source: SyncError::NotLeader { project_id: project.to_owned(), holder },
    })
}

fn failure(message: String) -> AppError {
    AppError::Other { message, exit: Exit::Failure }
}
