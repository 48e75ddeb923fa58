//! `argos-sync check`: what would `run` do, and would it work?

use std::time::Duration;

use sqlx::ConnectOptions;

use crate::app::{App, AppError};
use crate::argos::query::Query;
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::calendar::Filter;
use crate::exit::Exit;
use crate::heartbeat::Heartbeat;
use crate::store::database;
use crate::store::error::StoreError;
use crate::sync::plan;

/// Prints the effective settings with their sources, then tries the database and one request per project.
pub(super) async fn execute(settings: Settings) -> Result<(), AppError> {
    for line in settings.effective() {
        println!("{} = {}    # {}", line.key, line.value, line.source);
    }
    println!();
    let keys = settings.require_keys();
    let app = App::open(settings, Clock::system()).await?;
    let mut failed = None;
    let mut tell = |what: &str, result: Result<String, (String, Exit)>| match result {
        Ok(good) => println!("ok      {what}: {good}"),
        Err((bad, exit)) => {
            println!("FAILED  {what}: {bad}");
            failed.get_or_insert(exit);
        }
    };
    tell("settings", keys.map(|()| "valid".to_owned()).map_err(|error| (error.to_string(), Exit::Config)));
    let checked = check_database(&app).await;
    tell("database", checked.map_err(|error| (format!("{}. {}", chain(&error), error.advice()), Exit::Database)));
    for project in app.settings.projects.iter().filter(|project| project.api.key.is_some()) {
        let what = format!("project {}", project.id);
        let client = match app.client(project, &Heartbeat::new()) {
            Ok(client) => client,
            Err(error) => {
                tell(&what, Err((chain(&error), error.exit())));
                continue;
            }
        };
        // One request, with its retries; the day's budget can bear it.
        client.pace.grant(u64::from(project.api.retries) + 1, Duration::from_secs(3600));
        let days = Filter::UNKNOWN.asked(plan::hot_days(app.clock.now(), app.settings.poll.lookback));
        let query = Query { days: Some(days), count: Some(1), ..Query::default() };
        let answer = client.submissions(&query).await;
        tell(
            &what,
            match answer {
                Ok(answer) if answer.content.is_empty() => {
                    Ok("answers, with no submission in the last days: is it the right key, and api.dialect?".to_owned())
                }
                Ok(_) => Ok("answers with submissions".to_owned()),
                Err(error) => Err((format!("{}. {}", chain(&error), error.advice()), Exit::Api)),
            },
        );
    }
    app.close().await?;
    match failed {
        None => Ok(()),
        Some(exit) => Err(AppError::Other { message: "not everything is in order (see above)".to_owned(), exit }),
    }
}

async fn check_database(app: &App) -> Result<String, StoreError> {
    // Not from the pool: that tries again until its time is over, and then does not say why.
    let connecting = async { app.pool.connect_options().connect().await };
    let connected = tokio::time::timeout(app.settings.database.connect_timeout, connecting).await;
    let mut connection =
        connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(StoreError::doing("connecting"))?;
    match database::compatible(&mut connection).await {
        Ok(()) => Ok("reachable and migrated".to_owned()),
        Err(StoreError::NotMigrated) if app.settings.database.migrate => {
            Ok("reachable; argos-sync run will migrate it".to_owned())
        }
        Err(error) => Err(error),
    }
}
