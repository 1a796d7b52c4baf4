//! The device of a user that no client holds: only its keys are here, and its private ones, encrypted. Others write to it
//! while its owner is logged out everywhere, and the owner's next client takes over what came.

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{devices_changed_in, forget_device_in};
use crate::{
    error::Result,
    state::App,
    store::{Store, StoreError, Table, Tx},
};

/// The dehydrated devices, one for each user that has one. Their public keys are where every device's are.
pub const DEHYDRATED: Table<OwnedUserId, Dehydrated> = Table::new(0x0631, "dehydrated_devices");

/// A dehydrated device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dehydrated {
    /// Its id.
    pub device: OwnedDeviceId,
    /// Its private part, encrypted by its owner, as JSON.
    pub data: String,
}

/// The id of a user's dehydrated device.
///
/// # Errors
/// The store's.
pub async fn dehydrated_of(
    store: &Store,
    user: &UserId,
) -> Result<Option<OwnedDeviceId>, StoreError> {
    let found = store.get(&DEHYDRATED, user).await?;
    Ok(found.map(|dehydrated| dehydrated.device))
}

/// Removes a user's dehydrated device with its keys; of this id, if one is named. What was removed, whose messages the
/// caller removes too.
///
/// # Errors
/// The store's.
pub async fn forget_dehydrated_in(
    tx: &mut Tx,
    app: &App,
    user: &UserId,
    id: Option<&DeviceId>,
) -> Result<Option<OwnedDeviceId>> {
    let found = tx.get(&DEHYDRATED, user).await?;
    let found = found.filter(|dehydrated| id.is_none_or(|id| dehydrated.device == id));
    let Some(Dehydrated { device, .. }) = found else {
        return Ok(None);
    };
    tx.delete(&DEHYDRATED, user);
    forget_device_in(tx, user, &device).await?;
    devices_changed_in(tx, app, user).await?;
    Ok(Some(device))
}
