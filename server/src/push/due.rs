//! What is to be pushed, and to whom: noted by the same commit that makes it so, sent by `pushers`.

use ruma::{DeviceId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{
    notify::{Incoming, Ring},
    unread::Within,
};
use crate::store::{List, Numbered, StoreError, Table, Tx};

/// The pushers of a user. Who has none, has no row.
pub const PUSHERS: Table<OwnedUserId, Vec<Pusher>> = Table::new(0x0806, "pushers");

/// Whose pusher has this app id and pushkey: one phone belongs to one person.
pub const PUSHKEYS: Table<(String, String, OwnedUserId), ()> = Table::new(0x0807, "pushkeys");

/// What is to be pushed to a user's pushers, in order. The number at an entry's end is a position in its room.
pub const PUSHES: List<OwnedUserId, Numbered<Push>> = List::new(0x0808, "pushes");

/// Whose pushes are to be looked at, and from when on (milliseconds since 1970).
pub const DUE: Table<(u64, OwnedUserId), ()> = Table::new(0x0809, "pushes_due");

/// Where somebody who has a pusher may have something unread; the number is the position of the last notification. May name
/// more rooms than have something unread, never fewer.
pub const UNREAD_ROOMS: Table<(OwnedUserId, OwnedRoomId), Numbered<()>> =
    Table::new(0x080A, "unread_rooms");

/// Whom a gateway is to tell, and how far that has come. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pusher {
    /// The application.
    pub app_id: String,
    /// Where the gateway finds the phone.
    pub pushkey: String,
    /// The device that set it: it goes when that one does.
    pub device: OwnedDeviceId,
    /// The language.
    pub lang: String,
    /// The gateway.
    pub url: String,
    /// What the client wants its gateway to be told each time, as JSON.
    pub data: String,
    /// When it was set.
    pub set: u64,
    /// The last of [`PUSHES`] that it is done with.
    pub sent: u64,
    /// It is left alone until then: somebody is sending, or the gateway has failed.
    pub until: u64,
    /// Somebody is sending.
    pub sending: bool,
    /// Something came while somebody was sending.
    pub again: bool,
    /// How often in a row the gateway has failed.
    pub failures: u32,
    /// Since when.
    pub failing_since: u64,
}

impl Pusher {
    /// Whether it is the one with this app id and pushkey.
    pub fn is(&self, app_id: &str, pushkey: &str) -> bool {
        self.app_id == app_id && self.pushkey == pushkey
    }
}

/// Something to push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Push {
    /// An event, at the entry's position.
    Ring {
        /// Where.
        room: OwnedRoomId,
        /// The event that its thread began with.
        thread: Option<OwnedEventId>,
        /// Which event.
        event_id: OwnedEventId,
        /// Whether it is to be heard at once.
        urgent: bool,
    },
    /// The user has read the room, or a part of it, up to the entry's position: there is less unread.
    Read {
        /// Where.
        room: OwnedRoomId,
        /// What of it.
        within: Within,
    },
}

/// Notes that an event is to be pushed to a user who has pushers.
pub(super) fn ring_in(
    tx: &mut Tx,
    event: &Incoming<'_>,
    user: &UserId,
    ring: Ring,
) -> Result<(), StoreError> {
    let push = Push::Ring {
        room: event.room.to_owned(),
        thread: event.thread.map(ToOwned::to_owned),
        event_id: event.event_id.to_owned(),
        urgent: ring.urgent,
    };
    tx.append_numbered(&PUSHES, user, push, event.position)?;
    tx.put_numbered(&UNREAD_ROOMS, (user, event.room), (), event.position)?;
    tx.put(&DUE, (event.now, user), &())
}

/// Notes that there is less unread for a user, if they have pushers.
pub(super) async fn read_in(
    tx: &mut Tx,
    user: &UserId,
    room: OwnedRoomId,
    (within, position): (&Within, u64),
    now: u64,
) -> Result<(), StoreError> {
    if tx.store().get(&PUSHERS, user).await?.is_none() {
        return Ok(());
    }
    let read = Push::Read {
        room,
        within: within.clone(),
    };
    tx.append(&PUSHES, user, &Numbered::new(read, position))?;
    tx.put(&DUE, (now, user), &())
}

/// Removes the pushers of a device that is being deleted.
///
/// # Errors
/// The store's.
pub async fn forget_device_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
) -> Result<(), StoreError> {
    remove_in(tx, user, |pusher| pusher.device == device).await
}

/// Removes pushers of a user.
///
/// # Errors
/// The store's.
pub async fn remove_in(
    tx: &mut Tx,
    user: &UserId,
    which: impl Fn(&Pusher) -> bool + Send,
) -> Result<(), StoreError> {
    let Some(all) = tx.get(&PUSHERS, user).await? else {
        return Ok(());
    };
    let (gone, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(which);
    if gone.is_empty() {
        return Ok(());
    }
    keep_in(tx, user, &gone, &kept)
}

/// Keeps some pushers of a user and removes others.
///
/// # Errors
/// They cannot be encoded.
pub fn keep_in(
    tx: &mut Tx,
    user: &UserId,
    gone: &[Pusher],
    kept: &[Pusher],
) -> Result<(), StoreError> {
    for pusher in gone {
        tx.delete(&PUSHKEYS, (&pusher.app_id, &pusher.pushkey, user));
    }
    if kept.is_empty() {
        tx.delete(&PUSHERS, user);
        return Ok(());
    }
    tx.put(&PUSHERS, user, &kept.to_vec())
}
