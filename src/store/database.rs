//! The connection pool, migrations, and the secret.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, PgPool, Row};

use super::error::{StoreError, hash};
use crate::config::Database;
use crate::domain::hash::HashKey;

/// Generation of the rules by which this binary writes; see `argos.compatibility`.
pub const WRITER: i32 = 1;

/// How long the pool waits for a connection that comes back, which may be one whose statement was given up.
const RELEASE: Duration = Duration::from_secs(5);

/// The migrations, compiled in. Their table lives in our schema: the user may have no right to any other.
pub fn migrator() -> Migrator {
    ours(sqlx::migrate!())
}

fn ours(mut migrator: Migrator) -> Migrator {
    // A newer binary may have migrated further; whether we may write then is `compatibility`'s to say.
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name("argos._sqlx_migrations");
    migrator.create_schemas = Cow::Owned(vec![Cow::Borrowed("argos")]);
    migrator
}

/// Connection options for a URL; TLS as its sslmode says.
pub fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(StoreError::doing("reading database.url"))?;
    Ok(options.application_name("argos-sync"))
}

/// What a database, or a role, may have set otherwise for its sessions. Read committed is what the lease's row, locked
/// first in each transaction, is meant for. Without a search_path, names without a schema are those of PostgreSQL alone.
const SESSION: &str = "set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set search_path = '';
                       set default_transaction_isolation = 'read committed'";

/// Makes a session one that only looks: as the pool's are, and unable to write.
pub async fn look_only(connection: &mut PgConnection, statement_timeout: Duration) -> Result<(), StoreError> {
    let timeout = statement_timeout.as_millis().max(1);
    let sql = format!("set statement_timeout = {timeout}; {SESSION}; set default_transaction_read_only = on");
    connection.execute(sqlx::AssertSqlSafe(sql)).await.map_err(StoreError::doing("beginning a session")).map(drop)
}

/// A pool that connects when it is first used.
pub fn pool(url: &str, settings: &Database) -> Result<PgPool, StoreError> {
    let statement_timeout = settings.statement_timeout;
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.connect_timeout)
        .after_connect(move |connection, _| {
            // Also what runs outside of the page transactions must not wait for somebody's lock without end.
            let sql = format!("set statement_timeout = {}; {SESSION}", statement_timeout.as_millis().max(1));
            Box::pin(async move { connection.execute(sqlx::AssertSqlSafe(sql)).await.map(drop) })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                let silent = || std::io::Error::new(ErrorKind::TimedOut, "the server is silent: closing a connection");
                let answered = tokio::time::timeout(RELEASE, can_write(connection)).await;
                answered.unwrap_or_else(|_| Err(silent().into()))
            })
        })
        .connect_lazy_with(options(url)?))
}

/// Whether a session can write. One that cannot is closed: its server may be a standby by now, or its database was
/// read-only for a while, and only a new session gets to what is in force.
async fn can_write(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = session.fetch_one("show transaction_read_only").await?;
    Ok(row.try_get::<&str, _>(0)? == "off")
}

/// From now on new connections are made with this URL; open ones stay as they are.
pub fn connect_with(pool: &PgPool, url: &str) -> Result<(), StoreError> {
    pool.set_connect_options(options(url)?);
    Ok(())
}

/// Runs the migrations and refuses a database that only a newer binary may write.
pub async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    run_migrations(pool, None).await?;
    compatible(&mut *pool.acquire().await.map_err(StoreError::doing("connecting"))?).await
}

/// Runs the compiled-in migrations, or those of a directory (for developers, who have just changed them).
pub async fn run_migrations(pool: &PgPool, directory: Option<&Path>) -> Result<(), StoreError> {
    let migrator = match directory {
        Some(directory) => ours(Migrator::new(directory).await.map_err(StoreError::migrating)?),
        None => migrator(),
    };
    let mut connection = pool.acquire().await.map_err(StoreError::doing("connecting"))?.detach();
    // A migration takes as long as it takes, and so does the wait for another process that migrates.
    connection.execute("set statement_timeout = 0").await.map_err(StoreError::doing("preparing to migrate"))?;
    migrator.run(&mut connection).await.map_err(StoreError::migrating)?;
    connection.close().await.map_err(StoreError::doing("ending the migration"))
}

