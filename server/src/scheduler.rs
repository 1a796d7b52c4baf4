//! Ciphertext that is released later, exactly once: the commit that puts the event into the room is the one that takes it
//! off the schedule.

mod release;
#[cfg(test)]
mod tests;

use respite_protocol::api::{MAX_PROMPTS_PER_ROOM, list_prompts::PromptState};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, events::room::member::MembershipState};
use serde::{Deserialize, Serialize};

pub use self::release::{release_due, run};
use crate::{
    error::{Error, Result},
    rooms::{
        membership::{MEMBERSHIPS, Membership},
        state,
    },
    state::App,
    store::{Page, Store, StoreError, Table, Tx},
};

/// What is scheduled, and for a while what became of it, by id.
pub const SCHEDULED: Table<String, Scheduled> = Table::new(0x0901, "scheduled");
/// What waits, by the time that it is due at; and what does not wait any more, by the time that it is forgotten at.
pub const DUE: Table<(u64, String), ()> = Table::new(0x0902, "scheduled_due");
/// The ids of a room.
pub const OF_ROOM: Table<(OwnedRoomId, String), ()> = Table::new(0x0903, "scheduled_of_room");
/// The ids that requests were given, by the hash of user, device, room and transaction id.
pub const REQUESTS: Table<[u8; 32], String> = Table::new(0x0904, "scheduled_requests");

/// How long it can be seen what became of something, in milliseconds: 30 days.
pub const REMEMBERED_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Most entries of one room that wait and were not scheduled by its creator, so that nobody can keep a therapist from
/// planning.
const MAX_OF_OTHERS: usize = MAX_PROMPTS_PER_ROOM / 2;
/// Most entries of one room: those that wait, and those that are remembered.
const MAX_OF_ROOM: usize = 4 * MAX_PROMPTS_PER_ROOM;
const ID_LENGTH: usize = 26;

/// An event that waits for its time. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Where it goes.
    pub room: OwnedRoomId,
    /// Who sends it.
    pub sender: OwnedUserId,
    /// Whom it is for.
    pub addressee: OwnedUserId,
    /// When it is due.
    pub release: u64,
    /// From when on it is dropped instead.
    pub expires: Option<u64>,
    /// It is dropped if the addressee has written in the room since then.
    pub unless_written_since: Option<u64>,
    /// What it follows: it is moved and cancelled together with that.
    pub follows: Option<String>,
    /// What became of it.
    pub fate: Fate,
    /// When it became so; `None` while it waits.
    pub ended: Option<u64>,
    /// The request that it came with: its key in [`REQUESTS`].
    pub request: [u8; 32],
    /// The event's type and content, as JSON, while it waits.
    pub event: Option<(String, String)>,
}

/// What became of something scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It waits for its time.
    Waiting,
    /// It is in the room.
    Released,
    /// It expired, the addressee had written, or its sender may not write there any more.
    Dropped,
    /// Somebody who may has cancelled it.
    Cancelled,
}

impl Scheduled {
    /// It waits no more: its ciphertext is not kept any longer.
    fn end(&mut self, fate: Fate, now: u64) {
        self.fate = fate;
        self.ended = Some(now);
        self.event = None;
    }

    fn waits(&self) -> bool {
        self.fate == Fate::Waiting
    }

    /// When it is its turn: to be released while it waits, then to be forgotten.
    fn turn(&self) -> u64 {
        match self.ended {
            Some(ended) => ended.saturating_add(REMEMBERED_MS),
            None => self.release,
        }
    }
}

/// Removes everything about something that is or was scheduled.
fn forget_in(tx: &mut Tx, id: &String, item: &Scheduled) {
    tx.delete(&SCHEDULED, id);
    tx.delete(&DUE, (item.turn(), id));
    tx.delete(&OF_ROOM, (&item.room, id));
    tx.delete(&REQUESTS, item.request);
}

