//! The devices of an account. Of each, the server knows the id and when it first logged in: no names (they tell what
//! people own), no addresses, no times of use.

use axum::Router;
use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, UserId,
    api::client::device::{
        Device as Listed, delete_device, delete_devices, get_device, get_devices, update_device,
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    auth::{self, Device},
    clock::Random,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
    store::{Page, Store, StoreError, Table, Tx},
    uia,
};

/// The devices of each account.
pub const DEVICES: Table<(OwnedUserId, OwnedDeviceId), Registered> = Table::new(0x0201, "devices");

/// How many devices an account may have.
pub const MAX_DEVICES: usize = 200;

const DEVICE_ID_LETTERS: usize = 10;

/// What is kept of a device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// Milliseconds since 1970.
    pub created: u64,
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(list))
        .merge(endpoint::<_, _, _, _>(show))
        .merge(endpoint::<_, _, _, _>(rename))
        .merge(endpoint::<_, _, _, _>(delete))
        .merge(endpoint::<_, _, _, _>(delete_several))
}

/// The ids of an account's devices.
///
/// # Errors
/// The store's.
pub async fn of(store: &Store, user: &UserId) -> Result<Vec<OwnedDeviceId>, StoreError> {
    let devices = store
        .scan(&DEVICES, (user,), Page::first(MAX_DEVICES))
        .await?;
    Ok(devices.into_iter().map(|((_, device), _)| device).collect())
}

/// An id for a device whose client has none.
pub fn new_id(random: &Random) -> OwnedDeviceId {
    random.text(DEVICE_ID_LETTERS).to_uppercase().into()
}

/// Adds a device, or goes on with the one that has this id.
///
/// # Errors
/// 403 when the account has [`MAX_DEVICES`] already.
pub async fn add_in(tx: &mut Tx, app: &App, user: &UserId, device: &DeviceId) -> Result<()> {
    if tx.get(&DEVICES, (user, device)).await?.is_some() {
        return Ok(());
    }
    if of(tx.store(), user).await?.len() >= MAX_DEVICES {
        return Err(Error::forbidden(
            "This account is logged in on too many devices. Log out on one of them first.",
        ));
    }
    let registered = Registered {
        created: app.clock.millis(),
    };
    tx.put(&DEVICES, (user, device), &registered)?;
    Ok(())
}

/// Removes a device and everything that belongs to it.
///
/// # Errors
/// The store's.
pub async fn delete_in(tx: &mut Tx, _app: &App, user: &UserId, device: &DeviceId) -> Result<()> {
    if tx.get(&DEVICES, (user, device)).await?.is_none() {
        return Ok(());
    }
    auth::revoke_in(tx, user, device).await?;
    tx.delete(&DEVICES, (user, device));
    Ok(())
}

/// Removes these devices in one transaction.
///
/// # Errors
/// The store's.
pub async fn delete_all(app: &App, user: &UserId, devices: &[OwnedDeviceId]) -> Result<()> {
    app.store
        .transact(|mut tx| async {
            for device in devices {
                delete_in(&mut tx, app, user, device).await?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

async fn list(
    app: App,
    me: Device,
    _: get_devices::v3::Request,
) -> Result<get_devices::v3::Response> {
    let devices = of(&app.store, &me.user)
        .await?
        .into_iter()
        .map(Listed::new)
        .collect();
    Ok(get_devices::v3::Response::new(devices))
}

async fn show(
    app: App,
    me: Device,
    request: get_device::v3::Request,
) -> Result<get_device::v3::Response> {
    known(&app, &me, &request.device_id).await?;
    Ok(get_device::v3::Response::new(Listed::new(
        request.device_id,
    )))
}

/// Clients name devices on their own at login, so this is no error; but the name is not kept.
async fn rename(
    app: App,
    me: Device,
    request: update_device::v3::Request,
) -> Result<update_device::v3::Response> {
    known(&app, &me, &request.device_id).await?;
    Ok(update_device::v3::Response::new())
}

async fn delete(
    app: App,
    me: Device,
    request: delete_device::v3::Request,
) -> Result<delete_device::v3::Response> {
    uia::require(&app, &me, "delete devices", request.auth.as_ref()).await?;
    delete_all(&app, &me.user, &[request.device_id]).await?;
    Ok(delete_device::v3::Response::new())
}

async fn delete_several(
    app: App,
    me: Device,
    request: delete_devices::v3::Request,
) -> Result<delete_devices::v3::Response> {
    if request.devices.len() > MAX_DEVICES {
        return Err(Error::invalid_param(
            "These are more devices than an account can have.",
        ));
    }
    uia::require(&app, &me, "delete devices", request.auth.as_ref()).await?;
    delete_all(&app, &me.user, &request.devices).await?;
    Ok(delete_devices::v3::Response::new())
}

async fn known(app: &App, me: &Device, device: &DeviceId) -> Result<()> {
    match app.store.get(&DEVICES, (&me.user, device)).await? {
        Some(_) => Ok(()),
        None => Err(Error::not_found("You have no device with this id.")),
    }
}
