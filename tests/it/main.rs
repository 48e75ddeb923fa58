//! All integration tests, in one binary: one private PostgreSQL cluster serves the run.
//!
//! A test that holds a promise of the product names it (P1 to P13; see docs/promises.md).

#![allow(missing_docs, clippy::unwrap_used, unreachable_pub)]

mod atomic;
mod crash;
mod embedded;
mod end_to_end;
mod lease;
mod process;
mod support;
