//! The devices of an account: seeing them, and removing them with everything that belongs to them.

use std::collections::BTreeSet;

use axum::Router;
use ruma::{
    DeviceId, OwnedDeviceId, UserId,
    api::client::device::{
        Device as Listed, delete_device, delete_devices, get_device, get_devices, update_device,
    },
};

use crate::{
    account_data,
    auth::{self, DEVICES, Device},
    clock::Random,
    endpoint::endpoint,
    error::{Error, Result},
    inbox, keys, push,
    state::App,
    store::Tx,
    to_device, uia,
};

pub use crate::auth::devices_of as of;

const DEVICE_ID_LETTERS: usize = 10;

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(list))
        .merge(endpoint::<_, _, _, _>(show))
        .merge(endpoint::<_, _, _, _>(rename))
        .merge(endpoint::<_, _, _, _>(delete))
        .merge(endpoint::<_, _, _, _>(delete_several))
}

/// An id for a device whose client has none.
pub fn new_id(random: &Random) -> OwnedDeviceId {
    random.text(DEVICE_ID_LETTERS).to_uppercase().into()
}

/// Removes a device and everything that belongs to it, and tells whoever writes to it.
///
/// # Errors
/// The store's.
pub async fn delete_in(tx: &mut Tx, app: &App, user: &UserId, device: &DeviceId) -> Result<()> {
    delete_each_in(tx, app, user, &[device.to_owned()]).await
}

/// Removes these devices in one transaction.
///
/// # Errors
/// The store's.
pub async fn delete_all(app: &App, user: &UserId, devices: &[OwnedDeviceId]) -> Result<()> {
    app.store
        .transact(|mut tx| async {
            delete_each_in(&mut tx, app, user, devices).await?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Removes these devices; those that are not there are no error.
///
/// # Errors
/// The store's.
pub async fn delete_each_in(
    tx: &mut Tx,
    app: &App,
    user: &UserId,
    devices: &[OwnedDeviceId],
) -> Result<()> {
    let mut deleted = false;
    for device in devices {
        if auth::log_out(tx, user, device).await? {
            keys::forget_device_in(tx, user, device).await?;
            to_device::forget_device_in(tx, user, device).await?;
            inbox::trim::forget_device_in(tx, user, device);
            inbox::connection::forget_device_in(tx, user, device).await?;
            push::forget_device_in(tx, user, device).await?;
            account_data::forget_device_in(tx, user, device)?;
            deleted = true;
        } else if keys::forget_dehydrated_in(tx, app, user, Some(&**device))
            .await?
            .is_some()
        {
            to_device::forget_device_in(tx, user, device).await?;
        }
    }
    if deleted {
        keys::devices_changed_in(tx, app, user).await?;
    }
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
    let action = deletion_of(std::slice::from_ref(&request.device_id));
    uia::require(&app, &me, &action, request.auth.as_ref()).await?;
    delete_all(&app, &me.user, &[request.device_id]).await?;
    Ok(delete_device::v3::Response::new())
}

async fn delete_several(
    app: App,
    me: Device,
    request: delete_devices::v3::Request,
) -> Result<delete_devices::v3::Response> {
    if request.devices.len() > auth::MAX_DEVICES {
        return Err(Error::invalid_param(
            "These are more devices than an account can have.",
        ));
    }
    let action = deletion_of(&request.devices);
    uia::require(&app, &me, &action, request.auth.as_ref()).await?;
    delete_all(&app, &me.user, &request.devices).await?;
    Ok(delete_devices::v3::Response::new())
}

/// What somebody proves who they are for: that these devices go, and no others.
fn deletion_of(devices: &[OwnedDeviceId]) -> String {
    let devices: BTreeSet<&str> = devices.iter().map(|device| device.as_str()).collect();
    let devices: Vec<&str> = devices.into_iter().collect();
    format!("delete devices {devices:?}")
}

async fn known(app: &App, me: &Device, device: &DeviceId) -> Result<()> {
    match app.store.get(&DEVICES, (&me.user, device)).await? {
        Some(_) => Ok(()),
        None => Err(Error::not_found("You have no device with this id.")),
    }
}
