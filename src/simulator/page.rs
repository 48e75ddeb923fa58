//! One page of the list: which items, in which order, and the key of the next page.

use std::ops::Bound;

use serde_json::Value;

use super::Order;
use super::item::TOKEN;
use super::person;
use super::query::{Ask, midnight};
use super::rng::Rng;
use super::view;
use super::world::{Key, Source, World};
use crate::clock::Timestamp;

/// How the server makes its lists.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) order: Order,
    /// Orders items of the same moment, for a whole walk; `None`: by their ids.
    pub(super) ties: Option<u64>,
    pub(super) thin: bool,
    pub(super) dates: Dates,
    /// Whether the day of end_date is left out.
    pub(super) end_excluded: bool,
    /// Items younger than this many milliseconds are not listed yet.
    pub(super) lag: i64,
    /// The token that expiring links get this time.
    pub(super) token: String,
}

/// What start_date and end_date are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dates {
    /// The creation day in a zone so many hours east of UTC.
    Created(i64),
    /// The UTC day of updated_at.
    Updated,
    /// Nothing.
    Ignored,
}

/// A page: JSON texts with their keys.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) items: Vec<(Key, String)>,
    pub(super) next: Option<Key>,
}

/// Stands between a cursor's id and its salt.
const SALT: char = '~';

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The page that answers `ask`.
pub(super) fn page(world: &World, ask: &Ask, manner: &Manner, now: Timestamp) -> Page {
    let mut page = Page::default();
    if let Some(id) = &ask.id {
        if let Some((key, source)) = world.find(id)
            && wanted(world, ask, manner, key, source, now)
        {
            page.items.push((key.clone(), text(world, key, source, ask, manner, now)));
        }
        return page;
    }
    for (key, source) in walk(world, ask, manner) {
        if now.timestamp_millis() - key.0 < manner.lag || !wanted(world, ask, manner, key, source, now) {
            continue;
        }
        if page.items.len() == ask.count {
            // There is another one, so there is another page.
            page.next = page.items.last().map(|(key, _)| key.clone());
            break;
        }
        page.items.push((key.clone(), text(world, key, source, ask, manner, now)));
    }
    page
}

/// The item at a key, as a list shows it.
pub(super) fn at(world: &World, key: &Key, ask: &Ask, manner: &Manner, now: Timestamp) -> Option<(Key, String)> {
    let (found, source) = world.find(&key.1)?;
    Some((found.clone(), text(world, found, source, ask, manner, now)))
}

/// The key that led to the page before the one at the cursor.
pub(super) fn before(world: &World, ask: &Ask, manner: &Manner) -> Option<Key> {
    let cursor = ask.cursor.as_ref()?;
    let all = Ask { cursor: None, ..ask.clone() };
    let mut last = std::collections::VecDeque::new();
    for (key, _) in walk(world, &all, manner).take_while(|(key, _)| *key != cursor) {
        last.push_back(key);
        if last.len() > ask.count {
            last.pop_front();
        }
    }
    last.front().filter(|_| last.len() == ask.count).map(|key| (*key).clone())
}

/// A key between the cursor (or the start) and the first item, so that the next page begins with that item. `-` sorts
/// before every letter and digit. Asking again from such a key does not make another one.
pub(super) fn gap(ask: &Ask, first: &Key, manner: &Manner) -> Option<Key> {
    let after = |key: &Key| (key.0, format!("{}-", key.1).into());
    match (&ask.cursor, manner.order) {
        // A name does not say where among its ties it would stand.
        _ if manner.ties.is_some() => None,
        (Some(cursor), _) if cursor.1.ends_with('-') => None,
        (Some(cursor), Order::OldestFirst) => Some(after(cursor)),
        (None, Order::OldestFirst) => Some((first.0, "-".into())),
        (_, Order::NewestFirst) => Some(after(first)),
    }
}

type Walk<'a> = Box<dyn Iterator<Item = (&'a Key, Source)> + 'a>;

