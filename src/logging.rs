//! Log lines: text on a terminal, JSON otherwise, to standard error.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::panic::Location;
use std::sync::Arc;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::MakeWriterExt;
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// How much the process's subscriber logs, to be changed while it runs.
pub struct LogLevel(reload::Handle<EnvFilter, Layered<FilterFn, Registry>>);

impl LogLevel {
    /// From now on this; see `log.level`.
    pub fn set(&self, level: &str) {
        // Without the subscriber (another one was first, in tests) there is nothing to be set.
        let _ = self.0.reload(EnvFilter::new(level));
    }
}

/// Sets the process's subscriber.
pub fn init(log: &Log) -> LogLevel {
    let terminal = std::io::stderr().is_terminal();
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = if text { layer.with_ansi(terminal).boxed() } else { layer.json().flatten_event(true).boxed() };
    let (subscriber, level) = filtered(&log.level);
    // A second subscriber (in tests) is no reason to fail.
    let _ = subscriber.with(layer).try_init();
    level
}

/// Has a panic tell where it happened, and its message if that was written with the program. One that was made while it
/// ran may quote what it ran on.
pub fn harmless_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let mut text = panicked(panic.payload(), panic.location());
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            text.push_str(&backtrace.to_string());
        }
        // Where nobody listens there is nobody to tell.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }));
}

fn panicked(payload: &(dyn Any + Send), place: Option<&Location<'_>>) -> String {
    let message = payload.downcast_ref::<&'static str>().unwrap_or(&"(the message is left out: it may quote data)");
    let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
    format!("argos-sync panicked{place}: {message}\nThis is a mistake in the program: please report it.\n")
}

/// The same for a command that shows something else on the terminal: text to a file, and what is serious, a line each,
/// to `serious`.
pub fn init_to_file(level: &str, file: File, serious: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let all = tracing_subscriber::fmt::layer().with_writer(Arc::new(file)).with_target(false).with_ansi(false);
    let serious = serious.with_max_level(Level::WARN);
    let few = tracing_subscriber::fmt::layer().with_writer(serious).with_target(false).with_ansi(false).without_time();
    let _ = filtered(level).0.with(all).with(few).try_init();
}

/// These filter the whole subscriber, not a layer: when sqlx asks whether a statement is to be logged, a layer's own
/// filter remembers its "no" for the thread, and drops the next line of ours.
fn filtered(level: &str) -> (impl Subscriber + Send + Sync + for<'a> LookupSpan<'a> + use<>, LogLevel) {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(level));
    let heard: FilterFn = FilterFn::new(may_be_heard);
    (tracing_subscriber::registry().with(heard).with(filter), LogLevel(handle))
}

/// Libraries are heard from warnings up, whatever `log.level` says: at finer levels they print URLs and frames, which
/// hold personal data.
fn may_be_heard(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    // Notices and warnings of PostgreSQL's may quote what is being written, unknown parameters of the URL its password.
    let quotes = ["sqlx::postgres::notice", "sqlx_postgres::options"].iter().any(|quoting| target.starts_with(quoting));
    target.starts_with("argos_sync") || (*metadata.level() <= Level::WARN && !quotes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p11_a_panic_does_not_quote_what_it_ran_on() {
        let told = |panicking: fn()| {
            let payload = std::panic::catch_unwind(panicking).unwrap_err();
            panicked(&*payload, Some(Location::caller()))
        };
        let named = told(|| panic!("a page has no end"));
        assert!(named.contains("a page has no end") && named.contains("src/logging.rs:"), "{named}");
        const FAILS: fn() -> Result<(), String> = || Err("Taintname7".to_owned());
        let quoting: [fn(); 3] = [
            || panic!("{} has no name", String::from("Taintname7")),
            || FAILS().expect("it is a number"),
            || std::panic::panic_any("Taintname7".to_owned()),
        ];
        for panicking in quoting {
            let told = told(panicking);
            assert!(told.contains("argos-sync panicked at src/logging.rs:") && !told.contains("Taint"), "{told}");
        }
    }
}
