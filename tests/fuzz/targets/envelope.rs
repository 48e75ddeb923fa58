//! The body of an answer: a page of whole items, or an error; in the clear, and where a cipher is set.

#![no_main]

use std::sync::LazyLock;

use argos_sync::argos::cipher::{Cipher, Variant};
use argos_sync::argos::envelope::Page;
use argos_sync::argos::error::ApiError;
use argos_sync::config::{CipherMode, KeyForm, TextEncoding};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const MOST: usize = 50;

static CIPHER: LazyLock<Cipher> = LazyLock::new(|| {
    let variant = Variant { mode: CipherMode::Ecb, key: KeyForm::First32, encoding: TextEncoding::Base64 };
    Cipher::new(variant, "0123456789abcdef0123456789abcdef").unwrap()
});

fuzz_target!(|data: &[u8]| {
    for by_id in [false, true] {
        look(Page::split(data.to_vec(), None, MOST, by_id));
        look(Page::split(data.to_vec(), Some(&CIPHER), MOST, by_id));
    }
});

fn look(page: Result<Page, ApiError>) {
    let page = match page {
        Ok(page) => page,
        Err(error) => {
            assert!(ApiError::KINDS.contains(&error.kind()));
            return;
        }
    };
    assert!(page.len() <= MOST);
    for item in page.items() {
        serde_json::from_str::<&RawValue>(item.json).unwrap();
        if let Some(id) = item.submission_id {
            assert!((1..=256).contains(&id.chars().count()) && !id.chars().any(char::is_control));
        }
    }
}
