//! Settings of a running daemon: read again on SIGHUP, and when a file holds something else; checked; and put in force
//! for whoever goes by them. What cannot be used changes nothing.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::PgPool;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::argos::client::Client;
use crate::chain::chain;
use crate::clock::Clock;
use crate::config::{Content, Reading, Settings, Sources, TakenUp};
use crate::heartbeat::Heartbeat;
use crate::logging::LogLevel;
use crate::metrics::Metrics;
use crate::store::database;

/// So long a file must stay as it is before it counts as written.
const SETTLED: Duration = Duration::from_secs(1);

/// What reading them may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the process has its settings from, and what makes it read them again.
pub struct Reload {
    /// File, environment and flags.
    pub sources: Sources,
    /// What the files held when they were read.
    pub content: Content,
    /// SIGHUP.
    pub hangups: Signal,
    /// Whether the process was started in a terminal: when that closes, it is a SIGHUP that means the end.
    pub terminal: bool,
    /// How much is logged.
    pub level: LogLevel,
    /// A reading that has not come to its end.
    pub reading: Option<JoinHandle<Reading>>,
}

/// Who goes by the settings.
pub struct InForce {
    /// The settings, for those that look themselves: between two turns, or with each request for a page.
    pub settings: watch::Sender<Arc<Settings>>,
    /// The database.
    pub pool: PgPool,
    /// The metrics.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
}

/// Why the settings are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Signal,
    Look,
}

/// What the files held.
struct Seen {
    /// When settings were last taken up.
    good: Content,
    /// When it was last said what came of them.
    told: Content,
    /// At the last look, if that was something new: it may still be being written.
    unsettled: Option<Content>,
}

impl Reload {
    /// Keeps the settings up to date until `stop`.
    pub async fn run(mut self, in_force: InForce, stop: CancellationToken) {
        let mut seen = Seen { good: self.content, told: self.content, unsettled: None };
        loop {
            let why = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(()) = self.hangups.recv() => Why::Signal,
                () = next_look(&in_force, &seen) => Why::Look,
            };
            if why == Why::Signal && self.terminal && !std::io::stderr().is_terminal() {
                tracing::info!("the terminal is gone: ending after the open page");
                return stop.cancel();
            }
            let reading = match why {
                Why::Signal => stop.run_until_cancelled(self.read_settled(&in_force, seen.good)).await,
                Why::Look => stop.run_until_cancelled(self.read(&in_force)).await,
            };
            let Some(reading) = reading else { return };
            let Some(reading) = reading else { continue };
            // Nothing was wrong with them, but they could not be read for a while.
            let readable_again =
                [reading.content, seen.told] == [seen.good; 2] && in_force.metrics.reload_successful.get() == 0;
            if why == Why::Look && !readable_again && !seen.settled(reading.content) {
                continue;
            }
            (seen.told, seen.unsettled) = (reading.content, None);
            let content = reading.content;
            if in_force.take_up(reading, why, &self.level) {
                seen.good = content;
            }
        }
    }

    /// Reads until the files stay as they are: also who sends a signal may be writing still.
    async fn read_settled(&mut self, in_force: &InForce, good: Content) -> Option<Reading> {
        let mut before = good;
        loop {
            let reading = self.read(in_force).await?;
            if reading.content == before {
                return Some(reading);
            }
            before = reading.content;
            tokio::time::sleep(SETTLED).await;
        }
    }

    /// Not on a thread of the loops: a file system may take its time, or never answer. `None`: it did not yet.
    async fn read(&mut self, in_force: &InForce) -> Option<Reading> {
        let mut reading = self.reading.take().unwrap_or_else(|| {
            let (sources, before) = (self.sources.clone(), in_force.settings.borrow().clone());
            tokio::task::spawn_blocking(move || sources.read_again(&before))
        });
        match tokio::time::timeout(PATIENCE, &mut reading).await {
            // If it has panicked, it has said so: a bug, but none to end the daemon for.
            Ok(read) => read.ok(),
            Err(_) => {
                // Another one would wait for the same file.
                self.reading = Some(reading);
                if in_force.metrics.reload_successful.get() == 1 {
                    tracing::error!("a file of the settings cannot be read: its file system does not answer");
                }
                in_force.metrics.reload_successful.set(0);
                None
            }
        }
    }
}

impl Seen {
    /// Whether there is something new that has stayed the same since the last look.
    fn settled(&mut self, content: Content) -> bool {
        let new = Some(content).filter(|content| *content != self.told);
        let before = std::mem::replace(&mut self.unsettled, new);
        new.is_some() && new == before
    }
}

