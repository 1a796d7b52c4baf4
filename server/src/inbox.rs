//! What is new for a user, in order. One list per user: whatever concerns somebody puts one small entry here, in the same
//! commit that made it so, and sync is a scan of it.

pub mod connection;
pub mod recency;
pub mod token;
pub mod trim;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::store::{List, Numbered, Slot, StoreError, Tx};

/// The inboxes. The number at an entry's end is the position of the event in its room, 0 for other entries.
pub const INBOX: List<OwnedUserId, Numbered<Entry>> = List::new(0x0501, "inbox");

/// One thing that is new. It says where to look; what is there is read when it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// An event in a room; its position is the entry's number.
    Event(OwnedRoomId),
    /// Somebody's receipt in a room was moved: whose, and which of theirs (the last part of its key in the receipts table).
    Receipt(OwnedRoomId, OwnedUserId, String),
    /// Account data of this type was set (`m.push_rules` and, in rooms, `m.tag` and `m.fully_read` too).
    AccountData(Option<OwnedRoomId>, String),
    /// This user's devices or keys have changed.
    Devices(OwnedUserId),
    /// The user has forgotten the room.
    Forgotten(OwnedRoomId),
    /// The room was deleted, at this time (milliseconds since 1970).
    Deleted(OwnedRoomId, u64),
    /// What was here was about a room that is deleted.
    Nothing,
}

impl Entry {
    /// Whether it is about this room, beyond saying that the room was deleted.
    pub fn is_about(&self, room: &RoomId) -> bool {
        match self {
            Self::Event(of)
            | Self::Receipt(of, _, _)
            | Self::AccountData(Some(of), _)
            | Self::Forgotten(of) => of == room,
            Self::AccountData(None, _) | Self::Devices(_) | Self::Deleted(_, _) | Self::Nothing => {
                false
            }
        }
    }
}

/// Puts an entry into somebody's inbox.
///
/// # Errors
/// The entry cannot be encoded.
pub fn deliver(tx: &mut Tx, user: &UserId, entry: Entry) -> Result<(), StoreError> {
    tx.append(&INBOX, user, &Numbered::new(entry, 0)).map(drop)
}

/// Puts an event into somebody's inbox, by the slot of its append to the room's timeline; the entry's own slot.
///
/// # Errors
/// The entry cannot be encoded.
pub fn deliver_event(
    tx: &mut Tx,
    user: &UserId,
    room: &RoomId,
    position: Slot,
) -> Result<Slot, StoreError> {
    tx.append_numbered(&INBOX, user, Entry::Event(room.to_owned()), position)
}
