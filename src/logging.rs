//! Log lines: text on a terminal, JSON otherwise, to standard error.

use std::fs::File;
use std::io::IsTerminal;
use std::sync::Arc;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Filter, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Sets the process's subscriber.
pub fn init(log: &Log) {
    let terminal = std::io::stderr().is_terminal();
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = if text { layer.with_ansi(terminal).boxed() } else { layer.json().flatten_event(true).boxed() };
    // A second subscriber (in tests) is no reason to fail.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter(&log.level))).try_init();
}

/// The same for a command that shows something else on the terminal: text to a file, and what is serious, a line each,
/// to `serious`.
pub fn init_to_file(level: &str, file: File, serious: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let all = tracing_subscriber::fmt::layer().with_writer(Arc::new(file)).with_target(false).with_ansi(false);
    let few = tracing_subscriber::fmt::layer().with_writer(serious).with_target(false).with_ansi(false).without_time();
    let _ = tracing_subscriber::registry()
        .with(all.with_filter(filter(level)))
        .with(few.with_filter(LevelFilter::WARN))
        .try_init();
}

/// Libraries are heard from warnings up, whatever `log.level` says: at finer levels they print URLs and frames, which
/// hold personal data.
fn filter<S: Subscriber>(level: &str) -> impl Filter<S> + use<S> {
    let ours_or_serious =
        filter_fn(|metadata| metadata.target().starts_with("argos_sync") || *metadata.level() <= Level::WARN);
    EnvFilter::new(level).and(ours_or_serious)
}
