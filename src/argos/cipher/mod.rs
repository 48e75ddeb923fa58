//! Encrypted answers and requests: AES-256 in the variants that the vendor's documents leave open.
//!
//! The documents name AES-256, ECB (since August 2024; CBC before), GCM, and a key "generated using the API Key". How it
//! is generated, the padding, the encoding and the place of IV, nonce and tag are not documented (docs/encryption.md),
//! so a [`Variant`] is a choice of each. One more is what `CryptoJS.AES.encrypt(text, passphrase)` gives, which samples in
//! JavaScript often use: it makes the key by itself, with MD5. PKCS#7 padding is taken for granted. Nothing here reads a clock, a file or a
//! source of randomness.

mod encoding;
mod key;
#[cfg(test)]
mod tests;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, Nonce};
use secrecy::{ExposeSecret, SecretBox, SecretString};

pub use self::key::KeyError;
use crate::config::{CipherMode, ENCODINGS, Encryption, KEY_FORMS, KeyForm, MODES, TextEncoding};

/// The size of a block and of an IV, in bytes.
const BLOCK: usize = 16;
/// What a text begins with that was encrypted with a passphrase ...
const SALTED: [u8; 8] = *b"Salted__";
/// ... and the size of the salt behind it, in bytes.
const SALT: usize = 8;
/// The size of GCM's nonce, in bytes.
const NONCE: usize = 12;
/// The size of GCM's tag, in bytes.
const TAG: usize = 16;

/// One way to encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// How AES-256 is used.
    pub mode: CipherMode,
    /// How the key is made from a secret.
    pub key: KeyForm,
    /// How encrypted bytes are written as text.
    pub encoding: TextEncoding,
}

impl Variant {
    /// Every variant there is, in the order of the settings' words.
    pub fn all() -> impl Iterator<Item = Self> {
        let modes = MODES.into_iter().filter_map(|(_, mode)| mode);
        modes.flat_map(|mode| {
            // A passphrase is the secret itself.
            let forms = if mode == CipherMode::CbcPassphrase { &KEY_FORMS[..1] } else { &KEY_FORMS };
            forms.iter().flat_map(move |(_, key)| {
                ENCODINGS.into_iter().map(move |(_, encoding)| Self { mode, key: *key, encoding })
            })
        })
    }

    /// The variant that the settings choose; `None`: encryption is off.
    pub fn chosen(settings: &Encryption) -> Option<Self> {
        let Encryption { mode, key, encoding, .. } = settings;
        mode.map(|mode| Self { mode, key: *key, encoding: *encoding })
    }
}

/// Why a text could not be decrypted. Holds nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecryptable(pub &'static str);

/// A variant with its key. `Debug` shows no key.
#[derive(Debug)]
pub struct Cipher {
    variant: Variant,
    key: SecretBox<[u8; 32]>,
    /// The secret itself, where it is a passphrase.
    passphrase: SecretString,
}

impl Cipher {
    /// Makes the key of a variant from a secret.
    ///
    /// # Errors
    /// When the secret is not what the variant's form of keys asks for.
    pub fn new(variant: Variant, secret: &str) -> Result<Self, KeyError> {
        let (key, passphrase) = match variant.mode {
            CipherMode::CbcPassphrase => ([0; 32], secret),
            _ => (key::derive(variant.key, secret)?, ""),
        };
        Ok(Self { variant, key: SecretBox::new(Box::new(key)), passphrase: passphrase.into() })
    }

