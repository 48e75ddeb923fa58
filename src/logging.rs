//! Log lines: text on a terminal, JSON otherwise, to standard error.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Sets the process's subscriber. Libraries are heard from warnings up, whatever `log.level` says: at finer levels they
/// print URLs and frames, which hold personal data.
pub fn init(log: &Log) {
    let terminal = std::io::stderr().is_terminal();
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = if text { layer.with_ansi(terminal).boxed() } else { layer.json().flatten_event(true).boxed() };
    // Filters of the whole subscriber, not of the layer: sqlx asks whether its own events are enabled, and with a filter
    // of a layer a "no" is remembered for the thread and swallows the next event, whosever that is.
    let subscriber =
        tracing_subscriber::registry().with(filter_fn(may_be_heard)).with(EnvFilter::new(&log.level)).with(layer);
    // A second subscriber (in tests) is no reason to fail.
    let _ = subscriber.try_init();
}

fn may_be_heard(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    // Notices and warnings of PostgreSQL's may quote what is being written, unknown parameters of the URL its password.
    let quotes = ["sqlx::postgres::notice", "sqlx_postgres::options"].iter().any(|quoting| target.starts_with(quoting));
    target.starts_with("argos_sync") || (*metadata.level() <= Level::WARN && !quotes)
}
