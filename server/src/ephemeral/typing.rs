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
use futures_util::future::{try_join, try_join_all};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::time::MissedTickBehavior;

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
/// How often it is looked whose typing is over.
const TICK: Duration = Duration::from_millis(250);
/// How many are ended before it is looked again who is next.
const BATCH: usize = 64;
/// How many old changes go when a new one comes: more than one, for those that were added at the same moment.
const FORGET_AT_ONCE: usize = 4;

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
                tell(&mut tx, room, members).await?;
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
                    tell(&mut tx, room, members).await?;
                }
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Ends the typing whose time is over, until the server stops.
pub async fn run(app: App) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = end_overdue(&app).await {
            tracing::warn!(
                ?error,
                "who types no longer could not be told; it is tried again"
            );
        }
    }
}

/// Ends the typing whose time is over now.
///
/// # Errors
/// The store's.
pub async fn end_overdue(app: &App) -> Result<()> {
    loop {
        let now = app.clock.millis();
        let mut overdue = app.store.scan(&ENDS, (), Page::first(BATCH)).await?;
        overdue.retain(|((until, ..), ())| *until <= now);
        if overdue.is_empty() {
            return Ok(());
        }
        for ((until, room, user), ()) in overdue {
            end(app, &room, &user, Some(until)).await?;
        }
    }
}

/// Puts a change into the list of everybody concerned, and forgets their oldest.
async fn tell(tx: &mut Tx, room: &RoomId, members: &BTreeSet<OwnedUserId>) -> Result<()> {
    let store = tx.store().clone();
    let known = try_join_all(members.iter().map(|member| {
        try_join(
            store.head(&CHANGES, member),
            store.after(&CHANGES, member, 0, FORGET_AT_ONCE),
        )
    }));
    let room = room.to_owned();
    for (member, (head, oldest)) in members.iter().zip(known.await?) {
        for (number, _) in oldest {
            if number.saturating_add(MAX_CHANGES) <= head {
                tx.remove(&CHANGES, member, number);
            }
        }
        tx.append(&CHANGES, member, &room)?;
    }
    Ok(())
}
