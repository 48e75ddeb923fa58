//! Recognises an encrypted answer by its shape, and opens it.
//!
//! The documents say that an encrypted answer has the flag `isEncrypted` and encrypted data, and print
//! `{"data":"..."}` for another endpoint; the rest is inference (docs/encryption.md).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::cipher::Cipher;
use super::envelope;
use super::error::ApiError;
use super::query::Cursor;

/// The members of an answer that tell whether it is encrypted.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    /// Whether there is a list in the clear.
    pub(super) items: bool,
    /// `isEncrypted`
    pub(super) flag: Option<&'a RawValue>,
    /// `data`
    pub(super) data: Option<&'a RawValue>,
    /// `body`
    pub(super) body: Option<&'a RawValue>,
}

impl Shape<'_> {
    /// Whether the answer is encrypted: it says so, or it holds a text where the documents show the encrypted one.
    pub(super) fn is_sealed(self) -> bool {
        let flag = self.flag.is_some_and(|flag| matches!(flag.get(), "true" | "\"true\""));
        flag || (!self.items && self.text().is_some())
    }

    /// The encrypted text, and where it stands.
    fn text(self) -> Option<(String, &'static str)> {
        #[derive(Deserialize)]
        struct Body {
            data: String,
        }
        let text = |value: Option<&RawValue>| serde_json::from_str::<String>(value?.get()).ok();
        let nested = || Some(serde_json::from_str::<Body>(self.body?.get()).ok()?.data);
        let data = text(self.data).map(|text| (text, "data"));
        data.or_else(|| Some((text(self.body)?, "body"))).or_else(|| Some((nested()?, "body.data")))
    }
}

/// An encrypted answer.
pub struct Sealed {
    /// The encrypted text.
    pub text: String,
    /// Where it stands: the name of a member, for people.
    pub place: &'static str,
    /// `nextpageKey` beside it, in the clear. Not documented there; if it is, passing it over would lose pages.
    pub next: Option<Cursor>,
}

impl Sealed {
    /// The encrypted part of an answer; `None`: the answer is not encrypted.
    ///
    /// # Errors
    /// When the answer says that it is encrypted, but holds no text where one is known to stand.
    pub fn find(answer: &str) -> Result<Option<Self>, ApiError> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow, rename = "Items")]
            items: Option<&'a RawValue>,
            #[serde(borrow, rename = "isEncrypted")]
            flag: Option<&'a RawValue>,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
            #[serde(borrow)]
            body: Option<&'a RawValue>,
            #[serde(borrow, rename = "nextpageKey")]
            next: Option<&'a RawValue>,
        }
        let answer = answer.trim_start_matches('\u{feff}').trim();
        if let Some(text) = quoted(answer) {
            return Ok(Some(Self { text, place: "the whole answer, in quotes", next: None }));
        }
        // What is not even an object is no business of this room.
        let Ok(Envelope { items, flag, data, body, next }) = serde_json::from_str(answer) else { return Ok(None) };
        let shape = Shape { items: items.is_some(), flag, data, body };
        if !shape.is_sealed() {
            return Ok(None);
        }
        let nowhere = ApiError::Undecryptable { what: "it says isEncrypted, with no text in data, body or body.data" };
        let (text, place) = shape.text().ok_or(nowhere)?;
        Ok(Some(Self { text, place, next: next.map(envelope::cursor).transpose()?.flatten() }))
    }

    /// The answer in the clear: a JSON object or list.
    ///
    /// # Errors
    /// When the text cannot be decrypted, or comes out as something else.
    pub fn open(&self, cipher: &Cipher) -> Result<String, ApiError> {
        let plain = cipher.decrypt(&self.text).map_err(|error| ApiError::Undecryptable { what: error.0 })?;
        let garbage = ApiError::Undecryptable { what: "it comes out as no JSON: another key or another mode" };
        match String::from_utf8(plain) {
            Ok(plain) if plain.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']) => Ok(plain),
            _ => Err(garbage),
        }
    }
}

