//! What can go wrong with the private cluster, each with what it means and what to do about it.

use std::path::PathBuf;
use std::process::ExitStatus;

/// Why the private cluster could not be found, made, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No PostgreSQL server programs anywhere.
    #[error(
        "no PostgreSQL server programs found in {searched}. argos-sync runs its private database with them. \
         Install them: {advice}. Or name the directory that holds `postgres` and `initdb` in ARGOS_SYNC_PG_BINDIR"
    )]
    NotFound {
        /// Where we looked.
        searched: String,
        /// The command that installs them on this system.
        advice: String,
    },

    /// Programs are there, but too old.
    #[error(
        "the newest PostgreSQL server found is version {newest} (in {}), and argos-sync needs 15 or later. \
         Install a newer one: {advice}. Or name its directory in ARGOS_SYNC_PG_BINDIR", dir.display()
    )]
    TooOld {
        /// Major version of the newest that was found.
        newest: u32,
        /// Where it is.
        dir: PathBuf,
        /// The command that installs a newer one.
        advice: String,
    },

    /// The data was written by a PostgreSQL version that is not installed.
    #[error(
        "{} was made by PostgreSQL {cluster}, but only {found} is installed here. Another major version cannot \
         read its files. Install PostgreSQL {cluster} again (and name its directory in ARGOS_SYNC_PG_BINDIR if it is \
         an unusual one), or move the data directory away: argos-sync then fills a new one from the vendor",
        data_dir.display()
    )]
    OtherMajor {
        /// The data directory.
        data_dir: PathBuf,
        /// Major version it was made by.
        cluster: u32,
        /// Versions that are installed.
        found: String,
    },

    /// The data directory holds something that is not ours.
    #[error(
        "{} is not empty and was not made by argos-sync. It is left untouched, because the database needs a directory \
         of its own. Name an empty or a new directory, for example {}", dir.display(), dir.join("argos-sync").display()
    )]
    NotOurs {
        /// The directory.
        dir: PathBuf,
    },

    /// The data directory belongs to another user.
    #[error(
        "{} belongs to user {owner}, and argos-sync runs as {us}. PostgreSQL opens only its own user's files. \
         Run argos-sync as {owner}, or name another data directory", dir.display()
    )]
    WrongOwner {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who we are.
        us: String,
    },

    /// Root cannot run PostgreSQL, and the user that would run it cannot get to the data directory.
    #[error(
        "the user {user} cannot enter {}, which is on the way to the data directory {}. PostgreSQL refuses to run as \
         root, so it runs as {user}. Name a data directory that {user} can reach, for example under /var/lib/argos-sync, \
         or allow the passage: chmod o+x {}", at.display(), data_dir.display(), at.display()
    )]
    Unreachable {
        /// The data directory.
        data_dir: PathBuf,
        /// The first directory on the way that is closed.
        at: PathBuf,
        /// Who cannot pass.
        user: String,
    },

    /// Root, and no user to run the server as.
    #[error(
        "this system has neither a user `postgres` nor `nobody`. PostgreSQL refuses to run as root, so there is nobody \
         to run it as. Make one: useradd --system postgres. Or run argos-sync as an ordinary user"
    )]
    NoServerUser,

    /// The short socket directory belongs to somebody else.
    #[error(
        "the socket directory {} is not ours alone (another owner, a link, or open to others). Using it could hand the \
         data to somebody else. Remove it, or name a data directory with a shorter path so that it is not needed",
        dir.display()
    )]
    UnsafeSocketDir {
        /// The directory.
        dir: PathBuf,
    },

    /// A file operation failed.
    #[error("cannot {doing} {}. The private database cannot run without it; check the path, its permissions and free space", path.display())]
    Io {
        /// What we were about to do.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },

    /// A program did not start.
    #[error("cannot run {}. The private database needs it; check that it is there and that {user} may execute it", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// As whom.
        user: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },

    /// `initdb` failed.
    #[error("initdb ended with {status}, so there is no database yet; nothing half-made is left. It said:\n{output}")]
    Initdb {
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        output: String,
    },

    /// The server ended by itself.
    #[error(
        "the private PostgreSQL server ended ({status}); nobody asked it to. Its log is {} and ends with:\n{tail}",
        log.display()
    )]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },

    /// The server runs but does not answer.
    #[error(
        "the private PostgreSQL server did not answer within {seconds} s, so it was stopped again. The machine may be \
         overloaded; try once more. Its log is {} and ends with:\n{tail}", log.display()
    )]
    NotReady {
        /// How long we waited.
        seconds: u64,
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
        /// Why the last attempt to connect failed.
        #[source]
        source: Option<sqlx::Error>,
    },

    /// Another process holds the data directory but its server does not answer.
    #[error(
        "another argos-sync holds {} but its database did not answer within {seconds} s. Two servers on one directory \
         would destroy it, so none was started. Wait for the other one, or stop it", data_dir.display()
    )]
    Busy {
        /// The data directory.
        data_dir: PathBuf,
        /// How long we waited.
        seconds: u64,
    },

    /// Not a usable name of a database.
    #[error(
        "`{name}` is not accepted as the name of a database. Use lowercase letters, digits and underscores, at most 63, \
         the first one not a digit"
    )]
    DatabaseName {
        /// The name.
        name: String,
    },

    /// The private database refused a statement of ours.
    #[error("cannot {doing} in the private database. It runs, so the cause below says what to repair")]
    Database {
        /// What we were about to do.
        doing: &'static str,
        /// What PostgreSQL or the connection said.
        #[source]
        source: sqlx::Error,
    },
}

impl EmbeddedError {
    /// For `map_err`: `doing` reads on after "cannot".
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// For `map_err`: `doing` reads on after "cannot".
    pub(super) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}
