//! Lines of text, for people.

use std::io::{ErrorKind, Write};

use crate::app::AppError;
use crate::chain::chain;
use crate::exit::Exit;
use crate::words::{harmless, harmless_json};

/// Prints lines of text. What a terminal would obey is written out: some of it may be the vendor's.
pub(super) fn print(text: &str) -> Result<(), AppError> {
    write(&harmless(text))
}

/// Prints lines of JSON, in the same way.
pub(super) fn print_json(json: &str) -> Result<(), AppError> {
    write(&harmless_json(json))
}

/// A reader that wants no more of it (`| head`) is not an error.
fn write(text: &str) -> Result<(), AppError> {
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
    fn lines_are_cut_at_blanks() {
        assert_eq!(lines("one two  three fourfour", 7), ["one two", "three", "fourfour"]);
    }
}
