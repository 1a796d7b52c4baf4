//! Whose devices a client must know of: people come into view when they share a room with its user, and go out of it.
//!
//! [Tracking the device list](https://spec.matrix.org/v1.18/client-server-api/#tracking-the-device-list-for-a-user)

use std::collections::BTreeSet;

use ruma::{
    OwnedUserId, UserId, api::client::sync::sync_events::DeviceLists,
    events::room::member::MembershipState,
};
use serde::Deserialize;

use crate::{
    error::Result,
    rooms::{event::StoredEvent, membership},
    state::App,
};

/// Who came into view, and who may have gone out of it; somebody who did both may be either now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct People {
    /// Their devices are to be asked for.
    pub(super) came: BTreeSet<OwnedUserId>,
    /// They are no longer in a room with the user; they may be in another.
    pub(super) went: BTreeSet<OwnedUserId>,
}

impl People {
    /// Looks at changes of a room's state, in their order. With `anew`, whoever is there counts as come.
    pub(super) fn see<'e>(
        &mut self,
        me: &UserId,
        changes: impl Iterator<Item = &'e StoredEvent>,
        anew: bool,
    ) {
        for event in changes {
            let (Some(user), Some(membership)) = (event.target(), event.membership()) else {
                continue;
            };
            if user == me {
                continue;
            }
            match membership {
                MembershipState::Join if !anew && was_joined(event) => {}
                MembershipState::Join | MembershipState::Invite => {
                    self.came.insert(user);
                }
                _ => {
                    self.went.insert(user);
                }
            }
        }
    }

    /// The user has left a room with these people in it.
    pub(super) fn lose(&mut self, me: &UserId, people: &BTreeSet<OwnedUserId>) {
        self.went
            .extend(people.iter().filter(|user| *user != me).cloned());
    }

    /// What the client is told. `changed` are people whose devices have changed in the meantime.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn tell(
        self,
        app: &App,
        me: &UserId,
        changed: BTreeSet<OwnedUserId>,
    ) -> Result<DeviceLists> {
        let mut lists = DeviceLists::new();
        if !self.went.is_empty() {
            let mine: BTreeSet<_> = membership::joined_rooms(&app.store, me)
                .await?
                .into_iter()
                .collect();
            for user in self.went {
                let theirs = membership::joined_rooms(&app.store, &user).await?;
                if !theirs.iter().any(|room| mine.contains(room)) {
                    lists.left.push(user);
                }
            }
        }
        let here = self
            .came
            .into_iter()
            .chain(changed)
            .collect::<BTreeSet<_>>();
        lists.changed = here
            .into_iter()
            .filter(|user| !lists.left.contains(user))
            .collect();
        Ok(lists)
    }
}

fn was_joined(event: &StoredEvent) -> bool {
    #[derive(Deserialize)]
    struct Content {
        membership: MembershipState,
    }
    let before = event.replaced.as_ref();
    let before = before.and_then(|before| serde_json::from_str::<Content>(&before.content).ok());
    before.is_some_and(|content| content.membership == MembershipState::Join)
}
