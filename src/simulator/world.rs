//! All submissions: the ones that live by their script, and the ones a test has laid over them.
//!
//! An index holds ids and creation times only. What an item says is worked out when it is asked for.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::item::{TOKEN, iso, item};
use super::person;
use super::timeline::Timeline;
use super::view;
use crate::clock::Timestamp;

/// The place of an item in a list: milliseconds of its creation, then its id.
pub(super) type Key = (i64, Arc<str>);

/// What a test has put in place of an item.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Laid {
    /// This item, and it no longer changes by itself.
    Item(Value),
    /// This text, word for word.
    Raw(String),
    /// Gone from every answer.
    Removed,
}

/// Where an indexed item comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Born as number n at this active time.
    Born(u64, i64),
    /// In the overlay.
    Laid,
}

/// What the state file keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) initial: u64,
    pub(super) history_ms: i64,
    pub(super) life: f64,
    pub(super) timeline: Timeline,
    /// Creation time in milliseconds, and what was laid, by id.
    pub(super) overlay: BTreeMap<String, (i64, Laid)>,
}

/// The state and its index.
pub(super) struct World {
    pub(super) state: State,
    index: BTreeMap<Key, Source>,
    keys: HashMap<Arc<str>, i64>,
    indexed: u64,
}

impl World {
    pub(super) fn new(state: State) -> Self {
        let mut world = Self { state, index: BTreeMap::new(), keys: HashMap::new(), indexed: 0 };
        for (id, (created, laid)) in &world.state.overlay {
            if !matches!(laid, Laid::Removed) {
                let id: Arc<str> = id.as_str().into();
                world.keys.insert(Arc::clone(&id), *created);
                world.index.insert((*created, id), Source::Laid);
            }
        }
        world
    }

    /// Adds what was born since the last call. Everything that looks at the index calls this first.
    pub(super) fn catch_up(&mut self, now: Timestamp) {
        let State { seed, initial, history_ms, .. } = self.state;
        let due = initial + self.state.timeline.births(now);
        while self.indexed < due {
            let n = self.indexed;
            self.indexed += 1;
            let birth = if n < initial {
                // Evenly over the history, each in the middle of its share.
                -history_ms + (history_ms as f64 * (n as f64 + 0.5) / initial as f64) as i64
            } else {
                self.state.timeline.birth(n - initial)
            };
            let id: Arc<str> = person::submission_id(seed, n).into();
            if self.state.overlay.contains_key(&*id) {
                continue;
            }
            let created = self.state.timeline.wall(birth).timestamp_millis();
            self.keys.insert(Arc::clone(&id), created);
            self.index.insert((created, id), Source::Born(n, birth));
        }
    }

    /// The indexed item with this id.
    pub(super) fn find(&self, id: &str) -> Option<(&Key, Source)> {
        let (id, created) = self.keys.get_key_value(id)?;
        self.index.get_key_value(&(*created, Arc::clone(id))).map(|(key, source)| (key, *source))
    }

    /// The index from just after `from` up to just before `to`, oldest first.
    pub(super) fn range(&self, range: (Bound<Key>, Bound<Key>)) -> impl DoubleEndedIterator<Item = (&Key, Source)> {
        // BTreeMap panics on an upside-down range; a period that ends before it starts simply holds nothing.
        let empty = match (&range.0, &range.1) {
            (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
            _ => false,
        };
        let range = if empty { (Bound::Excluded((i64::MAX, "".into())), Bound::Unbounded) } else { range };
        self.index.range(range).map(|(key, source)| (key, *source))
    }

    /// The item, or the text that stands in its place.
    pub(super) fn look(&self, key: &Key, source: Source, now: Timestamp) -> Result<Value, String> {
        let State { seed, life, ref timeline, ref overlay, .. } = self.state;
        match source {
            Source::Born(n, birth) => Ok(item(seed, n, life, timeline, birth, timeline.active(now))),
            Source::Laid => match overlay.get(&*key.1) {
                Some((_, Laid::Item(item))) => Ok(item.clone()),
                Some((_, Laid::Raw(text))) => Err(text.clone()),
                _ => Ok(Value::Null),
            },
        }
    }

    /// Every item as it is now, in full. A raw text that is no JSON value is shown as text under `_raw`.
    pub(super) fn truth(&self, now: Timestamp) -> Vec<Value> {
        let full = |(key, source)| match self.look(key, source, now) {
            Ok(item) => item,
            Err(text) => serde_json::from_str(&text).unwrap_or_else(|_| {
                let created_at = Timestamp::from_timestamp_millis(key.0).unwrap_or_default();
                serde_json::json!({"submission_id": *key.1, "created_at": iso(created_at), "_raw": text})
            }),
        };
        self.range((Bound::Unbounded, Bound::Unbounded)).map(full).map(|item| with_token(item, "truth")).collect()
    }

    /// Lays something over the item with this id.
    pub(super) fn lay(&mut self, id: &str, created: i64, laid: Laid) {
        if let Some(old) = self.keys.remove(id) {
            self.index.remove(&(old, id.into()));
        }
        if !matches!(laid, Laid::Removed) {
            let id: Arc<str> = id.into();
            self.keys.insert(Arc::clone(&id), created);
            self.index.insert((created, id), Source::Laid);
        }
        self.state.overlay.insert(id.to_owned(), (created, laid));
    }

    /// Inserts an item or replaces the one with its id. Without a readable created_at it keeps its old place, or is
    /// listed as created now.
    pub(super) fn put(&mut self, item: Value, now: Timestamp) {
        self.catch_up(now);
        let id = item["submission_id"].as_str().unwrap_or_default().to_owned();
        let given = item["created_at"].as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
        let created = given.map(|at| at.timestamp_millis()).or_else(|| self.keys.get(&*id).copied());
        self.lay(&id, created.unwrap_or_else(|| now.timestamp_millis()), Laid::Item(item));
    }

    /// Changes an item with `change`. From then on it stays as it is.
    fn change(&mut self, id: &str, now: Timestamp, change: impl FnOnce(Value) -> Value) {
        self.catch_up(now);
        let Some((key, source)) = self.find(id) else {
            return;
        };
        let seen = self.look(key, source, now).or_else(|text| serde_json::from_str(&text));
        match seen {
            Ok(item) => self.put(change(item), now),
            Err(_) => tracing::warn!(id, "simulator: a raw item that is no JSON cannot be changed"),
        }
    }

    pub(super) fn patch(&mut self, id: &str, patch: Value, now: Timestamp) {
        self.change(id, now, |mut item| {
            view::merge(&mut item, patch);
            item
        });
    }

    pub(super) fn blank(&mut self, id: &str, now: Timestamp) {
        self.change(id, now, |item| item.as_object().map_or(Value::Null, |map| Value::Object(view::blank(map))));
    }

    pub(super) fn remove(&mut self, id: &str, now: Timestamp) {
        self.catch_up(now);
        self.lay(id, 0, Laid::Removed);
    }
}

/// Fills a token into the links of an item.
fn with_token(mut item: Value, token: &str) -> Value {
    match &mut item {
        Value::String(text) if text.contains(TOKEN) => *text = text.replace(TOKEN, token),
        Value::Array(all) => all.iter_mut().for_each(|one| *one = with_token(one.take(), token)),
        Value::Object(all) => all.values_mut().for_each(|one| *one = with_token(one.take(), token)),
        _ => {}
    }
    item
}
