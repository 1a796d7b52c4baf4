//! What a client that syncs in a sliding window has been told of which room, for each of its connections.
//!
//! A position says how far in the inbox a client is; which rooms it knows does not follow from that. So each connection has
//! a row for every room that it was told of. What an answer adds to them is *pending* until the client comes back with that
//! answer's position: only then it is certain that it has it. Until then it may ask again with the position before, and
//! what was pending is as if it had never been. A room in which the client misses nothing needs no new row, so an answer
//! with what is new in rooms that the client knows writes nothing.
//!
//! Rooms and connections are named by hashes: what somebody looks at is not kept in words.
//!
//! See `docs/decisions/0007-sliding-sync.md`.

mod ledger;
#[cfg(test)]
mod tests;

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

pub use self::ledger::{Failure, Ledger};
use crate::{
    clock::Clock,
    store::{Page, Store, StoreError, Table, Tx},
};

/// A connection or a room, by a keyed hash.
pub type Name = [u8; 16];

/// The connections of each device.
pub const CONNECTIONS: Table<(OwnedUserId, OwnedDeviceId, Name), Connection> =
    Table::new(0x0504, "connections");
/// What a client is known to have been told of rooms: connection, life of the connection, room.
pub const TOLD: Table<(Name, u64, Name), Told> = Table::new(0x0505, "connections_told");
/// What answers have told whose receipt is not certain: connection, number of the answer.
pub const PENDING: Table<(Name, u64), Pending> = Table::new(0x0506, "connections_pending");

/// How many connections a device has at once. A further one ends the one that was used longest ago.
pub const MAX_CONNECTIONS: usize = 16;
/// How many answers of one connection may be uncertain at once. Clients have one, or two where they have given up waiting.
pub const MAX_PENDING: usize = 4;
/// How many sets of terms are kept. Rooms whose terms are forgotten are told anew of what their new terms ask for.
pub const MAX_TERMS: usize = 64;
/// A connection that was not used for so many days is forgotten, and the client begins anew.
pub const UNUSED_DAYS: u64 = 30;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The number of the newest answer that has changed what is told. Numbers are never given twice.
    last: u64,
    /// The newest such answer that the client is known to have.
    acknowledged: u64,
    /// The first answer of this life of the connection: the one that was told to a client that began anew.
    life: u64,
    /// Such answers that the client may have.
    pending: Vec<u64>,
    /// The terms on which rooms were told.
    terms: Vec<Terms>,
    /// The day on which it was used, counted from 1970; 0 if it is ended.
    day: u64,
}

/// What a client has been told of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The position in the room up to which it was told when this was written.
    pub up_to: u64,
    /// Whether it has been told of everything since.
    pub live: bool,
    /// Whether it was told that it is a conversation of two.
    pub direct: bool,
    /// On which terms ([`Terms::id`]).
    pub terms: u64,
    /// The members whom it was told of only because they wrote something, by a hash.
    pub members: Vec<u32>,
}

/// What a client wanted to be told of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// A hash of all of it.
    pub id: u64,
    /// How many events of the timeline.
    pub limit: u32,
    /// Which state: hashes of types and keys.
    pub state: Vec<u64>,
    /// Which extensions: a bit for each.
    pub extensions: u8,
}

/// What one answer has told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Whether it was told to a client that began anew.
    fresh: bool,
    rooms: Vec<(Name, Told)>,
    terms: Vec<Terms>,
}

/// Whose connection it is, and which.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The device.
    pub device: &'a DeviceId,
    /// The connection.
    pub name: Name,
}

fn today(clock: &Clock) -> u64 {
    clock.millis() / DAY_MS
}

/// Ends the connections of a device that is being deleted. What they hold goes when [`trim`] comes by.
///
/// # Errors
/// The store's.
pub async fn forget_device_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
) -> Result<(), StoreError> {
    let all = Page::first(MAX_CONNECTIONS * 2);
    let store = tx.store().clone();
    for (key, mut connection) in store.scan(&CONNECTIONS, (user, device), all).await? {
        connection.day = 0;
        tx.put(&CONNECTIONS, key, &connection)?;
    }
    Ok(())
}

/// Removes up to `most` rows of a user's connections that are ended or were not used for long; how many.
///
/// # Errors
/// The store's.
pub async fn trim(
    store: &Store,
    clock: &Clock,
    user: &UserId,
    most: usize,
) -> Result<usize, StoreError> {
    let found = store
        .scan(&CONNECTIONS, (user,), Page::first(most.max(1)))
        .await?;
    for (key, connection) in found {
        if connection.day + UNUSED_DAYS < today(clock) {
            return remove_some(store, key, &connection, most).await;
        }
    }
    Ok(0)
}

/// Removes up to `most` rows of the connections of an account that is ended; how many.
///
/// # Errors
/// The store's.
pub async fn forget_user(store: &Store, user: &UserId, most: usize) -> Result<usize, StoreError> {
    let found = store.scan(&CONNECTIONS, (user,), Page::first(1)).await?;
    match found.into_iter().next() {
        Some((key, connection)) => remove_some(store, key, &connection, most).await,
        None => Ok(0),
    }
}

/// What a connection holds goes first, its own row last, and only if it was not used meanwhile.
async fn remove_some(
    store: &Store,
    key: (OwnedUserId, OwnedDeviceId, Name),
    seen: &Connection,
    most: usize,
) -> Result<usize, StoreError> {
    let name = key.2;
    let removed = store.erase(&TOLD, (name,), most).await?;
    if removed > 0 {
        return Ok(removed);
    }
    let removed = store.erase(&PENDING, (name,), most).await?;
    if removed > 0 {
        return Ok(removed);
    }
    let key = &key;
    store
        .transact(|mut tx| async move {
            if tx.get(&CONNECTIONS, key).await?.as_ref() == Some(seen) {
                tx.delete(&CONNECTIONS, key);
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(1)
}
