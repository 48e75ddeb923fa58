//! Counts what no document names, by name: a new name is written at once, counts about once a minute.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::domain::drift::{Drift, MOST_NAMES, Named};
use crate::domain::names::OTHER;
use crate::store::drift;
use crate::store::error::StoreError;

/// From one writing of counts to the next, unless there is a new name.
const PAUSE: TimeDelta = TimeDelta::minutes(1);

/// What one process knows of a project's table `argos.drift`. Lost with the process: at most a minute's counts.
#[derive(Debug, Default)]
pub struct Book {
    /// The lease's epoch that `stored` was read in; another writer may have added names since.
    epoch: i64,
    stored: BTreeSet<(String, String)>,
    pending: BTreeMap<(Named, String), u64>,
    written_at: Option<Timestamp>,
}

impl Book {
    /// Takes over what a committed page showed.
    pub fn note(&mut self, drift: &Drift) {
        for (key, count) in &drift.names {
            *self.pending.entry(key.clone()).or_default() += count;
        }
    }

    /// Whether there is something to be written now.
    pub fn due(&self, now: Timestamp, epoch: i64) -> bool {
        let rested = self.written_at.is_none_or(|at| now - at >= PAUSE);
        let new = |(named, name): &(Named, String)| !self.stored.contains(&(named.as_str().to_owned(), name.clone()));
        // Where there is no room for names, a new one is no news.
        let room = self.stored.len() < MOST_NAMES;
        !self.pending.is_empty() && (rested || epoch != self.epoch || (room && self.pending.keys().any(new)))
    }

    /// Writes what is pending, and returns the names that are new. In a transaction that only the leader can begin.
    pub async fn write(
        &mut self,
        connection: &mut PgConnection,
        project_id: &str,
        epoch: i64,
        now: Timestamp,
    ) -> Result<Vec<(Named, String)>, StoreError> {
        if epoch != self.epoch {
            self.stored = drift::names(connection, project_id).await?;
            self.epoch = epoch;
        }
        let (mut counts, mut new) = (BTreeMap::new(), Vec::new());
        for ((named, name), count) in &self.pending {
            let row = (named.as_str().to_owned(), name.clone());
            let known = self.stored.contains(&row);
            let room = known || self.stored.len() + new.len() < MOST_NAMES;
            let key = (*named, if room { name.clone() } else { OTHER.to_owned() });
            if room && !known {
                new.push(key.clone());
            }
            *counts.entry(key).or_default() += count;
        }
        drift::add(connection, project_id, &counts, now).await?;
        Ok(new)
    }

    /// What was pending is committed.
    pub fn written(&mut self, new: &[(Named, String)], now: Timestamp) {
        self.stored.extend(new.iter().map(|(named, name)| (named.as_str().to_owned(), name.clone())));
        self.pending.clear();
        self.written_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::drift::names;

    #[test]
    fn a_new_name_is_due_at_once_and_counts_after_a_minute() {
        let at = |seconds| Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let page = |field: &str| {
            let mut drift = Drift::new();
            names(&json!({field: 1}), &mut drift);
            drift
        };
        let mut book = Book { epoch: 1, ..Book::default() };
        book.note(&Drift::new());
        assert!(!book.due(at(0), 1), "nothing odd, nothing to do");
        book.note(&page("a"));
        assert!(book.due(at(0), 1));
        book.written(&[(Named::Field, "a".to_owned())], at(0));
        book.note(&page("a"));
        assert!(!book.due(at(59), 1) && book.due(at(60), 1));
        assert!(book.due(at(1), 2), "another writer may have written meanwhile");
        book.note(&page("b"));
        assert!(book.due(at(1), 1));
    }
}
