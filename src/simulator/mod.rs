//! A stand-in for the vendor, served over real HTTP on this machine.
//!
//! The vendor offers no sandbox. This one follows its public documents (`GET /submission` and
//! `GET /submission/applicant`) and guesses where they are silent; it is not the real API and proves nothing about it.
//!
//! Submissions live by a script that depends only on the seed, their number and their age (`script`, `item`). Ages
//! count active time only (`timeline`), so a frozen simulator holds still. A test lays its own items over them
//! (`world`). The vendor's paths are under `/v3`, the strings to pull under `/_sim` (`server`). It writes its JSON by
//! itself and shares no code with the daemon, so that the two cannot be wrong together.

mod answer;
mod attempt;
mod encryption;
mod faults;
mod item;
mod mangle;
mod memory;
mod page;
mod person;
mod query;
mod rng;
mod screening;
mod script;
mod server;
#[cfg(test)]
mod tests;
mod timeline;
mod vendor;
mod view;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::encryption::Encryption;
pub use self::faults::Faults;
pub use self::server::Served;
use self::server::Shared;
use self::world::{Laid, World};
use crate::clock::{Clock, Timestamp};

/// Which generation of the documents the simulator follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// Dates as YYYY-MM-DD, 50 items by default.
    Idcheck,
    /// Dates as YYYYMMDD, 2,000 items by default.
    V3,
    /// Either kind of date, 50 items by default.
    Both,
}

/// The order of lists, which the documents do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// The latest created_at first.
    NewestFirst,
    /// The earliest created_at first.
    OldestFirst,
}

/// How to run the simulator.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; a loopback address. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Decides everything that looks random.
    pub seed: u64,
    /// How many submissions exist at the first start.
    pub initial: u64,
    /// How far before the first start those were created, evenly spread.
    pub history: Duration,
    /// Births for each second of active time.
    pub rate: f64,
    /// Scales all delays of a life: 1 is as documented (minutes, hours, days), 0.01 a hundred times faster.
    pub life: f64,
    /// The key to ask for in `x-api-key`.
    pub api_key: String,
    /// Which generation of the documents to follow.
    pub dialect: Dialect,
    /// The most items on one page, whatever `count` says.
    pub count_max: u32,
    /// The order of lists.
    pub order: Order,
    /// Whether lists lack attempts, aml and updated_at, as in the printed samples.
    pub thin_lists: bool,
    /// How to encrypt answers, and to read encrypted requests; `None`: the project has no such option.
    pub encryption: Option<Encryption>,
    /// What to do wrong.
    pub faults: Faults,
    /// Whether [`Served`] holds what was answered: for a test that judges what became of it.
    pub keep_answers: bool,
    /// Where to keep the state between runs. Its seed, initial, history and life win over the ones given here.
    pub state_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            initial: 200,
            history: Duration::from_secs(2 * 24 * 60 * 60),
            rate: 0.0,
            life: 1.0,
            api_key: "simulated-key".to_owned(),
            dialect: Dialect::Both,
            count_max: 2_000,
            order: Order::NewestFirst,
            thin_lists: false,
            encryption: None,
            faults: Faults::default(),
            keep_answers: false,
            state_file: None,
        }
    }
}

