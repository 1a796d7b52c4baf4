//! Who is notified of an event.

use ruma::{
    EventId, RoomId, UInt, UserId,
    events::AnySyncTimelineEvent,
    push::{Action, PushConditionPowerLevelsCtx, PushConditionRoomCtx, Ruleset, Tweak},
    serde::Raw,
};

use super::{
    HIGHLIGHTS, IN_THREADS, NOTIFICATIONS, Notification, PUSH_RULES,
    due::{self, PUSHERS},
    rules,
};
use crate::{
    account_data,
    store::{Slot, StoreError, Tx},
};

/// An event that is being appended to a room.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The room.
    pub room: &'a RoomId,
    /// Who sent it; they are not notified.
    pub sender: &'a UserId,
    /// Its type.
    pub kind: &'a str,
    /// Its id.
    pub event_id: &'a EventId,
    /// The event that its thread began with, if it is in one.
    pub thread: Option<&'a EventId>,
    /// When it came, in milliseconds since 1970.
    pub now: u64,
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
/// Costs three reads for all recipients together; whoever has no rules of their own and ignores nobody costs nothing more.
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
    let pushers = tx
        .store()
        .get_many(&PUSHERS, recipients.iter().copied())
        .await?;
    let known = own_rules.into_iter().zip(ignored).zip(pushers);
    for (user, ((own_rules, ignored), pushers)) in recipients.into_iter().zip(known) {
        if ignored.contains(event.sender) {
            continue;
        }
        if let Some(ring) = verdict(event, user, own_rules.as_deref()).await {
            note_in(tx, event, user, ring)?;
            if pushers.is_some() {
                due::ring_in(tx, event, user, ring)?;
            }
        }
    }
    Ok(())
}

/// How a user is notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ring {
    /// It concerns the user in particular.
    highlight: bool,
    /// It is to be heard at once: it has a sound, or is encrypted and may be anything.
    pub(super) urgent: bool,
}

fn note_in(tx: &mut Tx, event: &Incoming<'_>, user: &UserId, ring: Ring) -> Result<(), StoreError> {
    let highlight = ring.highlight;
    let note = Notification { highlight };
    if let Some(root) = event.thread {
        return tx.put_at(&IN_THREADS, (user, event.room, root), event.position, &note);
    }
    let key = (user, event.room);
    tx.append_numbered(&NOTIFICATIONS, key, note, event.position)?;
    if highlight {
        tx.append_numbered(&HIGHLIGHTS, key, (), event.position)?;
    }
    Ok(())
}

/// Whether the user is notified, and if so, how.
async fn verdict(event: &Incoming<'_>, user: &UserId, own_rules: Option<&str>) -> Option<Ring> {
    let encrypted = event.kind == "m.room.encrypted";
    let rules = match own_rules {
        // The specification's rules notify of every encrypted message: the common case needs no evaluation.
        None if encrypted => {
            return Some(Ring {
                highlight: false,
                urgent: true,
            });
        }
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
    let highlight = actions.iter().any(Action::is_highlight);
    let sound = |action: &Action| matches!(action, Action::SetTweak(Tweak::Sound(_)));
    actions.iter().any(Action::should_notify).then(|| Ring {
        highlight,
        urgent: encrypted || highlight || actions.iter().any(sound),
    })
}
