//! Keys of end-to-end encryption: public keys, signatures and backups. Signed objects pass whole or
//! not at all, because their signatures cover every field but `unsigned` and `signatures`.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    fields::{Fields, boolean, count, list, map, object, one_of, text},
    grammar::{
        decoded, is_base64_32, is_base64_64, is_device_id, is_key_id, is_opaque_id, is_room_id,
        is_user_id,
    },
    olm,
    randomness::Randomness,
    refusal::{Refusal, Verdict},
    table::{Class, judge},
};

/// An Olm account has more: its two key pairs alone are longer.
const MIN_PICKLE_BYTES: usize = 128;
const ONE_TIME: &str = "signed_curve25519";
const BACKUP: &str = "m.megolm_backup.v1.curve25519-aes-sha2";
const BAD_KEY: Refusal = Refusal::invalid("A key or its id is not of the form that Matrix uses.");

/// Checks `device_keys` of `/keys/upload`. The device's name is dropped.
///
/// # Errors
///
/// A [`Refusal`] if anything but ids, known algorithms, public keys and signatures is in it.
pub fn device_keys(keys: CanonicalJsonObject) -> Verdict {
    judge(Class::Key, "device keys", keys)
}

/// Checks one entry of `one_time_keys` or `fallback_keys` of `/keys/upload`: its key id
/// (`signed_curve25519:AAAAAQ`) and its value.
///
/// # Errors
///
/// A [`Refusal`] if it is not a signed public key.
pub fn one_time_key(key_id: &str, key: Value) -> Verdict<Value> {
    let (algorithm, id) = key_id.split_once(':').ok_or(BAD_KEY)?;
    match key {
        Value::Object(key) if algorithm == ONE_TIME && is_device_id(id) => {
            judge(Class::Key, ONE_TIME, key).map(Value::Object)
        }
        _ => Err(BAD_KEY),
    }
}

/// Checks one key of `/keys/device_signing/upload`.
///
/// # Errors
///
/// A [`Refusal`] if anything but ids, usage, public keys and signatures is in it.
pub fn cross_signing_key(key: CanonicalJsonObject) -> Verdict {
    judge(Class::Key, "cross-signing key", key)
}

/// Checks the body of `/keys/signatures/upload`: by user id, then by device id or public key, the
/// signed device keys or cross-signing key.
///
/// # Errors
///
/// A [`Refusal`] if anything else is in it.
pub fn signatures(body: CanonicalJsonObject) -> Verdict {
    judge(Class::Key, "signatures", body)
}

/// Checks `auth_data` of a key backup version with this algorithm.
///
/// # Errors
///
/// A [`Refusal`] for an unknown algorithm, or if anything but the public key and signatures is in
/// it.
pub fn backup_auth_data(algorithm: &str, auth_data: CanonicalJsonObject) -> Verdict {
    const BAD_ALGORITHM: Refusal =
        Refusal::invalid("This server does not know this kind of key backup.");
    if algorithm == BACKUP {
        judge(Class::Key, BACKUP, auth_data)
    } else {
        Err(BAD_ALGORITHM)
    }
}

/// Checks what a key in a backup is kept under: its room's id and its session's, the base64 of a public key.
///
/// # Errors
///
/// `M_INVALID_PARAM` if either could be words.
pub fn backup_ids(room: &str, session: &str) -> Verdict<()> {
    const BAD: Refusal = Refusal::invalid(
        "A room id or a session id in the backup is not of the form that Matrix uses.",
    );
    if is_room_id(room) && is_base64_32(session) {
        Ok(())
    } else {
        Err(BAD)
    }
}

/// Checks one session of a key backup.
///
/// # Errors
///
/// A [`Refusal`] if its data is not ciphertext.
pub fn backup_session(session: CanonicalJsonObject) -> Verdict {
    judge(Class::Key, "backup session", session)
}

/// Checks the private part of a dehydrated device: only the caller can decrypt it.
///
/// # Errors
///
/// A [`Refusal`] for an unknown algorithm, or if it is not ciphertext.
pub fn dehydrated_device(data: CanonicalJsonObject) -> Verdict {
    judge(Class::Key, "dehydrated device", data)
}

