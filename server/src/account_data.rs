//! What a user keeps about themselves, for their own devices: account data, global and of a room. Data only, so that push
//! rules and receipts can use it; its endpoints are in `client_config`.
//!
//! Everything passes the gate before it is stored. `m.push_rules` belongs to the push rules, `m.fully_read` to the read
//! markers; both are told to clients as account data.
//!
//! [Client config](https://spec.matrix.org/v1.18/client-server-api/#client-config),
//! [room tagging](https://spec.matrix.org/v1.18/client-server-api/#room-tagging)

use std::collections::{BTreeMap, BTreeSet};

use ruma::{DeviceId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    error::{Error, Result},
    inbox::{self, Entry},
    store::{Page, Store, StoreError, Table, Tx},
};

/// Account data as JSON text, by user, room id (empty for global data) and type.
pub const ACCOUNT_DATA: Table<(OwnedUserId, String, String), String> =
    Table::new(0x0320, "account_data");

/// The largest content of one type, in bytes.
pub const MAX_CONTENT_BYTES: usize = 64 * 1024;
/// How many types one user may keep globally, and as many for each room.
pub const MAX_TYPES: usize = 200;
/// How many rows are read at once.
const PAGE: usize = 500;

/// Under which names, a dot and a device's id clients keep whether that device rings.
const OF_A_DEVICE: [&str; 2] = [
    "m.local_notification_settings",
    "org.matrix.msc3890.local_notification_settings",
];

/// Under which names clients say whether somebody wants invitations.
const INVITE_PERMISSION: [&str; 2] = [
    "m.invite_permission_config",
    "org.matrix.msc4380.invite_permission_config",
];

/// A user's global account data: types and JSON text. Without the push rules.
///
/// # Errors
/// The store's.
pub async fn global(store: &Store, user: &UserId) -> Result<Vec<(String, String)>, StoreError> {
    all(store, user, None).await
}

/// A user's account data of one room: types and JSON text.
///
/// # Errors
/// The store's.
pub async fn in_room(
    store: &Store,
    user: &UserId,
    room: &RoomId,
) -> Result<Vec<(String, String)>, StoreError> {
    all(store, user, Some(room)).await
}

/// A user's account data of all rooms: rooms, types and JSON text.
///
/// # Errors
/// The store's.
pub async fn of_rooms(
    store: &Store,
    user: &UserId,
) -> Result<Vec<(OwnedRoomId, String, String)>, StoreError> {
    let mut found = Vec::new();
    let mut page = store
        .scan(&ACCOUNT_DATA, (user,), Page::first(PAGE))
        .await?;
    loop {
        let next = page.last().map(|(key, _)| key.clone());
        let whole = page.len() < PAGE;
        // Global data has no room.
        let of_rooms = page
            .into_iter()
            .filter_map(|((_, room, kind), json)| Some((room.try_into().ok()?, kind, json)));
        found.extend(of_rooms);
        let Some(last) = next.filter(|_| !whole) else {
            return Ok(found);
        };
        page = store
            .scan_after(&ACCOUNT_DATA, (user,), last, Page::first(PAGE))
            .await?;
    }
}

/// The JSON text of one type, global or of a room.
///
/// # Errors
/// The store's.
pub async fn get(
    store: &Store,
    user: &UserId,
    room: Option<&RoomId>,
    kind: &str,
) -> Result<Option<String>, StoreError> {
    store.get(&ACCOUNT_DATA, (user, place(room), kind)).await
}

/// Whom each of these users ignores: one read for all of them.
///
/// [Ignoring users](https://spec.matrix.org/v1.18/client-server-api/#ignoring-users)
///
/// # Errors
/// The store's.
pub async fn ignored_by(
    store: &Store,
    users: impl Iterator<Item = &UserId>,
) -> Result<Vec<BTreeSet<OwnedUserId>>, StoreError> {
    #[derive(Deserialize)]
    struct Content {
        ignored_users: BTreeMap<OwnedUserId, IgnoredAny>,
    }
    let keys = users.map(|user| (user, place(None), "m.ignored_user_list"));
    let lists = store.get_many(&ACCOUNT_DATA, keys).await?.into_iter();
    Ok(lists
        .map(|json| {
            json.and_then(|json| serde_json::from_str::<Content>(&json).ok())
                .map(|content| content.ignored_users.into_keys().collect())
                .unwrap_or_default()
        })
        .collect())
}

/// Sets one type and tells all the user's devices. What is set must have passed the gate.
///
/// # Errors
/// 413 `M_TOO_LARGE` for content above [`MAX_CONTENT_BYTES`], 400 for one type more than [`MAX_TYPES`], the store's.
pub async fn set_in(
    tx: &mut Tx,
    user: &UserId,
    room: Option<&RoomId>,
    kind: &str,
    json: &str,
) -> Result<()> {
    if json.len() > MAX_CONTENT_BYTES {
        return Err(Error::too_large(
            "This is more than the server keeps for one type of account data.",
        ));
    }
    let key = (user, place(room), kind);
    if tx.get(&ACCOUNT_DATA, key).await?.is_none() {
        let kept = tx
            .store()
            .scan(&ACCOUNT_DATA, (user, place(room)), Page::first(MAX_TYPES))
            .await?;
        if kept.len() >= MAX_TYPES {
            return Err(Error::invalid_param(
                "There are too many types of account data here already.",
            ));
        }
    }
    tx.put(&ACCOUNT_DATA, key, &json.to_owned())?;
    inbox::deliver(
        tx,
        user,
        Entry::AccountData(room.map(ToOwned::to_owned), kind.to_owned()),
    )?;
    Ok(())
}

async fn all(
    store: &Store,
    user: &UserId,
    room: Option<&RoomId>,
) -> Result<Vec<(String, String)>, StoreError> {
    let found = store
        .scan(&ACCOUNT_DATA, (user, place(room)), Page::first(MAX_TYPES))
        .await?;
    Ok(found
        .into_iter()
        .map(|((_, _, kind), json)| (kind, json))
        .collect())
}

/// Forgets what was set for one device, which is gone. Nobody else needs to hear of it.
///
/// # Errors
/// The store's.
pub fn forget_device_in(tx: &mut Tx, user: &UserId, device: &DeviceId) -> Result<(), StoreError> {
    for kind in OF_A_DEVICE {
        tx.delete(
            &ACCOUNT_DATA,
            (user, place(None), format!("{kind}.{device}")),
        );
    }
    Ok(())
}

/// Whether somebody wants no invitations.
///
/// [Specification](https://spec.matrix.org/v1.18/client-server-api/#invite-permission)
///
/// # Errors
/// The store's.
pub async fn refuses_invitations(store: &Store, user: &UserId) -> Result<bool, StoreError> {
    #[derive(Deserialize)]
    struct Permission {
        default_action: Option<String>,
    }
    let keys = INVITE_PERMISSION.map(|kind| (user, "", kind));
    let found = store.get_many(&ACCOUNT_DATA, keys).await?;
    Ok(found.into_iter().flatten().any(|text| {
        serde_json::from_str::<Permission>(&text)
            .is_ok_and(|it| it.default_action.as_deref() == Some("block"))
    }))
}

fn place(room: Option<&RoomId>) -> &str {
    room.map_or("", RoomId::as_str)
}
