//! The steps of verifying a person or a device, in rooms and between devices. The start is hashed
//! by both sides, so nothing in it may be changed: it passes whole or not at all.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    fields::{Fields, list, map, object, one_of, text},
    grammar::{is_base64_32, is_device_id, is_event_id, is_key_id, is_transaction_id, within},
    refusal::Verdict,
};

/// Where a step is sent, and so what ties it to the steps before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a room: it refers to the request's event.
    Room,
    /// Between devices: it names the transaction.
    ToDevice,
}

const METHODS: &[&str] = &[
    "m.sas.v1",
    "m.qr_code.show.v1",
    "m.qr_code.scan.v1",
    "m.reciprocate.v1",
];
const AGREEMENTS: &[&str] = &["curve25519", "curve25519-hkdf-sha256"];
const HASHES: &[&str] = &["sha256"];
const CODES: &[&str] = &[
    "hmac-sha256",
    "hkdf-hmac-sha256",
    "hkdf-hmac-sha256.v2",
    "org.matrix.msc3783.hkdf-hmac-sha256",
];
const SHORT_STRINGS: &[&str] = &["decimal", "emoji"];

/// Why a verification ended, with the words that stand in for the sender's own.
const CANCELLED: &[(&str, &str)] = &[
    ("m.user", "The person cancelled the verification."),
    ("m.timeout", "The verification took too long."),
    ("m.unknown_transaction", "The verification is not known."),
    ("m.unknown_method", "No common way to verify was found."),
    ("m.unexpected_message", "An unexpected message came."),
    ("m.key_mismatch", "The keys do not match."),
    ("m.user_mismatch", "The expected person does not match."),
    ("m.invalid_message", "A message was not valid."),
    ("m.accepted", "Another device accepted the verification."),
    ("m.mismatched_commitment", "The commitments do not match."),
    ("m.mismatched_sas", "The emoji or numbers do not match."),
    ("m.mismatched_user", "The expected person does not match."),
];

/// The methods that a side offers.
pub(super) fn methods(value: Value) -> Verdict<Value> {
    list(one_of(METHODS))(value)
}

/// Any step after the request. Each field has one form wherever it occurs, so the steps need not
/// be told apart.
pub(super) fn step(content: CanonicalJsonObject, place: Place) -> Verdict {
    let code = content.get("code").and_then(Value::as_str);
    let reason = CANCELLED
        .iter()
        .find(|(known, _)| Some(*known) == code)
        .map(|(_, text)| *text);
    let mut fields = Fields::of(content);
    match place {
        Place::Room => fields.need("m.relates_to", object(reference))?,
        Place::ToDevice => {
            fields.need("transaction_id", text(is_transaction_id))?;
            fields.may("org.matrix.msgid", text(is_transaction_id))?;
        }
    }
    fields.may("from_device", text(is_device_id))?;
    start_or_accept(&mut fields)?;
    fields.may("commitment", text(is_base64_32))?;
    fields.may("key", text(is_base64_32))?;
    fields.may("mac", map(is_key_id, text(is_code)))?;
    fields.may("keys", text(is_code))?;
    fields.may(
        "code",
        text(|code| CANCELLED.iter().any(|(known, _)| *known == code)),
    )?;
    if let Some(reason) = reason {
        fields.replace("reason", reason);
    }
    fields.rest_refused()
}

fn start_or_accept(fields: &mut Fields) -> Verdict<()> {
    fields.may("methods", methods)?;
    fields.may_each(&["method", "next_method"], one_of(METHODS))?;
    fields.may("secret", text(is_secret))?;
    fields.may("key_agreement_protocols", list(one_of(AGREEMENTS)))?;
    fields.may("key_agreement_protocol", one_of(AGREEMENTS))?;
    fields.may("hashes", list(one_of(HASHES)))?;
    fields.may("hash", one_of(HASHES))?;
    fields.may("message_authentication_codes", list(one_of(CODES)))?;
    fields.may("message_authentication_code", one_of(CODES))?;
    fields.may("short_authentication_string", list(one_of(SHORT_STRINGS)))
}

fn reference(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("rel_type", one_of(&["m.reference"]))?;
    fields.need("event_id", text(is_event_id))?;
    fields.rest_refused()
}

/// An authentication code of 32 bytes. The oldest method encodes it wrongly, so only the alphabet
/// and the length are checked.
fn is_code(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    text.trim_end_matches('=').len() == 43 && text.trim_end_matches('=').bytes().all(allowed)
}

/// The shared secret of a QR code, which stays private to the two devices until one has scanned it.
fn is_secret(text: &str) -> bool {
    within(text, 64) && super::grammar::decoded(text).is_some_and(|bytes| bytes.len() >= 8)
}
