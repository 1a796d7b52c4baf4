//! Signed JSON objects: who signed what.
//!
//! [Signing JSON](https://spec.matrix.org/v1.18/appendices/#signing-json)

use std::collections::BTreeMap;

use http::StatusCode;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, SigningKeyAlgorithm, UserId,
    api::error::ErrorKind,
    serde::Base64,
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};

use crate::{
    error::{Error, Result},
    gate,
};

/// The prefix of the ids of signing keys.
pub(super) const ED25519: &str = "ed25519:";

/// A stored object again.
///
/// # Errors
/// It is not what was stored.
pub(super) fn parse(json: &str) -> Result<CanonicalJsonObject> {
    gate::canonical(json)
}

/// What the signatures of an object cover.
pub(super) fn signed_text(object: &CanonicalJsonObject) -> Option<String> {
    to_canonical_json_string_for_signing(object).ok()
}

/// Whether two objects are the same but for their signatures and unsigned parts.
pub(super) fn same(one: &CanonicalJsonObject, other: &CanonicalJsonObject) -> bool {
    signed_text(one) == signed_text(other)
}

/// Whether the object carries the signer's valid signature with this key. `public_key` is unpadded base64.
pub(super) fn verify(
    object: &CanonicalJsonObject,
    signer: &UserId,
    key_id: &str,
    public_key: &str,
) -> bool {
    let verified = || {
        let signature: Base64 = Base64::parse(signature(object, signer, key_id)?).ok()?;
        let public_key: Base64 = Base64::parse(public_key).ok()?;
        verify_canonical_json_bytes(
            &SigningKeyAlgorithm::Ed25519,
            public_key.as_bytes(),
            signature.as_bytes(),
            signed_text(object)?.as_bytes(),
        )
        .ok()
    };
    key_id.starts_with(ED25519) && verified().is_some()
}

/// A signature on the object.
pub(super) fn signature<'a>(
    object: &'a CanonicalJsonObject,
    signer: &UserId,
    key_id: &str,
) -> Option<&'a str> {
    object
        .get("signatures")?
        .as_object()?
        .get(signer.as_str())?
        .as_object()?
        .get(key_id)?
        .as_str()
}

/// The signatures of one signer.
pub(super) fn signatures_of(
    object: &CanonicalJsonObject,
    signer: &UserId,
) -> BTreeMap<String, String> {
    let signatures = || {
        object
            .get("signatures")?
            .as_object()?
            .get(signer.as_str())?
            .as_object()
    };
    signatures()
        .into_iter()
        .flatten()
        .filter_map(|(key_id, signature)| {
            Some((key_id.to_string(), signature.as_str()?.to_owned()))
        })
        .collect()
}

/// Adds a signer's signatures; those that are there already stay.
pub(super) fn add_signatures(
    object: &mut CanonicalJsonObject,
    signer: &UserId,
    more: BTreeMap<String, String>,
) {
    let all = object
        .entry("signatures".into())
        .or_insert_with(|| CanonicalJsonValue::Object(BTreeMap::new()));
    let CanonicalJsonValue::Object(all) = all else {
        return;
    };
    let of_signer = all
        .entry(signer.as_str().into())
        .or_insert_with(|| CanonicalJsonValue::Object(BTreeMap::new()));
    let CanonicalJsonValue::Object(of_signer) = of_signer else {
        return;
    };
    for (key_id, signature) in more {
        of_signer
            .entry(key_id)
            .or_insert(CanonicalJsonValue::String(signature));
    }
}

/// Drops the signatures of everybody else.
pub(super) fn keep_signatures_of(object: &mut CanonicalJsonObject, signer: &UserId) {
    if let Some(CanonicalJsonValue::Object(all)) = object.get_mut("signatures") {
        all.retain(|user, _| user.as_str() == signer.as_str());
    }
}

/// The public key with this id among the object's `keys`.
pub(super) fn public_key<'a>(object: &'a CanonicalJsonObject, key_id: &str) -> Option<&'a str> {
    object.get("keys")?.as_object()?.get(key_id)?.as_str()
}

/// Id and value of the one public key that a cross-signing key object holds.
pub(super) fn only_key(object: &CanonicalJsonObject) -> Option<(&str, &str)> {
    let keys = object.get("keys")?.as_object()?;
    let (key_id, key) = keys.iter().next().filter(|_| keys.len() == 1)?;
    let key = key.as_str()?;
    (key_id.as_str().strip_prefix(ED25519) == Some(key)).then_some((key_id.as_str(), key))
}

/// A text field of the object.
pub(super) fn text<'a>(object: &'a CanonicalJsonObject, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

/// 400 `M_INVALID_SIGNATURE`.
pub(super) fn invalid_signature(message: &'static str) -> Error {
    // This code is none of ruma's own, and only its parser makes others.
    let kind = serde_json::from_str(r#"{"errcode":"M_INVALID_SIGNATURE"}"#)
        .unwrap_or(ErrorKind::InvalidParam);
    Error::new(StatusCode::BAD_REQUEST, kind, message)
}
