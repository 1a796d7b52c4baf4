//! Ciphertext of Olm and Megolm, as vodozemac reads it.

use vodozemac::{
    Curve25519PublicKey,
    megolm::MegolmMessage,
    olm::{Message, PreKeyMessage},
};

use super::{
    grammar::{decoded, is_mixed},
    randomness::Randomness,
};

/// AES-CBC with PKCS#7 padding makes whole blocks of this many bytes.
const BLOCK_BYTES: usize = 16;

/// Fewest bytes of ciphertext: the shortest payload, `{"content":{},"room_id":"","type":""}`, has
/// 37 bytes and so fills three blocks. Shorter ones are no Matrix events, and too short for telling
/// them from text.
pub(super) const MIN_CIPHERTEXT_BYTES: usize = 48;

/// Fewest bytes of a secret in secret storage: each one is a key of this size, most as base64 text.
const MIN_SECRET_BYTES: usize = 32;

/// Whether the text is base64 of a Megolm message: version, index, ciphertext, code, signature,
/// and nothing else.
pub(super) fn is_megolm_message(text: &str) -> bool {
    let Ok(message) = MegolmMessage::from_base64(text) else {
        return false;
    };
    message.to_base64() == unpadded(text)
        && is_ciphertext(message.ciphertext())
        && is_signature(message.signature().to_bytes())
}

/// Whether the text is base64 of an Olm message within a session that both sides have.
pub(super) fn is_olm_message(text: &str) -> bool {
    Message::from_base64(text)
        .is_ok_and(|message| message.to_base64() == unpadded(text) && is_inner(&message))
}

/// Whether the text is base64 of an Olm message that also begins a session.
pub(super) fn is_olm_prekey_message(text: &str) -> bool {
    PreKeyMessage::from_base64(text).is_ok_and(|message| {
        let keys = [
            message.one_time_key(),
            message.base_key(),
            message.identity_key(),
        ];
        message.to_base64() == unpadded(text)
            && keys.into_iter().all(is_key)
            && is_inner(message.message())
    })
}

fn is_inner(message: &Message) -> bool {
    is_key(message.ratchet_key()) && is_ciphertext(message.ciphertext())
}

/// Whether the text is base64 of AES-CBC ciphertext, as in a key backup.
pub(super) fn is_cbc_base64(text: &str) -> bool {
    decoded(text).is_some_and(|bytes| is_ciphertext(&bytes))
}

/// Whether the text is base64 of AES-CTR ciphertext, as in secret storage.
pub(super) fn is_ctr_base64(text: &str) -> bool {
    is_mixed(text)
        && decoded(text).is_some_and(|bytes| {
            bytes.len() >= MIN_SECRET_BYTES && Randomness::of(&bytes).plausible()
        })
}

fn is_ciphertext(bytes: &[u8]) -> bool {
    bytes.len() >= MIN_CIPHERTEXT_BYTES
        && bytes.len().is_multiple_of(BLOCK_BYTES)
        && Randomness::of(bytes).plausible()
}

/// The second half of an Ed25519 signature is a number below 2²⁵² + 2¹²⁵, little-endian, which few
/// texts end like; and none of it is text.
fn is_signature(bytes: [u8; 64]) -> bool {
    bytes.last().is_some_and(|highest| *highest <= 0x10) && !Randomness::of(&bytes).is_text()
}

/// A public key that is not words.
fn is_key(key: Curve25519PublicKey) -> bool {
    !Randomness::of(key.as_bytes()).is_text()
}

/// Older clients pad their base64.
fn unpadded(text: &str) -> &str {
    text.trim_end_matches('=')
}
