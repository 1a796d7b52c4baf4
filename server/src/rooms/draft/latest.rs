//! The event that the next one of a room follows.

use ruma::{OwnedEventId, RoomId};

use crate::{error::Result, rooms::event::TIMELINE, state::App, store::Store};

/// The newest event of a room that this process knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rooms) struct Latest {
    /// Its position; 0 while its transaction is not committed.
    pub(in crate::rooms) position: u64,
    pub(in crate::rooms) event_id: OwnedEventId,
    pub(in crate::rooms) depth: u64,
}

impl Latest {
    /// What this process knows is the newest only if nothing came since: not everybody who writes tells it.
    pub(super) async fn of(app: &App, room_id: &RoomId) -> Result<Option<Self>> {
        let head = app.store.head(&TIMELINE, room_id).await?;
        match app.rooms.latest(room_id) {
            Some(latest) if latest.position >= head => Ok(Some(latest)),
            _ => Self::read(&app.store, room_id).await,
        }
    }

    async fn read(store: &Store, room_id: &RoomId) -> Result<Option<Self>> {
        let newest = store.before(&TIMELINE, room_id, u64::MAX, 1).await?.pop();
        Ok(newest.map(|(position, event)| Self {
            position,
            event_id: event.event_id,
            depth: event.seal.depth,
        }))
    }
}
