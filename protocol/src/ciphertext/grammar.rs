//! The forms of identifiers, keys and encoded bytes. All are narrow enough that nobody writes a
//! sentence in one without meaning to.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ruma::ServerName;

use super::{
    MAX_DEVICE_ID_BYTES, MAX_ID_BYTES, MAX_JSON_DEPTH, MAX_TRANSACTION_ID_BYTES,
    randomness::Randomness,
    refusal::{Refusal, Verdict},
};

/// Checks a device id that a client chose: 1 to [`MAX_DEVICE_ID_BYTES`] characters of
/// `A-Z a-z 0-9 . _ ~ = + / : -`.
///
/// # Errors
///
/// `M_INVALID_PARAM` otherwise.
pub fn device_id(id: &str) -> Verdict<()> {
    const BAD: Refusal = Refusal::invalid(
        "The device id is too long, or not made of letters, digits and ._~=+/:- alone.",
    );
    if is_device_id(id) { Ok(()) } else { Err(BAD) }
}

/// Checks the transaction id of a request: 1 to [`MAX_ID_BYTES`] bytes. Clients put anything into it, a device's name
/// among others, so a server keeps no more of it than a hash.
///
/// # Errors
///
/// `M_INVALID_PARAM` otherwise.
pub fn transaction_id(id: &str) -> Verdict<()> {
    const BAD: Refusal = Refusal::invalid("The transaction id is missing or too long.");
    if within(id, MAX_ID_BYTES) {
        Ok(())
    } else {
        Err(BAD)
    }
}

/// Whether JSON text nests no deeper than [`MAX_JSON_DEPTH`] objects and lists. Looks at brackets
/// outside strings only, so that it can run before anything parses the text.
pub fn depth_ok(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_JSON_DEPTH {
            return false;
        }
    }
    true
}

pub(super) fn is_device_id(id: &str) -> bool {
    within(id, MAX_DEVICE_ID_BYTES) && id.bytes().all(is_opaque)
}

pub(super) fn is_transaction_id(id: &str) -> bool {
    within(id, MAX_TRANSACTION_ID_BYTES) && id.bytes().all(is_opaque)
}

/// The key ids of secret storage and the salts of key derivation: random letters and digits.
pub(super) fn is_opaque_id(id: &str) -> bool {
    within(id, 128) && id.bytes().all(is_opaque)
}

/// `$` and a reference hash: the form of room versions 4 and later.
pub(super) fn is_event_id(id: &str) -> bool {
    id.strip_prefix('$').is_some_and(is_reference_hash)
}

/// `!opaque:server`, or `!` and a reference hash (room version 12).
pub(super) fn is_room_id(id: &str) -> bool {
    let Some(rest) = id.strip_prefix('!') else {
        return false;
    };
    match rest.split_once(':') {
        Some((opaque, server)) => {
            within(opaque, 64)
                && opaque.bytes().all(is_url_safe)
                && is_server_name(server)
                && within(id, MAX_ID_BYTES)
        }
        None => is_reference_hash(rest),
    }
}

/// `@localpart:server` with the characters that new accounts may have.
pub(super) fn is_user_id(id: &str) -> bool {
    let allowed =
        |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+');
    let parts = id.strip_prefix('@').and_then(|rest| rest.split_once(':'));
    within(id, MAX_ID_BYTES)
        && parts.is_some_and(|(localpart, server)| {
            !localpart.is_empty() && localpart.bytes().all(allowed) && is_server_name(server)
        })
}

pub(super) fn is_server_name(name: &str) -> bool {
    within(name, MAX_ID_BYTES) && ServerName::parse(name).is_ok()
}

/// A pattern of server names in an access control list.
pub(super) fn is_server_pattern(pattern: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-*?:[]".contains(&b);
    within(pattern, MAX_ID_BYTES) && pattern.bytes().all(allowed)
}

/// A namespaced event type: `m.room.member`, `org.matrix.msc3401.call.member`.
pub(super) fn is_event_type(name: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    within(name, MAX_ID_BYTES) && name.contains('.') && name.bytes().all(allowed)
}

/// An event type in a filter or push rule, where `*` stands for anything.
pub(super) fn is_event_type_pattern(pattern: &str) -> bool {
    pattern == "*" || is_event_type(&pattern.replace('*', ""))
}

/// `algorithm:id` for keys of these algorithms; the id is a device id or a public key.
pub(super) fn is_key_id(id: &str) -> bool {
    let parts = id.split_once(':');
    parts.is_some_and(|(algorithm, name)| {
        matches!(algorithm, "ed25519" | "curve25519") && is_device_id(name)
    })
}

/// Base64, padded or not, of a Curve25519 or Ed25519 key or of a SHA-256 digest; neither words nor
/// of words.
pub(super) fn is_base64_32(text: &str) -> bool {
    is_mixed(text)
        && decoded(text).is_some_and(|bytes| bytes.len() == 32 && !Randomness::of(&bytes).is_text())
}

/// Base64, padded or not, of an Ed25519 signature; neither words nor of words.
pub(super) fn is_base64_64(text: &str) -> bool {
    is_mixed(text)
        && decoded(text).is_some_and(|bytes| bytes.len() == 64 && !Randomness::of(&bytes).is_text())
}

/// Base64, padded or not, of an initialisation vector, and not of words.
pub(super) fn is_base64_16(text: &str) -> bool {
    decoded(text).is_some_and(|bytes| bytes.len() == 16 && !Randomness::of(&bytes).is_text())
}

/// What secret storage's check value begins with: an initialisation vector, or, as nheko makes it, one of 32 bytes.
pub(super) fn is_check_iv(text: &str) -> bool {
    is_base64_16(text) || is_base64_32(text)
}

/// A backup's public key: base64, or, as nheko makes it, base64 of the base64.
pub(super) fn is_backup_key(text: &str) -> bool {
    let once = || String::from_utf8(decoded(text)?).ok();
    is_base64_32(text) || once().is_some_and(|inner| is_base64_32(&inner))
}

/// Whether base64 of 32 bytes or more has capital and small letters. Without the one or the other,
/// random bytes are below 4·10⁻¹⁰; words written as if they were base64 are so.
pub(super) fn is_mixed(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_uppercase()) && text.bytes().any(|b| b.is_ascii_lowercase())
}

/// The bytes of standard base64, padded or not; `None` if stray bits or characters are in it.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    LENIENT.decode(text).ok()
}

pub(super) fn within(text: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&text.len())
}

fn is_reference_hash(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(is_url_safe)
}

fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn is_opaque(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~=+/:-".contains(&byte)
}
