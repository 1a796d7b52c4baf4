//! `POST /keys/upload`: a device publishes its identity keys, one-time keys and fallback keys.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, DeviceId, OneTimeKeyAlgorithm, OwnedOneTimeKeyId,
    UInt, UserId,
    api::client::keys::upload_keys::v3::{Request, Response},
    encryption,
    serde::Raw,
};

use super::{
    DEVICE_KEYS, FALLBACK_KEYS, FallbackKey, KEY_COUNTS, ONE_TIME_KEYS, OneTimeKey,
    RECENTLY_CLAIMED, claim, devices_changed_in, signatures, signed,
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    state::App,
    store::{Page, StoreError, Tx},
};

/// Most one-time keys that are kept for a device, all algorithms together.
pub(super) const MAX_STORED_KEYS: usize = 500;
/// Most one-time keys in one request.
const MAX_UPLOADED_KEYS: usize = 500;
/// Most algorithms that a device has fallback keys for.
pub(super) const MAX_ALGORITHMS: usize = 4;

/// Keys as a request brings them, checked: algorithm, id, canonical JSON.
type Keys = Vec<(String, String, String)>;

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(upload)
}

pub(super) async fn upload(app: App, me: Device, request: Request) -> Result<Response> {
    let stored = match request.device_keys {
        Some(_) => None,
        None => stored_signing_key(&app, &me).await?,
    };
    let (app, me) = (&app, &me);
    let upload = &KeyUpload::new(
        me,
        (request.device_keys.as_ref(), stored),
        &request.one_time_keys,
        &request.fallback_keys,
    )?;
    let counts = app
        .store
        .transact(|mut tx| async move {
            let counts = upload.publish_in(&mut tx, app, me).await?;
            Ok::<_, Error>((tx, counts))
        })
        .await?;
    Ok(Response::new(counts.value))
}

type RawKeys = BTreeMap<OwnedOneTimeKeyId, Raw<encryption::OneTimeKey>>;

/// Keys that a device publishes: checked, and signed by it.
pub struct KeyUpload {
    device_keys: Option<CanonicalJsonObject>,
    one_time_keys: Keys,
    fallback_keys: Keys,
}

impl KeyUpload {
    /// All keys of a device.
    ///
    /// # Errors
    /// 400 for keys of another device or without its signature, 413 for too many, the gate's.
    pub fn check(
        device: &Device,
        device_keys: &Raw<encryption::DeviceKeys>,
        one_time_keys: &RawKeys,
        fallback_keys: &RawKeys,
    ) -> Result<Self> {
        Self::new(
            device,
            (Some(device_keys), None),
            one_time_keys,
            fallback_keys,
        )
    }

    fn new(
        device: &Device,
        (device_keys, stored): (Option<&Raw<encryption::DeviceKeys>>, Option<String>),
        one_time_keys: &RawKeys,
        fallback_keys: &RawKeys,
    ) -> Result<Self> {
        if one_time_keys.len() > MAX_UPLOADED_KEYS || fallback_keys.len() > MAX_ALGORITHMS {
            return Err(Error::too_large(
                "Too many keys at once. Upload at most 500 one-time keys in one request.",
            ));
        }
        let device_keys = device_keys
            .map(|keys| checked_device_keys(device, keys.json().get()))
            .transpose()?;
        let signing_key = match &device_keys {
            Some(keys) => own_signing_key(keys, &device.device),
            None => stored,
        };
        Ok(Self {
            one_time_keys: checked_keys(device, signing_key.as_deref(), one_time_keys)?,
            fallback_keys: checked_keys(device, signing_key.as_deref(), fallback_keys)?,
            device_keys,
        })
    }

    /// Publishes them; the counts of the one-time keys that there are then.
    ///
    /// # Errors
    /// 400 for an id that another key has, 413 for too many, the store's.
    pub async fn publish_in(
        &self,
        tx: &mut Tx,
        app: &App,
        device: &Device,
    ) -> Result<BTreeMap<OneTimeKeyAlgorithm, UInt>> {
        if let Some(keys) = &self.device_keys {
            publish_in(tx, app, device, keys).await?;
        }
        let (user, id) = (&device.user, &device.device);
        store_keys_in(tx, user, id, &self.one_time_keys, &self.fallback_keys).await
    }
}

/// The device keys of a request: of the caller's own device, and signed by it.
fn checked_device_keys(me: &Device, json: &str) -> Result<CanonicalJsonObject> {
    let mut keys = ciphertext::device_keys(gate::canonical(json)?)?;
    let is_own = signed::text(&keys, "user_id") == Some(me.user.as_str())
        && signed::text(&keys, "device_id") == Some(me.device.as_str());
    if !is_own {
        return Err(Error::invalid_param(
            "A device can upload its own keys only.",
        ));
    }
    let key_id = format!("{}{}", signed::ED25519, me.device);
    let is_signed = signed::public_key(&keys, &key_id)
        .is_some_and(|public_key| signed::verify(&keys, &me.user, &key_id, public_key));
    if !is_signed {
        return Err(Error::invalid_param(
            "The device keys are not signed by the device that they are of.",
        ));
    }
    keys.remove("unsigned");
    signed::keep_signatures_of(&mut keys, &me.user);
    Ok(keys)
}

fn own_signing_key(keys: &CanonicalJsonObject, device: &DeviceId) -> Option<String> {
    signed::public_key(keys, &format!("{}{device}", signed::ED25519)).map(ToOwned::to_owned)
}

