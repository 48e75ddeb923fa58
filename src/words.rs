//! Times and numbers, for people.

use std::time::Duration;

use chrono::TimeDelta;

use crate::clock::Timestamp;

/// A time, to the second, and how long ago.
pub fn at_and_ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", moment(at), ago(at, now))
}

/// A time, to the second.
pub fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", length(at - now)) } else { format!("{} ago", length(now - at)) }
}

/// A length of time, in the unit that says most.
pub fn length(time: TimeDelta) -> String {
    let seconds = time.num_seconds();
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A length of time in its two largest units, rounded up: for what is to be done by then.
pub fn at_most(time: Duration) -> String {
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
pub fn grouped(number: impl Into<i128>) -> String {
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
pub fn count(number: impl Into<i128>, noun: &str) -> String {
    let number = number.into();
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Whether a terminal obeys a character, or shows something else than what is there: control characters, and those that
/// turn the order of what is read around or cannot be seen.
fn deceives(c: char) -> bool {
    let unseen = ['\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}'].contains(&c)
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    c.is_control() || unseen
}

/// Lines of text in which every other character that deceives is written as its number.
pub fn harmless(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        match c {
            '\n' => shown.push(c),
            c if deceives(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
        shown
    })
}

/// Somebody else's text as part of a line.
pub fn shown(text: &str) -> String {
    harmless(text).replace('\n', "\\u{a}")
}

/// JSON that means the same and deceives no terminal: outside of its texts there is nothing to escape but line breaks.
pub fn harmless_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut shown, c| {
        if c != '\n' && deceives(c) {
            let units = &mut [0; 2];
            c.encode_utf16(units).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
        shown
    })
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
    }

    #[test]
    fn p11_nothing_that_a_terminal_obeys_is_left() {
        let text = "a\u{1b}[2J\r\nb\u{9b}c\u{202e}d\u{feff}\u{e0041}\0é 서울";
        assert_eq!(harmless(text), "a\\u{1b}[2J\\u{d}\nb\\u{9b}c\\u{202e}d\\u{feff}\\u{e0041}\\u{0}é 서울");
        assert_eq!(shown("a\nb"), "a\\u{a}b");
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let harmless = harmless_json(&json);
        assert!(!harmless.chars().any(|c| c != '\n' && deceives(c)), "{harmless}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&harmless).unwrap(), [text]);
    }
}
