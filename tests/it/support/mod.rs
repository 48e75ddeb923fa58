//! A fresh database per test, a simulator on port 0, a clock that a test moves.

pub mod daemon;
pub mod postgres;
pub mod process;
pub mod world;

pub use postgres::Database;
pub use world::World;
