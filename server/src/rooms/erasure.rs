//! People who gave up their account and wanted what they said erased: whoever was not in the room when they said it is shown
//! that they said something, and no more.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#post_matrixclientv3accountdeactivate)

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::membership;
use crate::store::{Page, Store, StoreError, Table, Tx};

/// Who is erased, by room.
pub const ERASED: Table<(OwnedRoomId, OwnedUserId), ()> = Table::new(0x0443, "erased_in_rooms");

/// How many rooms are marked in one transaction, and people read at once.
const PAGE: usize = 500;

/// Erases somebody in all rooms that they ever had to do with.
///
/// # Errors
/// The store's; doing it again goes on.
pub async fn erase(store: &Store, user: &UserId) -> Result<(), StoreError> {
    let rooms = membership::rooms_of(store, user).await?;
    for some in rooms.chunks(PAGE) {
        store
            .transact(|mut tx: Tx| async move {
                for (room, _) in some {
                    tx.put(&ERASED, (room, user), &())?;
                }
                Ok::<_, StoreError>((tx, ()))
            })
            .await?;
    }
    Ok(())
}

/// Those who are erased in a room.
pub(super) async fn erased(
    store: &Store,
    room: &RoomId,
) -> Result<BTreeSet<OwnedUserId>, StoreError> {
    let mut all = BTreeSet::new();
    let mut page = store.scan(&ERASED, (room,), Page::first(PAGE)).await?;
    loop {
        let last = page.last().map(|(key, ())| key.clone());
        let whole = page.len() < PAGE;
        all.extend(page.into_iter().map(|((_, user), ())| user));
        let Some(last) = last.filter(|_| !whole) else {
            return Ok(all);
        };
        page = store
            .scan_after(&ERASED, (room,), last, Page::first(PAGE))
            .await?;
    }
}
