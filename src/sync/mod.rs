//! The sync: what to read next, page by page, and how a page becomes rows and events.
//!
//! [`plan`] decides (pure), [`engine`] walks, [`apply`] writes one page in one transaction, [`prepare`] works out what a
//! changed item means (pure), [`run`] is the dull loop around it.

pub mod apply;
mod coverage;
pub mod drift;
pub mod engine;
pub mod erase;
pub mod error;
mod notes;
pub mod plan;
pub mod prepare;
pub mod report;
pub mod run;
