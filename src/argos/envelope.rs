//! Splits an answer into raw items without decoding them.

use std::fmt::{self, Write};
use std::ops::Range;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::cipher::Cipher;
use super::error::{ApiError, known_code};
use super::query::Cursor;
use super::scan::{self, HEAVIEST_ITEM, HEAVIEST_PAGE};
use super::sealed::{self, Sealed, Shape};

/// A page of raw items.
#[derive(Default)]
pub struct Page {
    body: String,
    items: Vec<(Range<usize>, Option<String>)>,
    /// `nextpageKey`; `None` on the last page.
    pub next: Option<Cursor>,
    /// Whether the body was not UTF-8 and characters were replaced.
    pub replaced: bool,
    /// Whether the answer was encrypted.
    pub sealed: bool,
}

/// An item as it was sent.
#[derive(Clone, Copy)]
pub struct RawItem<'a> {
    /// The JSON text.
    pub json: &'a str,
    /// `submission_id`, if it is usable: a string of 1 to 256 characters, none of them control.
    pub submission_id: Option<&'a str>,
}

impl RawItem<'_> {
    /// Whether it would take so much memory that it must not be decoded.
    pub fn is_heavy(self) -> bool {
        scan::weight(self.json) > HEAVIEST_ITEM
    }
}

impl Page {
    /// The items, in the page's order.
    pub fn items(&self) -> impl ExactSizeIterator<Item = RawItem<'_>> {
        self.items.iter().map(|(range, id)| RawItem { json: &self.body[range.clone()], submission_id: id.as_deref() })
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none. An empty page may still have a next key.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Splits the body of a success answer, and decrypts it first if it is encrypted. `missing_is_empty`: whether an
    /// object without `Items` means "nothing found" (asked for one id; how the vendor says "not found" is not
    /// documented) or is an error (a list).
    pub fn split(
        body: Vec<u8>,
        cipher: Option<&Cipher>,
        max_items: usize,
        missing_is_empty: bool,
    ) -> Result<Self, ApiError> {
        let (body, replaced) = match String::from_utf8(body) {
            Ok(body) => (body, false),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
        };
        if let Some(cipher) = cipher
            && let Some(sealed) = Sealed::find(&body)?
        {
            let page = Self::split_plain(sealed.open(cipher)?, false, max_items, missing_is_empty);
            let mut page = page.map_err(|error| match error {
                ApiError::NotAList { .. } => ApiError::Undecryptable { what: "it comes out as JSON, but as no list" },
                ApiError::Encrypted => ApiError::Undecryptable { what: "it comes out as encrypted once more" },
                other => other,
            })?;
            page.sealed = true;
            page.next = page.next.or(sealed.next);
            return Ok(page);
        }
        Self::split_plain(body, replaced, max_items, missing_is_empty)
    }

    fn split_plain(body: String, replaced: bool, max_items: usize, missing_is_empty: bool) -> Result<Self, ApiError> {
        match parts(&body, max_items, missing_is_empty) {
            Ok((items, next)) => Ok(Self { items, next, replaced, body, sealed: false }),
            // A control character that one item does not escape must not cost the page.
            Err(error @ ApiError::NotAList { what: NOT_JSON }) => {
                let body = with_controls_escaped(&body).ok_or(error)?;
                let (items, next) = parts(&body, max_items, missing_is_empty)?;
                Ok(Self { items, next, replaced: true, body, sealed: false })
            }
            Err(error) => Err(error),
        }
    }
}

/// So many control characters may stand in any answer; in a long one, as many as an indented list has.
const MOST_CONTROLS: usize = 100_000;

const NOT_JSON: &str = "not the documented JSON";

/// Where the items stand in a body, with their ids, and the key of the next page.
type Parts = (Vec<(Range<usize>, Option<String>)>, Option<Cursor>);

fn parts(body: &str, max_items: usize, missing_is_empty: bool) -> Result<Parts, ApiError> {
    let not_a_list = |what| ApiError::NotAList { what };
    let text = body.trim_start_matches('\u{feff}').trim();
    if sealed::quoted(text).is_some() {
        return Err(ApiError::Encrypted);
    }
    if !text.starts_with('{') {
        return Err(not_a_list(if text.starts_with('<') { "HTML" } else { "not a JSON object" }));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => not_a_list("truncated JSON"),
        _ => not_a_list(NOT_JSON),
    })?;
    envelope.refuse_what_is_no_list()?;
    let items = match envelope.items {
        Some(items) => split_list(items.get(), max_items)?,
        // An item would be found where none was taken for the answer: better no answer.
        None if envelope.submission_id.is_some() => return Err(not_a_list("a submission without Items around it")),
        None if missing_is_empty => Vec::new(),
        None => return Err(not_a_list("a JSON object without Items")),
    };
    // One that is too heavy is not decoded.
    let weights = items.iter().map(|item| scan::weight(item.get())).filter(|weight| *weight <= HEAVIEST_ITEM);
    if weights.sum::<usize>() > HEAVIEST_PAGE {
        return Err(ApiError::TooLarge { limit: format!("{HEAVIEST_PAGE} bytes in memory") });
    }
    let next = envelope.nextpage_key.map(cursor).transpose()?.flatten();
    let start = body.as_ptr().addr();
    let place = |item: &RawValue| {
        let from = item.get().as_ptr().addr() - start;
        (from..from + item.get().len(), submission_id(item.get()))
    };
    Ok((items.into_iter().map(place).collect(), next))
}

