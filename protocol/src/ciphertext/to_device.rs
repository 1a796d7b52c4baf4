//! Messages from device to device.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    fields::{Fields, integer, map, object, one_of, text},
    grammar::{is_base64_32, is_device_id, is_room_id, is_transaction_id},
    message::MEGOLM,
    olm,
    refusal::{Refusal, Verdict},
    table::{Class, judge},
    verification::{self, Place},
};

const OLM: &str = "m.olm.v1.curve25519-aes-sha2";
/// matrix-sdk and Element number their messages for finding lost ones.
const MESSAGE_ID: &str = "org.matrix.msgid";

/// Names of the secrets that devices share.
const SECRETS: &[&str] = &[
    "m.cross_signing.master",
    "m.cross_signing.self_signing",
    "m.cross_signing.user_signing",
    "m.megolm_backup.v1",
    "org.matrix.msc3814",
];

/// Checks the content of a to-device event.
///
/// # Errors
///
/// `M_FORBIDDEN` for anything that is neither Olm ciphertext nor one of the few messages that have
/// to be readable; always for a key or a secret in the clear.
pub fn to_device_event(event_type: &str, content: CanonicalJsonObject) -> Verdict {
    judge(Class::ToDevice, event_type, content)
}

/// `m.room.encrypted`.
pub(super) fn olm(content: CanonicalJsonObject) -> Verdict {
    const NOT_OLM: Refusal = Refusal::forbidden(
        "The message to a device is not encrypted with Olm (m.olm.v1.curve25519-aes-sha2). \
         Update your client.",
    );
    if content.get("algorithm").and_then(Value::as_str) != Some(OLM) {
        return Err(NOT_OLM);
    }
    let mut fields = Fields::of(content);
    fields.need("algorithm", one_of(&[OLM]))?;
    fields.need("sender_key", text(is_base64_32))?;
    fields.need("ciphertext", map(is_base64_32, object(ciphertext)))?;
    fields.may(MESSAGE_ID, text(is_transaction_id))?;
    fields.rest_refused()
}

fn ciphertext(content: CanonicalJsonObject) -> Verdict {
    const NOT_CIPHERTEXT: Refusal = Refusal::forbidden(
        "The message to a device says that it is encrypted, but its ciphertext is not. Update \
         your client.",
    );
    let kind = content
        .get("type")
        .and_then(Value::as_integer)
        .map(i64::from);
    let body = content
        .get("body")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let encrypted = match kind {
        Some(0) => olm::is_olm_prekey_message(body),
        Some(1) => olm::is_olm_message(body),
        _ => false,
    };
    if !encrypted {
        return Err(NOT_CIPHERTEXT);
    }
    let mut fields = Fields::of(content);
    fields.need("type", integer)?;
    fields.need("body", Ok)?;
    fields.rest_refused()
}

/// `m.key.verification.request`.
pub(super) fn verification_request(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("transaction_id", text(is_transaction_id))?;
    fields.need("from_device", text(is_device_id))?;
    fields.need("methods", verification::methods)?;
    fields.need("timestamp", integer)?;
    fields.may(MESSAGE_ID, text(is_transaction_id))?;
    fields.rest_refused()
}

/// The other `m.key.verification.*`: told apart by their fields.
pub(super) fn verification(content: CanonicalJsonObject) -> Verdict {
    verification::step(content, Place::ToDevice)
}

/// `m.room_key_request`.
pub(super) fn room_key_request(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("action", one_of(&["request", "request_cancellation"]))?;
    fields.need("requesting_device_id", text(is_device_id))?;
    fields.need("request_id", text(is_transaction_id))?;
    fields.may("body", object(requested_session))?;
    fields.may(MESSAGE_ID, text(is_transaction_id))?;
    fields.rest_refused()
}

fn requested_session(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("algorithm", one_of(&[MEGOLM]))?;
    fields.need("room_id", text(is_room_id))?;
    fields.need("session_id", text(is_base64_32))?;
    fields.may("sender_key", text(is_base64_32))?;
    fields.rest_refused()
}

/// `m.room_key.withheld`.
pub(super) fn withheld(content: CanonicalJsonObject) -> Verdict {
    let reason = match content.get("code").and_then(Value::as_str) {
        Some("m.blacklisted") => "The sender has blocked this device.",
        Some("m.unverified") => "The sender shares keys with verified devices only.",
        Some("m.unauthorised") => "This device may not have this key.",
        Some("m.unavailable") => "The key was not found.",
        Some("m.no_olm") => "No encrypted channel to this device could be opened.",
        _ => "The key is withheld.",
    };
    let mut fields = Fields::of(content);
    let codes = &[
        "m.blacklisted",
        "m.unverified",
        "m.unauthorised",
        "m.unavailable",
        "m.no_olm",
        "m.history_not_shared",
        "io.element.msc4268.history_not_shared",
    ];
    fields.need("code", one_of(codes))?;
    fields.need("algorithm", one_of(&[MEGOLM]))?;
    fields.need("sender_key", text(is_base64_32))?;
    fields.may("room_id", text(is_room_id))?;
    fields.may("session_id", text(is_base64_32))?;
    fields.may("from_device", text(is_device_id))?;
    fields.may(MESSAGE_ID, text(is_transaction_id))?;
    if fields.has("reason") {
        fields.replace("reason", reason);
    }
    fields.rest_refused()
}

/// `m.secret.request`.
pub(super) fn secret_request(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("action", one_of(&["request", "request_cancellation"]))?;
    fields.need("requesting_device_id", text(is_device_id))?;
    fields.need("request_id", text(is_transaction_id))?;
    fields.may("name", one_of(SECRETS))?;
    fields.may(MESSAGE_ID, text(is_transaction_id))?;
    fields.rest_refused()
}

/// `m.dummy`.
pub(super) fn dummy(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.may(MESSAGE_ID, text(is_transaction_id))?;
    fields.rest_refused()
}

#[cfg(test)]
mod tests;
