//! Encrypted bytes as text.

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, Engine};

use super::Undecryptable;
use crate::config::TextEncoding;

/// Reads what is base64 in any common spelling: the padding may be missing, and the last bits need not be zero.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The bytes of a text.
pub(super) fn decode(encoding: TextEncoding, text: &str) -> Result<Vec<u8>, Undecryptable> {
    match encoding {
        TextEncoding::Base64 => base64(text).ok_or(Undecryptable("it is not base64")),
        TextEncoding::Hex => hex::decode(text.split_ascii_whitespace().collect::<String>())
            .map_err(|_| Undecryptable("it is not hexadecimal")),
    }
}

/// The text of bytes: standard base64 with padding, or lower-case hexadecimal.
pub(super) fn encode(encoding: TextEncoding, bytes: &[u8]) -> String {
    match encoding {
        TextEncoding::Base64 => BASE64_STANDARD.encode(bytes),
        TextEncoding::Hex => hex::encode(bytes),
    }
}

/// The bytes of a base64 text: either alphabet, broken into lines or not.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let standard = |byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(standard).collect();
    LENIENT.decode(text).ok()
}
