//! What a list of rooms asks about each of them, in one small row: asking for it costs one read for many rooms, while
//! their states may not be in memory.

use ruma::{OwnedRoomId, RoomId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::state::{self, RoomState};
use crate::{error::Result, state::App, store::Table};

/// The sketches of rooms. A room that was made before there were any has none until its encryption changes.
pub const SKETCHES: Table<OwnedRoomId, Sketch> = Table::new(0x0409, "room_sketches");

/// The types of state that a sketch is made of.
pub(super) const SHAPING: [&str; 2] = ["m.room.create", "m.room.encryption"];

/// What a list of rooms asks about a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    kind: Option<[u8; 8]>,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

impl Sketch {
    pub(super) fn of(state: &RoomState) -> Self {
        #[derive(Deserialize)]
        struct Create {
            r#type: Option<String>,
        }
        let create = state.content::<Create>("m.room.create");
        Self {
            kind: create
                .and_then(|create| create.r#type)
                .map(|kind| digest(&kind)),
            encrypted: state.is_encrypted(),
        }
    }

    /// Whether the room is of this type; `None` is an ordinary room.
    pub fn is_of_type(&self, kind: Option<&str>) -> bool {
        self.kind == kind.map(digest)
    }
}

/// The sketches of these rooms, in their order; `None` for a room that is not there any more.
///
/// # Errors
/// The store's.
pub async fn of_rooms(app: &App, rooms: &[&RoomId]) -> Result<Vec<Option<Sketch>>> {
    let mut sketches = app.store.get_many(&SKETCHES, rooms.iter().copied()).await?;
    for (room, sketch) in rooms.iter().zip(&mut sketches) {
        if sketch.is_none() {
            let state = state::current(app, room).await?;
            *sketch = state.as_deref().map(Sketch::of);
        }
    }
    Ok(sketches)
}

/// A type is a word, and words are not copied about.
fn digest(kind: &str) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(kind).into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    [a, b, c, d, e, f, g, h]
}
