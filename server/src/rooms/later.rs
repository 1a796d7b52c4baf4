//! Events that are sent later, unless somebody cancels them before: a call's participant who vanishes is taken out of it, a
//! message is sent in the morning. Their words have passed the gate when they were handed over; whether the sender may send
//! them is asked when they are sent. The commit that puts one into its room is the one that removes it here.
//!
//! [MSC4140](https://github.com/matrix-org/matrix-spec-proposals/pull/4140)

mod delayable;
mod endpoints;
mod release;

use std::time::Duration;

use ruma::{DeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, TransactionId, UserId};
use serde::{Deserialize, Serialize};

pub use self::release::release_due;
pub(super) use self::{
    delayable::{Delayable, MaybeDelayed},
    endpoints::{delay_of, router},
};
use super::append::{NewEvent, WEEK_MS, transaction_key};
use crate::{
    error::{Error, Result},
    gate,
    state::App,
    store::{Page, Store, StoreError, Table, Tx},
};

/// What waits, by id.
pub const DELAYED: Table<String, Delayed> = Table::new(0x0481, "delayed_events");
/// The same by the time that it is due at.
pub const DELAYED_DUE: Table<(u64, String), ()> = Table::new(0x0482, "delayed_events_due");
/// The same by its sender.
pub const DELAYED_OF: Table<(OwnedUserId, String), ()> = Table::new(0x0483, "delayed_events_of");
/// The same by its room, type and state key; messages under an empty type.
pub const DELAYED_IN: Table<(OwnedRoomId, String, String, String), ()> =
    Table::new(0x0484, "delayed_events_in");
/// The ids that requests were given: by week and hash, like [`super::append::TRANSACTIONS`].
pub const DELAYED_REQUESTS: Table<(u64, [u8; 32]), String> =
    Table::new(0x0485, "delayed_events_requests");

/// Most events of one account that wait.
pub const MAX_WAITING: usize = 100;
/// The longest time that an event may wait.
pub const MAX_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const ID_LENGTH: usize = 26;
/// How many events that wait for the same piece of state are cancelled at once.
const MAX_SUPERSEDED: usize = 1_000;

/// An event that waits. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delayed {
    /// Where it goes.
    pub room: OwnedRoomId,
    /// Who sends it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: String,
    /// Its state key, if it is a state event.
    pub state_key: Option<String>,
    /// What it redacts, if it is a redaction.
    pub redacts: Option<OwnedEventId>,
    /// Its content, as JSON.
    pub content: String,
    /// How long it waits, in milliseconds.
    pub delay: u64,
    /// Since when it has waited.
    pub since: u64,
}

impl Delayed {
    fn due(&self) -> u64 {
        self.since.saturating_add(self.delay)
    }

    fn place(&self) -> (&str, &str) {
        match &self.state_key {
            Some(key) => (&self.kind, key),
            None => ("", ""),
        }
    }

    fn event(self) -> Result<NewEvent> {
        Ok(NewEvent {
            content: gate::canonical(&self.content)?,
            kind: self.kind,
            state_key: self.state_key,
            redacts: self.redacts,
            timestamp: None,
        })
    }
}

