//! Rooms, as an operator manages them.

use respite_protocol::{TherapyKind, therapy};
use ruma::OwnedRoomId;
use serde_json::Value;

use super::{Failure, Room};
use crate::{
    rooms::{
        event::TIMELINE,
        state::{self, ROOMS, RoomState},
    },
    state::App,
    store::Page,
};

/// How many rooms are read at a time.
const PAGE: usize = 200;

/// All rooms but those that are being deleted.
pub(super) async fn list(app: &App) -> Result<Vec<Room>, Failure> {
    let mut rooms: Vec<Room> = Vec::new();
    loop {
        let page = Page::first(PAGE);
        let found = match rooms.last() {
            Some(last) => app.store.scan_after(&ROOMS, (), &last.room, page).await?,
            None => app.store.scan(&ROOMS, (), page).await?,
        };
        let whole = found.len() < PAGE;
        for (room, _) in found {
            rooms.extend(described(app, room).await?);
        }
        if whole {
            return Ok(rooms);
        }
    }
}

async fn described(app: &App, room: OwnedRoomId) -> Result<Option<Room>, Failure> {
    let Some(state) = state::current(app, &room).await? else {
        return Ok(None);
    };
    let create = state.create();
    Ok(Some(Room {
        therapy: kind(&state),
        members: state.joined().iter().cloned().collect(),
        events: app.store.head(&TIMELINE, &room).await?,
        created: create.map_or(0, |create| create.origin_server_ts),
        room,
    }))
}

fn kind(state: &RoomState) -> Option<TherapyKind> {
    let create: Value = state.content("m.room.create")?;
    serde_json::from_value(create.get(therapy::KIND_KEY)?.clone()).ok()
}
