//! End-to-end encryption's post office: device keys, one-time keys, cross-signing keys and the signatures between them.
//!
//! The server hands public keys on. What a client signed is verified before it is kept, so that nobody can be given a
//! key that its device never vouched for.
//!
//! [End-to-end encryption](https://spec.matrix.org/v1.18/client-server-api/#end-to-end-encryption)

mod claim;
mod cross_signing;
mod dehydrated;
mod forget;
mod query;
mod signatures;
mod signed;
mod tables;
mod upload;

use std::collections::BTreeMap;

use axum::Router;
use ruma::{DeviceId, OneTimeKeyAlgorithm, UInt, UserId, events::room::member::MembershipState};

pub use self::dehydrated::{DEHYDRATED, Dehydrated, dehydrated_of, forget_dehydrated_in};
pub use self::forget::forget_one_time_keys;
pub use self::tables::{
    CROSS_SIGNING_KEYS, ClaimedKey, CrossSigningKeys, DEVICE_KEYS, FALLBACK_KEYS, FallbackKey,
    KEY_COUNTS, KeyCounts, ONE_TIME_KEYS, OneTimeKey, RECENTLY_CLAIMED, SIGNATURES,
};
pub use self::upload::KeyUpload;
use crate::{
    error::Result,
    inbox::{self, Entry},
    rooms::{membership, state},
    state::App,
    store::{Page, Store, StoreError, Tx},
};

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(upload::router())
        .merge(query::router())
        .merge(claim::router())
        .merge(cross_signing::router())
        .merge(signatures::router())
}

/// How many one-time keys a device has left and which fallback keys are unused: one row, read once.
///
/// # Errors
/// The store's.
pub async fn counts(
    store: &Store,
    user: &UserId,
    device: &DeviceId,
) -> Result<KeyCounts, StoreError> {
    Ok(store
        .get(&KEY_COUNTS, (user, device))
        .await?
        .unwrap_or_default())
}

/// `device_one_time_keys_count` of a sync: the unclaimed one-time keys by algorithm. `signed_curve25519` is always
/// among them, since clients take its absence for "enough".
///
/// # Errors
/// The store's.
pub async fn one_time_key_counts(
    store: &Store,
    user: &UserId,
    device: &DeviceId,
) -> Result<BTreeMap<OneTimeKeyAlgorithm, UInt>, StoreError> {
    Ok(counts(store, user, device).await?.one_time_key_counts())
}

/// `device_unused_fallback_key_types` of a sync.
///
/// # Errors
/// The store's.
pub async fn unused_fallback_types(
    store: &Store,
    user: &UserId,
    device: &DeviceId,
) -> Result<Vec<OneTimeKeyAlgorithm>, StoreError> {
    Ok(counts(store, user, device).await?.unused_fallback_types())
}

/// Tells the user, everybody who shares a room with them, and everybody in a room that they are invited to, that the
/// user's devices or keys have changed: who writes there may give the keys of a message to those invited, too.
///
/// # Errors
/// The store's.
pub async fn devices_changed_in(tx: &mut Tx, app: &App, user: &UserId) -> Result<()> {
    let mut people = membership::neighbours(app, user).await?;
    for (room, membership) in membership::rooms_of(&app.store, user).await? {
        if membership.state == MembershipState::Invite
            && let Some(state) = state::current(app, &room).await?
        {
            people.extend(state.joined().iter().cloned());
        }
    }
    for person in people {
        inbox::deliver(tx, &person, Entry::Devices(user.to_owned()))?;
    }
    Ok(())
}

/// Removes all keys of a device that is being deleted. The caller tells the neighbours with [`devices_changed_in`].
///
/// # Errors
/// The store's.
pub async fn forget_device_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
) -> Result<(), StoreError> {
    // The counts change with every change of the keys below: checking this row guards them all.
    tx.get(&KEY_COUNTS, (user, device)).await?;
    tx.delete(&KEY_COUNTS, (user, device));
    tx.delete(&DEVICE_KEYS, (user, device));
    let keys = tx
        .store()
        .scan(
            &ONE_TIME_KEYS,
            (user, device),
            Page::first(upload::MAX_STORED_KEYS),
        )
        .await?;
    for ((user, device, algorithm, number), _) in keys {
        tx.delete(&ONE_TIME_KEYS, (user, device, algorithm, number));
    }
    let fallbacks = tx
        .store()
        .scan(
            &FALLBACK_KEYS,
            (user, device),
            Page::first(upload::MAX_ALGORITHMS),
        )
        .await?;
    for ((user, device, algorithm), _) in fallbacks {
        tx.delete(&FALLBACK_KEYS, (user, device, algorithm));
    }
    let store = tx.store().clone();
    for (number, _) in store
        .before(
            &RECENTLY_CLAIMED,
            (user, device),
            u64::MAX,
            claim::REMEMBERED_CLAIMS,
        )
        .await?
    {
        tx.remove(&RECENTLY_CLAIMED, (user, device), number);
    }
    signatures::forget_in(tx, user, device.as_str()).await
}

#[cfg(test)]
mod tests;
