//! argos-sync mirrors ARGOS ID check submissions into PostgreSQL by polling, and writes one event for every change
//! into an outbox table in the same transaction.
//!
//! This page is the map. The README says how the program is used; `config/default.toml` explains every setting;
//! `docs/decisions/` says why some things are not as one would expect.
//!
//! # One turn
//!
//! ```text
//! sync::run      wait, turn, decide how long to wait; nothing else
//!   sync::plan     which lane is due: what to ask for next, or until when to rest (pure)
//!   sync::engine   asks for that one page, or that one submission:
//!     argos::client    1 fetch    no transaction is open; deadlines, size cap, retries and budget are in here
//!     argos::envelope  2 split    the answer (decrypted, if need be) into raw items, not decoded
//!     sync::apply      3 begin    renew the lease's row first: it stays locked until the commit
//!       store::mirror  4 look up  the stored hashes; an item with the same bytes is done
//!       argos::decode  5 decode   the others; what cannot be used goes to the quarantine
//!       domain::views  6 merge    what this view cannot show is kept; what it has lost is suspected, not believed
//!       sync::prepare  7 compare  stored with merged: a version and its events, or nothing (pure)
//!       store::*       8 write    rows, versions, quarantine
//!       sync::coverage            the walk's cursor; at its end what it covers, and which days lack somebody
//!                                 last the outbox
//!                        commit   the only point where the world changes
//!     sync::report     9 report   the page's counts become the log line, the metrics and what tests assert
//! ```
//!
//! After every request the plan is asked again, so a long walk never holds up a short one for more than a page.
//! [`domain::lane::Lane`] lists the lanes; [`domain::calendar`] is what the plan looks at.
//!
//! Killed before the commit: nothing happened. Killed after it: the next page. The same page again: nothing to write.
//!
//! # Rooms
//!
//! | Room | What is in it |
//! |---|---|
//! | [`cli`] | one file per subcommand |
//! | [`lifecycle`] | signals, supervision of tasks, the end of the process |
//! | [`app`] | settings become a pool, metrics, clients and engines |
//! | [`reload`] | settings that change while the daemon runs |
//! | [`http`] | `/metrics`, `/livez`, `/readyz` |
//! | [`status`] | how fresh, how complete, what is wrong: what `status` prints and the status page shows |
//! | [`sync`] | what to read next, and how a page becomes rows and events |
//! | [`argos`] | the vendor's API: how to ask, how to wait, how to read an answer without trusting it |
//! | [`store`] | PostgreSQL: one file per table family; functions borrow a connection, the caller begins and commits |
//! | [`domain`] | what a submission is, when two states are equal, what a change means: plain data, pure rules |
//! | [`config`] | settings: file < environment < flags |
//! | [`embedded`] | the private PostgreSQL of the demo, the tests and a laptop |
//! | [`simulator`] | a stand-in for the vendor, over real HTTP; shares no code with the daemon |
//! | [`chain`], [`clock`], [`exit`], [`heartbeat`], [`logging`], [`metrics`], [`systemd`], [`words`] | one small thing each |
//!
//! Imports point one way: `cli` -> `app` -> `http`, `sync` -> `argos`, `store` -> `domain` -> `clock`. `argos` and
//! `store` do not know each other; `domain` knows no SQL, no HTTP and no runtime; `simulator` knows only the clock.
//! `tests/it/layers.rs` reads the imports and holds this.
//!
//! # Where to start reading
//!
//! [`sync::engine::Engine::turn`], then [`sync::plan`] (what is due) and [`sync::apply`] (how a page is written), which
//! are the two hearts; then [`domain::change`], [`sync::erase`] and `migrations/`.
//!
//! # Where a change goes
//!
//! - **A new vendor field**: a line in [`domain::field`], a column in a new migration (which fills it from the column
//!   `item` of the rows that are there), then `make sqlx`. Without any of that the field is in `item` already, and its
//!   changes make versions.
//! - **A new event type**: a variant of [`domain::event::EventType`] at its place in the order, the rule that raises
//!   it in [`domain::change`], its schema in `docs/events/`.
//! - **A new setting**: `config/default.toml` with its default and meaning, then a field and a line in [`config`], and
//!   whether a running daemon takes it up, then `make reference`.
//! - **A new table**: a migration whose comments say why each column is there, a file in [`store`], and its grants in
//!   `docs/postgresql.md`.

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
pub mod reload;
pub mod simulator;
pub mod status;
pub mod store;
pub mod sync;
pub mod systemd;
pub mod words;
