//! Encrypted answers and requests, as far as the documents describe them.
//!
//! Written for itself, from the single block upwards, so that the daemon's side cannot be wrong in the same way.

use aes::Aes256;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::Aead;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use md5::Md5;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::rng::Rng;

type Block = [u8; 16];

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($kind:ident $word:literal $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        enum $name {
            #[default]
            $($kind),*
        }

        impl $name {
            const WORDS: &'static [(&'static str, &'static str)] = &[$(($word, $help)),*];

            fn named(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$kind),)*
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// How AES-256 is used.
    Mode {
        Ecb "ecb" "AES-256 in ECB.";
        CbcPrefixed "cbc-prefixed-iv" "CBC, the IV before the text.";
        CbcZero "cbc-zero-iv" "CBC, the IV all zero.";
        CbcKey "cbc-key-iv" "CBC, the IV from the beginning of the key.";
        CbcPassphrase "cbc-passphrase" "CBC, key and IV from the secret as CryptoJS makes them: Salted__, salt, text.";
        Gcm "gcm" "GCM, the nonce before the text, the tag after it.";
    }
}

words! {
    /// How the key is made.
    Key {
        First "key-first-32" "The key: the secret's first 32 bytes, or as many as there are and zeros.";
        Sha "key-sha256" "The key: the secret's SHA-256.";
        ShaText "key-sha256-hex" "The key: the first 32 digits of the secret's SHA-256.";
        Hex "key-hex" "The key: the secret, 64 hexadecimal digits.";
        Base64 "key-base64" "The key: the secret, 32 bytes in base64.";
    }
}

words! {
    /// How bytes are written.
    Text {
        Base64 "base64" "Written in base64.";
        UrlSafe "base64url" "Written in base64 for URLs, without padding.";
        Hex "hex" "Written in hexadecimal.";
    }
}

words! {
    /// What an answer looks like.
    Shape {
        FlagData "flag-data" "{\"isEncrypted\":true,\"data\":TEXT}";
        FlagBody "flag-body" "{\"isEncrypted\":true,\"body\":TEXT}";
        Data "data" "{\"data\":TEXT}";
        Nested "body-data" "{\"body\":{\"data\":TEXT}}";
        Quoted "quoted" "TEXT";
    }
}

words! {
    /// Which requests are read.
    Requests {
        Any "any-request" "Read requests in the clear and encrypted ones.";
        Encrypted "encrypted-requests" "Refuse requests in the clear.";
    }
}

/// How to encrypt. Written as words with commas between them, one of each kind at most: `cbc-zero-iv,key-sha256,hex`.
/// The default is the first word of each kind, and the API key as the secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encryption {
    mode: Mode,
    key: Key,
    text: Text,
    shape: Shape,
    requests: Requests,
    secret: Option<String>,
}

/// What may happen to an encrypted text on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    None,
    /// The second half is missing.
    Cut,
    /// A byte of every block is another.
    Garbled,
}

impl Encryption {
    /// Every word and what it means, for `--help`.
    pub fn words() -> impl Iterator<Item = (&'static str, &'static str)> {
        [Mode::WORDS, Key::WORDS, Text::WORDS, Shape::WORDS, Requests::WORDS].into_iter().flatten().copied()
    }

