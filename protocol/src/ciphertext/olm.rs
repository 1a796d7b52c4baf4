//! Ciphertext of Olm and Megolm, as vodozemac reads it.

use vodozemac::{
    megolm::MegolmMessage,
    olm::{Message, PreKeyMessage},
};

use super::{grammar::decoded, randomness::Randomness};

/// AES-CBC with PKCS#7 padding makes whole blocks of this many bytes.
const BLOCK_BYTES: usize = 16;

/// Fewest bytes of ciphertext: the shortest payload, `{"content":{},"room_id":"","type":""}`, has
/// 37 bytes and so fills three blocks. Shorter ones are no Matrix events, and too short for telling
/// them from text.
pub(super) const MIN_CIPHERTEXT_BYTES: usize = 48;

/// Whether the text is base64 of a Megolm message: version, index, ciphertext, code, signature,
/// and nothing else.
pub(super) fn is_megolm_message(text: &str) -> bool {
    let Ok(message) = MegolmMessage::from_base64(text) else {
        return false;
    };
    message.to_base64() == unpadded(text)
        && is_ciphertext(message.ciphertext())
        && is_scalar(message.signature().to_bytes())
}

/// Whether the text is base64 of an Olm message within a session that both sides have.
pub(super) fn is_olm_message(text: &str) -> bool {
    Message::from_base64(text).is_ok_and(|message| {
        message.to_base64() == unpadded(text) && is_ciphertext(message.ciphertext())
    })
}

/// Whether the text is base64 of an Olm message that also begins a session.
pub(super) fn is_olm_prekey_message(text: &str) -> bool {
    PreKeyMessage::from_base64(text).is_ok_and(|message| {
        message.to_base64() == unpadded(text) && is_ciphertext(message.message().ciphertext())
    })
}

/// Whether the text is base64 of AES-CBC ciphertext, as in a key backup.
pub(super) fn is_cbc_base64(text: &str) -> bool {
    decoded(text).is_some_and(|bytes| is_ciphertext(&bytes))
}

/// Whether the text is base64 of AES-CTR ciphertext, as in secret storage.
pub(super) fn is_ctr_base64(text: &str) -> bool {
    decoded(text).is_some_and(|bytes| !bytes.is_empty() && Randomness::of(&bytes).plausible())
}

fn is_ciphertext(bytes: &[u8]) -> bool {
    bytes.len() >= MIN_CIPHERTEXT_BYTES
        && bytes.len().is_multiple_of(BLOCK_BYTES)
        && Randomness::of(bytes).plausible()
}

/// The second half of an Ed25519 signature is a number below 2²⁵² + 2¹²⁵, little-endian; text never
/// ends like one.
fn is_scalar(signature: [u8; 64]) -> bool {
    signature.last().is_some_and(|highest| *highest <= 0x10)
}

/// Older clients pad their base64.
fn unpadded(text: &str) -> &str {
    text.trim_end_matches('=')
}
