//! Plain data and pure rules: what a submission is, when two states are equal, what a change means.
//!
//! Knows no SQL, no HTTP and no runtime. Where to look:
//! - a vendor field and its column: [`field`]
//! - "is this the same state?": [`canonical`] and [`submission::State`]
//! - an event type and when it is raised: [`change`], its name and payload: [`event`]
//! - which change a person must look at: [`alert`]
//! - how a field is named: [`names`]; what no document names: [`drift`]; what the vendor was found to do: [`probe`]
//! - ids that are the same again after a crash: [`hash`]

pub mod alert;
pub mod calendar;
pub mod canonical;
pub mod change;
pub mod drift;
pub mod erasure;
pub mod event;
pub mod field;
pub mod hash;
pub mod lane;
pub mod names;
pub mod probe;
pub mod seen;
pub mod submission;
pub mod time;
pub mod views;
