//! Which events refer to which, as far as they say so in the clear (`m.relates_to`).

mod endpoints;

use ruma::{EventId, OwnedEventId, OwnedRoomId};
use serde::{Deserialize, Serialize};

pub(super) use self::endpoints::router;
use super::event::StoredEvent;
use crate::{
    error::Result,
    store::{Slot, Table, Tx},
};

/// What refers to an event: room, event, position of what refers to it.
pub const RELATIONS: Table<(OwnedRoomId, OwnedEventId, u64), Relation> =
    Table::new(0x0406, "relations");

/// How an event refers to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// `m.thread`, `m.annotation` …
    pub rel_type: String,
    /// The type of the event that refers.
    pub kind: String,
}

#[derive(Deserialize)]
struct Content {
    #[serde(rename = "m.relates_to")]
    relates_to: Option<RelatesTo>,
}

#[derive(Deserialize)]
struct RelatesTo {
    rel_type: Option<String>,
    event_id: Option<OwnedEventId>,
}

fn relates_to(event: &StoredEvent) -> Option<(String, OwnedEventId)> {
    if event.state_key.is_some() || !event.content.contains("\"m.relates_to\"") {
        return None;
    }
    let relates_to = serde_json::from_str::<Content>(&event.content)
        .ok()?
        .relates_to?;
    Some((relates_to.rel_type?, relates_to.event_id?))
}

/// Notes what the event refers to.
pub(super) fn write(tx: &mut Tx, event: &StoredEvent, position: Slot) -> Result<()> {
    let Some((rel_type, target)) = relates_to(event) else {
        return Ok(());
    };
    let relation = Relation {
        rel_type,
        kind: event.kind.clone(),
    };
    let target: &EventId = &target;
    Ok(tx.put_at(&RELATIONS, (&event.room_id, target), position, &relation)?)
}

/// Whether an event is an edit of another one: people have been told of that one.
pub(super) fn is_edit(event: &StoredEvent) -> bool {
    relates_to(event).is_some_and(|(rel_type, _)| rel_type == "m.replace")
}
