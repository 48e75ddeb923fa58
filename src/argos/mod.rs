//! The vendor's API: how to ask, how to wait, and how to read an answer without trusting it.
//!
//! Nothing here knows the database. [`client`] asks and retries, [`pace`] says how fast, [`envelope`] splits an answer
//! into raw items, after [`sealed`] has recognised and opened an encrypted one with a [`cipher`], [`decode`] turns one raw item into a
//! [`crate::domain::submission::Submission`].

pub mod cipher;
pub mod client;
pub mod decode;
pub mod envelope;
pub mod error;
pub mod pace;
pub mod query;
mod scan;
pub mod sealed;
