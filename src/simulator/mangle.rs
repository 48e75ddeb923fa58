//! Faults that spoil the items of a page.

use serde_json::{Value, json};

use super::faults::{Fault, Mischief};
use super::rng::Rng;
use super::world::Key;

/// A text that no item contains, replaced by what no JSON library would write.
const HERE: &str = "@@HERE@@";

/// Spoils a page as the faults say.
pub(super) fn mangle(items: &mut Vec<(Key, String)>, mischief: &mut Mischief, seed: u64, request: u64) {
    if items.is_empty() {
        return;
    }
    let mut happens = |fault| mischief.happens(fault, request).is_some();
    if happens(Fault::NarrowedKey) {
        for (_, text) in items.iter_mut() {
            change(text, |item| {
                drop(item.as_object_mut().and_then(|map| map.remove("data")));
            });
        }
    }
    if happens(Fault::Retyped) {
        for (_, text) in items.iter_mut() {
            change(text, retype);
        }
    }
    if happens(Fault::Shuffle) {
        Rng::of(seed, request, "shuffle").shuffle(items);
    }
    let mut first = 0;
    if happens(Fault::BadItem) {
        let key = items[0].0.clone();
        let mut nameless = items[0].1.clone();
        change(&mut nameless, |item| {
            drop(item.as_object_mut().and_then(|map| map.remove("submission_id")));
        });
        if let Some((_, last)) = items.last_mut() {
            change(last, |item| item["reviewer"] = json!({"by": "agent"}));
        }
        items.insert(0, (key.clone(), nameless));
        items.push((key, "\"not an object\"".to_owned()));
        first = 1;
    }
    let (huge, nul) = (happens(Fault::HugeNumber), happens(Fault::NullChars));
    let text = &mut items[first].1;
    change(text, |item| {
        if huge {
            item["id_LivenessScore"]["Screen_play"] = json!(HERE);
        }
        if nul {
            item["data"]["cf3"] = json!(format!("a{HERE}b"));
        }
    });
    // Only now: writing the item again would refuse the surrogate and write the number in another way.
    *text = text.replace(&format!("\"{HERE}\""), "1e400").replace(HERE, r"\u0000\ud800");
}

/// Applies a change to a text that is a JSON object; leaves other texts alone.
fn change(text: &mut String, change: impl FnOnce(&mut Value)) {
    let Ok(mut item @ Value::Object(_)) = serde_json::from_str(text) else {
        return;
    };
    for object in ["data", "id_LivenessScore"] {
        // Indexing makes objects out of nothing, but panics on other values.
        if item.get(object).is_some_and(|value| !value.is_object()) {
            return;
        }
    }
    change(&mut item);
    *text = item.to_string();
}

/// The other shapes that the documents and samples disagree about.
fn retype(item: &mut Value) {
    for name in ["comment", "commentCode"] {
        if let Some(value) = item.pointer_mut(&format!("/kyc/{name}"))
            && let Some(first) = value.get(0)
        {
            *value = first.clone();
        }
    }
    if let Some(list) = item.get_mut("additional_list")
        && let Some(first) = list.get(0)
    {
        *list = first.clone();
    }
    if let Some(bank) = item.get_mut("bank_verification") {
        rename(bank, "retry_count", "retry_countj");
    }
    rename(item, "Injection_action", "injection_action");
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Value::Object(map) = object
        && let Some(value) = map.remove(from)
    {
        map.insert(to.to_owned(), value);
    }
}
