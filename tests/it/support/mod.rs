//! A fresh database per test, a simulator on port 0, a clock that a test moves.

pub mod daemon;
pub mod events;
pub mod pooler;
pub mod postgres;
pub mod process;
pub mod program;
pub mod proxy;
pub mod random;
pub mod relay;
pub mod rows;
pub mod tables;
pub mod truth;
pub mod vendor;
pub mod verbatim;
pub mod wire;
pub mod work;
pub mod world;

pub use events::assert_valid_events;
pub use postgres::Database;
pub use verbatim::Verbatim;
pub use world::World;