    /// Reads the words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut encryption = Self::default();
        for word in text.split(',').map(str::trim) {
            if let Some(mode) = Mode::named(word) {
                encryption.mode = mode;
            } else if let Some(key) = Key::named(word) {
                encryption.key = key;
            } else if let Some(text) = Text::named(word) {
                encryption.text = text;
            } else if let Some(shape) = Shape::named(word) {
                encryption.shape = shape;
            } else if let Some(requests) = Requests::named(word) {
                encryption.requests = requests;
            } else {
                let words: Vec<_> = Self::words().map(|(word, _)| word).collect();
                return Err(format!("'{word}' says nothing about encryption; known are {}", words.join(", ")));
            }
        }
        Ok(encryption)
    }

    /// Makes the key from this, if it is something, and not from the API key.
    #[must_use]
    pub fn with_secret(self, secret: Option<String>) -> Self {
        Self { secret, ..self }
    }

    /// Whether the secret makes a key.
    pub(super) fn is_sound(&self, api_key: &str) -> bool {
        self.key(api_key).is_some()
    }

    /// The body of an answer, encrypted. `random` is for the IV or the nonce.
    pub(super) fn seal(&self, body: &str, api_key: &str, mut random: Rng, harm: Harm) -> String {
        let fresh: Block = (u128::from(random.next()) << 64 | u128::from(random.next())).to_be_bytes();
        let mut sealed = self.encrypt(body.as_bytes(), api_key, fresh);
        if harm == Harm::Garbled {
            sealed.iter_mut().step_by(16).for_each(|byte| *byte = !*byte);
        }
        let mut text = match self.text {
            Text::Base64 => BASE64_STANDARD.encode(sealed),
            Text::UrlSafe => BASE64_URL_SAFE_NO_PAD.encode(sealed),
            Text::Hex => hex::encode(sealed),
        };
        if harm == Harm::Cut {
            text.truncate(text.len() / 2);
        }
        match self.shape {
            Shape::FlagData => json!({"isEncrypted": true, "data": text}),
            Shape::FlagBody => json!({"isEncrypted": true, "body": text}),
            Shape::Data => json!({"data": text}),
            Shape::Nested => json!({"body": {"data": text}}),
            Shape::Quoted => json!(text),
        }
        .to_string()
    }

    /// What a request asks, in the clear: its parameters and its body. `None`: it cannot be read.
    pub(super) fn open(
        &self,
        pairs: Vec<(String, String)>,
        body: &str,
        api_key: &str,
    ) -> Option<(Vec<(String, String)>, String)> {
        let in_query = pairs.iter().find(|(name, _)| name == "body").map(|(_, text)| text.clone());
        let in_body = || serde_json::from_str::<Value>(body).ok()?["body"].as_str().map(str::to_owned);
        let Some(text) = in_query.or_else(in_body) else {
            return (self.requests == Requests::Any).then(|| (pairs, body.to_owned()));
        };
        let sealed = match self.text {
            Text::Base64 => BASE64_STANDARD.decode(text).ok()?,
            Text::UrlSafe => {
                BASE64_URL_SAFE_NO_PAD.decode(text.replace('+', "-").replace('/', "_").trim_end_matches('=')).ok()?
            }
            Text::Hex => hex::decode(text).ok()?,
        };
        let plain = String::from_utf8(self.decrypt(&sealed, api_key)?).ok()?;
        serde_json::from_str::<Value>(&plain).ok()?.is_object().then_some((Vec::new(), plain))
    }

    fn secret<'a>(&'a self, api_key: &'a str) -> &'a str {
        self.secret.as_deref().unwrap_or(api_key)
    }

    fn key(&self, api_key: &str) -> Option<[u8; 32]> {
        let secret = self.secret(api_key);
        match self.key {
            Key::First => Some(std::array::from_fn(|place| secret.as_bytes().get(place).copied().unwrap_or(0))),
            Key::Sha => Some(Sha256::digest(secret).into()),
            Key::ShaText => hex::encode(Sha256::digest(secret)).as_bytes()[..32].try_into().ok(),
            Key::Hex => hex::decode(secret).ok()?.try_into().ok(),
            Key::Base64 => BASE64_STANDARD.decode(secret).ok()?.try_into().ok(),
        }
    }

    fn encrypt(&self, plain: &[u8], api_key: &str, fresh: Block) -> Vec<u8> {
        let mut key = self.key(api_key).unwrap_or_default();
        let (prefix, mut before) = match self.mode {
            Mode::Gcm => {
                let nonce: [u8; 12] = fresh[..12].try_into().unwrap_or_default();
                let sealed = Aes256Gcm::new(&key.into()).encrypt(&nonce.into(), plain).unwrap_or_default();
                return [nonce.as_slice(), &sealed].concat();
            }
            Mode::Ecb => (Vec::new(), None),
            Mode::CbcPrefixed => (fresh.to_vec(), Some(fresh)),
            Mode::CbcZero => (Vec::new(), Some([0; 16])),
            Mode::CbcKey => (Vec::new(), key[..16].try_into().ok()),
            Mode::CbcPassphrase => {
                let (made, iv) = stretch(self.secret(api_key), &fresh[..8]);
                key = made;
                ([b"Salted__", &fresh[..8]].concat(), Some(iv))
            }
        };
        let cipher = Aes256::new(&key.into());
        let missing = 16 - plain.len() % 16;
        let mut sealed = prefix;
        for chunk in [plain, &vec![missing as u8; missing]].concat().chunks(16) {
            let mut block: Block = chunk.try_into().unwrap_or_default();
            if let Some(before) = before {
                block = xor(block, before);
            }
            let mut block = block.into();
            cipher.encrypt_block(&mut block);
            before = before.map(|_| block.into());
            sealed.extend_from_slice(&block);
        }
        sealed
    }

    fn decrypt(&self, sealed: &[u8], api_key: &str) -> Option<Vec<u8>> {
        let mut key = self.key(api_key)?;
        let (mut before, sealed): (Option<Block>, &[u8]) = match self.mode {
            Mode::Gcm => {
                let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
                return Aes256Gcm::new(&key.into()).decrypt(nonce.into(), sealed).ok();
            }
            Mode::Ecb => (None, sealed),
            Mode::CbcPrefixed => sealed.split_first_chunk().map(|(iv, sealed)| (Some(*iv), sealed))?,
            Mode::CbcZero => (Some([0; 16]), sealed),
            Mode::CbcKey => (key[..16].try_into().ok(), sealed),
            Mode::CbcPassphrase => {
                let (salt, sealed) = sealed.strip_prefix(b"Salted__")?.split_at_checked(8)?;
                let (made, iv) = stretch(self.secret(api_key), salt);
                key = made;
                (Some(iv), sealed)
            }
        };
        let cipher = Aes256::new(&key.into());
        let mut plain = Vec::new();
        for chunk in sealed.chunks(16) {
            let sealed: Block = chunk.try_into().ok()?;
            let mut block = sealed.into();
            cipher.decrypt_block(&mut block);
            let block: Block = block.into();
            plain.extend_from_slice(&before.map_or(block, |before| xor(block, before)));
            before = before.map(|_| sealed);
        }
        let missing = usize::from(*plain.last()?);
        let end = plain.len().checked_sub(missing).filter(|_| (1..=16).contains(&missing))?;
        plain[end..].iter().all(|byte| usize::from(*byte) == missing).then(|| plain[..end].to_vec())
    }
}

