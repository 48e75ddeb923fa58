//! Exit codes with names.

/// How a command ended. The numbers are part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Something failed that has no code of its own.
    Failure = 1,
    /// The command line is wrong (clap's code).
    Usage = 2,
    /// A setting is wrong or missing.
    Config = 3,
    /// The database cannot be used.
    Database = 4,
    /// The vendor's API cannot be used.
    Api = 5,
    /// Another process holds the lease.
    LeaseHeld = 6,
    /// PostgreSQL's programs are not installed, or the private cluster cannot start.
    Postgres = 7,
    /// The HTTP port cannot be bound.
    Listen = 8,
    /// A task of the daemon ended by itself.
    TaskEnded = 9,
    /// The demo's mirror differs from the simulator's truth.
    Mismatch = 10,
    /// The mirror does not hold the submission that was asked for.
    NotFound = 11,
    /// Aborted by a second signal, or the grace ran out.
    Aborted = 130,
}

/// The table of exit codes, for `--help`.
pub const TABLE: &str = "Exit codes:
  0 ok            3 config     6 lease held         9 a task ended by itself
  1 failure       4 database   7 postgres missing  10 demo: mirror differs
  2 usage         5 api        8 port taken        11 not in the mirror
                                                  130 aborted";

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
