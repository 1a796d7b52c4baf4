//! Who is notified of an event, and how much is unread.

use ruma::{
    RoomId, UInt, UserId,
    events::AnySyncTimelineEvent,
    push::{Action, PushConditionPowerLevelsCtx, PushConditionRoomCtx, Ruleset},
    serde::Raw,
};

use super::{NOTIFICATIONS, Notification, PUSH_RULES, READ, rules};
use crate::store::{Slot, Store, StoreError, Tx};

/// The most unread notifications that are counted: clients show "99+" long before.
const MAX_COUNTED: usize = 1_000;
/// How many old notifications one step forward removes.
const TRIMMED_AT_ONCE: usize = 500;

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
/// other than the sender (who is passed over), and the person whom an invitation is for.
///
/// Costs one read for all recipients together; whoever has no rules of their own costs nothing more.
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
    for (user, own_rules) in recipients.into_iter().zip(own_rules) {
        if let Some(highlight) = verdict(event, user, own_rules.as_deref()).await {
            let key = (user, event.room);
            tx.append_numbered(
                &NOTIFICATIONS,
                key,
                Notification { highlight },
                event.position,
            )?;
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

/// How many notifications a user has not read in a room, and how many of them are highlights; counted up to
/// [`MAX_COUNTED`].
///
/// # Errors
/// The store's.
pub async fn unread(store: &Store, user: &UserId, room: &RoomId) -> Result<(u64, u64), StoreError> {
    let unread = newest_unread(store, user, room, MAX_COUNTED).await?;
    Ok(unread
        .into_iter()
        .fold((0, 0), |(notify, highlights), (_, highlight)| {
            (notify + 1, highlights + u64::from(highlight))
        }))
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
    let newest = store
        .before(&NOTIFICATIONS, (user, room), u64::MAX, most)
        .await?;
    if newest.is_empty() {
        return Ok(Vec::new());
    }
    let read = store.get(&READ, (user, room)).await?.unwrap_or_default();
    let all = newest
        .into_iter()
        .map(|(_, entry)| (entry.number(), entry.value.highlight));
    Ok(all.take_while(|(position, _)| *position > read).collect())
}

/// The user has read the room up to a position, by a receipt or by writing something themselves. Costs one read if there
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
    let store = tx.store().clone();
    let oldest = store
        .after(&NOTIFICATIONS, (user, room), 0, TRIMMED_AT_ONCE)
        .await?;
    let read: Vec<u64> = oldest
        .iter()
        .take_while(|(_, notification)| notification.number() <= position)
        .map(|(number, _)| *number)
        .collect();
    if read.is_empty() {
        return Ok(());
    }
    for number in read {
        tx.remove(&NOTIFICATIONS, (user, room), number);
    }
    // What is beyond one step stays for the next one; this row makes it count as read already.
    let before = tx.get(&READ, (user, room)).await?.unwrap_or_default();
    if position > before {
        tx.put(&READ, (user, room), &position)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