/// 48 bytes for key and IV: MD5 of the salted passphrase, then of each digest with the salted passphrase behind it.
fn stretch(passphrase: &str, salt: &[u8]) -> ([u8; 32], Block) {
    let (mut made, mut digest) = (Vec::new(), Vec::new());
    while made.len() < 48 {
        digest = Md5::new().chain_update(&digest).chain_update(passphrase).chain_update(salt).finalize().to_vec();
        made.extend_from_slice(&digest);
    }
    (made[..32].try_into().unwrap_or_default(), made[32..].try_into().unwrap_or_default())
}

fn xor(one: Block, other: Block) -> Block {
    std::array::from_fn(|place| one[place] ^ other[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_can_be_read_as_a_request() {
        for (mode, _) in Mode::WORDS {
            for (key, _) in Key::WORDS {
                for (text, _) in Text::WORDS {
                    let secret = match *key {
                        "key-base64" => BASE64_STANDARD.encode([7; 32]),
                        _ => hex::encode([7; 32]),
                    };
                    let encryption = Encryption::parse(&format!("{mode},{key},{text},body-data")).unwrap();
                    let sealed = |harm| encryption.seal(r#"{"count":7}"#, &secret, Rng::of(1, 1, "test"), harm);
                    let open = |sealed: &str| {
                        let sealed: Value = serde_json::from_str(sealed).unwrap();
                        let text = sealed["body"]["data"].as_str().unwrap().to_owned();
                        encryption.open(vec![("body".to_owned(), text)], "", &secret)
                    };
                    let asked = (Vec::new(), r#"{"count":7}"#.to_owned());
                    assert_eq!(open(&sealed(Harm::None)), Some(asked), "{mode} {key} {text}");
                    for harm in [Harm::Cut, Harm::Garbled] {
                        assert_eq!(open(&sealed(harm)), None, "{mode} {key} {text} {harm:?}");
                    }
                }
            }
        }
    }

    /// The body is what `openssl enc -aes-256-cbc -md md5 -pass pass:... -base64 -A` wrote.
    #[test]
    fn openssl_agrees_on_what_a_passphrase_makes() {
        let encryption = Encryption::parse("cbc-passphrase").unwrap();
        let body =
            r#"{"body":"U2FsdGVkX1+rnfip2SKz4LktvuKf0m8kzqA4W1o8TR89Znss8EgCK4/JIEVizQCk7RlXuQJ0/Q75WHhc249olA=="}"#;
        let opened = encryption.open(Vec::new(), body, "an-api-key-of-40-characters-0123456789ab");
        assert_eq!(opened.unwrap().1, r#"{"Items":[],"note":"openssl says so"}"#);
    }

    #[test]
    fn words_are_read_and_mistakes_explained() {
        let encryption = Encryption::parse("hex, gcm").unwrap();
        assert_eq!((encryption.mode, encryption.text, encryption.key), (Mode::Gcm, Text::Hex, Key::First));
        assert!(Encryption::parse("aes").unwrap_err().contains("cbc-zero-iv"));
        assert!(Encryption::parse("").is_err());
        assert!(!Encryption::parse("key-hex").unwrap().is_sound("simulated-key"));
    }

    #[test]
    fn requests_in_the_clear_are_read_or_refused() {
        let pairs = || vec![("count".to_owned(), "7".to_owned())];
        let any = Encryption::parse("ecb").unwrap();
        assert_eq!(any.open(pairs(), "", "key"), Some((pairs(), String::new())));
        assert_eq!(Encryption::parse("encrypted-requests").unwrap().open(pairs(), "", "key"), None);
    }
}
