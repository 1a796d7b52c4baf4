//! The end of a room. One commit takes the room out of everybody's sight: its row, all memberships, an entry in the inboxes
//! of those who were in it, and a note that it is being deleted. What is left of it is then unreachable, and is removed in
//! small steps (`trimming`); the note goes last, so that a crash in between delays the end and never prevents it.

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::room::member::MembershipState};
use serde::{Deserialize, Serialize};

use super::{
    aliases,
    erasure::ERASED,
    event::{EVENT_POSITIONS, TIMELINE},
    membership::{MEMBERSHIPS, Membership},
    published::PUBLISHED,
    relations,
    sketch::SKETCHES,
    state::{self, ROOMS, Room, STATE},
};
use crate::{
    error::{Error, Result},
    inbox::{self, Entry, recency},
    state::App,
    store::{Numbered, Page, Store, StoreError, Table, Tx},
};

/// The rooms that are being deleted.
pub const DELETIONS: Table<OwnedRoomId, Deletion> = Table::new(0x0408, "room_deletions");

const MEMBER: &str = "m.room.member";

/// How far a deletion is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// The member whose inbox was looked through, and up to which entry.
    pub looked_through: Option<(OwnedUserId, u64)>,
}

/// Begins to delete a room. From then on, nobody can enter or read it, and its members are told that they have left it.
/// Does nothing if it has begun already.
///
/// # Errors
/// 404 `M_NOT_FOUND` if there is no such room.
pub async fn begin(app: &App, room: &RoomId) -> Result<()> {
    app.store
        .transact(|mut tx: Tx| async move {
            match tx.get(&ROOMS, room).await? {
                Some(row) => begin_in(&mut tx, app, room, &row).await?,
                None if tx.get(&DELETIONS, room).await?.is_some() => {}
                None => return Err(Error::not_found("There is no such room.")),
            }
            Ok((tx, ()))
        })
        .await?;
    Ok(())
}

/// Begins to delete a room if everybody who ever had to do with it has left and forgotten it.
///
/// # Errors
/// The store's.
pub async fn begin_if_abandoned(app: &App, room: &RoomId) -> Result<()> {
    app.store
        .transact(|mut tx: Tx| async move {
            if let Some(row) = tx.get(&ROOMS, room).await?
                && is_abandoned(app, room, &row).await?
            {
                begin_in(&mut tx, app, room, &row).await?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Whoever comes back changes the room's row, so that what is found here holds until the commit.
async fn is_abandoned(app: &App, room: &RoomId, row: &Numbered<Room>) -> Result<bool> {
    let state = state::of_row(app, room, row).await?;
    let users: Vec<OwnedUserId> = state.members().map(|(user, _)| user).collect();
    let rows = app
        .store
        .get_many(&MEMBERSHIPS, users.iter().map(|user| (&**user, room)))
        .await?;
    Ok(rows
        .into_iter()
        .all(|row| row.is_none_or(|row| Membership::from(row).forgotten)))
}

/// As many deletes and appends as the room had members, which [`super::draft::MAX_STATE_ENTRIES`] bounds.
async fn begin_in(tx: &mut Tx, app: &App, room: &RoomId, row: &Numbered<Room>) -> Result<()> {
    let since = app.clock.millis();
    for (user, membership) in state::of_row(app, room, row).await?.members() {
        tx.delete(&MEMBERSHIPS, (&user, room));
        recency::forget(tx, &user, room);
        if matches!(
            membership,
            MembershipState::Join | MembershipState::Invite | MembershipState::Knock
        ) {
            inbox::deliver(tx, &user, Entry::Deleted(room.to_owned(), since))?;
        }
    }
    aliases::forget_room_in(tx, room).await?;
    tx.delete(&PUBLISHED, room);
    tx.delete(&ROOMS, room);
    tx.delete(&SKETCHES, room);
    tx.put(
        &DELETIONS,
        room,
        &Deletion {
            since,
            looked_through: None,
        },
    )?;
    Ok(())
}

/// A room that is being deleted, if there is one.
///
/// # Errors
/// The store's.
pub async fn next(store: &Store) -> Result<Option<(OwnedRoomId, Deletion)>, StoreError> {
    Ok(store.scan(&DELETIONS, (), Page::first(1)).await?.pop())
}

/// Somebody who had to do with a room that is being deleted, and of whom not everything about it is removed.
///
/// # Errors
/// The store's.
pub async fn next_member(store: &Store, room: &RoomId) -> Result<Option<OwnedUserId>, StoreError> {
    let found = store
        .scan(&STATE, (room, MEMBER), Page::first(1))
        .await?
        .pop();
    let key = found.map(|((_, _, key, _), ())| key);
    Ok(key.and_then(|key| key.try_into().ok()))
}

/// Replaces up to `most` entries of a member's inbox that are about the room, from where the last step stopped; whether
/// that was the end of it. They are not removed: a gap would send all the member's devices back to the beginning.
///
/// # Errors
/// The store's.
pub async fn clear_inbox(
    store: &Store,
    (room, deletion): (&RoomId, &Deletion),
    user: &UserId,
    most: usize,
) -> Result<bool, StoreError> {
    let after = match &deletion.looked_through {
        Some((of, up_to)) if of == user => *up_to,
        _ => 0,
    };
    let page = store.after(&inbox::INBOX, user, after, most).await?;
    let Some((last, _)) = page.last() else {
        return Ok(true);
    };
    let next = &Deletion {
        since: deletion.since,
        looked_through: Some((user.to_owned(), *last)),
    };
    let page = &page;
    store
        .transact(|mut tx: Tx| async move {
            if tx.get(&DELETIONS, room).await?.as_ref() == Some(deletion) {
                for (number, entry) in page {
                    if entry.value.is_about(room) {
                        let nothing = Numbered::new(Entry::Nothing, 0);
                        tx.replace(&inbox::INBOX, user, *number, &nothing)?;
                    }
                }
                tx.put(&DELETIONS, room, next)?;
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(false)
}

/// Goes on to the next member: nothing about this one's time in the room is left but their events.
///
/// # Errors
/// The store's.
pub async fn forget_member(
    store: &Store,
    room: &RoomId,
    user: &UserId,
    most: usize,
) -> Result<(), StoreError> {
    while store
        .erase(&STATE, (room, MEMBER, user.as_str()), most)
        .await?
        == most
    {}
    Ok(())
}

/// Removes up to `most` of the room's events and what leads to them; `false` if nothing was left.
///
/// # Errors
/// The store's.
pub async fn erase_events(store: &Store, room: &RoomId, most: usize) -> Result<bool, StoreError> {
    if relations::erase(store, room, most).await?
        || store.erase(&ERASED, (room,), most).await? > 0
        || store.erase(&STATE, (room,), most).await? > 0
    {
        return Ok(true);
    }
    let events = &store.after(&TIMELINE, room, 0, most).await?;
    if events.is_empty() {
        store.erase_list(&TIMELINE, room, most).await?;
        return Ok(false);
    }
    store
        .transact(|mut tx: Tx| async move {
            for (position, event) in events {
                tx.delete(&EVENT_POSITIONS, &*event.event_id);
                tx.remove(&TIMELINE, room, *position);
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(true)
}

/// The room is deleted: nothing of it is left.
///
/// # Errors
/// The store's.
pub async fn finish(store: &Store, room: &RoomId) -> Result<(), StoreError> {
    store
        .transact(|mut tx: Tx| async move {
            tx.delete(&DELETIONS, room);
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(())
}
