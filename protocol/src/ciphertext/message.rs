//! Timeline events.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    fields::{Fields, boolean, object, one_of, text},
    grammar::{is_base64_32, is_device_id, is_event_id, is_user_id},
    olm,
    refusal::{Refusal, Verdict},
    table::{Class, judge},
    verification::{self, Place},
};

pub(super) const MEGOLM: &str = "m.megolm.v1.aes-sha2";

const PLAINTEXT: Refusal = Refusal::forbidden(
    "This room takes encrypted messages only. Use a client that supports end-to-end encryption, \
     and check that it is switched on.",
);
const NOT_MEGOLM: Refusal = Refusal::forbidden(
    "The message is not encrypted with Megolm (m.megolm.v1.aes-sha2). Update your client.",
);
const NOT_CIPHERTEXT: Refusal = Refusal::forbidden(
    "The message says that it is encrypted, but its ciphertext is not. Update your client.",
);
const REACTION: Refusal = Refusal::forbidden(
    "Reactions are readable by the server, so this server does not take them. Answer with a \
     message instead.",
);

/// Checks the content of a timeline event, as a client sends it.
///
/// Gives back what may be stored: the content itself for `m.room.encrypted`, and content without
/// its free text for the few others that rooms need.
///
/// # Errors
///
/// `M_FORBIDDEN` for everything else, pretended ciphertext included.
pub fn message_event(event_type: &str, content: CanonicalJsonObject) -> Verdict {
    judge(Class::Message, event_type, content)
}

/// `m.room.encrypted`.
pub(super) fn megolm(content: CanonicalJsonObject) -> Verdict {
    if content.get("algorithm").and_then(Value::as_str) != Some(MEGOLM) {
        return Err(NOT_MEGOLM);
    }
    let mut fields = Fields::of(content);
    fields.need("algorithm", one_of(&[MEGOLM]))?;
    fields.need("ciphertext", ciphertext)?;
    fields.need("session_id", text(is_base64_32))?;
    fields.may("sender_key", text(is_base64_32))?;
    fields.may("device_id", text(is_device_id))?;
    fields.may("m.relates_to", object(relation))?;
    fields.rest_refused()
}

fn ciphertext(value: Value) -> Verdict<Value> {
    match value {
        Value::String(text) if olm::is_megolm_message(&text) => Ok(Value::String(text)),
        _ => Err(NOT_CIPHERTEXT),
    }
}

/// `m.relates_to` beside ciphertext: ids and known words, no `key`.
fn relation(content: CanonicalJsonObject) -> Verdict {
    if content.get("rel_type").and_then(Value::as_str) == Some("m.annotation") {
        return Err(REACTION);
    }
    let mut fields = Fields::of(content);
    if fields.has("rel_type") {
        fields.need(
            "rel_type",
            one_of(&["m.thread", "m.replace", "m.reference"]),
        )?;
        fields.need("event_id", text(is_event_id))?;
    }
    fields.may("is_falling_back", boolean)?;
    fields.may("m.in_reply_to", object(in_reply_to))?;
    fields.rest_refused()
}

fn in_reply_to(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("event_id", text(is_event_id))?;
    fields.rest_refused()
}

/// `m.room.redaction`.
pub(super) fn redaction(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.may("redacts", text(is_event_id))?;
    fields.drop("reason");
    fields.rest_refused()
}

/// `m.room.message`: only the request that begins a verification between two people, which Element
/// Web sends in the clear inside encrypted rooms.
pub(super) fn verification_request(content: CanonicalJsonObject) -> Verdict {
    const MSGTYPE: &str = "m.key.verification.request";
    if content.get("msgtype").and_then(Value::as_str) != Some(MSGTYPE) {
        return Err(PLAINTEXT);
    }
    let mut fields = Fields::of(content);
    fields.need("msgtype", one_of(&[MSGTYPE]))?;
    fields.need("from_device", text(is_device_id))?;
    fields.need("methods", verification::methods)?;
    fields.need("to", text(is_user_id))?;
    fields.drop("format");
    fields.drop("formatted_body");
    fields.replace("body", "This person would like to verify your identity.");
    fields.rest_refused()
}

/// `m.key.verification.*`: the steps are told apart by their fields.
pub(super) fn verification(content: CanonicalJsonObject) -> Verdict {
    verification::step(content, Place::Room)
}

#[cfg(test)]
mod tests;
