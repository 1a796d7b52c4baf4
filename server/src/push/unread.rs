//! How much is unread, in a room and in its threads.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use super::{
    HIGHLIGHTS, IN_THREADS, NOTIFICATIONS, READ,
    due::{self, UNREAD_ROOMS},
};
use crate::store::{List, Numbered, Page, Store, StoreError, Tx, Value};

/// How many old notifications one step forward removes.
pub(super) const TRIMMED_AT_ONCE: usize = 500;
/// How many unread notifications of a room are kept for somebody who never reads: as many as can be paged back to. Those in
/// threads are counted up to twice as many.
pub const KEPT_NOTIFICATIONS: u64 = 1_000;
/// How many notifications in threads are read at once.
const IN_THREADS_AT_ONCE: usize = 2_000;

/// What of a room somebody has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Within {
    /// Everything.
    Room,
    /// What is in no thread.
    Main,
    /// The thread that began with this event.
    Thread(OwnedEventId),
}

impl Within {
    /// Whether this is a part of it: a thread, or what is in none.
    pub fn holds(&self, thread: Option<&EventId>) -> bool {
        match self {
            Self::Room => true,
            Self::Main => thread.is_none(),
            Self::Thread(root) => thread == Some(root),
        }
    }
}

/// How many notifications are unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// All of them.
    pub notified: u64,
    /// Those that concern the user in particular.
    pub highlighted: u64,
}

/// How many notifications are unread, thread by thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In no thread.
    pub main: Unread,
    /// In threads, by the event that each began with; those in which nothing is unread are not here.
    pub threads: BTreeMap<OwnedEventId, Unread>,
}

impl Counts {
    /// In the whole room.
    pub fn all(&self) -> Unread {
        self.threads.values().fold(self.main, |sum, thread| Unread {
            notified: sum.notified.saturating_add(thread.notified),
            highlighted: sum.highlighted.saturating_add(thread.highlighted),
        })
    }
}

/// How many notifications a user has not read in a room. Two lists' heads less what was read of them, which costs the same
/// for one and for ten thousand; in threads, the unread ones are counted.
///
/// # Errors
/// The store's.
pub async fn counts(store: &Store, user: &UserId, room: &RoomId) -> Result<Counts, StoreError> {
    let of = (user, room);
    let mut counts = Counts::default();
    let notified = store.head(&NOTIFICATIONS, of).await?;
    if notified > 0 {
        let highlighted = store.head(&HIGHLIGHTS, of).await?;
        let read = store.get(&READ, of).await?.unwrap_or_default();
        counts.main = Unread {
            notified: notified.saturating_sub(read.notified),
            highlighted: highlighted.saturating_sub(read.highlighted),
        };
    }
    let in_threads = store
        .scan(&IN_THREADS, of, Page::first(IN_THREADS_AT_ONCE))
        .await?;
    for ((_, _, root, _), note) in in_threads {
        let thread = counts.threads.entry(root).or_default();
        thread.notified += 1;
        thread.highlighted += u64::from(note.highlight);
    }
    Ok(counts)
}

/// How many notifications a user has not read in a room and its threads, and how many of them are highlights.
///
/// # Errors
/// The store's.
pub async fn unread(store: &Store, user: &UserId, room: &RoomId) -> Result<(u64, u64), StoreError> {
    let all = counts(store, user, room).await?.all();
    Ok((all.notified, all.highlighted))
}

/// The positions of the newest events that a user was notified of in a room and has not read, newest first, and whether
/// they are highlights.
///
/// # Errors
/// The store's.
pub async fn newest_unread(
    store: &Store,
    user: &UserId,
    room: &RoomId,
    most: usize,
) -> Result<Vec<(u64, bool)>, StoreError> {
    let of = (user, room);
    let mut unread = Vec::new();
    let newest = store.before(&NOTIFICATIONS, of, u64::MAX, most).await?;
    if !newest.is_empty() {
        let read = store.get(&READ, of).await?.unwrap_or_default();
        let fresh = newest
            .into_iter()
            .take_while(|(number, _)| *number > read.notified);
        unread.extend(fresh.map(|(_, entry)| (entry.number(), entry.value.highlight)));
    }
    let in_threads = store
        .scan(&IN_THREADS, of, Page::first(IN_THREADS_AT_ONCE))
        .await?;
    if !in_threads.is_empty() {
        let in_threads = in_threads.into_iter();
        unread.extend(in_threads.map(|((_, _, _, position), note)| (position, note.highlight)));
        unread.sort_unstable_by(|one, other| other.cmp(one));
        unread.truncate(most);
    }
    Ok(unread)
}

/// The user has read the room, or a part of it, up to a position: by a receipt or by writing something themselves. Costs
/// three reads if there was nothing unread.
///
/// # Errors
/// The store's.
pub async fn read_up_to_in(
    tx: &mut Tx,
    user: &UserId,
    room: &RoomId,
    (within, position): (&Within, u64),
    now: u64,
) -> Result<(), StoreError> {
    let mut less = false;
    if within.holds(None) {
        less |= read_main_in(tx, user, room, position).await?;
    }
    if *within != Within::Main {
        less |= read_threads_in(tx, user, room, (within, position)).await?;
    }
    if less {
        due::read_in(tx, user, room.to_owned(), (within, position), now).await?;
    }
    Ok(())
}

