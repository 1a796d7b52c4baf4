//! Where requests meet the protocol crate's ciphertext gate: which rooms it guards, and the shapes it wants.

use respite_protocol::ciphertext;
pub use respite_protocol::ciphertext::{Refusal, Verdict};
use ruma::CanonicalJsonObject;

use crate::{
    auth::Device,
    config::{Config, Scope},
    error::{Error, Result},
};

/// Whether the gate guards a room: always a therapy room, every other one unless the operator runs plain Matrix beside.
pub fn guards(config: &Config, is_therapy_room: bool) -> bool {
    is_therapy_room || config.gate.scope == Scope::Everywhere
}

/// Checks a message as the protocol crate does. A device id is a place for words: beside ciphertext stands the sender's
/// own, or none.
///
/// # Errors
/// The gate's.
pub fn message(
    me: &Device,
    kind: &str,
    content: CanonicalJsonObject,
) -> Result<CanonicalJsonObject> {
    let mut content = ciphertext::message_event(kind, content)?;
    content.retain(|key, value| key != "device_id" || value.as_str() == Some(me.device.as_str()));
    Ok(content)
}

/// JSON text as canonical JSON: an object, no floats, no integer beyond 2^53.
///
/// # Errors
/// 400 `M_BAD_JSON`.
pub fn canonical(json: &str) -> Result<CanonicalJsonObject> {
    serde_json::from_str(json).map_err(|_| {
        Error::bad_json(
            "The content must be a JSON object without fractions and without numbers beyond 2^53.",
        )
    })
}

/// What the gate let through, as the text that is stored.
///
/// # Errors
/// 500, if it cannot be written as JSON.
pub fn text(content: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(content)
        .map_err(|_| Error::internal("content that cannot be written as JSON"))
}
