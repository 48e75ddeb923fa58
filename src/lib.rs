//! argos-sync mirrors ARGOS ID check submissions into PostgreSQL by polling.

pub mod argos;
pub mod clock;
pub mod config;
pub mod domain;
pub mod embedded;
pub mod heartbeat;
pub mod metrics;
pub mod simulator;
pub mod store;
