//! Who is notified of an event, and how much is unread.

use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UInt, UserId,
    events::AnySyncTimelineEvent,
    push::{Action, PushConditionPowerLevelsCtx, PushConditionRoomCtx, Ruleset},
    serde::Raw,
};

use super::{HIGHLIGHTS, NOTIFICATIONS, Notification, PUSH_RULES, READ, rules};
use crate::{
    account_data,
    store::{List, Numbered, Slot, Store, StoreError, Tx, Value},
};

/// How many old notifications one step forward removes.
const TRIMMED_AT_ONCE: usize = 500;
/// How many unread notifications of a room are kept for somebody who never reads: as many as can be paged back to.
pub const KEPT_NOTIFICATIONS: u64 = 1_000;

/// An event that is being appended to a room.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The room.
    pub room: &'a RoomId,
    /// Who sent it; they are not notified.
    pub sender: &'a UserId,
    /// Its type.
    pub kind: &'a str,
    /// The slot of its append to the room's timeline.
    pub position: Slot,
    /// The whole event as JSON: `type`, `sender`, `room_id`, `content`, `state_key` are looked at, by rules that name them.
    pub json: &'a str,
    /// How many have joined the room.
    pub joined: u64,
    /// The room's power levels, for rules that ask who may notify everybody; without them such rules do not match.
    pub power_levels: Option<&'a PushConditionPowerLevelsCtx>,
}

/// Notes for each recipient whose push rules say so that there is something unread. Recipients are the joined members
/// other than the sender (who is passed over), and the person whom an invitation is for. Whoever ignores the sender is not
/// shown the event, could not read it away and is not notified.
///
/// Costs two reads for all recipients together; whoever has no rules of their own and ignores nobody costs nothing more.
///
/// # Errors
/// The store's.
pub async fn notify_in(
    tx: &mut Tx,
    event: &Incoming<'_>,
    recipients: impl Iterator<Item = &UserId>,
) -> Result<(), StoreError> {
    let recipients: Vec<&UserId> = recipients.filter(|user| *user != event.sender).collect();
    let own_rules = tx
        .store()
        .get_many(&PUSH_RULES, recipients.iter().copied())
        .await?;
    let ignored = account_data::ignored_by(tx.store(), recipients.iter().copied()).await?;
    for ((user, own_rules), ignored) in recipients.into_iter().zip(own_rules).zip(ignored) {
        if ignored.contains(event.sender) {
            continue;
        }
        if let Some(highlight) = verdict(event, user, own_rules.as_deref()).await {
            let key = (user, event.room);
            tx.append_numbered(
                &NOTIFICATIONS,
                key,
                Notification { highlight },
                event.position,
            )?;
            if highlight {
                tx.append_numbered(&HIGHLIGHTS, key, (), event.position)?;
            }
        }
    }
    Ok(())
}

/// Whether the user is notified, and if so, with a highlight or not.
async fn verdict(event: &Incoming<'_>, user: &UserId, own_rules: Option<&str>) -> Option<bool> {
    let rules = match own_rules {
        // The specification's rules notify of every encrypted message: the common case needs no evaluation.
        None if event.kind == "m.room.encrypted" => return Some(false),
        None => Ruleset::server_default(user),
        Some(own) => rules::parse(user, own),
    };
    let json = Raw::<AnySyncTimelineEvent>::from_json_string(event.json.to_owned()).ok()?;
    // No name is given to the rules: the server does not search messages for people's names.
    let mut context = PushConditionRoomCtx::new(
        event.room.to_owned(),
        UInt::new_saturating(event.joined),
        user.to_owned(),
        String::new(),
    );
    context.power_levels = event.power_levels.cloned();
    let actions = rules.get_actions(&json, &context).await;
    actions
        .iter()
        .any(Action::should_notify)
        .then(|| actions.iter().any(Action::is_highlight))
}

/// How many notifications a user has not read in a room, and how many of them are highlights. Two lists' heads less what
/// was read of them: costs the same for one and for ten thousand.
///
/// # Errors
/// The store's.
pub async fn unread(store: &Store, user: &UserId, room: &RoomId) -> Result<(u64, u64), StoreError> {
    let of = (user, room);
    let notified = store.head(&NOTIFICATIONS, of).await?;
    if notified == 0 {
        return Ok((0, 0));
    }
    let highlighted = store.head(&HIGHLIGHTS, of).await?;
    let read = store.get(&READ, of).await?.unwrap_or_default();
    Ok((
        notified.saturating_sub(read.notified),
        highlighted.saturating_sub(read.highlighted),
    ))
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
    let newest = store.before(&NOTIFICATIONS, of, u64::MAX, most).await?;
    if newest.is_empty() {
        return Ok(Vec::new());
    }
    let read = store.get(&READ, of).await?.unwrap_or_default();
    let unread = newest
        .into_iter()
        .take_while(|(number, _)| *number > read.notified);
    Ok(unread
        .map(|(_, entry)| (entry.number(), entry.value.highlight))
        .collect())
}

/// The user has read the room up to a position, by a receipt or by writing something themselves. Costs two reads if there
/// was nothing unread.
///
/// # Errors
/// The store's.
pub async fn read_up_to_in(
    tx: &mut Tx,
    user: &UserId,
    room: &RoomId,
    position: u64,
) -> Result<(), StoreError> {
    let of = (user, room);
    let store = tx.store().clone();
    let head = store.head(&NOTIFICATIONS, of).await?;
    if head == store.get(&READ, of).await?.unwrap_or_default().notified {
        return Ok(());
    }
    let mut read = tx.get(&READ, of).await?.unwrap_or_default();
    let notified = read_of(&store, &NOTIFICATIONS, of, read.notified, position).await?;
    if notified <= read.notified {
        return Ok(());
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
    tx.put(&READ, of, &read)
}

/// Removes up to `most` notifications that somebody has neither read nor will page back to; how many. They are still
/// counted as unread.
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
    {
        return Ok(true);
    }
    if store.get(&READ, of).await?.is_some() {
        store
            .transact(|mut tx| async move {
                tx.delete(&READ, of);
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
