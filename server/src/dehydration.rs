//! Dehydrated devices: a device that waits on the server, encrypted, for its owner's next client.
//!
//! It is not logged in, and stays when its owner logs out everywhere: that is what it is for. It goes when another one takes
//! its place, when its owner removes it, and with the account.
//!
//! [MSC3814](https://github.com/matrix-org/matrix-spec-proposals/pull/3814)

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    OwnedDeviceId, UserId,
    api::client::dehydrated_device::{
        delete_dehydrated_device::unstable as remove, get_dehydrated_device::unstable as show,
        get_events::unstable as events, put_dehydrated_device::unstable as put,
    },
    serde::Raw,
};
use serde_json::json;

use crate::{
    auth::{DEVICES, Device},
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    keys::{self, DEHYDRATED, Dehydrated, KeyUpload},
    state::App,
    store::Tx,
    to_device::{self, TO_DEVICE},
};

/// Most bytes of a device's private part.
const MAX_DATA_BYTES: usize = 256 * 1024;
/// Most messages in one answer.
const MAX_EVENTS: usize = 100;

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(keep))
        .merge(endpoint::<_, _, _, _>(get))
        .merge(endpoint::<_, _, _, _>(delete))
        .merge(endpoint::<_, _, _, _>(messages))
}

fn none() -> Error {
    Error::not_found("You have no dehydrated device.")
}

/// `PUT /dehydrated_device`: takes the place of the one before, whose messages nobody can read any more.
async fn keep(app: App, me: Device, request: put::Request) -> Result<put::Response> {
    ciphertext::device_id(request.device_id.as_str())?;
    let data = gate::canonical(request.device_data.json().get())?;
    let data = gate::text(&ciphertext::dehydrated_device(data)?)?;
    if data.len() > MAX_DATA_BYTES {
        return Err(Error::too_large(
            "A dehydrated device may have at most 256 KiB.",
        ));
    }
    let waiting = Device {
        device: request.device_id.clone(),
        ..me
    };
    let keys = KeyUpload::check(
        &waiting,
        &request.device_keys,
        &request.one_time_keys,
        &request.fallback_keys,
    )?;
    let row = Dehydrated {
        device: request.device_id.clone(),
        data,
    };
    let (app, waiting, keys, row) = (&app, &waiting, &keys, &row);
    let user = &*waiting.user;
    app.store
        .transact(|mut tx: Tx| async move {
            if tx.get(&DEVICES, (user, &*row.device)).await?.is_some() {
                return Err(Error::invalid_param(
                    "One of your devices that is logged in has this id. Choose another one.",
                ));
            }
            forget_in(&mut tx, app, user).await?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    // By itself, since the keys of an id that was used before are gone only now.
    app.store
        .transact(|mut tx: Tx| async move {
            if tx.get(&DEHYDRATED, user).await?.is_some() {
                return Err(Error::invalid_param(
                    "Another of your devices has made a dehydrated device at this moment.",
                ));
            }
            tx.put(&DEHYDRATED, user, row)?;
            keys.publish_in(&mut tx, app, waiting).await?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(put::Response::new(request.device_id))
}

/// `GET /dehydrated_device`
async fn get(app: App, me: Device, _: show::Request) -> Result<show::Response> {
    let kept = app.store.get(&DEHYDRATED, &me.user).await?;
    let kept = kept.ok_or_else(none)?;
    let data = Raw::from_json_string(kept.data).map_err(Error::internal)?;
    Ok(show::Response::new(kept.device, data))
}

/// `DELETE /dehydrated_device`
async fn delete(app: App, me: Device, _: remove::Request) -> Result<remove::Response> {
    let (app, user) = (&app, &*me.user);
    let removed = app
        .store
        .transact(|mut tx: Tx| async move {
            let device = forget_in(&mut tx, app, user).await?.ok_or_else(none)?;
            Ok::<_, Error>((tx, device))
        })
        .await?;
    Ok(remove::Response::new(removed.value))
}

/// Removes a user's dehydrated device with everything that belongs to it.
async fn forget_in(tx: &mut Tx, app: &App, user: &UserId) -> Result<Option<OwnedDeviceId>> {
    let device = keys::forget_dehydrated_in(tx, app, user, None).await?;
    if let Some(device) = &device {
        to_device::forget_device_in(tx, user, device).await?;
    }
    Ok(device)
}

/// `POST /dehydrated_device/{deviceId}/events`: nothing is removed by reading, so that a client which is interrupted in the
/// middle begins anew.
async fn messages(app: App, me: Device, request: events::Request) -> Result<events::Response> {
    let kept = keys::dehydrated_of(&app.store, &me.user).await?;
    if kept.is_none_or(|device| device != request.device_id) {
        return Err(Error::forbidden(
            "This is not your dehydrated device. Ask for it again.",
        ));
    }
    let after: u64 = match request.next_batch.as_deref().map(str::parse) {
        None => 0,
        Some(Ok(after)) => after,
        Some(Err(_)) => {
            return Err(Error::invalid_param(
                "The token in \"next_batch\" is not one of this endpoint.",
            ));
        }
    };
    let of = (&*me.user, &*request.device_id);
    let found = app.store.after(&TO_DEVICE, of, after, MAX_EVENTS).await?;
    let last = found.last().map_or(after, |(number, _)| *number);
    let mut told = Vec::new();
    for (_, message) in found {
        let content = gate::canonical(&message.content)?;
        let event = json!({ "type": message.kind, "sender": message.sender, "content": content });
        told.push(Raw::from_json_string(event.to_string()).map_err(Error::internal)?);
    }
    let mut response = events::Response::new(told);
    response.next_batch = Some(last.to_string());
    Ok(response)
}
