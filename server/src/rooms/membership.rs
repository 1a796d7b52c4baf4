//! Who is in which room, and how people come and go.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#room-membership)

mod acquaintance;
mod change;
mod endpoints;
mod settings;
mod unname;

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::room::member::MembershipState};
use serde::{Deserialize, Serialize};

pub use self::{
    acquaintance::acquainted,
    change::{announce_profile, ban, forget, invite, join, kick, knock, leave, unban},
    unname::unname,
};
pub(super) use self::{
    change::{authorised_by, content, exists, invitation, is_in_allowed_room, wants_invitations},
    endpoints::router,
    settings::{follow_in, predecessor},
};
use super::state;
use crate::{
    error::Result,
    state::App,
    store::{Numbered, Page, Slot, Store, StoreError, Table, Tx},
};

/// The rooms of each user, with the position of their last membership event there.
pub const MEMBERSHIPS: Table<(OwnedUserId, OwnedRoomId), Numbered<Row>> =
    Table::new(0x0407, "memberships");

/// How many rooms are read at once.
const PAGE: usize = 500;

/// What is kept about somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    state: MembershipState,
    forgotten: bool,
}

/// What somebody is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Joined, invited, left …
    pub state: MembershipState,
    /// The position of the event that made it so.
    pub position: u64,
    /// Whether they left and want to hear no more of it.
    pub forgotten: bool,
}

impl From<Numbered<Row>> for Membership {
    fn from(row: Numbered<Row>) -> Self {
        let position = row.number();
        Self {
            state: row.value.state,
            position,
            forgotten: row.value.forgotten,
        }
    }
}

/// What somebody is in a room; `None` if they never had to do with it.
///
/// # Errors
/// The store's.
pub async fn of(
    store: &Store,
    user: &UserId,
    room: &RoomId,
) -> Result<Option<Membership>, StoreError> {
    Ok(store.get(&MEMBERSHIPS, (user, room)).await?.map(Into::into))
}

/// Every room that somebody has, or had, to do with, in the order of their ids.
///
/// # Errors
/// The store's.
pub async fn rooms_of(
    store: &Store,
    user: &UserId,
) -> Result<Vec<(OwnedRoomId, Membership)>, StoreError> {
    let mut rooms = Vec::new();
    let mut page = store.scan(&MEMBERSHIPS, (user,), Page::first(PAGE)).await?;
    loop {
        let next = page
            .last()
            .map(|(key, _)| key.clone())
            .filter(|_| page.len() == PAGE);
        rooms.extend(page.into_iter().map(|((_, room), row)| (room, row.into())));
        let Some(last) = next else { return Ok(rooms) };
        page = store
            .scan_after(&MEMBERSHIPS, (user,), last, Page::first(PAGE))
            .await?;
    }
}

/// The rooms that somebody is in.
///
/// # Errors
/// The store's.
pub async fn joined_rooms(store: &Store, user: &UserId) -> Result<Vec<OwnedRoomId>, StoreError> {
    let rooms = rooms_of(store, user).await?.into_iter();
    Ok(rooms
        .filter(|(_, m)| m.state == MembershipState::Join)
        .map(|(room, _)| room)
        .collect())
}

/// The rooms that both of two people are in, in the order of their ids.
///
/// # Errors
/// The store's.
pub async fn shared(
    store: &Store,
    one: &UserId,
    other: &UserId,
) -> Result<Vec<OwnedRoomId>, StoreError> {
    let mine = joined_rooms(store, one).await?;
    let keys = mine.iter().map(|room| (other, &**room));
    let theirs = store.get_many(&MEMBERSHIPS, keys).await?;
    let is_in = |row: Option<Numbered<Row>>| {
        row.is_some_and(|row| row.value.state == MembershipState::Join)
    };
    let pairs = mine.into_iter().zip(theirs);
    Ok(pairs
        .filter_map(|(room, row)| is_in(row).then_some(room))
        .collect())
}

/// Everybody who is in a room with somebody, and they themselves.
///
/// # Errors
/// The store's.
pub async fn neighbours(app: &App, user: &UserId) -> Result<BTreeSet<OwnedUserId>> {
    let mut all = BTreeSet::from([user.to_owned()]);
    for room in joined_rooms(&app.store, user).await? {
        if let Some(state) = state::current(app, &room).await? {
            all.extend(state.joined().iter().cloned());
        }
    }
    Ok(all)
}

/// Notes what a member event says.
pub(super) fn write(
    tx: &mut Tx,
    user: &UserId,
    room: &RoomId,
    state: MembershipState,
    position: Slot,
) -> Result<(), StoreError> {
    tx.put_numbered(
        &MEMBERSHIPS,
        (user, room),
        Row {
            state,
            forgotten: false,
        },
        position,
    )
}
