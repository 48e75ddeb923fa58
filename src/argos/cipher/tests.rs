//! Known answers of others, round trips, and what must be refused.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// The key and the text of NIST SP 800-38A, appendix F.
const KEY: &str = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                     30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

fn cipher(mode: CipherMode, key: KeyForm, encoding: TextEncoding, secret: &str) -> Cipher {
    Cipher::new(Variant { mode, key, encoding }, secret).unwrap()
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// SP 800-38A has no padding, so its four blocks are the beginning of ours.
#[test]
fn nist_sp_800_38a_ecb_and_cbc() {
    let plain = hex::decode(PLAIN).unwrap();
    let ecb = "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870\
               b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7";
    let cipher_of = |mode| cipher(mode, KeyForm::Hex, TextEncoding::Hex, KEY);
    let sealed = cipher_of(CipherMode::Ecb).encrypt(&plain, [0; 16]);
    assert_eq!((&sealed[..128], sealed.len()), (ecb, 160), "F.1.5");
    assert_eq!(cipher_of(CipherMode::Ecb).decrypt(&sealed).unwrap(), plain, "F.1.6");

    let iv = "000102030405060708090a0b0c0d0e0f";
    let cbc = "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d\
               39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b";
    let sealed = cipher_of(CipherMode::CbcPrefixedIv).encrypt(&plain, bytes(iv));
    assert_eq!((&sealed[..32], &sealed[32..160], sealed.len()), (iv, cbc, 192), "F.2.5");
    assert_eq!(cipher_of(CipherMode::CbcPrefixedIv).decrypt(&sealed).unwrap(), plain, "F.2.6");
}

/// Test cases 13, 14 and 15 of the submission of GCM to NIST: AES-256, no additional data.
#[test]
fn nist_gcm() {
    let zero = "00".repeat(32);
    let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    let plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                 1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
    let sealed = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                  8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
    for (key, nonce, plain, sealed, tag) in [
        (zero.as_str(), &zero[..24], "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        (&zero, &zero[..24], &zero[..32], "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"),
        (key, "cafebabefacedbaddecaf888", plain, sealed, "b094dac5d93471bdec1a502270e3cc6c"),
    ] {
        let cipher = cipher(CipherMode::Gcm, KeyForm::Hex, TextEncoding::Hex, key);
        let expected = format!("{nonce}{sealed}{tag}");
        let plain = hex::decode(plain).unwrap();
        assert_eq!(cipher.encrypt(&plain, bytes(&format!("{nonce}ffffffff"))), expected);
        assert_eq!(cipher.decrypt(&expected).unwrap(), plain);
    }
}

/// Made with `openssl enc`, which pads as in PKCS#7; the keys with `sha256sum`, `head` and zero bytes.
#[test]
fn openssl_agrees_on_padding_keys_and_ivs() {
    let plain = br#"{"Items":[],"note":"openssl says so"}"#;
    let long = "an-api-key-of-40-characters-0123456789ab";
    for (mode, key, encoding, secret, sealed) in [
        (
            CipherMode::Ecb,
            KeyForm::First32,
            TextEncoding::Base64,
            "0123456789abcdef0123456789abcdefTOOLONG!",
            "62zrnw+wRJ3Xh4HeIr1zDW5TfIIuCeqPfksdeCYDC/WaRwdtEiAHpwEa6+CP4ODx",
        ),
        (
            CipherMode::CbcZeroIv,
            KeyForm::Sha256,
            TextEncoding::Hex,
            long,
            "44b85e3b0c9f510a6ff4e591aa3c51cf02b95d6b89e12a5d7009e7dff1edffd6040b92f180cb574b8bf269c28b909380",
        ),
        (
            CipherMode::CbcKeyIv,
            KeyForm::Sha256Hex,
            TextEncoding::Base64,
            long,
            "2tqMs3T6KAbscocONi+o4xEWPuky917mVDsUk1dQW0aR/9b3lVIgDoL0PiQA8zLt",
        ),
        (
            CipherMode::CbcPrefixedIv,
            KeyForm::First32,
            TextEncoding::Base64,
            "short",
            "AAECAwQFBgcICQoLDA0OD9rCSqtsi6YNOscZixSSmRRMPIke19aGYqxFki7ekmnvneJX5/YzZz2avDxH63PdIA==",
        ),
    ] {
        let cipher = cipher(mode, key, encoding, secret);
        assert_eq!(cipher.encrypt(plain, bytes("000102030405060708090a0b0c0d0e0f")), sealed);
        assert_eq!(cipher.decrypt(sealed).unwrap(), plain);
    }
}

/// `openssl enc -aes-256-cbc -md md5 -pass pass:... -base64 -A`, which writes what CryptoJS writes with a passphrase.
#[test]
fn openssl_agrees_on_what_a_passphrase_makes() {
    let plain = br#"{"Items":[],"note":"openssl says so"}"#;
    let sealed = "U2FsdGVkX1+rnfip2SKz4LktvuKf0m8kzqA4W1o8TR89Znss8EgCK4/JIEVizQCk7RlXuQJ0/Q75WHhc249olA==";
    // Whatever the form of the key says: a passphrase is the secret itself.
    for form in [KeyForm::First32, KeyForm::Hex] {
        let cipher =
            cipher(CipherMode::CbcPassphrase, form, TextEncoding::Base64, "an-api-key-of-40-characters-0123456789ab");
        assert_eq!(cipher.decrypt(sealed).unwrap(), plain);
        assert_eq!(cipher.encrypt(plain, bytes("ab9df8a9d922b3e00000000000000000")), sealed);
    }
    let cipher = cipher(CipherMode::CbcPassphrase, KeyForm::First32, TextEncoding::Base64, "a passphrase");
    for text in ["", "U2FsdGVkX18=", "U2FsdGVkX1+rnfip2SKz", "U2FsdGVkX1+rnfip2SKz4A==", &sealed[4..]] {
        assert!(cipher.decrypt(text).is_err(), "{text}");
    }
}

#[test]
fn keys_are_made_from_secrets() {
    let derive = key::derive;
    assert_eq!(derive(KeyForm::First32, "abc").unwrap()[..4], [b'a', b'b', b'c', 0]);
    let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex::encode(derive(KeyForm::Sha256, "abc").unwrap()), sha, "FIPS 180-2, B.1");
    assert_eq!(derive(KeyForm::Sha256Hex, "abc").unwrap(), sha.as_bytes()[..32]);
    assert_eq!(hex::encode(derive(KeyForm::Hex, &KEY.to_uppercase()).unwrap()), KEY);
    let base64 = "YD3rEBXKcb4rc67whX13gR81LAc7YQjXLZgQowkU3/Q";
    for spelling in [base64.to_owned(), format!("{base64}="), base64.replace('/', "_")] {
        assert_eq!(hex::encode(derive(KeyForm::Base64, &spelling).unwrap()), KEY, "{spelling}");
    }
    for secret in ["", "abc", &KEY[..62], "not hexadecimal at all", base64] {
        assert_eq!(derive(KeyForm::Hex, secret), Err(KeyError::NotHex), "{secret}");
    }
    for secret in ["", "abc", "not base64 at all!", KEY] {
        assert_eq!(derive(KeyForm::Base64, secret), Err(KeyError::NotBase64), "{secret}");
    }
}

#[test]
fn every_spelling_of_base64_and_hex_is_read() {
    let plain = [0xfb, 0xef, 0xbe, 0xff];
    for text in ["++++/w==", "----_w==", "++++/w", "----_w=", "++\r\n++/w==\n", "++++/x=="] {
        assert_eq!(encoding::decode(TextEncoding::Base64, text).unwrap(), plain, "{text}");
    }
    for text in ["fbefbeff", "FBEFBEFF", "fbef\nbeff\n"] {
        assert_eq!(encoding::decode(TextEncoding::Hex, text).unwrap(), plain, "{text}");
    }
    for text in ["+", "++++/", "++++*w==", "=++++", "\u{e9}"] {
        assert!(encoding::decode(TextEncoding::Base64, text).is_err(), "{text}");
    }
    assert!(encoding::decode(TextEncoding::Hex, "fbe").is_err());
}

#[test]
fn the_table_holds_each_variant_once() {
    let all: Vec<_> = Variant::all().collect();
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (52, 52));
}

