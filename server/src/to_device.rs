//! Messages to devices: what keys and verifications travel in, from one device's client to another's.
//!
//! [Send-to-device messaging](https://spec.matrix.org/v1.18/client-server-api/#send-to-device-messaging)

mod send;
mod share;

use axum::Router;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

pub use self::share::{SHARES, Share};
use crate::{
    state::App,
    store::{List, Store, StoreError, Table, Tx},
};

/// What waits for a device. A sync gives out what comes after the position in its token, and what a later token
/// acknowledges is removed by [`delivered`].
pub const TO_DEVICE: List<(OwnedUserId, OwnedDeviceId), ToDevice> = List::new(0x0621, "to_device");

/// Up to which number a device's messages were removed, because they arrived or were too many.
pub const REMOVED: Table<(OwnedUserId, OwnedDeviceId), u64> =
    Table::new(0x0622, "to_device_removed");

/// The requests that a device made lately, by the hash of type and transaction id.
pub const SENT: Table<(OwnedUserId, OwnedDeviceId, [u8; 32]), ()> =
    Table::new(0x0623, "to_device_sent");

/// The same in their order, so that the oldest can be forgotten.
pub const SENT_ORDER: List<(OwnedUserId, OwnedDeviceId), [u8; 32]> =
    List::new(0x0624, "to_device_sent_order");

/// Most messages that wait for one device. Beyond it the oldest are dropped (whose they are, is bounded by [`Share`]): refusing new ones would let one forgotten
/// phone stop everybody from writing to its owner, and what a phone that returns needs are the newest keys.
pub const MAX_PENDING: u64 = 20_000;

/// Most rows that one transaction removes.
const STEP: u64 = 1_000;

/// A message to a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToDevice {
    /// Its type.
    pub kind: String,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Its content as JSON.
    pub content: String,
}

/// The endpoints.
pub fn router() -> Router<App> {
    send::router()
}

/// Removes the messages up to number `up_to`, which the device has acknowledged by coming back with a token that
/// includes them. Doing it again changes nothing, and costs one read.
///
/// # Errors
/// The store's.
pub async fn delivered(
    store: &Store,
    user: &UserId,
    device: &DeviceId,
    up_to: u64,
) -> Result<(), StoreError> {
    let mut removed = store
        .get(&REMOVED, (user, device))
        .await?
        .unwrap_or_default();
    if up_to <= removed {
        return Ok(());
    }
    let up_to = up_to.min(store.head(&TO_DEVICE, (user, device)).await?);
    while removed < up_to {
        let committed = store
            .transact(|mut tx| async move {
                let reached = remove_in(&mut tx, user, device, up_to, STEP).await?;
                Ok::<_, StoreError>((tx, reached))
            })
            .await?;
        removed = committed.value;
    }
    Ok(())
}

/// Removes everything that is kept for a device that is being deleted.
///
/// # Errors
/// The store's.
pub async fn forget_device_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
) -> Result<(), StoreError> {
    let head = tx.store().head(&TO_DEVICE, (user, device)).await?;
    remove_in(tx, user, device, head, u64::MAX).await?;
    share::forget_in(tx, user, device).await?;
    send::forget_in(tx, user, device).await
}

/// Removes up to `most` messages, the oldest first and none beyond `up_to`; returns the number of the last one removed.
/// The numbers have no gaps, so nothing needs to be read.
async fn remove_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
    up_to: u64,
    most: u64,
) -> Result<u64, StoreError> {
    let removed = tx.get(&REMOVED, (user, device)).await?.unwrap_or_default();
    let reached = up_to.min(removed.saturating_add(most)).max(removed);
    for number in removed.saturating_add(1)..=reached {
        tx.remove(&TO_DEVICE, (user, device), number);
    }
    if reached > removed {
        tx.put(&REMOVED, (user, device), &reached)?;
    }
    Ok(reached)
}
