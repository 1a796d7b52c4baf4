//! `POST /keys/query`: the devices and cross-signing keys of users.

use std::collections::BTreeMap;

use axum::Router;
use ruma::{
    CanonicalJsonObject, OwnedDeviceId, OwnedUserId, UserId,
    api::client::keys::get_keys::v3::{Request, Response},
    serde::Raw,
};
use serde_json::value::RawValue;

use super::{CROSS_SIGNING_KEYS, DEVICE_KEYS, SIGNATURES, signed};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    rooms::membership,
    state::App,
    store::{Page, Store},
};

/// Most users that one request asks about.
const MAX_USERS: usize = 1_000;
/// Most devices of a user that are shown.
const MAX_DEVICES: usize = 1_000;

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(query)
}

/// Any user of this server may be asked about, but only acquaintances' keys are told: a stranger looks like somebody who
/// does not exist. Every such user is in the answer, if need be with no devices: a client takes a missing one for a failure
/// and asks again and again.
pub(super) async fn query(app: App, me: Device, request: Request) -> Result<Response> {
    if request.device_keys.len() > MAX_USERS {
        return Err(Error::too_large(
            "Too many users at once. Ask about at most 1,000 in one request.",
        ));
    }
    let users = request.device_keys.keys().map(|user| &**user);
    let acquainted = membership::acquainted(&app.store, &me.user, users).await?;
    let mut response = Response::new();
    for (user, devices) in request.device_keys {
        if user.server_name() != app.server_name() {
            continue;
        }
        if !acquainted.contains(&user) {
            response.device_keys.insert(user, BTreeMap::new());
            continue;
        }
        let found = device_keys(&app.store, &user, &devices, &me.user).await?;
        add_cross_signing_keys(&app.store, &user, &me.user, &mut response).await?;
        response.device_keys.insert(user, found);
    }
    Ok(response)
}

/// The keys of the named devices (of all if none is named) with their owner's signatures and those of whoever asks.
async fn device_keys(
    store: &Store,
    user: &UserId,
    wanted: &[OwnedDeviceId],
    asker: &UserId,
) -> Result<BTreeMap<OwnedDeviceId, Raw<ruma::encryption::DeviceKeys>>> {
    let mut found = BTreeMap::new();
    for ((_, device), keys) in store
        .scan(&DEVICE_KEYS, (user,), Page::first(MAX_DEVICES))
        .await?
    {
        if wanted.is_empty() || wanted.contains(&device) {
            let keys =
                with_signatures(store, signed::parse(&keys)?, user, device.as_str(), asker).await?;
            found.insert(device, keys);
        }
    }
    Ok(found)
}

/// The user's cross-signing keys as the asker may see them: the user-signing key is its owner's own business.
async fn add_cross_signing_keys(
    store: &Store,
    user: &UserId,
    asker: &UserId,
    response: &mut Response,
) -> Result<()> {
    let Some(keys) = store.get(&CROSS_SIGNING_KEYS, user).await? else {
        return Ok(());
    };
    let parts = [
        (keys.master, &mut response.master_keys),
        (keys.self_signing, &mut response.self_signing_keys),
        (
            keys.user_signing.filter(|_| user == asker),
            &mut response.user_signing_keys,
        ),
    ];
    for (key, shown) in parts {
        let Some(key) = key else { continue };
        let key = signed::parse(&key)?;
        let id = signed::only_key(&key)
            .map(|(_, public_key)| public_key.to_owned())
            .unwrap_or_default();
        shown.insert(
            OwnedUserId::from(user),
            with_signatures(store, key, user, &id, asker).await?,
        );
    }
    Ok(())
}

/// Adds to a key the signatures that were uploaded later, by its owner and by whoever asks. Whom else its owner has
/// verified, or was verified by, is nobody's business.
async fn with_signatures<T>(
    store: &Store,
    mut key: CanonicalJsonObject,
    owner: &UserId,
    key_id: &str,
    asker: &UserId,
) -> Result<Raw<T>> {
    let signers = if owner == asker {
        vec![owner]
    } else {
        vec![owner, asker]
    };
    let rows = store
        .get_many(
            &SIGNATURES,
            signers.iter().map(|signer| (owner, key_id, *signer)),
        )
        .await?;
    for (signer, signatures) in signers.into_iter().zip(rows) {
        if let Some(signatures) = signatures {
            signed::add_signatures(&mut key, signer, signatures);
        }
    }
    let json = RawValue::from_string(gate::text(&key)?)
        .map_err(|_| Error::internal("a key that is not JSON"))?;
    Ok(Raw::from_json(json))
}
