//! Log lines: text on a terminal, JSON otherwise, to standard error.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Sets the process's subscriber. Libraries are heard from warnings up, whatever `log.level` says: at finer levels they
/// print URLs and frames, which hold personal data.
pub fn init(log: &Log) {
    let ours_or_serious =
        filter_fn(|metadata| metadata.target().starts_with("argos_sync") || *metadata.level() <= Level::WARN);
    let filter = EnvFilter::new(&log.level).and(ours_or_serious);
    let terminal = std::io::stderr().is_terminal();
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = if text { layer.with_ansi(terminal).boxed() } else { layer.json().flatten_event(true).boxed() };
    // A second subscriber (in tests) is no reason to fail.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
