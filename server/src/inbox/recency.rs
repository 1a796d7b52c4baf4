//! When something last happened in each of a user's rooms, by the numbers of their inbox: what lists of rooms are sorted by.
//!
//! One row a room and kind of happening, written over by the commit that delivers an event: nothing is read for it, and
//! messages that come at the same time do not wait for each other. A room that the user has left of their own accord has no
//! rows; one from which they were taken has.

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use crate::store::{Numbered, Page, Slot, Store, StoreError, Table, Tx};

/// The last entry of the user's inbox about each of their rooms, by kind of happening.
pub const RECENCY: Table<(OwnedUserId, OwnedRoomId, u8), Numbered<()>> =
    Table::new(0x0503, "recency");

/// What people write, and what brings a room to the top of a list.
const PROPER: u8 = 1;
/// Everything else.
const OTHER: u8 = 0;
/// How many rows are read at once.
const PAGE: usize = 1_000;

/// The types of events that are what people write.
const PROPER_TYPES: [&str; 9] = [
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "org.matrix.msc3381.poll.start",
    "m.beacon_info",
    "org.matrix.msc3672.beacon_info",
];

/// When something last happened in a room: numbers of the user's inbox; 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recency {
    /// Anything at all.
    pub anything: u64,
    /// Something that people write, or that the user came or was invited.
    pub proper: u64,
}

impl Recency {
    fn add(&mut self, kind: u8, number: u64) {
        if kind == PROPER {
            self.proper = self.proper.max(number);
        }
        self.anything = self.anything.max(number);
    }
}

/// Whether events of this type are what people write.
pub fn is_proper(kind: &str) -> bool {
    PROPER_TYPES.contains(&kind)
}

/// Notes that something has happened in a room of this user, by the slot of its entry in their inbox.
///
/// # Errors
/// The row cannot be encoded.
pub fn note(
    tx: &mut Tx,
    user: &UserId,
    room: &RoomId,
    proper: bool,
    entry: Slot,
) -> Result<(), StoreError> {
    let kind = if proper { PROPER } else { OTHER };
    tx.put_numbered(&RECENCY, (user, room, kind), (), entry)
}

/// The room is no longer one of this user's.
pub fn forget(tx: &mut Tx, user: &UserId, room: &RoomId) {
    for kind in [OTHER, PROPER] {
        tx.delete(&RECENCY, (user, room, kind));
    }
}

/// All rooms of a user that have rows.
///
/// # Errors
/// The store's.
pub async fn of_user(
    store: &Store,
    user: &UserId,
) -> Result<BTreeMap<OwnedRoomId, Recency>, StoreError> {
    let mut rooms = BTreeMap::<OwnedRoomId, Recency>::new();
    let mut page = store.scan(&RECENCY, (user,), Page::first(PAGE)).await?;
    loop {
        let next = page.last().map(|(key, _)| key.clone());
        let whole = page.len() < PAGE;
        for ((_, room, kind), number) in page {
            rooms.entry(room).or_default().add(kind, number.number());
        }
        let Some(last) = next.filter(|_| !whole) else {
            return Ok(rooms);
        };
        page = store
            .scan_after(&RECENCY, (user,), last, Page::first(PAGE))
            .await?;
    }
}

/// These rooms of a user, in their order.
///
/// # Errors
/// The store's.
pub async fn of_rooms(
    store: &Store,
    user: &UserId,
    rooms: &[&RoomId],
) -> Result<Vec<Recency>, StoreError> {
    let kinds = |room| [(user, room, OTHER), (user, room, PROPER)];
    let keys = rooms.iter().copied().flat_map(kinds);
    let rows = store.get_many(&RECENCY, keys).await?;
    Ok(rows
        .chunks(2)
        .map(|pair| {
            let mut recency = Recency::default();
            for (row, kind) in pair.iter().zip([OTHER, PROPER]) {
                recency.add(kind, row.as_ref().map_or(0, Numbered::number));
            }
            recency
        })
        .collect())
}
