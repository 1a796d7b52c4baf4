//! Which events refer to which, as far as they say so in the clear (`m.relates_to`), and what follows from it: threads, and
//! what an event is shown with.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#forwarding-relationships)

mod bundle;
mod endpoints;
mod index;
mod recursion;
mod related_by;
mod thread;

use axum::Router;
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use serde::{Deserialize, Serialize};

pub(super) use self::related_by::RelatedBy;
pub use self::{
    bundle::Bundler,
    index::{INDEXED, index},
    thread::THREAD_ORDER,
};
use super::event::{EVENT_POSITIONS, StoredEvent, TIMELINE};
use crate::{
    error::{Error, Result},
    state::App,
    store::{Numbered, Page, Slot, Store, StoreError, Table, Tx, packed},
};

/// How many references are followed from an event to the thread that it belongs to.
const HOPS: usize = 3;

/// What refers to an event: room, event, position of what refers to it.
pub const RELATIONS: Table<(OwnedRoomId, OwnedEventId, u64), Relation> =
    Table::new(0x0406, "relations");

/// The same by relation type, as far as it counts: room, event, type, position of what refers to it.
pub const BY_TYPE: Table<(OwnedRoomId, OwnedEventId, String, u64), Related> =
    Table::new(0x0410, "relations_by_type");

/// How often somebody refers to an event in the same way: room, event, who, relation type.
pub const RELATORS: Table<(OwnedRoomId, OwnedEventId, OwnedUserId, String), u64> =
    Table::new(0x0411, "relators");

/// What an event that is referred to is shown with. The number is the position of its thread's newest reply, 0 if it is no
/// thread's root.
pub const AGGREGATES: Table<(OwnedRoomId, OwnedEventId), Numbered<Aggregate>> =
    Table::new(0x0412, "aggregates");

const THREAD: &str = "m.thread";
const REPLACE: &str = "m.replace";
const REFERENCE: &str = "m.reference";

/// The endpoints.
pub(super) fn router() -> Router<App> {
    endpoints::router().merge(thread::router())
}

/// How an event refers to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// `m.thread`, `m.annotation` …
    pub rel_type: String,
    /// The type of the event that refers.
    pub kind: String,
}

/// An event that refers to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// Its id.
    #[serde(with = "packed::event_id")]
    pub event_id: OwnedEventId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: String,
}

/// What is known of all that refers to an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// How many replies its thread has.
    pub replies: u64,
    /// Whether it was ever edited.
    pub edited: bool,
    /// Whether it was ever referred to by an `m.reference`.
    pub referenced: bool,
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
///
/// # Errors
/// 400 `M_INVALID_PARAM` if it would begin a thread at an event that refers to another one itself.
pub(super) async fn write(tx: &mut Tx, event: &StoredEvent, position: Slot) -> Result<()> {
    let Some((rel_type, target)) = relates_to(event) else {
        return Ok(());
    };
    let room = &*event.room_id;
    let of = parent(tx.store(), room, &target).await?;
    if let Some(of) = &of
        && rel_type == THREAD
        && relates_to(of).is_some()
    {
        return Err(Error::invalid_param(
            "A thread cannot begin at a message that is itself a reply in a thread, an edit or a reference.",
        ));
    }
    let relation = Relation {
        rel_type: rel_type.clone(),
        kind: event.kind.clone(),
    };
    tx.put_at(&RELATIONS, (room, &*target), position, &relation)?;
    if !of.is_some_and(|of| counts(&rel_type, &of, event)) {
        return Ok(());
    }
    let related = Related::from(event);
    tx.put_at(&BY_TYPE, (room, &*target, &*rel_type), position, &related)?;
    let of_sender = (room, &*target, &*event.sender, &*rel_type);
    let before = tx.get(&RELATORS, of_sender).await?.unwrap_or_default();
    tx.put(&RELATORS, of_sender, &before.saturating_add(1))?;
    aggregate(tx, (room, &target), &rel_type, position).await
}

async fn aggregate(
    tx: &mut Tx,
    of: (&RoomId, &EventId),
    rel_type: &str,
    position: Slot,
) -> Result<()> {
    if ![THREAD, REPLACE, REFERENCE].contains(&rel_type) {
        return Ok(());
    }
    let row = tx.get(&AGGREGATES, of).await?;
    let newest = row.as_ref().map_or(0, Numbered::number);
    let before = row.map(|row| row.value).unwrap_or_default();
    let after = before.with(rel_type);
    if rel_type == THREAD {
        tx.put_numbered(&AGGREGATES, of, after, position)?;
        thread::replied(tx, of, newest, position)?;
    } else if after != before {
        tx.put(&AGGREGATES, of, &Numbered::new(after, newest))?;
    }
    Ok(())
}

/// Takes back what was noted of an event that is redacted: it no longer refers to anything.
///
/// # Errors
/// The store's.
pub(super) async fn remove(tx: &mut Tx, event: &StoredEvent, position: u64) -> Result<()> {
    let Some((rel_type, target)) = relates_to(event) else {
        return Ok(());
    };
    let room = &*event.room_id;
    tx.delete(&RELATIONS, (room, &*target, position));
    let key = (room, &*target, &*rel_type, position);
    if tx.get(&BY_TYPE, key).await?.is_none() {
        return Ok(());
    }
    tx.delete(&BY_TYPE, key);
    let of_sender = (room, &*target, &*event.sender, &*rel_type);
    match tx.get(&RELATORS, of_sender).await? {
        Some(count) if count > 1 => tx.put(&RELATORS, of_sender, &(count - 1))?,
        _ => tx.delete(&RELATORS, of_sender),
    }
    if rel_type == THREAD {
        thread::withdrawn(tx, (room, &target), position).await?;
    }
    Ok(())
}

