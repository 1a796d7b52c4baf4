//! Who may do and read what in a room. A check returns the narrower handle with which to go on.

mod history;

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    EventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::room::history_visibility::HistoryVisibility,
};

use self::history::History;
use super::{
    erasure::erased,
    event::{EVENT_POSITIONS, StoredEvent, TIMELINE, Then},
    membership, no_such_event, not_in_room,
    state::{self, ROOMS, RoomState},
};
use crate::{account_data, error::Result, state::App};

/// Proof that a user was in a room when the request came.
pub struct Joined {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its state then.
    pub state: Arc<RoomState>,
    /// Who.
    pub user: OwnedUserId,
}

/// Finds out whether a user is in a room.
///
/// # Errors
/// 403 `M_FORBIDDEN` if not, or if there is no such room.
pub async fn joined(app: &App, user: &UserId, room_id: &RoomId) -> Result<Joined> {
    let state = state::current(app, room_id)
        .await?
        .ok_or_else(not_in_room)?;
    if !state.is_joined(user) {
        return Err(not_in_room());
    }
    Ok(Joined {
        room_id: room_id.to_owned(),
        state,
        user: user.to_owned(),
    })
}

/// The part of a room's timeline that a user may read.
pub struct Readable {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who.
    pub user: OwnedUserId,
    history: History,
    erased: BTreeSet<OwnedUserId>,
    ignored: BTreeSet<OwnedUserId>,
}

/// Finds out what a user may read of a room, by its history visibility and what they were in it when: members, people
/// who have left (up to their leaving), and anybody where the room is readable by all.
///
/// # Errors
/// 403 `M_FORBIDDEN` if that is nothing, or if there is no such room.
pub async fn readable(app: &App, user: &UserId, room_id: &RoomId) -> Result<Readable> {
    let ignored = account_data::ignored_by(&app.store, std::iter::once(user));
    let ignored = ignored.await?.pop().unwrap_or_default();
    readable_without(app, user, room_id, ignored).await
}

/// The same for who knows already whom the user ignores.
///
/// # Errors
/// As [`readable`].
pub async fn readable_without(
    app: &App,
    user: &UserId,
    room_id: &RoomId,
    ignored: BTreeSet<OwnedUserId>,
) -> Result<Readable> {
    let room = app
        .store
        .get(&ROOMS, room_id)
        .await?
        .ok_or_else(not_in_room)?;
    let membership = membership::of(&app.store, user, room_id).await?;
    let forgotten = membership.is_some_and(|membership| membership.forgotten);
    let history = History::read(&app.store, room_id, user, room.number()).await?;
    let open = history.visibility_now() == HistoryVisibility::WorldReadable;
    if !open && (forgotten || !history.was_joined()) {
        return Err(not_in_room());
    }
    Ok(Readable {
        room_id: room_id.to_owned(),
        user: user.to_owned(),
        erased: erased(&app.store, room_id).await?,
        history,
        ignored,
    })
}

impl Readable {
    /// Whether the user may read the event at this position.
    pub fn sees(&self, position: u64) -> bool {
        self.history.sees(position)
    }

    /// Whether the user does not want to read this, because they ignore its sender. State is never left out.
    ///
    /// [Ignoring users](https://spec.matrix.org/v1.18/client-server-api/#ignoring-users)
    pub fn ignores(&self, event: &StoredEvent) -> bool {
        event.state_key.is_none() && self.ignores_user(&event.sender)
    }

    /// Whether the user ignores somebody.
    pub fn ignores_user(&self, user: &UserId) -> bool {
        self.ignored.contains(user)
    }

    /// Whom the user ignores.
    pub fn ignored(&self) -> impl Iterator<Item = &UserId> {
        self.ignored.iter().map(|user| &**user)
    }

    /// The first position that the user may read.
    pub fn first(&self) -> u64 {
        self.history.first()
    }

    /// The last position that the user may read; the largest number, if they go on reading.
    pub fn last(&self) -> u64 {
        self.history.last()
    }

    /// What the user was in the room right after the event at this position, and whether they may know how it was before.
    pub fn membership(&self, position: u64) -> Then<'_> {
        Then {
            membership: self.history.membership(position),
            knew: self.sees(position.saturating_sub(1)),
            erased: &self.erased,
        }
    }

    /// The room's state as far as the user may know it: now, or when they left.
    ///
    /// # Errors
    /// The store's.
    pub async fn state(&self, app: &App) -> Result<Arc<RoomState>> {
        state::at(app, &self.room_id, self.last()).await
    }

    /// The state at a position that the user may read; at the next one that they may, or when they left, if they may not
    /// read this one.
    ///
    /// # Errors
    /// The store's.
    pub async fn state_at(&self, app: &App, position: u64) -> Result<Arc<RoomState>> {
        let position = self.history.next(position).unwrap_or(self.last());
        state::at(app, &self.room_id, position).await
    }

    /// An event of this room, and where it is.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND` if there is none, it is another room's, or the user may not read it.
    pub async fn event(&self, app: &App, id: &EventId) -> Result<(u64, StoredEvent)> {
        let place = app.store.get(&EVENT_POSITIONS, id).await?;
        let position = place
            .filter(|place| place.value == self.room_id && self.sees(place.number()))
            .ok_or_else(no_such_event)?
            .number();
        let found = app
            .store
            .entries(&TIMELINE, &self.room_id, &[position])
            .await?;
        let event = found
            .into_iter()
            .next()
            .flatten()
            .ok_or_else(no_such_event)?;
        Ok((position, event))
    }
}
