//! The server's log: kept short, and quoted when the server fails.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::EmbeddedError;
use super::home::Home;

const LOG_LIMIT: u64 = 8 << 20;
const LOG_KEPT: u64 = 1 << 20;
const TAIL_LINES: usize = 20;

/// The log, shortened if need be, and how long it is now.
pub(super) fn open(home: &Home) -> Result<(File, u64), EmbeddedError> {
    let mut log = home.open_file(&home.log(), OpenOptions::new().read(true).append(true).create(true))?;
    let shorten = |log: &mut File| cut(log).and_then(|()| log.metadata());
    let length = shorten(&mut log).map_err(EmbeddedError::io("shorten", home.log()))?.len();
    Ok((log, length))
}

/// The server appends to one file for as long as it runs, and we run as long as the server does: so we keep it short.
pub(super) fn keep_short(mut log: File, path: PathBuf) -> AbortHandle {
    let keeper = async move {
        loop {
            sleep(Duration::from_secs(60)).await;
            if let Err(error) = cut(&mut log) {
                tracing::warn!(log = %path.display(), %error, "cannot shorten the private database's log");
            }
        }
    };
    tokio::spawn(keeper).abort_handle()
}

/// Leaves the last part of a file that has grown past [`LOG_LIMIT`]. What the server writes meanwhile may be lost.
fn cut(file: &mut File) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    if length > LOG_LIMIT {
        let mut kept = Vec::new();
        file.seek(SeekFrom::Start(length - LOG_KEPT.min(length)))?;
        file.read_to_end(&mut kept)?;
        let line = kept.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(0)?;
        file.write_all(&kept[line..])?;
    }
    Ok(())
}

/// The last lines that were written after `start`.
pub(super) fn tail(home: &Home, start: u64) -> String {
    let read = || {
        let mut file = home.open_file(&home.log(), OpenOptions::new().read(true)).ok()?;
        let end = file.metadata().ok()?.len();
        // Cut meanwhile, the log is shorter than it was, and all of it was written after.
        let start = if end < start { 0 } else { start };
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(8 << 10)))).ok()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).ok()?;
        Some(text)
    };
    last_lines(&read().unwrap_or_default())
}

pub(super) fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.trim().lines().collect();
    if lines.is_empty() { "(nothing)".into() } else { lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_past_its_limit_keeps_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        let line = "0123456789 a line of the log\n";
        for _ in 0..=LOG_LIMIT / line.len() as u64 {
            file.write_all(line.as_bytes()).unwrap();
        }
        file.write_all(b"the end\n").unwrap();
        cut(&mut file).unwrap();
        // A log is opened for appending; this file is not, so look at what is there.
        let mut text = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let text = text.trim_start_matches('\0');
        assert!(text.starts_with("0123456789") && text.ends_with("the end\n"));
        assert!(text.len() as u64 <= LOG_KEPT);
    }
}
