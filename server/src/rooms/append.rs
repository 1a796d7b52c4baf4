//! The only way anything enters a room: one transaction an event.
//!
//! See `docs/decisions/0002-room-history.md` for how events name those before them.

use ruma::{CanonicalJsonObject, DeviceId, OwnedEventId, RoomId, TransactionId, UserId};
use sha2::{Digest, Sha256};

use super::{draft::Draft, later::DELAYED_REQUESTS};
use crate::{
    error::{Error, Result},
    state::App,
    store::{Page, Slot, StoreError, Table, Tx, Value},
};

/// What became of a request: the week in which it came, and SHA-256 of user, device, room and transaction id, so that a
/// client's words are not kept. A request is known for the rest of its week and all of the next.
pub const TRANSACTIONS: Table<(u64, [u8; 32]), OwnedEventId> = Table::new(0x0405, "transactions");

pub(super) const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// An event that is to enter a room. Its words have passed the gate.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// Its type.
    pub kind: String,
    /// Its content.
    pub content: CanonicalJsonObject,
    /// Its state key, if it is a state event.
    pub state_key: Option<String>,
    /// What it redacts, if it is an `m.room.redaction`.
    pub redacts: Option<OwnedEventId>,
    /// When it is said to have been sent, milliseconds since 1970; now, if nothing is said.
    pub timestamp: Option<u64>,
}

impl NewEvent {
    /// A message.
    pub fn message(kind: impl Into<String>, content: CanonicalJsonObject) -> Self {
        Self {
            kind: kind.into(),
            content,
            state_key: None,
            redacts: None,
            timestamp: None,
        }
    }

    /// A state event.
    pub fn state(
        kind: impl Into<String>,
        state_key: impl Into<String>,
        content: CanonicalJsonObject,
    ) -> Self {
        Self {
            state_key: Some(state_key.into()),
            ..Self::message(kind, content)
        }
    }

    /// A redaction. Reasons are people's words, so there is none.
    pub fn redaction(redacts: OwnedEventId) -> Self {
        Self {
            redacts: Some(redacts),
            ..Self::message("m.room.redaction", CanonicalJsonObject::new())
        }
    }
}

/// Puts an event into a room, in a transaction of its own. The same transaction id of the same device puts it in once.
///
/// # Errors
/// 403 `M_FORBIDDEN` if the sender is not in the room or may not send this, 413 `M_TOO_LARGE`, or the store's.
pub async fn send(
    app: &App,
    sender: &UserId,
    room_id: &RoomId,
    event: NewEvent,
    txn: Option<(&DeviceId, &TransactionId)>,
) -> Result<OwnedEventId> {
    let record = txn.map(|(device, id)| transaction_key(sender, device, room_id, id));
    let week = app.clock.millis() / WEEK_MS;
    let event = &event;
    let mut committed = app
        .store
        .transact(|mut tx: Tx| async move {
            if let Some(record) = record {
                // Another server's clock may be in the next week already.
                for week in [week.saturating_add(1), week, week.saturating_sub(1)] {
                    if let Some(sent) = tx.get(&TRANSACTIONS, (week, record)).await? {
                        return Ok::<_, Error>((tx, (sent, None)));
                    }
                }
            }
            let mut draft = Draft::open(&mut tx, app, room_id).await?;
            let event_id = draft.push(&mut tx, sender, event.clone()).await?.event_id;
            let written = draft.close(&mut tx)?;
            if let Some(record) = record {
                tx.put(&TRANSACTIONS, (week, record), &event_id)?;
            }
            if let Some((device, id)) = txn {
                // Before the commit, since whoever waits for the event is woken by it.
                app.rooms.remember(&event_id, device, id);
            }
            Ok((tx, (event_id, Some(written))))
        })
        .await?;
    if let Some(written) = committed.value.1.take() {
        written.settle(app, &committed);
    }
    Ok(committed.value.0)
}

/// Forgets up to `most` requests that came before last week; `false` if there was none. Costs two reads then.
///
/// # Errors
/// The store's.
pub async fn forget_requests(app: &App, most: usize) -> Result<bool, StoreError> {
    Ok(forget_old(app, &TRANSACTIONS, most).await?
        || forget_old(app, &DELAYED_REQUESTS, most).await?)
}

async fn forget_old<V: Value>(
    app: &App,
    requests: &Table<(u64, [u8; 32]), V>,
    most: usize,
) -> Result<bool, StoreError> {
    let week = app.clock.millis() / WEEK_MS;
    let oldest = app.store.scan(requests, (), Page::first(1)).await?;
    match oldest.first() {
        Some(((oldest, _), _)) if oldest.saturating_add(1) < week => {
            app.store.erase(requests, (*oldest,), most).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Puts an event into a room, inside somebody else's transaction. Two state events of one room need a [`Draft`].
///
/// # Errors
/// As [`send`].
pub async fn append_in(
    tx: &mut Tx,
    app: &App,
    sender: &UserId,
    room_id: &RoomId,
    event: NewEvent,
) -> Result<OwnedEventId> {
    let mut draft = Draft::open(tx, app, room_id).await?;
    let appended = draft.push(tx, sender, event).await?;
    let _ = draft.close(tx)?;
    Ok(appended.event_id)
}

/// An event that its transaction will append.
#[derive(Clone, Debug)]
pub struct Appended {
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its position in the room's timeline, once the transaction is committed.
    pub position: Slot,
}

pub(super) fn transaction_key(
    user: &UserId,
    device: &DeviceId,
    room: &RoomId,
    txn: &TransactionId,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [
        user.as_bytes(),
        device.as_bytes(),
        room.as_bytes(),
        txn.as_bytes(),
    ] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
