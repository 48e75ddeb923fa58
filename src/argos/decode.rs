//! Turns one raw item into a submission, or says why it cannot be one.

use serde_json::Value;

use super::envelope::RawItem;
use crate::config::Limits;
use crate::domain::drift::{self, Drift, drift};
use crate::domain::submission::Submission;

/// Why an item cannot be used. It goes to the quarantine; its page goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A short name: the quarantine's `reason`.
    pub reason: &'static str,
    /// What it means, for the operator. Never holds data.
    pub detail: &'static str,
}

impl Refusal {
    /// All reasons, for metrics that stand at 0 from the start.
    pub const REASONS: [&'static str; 7] =
        ["no_id", "too_large", "too_deep", "too_many_children", "numbers_too_long", "not_json", "refused_by_database"];

    /// PostgreSQL refused the item when it was to be written.
    pub const BY_DATABASE: Self = Self {
        reason: "refused_by_database",
        detail: "PostgreSQL refuses a value in this item, most likely a number beyond its range",
    };
}

/// Decodes an item. Counts what is odd about it in `counts`.
pub fn decode(raw: RawItem<'_>, limits: &Limits, counts: &mut Drift) -> Result<Submission, Refusal> {
    let refuse = |reason, detail| Err(Refusal { reason, detail });
    if raw.json.len() > limits.item_bytes {
        return refuse("too_large", "the item is larger than limits.item_bytes");
    }
    let Some(submission_id) = raw.submission_id else {
        return refuse("no_id", "the item has no submission_id of 1 to 256 characters without control characters");
    };
    let text = without_refused_characters(raw.json);
    if text.is_some() {
        drift(counts, "replaced_characters");
    }
    // The parser's own limit is 128 levels; an item beyond it does not parse.
    let item = match serde_json::from_str::<Value>(text.as_deref().unwrap_or(raw.json)) {
        Ok(item) => item,
        Err(_) if nesting(raw.json) > limits.item_depth => return refuse("too_deep", TOO_DEEP),
        Err(_) => return refuse("not_json", "the item is not valid JSON"),
    };
    if nesting(raw.json) > limits.item_depth {
        return refuse("too_deep", TOO_DEEP);
    }
    let children = |list: &str, of: &str| item.get(of).and_then(|of| of.get(list)?.as_array()).map_or(0, Vec::len);
    if children("attempts", "kyc").max(children("matches", "aml")) > limits.item_children {
        return refuse("too_many_children", "the item has more attempts or matches than limits.item_children");
    }
    if exponents(raw.json) > LONGEST_NUMBERS {
        return refuse("numbers_too_long", "the item's numbers, written in full, are far longer than the item");
    }
    drift::names(&item, counts);
    Ok(Submission::new(submission_id.to_owned(), item))
}

const TOO_DEEP: &str = "the item is nested deeper than limits.item_depth";

/// Digits that the exponents of an item's numbers may stand for. PostgreSQL keeps `1e100000` in a few bytes and writes it
/// in full whenever it is read: a small item of such numbers would fill its memory, and ours.
const LONGEST_NUMBERS: usize = 20_000;

/// How many digits the exponents in a JSON text stand for.
fn exponents(json: &str) -> usize {
    let (mut sum, mut in_text, mut escaped, mut before) = (0usize, false, false, 0u8);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'e' | b'E' if !in_text && before.is_ascii_digit() => {
                let digits = json[at + 1..].trim_start_matches(['+', '-']).bytes().take_while(u8::is_ascii_digit);
                let exponent =
                    digits.fold(0usize, |sum, digit| sum.saturating_mul(10).saturating_add((digit - b'0').into()));
                sum = sum.saturating_add(exponent);
            }
            _ => {}
        }
        before = byte;
    }
    sum
}

/// The deepest nesting of objects and lists in a JSON text.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Replaces the escapes that PostgreSQL's jsonb refuses, `\u0000` and lone surrogates, by U+FFFD. `None`: there are none.
fn without_refused_characters(json: &str) -> Option<String> {
    if !json.contains("\\u") {
        return None;
    }
    let unit = |at: usize| -> Option<u16> {
        let hex = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(hex, 16).ok()
    };
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(found) = json[at..].find('\\') {
        let escape = at + found;
        at = match unit(escape) {
            // A pair of surrogates is one character.
            Some(0xd800..=0xdbff) if matches!(unit(escape + 6), Some(0xdc00..=0xdfff)) => escape + 12,
            Some(0 | 0xd800..=0xdfff) => {
                out.push_str(&json[copied..escape]);
                out.push_str("\\ufffd");
                copied = escape + 6;
                copied
            }
            Some(_) => escape + 6,
            // Any other escape: a backslash and one character, which may be another backslash.
            None => escape + 1 + json[escape + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&json[copied..]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> Limits {
        Limits { item_bytes: 10_000, item_depth: 8, item_children: 3, page_items: 10, walk_pages: 10 }
    }

    fn reason(json: &str, id: Option<&str>) -> Option<&'static str> {
        decode(RawItem { json, submission_id: id }, &limits(), &mut Drift::new()).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn p10_unusable_items_say_why() {
        assert_eq!(reason("{}", None), Some("no_id"));
        assert_eq!(reason(&format!("{{\"a\":\"{}\"}}", "x".repeat(10_000)), Some("s")), Some("too_large"));
        assert_eq!(reason(&format!("{{\"a\":{}{}}}", "[".repeat(8), "]".repeat(8)), Some("s")), Some("too_deep"));
        assert_eq!(reason(&format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500)), Some("s")), Some("too_deep"));
        assert_eq!(reason("{\"kyc\":{\"attempts\":[1,2,3,4]}}", Some("s")), Some("too_many_children"));
        assert_eq!(reason("{\"a\":tru}", Some("s")), Some("not_json"));
        assert_eq!(reason("{\"a\":[1e15000,-2.5E-5001]}", Some("s")), Some("numbers_too_long"));
        assert_eq!(reason("{\"a\":1e99999999999999999999999}", Some("s")), Some("numbers_too_long"));
        assert_eq!(reason("{\"1e99999\":\"2e99999 \\\"3e99999\",\"a\":[1e15000,1e+400,true]}", Some("s")), None);
        assert_eq!(reason("{\"a\":\"[[[[[[[[[[[[\\\"[[\"}", Some("s")), None);
    }

    #[test]
    fn characters_that_jsonb_refuses_are_replaced() {
        for (json, expected) in [
            (r#""a\u0000b""#, Some(r#""a\ufffdb""#)),
            (r#""\ud800""#, Some(r#""\ufffd""#)),
            (r#""\ud800\u0041\udc00""#, Some(r#""\ufffd\u0041\ufffd""#)),
            (r#""\ud83d\ude00""#, None),
            (r#""\\u0000""#, None),
            (r#""\\\u0000""#, Some(r#""\\\ufffd""#)),
            (r#""\u00e9""#, None),
        ] {
            assert_eq!(without_refused_characters(json).as_deref(), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn decode_never_panics(json in "[\\[\\]{}\",:\\\\u0-9a-fd8 é]{0,60}") {
            let _ = reason(&json, Some("s"));
            if let Some(text) = without_refused_characters(&json) {
                prop_assert_eq!(without_refused_characters(&text), None);
            }
        }
    }
}
