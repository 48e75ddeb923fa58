//! Secrets, given as such or in a file of their own. No message here holds any part of one.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::sources::Noted;
use super::values::Checked;

/// A password that is sent over a network without any limit of tries.
const SHORTEST_TOKEN: usize = 16;

/// Far above any key or URL: a path to something endless must not fill the memory.
const LARGEST: u64 = 64 * 1024;

/// The secret in `path`, without one newline at its end.
pub(super) fn read(path: &Path, noted: &mut Noted) -> Checked<String> {
    let shown = path.display();
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    noted.file(path, read.as_ref().map(|_| text.as_slice()));
    read.map_err(|error| format!("cannot be read from {shown}: {error}"))?;
    if text.len() as u64 > LARGEST {
        return Err(format!("in {shown} is too long for a secret: more than {LARGEST} bytes"));
    }
    let mut text = String::from_utf8(text).map_err(|_| format!("in {shown} is not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    printable(&text).map_err(|problem| format!("in {shown} {problem}"))?;
    Ok(text)
}

/// Refuses what no secret is.
pub(super) fn printable(text: &str) -> Checked<()> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.starts_with('\u{feff}') {
        return Err("begins with a byte-order mark: save the file as UTF-8 without one".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character, such as a line break: it must be one line".to_owned());
    }
    Ok(())
}

/// Refuses what cannot be an API key.
pub(super) fn api_key(text: &str) -> Checked<()> {
    if text.trim() != text {
        return Err("begins or ends with a space: take it away".to_owned());
    }
    if text.get(..7).is_some_and(|begin| begin.eq_ignore_ascii_case("bearer ")) {
        return Err("begins with \"Bearer\": write the key alone, which is sent as x-api-key".to_owned());
    }
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("holds a space or a letter outside ASCII: it could not be sent".to_owned()),
    }
}

/// Refuses a password that could be guessed.
pub(super) fn token(text: &str) -> Checked<()> {
    match text.chars().count() >= SHORTEST_TOKEN {
        true => Ok(()),
        false => {
            Err(format!("must have at least {SHORTEST_TOKEN} characters, such as what `openssl rand -hex 16` prints"))
        }
    }
}

/// Refuses what is not a URL of PostgreSQL's.
pub(super) fn database_url(text: &str) -> Checked<()> {
    let right = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    match right && url::Url::parse(text).is_ok() {
        true => Ok(()),
        false => Err("is not a URL such as postgres://user:password@host:5432/database \
                      (a \"/\", \"?\", \"#\" or \"@\" in the password must be written as %2F, %3F, %23 or %40)"
            .to_owned()),
    }
}

/// Refuses what is not 32 bytes in hexadecimal.
pub(super) fn hash_secret(text: &str) -> Checked<()> {
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err("must be 64 hexadecimal digits".to_owned()),
    }
}
