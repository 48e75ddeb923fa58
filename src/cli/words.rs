//! Times, numbers and lines, for people.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use chrono::TimeDelta;

use crate::app::AppError;
use crate::chain::chain;
use crate::exit::Exit;

use crate::clock::Timestamp;

/// Prints a text as it is. A reader that wants no more of it (`| head`) is not an error.
pub(super) fn print(text: &str) -> Result<(), AppError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let message = format!("the output cannot be written: {}", chain(&error));
            Err(AppError::Other { message, exit: Exit::Failure })
        }
        _ => Ok(()),
    }
}

/// A line of a label and a text, the latter cut into lines that are not too wide.
pub(super) fn row(text: &mut String, label: &str, value: &str) {
    for (i, line) in lines(value, COLUMNS).iter().enumerate() {
        let label = if i == 0 { label } else { "" };
        text.push_str(&format!("  {label:<14}{line}\n"));
    }
}

/// How wide text is that is cut into lines: with what stands before it, less than 100.
pub(super) const COLUMNS: usize = 80;

/// A time, to the second, and how long ago.
pub(super) fn at_and_ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", moment(at), ago(at, now))
}

/// A time, to the second.
pub(super) fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", length(at - now)) } else { format!("{} ago", length(now - at)) }
}

/// A length of time, in the unit that says most.
pub(super) fn length(time: TimeDelta) -> String {
    let seconds = time.num_seconds();
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A length of time in its two largest units, rounded up: for what is to be done by then.
pub(super) fn at_most(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    let (unit, large, small, names) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => (1, 60, 60, ("m", "s")),
        3_600..86_400 => (60, 60, 60, ("h", "m")),
        _ => (3_600, 24, 24, ("d", "h")),
    };
    let units = seconds.div_ceil(unit);
    match (units / large, units % small) {
        (whole, 0) => format!("{whole}{}", names.0),
        (whole, rest) => format!("{whole}{} {rest}{}", names.0, names.1),
    }
}

/// A number with commas.
pub(super) fn grouped(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A number and its noun.
pub(super) fn count(number: impl Into<i128>, noun: &str) -> String {
    let number = number.into();
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A text in lines of at most so many columns, cut at blanks; a word that is longer has a line of its own.
pub(super) fn lines(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!([0, 999, 1_000, -1_234_567].map(grouped), ["0", "999", "1,000", "-1,234,567"]);
        let lengths = [0, 119, 120, 7_200, 172_800].map(|seconds| length(TimeDelta::seconds(seconds)));
        assert_eq!(lengths, ["0 s", "119 s", "2 min", "2 h", "2 d"]);
        let lengths = [59.1, 3_599.5, 3_601.0, 90_000.0].map(|seconds| at_most(Duration::from_secs_f64(seconds)));
        assert_eq!(lengths, ["1m", "1h", "1h 1m", "1d 1h"]);
        assert_eq!((count(1, "page"), count(2_000, "page")), ("1 page".to_owned(), "2,000 pages".to_owned()));
        assert_eq!(lines("one two  three fourfour", 7), ["one two", "three", "fourfour"]);
    }
}
