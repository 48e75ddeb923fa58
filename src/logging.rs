//! Log lines: text on a terminal, JSON otherwise, to standard error.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Sets the process's subscriber. Libraries are heard from warnings up, whatever `log.level` says: at finer levels they
/// print URLs and frames, which hold personal data.
pub fn init(log: &Log) {
    let ours_or_serious =
        filter_fn(|metadata| metadata.target().starts_with("argos_sync") || *metadata.level() <= Level::WARN);
    let terminal = std::io::stderr().is_terminal();
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = if text { layer.with_ansi(terminal).boxed() } else { layer.json().flatten_event(true).boxed() };
    // Filters of the whole subscriber, not of the layer: when sqlx asks whether a statement is to be logged, a layer's own
    // filter remembers its "no" for the thread, and drops the next line of ours.
    let subscriber = tracing_subscriber::registry().with(EnvFilter::new(&log.level)).with(ours_or_serious).with(layer);
    // A second subscriber (in tests) is no reason to fail.
    let _ = subscriber.try_init();
}