    /// The plain bytes of an encrypted text. ECB and CBC cannot tell a wrong key for certain: the result may be garbage.
    ///
    /// # Errors
    /// When the text is not of the variant's encoding, length or padding, or the tag of GCM does not fit.
    pub fn decrypt(&self, text: &str) -> Result<Vec<u8>, Undecryptable> {
        let key = self.key.expose_secret();
        let sealed = encoding::decode(self.variant.encoding, text)?;
        let blocks = |sealed: &[u8]| match sealed.len() {
            0 => Err(Undecryptable("it is too short")),
            length if length % BLOCK != 0 => Err(Undecryptable("its length is not that of whole blocks")),
            _ => Ok(()),
        };
        let cbc = |key: &[u8; 32], iv: [u8; BLOCK], sealed: &[u8]| {
            blocks(sealed)?;
            let opened = cbc::Decryptor::<Aes256>::new(key.into(), &iv.into()).decrypt_padded_vec::<Pkcs7>(sealed);
            opened.map_err(|_| PADDING)
        };
        match self.variant.mode {
            CipherMode::Ecb => {
                blocks(&sealed)?;
                let opened = ecb::Decryptor::<Aes256>::new(key.into()).decrypt_padded_vec::<Pkcs7>(&sealed);
                opened.map_err(|_| PADDING)
            }
            CipherMode::CbcPrefixedIv => {
                let (iv, sealed) = sealed.split_first_chunk().ok_or(Undecryptable("it is too short for an IV"))?;
                cbc(key, *iv, sealed)
            }
            CipherMode::CbcZeroIv => cbc(key, [0; BLOCK], &sealed),
            CipherMode::CbcKeyIv => cbc(key, first(key), &sealed),
            CipherMode::CbcPassphrase => {
                let salted = sealed.strip_prefix(&SALTED).and_then(|salted| salted.split_first_chunk());
                let (salt, sealed) = salted.ok_or(Undecryptable("it does not begin with Salted__ and a salt"))?;
                let (key, iv) = key::from_passphrase(self.passphrase.expose_secret(), *salt);
                cbc(&key, iv, sealed)
            }
            CipherMode::Gcm => {
                let too_short = Undecryptable("it is too short for a nonce and a tag");
                let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(too_short)?;
                if sealed.len() < TAG {
                    return Err(too_short);
                }
                let nonce: &Nonce<Aes256Gcm> = nonce.into();
                let opened = Aes256Gcm::new(key.into()).decrypt(nonce, sealed);
                opened.map_err(|_| {
                    Undecryptable("its tag does not fit: another key, another mode, or altered on the way")
                })
            }
        }
    }

    /// The encrypted text of plain bytes. `fresh` must be random and new each time: it is the prefixed IV, its first 12
    /// bytes the nonce of GCM, its first 8 the salt of a passphrase. Modes that have none of these do not use it.
    pub fn encrypt(&self, plain: &[u8], fresh: [u8; BLOCK]) -> String {
        let key = self.key.expose_secret();
        let cbc = |key: &[u8; 32], iv: [u8; BLOCK]| {
            cbc::Encryptor::<Aes256>::new(key.into(), &iv.into()).encrypt_padded_vec::<Pkcs7>(plain)
        };
        let sealed = match self.variant.mode {
            CipherMode::Ecb => ecb::Encryptor::<Aes256>::new(key.into()).encrypt_padded_vec::<Pkcs7>(plain),
            CipherMode::CbcPrefixedIv => [fresh.as_slice(), &cbc(key, fresh)].concat(),
            CipherMode::CbcZeroIv => cbc(key, [0; BLOCK]),
            CipherMode::CbcKeyIv => cbc(key, first(key)),
            CipherMode::CbcPassphrase => {
                let salt: [u8; SALT] = first(&fresh);
                let (key, iv) = key::from_passphrase(self.passphrase.expose_secret(), salt);
                [SALTED.as_slice(), &salt, &cbc(&key, iv)].concat()
            }
            CipherMode::Gcm => {
                let nonce: [u8; NONCE] = first(&fresh);
                let sealed = Aes256Gcm::new(key.into()).encrypt(&nonce.into(), plain);
                [nonce.as_slice(), &sealed.expect("a request is far shorter than the 64 GiB of GCM")].concat()
            }
        };
        encoding::encode(self.variant.encoding, &sealed)
    }
}

const PADDING: Undecryptable = Undecryptable("its padding does not fit: another key, another mode, or cut on the way");

/// The first bytes of an array that is longer.
fn first<const MANY: usize, const FEW: usize>(bytes: &[u8; MANY]) -> [u8; FEW] {
    *bytes.first_chunk().expect("the array is longer")
}
