//! Turns one raw item into a submission, or says why it cannot be one.

use serde_json::Value;

use super::envelope::RawItem;
use super::scan::{exponents, nesting};
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
    pub const REASONS: [&'static str; 8] = [
        "no_id",
        "too_large",
        "too_many_values",
        "too_deep",
        "too_many_children",
        "numbers_too_long",
        "not_json",
        "refused_by_database",
    ];

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
    if raw.is_heavy() {
        return refuse("too_many_values", "the item is made of so many values that they would fill the memory");
    }
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
    use crate::domain::change::news;
    use crate::domain::field::{ATTEMPT, BANK, MATCH, SUBMISSION};
    use crate::domain::submission::State;

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
    fn p10_p12_an_item_of_very_many_values_is_refused_before_it_is_decoded() {
        let limits = Limits { item_bytes: 1 << 20, item_depth: 64, ..limits() };
        let reason = |json: &str| {
            let raw = RawItem { json, submission_id: Some("s") };
            decode(raw, &limits, &mut Drift::new()).err().map(|refusal| refusal.reason)
        };
        let of = |value: &str, count| format!("{{\"x\":[{}]}}", vec![value; count].join(","));
        assert_eq!(reason(&of("1", 500_000)), Some("too_many_values"));
        assert_eq!(reason(&of("{\"\":0}", 100_000)), Some("too_many_values"));
        // As many attempts as are let in, each with every documented member.
        let attempt =
            format!("{{{},\"liveness\":{{\"a\":1}},\"verification\":{{\"a\":1}}}}", vec!["\"member\":1"; 30].join(","));
        assert_eq!(reason(&of(&attempt, 2_000)), None);
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

        #[test]
        fn p10_whatever_json_an_item_is_it_is_decoded_or_refused(item in any_json()) {
            let limits = Limits { item_depth: 4, ..limits() };
            let mut counts = Drift::new();
            let raw = RawItem { json: &item.to_string(), submission_id: Some("s") };
            if let Ok(submission) = decode(raw, &limits, &mut counts) {
                let state = &submission.state;
                prop_assert_eq!(&State::of(state.value()), state);
                let attempts = submission.attempt_rows(&mut counts).len();
                prop_assert!(attempts <= limits.item_children);
                submission.row(&mut counts);
                submission.match_rows(&mut counts);
                submission.bank_row(&mut counts);
                state.reject_codes();
                state.unknown_values(&mut counts);
                prop_assert!(news(None, state).len() > attempts);
            }
        }
    }

    /// Any JSON, with the documented names in whatever place.
    fn any_json() -> impl Strategy<Value = Value> {
        let numbers = ["0", "-1.50", "1e400", "1e-400", "123456789012345678901234567890", "1e99999"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            prop::sample::select(numbers.to_vec()).prop_map(|number| serde_json::from_str(number).unwrap()),
            prop::sample::select(vec!["Red Flag", "approved", "2026-01-01T00:00:00Z", "99", "\0", "\u{202e}x"])
                .prop_map(Value::from),
        ];
        let documented =
            SUBMISSION.iter().chain(ATTEMPT).chain(MATCH).chain(BANK).flat_map(|field| field.path.iter().copied());
        let names: Vec<&str> =
            documented.chain(["attempts", "matches", "bank_verification", "retry_countj", ""]).collect();
        // The ones with structure more often.
        let names = [names, ["kyc", "aml", "attempts", "matches", "bank_verification", "data"].repeat(12)].concat();
        leaf.prop_recursive(5, 60, 6, move |inner| {
            let members = prop::collection::btree_map(prop::sample::select(names.clone()), inner.clone(), 0..6);
            let object =
                members.prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
            prop_oneof![prop::collection::vec(inner, 0..5).prop_map(Value::Array), object.prop_map(Value::Object)]
        })
    }
}
