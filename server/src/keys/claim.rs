//! `POST /keys/claim`: a one-time key of a device, given to one person only.

use axum::Router;
use futures_util::{StreamExt, TryStreamExt, stream};
use ruma::{
    DeviceId, OneTimeKeyAlgorithm, OneTimeKeyId, OwnedDeviceId, OwnedUserId, UserId,
    api::client::keys::claim_keys::v3::{Request, Response},
};
use serde_json::value::RawValue;

use super::{ClaimedKey, FALLBACK_KEYS, KEY_COUNTS, ONE_TIME_KEYS, RECENTLY_CLAIMED};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::membership,
    state::App,
    store::{Page, Store, StoreError, Turns, Tx},
};

/// Most devices that one request claims a key of.
const MAX_CLAIMS: usize = 1_000;
/// How many claims of one request are under way at once.
const CLAIMS_AT_ONCE: usize = 16;
/// How many claimed keys of a device are remembered, so that a repeated upload does not bring them back.
pub(super) const REMEMBERED_CLAIMS: usize = 500;

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(claim)
}

/// A device without any key left is missing from the answer, as the specification has it, and so are those of strangers:
/// nobody else may use up somebody's keys. Each key is claimed in a
/// commit of its own: one that was claimed for a request that then failed is spent, never given out again.
pub(super) async fn claim(app: App, me: Device, request: Request) -> Result<Response> {
    let wanted: Vec<(OwnedUserId, OwnedDeviceId, OneTimeKeyAlgorithm)> = request
        .one_time_keys
        .into_iter()
        .flat_map(|(user, devices)| {
            devices
                .into_iter()
                .map(move |(device, algorithm)| (user.clone(), device, algorithm))
        })
        .collect();
    if wanted.len() > MAX_CLAIMS {
        return Err(Error::too_large(
            "Too many devices at once. Claim keys of at most 1,000.",
        ));
    }
    let store = &app.store;
    let users = wanted.iter().map(|(user, ..)| &**user);
    let acquainted = membership::acquainted(store, &me.user, users).await?;
    let wanted = wanted
        .into_iter()
        .filter(|(user, ..)| acquainted.contains(user));
    let claimed: Vec<_> = stream::iter(wanted)
        .map(|(user, device, algorithm)| async move {
            let key = one(store, &user, &device, algorithm.as_ref()).await?;
            Ok::<_, Error>((user, device, algorithm, key))
        })
        .buffer_unordered(CLAIMS_AT_ONCE)
        .try_collect()
        .await?;
    let mut response = Response::new(Default::default());
    for (user, device, algorithm, key) in claimed {
        let Some((id, key)) = key else { continue };
        let key = RawValue::from_string(key)
            .map_err(|_| Error::internal("a stored key that is not JSON"))?;
        let key_id = OneTimeKeyId::from_parts(algorithm, id.as_str().into());
        response
            .one_time_keys
            .entry(user)
            .or_default()
            .entry(device)
            .or_default()
            .insert(key_id, ruma::serde::Raw::from_json(key));
    }
    Ok(response)
}

/// Claims a key: the oldest one-time key, or if there is none the fallback key; its id and its JSON.
///
/// Exactly once, because the row of counts is checked at commit and changes with every claim. So claims on one device
/// follow each other; waiting for one's turn keeps many of them from running into each other, within this process.
pub(super) async fn one(
    store: &Store,
    user: &UserId,
    device: &DeviceId,
    algorithm: &str,
) -> Result<Option<(String, String)>, StoreError> {
    static TURNS: Turns = Turns::new();
    let _turn = TURNS.wait((user, device)).await;
    let claimed = store
        .transact(|mut tx| async move {
            let key = one_in(&mut tx, user, device, algorithm).await?;
            Ok::<_, StoreError>((tx, key))
        })
        .await?;
    Ok(claimed.value)
}

async fn one_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
    algorithm: &str,
) -> Result<Option<(String, String)>, StoreError> {
    let Some(mut counts) = tx.get(&KEY_COUNTS, (user, device)).await? else {
        return Ok(None);
    };
    let store = tx.store().clone();
    let oldest = store
        .scan(&ONE_TIME_KEYS, (user, device, algorithm), Page::first(1))
        .await?
        .pop();
    if let Some(((_, _, _, number), key)) = oldest {
        // The count never goes below what is stored; should it ever, the key still goes out only once.
        tx.get(&ONE_TIME_KEYS, (user, device, algorithm, number))
            .await?;
        tx.delete(&ONE_TIME_KEYS, (user, device, algorithm, number));
        let left = counts.unclaimed.entry(algorithm.to_owned()).or_default();
        *left = left.saturating_sub(1);
        tx.put(&KEY_COUNTS, (user, device), &counts)?;
        remember_in(
            tx,
            user,
            device,
            ClaimedKey {
                algorithm: algorithm.to_owned(),
                id: key.id.clone(),
            },
        )
        .await?;
        return Ok(Some((key.id, key.key)));
    }
    let Some(fallback) = tx.get(&FALLBACK_KEYS, (user, device, algorithm)).await? else {
        return Ok(None);
    };
    if counts.unused_fallbacks.remove(algorithm) {
        tx.put(&KEY_COUNTS, (user, device), &counts)?;
    }
    Ok(Some((fallback.id, fallback.key)))
}

async fn remember_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
    claimed: ClaimedKey,
) -> Result<(), StoreError> {
    let head = tx.store().head(&RECENTLY_CLAIMED, (user, device)).await?;
    if let Some(forgotten) = (head + 1).checked_sub(REMEMBERED_CLAIMS as u64) {
        tx.remove(&RECENTLY_CLAIMED, (user, device), forgotten);
    }
    tx.append(&RECENTLY_CLAIMED, (user, device), &claimed)
        .map(drop)
}

#[cfg(test)]
mod tests;
