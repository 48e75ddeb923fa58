//! The key's 32 bytes, made from a secret.

use md5::Md5;
use sha2::{Digest, Sha256};

use super::encoding::base64;
use super::{BLOCK, SALT};
use crate::config::KeyForm;

/// Why a secret makes no key. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// For [`KeyForm::Hex`].
    #[error("the secret is not 64 hexadecimal digits, as api.encryption_key = \"hex\" says")]
    NotHex,
    /// For [`KeyForm::Base64`].
    #[error("the secret is not 32 bytes in base64, as api.encryption_key = \"base64\" says")]
    NotBase64,
}

/// Makes a key.
pub(super) fn derive(form: KeyForm, secret: &str) -> Result<[u8; 32], KeyError> {
    let fitting = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    match form {
        KeyForm::First32 => Ok(first_32(secret.as_bytes())),
        KeyForm::Sha256 => Ok(Sha256::digest(secret).into()),
        KeyForm::Sha256Hex => Ok(first_32(hex::encode(Sha256::digest(secret)).as_bytes())),
        KeyForm::Hex => fitting(hex::decode(secret).ok()).ok_or(KeyError::NotHex),
        KeyForm::Base64 => fitting(base64(secret)).ok_or(KeyError::NotBase64),
    }
}

/// Makes key and IV from a passphrase and a salt, as `CryptoJS.AES` and `openssl enc -md md5` do: `EVP_BytesToKey` with one
/// round of MD5, each digest over the one before, the passphrase and the salt.
pub(super) fn from_passphrase(passphrase: &str, salt: [u8; SALT]) -> ([u8; 32], [u8; BLOCK]) {
    let digest = |before: &[u8]| -> [u8; BLOCK] { Md5::digest([before, passphrase.as_bytes(), &salt].concat()).into() };
    let first = digest(&[]);
    let second = digest(&first);
    let mut key = [0; 32];
    key[..BLOCK].copy_from_slice(&first);
    key[BLOCK..].copy_from_slice(&second);
    (key, digest(&second))
}

/// The first 32 bytes, zero bytes where there are none.
fn first_32(bytes: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    key
}