/// Waits until it is time to look at the files.
async fn next_look(in_force: &InForce, seen: &Seen) {
    let watch = in_force.settings.borrow().reload.watch;
    match watch {
        Some(every) if seen.unsettled.is_some() => tokio::time::sleep(every.min(SETTLED)).await,
        Some(every) => tokio::time::sleep(every).await,
        None => std::future::pending().await,
    }
}

impl InForce {
    /// Takes up what was read, and says what came of it. Whether it could be used.
    fn take_up(&self, reading: Reading, why: Why, level: &LogLevel) -> bool {
        let because = match why {
            Why::Signal => "SIGHUP",
            Why::Look => "a file has changed",
        };
        let before = self.settings.borrow().clone();
        let TakenUp { settings, applied, waiting } = match self.usable(&before, reading) {
            Ok(taken) => taken,
            Err(problem) => {
                self.metrics.reload_successful.set(0);
                tracing::error!(
                    because,
                    "the settings cannot be used as they are now; those from before stay in force: {problem}"
                );
                return false;
            }
        };
        let all_was_well = self.metrics.reload_successful.get() == 1 && self.metrics.restart_needed.get() == 0;
        if why == Why::Look && all_was_well && applied.is_empty() && waiting.is_empty() {
            return true;
        }
        self.metrics.reload_successful.set(1);
        self.metrics.reload_success.set(self.clock.now().timestamp());
        self.metrics.restart_needed.set(i64::from(!waiting.is_empty()));
        if settings.log.level != before.log.level {
            level.set(&settings.log.level);
        }
        if applied.is_empty() {
            tracing::info!(because, "the settings were read again; nothing new is in force");
        } else {
            for (key, old, new) in weighty(&before, &settings) {
                tracing::warn!(key, old, new, "what is kept, and what is erased, goes by another setting now");
            }
            self.settings.send_replace(Arc::new(settings));
            tracing::info!(because, keys = applied.join(", "), "changed settings are in force");
        }
        if !waiting.is_empty() {
            let keys = waiting.join(", ");
            tracing::warn!(keys, "these changed settings wait for a restart; until then the old ones are in force");
        }
        true
    }

    /// What there is to take up; or everything that is wrong, in which case nothing has changed.
    fn usable(&self, before: &Settings, reading: Reading) -> Result<TakenUp, String> {
        let new = reading.settings.and_then(|new| new.require_keys().map(|()| new));
        let new = new.map_err(|error| error.problems().join("; "))?;
        for project in &new.projects {
            // Only tried: a project that waits for a restart has no series of its own yet.
            let metrics = self.metrics.project(&before.projects[0].id);
            Client::new(&project.api, &new.limits, self.clock.clone(), metrics, Heartbeat::new())
                .map_err(|error| format!("project {:?}: {}", project.id, chain(&error)))?;
        }
        let taken = before.take_up(&new);
        if let Some(url) =
            taken.settings.database.url.as_ref().filter(|_| taken.applied.iter().any(|key| key == "database.url"))
        {
            database::connect_with(&self.pool, url.expose_secret()).map_err(|error| chain(&error))?;
        }
        Ok(taken)
    }
}

/// The settings that decide over data which nobody could bring back, where they differ: key, old value, new value.
fn weighty<'s>(before: &'s Settings, after: &'s Settings) -> Vec<(&'s str, &'s str, &'s str)> {
    let decides = |key: &str| ["erasure.", "retention."].iter().any(|section| key.starts_with(section));
    let both = before.effective().iter().filter_map(|old| {
        let new = after.effective().iter().find(|new| new.key == old.key)?;
        Some((old.key.as_str(), old.value.as_str(), new.value.as_str()))
    });
    both.filter(|(key, old, new)| decides(key) && old != new).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_file_counts_once_it_has_stayed_the_same_from_one_look_to_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        let content = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Sources::new(Some(&path), HashMap::new(), Vec::new()).read().content
        };
        let (old, half, whole) = (content("log.level = 'info'"), content("log."), content("log.level = 'warn'"));
        let settled = |looks: [Content; 4]| {
            let mut seen = Seen { good: old, told: old, unsettled: None };
            looks.map(|content| seen.settled(content))
        };
        assert_eq!(settled([old, half, whole, whole]), [false, false, false, true]);
        assert_eq!(settled([whole, old, whole, whole]), [false, false, false, true]);
        assert_eq!(settled([old; 4]), [false; 4]);
    }
}
