//! `argos-sync demo`: the main job before your eyes.
//!
//! A private PostgreSQL, the simulator and the real daemon between them (`stage`), a view of what happens (`watch`,
//! `view`, `screen`), and at the end the question whether the mirror equals what the vendor shows (`verify`, `form`).

mod form;
mod leftovers;
mod place;
mod plain;
mod screen;
mod stage;
mod summary;
mod verify;
mod view;
mod watch;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::place::Place;
use self::stage::Stage;
use self::summary::Summary;
use self::watch::Watch;
use crate::app::AppError;
use crate::embedded::default_data_dir;
use crate::exit::Exit;
use crate::{lifecycle, logging};

/// Name and id of the demo's project.
const PROJECT: &str = "demo";

/// Options of `demo`.
#[derive(Args)]
pub(super) struct Demo {
    /// End after this long, e.g. 20s; without it, Ctrl-C ends the demo
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    span: Option<Duration>,
    /// Print the summary as one line of JSON, the last of standard output
    #[arg(long)]
    json: bool,
    /// New submissions per second
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Keeps its database and the simulator's state here, and goes on from them next time
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where to serve /metrics, /livez and /readyz; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// What the view and the closing words know of the run.
#[derive(Clone)]
struct Playbill {
    /// When the play began.
    begun: Instant,
    /// How long it plays, unless until Ctrl-C.
    span: Option<Duration>,
    /// What to open: a name and a URL.
    urls: Vec<(&'static str, String)>,
    /// The command that looks into the database.
    psql: String,
    /// Where log lines go.
    log: PathBuf,
}

impl Demo {
    pub(super) async fn execute(self) -> Result<(), AppError> {
        let live = std::io::stdout().is_terminal() && !self.json;
        let directory = self.dir.clone().unwrap_or_else(|| default_data_dir("demo"));
        let place = Place::open(&directory)?;
        logging::init_to_file("info", place.log_file()?, screen::warnings);
        let stop = lifecycle::stop_on_signals()?;
        let say = |line: &str| plain::say(self.json, line);
        say(&format!("starting a private PostgreSQL, a simulated vendor and the daemon in {}", place.dir().display()));

        let mut stage = Stage::start(&place, self.rate, self.listen).await?;
        let played = self.play(&mut stage, &place, live, &stop).await;
        let leftovers = stage.end().await;
        let mut summary = played?;
        summary.leftovers = leftovers?;
        summary.duration = summary.bill.begun.elapsed();
        if self.json {
            summary.lines().iter().for_each(|line| say(line));
            println!("{}", summary.json());
        } else {
            summary.lines().iter().for_each(|line| say(line));
        }
        summary.result()
    }

    /// The daemon at work under somebody's eyes, until the end; then one last complete read and the comparison.
    async fn play(
        &self,
        stage: &mut Stage,
        place: &Place,
        live: bool,
        stop: &CancellationToken,
    ) -> Result<Summary, AppError> {
        let bill = Playbill {
            begun: Instant::now(),
            span: self.span,
            urls: stage.urls(),
            psql: stage.psql(),
            log: place.log(),
        };
        let watch = stage.watch().await?;
        if let Some(span) = self.span {
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::time::sleep(span).await;
                stop.cancel();
            });
        }
        let viewed = tokio::spawn(look_on(watch, bill.clone(), live, self.json, stop.clone()));
        let daemon = stage.daemon(stop).await;
        // The view ends first, so that what is said from here on is seen.
        stop.cancel();
        let watch = viewed.await;
        daemon?;
        let mut watch = watch.map_err(|_| AppError::TaskEnded { task: "view".to_owned() })?;
        plain::say(self.json, "stopped; reading everything once more and comparing the mirror with the vendor");
        stage.last_pass().await?;
        let verdict = stage.verify().await?;
        let looked = watch.look().await.map_err(unreadable)?;
        Ok(Summary::new(bill, verdict, &watch, looked.passes))
    }
}

/// Shows what happens until `stop`, then gives the watch back.
async fn look_on(mut watch: Watch, bill: Playbill, live: bool, json: bool, stop: CancellationToken) -> Watch {
    if live {
        view::run(&mut watch, &bill, &stop).await;
    } else {
        plain::run(&mut watch, &bill, json, &stop).await;
    }
    watch
}

/// A statement of the demo's own that failed.
fn unreadable(error: sqlx::Error) -> AppError {
    crate::store::error::StoreError::doing("looking at the demo's tables")(error).into()
}

/// A failure in one sentence.
fn other(message: String) -> AppError {
    AppError::Other { message, exit: Exit::Failure }
}
