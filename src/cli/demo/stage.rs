//! Everything that runs in a demo, from its start to its end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::leftovers::Traces;
use super::place::Place;
use super::verify::{self, Verdict};
use super::watch::Watch;
use super::{PROJECT, other, unreadable};
use crate::app::{self, App, AppError, EMBEDDED_DATABASE};
use crate::chain::chain;
use crate::cli::{once, run};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::domain::lane::Lane;
use crate::embedded::Cluster;
use crate::exit::Exit;
use crate::http;
use crate::simulator::{Options, Simulator};
use crate::store::error::StoreError;
use crate::store::{database, progress};

/// How the submissions of the demo live: an hour is 15 seconds, so a decision by hand takes up to half a minute. Of those
/// there were at the first start, the youngest are still on their way.
const LIFE: f64 = 1.0 / 240.0;
const HISTORY: Duration = Duration::from_secs(30 * 60);
/// Chosen so that the first 20 seconds of a first run show a bit of everything, a late Red Flag included.
const SEED: u64 = 24_984;

/// What runs.
pub(super) struct Stage {
    cluster: Cluster,
    simulator: Simulator,
    app: App,
    /// The demo's own connection: it must not take the daemon's.
    looker: PgPool,
    listener: Option<TcpListener>,
    http: SocketAddr,
    traces: Traces,
}

impl Stage {
    /// Starts all but the daemon. When something cannot be started, what was started before ends again.
    pub(super) async fn start(place: &Place, rate: f64, listen: SocketAddr) -> Result<Self, AppError> {
        let taken = |error| AppError::Other {
            message: format!("cannot listen on {listen}: name another address with --listen: {error}"),
            exit: Exit::Listen,
        };
        let listener = http::bind(listen).await.map_err(taken)?;
        let http = listener.local_addr().map_err(taken)?;
        let cluster = app::start_cluster(&place.dir().join("postgres")).await?;
        match Self::furnish(place, rate, &cluster).await {
            Ok((simulator, app, looker)) => {
                let traces = Traces::of(&cluster, vec![http, simulator.addr()]);
                Ok(Self { cluster, simulator, app, looker, listener: Some(listener), http, traces })
            }
            Err(error) => {
                // The first error is the one to tell.
                let _ = cluster.stop().await;
                Err(error)
            }
        }
    }

    async fn furnish(place: &Place, rate: f64, cluster: &Cluster) -> Result<(Simulator, App, PgPool), AppError> {
        let options = Options { rate, state_file: Some(place.dir().join("simulator.json")), ..options() };
        let key = options.api_key.clone();
        let simulator = Simulator::start(options, Clock::system()).await.map_err(|error| other(chain(&error)))?;
        let url = cluster.url(EMBEDDED_DATABASE);
        let app = App::open(settings(&simulator.base_url(), &key, &url)?, Clock::system()).await?;
        let looker = PgPoolOptions::new().max_connections(1).connect_lazy_with(database::options(&url)?);
        // The daemon does this too; the view looks at tables before the daemon comes to it.
        app.prepare_database().await?;
        Ok((simulator, app, looker))
    }

    /// What to open in a browser.
    pub(super) fn urls(&self) -> Vec<(&'static str, String)> {
        let page = |path: &str| format!("http://{}/{path}", self.http);
        vec![
            ("metrics", page("metrics")),
            ("livez", page("livez")),
            ("readyz", page("readyz")),
            ("truth", format!("http://{}/_sim/truth", self.simulator.addr())),
        ]
    }

    /// The command that looks into the database.
    pub(super) fn psql(&self) -> String {
        format!("psql -h {} -U argos {EMBEDDED_DATABASE}", quoted(&self.cluster.socket_dir().display().to_string()))
    }

    /// The view's eyes, open from now on.
    pub(super) async fn watch(&self) -> Result<Watch, AppError> {
        Watch::open(self.looker.clone(), self.app.metrics.clone(), self.app.clock.clone()).await.map_err(unreadable)
    }

