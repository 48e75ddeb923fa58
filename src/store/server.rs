//! What a PostgreSQL server is like, as far as argos-sync depends on it. Reads only.

use std::time::Duration;

use sqlx::{Executor, PgConnection, Row};

use super::error::StoreError;
use crate::clock::Timestamp;

/// The oldest version that has all that is used, as `server_version_num`.
pub const OLDEST: i32 = 150_000;

/// A server, seen through one session.
#[derive(Clone, Debug)]
pub struct Server {
    /// `server_version_num`.
    pub version: i32,
    /// The same for people.
    pub version_name: String,
    /// Whether it is a standby.
    pub standby: bool,
    /// Whether the session may not write, for that or another reason.
    pub read_only: bool,
    /// The encoding of the database.
    pub encoding: String,
    /// The role that rights are looked up for.
    pub role: String,
    /// Whether that role may create a schema in the database, and is an owner of ours if it is there.
    pub may_migrate: bool,
    /// Its clock.
    pub now: Timestamp,
}

/// Looks at it.
pub async fn look(connection: &mut PgConnection) -> Result<Server, StoreError> {
    sqlx::query_as!(
        Server,
        r#"select current_setting('server_version_num')::integer as "version!",
                  current_setting('server_version') as "version_name!",
                  pg_is_in_recovery() as "standby!",
                  current_setting('transaction_read_only')::boolean as "read_only!",
                  current_setting('server_encoding') as "encoding!",
                  quote_ident(current_user) as "role!",
                  has_database_privilege(current_database(), 'create')
                      and not exists (select from pg_namespace where nspname = 'argos'
                                         and not pg_has_role(nspowner, 'usage')) as "may_migrate!",
                  clock_timestamp() as "now!""#
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("looking at the server"))
}

/// A limit to the number of connections, and how many are left of it.
#[derive(Clone, Debug)]
pub struct Room {
    /// Whose limit it is.
    pub of: String,
    /// The limit.
    pub limit: i64,
    /// How many more there may be.
    pub free: i64,
}

/// The tightest limit to the number of connections of this role in this database.
pub async fn room(connection: &mut PgConnection) -> Result<Room, StoreError> {
    sqlx::query_as!(
        Room,
        r#"with me as (select rolname, rolsuper, rolconnlimit from pg_roles where rolname = session_user),
                limits as (
                    select 'the server (max_connections)' as of,
                           current_setting('max_connections')::bigint
                               - current_setting('superuser_reserved_connections')::bigint as "limit",
                           (select sum(numbackends) from pg_stat_database)::bigint as used
                    union all
                    select 'the database (connection limit)', datconnlimit,
                           (select numbackends from pg_stat_database s where s.datid = d.oid)
                      from pg_database d where datname = current_database() and datconnlimit >= 0
                                           and not (select rolsuper from me)
                    union all
                    select 'the role (connection limit)', rolconnlimit,
                           (select count(*) from pg_stat_activity where usename = rolname)
                      from me where rolconnlimit >= 0 and not rolsuper)
           select of as "of!", "limit" as "limit!", "limit" - used as "free!" from limits order by 3 limit 1"#
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::doing("counting connections"))
}

/// Whether two sessions of ours get the server's processes in turns: a pooler in transaction mode. Asked in such a way that
/// nothing is prepared.
pub async fn is_pooled(
    first: &mut PgConnection,
    second: &mut PgConnection,
    patience: Duration,
) -> Result<bool, StoreError> {
    let doing = "looking for a pooler";
    let before = process(first).await?;
    let begun = second.execute("begin").await;
    // In statement mode it does not take a transaction.
    if let Err(sqlx::Error::Database(error)) = &begun
        && error.message().contains("pooling")
    {
        return Ok(true);
    }
    begun.map_err(StoreError::doing(doing))?;
    if process(second).await? == before {
        return Ok(true);
    }
    // The other one's process is busy now. Whoever has a process of its own notices nothing.
    let after = tokio::time::timeout(patience, process(first)).await.map_err(|_| StoreError::Unanswered)??;
    second.execute("rollback").await.map_err(StoreError::doing(doing))?;
    Ok(after != before)
}

async fn process(connection: &mut PgConnection) -> Result<i32, StoreError> {
    let asked = async { connection.fetch_one("select pg_backend_pid()").await?.try_get(0) };
    asked.await.map_err(StoreError::doing("looking for a pooler"))
}
