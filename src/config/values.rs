//! From text to a checked value. An `Err` is the end of a sentence that begins with the setting's name.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

/// What a value may be wrong with.
pub(super) type Checked<T> = Result<T, String>;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than anything meant seriously, shorter than anything that overflows.
const TEN_YEARS: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

type Read<T> = Box<dyn Fn(&str) -> Checked<T>>;

/// What a value must be: the words for it, as in "a length of time", and how it is read.
pub(super) struct Check<T> {
    pub(super) words: String,
    pub(super) read: Read<T>,
}

impl<T> Check<T> {
    fn new(words: impl Into<String>, read: impl Fn(&str) -> Checked<T> + 'static) -> Self {
        Self { words: words.into(), read: Box::new(read) }
    }
}

/// A length of time, above zero.
pub(super) fn duration() -> Check<Duration> {
    Check::new("a length of time", read_duration)
}

fn read_duration(text: &str) -> Checked<Duration> {
    let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if bare {
        let example = if text.len() <= 6 { text } else { "30" };
        return Err(format!("needs a unit: write {example}s for seconds"));
    }
    let value = humantime::parse_duration(text)
        .map_err(|_| "is not a length of time: write a number and a unit, such as 30s, 5m or 3d".to_owned())?;
    match value {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        _ if value > TEN_YEARS => Err("must not be longer than 3650d".to_owned()),
        _ => Ok(value),
    }
}

/// A length of time of at least one second.
pub(super) fn seconds() -> Check<Duration> {
    at_least("1s", SECOND)
}

/// A length of time of at least one second; `None` for "0s".
pub(super) fn seconds_or_never() -> Check<Option<Duration>> {
    Check::new("a length of time, at least 1s, or 0s for never", |text| match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(None),
        _ => (seconds().read)(text).map(Some),
    })
}

/// A length of time of at least a day. "30m" is half an hour, and was perhaps meant to be 30 months.
pub(super) fn day_or_more() -> Check<Duration> {
    at_least("1d", DAY)
}

fn at_least(shown: &'static str, least: Duration) -> Check<Duration> {
    Check::new(format!("a length of time, at least {shown}"), move |text| {
        read_duration(text).and_then(|value| match value < least {
            true => Err(format!("must be at least {shown}")),
            false => Ok(value),
        })
    })
}

/// Whole days, at least one.
pub(super) fn days() -> Check<Duration> {
    const WORDS: &str = "whole days, at least 1d";
    Check::new(WORDS, |text| {
        read_duration(text).and_then(|value| match value.as_nanos() % DAY.as_nanos() {
            0 => Ok(value),
            _ => Err(format!("must be {WORDS}")),
        })
    })
}

/// A size in bytes, above zero: a number, or one with KiB, MiB or GiB.
pub(super) fn bytes() -> Check<usize> {
    Check::new("a size", |text| {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        let (number, unit) = units
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)))
            .unwrap_or((text, 1_usize));
        let advice = "is not a size: write a number of bytes, or one with KiB, MiB or GiB, such as 32MiB";
        let value = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
        value.ok_or_else(|| advice.to_owned()).and_then(|value| match value {
            0 => Err("must be at least 1".to_owned()),
            _ => Ok(value),
        })
    })
}

/// A whole number from `least` to `most`.
pub(super) fn whole<T>(least: T, most: T) -> Check<T>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy + 'static,
{
    let words = format!("a whole number from {least} to {most}");
    number(words, move |value: &T| (least..=most).contains(value))
}

/// A number of times per second. The bounds keep the time between two from being nothing, or for ever.
pub(super) fn rate() -> Check<f64> {
    number("a number from 0.001 to 1000000".to_owned(), |value| (0.001..=1_000_000.0).contains(value))
}

/// A share of a whole.
pub(super) fn share() -> Check<f64> {
    number("a number from 0 to 1".to_owned(), |value| (0.0..=1.0).contains(value))
}

fn number<T: std::str::FromStr>(words: String, fits: impl Fn(&T) -> bool + 'static) -> Check<T> {
    let refusal = format!("must be {words}");
    Check::new(words, move |text| text.parse().ok().filter(|value| fits(value)).ok_or_else(|| refusal.clone()))
}

/// `true` or `false`.
pub(super) fn boolean() -> Check<bool> {
    const WORDS: &str = "true or false";
    Check::new(WORDS, |text| text.parse().map_err(|_| format!("must be {WORDS}")))
}

/// A day.
pub(super) fn day() -> Check<NaiveDate> {
    Check::new("a day", |text| {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| "is not a day: write it as 2024-01-31".to_owned())
    })
}

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &'static [(&'static str, T)]) -> Check<T> {
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let words = words.join(" or ");
    let refusal = format!("must be {words}");
    Check::new(words, move |text| {
        let found = choices.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| refusal.clone())
    })
}

/// Any text that is not empty and can be printed.
pub(super) fn text() -> Check<String> {
    Check::new("text", read_text)
}

/// The path of a file or a directory.
pub(super) fn path() -> Check<PathBuf> {
    Check::new("a path", |text| read_text(text).map(PathBuf::from))
}

fn read_text(text: &str) -> Checked<String> {
    match text {
        "" => Err("must not be empty".to_owned()),
        _ if text.chars().any(char::is_control) => Err("must not hold control characters".to_owned()),
        _ if text.len() > 4096 => Err("must not be longer than 4096 bytes".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// A project's id.
pub(super) fn project_id() -> Check<String> {
    const WORDS: &str = "1 to 64 of a-z, 0-9, \"_\" and \"-\"";
    Check::new(WORDS, |text| match is_project_id(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("must be {WORDS}")),
    })
}

/// Whether a project may be called so.
pub(super) fn is_project_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// An address and port.
pub(super) fn address() -> Check<SocketAddr> {
    Check::new("an address and a port", |text| {
        text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:9464".to_owned())
    })
}

/// Where the vendor's API lives.
pub(super) fn base_url() -> Check<Url> {
    Check::new("a URL", read_base_url)
}

fn read_base_url(text: &str) -> Checked<Url> {
    let mut url =
        Url::parse(text).map_err(|_| "is not a URL such as https://rest-api.argosidentity.com/v3".to_owned())?;
    let this_machine = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if this_machine => {}
        _ => {
            return Err("must start with https:// (http:// only to this machine: the key would be readable)".to_owned());
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password: the API takes only its key".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path: no \"?\" and no \"#\"".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A filter for the log. A lone word that is no level would mean "everything of the module with this name", so
/// that `inof` would silence the log without a complaint: refused.
pub(super) fn log_level() -> Check<String> {
    Check::new("a level, or a list of them by part", read_log_level)
}

fn read_log_level(text: &str) -> Checked<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let lone = text
        .split(',')
        .map(str::trim)
        .find(|part| !part.contains(['=', '[']) && !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part)));
    let advice = "write error, warn, info, debug or trace, or with parts, such as info,sqlx=warn";
    if lone.is_some() || EnvFilter::try_new(text).is_err() {
        return Err(format!("is not a log level: {advice}"));
    }
    Ok(text.to_owned())
}