/// The index in list order, from the cursor on, inside the days.
fn walk<'a>(world: &'a World, ask: &Ask, manner: &Manner) -> Walk<'a> {
    let (mut low, mut high): (Key, Key) = ((i64::MIN, "".into()), (i64::MAX, "".into()));
    if let Dates::Created(east) = manner.dates {
        if let Some(from) = ask.from {
            low.0 = midnight(from) - east * HOUR;
        }
        if let Some(to) = ask.to {
            high.0 = midnight(to) - east * HOUR + if manner.end_excluded { 0 } else { DAY };
        }
    }
    let shuffled = manner.ties.is_some();
    match (&ask.cursor, manner.order) {
        // All of the cursor's moment: `shuffle_ties` finds its place there.
        (Some(cursor), Order::OldestFirst) if shuffled => low = low.max((cursor.0, "".into())),
        (Some(cursor), Order::NewestFirst) if shuffled => high = high.min((cursor.0 + 1, "".into())),
        (Some(cursor), Order::OldestFirst) => low = low.max(cursor.clone()),
        (Some(cursor), Order::NewestFirst) => high = high.min(cursor.clone()),
        (None, _) => {}
    }
    // No item has an empty id, so that excluding such a key leaves nothing out.
    let range = world.range((Bound::Excluded(low), Bound::Excluded(high)));
    let ordered: Walk<'a> = match manner.order {
        Order::OldestFirst => Box::new(range),
        Order::NewestFirst => Box::new(range.rev()),
    };
    match manner.ties {
        None => ordered,
        Some(salt) => shuffle_ties(ordered, ask.cursor.clone(), salt),
    }
}

/// Items of the same moment in an order that the salt decides, each behind the cursor. With one salt the cursor divides
/// the list, whatever comes or goes meanwhile.
fn shuffle_ties(ordered: Walk<'_>, cursor: Option<Key>, salt: u64) -> Walk<'_> {
    let place = move |key: &Key| (Rng::of(salt, 0, &key.1).next(), key.1.clone());
    let mut rest = ordered.peekable();
    let moments = std::iter::from_fn(move || {
        let first = rest.next()?;
        let mut ties = vec![first];
        ties.extend(std::iter::from_fn(|| rest.next_if(|(key, _)| key.0 == first.0.0)));
        ties.sort_by_cached_key(|(key, _)| place(key));
        Some(ties)
    });
    let passed = cursor.map(|cursor| (cursor.0, place(&cursor)));
    let behind = move |key: &Key| passed.as_ref().is_none_or(|(at, last)| key.0 != *at || place(key) > *last);
    Box::new(moments.flatten().filter(move |(key, _)| behind(key)))
}

/// The salt that a cursor carries, and the cursor without it.
pub(super) fn unsalt(cursor: &Key) -> Option<(Key, u64)> {
    let (id, salt) = cursor.1.rsplit_once(SALT)?;
    Some(((cursor.0, id.into()), salt.parse().ok()?))
}

/// A cursor that carries a salt.
pub(super) fn salted(cursor: &Key, salt: u64) -> Key {
    (cursor.0, format!("{}{SALT}{salt}", cursor.1).into())
}

fn wanted(world: &World, ask: &Ask, manner: &Manner, key: &Key, source: Source, now: Timestamp) -> bool {
    let by_update = manner.dates == Dates::Updated && (ask.from.is_some() || ask.to.is_some()) && ask.id.is_none();
    if ask.email.is_none() && ask.userid.is_none() && !by_update {
        return true;
    }
    if let Source::Born(n, _) = source {
        // Ask the cheap functions first: most submissions are someone else's.
        let seed = world.state.seed;
        if (ask.email.is_some() && person::email(seed, n) != ask.email)
            || (ask.userid.is_some() && person::userid(seed, n) != ask.userid)
        {
            return false;
        }
        if !by_update {
            return true;
        }
    }
    let item = world.look(key, source, now).or_else(|text| serde_json::from_str(&text)).unwrap_or(Value::Null);
    let same = |name: &str, asked: &Option<String>| asked.is_none() || item[name].as_str() == asked.as_deref();
    if !same("email", &ask.email) || !same("userid", &ask.userid) {
        return false;
    }
    let day =
        item["updated_at"].as_str().or(item["created_at"].as_str()).and_then(|at| at.get(..10)).unwrap_or_default();
    // Written alike, days compare as text.
    !by_update
        || (ask.from.is_none_or(|from| *day >= *from.to_string())
            && ask.to.is_none_or(|to| *day < *to.to_string() || (!manner.end_excluded && *day == *to.to_string())))
}

fn text(world: &World, key: &Key, source: Source, ask: &Ask, manner: &Manner, now: Timestamp) -> String {
    let mut item = match world.look(key, source, now) {
        Ok(item) => item,
        Err(raw) => return raw,
    };
    if let Value::Object(map) = &mut item {
        match ask.subset {
            Some(subset) => subset.cut(map),
            None if manner.thin && ask.id.is_none() => view::thin(map),
            None => {}
        }
    }
    item.to_string().replace(TOKEN, &manner.token)
}
