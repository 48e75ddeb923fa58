//! What can go wrong with the database, and what to do about it.

use std::io::ErrorKind;

use sqlx::migrate::MigrateError;

use crate::domain::hash::Hash;

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A statement failed.
    #[error("the database failed while {doing}{}", said(.error))]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The cause. Not an error source: its own text may quote what was to be written.
        error: sqlx::Error,
    },
    /// No answer came, not even one of the server's own time-outs.
    #[error("the database did not answer in time: the connection was given up")]
    Unanswered,
    /// Another process holds the project's lease now.
    #[error("this process no longer holds the lease of project {project_id:?}: nothing was written")]
    LeaseLost {
        /// The project.
        project_id: String,
    },
    /// A write touched another number of rows than it must.
    #[error("the database holds something impossible: {doing} touched {touched} rows and not {expected}")]
    Impossible {
        /// What was being done.
        doing: &'static str,
        /// Rows touched.
        touched: u64,
        /// Rows that must be touched.
        expected: u64,
    },
    /// A stored value is not one that this program writes.
    #[error("argos.{table}.{column} holds something impossible: {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// Its column.
        column: &'static str,
        /// What is wrong with the value, without the value.
        what: String,
    },
    /// The schema's writer generation is newer than this binary's.
    #[error("the database was upgraded by a newer argos-sync (needs writer generation {needed}, this is {ours})")]
    TooOld {
        /// The database's generation.
        needed: i32,
        /// This binary's generation.
        ours: i32,
    },
    /// The schema is missing or behind.
    #[error("the database is not migrated")]
    NotMigrated,
    /// Migrating failed.
    #[error("migrating the database failed")]
    Migrate(#[source] MigrateError),
    /// The configured hash secret is not the one that the stored hashes were made with.
    #[error("database.hash_secret differs from the secret that this database's version ids were made with")]
    OtherSecret,
}

/// What the driver or PostgreSQL said, as far as it cannot hold a value of the data.
fn said(error: &sqlx::Error) -> String {
    // Classes whose messages name objects, users and limits. Others (data exceptions, violated constraints, errors that
    // triggers raise) may quote a row.
    const QUOTES_NOTHING: [&str; 13] = ["08", "0A", "25", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58"];
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let constraint = error.constraint().map(|name| format!(", constraint {name}")).unwrap_or_default();
            let quotes_nothing = QUOTES_NOTHING.iter().any(|class| code.starts_with(class));
            let message = if quotes_nothing { error.message() } else { "what it said may quote data, see its log" };
            format!(" (SQLSTATE {code}{constraint}): {message}")
        }
        sqlx::Error::ColumnDecode { index, .. } => format!(": the column {index} cannot be decoded"),
        sqlx::Error::Decode(_) => ": a value cannot be decoded".to_owned(),
        sqlx::Error::Encode(_) => ": a value cannot be encoded".to_owned(),
        error => format!(": {error}"),
    }
}

/// What to do about a pooler that hands a session's statements to other servers.
pub const POOLER: &str = "A pooler such as PgBouncer is in the way: let database.url name PostgreSQL itself, or a pool with pool_mode = session and ignore_startup_parameters = extra_float_digits.";

/// rustls says so inside of an I/O error.
fn refuses_certificate(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some(),
        _ => false,
    }
}

