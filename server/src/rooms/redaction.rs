//! Redactions: what a redacted event said is taken out of the store by the same commit.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#redactions)

use ruma::{EventId, UserId};

use super::{
    event::{EVENT_POSITIONS, StoredEvent, TIMELINE},
    pdu::redacted_content,
    relations,
    state::{RoomState, STATE},
};
use crate::{
    error::{Error, Result},
    store::{Page, Store, Tx},
};

/// What a redaction will empty.
pub(super) struct Redaction {
    position: u64,
    target: StoredEvent,
    /// The state event that took the target's place: it repeats what the target said.
    successor: Option<(u64, StoredEvent)>,
}

impl Redaction {
    /// Looks up what is to be redacted, and whether the sender may.
    pub(super) async fn of(
        store: &Store,
        state: &RoomState,
        sender: &UserId,
        target: &EventId,
    ) -> Result<Self> {
        if !state.is_joined(sender) {
            return Err(super::not_in_room());
        }
        let place = store.get(&EVENT_POSITIONS, target).await?;
        let position = place
            .filter(|place| place.value == state.room_id())
            .ok_or_else(super::no_such_event)?
            .number();
        let mut found = store
            .entries(&TIMELINE, state.room_id(), &[position])
            .await?;
        let target = found.pop().flatten().ok_or_else(super::no_such_event)?;
        if target.is_state("m.room.create") || target.is_state("m.room.encryption") {
            return Err(Error::forbidden(
                "What makes a room what it is cannot be redacted.",
            ));
        }
        if target.sender != sender && !state.power_levels().user_can_redact_event_of_other(sender) {
            return Err(Error::forbidden("You may redact your own messages only."));
        }
        let successor = successor(store, state, &target, position).await?;
        Ok(Self {
            position,
            target,
            successor,
        })
    }

    /// Empties the target; `because` is the redaction. Returns whether the room's state is another one now.
    pub(super) async fn write(
        mut self,
        tx: &mut Tx,
        state: &RoomState,
        because: &StoredEvent,
    ) -> Result<bool> {
        if self.target.redacted_because.is_some() {
            return Ok(false);
        }
        let rules = &state.rules().redaction;
        relations::remove(tx, &self.target, self.position).await?;
        self.target.redact(rules, because.as_json()?)?;
        tx.replace(&TIMELINE, state.room_id(), self.position, &self.target)?;
        if let Some((position, mut event)) = self.successor
            && let Some(replaced) = &mut event.replaced
        {
            replaced.content = redacted_content(&replaced.content, rules, &event.kind)?;
            tx.replace(&TIMELINE, state.room_id(), position, &event)?;
        }
        Ok(self.target.state_key.is_some())
    }
}

async fn successor(
    store: &Store,
    state: &RoomState,
    target: &StoredEvent,
    position: u64,
) -> Result<Option<(u64, StoredEvent)>> {
    let Some(key) = target.state_key.as_deref() else {
        return Ok(None);
    };
    let of_key = (state.room_id(), target.kind.as_str(), key);
    let after = (of_key.0, of_key.1, of_key.2, position);
    let next = store
        .scan_after(&STATE, of_key, after, Page::first(1))
        .await?;
    let Some(((_, _, _, next), ())) = next.into_iter().next() else {
        return Ok(None);
    };
    let event = store
        .entries(&TIMELINE, state.room_id(), &[next])
        .await?
        .pop()
        .flatten();
    Ok(event.map(|event| (next, event)))
}