/// Whether an event is an edit of another one: people have been told of that one.
pub(super) fn is_edit(event: &StoredEvent) -> bool {
    relates_to(event).is_some_and(|(rel_type, _)| rel_type == REPLACE)
}

/// The tables in which a room that is deleted leaves something: removes up to `most` entries; `false` if nothing was left.
///
/// # Errors
/// The store's.
pub(super) async fn erase(store: &Store, room: &RoomId, most: usize) -> Result<bool, StoreError> {
    Ok(store.erase(&RELATIONS, (room,), most).await? > 0
        || store.erase(&BY_TYPE, (room,), most).await? > 0
        || store.erase(&RELATORS, (room,), most).await? > 0
        || store.erase(&AGGREGATES, (room,), most).await? > 0
        || store.erase(&THREAD_ORDER, (room,), most).await? > 0)
}

/// The event of this room that is referred to. Events never leave a room, so that it need not be read again at the commit.
async fn parent(
    store: &Store,
    room: &RoomId,
    id: &EventId,
) -> Result<Option<StoredEvent>, StoreError> {
    let place = store.get(&EVENT_POSITIONS, id).await?;
    match place.filter(|place| place.value == room) {
        Some(place) => {
            let found = store.entries(&TIMELINE, room, &[place.number()]).await?;
            Ok(found.into_iter().next().flatten())
        }
        None => Ok(None),
    }
}

/// Whether one event's reference to another one counts: only one's own words can be edited, and an edit not again.
fn counts(rel_type: &str, of: &StoredEvent, event: &StoredEvent) -> bool {
    match rel_type {
        REPLACE => {
            of.sender == event.sender
                && of.kind == event.kind
                && of.state_key.is_none()
                && !is_edit(of)
        }
        THREAD => relates_to(of).is_none(),
        _ => true,
    }
}

impl From<&StoredEvent> for Related {
    fn from(event: &StoredEvent) -> Self {
        Self {
            event_id: event.event_id.clone(),
            sender: event.sender.clone(),
            kind: event.kind.clone(),
        }
    }
}

impl Aggregate {
    fn with(mut self, rel_type: &str) -> Self {
        match rel_type {
            THREAD => self.replies = self.replies.saturating_add(1),
            REPLACE => self.edited = true,
            REFERENCE => self.referenced = true,
            _ => {}
        }
        self
    }
}

/// The event that began the thread which an event is in: one that refers to an event of a thread (an answer to a poll) is in
/// the thread too. Costs nothing for an event that refers to none.
pub(super) async fn thread_of(
    store: &Store,
    event: &StoredEvent,
) -> Result<Option<OwnedEventId>, StoreError> {
    follow(store, event, |rel_type, _| rel_type == THREAD).await
}

/// Whether an event can be read in the thread that began with `root`: it is in it, or is its root, or refers to that. Without
/// a root: whether it is in no thread.
///
/// # Errors
/// The store's.
pub async fn is_within(
    store: &Store,
    event: &StoredEvent,
    root: Option<&EventId>,
) -> Result<bool, StoreError> {
    let Some(root) = root else {
        return Ok(thread_of(store, event).await?.is_none());
    };
    let leads_there = |rel_type: &str, target: &EventId| rel_type == THREAD || target == root;
    Ok(event.event_id == root || follow(store, event, leads_there).await?.as_deref() == Some(root))
}

/// A room's threads whose newest reply is before a position, up to `most` of them: where that reply is, and the event that
/// the thread began with; the newest first.
///
/// # Errors
/// The store's.
pub async fn threads_before(
    store: &Store,
    room: &RoomId,
    before: u64,
    most: usize,
) -> Result<Vec<(u64, OwnedEventId)>, StoreError> {
    let page = Page::last(most);
    let found = store.scan_after(&THREAD_ORDER, (room,), (room, before), page);
    Ok(found
        .await?
        .into_iter()
        .map(|((_, at), root)| (at, root))
        .collect())
}

/// The newest replies of a thread, up to `most` of them, and where they are; the newest first.
///
/// # Errors
/// The store's.
pub async fn replies(
    store: &Store,
    room: &RoomId,
    root: &EventId,
    most: usize,
) -> Result<Vec<(u64, Related)>, StoreError> {
    let found = store.scan(&BY_TYPE, (room, root, THREAD), Page::last(most));
    Ok(found
        .await?
        .into_iter()
        .map(|((.., at), reply)| (at, reply))
        .collect())
}

/// Follows what an event refers to, until a reference is found.
async fn follow(
    store: &Store,
    event: &StoredEvent,
    is_found: impl Fn(&str, &EventId) -> bool,
) -> Result<Option<OwnedEventId>, StoreError> {
    let mut relation = relates_to(event);
    for _ in 0..HOPS {
        let target = match relation {
            None => return Ok(None),
            Some((rel_type, target)) if is_found(&rel_type, &target) => return Ok(Some(target)),
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