async fn stored_signing_key(app: &App, me: &Device) -> Result<Option<String>> {
    let stored = app.store.get(&DEVICE_KEYS, (&me.user, &me.device)).await?;
    let keys = stored.as_deref().map(signed::parse).transpose()?;
    Ok(keys.and_then(|keys| own_signing_key(&keys, &me.device)))
}

/// One-time or fallback keys of a request. A signed key must be signed by the device's published signing key.
fn checked_keys(me: &Device, signing_key: Option<&str>, keys: &RawKeys) -> Result<Keys> {
    let signing_key_id = format!("{}{}", signed::ED25519, me.device);
    keys.iter()
        .map(|(key_id, key)| {
            let key: CanonicalJsonValue = serde_json::from_str(key.json().get()).map_err(|_| {
                Error::bad_json("A key must hold no fractions and no numbers beyond 2^53.")
            })?;
            let key = ciphertext::one_time_key(key_id.as_str(), key)?;
            if let CanonicalJsonValue::Object(object) = &key {
                let is_signed = signing_key.is_some_and(|public_key| {
                    signed::verify(object, &me.user, &signing_key_id, public_key)
                });
                if !is_signed {
                    return Err(Error::invalid_param(
                        "A one-time key is not signed by the device that it is of.",
                    ));
                }
            }
            let (algorithm, id) = (
                key_id.algorithm().to_string(),
                key_id.key_name().to_string(),
            );
            Ok((algorithm, id, gate::text(&key)?))
        })
        .collect()
}

/// Publishes device keys, unless they are what is published already.
async fn publish_in(tx: &mut Tx, app: &App, me: &Device, keys: &CanonicalJsonObject) -> Result<()> {
    let json = gate::text(keys)?;
    let stored = tx.get(&DEVICE_KEYS, (&me.user, &me.device)).await?;
    if stored.as_deref() == Some(&json) {
        return Ok(());
    }
    if let Some(stored) = stored
        && !signed::same(&signed::parse(&stored)?, keys)
    {
        signatures::forget_in(tx, &me.user, me.device.as_str()).await?;
    }
    tx.put(&DEVICE_KEYS, (&me.user, &me.device), &json)?;
    devices_changed_in(tx, app, &me.user).await
}

/// Adds the keys that are new and answers with the counts. The row of counts is checked at commit and changes with every
/// change of the keys, so that what is read beside it holds.
pub(super) async fn store_keys_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
    one_time_keys: &Keys,
    fallback_keys: &Keys,
) -> Result<BTreeMap<OneTimeKeyAlgorithm, UInt>> {
    let before = tx
        .get(&KEY_COUNTS, (user, device))
        .await?
        .unwrap_or_default();
    let mut counts = before.clone();
    let (stored, claimed) = known_in(tx, user, device, one_time_keys.is_empty()).await?;
    for (algorithm, id, key) in one_time_keys {
        match stored.get(&(algorithm.clone(), id.clone())) {
            Some(stored) if stored == key => {}
            Some(_) => {
                return Err(Error::invalid_param(
                    "There is another one-time key with the same id. Use a new id.",
                ));
            }
            None if claimed.contains(&(algorithm.clone(), id.clone())) => {}
            None => {
                let stored = OneTimeKey {
                    id: id.clone(),
                    key: key.clone(),
                };
                tx.put(
                    &ONE_TIME_KEYS,
                    (user, device, algorithm, counts.stored),
                    &stored,
                )?;
                counts.stored += 1;
                *counts.unclaimed.entry(algorithm.clone()).or_default() += 1;
            }
        }
    }
    if counts.unclaimed.values().sum::<u64>() > MAX_STORED_KEYS as u64 {
        return Err(Error::too_large(
            "The device has too many one-time keys. Wait until some are used.",
        ));
    }
    for (algorithm, id, key) in fallback_keys {
        let fallback = FallbackKey {
            id: id.clone(),
            key: key.clone(),
        };
        let stored = tx.get(&FALLBACK_KEYS, (user, device, algorithm)).await?;
        if stored.as_ref() != Some(&fallback) {
            tx.put(&FALLBACK_KEYS, (user, device, algorithm), &fallback)?;
            counts.unused_fallbacks.insert(algorithm.clone());
            counts.fallback_changes += 1;
        }
    }
    if counts.unused_fallbacks.len() > MAX_ALGORITHMS {
        return Err(Error::too_large(
            "The device has fallback keys for too many algorithms.",
        ));
    }
    if counts != before {
        tx.put(&KEY_COUNTS, (user, device), &counts)?;
    }
    Ok(counts.one_time_key_counts())
}

type KnownKeys = (
    BTreeMap<(String, String), String>,
    BTreeSet<(String, String)>,
);

/// The device's unclaimed keys by algorithm and id, and the ids of those that were claimed lately: a client that missed
/// the answer to its upload sends the same keys again, and none of them may be given to a second person.
async fn known_in(
    tx: &Tx,
    user: &UserId,
    device: &DeviceId,
    nothing_to_add: bool,
) -> Result<KnownKeys, StoreError> {
    if nothing_to_add {
        return Ok(KnownKeys::default());
    }
    let store = tx.store();
    let stored = store
        .scan(&ONE_TIME_KEYS, (user, device), Page::first(MAX_STORED_KEYS))
        .await?;
    let claimed = store
        .before(
            &RECENTLY_CLAIMED,
            (user, device),
            u64::MAX,
            claim::REMEMBERED_CLAIMS,
        )
        .await?;
    Ok((
        stored
            .into_iter()
            .map(|((_, _, algorithm, _), stored)| ((algorithm, stored.id), stored.key))
            .collect(),
        claimed
            .into_iter()
            .map(|(_, claimed)| (claimed.algorithm, claimed.id))
            .collect(),
    ))
}
