//! `POST /keys/signatures/upload`: who vouches for which device or user.

use std::collections::BTreeMap;

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, DeviceId, OwnedUserId, UserId,
    api::client::keys::upload_signatures::v3::{Failure, Request, Response},
};
use serde_json::json;

use super::{
    CROSS_SIGNING_KEYS, CrossSigningKeys, DEVICE_KEYS, SIGNATURES, devices_changed_in, signed,
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    inbox::{self, Entry},
    state::App,
    store::{Page, Store, StoreError, Tx},
};

/// Most signed objects in one request.
const MAX_SIGNED_OBJECTS: usize = 1_000;
/// Most signers whose signatures on one key are kept and so have to be removed with it.
const MAX_SIGNERS: usize = 10_000;

/// Signatures on one key that were found to be valid.
struct Valid {
    owner: OwnedUserId,
    key_id: String,
    signatures: BTreeMap<String, String>,
}

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(upload)
}

pub(super) async fn upload(app: App, me: Device, request: Request) -> Result<Response> {
    let body = through_gate(&request)?;
    let mut response = Response::new();
    let mut valid = Vec::new();
    let own = app
        .store
        .get(&CROSS_SIGNING_KEYS, &me.user)
        .await?
        .unwrap_or_default();
    for (owner, objects) in body {
        let owner = UserId::parse(owner.as_str())
            .map_err(|_| Error::invalid_param("A user id has the wrong form."))?;
        let CanonicalJsonValue::Object(objects) = objects else {
            continue;
        };
        for (key_id, object) in objects {
            let CanonicalJsonValue::Object(object) = object else {
                continue;
            };
            match check(&app.store, &me.user, &own, &owner, key_id.as_str(), &object).await? {
                Some(signatures) => {
                    valid.push(Valid {
                        owner: owner.clone(),
                        key_id: key_id.to_string(),
                        signatures,
                    });
                }
                None => {
                    response
                        .failures
                        .entry(owner.clone())
                        .or_default()
                        .insert(key_id.to_string(), invalid_signature()?);
                }
            }
        }
    }
    store(&app, &me.user, &valid).await?;
    Ok(response)
}

fn through_gate(request: &Request) -> Result<CanonicalJsonObject> {
    if request
        .signed_keys
        .values()
        .map(|objects| objects.iter().count())
        .sum::<usize>()
        > MAX_SIGNED_OBJECTS
    {
        return Err(Error::too_large(
            "Too many signatures at once. Upload at most 1,000 signed keys in one request.",
        ));
    }
    Ok(ciphertext::signatures(gate::canonical(&gate::text(
        &request.signed_keys,
    )?)?)?)
}

fn invalid_signature() -> Result<Failure> {
    let failure = json!({
        "errcode": "M_INVALID_SIGNATURE",
        "error": "The signature is not valid, or is not on the key that this server knows.",
    });
    serde_json::from_value(failure).map_err(|_| Error::internal("a failure that cannot be written"))
}

/// The valid signatures of the uploader on an object, `None` if there is none. The object must be the key that the
/// server holds.
async fn check(
    store: &Store,
    me: &UserId,
    own: &CrossSigningKeys,
    owner: &UserId,
    key_id: &str,
    object: &CanonicalJsonObject,
) -> Result<Option<BTreeMap<String, String>>> {
    let is_master_of = |keys: &CrossSigningKeys| -> Result<bool> {
        let Some(master) = &keys.master else {
            return Ok(false);
        };
        let master = signed::parse(master)?;
        Ok(
            signed::only_key(&master).is_some_and(|(_, key)| key == key_id)
                && signed::same(&master, object),
        )
    };
    let signers = if owner != me {
        // Somebody else's master key, signed by one's user-signing key.
        let theirs = store
            .get(&CROSS_SIGNING_KEYS, owner)
            .await?
            .unwrap_or_default();
        if is_master_of(&theirs)? {
            public_key_of(own.user_signing.as_deref())?
        } else {
            Vec::new()
        }
    } else if is_master_of(own)? {
        // One's own master key, signed by one's devices.
        signing_keys_of_devices(store, me, &signed::signatures_of(object, me)).await?
    } else {
        // One's own device, signed by one's self-signing key.
        let device = store
            .get(&DEVICE_KEYS, (me, <&DeviceId>::from(key_id)))
            .await?;
        match device {
            Some(device) if signed::same(&signed::parse(&device)?, object) => {
                public_key_of(own.self_signing.as_deref())?
            }
            _ => Vec::new(),
        }
    };
    let valid: BTreeMap<String, String> = signers
        .into_iter()
        .filter(|(signer, public_key)| signed::verify(object, me, signer, public_key))
        .filter_map(|(signer, _)| {
            let signature = signed::signature(object, me, &signer)?.to_owned();
            Some((signer, signature))
        })
        .collect();
    Ok(Some(valid).filter(|valid| !valid.is_empty()))
}

/// Id and public key of a cross-signing key.
fn public_key_of(key: Option<&str>) -> Result<Vec<(String, String)>> {
    let Some(key) = key else {
        return Ok(Vec::new());
    };
    let key = signed::parse(key)?;
    Ok(signed::only_key(&key)
        .map(|(id, key)| (id.to_owned(), key.to_owned()))
        .into_iter()
        .collect())
}

/// Ids and public keys of those of the user's devices whose signatures these claim to be.
pub(super) async fn signing_keys_of_devices(
    store: &Store,
    user: &UserId,
    signatures: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>> {
    let mut keys = Vec::new();
    for key_id in signatures.keys() {
        let Some(device) = key_id.strip_prefix(signed::ED25519) else {
            continue;
        };
        let Some(stored) = store
            .get(&DEVICE_KEYS, (user, <&DeviceId>::from(device)))
            .await?
        else {
            continue;
        };
        if let Some(public_key) = signed::public_key(&signed::parse(&stored)?, key_id) {
            keys.push((key_id.clone(), public_key.to_owned()));
        }
    }
    Ok(keys)
}

/// Stores signatures and tells whom they concern: signatures on one's own keys all neighbours, one's verification of
/// somebody else only one's own devices.
async fn store(app: &App, me: &UserId, valid: &[Valid]) -> Result<()> {
    if valid.is_empty() {
        return Ok(());
    }
    app.store
        .transact(|mut tx| async move {
            for Valid {
                owner,
                key_id,
                signatures,
            } in valid
            {
                let key = (owner, key_id, me);
                let mut all = tx.get(&SIGNATURES, key).await?.unwrap_or_default();
                all.extend(signatures.clone());
                tx.put(&SIGNATURES, key, &all)?;
            }
            if valid.iter().any(|valid| valid.owner == me) {
                devices_changed_in(&mut tx, app, me).await?;
            }
            let others: std::collections::BTreeSet<_> = valid
                .iter()
                .map(|valid| &valid.owner)
                .filter(|owner| *owner != me)
                .collect();
            for owner in others {
                inbox::deliver(&mut tx, me, Entry::Devices(owner.clone()))?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Removes all signatures on a key that is no more.
pub(super) async fn forget_in(tx: &mut Tx, owner: &UserId, key_id: &str) -> Result<(), StoreError> {
    for (key, _) in tx
        .store()
        .clone()
        .scan(&SIGNATURES, (owner, key_id), Page::first(MAX_SIGNERS))
        .await?
    {
        tx.delete(&SIGNATURES, key);
    }
    Ok(())
}
