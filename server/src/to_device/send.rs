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

use super::{MAX_PENDING, REMOVED, SENT, SENT_ORDER, STEP, TO_DEVICE, ToDevice, remove_in, share};
use crate::{
    auth::{self, DEVICES, Device},
    endpoint::endpoint,
    error::{Error, Result},
    gate, keys,
    rooms::membership,
    state::App,
    store::{Store, StoreError, Turns, Tx},
};

/// Most messages that one request sends, those to all of a user's devices counted for each.
const MAX_MESSAGES: usize = 1_000;
/// Largest content of a message, in bytes of canonical JSON.
const MAX_CONTENT_BYTES: usize = 64 * 1024;
/// Most bytes that the contents of one request's messages have together, counted in the same way.
const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;
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
    // Strangers are passed over like devices that do not exist: who is here, is not told.
    let users = messages.iter().map(|(user, ..)| &**user);
    let acquainted = membership::acquainted(&app.store, &me.user, users).await?;
    let mut addressed: Vec<Addressed> = Vec::new();
    let mut bytes = 0;
    for (user, device, content) in messages {
        if !acquainted.contains(&user) {
            continue;
        }
        let message = ToDevice {
            kind: kind.clone(),
            sender: me.user.clone(),
            content,
        };
        for device in recipients(&app.store, &user, &device).await? {
            bytes += message.content.len();
            if addressed.len() >= MAX_MESSAGES || bytes > MAX_REQUEST_BYTES {
                return Err(too_many());
            }
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
        return Err(too_many());
    }
    let mut checked = Vec::new();
    for (user, devices) in messages {
        for (device, content) in devices {
            let content =
                ciphertext::to_device_event(kind, gate::canonical(content.json().get())?)?;
            let content = gate::text(&content)?;
            if content.len() > MAX_CONTENT_BYTES {
                return Err(Error::too_large(
                    "A message to a device may have at most 64 KiB.",
                ));
            }
            checked.push((user.clone(), device.clone(), content));
        }
    }
    Ok(checked)
}

fn too_many() -> Error {
    Error::too_large(
        "Too much at once. Send at most 1,000 messages and 8 MiB to devices in one request.",
    )
}

/// The user's devices that a message is for; one that does not exist is passed over.
async fn recipients(
    store: &Store,
    user: &UserId,
    device: &DeviceIdOrAllDevices,
) -> Result<Vec<OwnedDeviceId>> {
    let dehydrated = keys::dehydrated_of(store, user).await?;
    Ok(match device {
        DeviceIdOrAllDevices::AllDevices => {
            let mut all = auth::devices_of(store, user).await?;
            all.extend(dehydrated);
            all
        }
        DeviceIdOrAllDevices::DeviceId(device) => {
            let known = dehydrated.as_ref() == Some(device)
                || store.get(&DEVICES, (user, device)).await?.is_some();
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
    (sender, device): (&UserId, &DeviceId),
    request: [u8; 32],
    messages: &[Addressed],
) -> Result<()> {
    static TURNS: Turns = Turns::new();
    let mut by_device: BTreeMap<(&UserId, &DeviceId), Vec<&ToDevice>> = BTreeMap::new();
    for (user, device, message) in messages {
        by_device.entry((user, device)).or_default().push(message);
    }
    let by_device = &by_device;
    // What somebody sends is counted, so their requests follow each other.
    let _turn = TURNS.wait(sender).await;
    store
        .transact(|mut tx| async move {
            if tx.get(&SENT, (sender, device, request)).await?.is_some() {
                return Ok((tx, ()));
            }
            remember_in(&mut tx, sender, device, request).await?;
            for (to, messages) in by_device {
                append_in(&mut tx, *to, sender, messages).await?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Adds to what waits for a device what the sender may still add to it.
async fn append_in(
    tx: &mut Tx,
    (user, device): (&UserId, &DeviceId),
    sender: &UserId,
    messages: &[&ToDevice],
) -> Result<(), StoreError> {
    let (admitted, share) =
        share::admitted_in(tx, (user, device), sender, messages.len() as u64).await?;
    let mut last = None;
    for message in messages
        .iter()
        .take(usize::try_from(admitted).unwrap_or(usize::MAX))
    {
        last = Some(tx.append(&TO_DEVICE, (user, device), *message)?);
    }
    match last {
        Some(last) => {
            share::note(tx, (user, device), sender, share, last)?;
            make_room_in(tx, user, device, admitted).await
        }
        None => Ok(()),
    }
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
