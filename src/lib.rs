//! argos-sync mirrors ARGOS ID check submissions into PostgreSQL by polling.

pub mod app;
pub mod argos;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod embedded;
pub mod exit;
pub mod heartbeat;
pub mod http;
pub mod lifecycle;
pub mod logging;
pub mod metrics;
pub mod simulator;
pub mod store;
pub mod sync;
