//! Receipts: how far somebody has read, told to the room or to oneself only.

use axum::Router;
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use serde::{Deserialize, Serialize};

use crate::{
    state::App,
    store::{Page, Store, StoreError, Table},
};

/// The receipts, by room, user, and what the receipt is of: its type, a blank, and the thread (nothing for an unthreaded
/// one, `main`, or the id of the thread's root).
pub const RECEIPTS: Table<(OwnedRoomId, OwnedUserId, String), Receipt> =
    Table::new(0x0B01, "receipts");

/// How many of a room's receipts a client is told when it learns of the room.
pub const MAX_RECEIPTS: usize = 2_000;

/// How far somebody has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The last event read.
    pub event_id: OwnedEventId,
    /// That event's position in the room.
    pub position: u64,
    /// When, in milliseconds since 1970.
    pub ts: u64,
}

/// The receipts of a room: whose, of what (the last part of the key), and where.
///
/// # Errors
/// The store's.
pub async fn in_room(
    store: &Store,
    room: &RoomId,
) -> Result<Vec<(OwnedUserId, String, Receipt)>, StoreError> {
    let found = store
        .scan(&RECEIPTS, (room,), Page::first(MAX_RECEIPTS))
        .await?;
    Ok(found
        .into_iter()
        .map(|((_, user, kind), receipt)| (user, kind, receipt))
        .collect())
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
}