/// The text of an answer that is nothing but a JSON text.
pub(super) fn quoted(answer: &str) -> Option<String> {
    if !answer.starts_with('"') {
        return None;
    }
    serde_json::from_str::<String>(answer).ok().filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argos::cipher::Variant;
    use crate::config::{CipherMode, KeyForm, TextEncoding};

    #[test]
    fn every_shape_is_known_and_no_other() {
        for (answer, text, place) in [
            (r#"{"isEncrypted":true,"data":"YWJj"}"#, "YWJj", "data"),
            (r#"{"isEncrypted":true,"body":"YWJj","other":{"data":1}}"#, "YWJj", "body"),
            (r#"{"isEncrypted":true,"body":{"data":"YW\/j"}}"#, "YW/j", "body.data"),
            (r#"{"isEncrypted":"true","data":"YWJj"}"#, "YWJj", "data"),
            ("\u{feff} {\"data\":\"YWJj\"}\n", "YWJj", "data"),
            (r#"{"body":"YWJj"}"#, "YWJj", "body"),
            (r#"{"body":{"data":"YWJj"}}"#, "YWJj", "body.data"),
            ("\"YWJj\"\n", "YWJj", "the whole answer, in quotes"),
        ] {
            let sealed = Sealed::find(answer).unwrap().unwrap_or_else(|| panic!("{answer} is encrypted"));
            assert_eq!((sealed.text.as_str(), sealed.place), (text, place), "{answer}");
            assert_eq!(sealed.next, None);
        }
        for answer in [
            "",
            "\"\"",
            "abc",
            "[]",
            "{}",
            "7",
            "null",
            "{\"data\":\"YWJ",
            "<html>",
            r#"{"Items":[]}"#,
            r#"{"Items":[],"data":"YWJj"}"#,
            r#"{"isEncrypted":false,"Items":[]}"#,
            r#"{"isEncrypted":null,"data":{"name":"x"}}"#,
            r#"{"data":7,"body":{"data":7}}"#,
            r#"{"errorCode":"processing_error","message":"x"}"#,
        ] {
            assert!(Sealed::find(answer).unwrap().is_none(), "{answer}");
        }
        for answer in [r#"{"isEncrypted":true}"#, r#"{"isEncrypted":true,"Items":[],"data":{"x":"y"}}"#] {
            assert_eq!(Sealed::find(answer).err().unwrap().kind(), "decryption_failed", "{answer}");
        }
    }

    #[test]
    fn p1_a_key_beside_the_encrypted_text_is_not_passed_over() {
        let sealed = r#"{"data":"YWJj","nextpageKey":{"id":"a","created_at":"b"}}"#;
        let next = Cursor { id: "a".to_owned(), created_at: "b".to_owned() };
        assert_eq!(Sealed::find(sealed).unwrap().unwrap().next, Some(next));
        assert!(Sealed::find(r#"{"data":"YWJj","nextpageKey":{"id":"a"}}"#).is_err());
    }

    #[test]
    fn only_json_comes_out() {
        let variant = Variant { mode: CipherMode::Ecb, key: KeyForm::Sha256, encoding: TextEncoding::Hex };
        let cipher = Cipher::new(variant, "secret").unwrap();
        let open =
            |plain: &[u8]| Sealed { text: cipher.encrypt(plain, [0; 16]), place: "data", next: None }.open(&cipher);
        assert_eq!(open(b"{}").unwrap(), "{}");
        assert_eq!(open(b"\xef\xbb\xbf\n[]").unwrap(), "\u{feff}\n[]");
        for plain in [b"".as_slice(), b"x", b"\"x\"", b"7", b"{\xff}", b"<html>"] {
            assert_eq!(open(plain).unwrap_err().kind(), "decryption_failed", "{plain:?}");
        }
    }
}
