//! Sending to devices.

use std::collections::BTreeMap;

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, UserId,
    api::client::to_device::send_event_to_device::v3::{Messages, Request, Response},
    to_device::DeviceIdOrAllDevices,
};
use sha2::{Digest, Sha256};

use super::{MAX_PENDING, REMOVED, SENT, SENT_ORDER, STEP, TO_DEVICE, ToDevice, remove_in};
use crate::{
    auth::{self, DEVICES, Device},
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    state::App,
    store::{Store, StoreError, Tx},
};

/// Most messages that one request sends.
const MAX_MESSAGES: usize = 1_000;
/// How many of a device's requests are remembered, so that a repeated one is not sent again.
const REMEMBERED_REQUESTS: u64 = 1_000;

/// A message and the device it is for.
type Addressed = (OwnedUserId, OwnedDeviceId, ToDevice);

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(send)
}

/// `PUT /sendToDevice/{eventType}/{txnId}`: all of the request's messages in one commit, and once.
async fn send(app: App, me: Device, request: Request) -> Result<Response> {
    ciphertext::transaction_id(request.txn_id.as_str())?;
    let kind = request.event_type.to_string();
    let messages = checked(&kind, &request.messages)?;
    let mut addressed = Vec::new();
    for (user, device, content) in messages {
        let message = ToDevice {
            kind: kind.clone(),
            sender: me.user.clone(),
            content,
        };
        for device in recipients(&app.store, &user, &device).await? {
            addressed.push((user.clone(), device, message.clone()));
        }
    }
    deliver(
        &app.store,
        (&me.user, &me.device),
        request_hash(&kind, request.txn_id.as_str()),
        &addressed,
    )
    .await?;
    Ok(Response::new())
}

/// The contents, as the gate lets them through.
fn checked(
    kind: &str,
    messages: &Messages,
) -> Result<Vec<(OwnedUserId, DeviceIdOrAllDevices, String)>> {
    if messages.values().map(BTreeMap::len).sum::<usize>() > MAX_MESSAGES {
        return Err(Error::too_large(
            "Too many devices at once. Send to at most 1,000 in one request.",
        ));
    }
    let mut checked = Vec::new();
    for (user, devices) in messages {
        for (device, content) in devices {
            let content =
                ciphertext::to_device_event(kind, gate::canonical(content.json().get())?)?;
            checked.push((user.clone(), device.clone(), gate::text(&content)?));
        }
    }
    Ok(checked)
}

/// The user's devices that a message is for; one that does not exist is passed over.
async fn recipients(
    store: &Store,
    user: &UserId,
    device: &DeviceIdOrAllDevices,
) -> Result<Vec<OwnedDeviceId>> {
    Ok(match device {
        DeviceIdOrAllDevices::AllDevices => auth::devices_of(store, user).await?,
        DeviceIdOrAllDevices::DeviceId(device) => {
            let known = store.get(&DEVICES, (user, device)).await?.is_some();
            known.then(|| device.clone()).into_iter().collect()
        }
    })
}

/// What stays of a request, so that it is known again: neither its type nor its transaction id can be read from it.
fn request_hash(kind: &str, transaction_id: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    hash.update([0]);
    hash.update(transaction_id.as_bytes());
    hash.finalize().into()
}

/// Puts all messages of a request where their devices find them, unless the request was served before.
async fn deliver(
    store: &Store,
    (user, device): (&UserId, &DeviceId),
    request: [u8; 32],
    messages: &[Addressed],
) -> Result<()> {
    store
        .transact(|mut tx| async move {
            if tx.get(&SENT, (user, device, request)).await?.is_some() {
                return Ok((tx, ()));
            }
            remember_in(&mut tx, user, device, request).await?;
            let mut grown: BTreeMap<(&UserId, &DeviceId), u64> = BTreeMap::new();
            for (user, device, message) in messages {
                tx.append(&TO_DEVICE, (user, device), message)?;
                *grown.entry((user, device)).or_default() += 1;
            }
            for ((user, device), more) in grown {
                make_room_in(&mut tx, user, device, more).await?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

async fn remember_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
    request: [u8; 32],
) -> Result<(), StoreError> {
    let head = tx.store().head(&SENT_ORDER, (user, device)).await?;
    // Two at a time, so that a backlog of old ones would shrink.
    let first_kept = (head + 2).saturating_sub(REMEMBERED_REQUESTS);
    for (number, old) in tx
        .store()
        .clone()
        .before(&SENT_ORDER, (user, device), first_kept, 2)
        .await?
    {
        tx.remove(&SENT_ORDER, (user, device), number);
        tx.delete(&SENT, (user, device, old));
    }
    tx.append(&SENT_ORDER, (user, device), &request)?;
    tx.put(&SENT, (user, device, request), &())
}

/// Drops the oldest messages of a device for which too many wait once `more` are added.
async fn make_room_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
    more: u64,
) -> Result<(), StoreError> {
    let store = tx.store().clone();
    let head = store.head(&TO_DEVICE, (user, device)).await?;
    if head + more <= MAX_PENDING {
        return Ok(());
    }
    let removed = store
        .get(&REMOVED, (user, device))
        .await?
        .unwrap_or_default();
    let beyond = (head + more).saturating_sub(MAX_PENDING).min(head);
    if beyond > removed {
        remove_in(tx, user, device, beyond, STEP).await?;
    }
    Ok(())
}

pub(super) async fn forget_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
) -> Result<(), StoreError> {
    let limit = usize::try_from(REMEMBERED_REQUESTS).unwrap_or(usize::MAX);
    for (number, request) in tx
        .store()
        .clone()
        .before(&SENT_ORDER, (user, device), u64::MAX, limit)
        .await?
    {
        tx.remove(&SENT_ORDER, (user, device), number);
        tx.delete(&SENT, (user, device, request));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
