//! `argos-sync simulate`: the stand-in for the vendor, on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::app::AppError;
use crate::chain::chain;
use crate::clock::Clock;
use crate::exit::Exit;
use crate::lifecycle;
use crate::simulator::{Dialect, Encryption, Faults, Options, Order, Simulator};

/// Options of `simulate`.
#[derive(Args)]
#[command(after_long_help = faults_help())]
pub(super) struct Simulate {
    /// Loopback address to serve on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9480")]
    listen: SocketAddr,
    /// The same seed makes the same submissions
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Submissions that exist at the start
    #[arg(long, default_value_t = 200)]
    initial: u64,
    /// How far back the first ones were created, e.g. 400d
    #[arg(long, default_value = "2d", value_parser = humantime::parse_duration)]
    history: Duration,
    /// New submissions per second
    #[arg(long, default_value_t = 0.5)]
    rate: f64,
    /// Factor on the delays of a submission's life: 1 is minutes and hours, 0.01 is seconds
    #[arg(long, default_value_t = 0.05)]
    life: f64,
    /// The key that must come in x-api-key
    #[arg(long, default_value = "simulated-key")]
    api_key: String,
    /// Which date format and page sizes it accepts
    #[arg(long, value_enum, default_value_t = Dialect::Both)]
    dialect: Dialect,
    /// Largest page it gives
    #[arg(long, default_value_t = 2000)]
    count_max: u32,
    /// Order of its lists
    #[arg(long, value_enum, default_value_t = Order::NewestFirst)]
    order: Order,
    /// List items lack attempts, aml and updated_at
    #[arg(long)]
    thin_lists: bool,
    /// Encrypts answers and reads encrypted requests, e.g. cbc-zero-iv,key-sha256,hex; see --help
    #[arg(long, value_name = "WORDS", value_parser = Encryption::parse)]
    encryption: Option<Encryption>,
    /// What the key of that is made from, in place of the API key
    #[arg(long, value_name = "TEXT", requires = "encryption")]
    encryption_secret: Option<String>,
    /// Keeps its state here and goes on from it next time
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// A fault, e.g. status-500=0.1 (a share) or reset=3 (the next three); see --help. Can be given many times
    #[arg(long = "fault", value_name = "FAULT", value_parser = Faults::parse)]
    faults: Vec<Faults>,
}

fn faults_help() -> String {
    let lines = Faults::NAMES.iter().map(|(name, help)| format!("  {name:24} {help}\n"));
    let words = Encryption::words().map(|(word, help)| format!("  {word:24} {help}\n"));
    format!("Faults:\n{}\nEncryption:\n{}", lines.collect::<String>(), words.collect::<String>())
}

impl Simulate {
    pub(super) async fn execute(self) -> Result<(), AppError> {
        let stop = lifecycle::stop_on_signals()?;
        let options = Options {
            listen: self.listen,
            seed: self.seed,
            initial: self.initial,
            history: self.history,
            rate: self.rate,
            life: self.life,
            api_key: self.api_key.clone(),
            dialect: self.dialect,
            count_max: self.count_max,
            order: self.order,
            thin_lists: self.thin_lists,
            encryption: self.encryption.map(|words| words.with_secret(self.encryption_secret)),
            faults: self.faults.into_iter().collect(),
            keep_answers: false,
            state_file: self.state,
        };
        let failed = |error| AppError::Other { message: chain(&error), exit: Exit::Failure };
        let simulator = Simulator::start(options, Clock::system()).await.map_err(failed)?;
        println!("simulated API:  {}  (x-api-key: {})", simulator.base_url(), self.api_key);
        println!("its truth:      http://{}/_sim/truth", simulator.addr());
        stop.cancelled().await;
        simulator.stop().await.map_err(failed)
    }
}