async fn read_threads_in(
    tx: &mut Tx,
    user: &UserId,
    room: &RoomId,
    (within, position): (&Within, u64),
) -> Result<bool, StoreError> {
    let page = Page::first(IN_THREADS_AT_ONCE);
    let of = (user, room);
    let unread = match within {
        Within::Thread(root) => {
            tx.store()
                .scan(&IN_THREADS, (user, room, root), page)
                .await?
        }
        _ => tx.store().scan(&IN_THREADS, of, page).await?,
    };
    let mut less = false;
    for ((_, _, root, at), _) in unread {
        if at <= position {
            tx.delete(&IN_THREADS, (user, room, root, at));
            less = true;
        }
    }
    Ok(less)
}

async fn read_main_in(
    tx: &mut Tx,
    user: &UserId,
    room: &RoomId,
    position: u64,
) -> Result<bool, StoreError> {
    let of = (user, room);
    let store = tx.store().clone();
    let head = store.head(&NOTIFICATIONS, of).await?;
    if head == store.get(&READ, of).await?.unwrap_or_default().notified {
        return Ok(false);
    }
    let mut read = tx.get(&READ, of).await?.unwrap_or_default();
    let notified = read_of(&store, &NOTIFICATIONS, of, read.notified, position).await?;
    if notified <= read.notified {
        return Ok(false);
    }
    let highlighted = read_of(&store, &HIGHLIGHTS, of, read.highlighted, position).await?;
    for number in (read.highlighted + 1..=highlighted)
        .rev()
        .take(TRIMMED_AT_ONCE)
    {
        tx.remove(&HIGHLIGHTS, of, number);
    }
    // What is beyond one step stays for the next one.
    let trimmed = (read.trimmed + 1..=notified).take(TRIMMED_AT_ONCE);
    read.trimmed = trimmed.clone().last().unwrap_or(read.trimmed);
    for number in trimmed {
        tx.remove(&NOTIFICATIONS, of, number);
    }
    (read.notified, read.highlighted) = (notified, highlighted);
    tx.put(&READ, of, &read)?;
    Ok(true)
}

/// Removes up to `most` notifications that somebody has neither read nor will page back to; how many. Outside of threads
/// they are still counted as unread.
///
/// # Errors
/// The store's.
pub async fn trim(
    store: &Store,
    user: &UserId,
    room: &RoomId,
    most: usize,
) -> Result<usize, StoreError> {
    let of = (user, room);
    let in_threads = trim_threads(store, of, most).await?;
    if in_threads > 0 {
        return Ok(in_threads);
    }
    let beyond = |head: u64| head.saturating_sub(KEPT_NOTIFICATIONS);
    let notified = beyond(store.head(&NOTIFICATIONS, of).await?);
    if notified == 0 {
        return Ok(0);
    }
    let removed = store.trim(&NOTIFICATIONS, of, notified, most).await?;
    let highlighted = beyond(store.head(&HIGHLIGHTS, of).await?);
    if removed > 0 || highlighted == 0 {
        return Ok(removed);
    }
    store.trim(&HIGHLIGHTS, of, highlighted, most).await
}

/// Removes the oldest notifications in threads beyond what is kept.
async fn trim_threads(
    store: &Store,
    of: (&UserId, &RoomId),
    most: usize,
) -> Result<usize, StoreError> {
    let kept = usize::try_from(KEPT_NOTIFICATIONS).unwrap_or(usize::MAX);
    let page = Page::first(kept.saturating_add(most));
    let mut all = store.scan(&IN_THREADS, of, page).await?;
    let beyond = all.len().saturating_sub(kept);
    if beyond == 0 {
        return Ok(0);
    }
    all.sort_by_key(|((_, _, _, position), _)| *position);
    all.truncate(beyond);
    let old = &all;
    store
        .transact(|mut tx| async move {
            for (key, _) in old {
                tx.delete(&IN_THREADS, key.clone());
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(beyond)
}

/// Removes up to `most` of what is known of somebody's notifications in a room that is being deleted, or that they have
/// left for good; `false` if nothing was left.
///
/// # Errors
/// The store's.
pub async fn forget_room(
    store: &Store,
    user: &UserId,
    room: &RoomId,
    most: usize,
) -> Result<bool, StoreError> {
    let of = (user, room);
    if store.erase_list(&NOTIFICATIONS, of, most).await? == most
        || store.erase_list(&HIGHLIGHTS, of, most).await? == most
        || store.erase(&IN_THREADS, of, most).await? == most
    {
        return Ok(true);
    }
    let has_more =
        store.get(&READ, of).await?.is_some() || store.get(&UNREAD_ROOMS, of).await?.is_some();
    if has_more {
        store
            .transact(|mut tx| async move {
                tx.delete(&READ, of);
                tx.delete(&UNREAD_ROOMS, of);
                Ok::<_, StoreError>((tx, ()))
            })
            .await?;
    }
    Ok(false)
}

/// The number of the last entry of a list whose event stands at or before `position`; entries up to `read` do. Positions
/// only grow along the list, so that this is a search by halves.
async fn read_of<T>(
    store: &Store,
    list: &List<(OwnedUserId, OwnedRoomId), Numbered<T>>,
    of: (&UserId, &RoomId),
    read: u64,
    position: u64,
) -> Result<u64, StoreError>
where
    Numbered<T>: Value,
{
    let (mut low, mut high) = (read, store.head(list, of).await?);
    let mut probe = high;
    while low < high {
        let entry = store.entries(list, of, &[probe]).await?.pop().flatten();
        if entry.is_none_or(|entry| entry.number() <= position) {
            low = probe;
        } else {
            high = probe - 1;
        }
        probe = low + (high - low).div_ceil(2);
    }
    Ok(low)
}

#[cfg(test)]
mod tests;