/// Hands over an event that is to be sent later; the same transaction id of the same device hands it over once. The event has
/// passed the gate, and its sender is in the room. Returns its id.
///
/// # Errors
/// 400 for one too many.
pub(super) async fn schedule(
    app: &App,
    sender: &UserId,
    room: &RoomId,
    (event, delay): (NewEvent, u64),
    txn: Option<(&DeviceId, &TransactionId)>,
) -> Result<String> {
    let request = txn.map(|(device, id)| transaction_key(sender, device, room, id));
    let since = app.clock.millis();
    let week = since / WEEK_MS;
    let item = &Delayed {
        room: room.to_owned(),
        sender: sender.to_owned(),
        content: gate::text(&event.content)?,
        kind: event.kind,
        state_key: event.state_key,
        redacts: event.redacts,
        delay,
        since,
    };
    let committed = app
        .store
        .transact(|mut tx: Tx| async move {
            if let Some(request) = request {
                for week in [week.saturating_add(1), week, week.saturating_sub(1)] {
                    if let Some(id) = tx.get(&DELAYED_REQUESTS, (week, request)).await? {
                        return Ok::<_, Error>((tx, id));
                    }
                }
            }
            let page = Page::first(MAX_WAITING);
            let waiting = tx.store().scan(&DELAYED_OF, (sender,), page).await?;
            if waiting.len() >= MAX_WAITING {
                return Err(endpoints::too_many());
            }
            let id = app.random.text(ID_LENGTH);
            let (kind, key) = item.place();
            tx.put(&DELAYED, &id, item)?;
            tx.put(&DELAYED_DUE, (item.due(), &id), &())?;
            tx.put(&DELAYED_OF, (sender, &id), &())?;
            tx.put(&DELAYED_IN, (room, kind, key, &id), &())?;
            if let Some(request) = request {
                tx.put(&DELAYED_REQUESTS, (week, request), &id)?;
            }
            Ok((tx, id))
        })
        .await?;
    Ok(committed.value)
}

/// Takes an event off the list of what waits.
fn remove_in(tx: &mut Tx, id: &str, item: &Delayed) {
    let (kind, key) = item.place();
    tx.delete(&DELAYED, id);
    tx.delete(&DELAYED_DUE, (item.due(), id));
    tx.delete(&DELAYED_OF, (&item.sender, id));
    tx.delete(&DELAYED_IN, (&item.room, kind, key, id));
}

/// Somebody has changed a piece of state: what others wanted to change it to later is out of date.
pub(super) async fn supersede_in(
    tx: &mut Tx,
    room: &RoomId,
    (kind, key): (&str, &str),
    sender: &UserId,
) -> Result<(), StoreError> {
    let page = Page::first(MAX_SUPERSEDED);
    let waiting = tx
        .store()
        .scan(&DELAYED_IN, (room, kind, key), page)
        .await?;
    for ((_, _, _, id), ()) in waiting {
        if let Some(item) = tx.get(&DELAYED, &id).await?
            && item.sender != *sender
        {
            remove_in(tx, &id, &item);
        }
    }
    Ok(())
}

/// Removes up to `most` events that wait for a room that is being deleted; `false` if nothing was left.
///
/// # Errors
/// The store's.
pub async fn forget_room(store: &Store, room: &RoomId, most: usize) -> Result<bool, StoreError> {
    let found = store.scan(&DELAYED_IN, (room,), Page::first(most)).await?;
    let found = found.into_iter().map(|((room, kind, key, id), ())| {
        let row = (room, kind, key, id.clone());
        (id, Row::In(row))
    });
    forget(store, found.collect()).await
}

/// Removes up to `most` events that wait of somebody whose account is ended; `false` if nothing was left.
///
/// # Errors
/// The store's.
pub async fn forget_sender(store: &Store, user: &UserId, most: usize) -> Result<bool, StoreError> {
    let found = store.scan(&DELAYED_OF, (user,), Page::first(most)).await?;
    let found = found
        .into_iter()
        .map(|((user, id), ())| (id.clone(), Row::Of((user, id))));
    forget(store, found.collect()).await
}

/// The row that an event was found by: removed even if the event is gone.
enum Row {
    In((OwnedRoomId, String, String, String)),
    Of((OwnedUserId, String)),
}

async fn forget(store: &Store, found: Vec<(String, Row)>) -> Result<bool, StoreError> {
    let found = &found;
    store
        .transact(|mut tx: Tx| async move {
            for (id, row) in found {
                if let Some(item) = tx.get(&DELAYED, id).await? {
                    remove_in(&mut tx, id, &item);
                }
                match row {
                    Row::In(key) => tx.delete(&DELAYED_IN, key.clone()),
                    Row::Of(key) => tx.delete(&DELAYED_OF, key.clone()),
                }
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(!found.is_empty())
}
