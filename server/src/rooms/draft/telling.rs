//! Whose telephone rings for an event, and who has read what by it.

use std::collections::BTreeSet;

use ruma::{OwnedUserId, UserId, push::PushConditionPowerLevelsCtx};

use super::Draft;
use crate::{
    error::Result,
    push::{self, Within},
    rooms::{event::StoredEvent, relations},
    store::{Slot, Tx},
};

impl Draft<'_> {
    /// Tells the others that there is something to read, as their push rules say.
    pub(super) async fn notify(
        &self,
        tx: &mut Tx,
        event: &StoredEvent,
        concerned: &BTreeSet<OwnedUserId>,
        position: Slot,
    ) -> Result<()> {
        if relations::is_edit(event) {
            return Ok(());
        }
        let power_levels = (event.kind != "m.room.encrypted")
            .then(|| PushConditionPowerLevelsCtx::from(self.state.power_levels()));
        let thread = relations::thread_of(tx.store(), event).await?;
        let now = self.app.clock.millis();
        let incoming = push::Incoming {
            room: self.room_id(),
            sender: &event.sender,
            kind: &event.kind,
            event_id: &event.event_id,
            thread: thread.as_deref(),
            now,
            position,
            json: &event.as_json()?,
            joined: u64::try_from(self.state.joined().len()).unwrap_or(u64::MAX),
            power_levels: power_levels.as_ref(),
        };
        let told: Vec<&UserId> = concerned
            .iter()
            .map(|user| &**user)
            .filter(|user| *user != event.sender && !self.entering.contains(*user))
            .collect();
        push::notify_in(tx, &incoming, told.into_iter()).await?;
        // Who writes has seen what was there in the same thread; who comes in has seen everything, the invitation included.
        let comes_in =
            || event.state_key.as_deref() == Some(event.sender.as_str()) && event.joins();
        let seen = match (&event.state_key, thread) {
            (None, Some(root)) => Within::Thread(root),
            (None, None) => Within::Main,
            (Some(_), _) if comes_in() => Within::Room,
            (Some(_), _) => return Ok(()),
        };
        if let Some(read) = self.read_up_to {
            push::read_up_to_in(tx, &event.sender, self.room_id(), (&seen, read), now).await?;
        }
        Ok(())
    }
}