/// The elements of `Items`, as they were sent. A list that is too long is not read to its end: a body within the limit can
/// hold millions of elements.
fn split_list(list: &str, max_items: usize) -> Result<Vec<&RawValue>, ApiError> {
    struct List {
        most: usize,
    }
    impl<'de> Visitor<'de> for List {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element()? {
                if items.len() == self.most {
                    return Err(Error::custom("too many"));
                }
                items.push(item);
            }
            Ok(items)
        }
    }
    if !list.starts_with('[') {
        return Err(ApiError::NotAList { what: NOT_JSON });
    }
    // It is JSON, or the envelope could not have been read: what fails is its length.
    let too_large = |_| ApiError::TooLarge { limit: format!("{max_items} items, limits.page_items") };
    serde_json::Deserializer::from_str(list).deserialize_seq(List { most: max_items }).map_err(too_large)
}

/// Escapes the control characters inside texts, which JSON does not allow there. `None`: there are none, or so many that
/// this is no text any more; escaped they take six times their place.
fn with_controls_escaped(body: &str) -> Option<String> {
    let (mut out, mut in_text, mut escaped, mut any) = (String::new(), false, false, false);
    let controls = body.bytes().filter(|byte| *byte < b' ').count();
    if !(1..=MOST_CONTROLS.max(body.len() / 8)).contains(&controls) {
        return None;
    }
    for c in body.chars() {
        if in_text && c < ' ' {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
            any = true;
        } else {
            out.push(c);
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ => {}
        }
    }
    any.then_some(out)
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "Items")]
    items: Option<&'a RawValue>,
    #[serde(borrow, rename = "nextpageKey")]
    nextpage_key: Option<&'a RawValue>,
    #[serde(borrow, rename = "isEncrypted")]
    is_encrypted: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    success: Option<&'a RawValue>,
    #[serde(borrow, rename = "errorCode")]
    error_code: Option<&'a RawValue>,
    #[serde(borrow)]
    submission_id: Option<&'a RawValue>,
}

impl Envelope<'_> {
    fn refuse_what_is_no_list(&self) -> Result<(), ApiError> {
        let is = |value: Option<&RawValue>, text: &str| value.is_some_and(|value| value.get() == text);
        let shape = Shape { items: self.items.is_some(), flag: self.is_encrypted, data: self.data, body: self.body };
        if shape.is_sealed() {
            return Err(ApiError::Encrypted);
        }
        let code = self.error_code.and_then(|code| serde_json::from_str::<String>(code.get()).ok());
        if is(self.success, "false") || (code.is_some() && self.items.is_none()) {
            let code = code.as_deref().and_then(known_code);
            return Err(match code {
                Some("invalid_project" | "invalid_admin") => ApiError::KeyRefused { status: 200, code },
                Some("invalid_payload" | "missing_data" | "invalid_parameter" | "invalid_format") => {
                    ApiError::BadRequest { status: 200, code }
                }
                _ => ApiError::ErrorInSuccess { code },
            });
        }
        Ok(())
    }
}

/// Reads `nextpageKey`. Absent, `null` and `{}` mean the last page; a key that lacks a part cannot be sent back, and
/// taking it for the end would pass a part of the list for the whole.
pub(super) fn cursor(key: &RawValue) -> Result<Option<Cursor>, ApiError> {
    let error = ApiError::NotAList { what: "its nextpageKey is not an id and a created_at" };
    let Ok(value) = serde_json::from_str::<serde_json::Value>(key.get()) else { return Err(error) };
    match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::Object(map) if map.is_empty() => Ok(None),
        serde_json::Value::Object(map) => {
            let part = |name: &str| match map.get(name) {
                Some(serde_json::Value::String(text)) => Some(text.clone()),
                Some(serde_json::Value::Number(number)) => Some(number.to_string()),
                _ => None,
            };
            // It must be kept in the database and sent in a URL.
            let part = |name| part(name).filter(|text| text.len() <= 1024 && !text.chars().any(char::is_control));
            match (part("id"), part("created_at")) {
                (Some(id), Some(created_at)) => Ok(Some(Cursor { id, created_at })),
                _ => Err(error),
            }
        }
        _ => Err(error),
    }
}