    /// The daemon, until `stop`. The vendor stands still from the moment of `stop`.
    pub(super) async fn daemon(&mut self, stop: &CancellationToken) -> Result<(), AppError> {
        let listener = self.listener.take();
        let serve = async {
            let result = run::serve(&self.app, listener, None, stop).await;
            stop.cancel();
            result
        };
        let freeze = async {
            stop.cancelled().await;
            self.simulator.freeze();
        };
        let serve = async { tokio::join!(serve, freeze).0 };
        tokio::select! {
            result = serve => result,
            error = self.cluster.ended() => Err(AppError::Embedded(error)),
        }
    }

    /// Reads everything once more, from the beginning: what an aborted demo has read of its last pass is out of date.
    pub(super) async fn last_pass(&self) -> Result<(), AppError> {
        let mut connection = self.app.pool.acquire().await.map_err(StoreError::doing("connecting"))?;
        progress::drop_walk(&mut connection, PROJECT, Lane::Once).await?;
        drop(connection);
        once::read_all(&self.app, &CancellationToken::new(), false, |_, _| {}).await
    }

    /// Compares the mirror with what the vendor shows.
    pub(super) async fn verify(&self) -> Result<Verdict, AppError> {
        verify::verify(&self.looker, &self.simulator.truth()).await.map_err(unreadable)
    }

    /// Ends everything, and says what is left although it should not be.
    pub(super) async fn end(self) -> Result<Vec<String>, AppError> {
        let saved = self.simulator.stop().await;
        self.looker.close().await;
        let closed = self.app.close().await;
        let stopped = self.cluster.stop().await;
        saved.map_err(|error| other(chain(&error)))?;
        closed?;
        stopped.map_err(AppError::Embedded)?;
        Ok(self.traces.left().await)
    }
}

fn options() -> Options {
    Options { seed: SEED, initial: 120, history: HISTORY, rate: 1.0, life: LIFE, ..Options::default() }
}

/// The defaults, and what the demo changes. Neither a file nor the environment has a say.
fn settings(base_url: &str, key: &str, database_url: &str) -> Result<Settings, AppError> {
    let flags = [
        ("api.base_url", base_url),
        ("api.key", key),
        ("api.project_id", PROJECT),
        ("api.count", "1000"),
        ("api.requests_per_second", "50"),
        ("api.requests_per_day", "10000000"),
        ("poll.interval", "1s"),
        ("database.url", database_url),
        // The lock on the directory says that a former demo is gone, so its lease need not run out.
        ("lease.holder", "demo"),
    ];
    let flags: Vec<_> = flags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Ok(config::load(None, &HashMap::new(), &flags)?)
}

fn quoted(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chrono::TimeDelta;
    use serde_json::Value;

    use super::*;
    use crate::clock::Timestamp;

    #[tokio::test]
    async fn the_first_twenty_seconds_show_a_bit_of_everything() {
        let clock = Clock::manual(Timestamp::from_timestamp(1_700_000_000, 0).unwrap());
        let simulator = Simulator::start(options(), clock.clone()).await.unwrap();
        let mut seen: HashMap<String, Value> = HashMap::new();
        let mut count: HashMap<&str, usize> = HashMap::new();
        for second in 0..18 {
            for item in simulator.truth() {
                let id = item["submission_id"].as_str().unwrap().to_owned();
                let before = seen.insert(id, item.clone());
                // A start takes a while.
                let Some(before) = before.filter(|_| second > 3) else { continue };
                let step = |path: &str, from: &str, to: &str| {
                    before.pointer(path).is_some_and(|value| value == from)
                        && item.pointer(path).is_some_and(|value| value == to)
                };
                let mut add = |what, happened| *count.entry(what).or_default() += usize::from(happened);
                add("late Red Flag", step("/aml/currentstatus", "Not Screened", "Red Flag"));
                add("cleared", step("/aml/currentstatus", "Red Flag", "Not Screened"));
                add("reviewed", step("/kyc/result", "pending", "approved"));
                add("memo", before["memo"] != item["memo"]);
                add("attempt", before["kyc"]["attempts"] != item["kyc"]["attempts"]);
                add("bank", item["bank_verification"].is_object() && !before["bank_verification"].is_object());
            }
            clock.advance(TimeDelta::seconds(1));
        }
        assert!(count.values().all(|count| *count > 0), "choose another seed: {count:?}");
    }
}
