//! How fresh, how complete, what is wrong and what to do about it: what `argos-sync status` prints and the status page
//! shows.
//!
//! One file per step: `picture` makes of the database's facts what is shown, `lanes` says how fresh each lane's days are
//! and what the plan promises, `vendor` and `deletions` tell of probes and erasures; `attention` lists what a person
//! should look at. All of it is pure; only `project` and `projects` read.

pub(crate) mod attention;
pub(crate) mod deletions;
pub(crate) mod forecast;
pub(crate) mod lanes;
pub(crate) mod picture;
pub(crate) mod vendor;

use std::collections::BTreeSet;

use sqlx::PgConnection;

use self::picture::Picture;
use crate::clock::Timestamp;
use crate::config::Settings;
use crate::domain::calendar::Calendar;
use crate::store::database;
use crate::store::error::StoreError;
use crate::store::status;

/// The ids of the projects that there is something to tell of: those that are configured here, and those of other
/// daemons that share the database.
///
/// # Errors
/// When the database cannot be read, or its tables are not there.
pub(crate) async fn projects(
    connection: &mut PgConnection,
    settings: &Settings,
) -> Result<BTreeSet<String>, StoreError> {
    readable(database::compatible(connection).await)?;
    let mut ids: BTreeSet<String> = status::projects(connection).await?.into_iter().collect();
    ids.extend(settings.projects.iter().map(|project| project.id.clone()));
    Ok(ids)
}

/// What there is to tell of a project, and its created-days.
///
/// # Errors
/// When the database cannot be read.
pub(crate) async fn project(
    connection: &mut PgConnection,
    settings: &Settings,
    id: &str,
    now: Timestamp,
) -> Result<(Picture, Calendar), StoreError> {
    let outbox = status::outbox(connection).await?;
    let facts = status::facts(connection, id, now).await?;
    let calendar = facts.as_ref().map(|facts| facts.calendar.clone()).unwrap_or_default();
    let configured = settings.projects.iter().find(|project| project.id == id);
    Ok((Picture::new(id, facts, configured, &settings.poll, outbox, now), calendar))
}

/// A database that only a newer release may write can still be read.
///
/// # Errors
/// Those of [`database::compatible`], without that one.
pub(crate) fn readable(checked: Result<(), StoreError>) -> Result<(), StoreError> {
    match checked {
        Err(StoreError::TooOld { .. }) => Ok(()),
        checked => checked,
    }
}
