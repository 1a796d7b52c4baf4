//! Who is typing where. It is kept in the store for as long as it lasts, so that it does not matter which server somebody
//! asks: every member of the room has a list of what has changed, which wakes their polls wherever these wait.
//!
//! Whoever types is noted with the time at which that ends. Every server looks whether such a time has come, so that
//! nobody types for ever because a server has died.

mod set;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use axum::Router;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use crate::{
    error::{Error, Result},
    rooms::state,
    state::App,
    store::{List, Page, Store, StoreError, Table, Tx, Watch},
};

/// Who is typing, by room, and until when at the longest: milliseconds since 1970.
pub const TYPISTS: Table<(OwnedRoomId, OwnedUserId), u64> = Table::new(0x0B02, "typing");
/// The same by the time at which it ends.
pub const ENDS: Table<(u64, OwnedRoomId, OwnedUserId), ()> = Table::new(0x0B03, "typing_ends");
/// The rooms in which somebody has begun or ended typing, for each of their members.
pub const CHANGES: List<OwnedUserId, OwnedRoomId> = List::new(0x0B04, "typing_changes");

/// The longest that somebody types without saying so again.
pub const MAX_TYPING: Duration = Duration::from_secs(120);
/// How many changes are kept for each user. A client that is further behind is told of the rooms of those, and of the rooms
/// in which something else has happened.
pub const MAX_CHANGES: u64 = 256;
/// How many people of a room are told to be typing.
pub const MAX_TYPISTS: usize = 100;
/// How long it is looked at the latest whose typing is over: others may have begun meanwhile, on any server.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How many are ended before it is looked again who is next.
const BATCH: usize = 64;

/// What has changed for a user.
pub struct Changed {
    /// The number of the last change.
    pub last: u64,
    /// The rooms.
    pub rooms: BTreeSet<OwnedRoomId>,
    /// There were more, which are not kept any longer.
    pub forgotten: bool,
}

pub(super) fn router() -> Router<App> {
    set::router()
}

/// Who is typing in a room; at most [`MAX_TYPISTS`] of them.
///
/// # Errors
/// The store's.
pub async fn in_room(store: &Store, room: &RoomId) -> Result<Vec<OwnedUserId>, StoreError> {
    let found = store
        .scan(&TYPISTS, (room,), Page::first(MAX_TYPISTS))
        .await?;
    Ok(found.into_iter().map(|((_, user), _)| user).collect())
}

/// What has changed for a user after the change `since`.
///
/// # Errors
/// The store's.
pub async fn changes(store: &Store, user: &UserId, since: u64) -> Result<Changed, StoreError> {
    let last = store.head(&CHANGES, user).await?;
    let mut changed = Changed {
        last,
        rooms: BTreeSet::new(),
        forgotten: false,
    };
    if last <= since {
        return Ok(changed);
    }
    let kept = usize::try_from(MAX_CHANGES).unwrap_or(usize::MAX);
    let found = store.after(&CHANGES, user, since, kept * 2).await?;
    changed.forgotten = found.first().is_some_and(|(first, _)| *first > since + 1);
    changed.last = found.last().map_or(last, |(number, _)| *number);
    changed.rooms = found.into_iter().map(|(_, room)| room).collect();
    Ok(changed)
}

/// Tells when somebody begins or ends typing in a room of this user. Subscribe first, read second.
pub fn watch(store: &Store, user: &UserId) -> Watch {
    store.watch(&CHANGES, user)
}

/// Somebody types for at most `timeout` from now (and [`MAX_TYPING`]); `members` are told when they begin.
///
/// # Errors
/// The store's.
pub async fn begin(
    app: &App,
    room: &RoomId,
    user: &UserId,
    members: &BTreeSet<OwnedUserId>,
    timeout: Duration,
) -> Result<()> {
    let until = app.clock.after(timeout.min(MAX_TYPING));
    app.store
        .transact(|mut tx| async move {
            let before = tx.get(&TYPISTS, (room, user)).await?;
            if let Some(before) = before {
                tx.delete(&ENDS, (before, room, user));
            }
            tx.put(&TYPISTS, (room, user), &until)?;
            tx.put(&ENDS, (until, room, user), &())?;
            if before.is_none() {
                tell(&mut tx, room, members)?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Somebody has stopped typing, and the room's members are told. With `overdue`, only if that was the end of it: they may
/// have gone on since.
///
/// # Errors
/// The store's.
pub async fn end(app: &App, room: &RoomId, user: &UserId, overdue: Option<u64>) -> Result<()> {
    let state = state::current(app, room).await?;
    let members = state.as_deref().map(|state| state.joined());
    app.store
        .transact(|mut tx| async move {
            let until = tx.get(&TYPISTS, (room, user)).await?;
            for over in overdue.into_iter().chain(until) {
                if overdue.is_none_or(|overdue| overdue == over) {
                    tx.delete(&ENDS, (over, room, user));
                }
            }
            if until.is_some() && (overdue.is_none() || overdue == until) {
                tx.delete(&TYPISTS, (room, user));
                if let Some(members) = members {
                    tell(&mut tx, room, members)?;
                }
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Ends the typing whose time is over, until the server stops.
pub async fn run(app: App) {
    loop {
        let pause = match end_overdue(&app).await {
            Ok(next) => next.map_or(LOOK_AGAIN, |next| {
                Duration::from_millis(next.saturating_sub(app.clock.millis())).min(LOOK_AGAIN)
            }),
            Err(error) => {
                tracing::warn!(
                    ?error,
                    "who types no longer could not be told; it is tried again"
                );
                LOOK_AGAIN
            }
        };
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Ends the typing whose time is over now; when the next one's is, in milliseconds since 1970.
///
/// # Errors
/// The store's. What could not be ended does not keep others from it, and is tried again.
pub async fn end_overdue(app: &App) -> Result<Option<u64>> {
    let mut after = None;
    let mut failed = None;
    loop {
        let now = app.clock.millis();
        let page = Page::first(BATCH);
        let ends = match after.take() {
            None => app.store.scan(&ENDS, (), page).await?,
            Some(after) => app.store.scan_after(&ENDS, (), after, page).await?,
        };
        for ((until, room, user), ()) in &ends {
            if *until > now {
                return failed.map_or(Ok(Some(*until)), Err);
            }
            if let Err(error) = end(app, room, user, Some(*until)).await {
                failed = Some(error);
            }
        }
        match ends.into_iter().next_back() {
            Some((last, ())) => after = Some(last),
            None => return failed.map_or(Ok(None), Err),
        }
    }
}

/// Puts a change into the list of everybody concerned.
fn tell(tx: &mut Tx, room: &RoomId, members: &BTreeSet<OwnedUserId>) -> Result<(), StoreError> {
    let room = room.to_owned();
    for member in members {
        tx.append(&CHANGES, member, &room)?;
    }
    Ok(())
}

/// Removes up to `most` of a user's changes beyond the newest [`MAX_CHANGES`], the oldest first; how many.
///
/// # Errors
/// The store's.
pub async fn trim(store: &Store, user: &UserId, most: usize) -> Result<usize, StoreError> {
    let kept_from = store
        .head(&CHANGES, user)
        .await?
        .saturating_sub(MAX_CHANGES);
    store.trim(&CHANGES, user, kept_from, most).await
}