/// Removes up to `most` of what is or was scheduled in a room that is being deleted; `false` if nothing was left.
///
/// # Errors
/// The store's.
pub async fn forget_room(store: &Store, room: &RoomId, most: usize) -> Result<bool, StoreError> {
    let ids = &store.scan(&OF_ROOM, (room,), Page::first(most)).await?;
    store
        .transact(|mut tx: Tx| async move {
            for ((room, id), ()) in ids {
                match tx.get(&SCHEDULED, id).await? {
                    Some(item) => forget_in(&mut tx, id, &item),
                    None => tx.delete(&OF_ROOM, (room, id)),
                }
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(!ids.is_empty())
}

impl From<Fate> for PromptState {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Waiting => Self::Waiting,
            Fate::Released => Self::Released,
            Fate::Dropped => Self::Dropped,
            Fate::Cancelled => Self::Cancelled,
        }
    }
}

/// Schedules an event; the same request schedules it once.
///
/// # Errors
/// 413 when the room has too many waiting; 404 when what it follows does not wait in the same room, or there is no such
/// room.
pub async fn schedule(app: &App, event: Scheduled) -> Result<String> {
    let now = app.clock.millis();
    let event = &event;
    let committed = app
        .store
        .transact(|mut tx: Tx| async move {
            if let Some(id) = tx.get(&REQUESTS, event.request).await? {
                return Ok((tx, id));
            }
            make_space(&mut tx, app, event, now).await?;
            if let Some(followed) = &event.follows {
                waiting(&mut tx, followed)
                    .await?
                    .filter(|followed| {
                        followed.room == event.room && followed.sender == event.sender
                    })
                    .ok_or_else(gone)?;
            }
            let id = app.random.text(ID_LENGTH);
            tx.put(&REQUESTS, event.request, &id)?;
            tx.put(&OF_ROOM, (&event.room, &id), &())?;
            tx.put(&DUE, (event.release, &id), &())?;
            tx.put(&SCHEDULED, &id, event)?;
            Ok::<_, Error>((tx, id))
        })
        .await?;
    Ok(committed.value)
}

/// What is or was scheduled in a room, by release time.
///
/// # Errors
/// The store's.
pub async fn of_room(store: &Store, room: &RoomId) -> Result<Vec<(String, Scheduled)>, StoreError> {
    let ids = store
        .scan(&OF_ROOM, (room,), Page::first(MAX_OF_ROOM))
        .await?;
    let ids: Vec<String> = ids.into_iter().map(|((_, id), ())| id).collect();
    let found = store.get_many(&SCHEDULED, &ids).await?;
    let mut all: Vec<_> = ids
        .into_iter()
        .zip(found)
        .filter_map(|(id, it)| it.map(|it| (id, it)))
        .collect();
    all.sort_by_key(|(_, item)| item.release);
    Ok(all)
}

/// Moves what waits to another time, and what follows it by as much; expiries move along.
///
/// # Errors
/// 404 when it does not wait any more, or `user` is neither its sender nor its addressee, or not in the room any more.
pub async fn postpone(app: &App, user: &OwnedUserId, id: &str, release: u64) -> Result<()> {
    change(app, user, id, |item, first| {
        let from = first.release;
        item.release = moved(item.release, from, release);
        item.expires = item.expires.map(|time| moved(time, from, release));
        item.unless_written_since = item
            .unless_written_since
            .map(|time| moved(time, from, release));
    })
    .await
}

/// A time, moved by as much as lies between two others.
fn moved(time: u64, from: u64, to: u64) -> u64 {
    if to >= from {
        time.saturating_add(to - from)
    } else {
        time.saturating_sub(from - to)
    }
}

/// Cancels what waits, and what follows it.
///
/// # Errors
/// 404 when it does not wait any more, or `user` is neither its sender nor its addressee, or not in the room any more.
pub async fn cancel(app: &App, user: &OwnedUserId, id: &str) -> Result<()> {
    let now = app.clock.millis();
    change(app, user, id, |item, _| item.end(Fate::Cancelled, now)).await
}

/// Changes something that waits, and all that follows it, in one commit.
async fn change(
    app: &App,
    user: &OwnedUserId,
    id: &str,
    act: impl Fn(&mut Scheduled, &Scheduled) + Send + Sync,
) -> Result<()> {
    let (act, id) = (&act, &id.to_owned());
    app.store
        .transact(|mut tx: Tx| async move {
            let first = waiting(&mut tx, id)
                .await?
                .filter(|item| item.sender == *user || item.addressee == *user)
                .ok_or_else(gone)?;
            let member = tx.get(&MEMBERSHIPS, (user, &first.room)).await?;
            member
                .map(Membership::from)
                .filter(|member| member.state == MembershipState::Join)
                .ok_or_else(gone)?;
            let mut concerned = vec![id.clone()];
            concerned.extend(
                of_room(tx.store(), &first.room)
                    .await?
                    .into_iter()
                    .filter(|(_, item)| item.follows.as_ref() == Some(id))
                    .map(|(id, _)| id),
            );
            for id in concerned {
                let Some(mut item) = waiting(&mut tx, &id).await? else {
                    continue;
                };
                tx.delete(&DUE, (item.turn(), &id));
                act(&mut item, &first);
                tx.put(&DUE, (item.turn(), &id), &())?;
                tx.put(&SCHEDULED, &id, &item)?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

async fn waiting(tx: &mut Tx, id: &String) -> Result<Option<Scheduled>> {
    Ok(tx.get(&SCHEDULED, id).await?.filter(Scheduled::waits))
}

/// Forgets what was over long ago (and of what is remembered the oldest, if that is too much), and refuses more than may
/// wait.
async fn make_space(tx: &mut Tx, app: &App, event: &Scheduled, now: u64) -> Result<()> {
    let all = of_room(tx.store(), &event.room).await?;
    let (waiting, mut over): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, item)| item.waits());
    over.sort_by_key(|(_, item)| item.ended);
    let too_many = (waiting.len() + over.len() + 1).saturating_sub(MAX_OF_ROOM);
    for (place, (id, item)) in over.iter().enumerate() {
        let ended = item.ended.unwrap_or_default();
        if place < too_many || ended.saturating_add(REMEMBERED_MS) < now {
            forget_in(tx, id, item);
        }
    }
    let room = state::current_in(tx, app, &event.room)
        .await?
        .ok_or_else(gone)?;
    let creator = room
        .get("m.room.create", "")
        .map(|create| &create.event().sender);
    let is_others = |item: &Scheduled| creator != Some(&item.sender);
    let of_others = waiting.iter().filter(|(_, item)| is_others(item)).count();
    if waiting.len() >= MAX_PROMPTS_PER_ROOM || (is_others(event) && of_others >= MAX_OF_OTHERS) {
        return Err(Error::too_large(
            "Too many check-ins wait in this room. Cancel some first.",
        ));
    }
    Ok(())
}

fn gone() -> Error {
    Error::not_found("There is no such check-in waiting, or it is not yours to change.")
}
