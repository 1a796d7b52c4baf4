//! Receipts: how far somebody has read, told to the room or to oneself only; and the read markers, which set several at
//! once.
//!
//! [Receipts](https://spec.matrix.org/v1.18/client-server-api/#receipts),
//! [read markers](https://spec.matrix.org/v1.18/client-server-api/#fully-read-markers)

mod set;

use axum::Router;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
    events::receipt::{ReceiptThread, ReceiptType},
};
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
/// How many receipts one user may have in a room: one for each type and thread.
pub const MAX_RECEIPTS_OF_USER: usize = 500;

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

pub(super) fn router() -> Router<App> {
    set::router()
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
        .map(|((_, user, of), receipt)| (user, of, receipt))
        .collect())
}

/// The last part of a receipt's key.
pub fn key(kind: &ReceiptType, thread: &ReceiptThread) -> String {
    format!("{kind} {}", thread.as_str().unwrap_or_default())
}

/// What the last part of a receipt's key says.
pub fn of(key: &str) -> (ReceiptType, ReceiptThread) {
    let (kind, thread) = key.split_once(' ').unwrap_or((key, ""));
    let thread = Some(thread).filter(|thread| !thread.is_empty());
    (
        kind.into(),
        ReceiptThread::try_from(thread).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use ruma::owned_event_id;

    use super::*;

    #[test]
    fn a_key_says_what_it_was_made_of() {
        for kind in [ReceiptType::Read, ReceiptType::ReadPrivate] {
            for thread in [
                ReceiptThread::Unthreaded,
                ReceiptThread::Main,
                ReceiptThread::Thread(owned_event_id!("$root")),
            ] {
                assert_eq!(of(&key(&kind, &thread)), (kind.clone(), thread));
            }
        }
    }
}
