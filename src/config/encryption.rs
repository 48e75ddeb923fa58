//! How an encrypted project's answers are encrypted. The vendor says little about it (docs/encryption.md), so each open
//! question is a setting.

use secrecy::SecretString;

/// The settings of one project's encryption.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// How AES-256 is used; `None`: answers are not encrypted.
    pub mode: Option<CipherMode>,
    /// How the key is made.
    pub key: KeyForm,
    /// How encrypted bytes are written as text.
    pub encoding: TextEncoding,
    /// What the key is made from; the API key if none.
    pub secret: Option<SecretString>,
    /// Whether requests are encrypted too; only with a mode.
    pub requests: bool,
}

/// How AES-256 is used. ECB and CBC are padded as in PKCS#7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CipherMode {
    /// Every block by itself.
    Ecb,
    /// CBC; the text begins with the IV, 16 bytes.
    CbcPrefixedIv,
    /// CBC; the IV is 16 zero bytes.
    CbcZeroIv,
    /// CBC; the IV is the first 16 bytes of the key.
    CbcKeyIv,
    /// CBC; key and IV are made from the secret itself, as a passphrase, and a salt: the text begins with `Salted__` and
    /// the salt, 8 bytes. The key form is not used.
    CbcPassphrase,
    /// GCM; the text begins with the nonce, 12 bytes, and ends with the tag, 16 bytes.
    Gcm,
}

/// How the key's 32 bytes are made from a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyForm {
    /// Its first 32 bytes; a shorter one is filled up with zero bytes.
    First32,
    /// Its SHA-256.
    Sha256,
    /// The first 32 hexadecimal digits of its SHA-256, as text.
    Sha256Hex,
    /// It is 64 hexadecimal digits.
    Hex,
    /// It is 32 bytes in base64.
    Base64,
}

/// How encrypted bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextEncoding {
    /// Base64, with or without padding, of either alphabet.
    Base64,
    /// Hexadecimal digits.
    Hex,
}

/// The words for [`Encryption::mode`].
pub const MODES: [(&str, Option<CipherMode>); 7] = [
    ("off", None),
    ("ecb", Some(CipherMode::Ecb)),
    ("cbc-prefixed-iv", Some(CipherMode::CbcPrefixedIv)),
    ("cbc-zero-iv", Some(CipherMode::CbcZeroIv)),
    ("cbc-key-iv", Some(CipherMode::CbcKeyIv)),
    ("cbc-passphrase", Some(CipherMode::CbcPassphrase)),
    ("gcm", Some(CipherMode::Gcm)),
];

/// The words for [`KeyForm`].
pub const KEY_FORMS: [(&str, KeyForm); 5] = [
    ("first-32", KeyForm::First32),
    ("sha256", KeyForm::Sha256),
    ("sha256-hex", KeyForm::Sha256Hex),
    ("hex", KeyForm::Hex),
    ("base64", KeyForm::Base64),
];

/// The words for [`TextEncoding`].
pub const ENCODINGS: [(&str, TextEncoding); 2] = [("base64", TextEncoding::Base64), ("hex", TextEncoding::Hex)];