/// The usable `submission_id` of a raw item, if it is an object and has one; of equal keys the last counts, as in any
/// JSON reader that keeps one.
fn submission_id(item: &str) -> Option<String> {
    struct LastId;
    impl<'de> Visitor<'de> for LastId {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut id = None;
            while let Some(key) = map.next_key::<&RawValue>()? {
                if key.get() == "\"submission_id\"" {
                    id = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(id)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(item);
    // An item that cannot be read to its end has no usable id either; decoding it will say why.
    let id = deserializer.deserialize_map(LastId).ok()??;
    let id: String = serde_json::from_str(id.get()).ok()?;
    let usable = (1..=256).contains(&id.chars().count()) && !id.chars().any(char::is_control);
    usable.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(body: &str) -> Result<Page, ApiError> {
        Page::split(body.as_bytes().to_vec(), None, 10, false)
    }

    #[test]
    fn splits_and_finds_ids() {
        let page = split("\u{feff} {\"Items\":[ {\"submission_id\":\"a\"} , 7, {\"submission_id\":\"b\",\"x\":{\"submission_id\":\"c\"},\"submission_id\":\"\\u0064\"},{\"submission_id\":\"\\u0000\"},{\"submission_id\":\"\\ud800\"},{\"submission_id\":\"\"}],\"nextpageKey\":{\"id\":\"d\",\"created_at\":\"2022-04-07T00:30:35.919Z\"}}").unwrap();
        let ids: Vec<_> = page.items().map(|item| item.submission_id.map(str::to_owned)).collect();
        assert_eq!(ids, [Some("a".to_owned()), None, Some("d".to_owned()), None, None, None]);
        assert_eq!(page.items().next().unwrap().json, "{\"submission_id\":\"a\"}");
        let next = Cursor { id: "d".to_owned(), created_at: "2022-04-07T00:30:35.919Z".to_owned() };
        assert_eq!(page.next, Some(next));
    }

    #[test]
    fn the_last_page_has_no_key() {
        for body in ["{\"Items\":[]}", "{\"Items\":[],\"nextpageKey\":null}", "{\"Items\":[],\"nextpageKey\":{}}"] {
            assert_eq!(split(body).unwrap().next, None);
        }
    }

    #[test]
    fn p10_a_control_character_does_not_cost_the_page() {
        let page = split(
            "{\"Items\":[\n{\"submission_id\":\"a\",\"x\":\"one\ntwo\u{1}\\\"\u{0}\"},\t{\"submission_id\":\"b\"}]}",
        )
        .unwrap();
        assert!(page.replaced);
        let items: Vec<_> = page.items().map(|item| item.json.to_owned()).collect();
        assert_eq!(items[0], r#"{"submission_id":"a","x":"one\u000atwo\u0001\"\u0000"}"#);
        assert_eq!(page.items().nth(1).unwrap().submission_id, Some("b"));
        let pretty = split("{\n\t\"Items\": []\n}").unwrap();
        assert!(!pretty.replaced);
    }

    #[test]
    fn p12_a_body_of_control_characters_is_not_blown_up() {
        let body =
            |controls| format!("{{\"Items\":[{{\"submission_id\":\"a\",\"x\":\"{}\"}}]}}", "\n".repeat(controls));
        let split = |body: String| Page::split(body.into_bytes(), None, 10, false);
        assert!(split(body(1_000)).unwrap().replaced);
        assert_eq!(split(body(1_000_000)).err().unwrap().kind(), "not_a_list");
    }

    #[test]
    fn p12_a_page_whose_items_would_fill_the_memory_is_too_large_and_a_heavy_item_alone_is_not() {
        let item = |values| format!("{{\"submission_id\":\"a\",\"x\":[{}]}}", vec!["{\"\":0}"; values].join(","));
        let split = |items: &[String]| {
            Page::split(format!("{{\"Items\":[{}]}}", items.join(",")).into_bytes(), None, 10, false)
        };
        // What is too heavy by itself is refused by itself, and the page goes on.
        let heavy = split(&vec![item(50_000); 9]).unwrap();
        assert!(heavy.items().all(RawItem::is_heavy));
        assert!(!split(&[item(20_000)]).unwrap().items().next().unwrap().is_heavy());
        assert_eq!(split(&vec![item(20_000); 9]).err().map(|error| error.kind()), Some("too_large"));
    }

    #[test]
    fn what_is_no_list_is_said() {
        for (body, kind) in [
            ("<html>", "not_a_list"),
            ("", "not_a_list"),
            ("[]", "not_a_list"),
            ("{}", "not_a_list"),
            ("{\"Items\":[{\"a\":1", "not_a_list"),
            ("{\"Items\":7}", "not_a_list"),
            ("{\"Items\":{\"submission_id\":\"a\"}}", "not_a_list"),
            ("{\"Items\":null}", "not_a_list"),
            ("{\"Items\":[],\"Items\":[]}", "not_a_list"),
            ("{\"Items\":[],\"nextpageKey\":{\"id\":\"a\"}}", "not_a_list"),
            ("{\"Items\":[],\"nextpageKey\":{\"id\":\"a\\u0000\",\"created_at\":\"2026\"}}", "not_a_list"),
            ("{\"statusCode\":200,\"success\":false,\"errorCode\":\"processing_error\"}", "server_failed"),
            ("{\"errorCode\":\"invalid_project\"}", "key_refused"),
            ("{\"isEncrypted\":true,\"body\":\"abc\"}", "encrypted"),
            ("{\"data\":\"abc\"}", "encrypted"),
            ("{\"body\":{\"data\":\"abc\"}}", "encrypted"),
            ("\"abc\"", "encrypted"),
            ("{\"isEncrypted\":true}", "encrypted"),
            ("{\"Items\":[1,1,1,1,1,1,1,1,1,1,1]}", "too_large"),
        ] {
            assert_eq!(split(body).err().map(|error| error.kind()), Some(kind), "{body}");
        }
        assert!(Page::split(b"{}".to_vec(), None, 10, true).unwrap().is_empty());
        let alone = Page::split(br#"{"submission_id":"a"}"#.to_vec(), None, 10, true);
        assert_eq!(alone.err().map(|error| error.kind()), Some("not_a_list"));
    }

    #[test]
    fn an_encrypted_page_is_a_page_or_a_clear_stop() {
        use crate::argos::cipher::Variant;
        use crate::config::{CipherMode, KeyForm, TextEncoding};

        let variant = Variant { mode: CipherMode::Ecb, key: KeyForm::First32, encoding: TextEncoding::Base64 };
        let cipher = Cipher::new(variant, "key").unwrap();
        let text = |plain: &str| cipher.encrypt(plain.as_bytes(), [0; 16]);
        let split = |body: String, by_id| Page::split(body.into_bytes(), Some(&cipher), 3, by_id);
        let open = |plain: &str, by_id| split(format!(r#"{{"isEncrypted":true,"data":"{}"}}"#, text(plain)), by_id);

        let list = r#"{"Items":[{"submission_id":"a"}],"nextpageKey":{"id":"a","created_at":"b"}}"#;
        let page = open(list, false).unwrap();
        assert!(page.sealed && !page.replaced && page.next.is_some());
        assert_eq!(page.items().next().unwrap().submission_id, Some("a"));
        assert!(open("{}", true).unwrap().is_empty());
        assert!(open("{\"Items\":[\"\n\"]}", false).unwrap().replaced);
        // In the clear although a cipher is set.
        let page = split(list.to_owned(), false).unwrap();
        assert!(!page.sealed && page.len() == 1);
        // The key of the next page in the clear.
        let outside = r#"{"data":"DATA","nextpageKey":{"id":"o","created_at":"o"}}"#;
        let next = |plain| split(outside.replace("DATA", &text(plain)), false).unwrap().next.unwrap().id;
        assert_eq!((next(list), next("{\"Items\":[]}")), ("a".to_owned(), "o".to_owned()));

        for (plain, by_id, kind) in [
            ("[{\"submission_id\":\"a\"}]", false, "decryption_failed"),
            ("{\"submission_id\":\"a\"}", true, "decryption_failed"),
            ("{}", false, "decryption_failed"),
            ("{\"Items\":[", false, "decryption_failed"),
            ("not JSON", false, "decryption_failed"),
            ("{\"data\":\"YWJj\"}", false, "decryption_failed"),
            ("{\"Items\":[1,1,1,1]}", false, "too_large"),
            ("{\"errorCode\":\"invalid_project\"}", false, "key_refused"),
            ("{\"success\":false,\"errorCode\":\"processing_error\"}", true, "server_failed"),
        ] {
            assert_eq!(open(plain, by_id).err().map(|error| error.kind()), Some(kind), "{plain}");
        }
        for garbage in ["", "abc", "%%%", &text(list)[..20], &format!("AAAA{}", &text(list)[4..])] {
            let error = split(format!(r#"{{"data":"{garbage}"}}"#), false).err().unwrap();
            assert_eq!(error.kind(), "decryption_failed", "{garbage}");
            assert!(error.needs_a_person() && !error.retryable());
        }
    }
}