pub(super) fn dehydrated(data: CanonicalJsonObject) -> Verdict {
    let algorithms = &["org.matrix.msc3814.v1.olm", "org.matrix.msc3814.v2"];
    let mut fields = Fields::of(data);
    fields.need("algorithm", one_of(algorithms))?;
    fields.need("device_pickle", text(is_pickle))?;
    fields.may("nonce", text(is_nonce))?;
    fields.rest_refused()
}

/// A device that a client has encrypted: bytes as a cipher makes them.
fn is_pickle(pickle: &str) -> bool {
    decoded(pickle)
        .is_some_and(|bytes| bytes.len() >= MIN_PICKLE_BYTES && Randomness::of(&bytes).plausible())
}

/// The nonce of XChaCha20 or ChaCha20.
fn is_nonce(nonce: &str) -> bool {
    decoded(nonce).is_some_and(|bytes| matches!(bytes.len(), 12 | 24))
}

pub(super) fn device(keys: CanonicalJsonObject) -> Verdict {
    let algorithms = &[
        "m.olm.v1.curve25519-aes-sha2",
        "m.megolm.v1.aes-sha2",
        "m.olm.v2.curve25519-aes-sha2",
        "m.megolm.v2.aes-sha2",
    ];
    let mut fields = Fields::of(keys);
    fields.need("user_id", text(is_user_id))?;
    fields.need("device_id", text(is_device_id))?;
    fields.need("algorithms", list(one_of(algorithms)))?;
    fields.need("keys", map(is_key_id, text(is_base64_32)))?;
    fields.may("signatures", signature_map)?;
    fields.may("dehydrated", boolean)?;
    fields.drop("unsigned");
    fields.rest_refused()
}

pub(super) fn signed_one_time(key: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(key);
    fields.need("key", text(is_base64_32))?;
    fields.need("signatures", signature_map)?;
    fields.may("fallback", boolean)?;
    fields.rest_refused()
}

pub(super) fn cross_signing(key: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(key);
    fields.need("user_id", text(is_user_id))?;
    fields.need(
        "usage",
        list(one_of(&["master", "self_signing", "user_signing"])),
    )?;
    fields.need("keys", map(is_key_id, text(is_base64_32)))?;
    fields.may("signatures", signature_map)?;
    fields.drop("unsigned");
    fields.rest_refused()
}

pub(super) fn signed_by_user(body: CanonicalJsonObject) -> Verdict {
    let signed = |key: CanonicalJsonObject| {
        if key.contains_key("usage") {
            cross_signing(key)
        } else {
            device(key)
        }
    };
    match map(is_user_id, map(is_device_id, object(signed)))(Value::Object(body))? {
        Value::Object(body) => Ok(body),
        _ => Err(BAD_KEY),
    }
}

pub(super) fn auth_data(auth_data: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(auth_data);
    fields.need("public_key", text(is_base64_32))?;
    fields.may("signatures", signature_map)?;
    fields.may("private_key_salt", text(is_opaque_id))?;
    fields.may_each(&["private_key_iterations", "private_key_bits"], count)?;
    fields.rest_refused()
}

pub(super) fn session(session: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(session);
    fields.need("first_message_index", count)?;
    fields.need("forwarded_count", count)?;
    fields.need("is_verified", boolean)?;
    fields.need("session_data", object(session_data))?;
    fields.rest_refused()
}

fn session_data(data: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(data);
    fields.need("ephemeral", text(is_base64_32))?;
    fields.need("ciphertext", text(olm::is_cbc_base64))?;
    fields.need("mac", text(is_backup_code))?;
    fields.rest_refused()
}

/// The first eight bytes of an authentication code, or all of it.
fn is_backup_code(text: &str) -> bool {
    decoded(text).is_some_and(|bytes| matches!(bytes.len(), 8 | 32))
}

fn signature_map(value: Value) -> Verdict<Value> {
    map(is_user_id, map(is_key_id, text(is_base64_64)))(value)
}

#[cfg(test)]
mod tests;
