//! Which events refer to which, as far as they say so in the clear (`m.relates_to`).

mod endpoints;

use ruma::{EventId, OwnedEventId, OwnedRoomId};
use serde::{Deserialize, Serialize};

pub(super) use self::endpoints::router;
use super::event::{EVENT_POSITIONS, StoredEvent, TIMELINE};
use crate::{
    error::Result,
    store::{Slot, Store, Table, Tx},
};

/// How many references are followed from an event to the thread that it belongs to.
const HOPS: usize = 3;

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

/// The event that began the thread which an event is in: one that refers to an event of a thread (an answer to a poll) is in
/// the thread too. Costs nothing for an event that refers to none.
pub(super) async fn thread_of(store: &Store, event: &StoredEvent) -> Result<Option<OwnedEventId>> {
    let mut relation = relates_to(event);
    for _ in 0..HOPS {
        let target = match relation {
            None => return Ok(None),
            Some((rel_type, root)) if rel_type == "m.thread" => return Ok(Some(root)),
            Some((_, target)) => target,
        };
        let place = store.get(&EVENT_POSITIONS, &target).await?;
        let Some(place) = place.filter(|place| place.value == event.room_id) else {
            return Ok(None);
        };
        let found = store.entries(&TIMELINE, &event.room_id, &[place.number()]);
        relation = found.await?.pop().flatten().as_ref().and_then(relates_to);
    }
    Ok(None)
}