impl StoreError {
    /// Wraps a failed statement; for `map_err`.
    pub fn doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |error| Self::Database { doing, error }
    }

    /// Wraps what the migrator says: whose own text repeats its cause, where that is a failed statement.
    pub fn migrating(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Self::Database { doing: "migrating", error: source }
            }
            error => Self::Migrate(error),
        }
    }

    /// Whether the server is not there: not up yet, or without a connection left for now.
    pub fn unreachable(&self) -> bool {
        let error = match self {
            Self::Unanswered => return true,
            Self::Database { error, .. } => error,
            _ => return false,
        };
        match error {
            sqlx::Error::Io(_) => !refuses_certificate(error),
            sqlx::Error::PoolTimedOut => true,
            // Starting up, shutting down, or too many connections.
            sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "57P01" | "53300")),
            _ => false,
        }
    }

    /// Whether it may pass by itself, with a server that is there, too: somebody's lock, a full disk, a deadlock.
    pub fn may_pass(&self) -> bool {
        let Self::Database { error, .. } = self else { return self.unreachable() };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
        let passes = ["40", "53", "55P03", "57"].iter().any(|class| code.starts_with(class));
        passes || self.unreachable()
    }

    /// Whether PostgreSQL refused a value: a data exception (class 22) or a limit of the server (class 54).
    pub fn refuses_data(&self) -> bool {
        let Self::Database { error, .. } = self else { return false };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| code.starts_with("22") || code.starts_with("54"))
    }

    /// What it means and what to do: one sentence for the operator.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Database { error, .. } => match error {
                sqlx::Error::Database(error) => match error.code().as_deref() {
                    Some("28000") if error.message().contains("pg_hba.conf") => {
                        "The server lets nobody in like this: add a line for this machine to its pg_hba.conf; if it says \"no encryption\", write sslmode=verify-full or require into database.url."
                    }
                    Some("28000" | "28P01") => {
                        "PostgreSQL refuses the user or password: check database.url or database.url_file."
                    }
                    Some("3D000") => "The database does not exist: create it, or correct its name in database.url.",
                    Some("42501") => {
                        "The user lacks a right: run argos-sync migrate as the owner, or grant what docs/postgresql.md lists."
                    }
                    Some("25006") => "The server is read-only, perhaps a standby: point database.url at the primary.",
                    Some("53300") => {
                        "No connection is left: raise max_connections of the server (or the limit of the role or the database), or end what holds them; run goes on trying."
                    }
                    Some("08P01") if error.message().contains("startup parameter") => POOLER,
                    // Prepared statements of one session that are another's.
                    Some("26000" | "42P05") => POOLER,
                    Some("53100") => "The server's disk is full: make room; reading goes on where it stopped.",
                    Some("3F000" | "42P01") => "The schema is missing: run argos-sync migrate.",
                    _ => "run tries again at the next poll, and nothing is lost. If it lasts, see the server's log.",
                },
                error if refuses_certificate(error) => {
                    "TLS failed: check sslmode and sslrootcert in database.url against the server's certificate."
                }
                sqlx::Error::Io(error) if error.kind() == ErrorKind::NotFound => {
                    "PostgreSQL cannot be reached: check that it runs, and the socket's directory and the file of sslrootcert, if database.url names them."
                }
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => {
                    "PostgreSQL cannot be reached: check that it runs and that database.url names it; run goes on trying."
                }
                _ => "run tries again at the next poll, and nothing is lost. If it lasts, see the server's log.",
            },
            Self::Unanswered => {
                "The server or the network on the way to it is silent: check both; run goes on trying. If the server is only slow, raise database.statement_timeout and lease.ttl."
            }
            Self::LeaseLost { .. } => "Another replica took over; this one waits for its turn.",
            Self::Impossible { .. } | Self::Corrupt { .. } => {
                "Something else wrote into the schema argos, or this is a bug: stop the other writer; please report it with the SQL of the row."
            }
            Self::TooOld { .. } => "Install the newer argos-sync: an older one would break its data.",
            Self::NotMigrated => "Run argos-sync migrate, or set database.migrate = true.",
            Self::Migrate(MigrateError::VersionMismatch(_)) => {
                "The schema was made by another build of argos-sync: use that build, or a fresh database (for the demo: another --dir)."
            }
            Self::Migrate(_) => {
                "The tables were changed by another hand, or by a release that is not this one: see the cause."
            }
            Self::OtherSecret => {
                "Remove database.hash_secret, or set it to the secret that the database was made with."
            }
        }
    }
}

/// Checks that a write touched the rows that it must.
pub fn touched(doing: &'static str, touched: u64, expected: u64) -> Result<(), StoreError> {
    if touched == expected { Ok(()) } else { Err(StoreError::Impossible { doing, touched, expected }) }
}

/// A stored hash, which has 32 bytes.
pub(super) fn hash(table: &'static str, column: &'static str, stored: Vec<u8>) -> Result<Hash, StoreError> {
    let corrupt =
        |bytes: Vec<u8>| StoreError::Corrupt { table, column, what: format!("{} bytes and not 32", bytes.len()) };
    stored.try_into().map_err(corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connecting(source: std::io::Error) -> StoreError {
        StoreError::doing("connecting")(sqlx::Error::Io(source))
    }

    #[test]
    fn a_stored_value_that_cannot_be_is_told_by_its_place() {
        let error = hash("submissions", "version_id", vec![1; 31]).unwrap_err();
        assert_eq!(error.to_string(), "argos.submissions.version_id holds something impossible: 31 bytes and not 32");
        assert_eq!(hash("submissions", "version_id", vec![1; 32]).unwrap(), [1; 32]);
    }

    #[test]
    fn a_refused_certificate_is_not_waited_for() {
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let error = connecting(std::io::Error::new(ErrorKind::InvalidData, expired));
        assert!(!error.unreachable() && error.advice().contains("sslrootcert"));
        let error = connecting(ErrorKind::ConnectionRefused.into());
        assert!(error.unreachable() && error.advice().contains("check that it runs"));
    }
}
