//! All integration tests, in one binary: one private PostgreSQL cluster serves the run.
//!
//! A test that holds a promise of the product names it (P1 to P13; see docs/promises.md).

#![allow(missing_docs, clippy::unwrap_used, unreachable_pub)]

mod agreement;
mod alert_rules;
mod alerting;
mod alerts;
mod api;
mod atomic;
mod budget;
mod by_id;
mod catalog;
mod clients;
mod contradictions;
mod coverage;
mod crash;
mod demo;
mod deploy;
mod doctor;
mod embedded;
mod encryption;
mod end_to_end;
mod erasure;
mod event_schemas;
mod fired;
mod grants;
mod hostile;
mod lanes;
mod layers;
mod leaks;
mod lease;
mod observability;
mod page;
mod points;
mod postgres_faults;
mod probe;
mod process;
mod promises;
mod reload;
mod restored;
mod retention;
mod rolling;
mod rules;
mod sessions;
mod silence;
mod status;
mod support;
mod systemd;
mod thin;
mod vendor_faults;
mod vendor_samples;
mod views;
mod writers;
mod years;