/// Why the simulator did not start or could not keep its state.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// It must not be reachable from elsewhere: it has no TLS and everybody may pull its strings.
    #[error("the simulator listens on loopback only: use 127.0.0.1 or [::1] instead of {0}")]
    NotLoopback(SocketAddr),
    /// A rate or a factor that is no sensible number.
    #[error("the simulator's {0} must be zero or more, and finite")]
    Number(&'static str),
    /// The secret is not of the form that the encryption asks for.
    #[error("the simulator cannot make its key: the secret does not have the form that its encryption asks for")]
    EncryptionKey,
    /// The address is taken, for example.
    #[error("the simulator cannot listen on {listen}")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The state file cannot be read or written.
    #[error("cannot read or write the simulator's state file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The state file does not hold a state.
    #[error("the simulator's state file {} holds no state; delete it to start anew", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A running simulator. Dropping it ends the serving without saving; [`Simulator::stop`] does both.
pub struct Simulator {
    shared: Arc<Shared>,
    addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Simulator {
    /// Binds and starts to serve.
    pub async fn start(options: Options, clock: Clock) -> Result<Self, SimulatorError> {
        let listen = options.listen;
        if !listen.ip().is_loopback() {
            return Err(SimulatorError::NotLoopback(listen));
        }
        for (name, number) in [("rate", options.rate), ("life", options.life)] {
            if !number.is_finite() || number < 0.0 {
                return Err(SimulatorError::Number(name));
            }
        }
        if options.encryption.as_ref().is_some_and(|encryption| !encryption.is_sound(&options.api_key)) {
            return Err(SimulatorError::EncryptionKey);
        }
        let state = memory::load(&options, clock.now())?;
        let failed = |source| SimulatorError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        if let Some(path) = &options.state_file {
            memory::save(path, &state)?;
        }
        let shared = Arc::new(Shared::new(options, clock, World::new(state)));
        let router = server::router(Arc::clone(&shared));
        let stop = shared.stop.clone();
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
                tracing::error!(%error, "simulator: serving ended");
            }
        });
        Ok(Self { shared, addr, serving })
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What to configure as the vendor's address.
    pub fn base_url(&self) -> String {
        format!("http://{}/v3", self.addr)
    }

    /// Stops the time of all lives. Nothing is born and nothing changes until [`Simulator::thaw`].
    pub fn freeze(&self) {
        self.shared.freeze();
    }

    /// Lets time go on.
    pub fn thaw(&self) {
        self.shared.thaw();
    }

    /// Every item as it is now, in full, ordered by creation and id. Tokens in links differ from those served.
    pub fn truth(&self) -> Vec<Value> {
        self.shared.truth()
    }

    /// Inserts an item, or replaces the one with the same `submission_id`. It no longer changes by itself.
    pub fn put(&self, item: Value) {
        self.shared.change(|world, now| world.put(item, now));
    }

    /// Inserts a text in place of an item, served word for word.
    pub fn put_raw(&self, id: &str, created_at: Timestamp, raw: &str) {
        self.shared.change(|world, now| {
            world.catch_up(now);
            world.lay(id, created_at.timestamp_millis(), Laid::Raw(raw.to_owned()));
        });
    }

    /// Applies a JSON merge patch to an item. From then on it no longer changes by itself.
    pub fn patch(&self, id: &str, patch: Value) {
        self.shared.change(|world, now| world.patch(id, patch, now));
    }

    /// Makes an item vanish from every answer.
    pub fn remove(&self, id: &str) {
        self.shared.change(|world, now| world.remove(id, now));
    }

    /// Deletes an item as the vendor does: id, created_at, idType and result stay.
    pub fn blank(&self, id: &str) {
        self.shared.change(|world, now| world.blank(id, now));
    }

    /// Replaces the faults. Counts start anew.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.set_faults(faults);
    }

    /// From now on only this key is valid.
    pub fn set_api_key(&self, key: &str) {
        self.shared.set_api_key(key);
    }

    /// From now on, whoever asks for this submission by id gets this status and body. [`Simulator::set_faults`] ends that.
    pub fn fail_by_id(&self, id: &str, status: u16, body: &str) {
        self.shared.fail_by_id(id, status, body);
    }

    /// What was asked of the vendor's paths, and how it was answered.
    pub fn requests(&self) -> Vec<Served> {
        self.shared.requests()
    }

    /// Freezes, saves the state, ends the serving.
    pub async fn stop(mut self) -> Result<(), SimulatorError> {
        let saved = self.shared.finish();
        self.shared.stop.cancel();
        // A client that reads an endless body slowly may hold its connection; it does not hold us.
        let _ = tokio::time::timeout(Duration::from_secs(2), &mut self.serving).await;
        saved
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.serving.abort();
    }
}
