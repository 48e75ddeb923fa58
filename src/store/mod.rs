//! PostgreSQL: one file per table family. Functions borrow a connection; the caller owns begin and commit.
//!
//! SQL is checked against the schema when the crate is built (`.sqlx/` holds the answers; `make sqlx` renews them).
//! Names are written with their schema, because a server's search_path is not ours to trust.

pub mod alerts;
pub mod budget;
pub mod calendar;
pub mod canary;
pub mod database;
pub mod drift;
pub mod erasure;
pub mod error;
pub mod errors;
pub mod explain;
pub mod history;
pub mod id_reads;
pub mod lease;
pub mod mirror;
pub mod outbox;
pub mod probe;
pub mod progress;
pub mod prune;
pub mod quarantine;
pub mod receipts;
pub mod recordset;
pub mod rights;
pub mod server;
pub mod status;
pub mod views;