#[test]
fn nothing_shows_the_key() {
    let shown = format!("{:?}", cipher(CipherMode::Ecb, KeyForm::First32, TextEncoding::Hex, "s3cr3t-M4RK3R"));
    // 115 is the first byte.
    assert!(!shown.contains("s3cr3t") && !shown.contains("115"), "{shown}");
}

fn any_variant() -> impl Strategy<Value = Variant> {
    proptest::sample::select(Variant::all().collect::<Vec<_>>())
}

/// A secret that every form of keys takes would have to be hexadecimal; base64 takes 44 characters of it.
fn secret(variant: Variant, seed: [u8; 32]) -> String {
    match variant.key {
        KeyForm::Base64 => encoding::encode(TextEncoding::Base64, &seed),
        _ => hex::encode(seed),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_encrypted_is_decrypted(
        variant in any_variant(), seed: [u8; 32], fresh: [u8; 16], plain: Vec<u8>,
    ) {
        let cipher = Cipher::new(variant, &secret(variant, seed)).unwrap();
        let text = cipher.encrypt(&plain, fresh);
        prop_assert_eq!(cipher.decrypt(&text).unwrap(), plain);
    }

    /// A JSON list does not come out of another key, and nothing panics.
    #[test]
    fn another_key_opens_nothing(
        variant in any_variant(), seed: [u8; 32], other: [u8; 32], fresh: [u8; 16], cut in 0..200_usize,
    ) {
        prop_assume!(seed != other);
        let plain = br#"{"Items":[{"submission_id":"a"},{"submission_id":"b"}]}"#;
        let text = Cipher::new(variant, &secret(variant, seed)).unwrap().encrypt(plain, fresh);
        let wrong = Cipher::new(variant, &secret(variant, other)).unwrap().decrypt(&text);
        prop_assert_ne!(wrong.ok(), Some(plain.to_vec()));
        // Without its padding a text is whole.
        let text = text.trim_end_matches('=');
        let cut = &text[..text.len() - 1 - cut % text.len()];
        let opened = Cipher::new(variant, &secret(variant, seed)).unwrap().decrypt(cut);
        prop_assert_ne!(opened.ok(), Some(plain.to_vec()));
    }

    #[test]
    fn any_text_is_survived(variant in any_variant(), text in ".{0,80}|[0-9a-f]{0,200}|[A-Za-z0-9+/]{0,200}=?") {
        let cipher = Cipher::new(variant, &secret(variant, [7; 32])).unwrap();
        if let Ok(plain) = cipher.decrypt(&text) {
            prop_assert!(serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&plain).is_err());
        }
    }
}