/// Whether the schema is there, complete, and one that this binary may write.
pub async fn compatible(connection: &mut PgConnection) -> Result<(), StoreError> {
    let doing = "checking the schema";
    let table = sqlx::query_scalar!(r#"select to_regclass('argos._sqlx_migrations') is not null as "there!""#)
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::doing(doing))?;
    if !table {
        return Err(StoreError::NotMigrated);
    }
    // Not checked at build time: the migrator makes this table, not a migration.
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from argos._sqlx_migrations where success")
            .fetch_all(&mut *connection)
            .await
            .map_err(StoreError::doing(doing))?;
    for ours in migrator().iter() {
        match applied.iter().find(|(version, _)| *version == ours.version) {
            None => return Err(StoreError::NotMigrated),
            Some((version, checksum)) if *checksum != *ours.checksum => {
                return Err(StoreError::migrating(MigrateError::VersionMismatch(*version)));
            }
            Some(_) => {}
        }
    }
    may_write(connection).await
}

/// Whether the schema is one that this binary may write. A newer release may say otherwise at any time.
pub async fn may_write(connection: &mut PgConnection) -> Result<(), StoreError> {
    let needed = sqlx::query_scalar!("select min_writer from argos.compatibility")
        .fetch_one(connection)
        .await
        .map_err(StoreError::doing("checking who may write"))?;
    if needed > WRITER { Err(StoreError::TooOld { needed, ours: WRITER }) } else { Ok(()) }
}

/// The secret that keys all hashes: the one that `migrate` made, or the configured one, which takes its place as long as
/// nothing was hashed with the other.
pub async fn hash_key(connection: &mut PgConnection, settings: &Database) -> Result<HashKey, StoreError> {
    let mut transaction = connection.begin().await.map_err(StoreError::doing(READING_SECRET))?;
    let stored = sqlx::query_scalar!("select hash_secret from argos.secret for update")
        .fetch_one(&mut *transaction)
        .await
        .map_err(StoreError::doing(READING_SECRET))?;
    let secret = secret_in_force(&mut transaction, &stored, settings).await?;
    if secret != stored {
        sqlx::query!("update argos.secret set hash_secret = $1", secret)
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::doing(READING_SECRET))?;
    }
    transaction.commit().await.map_err(StoreError::doing(READING_SECRET))?;
    Ok(HashKey::new(hash("secret", "hash_secret", secret)?))
}

/// The same without a lock, and without writing the configured one.
pub async fn look_at_hash_key(connection: &mut PgConnection, settings: &Database) -> Result<HashKey, StoreError> {
    let stored = sqlx::query_scalar!("select hash_secret from argos.secret")
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::doing(READING_SECRET))?;
    let secret = secret_in_force(connection, &stored, settings).await?;
    Ok(HashKey::new(hash("secret", "hash_secret", secret)?))
}

const READING_SECRET: &str = "reading the hash secret";

async fn secret_in_force(
    connection: &mut PgConnection,
    stored: &[u8],
    settings: &Database,
) -> Result<Vec<u8>, StoreError> {
    let Some(configured) = settings.hash_secret.as_ref().map(|secret| from_hex(secret.expose_secret())) else {
        return Ok(stored.to_vec());
    };
    if configured != stored {
        let used = sqlx::query_scalar!(r#"select exists (select from argos.submission_versions) as "used!""#)
            .fetch_one(connection)
            .await
            .map_err(StoreError::doing(READING_SECRET))?;
        if used {
            return Err(StoreError::OtherSecret);
        }
    }
    Ok(configured)
}

/// Reads hexadecimal digits; validation has checked them.
fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

/// The longest that a statement of a write transaction may take.
pub fn longest(statement: Duration, lease: Duration) -> Duration {
    statement.min(lease.mul_f64(0.75))
}

/// Bounds a write transaction: each statement, and each pause between two, ends before the lease that fences it, so that a
/// paused process frees its locks.
pub async fn bound(connection: &mut PgConnection, statement: Duration, lease: Duration) -> Result<(), StoreError> {
    let milliseconds = |bound: Duration| longest(bound, lease).as_millis().max(1).to_string();
    sqlx::query!(
        r#"select set_config('statement_timeout', $1, true) as "a!",
                  set_config('idle_in_transaction_session_timeout', $2, true) as "b!""#,
        milliseconds(statement),
        milliseconds(lease)
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("setting time-outs"))?;
    Ok(())
}
