//! The state that belongs to a timeline, where a client wants to hear only of the members whom it needs to know.
//!
//! [Lazy-loading room members](https://spec.matrix.org/v1.18/client-server-api/#lazy-loading-room-members)

use std::collections::{BTreeMap, BTreeSet};

use ruma::api::client::{filter::LazyLoadOptions, sync::sync_events::v3::RoomSummary};

use super::{At, MEMBER, Story};
use crate::{
    inbox::token::Known,
    rooms::{event::StoredEvent, filter::matches, state::RoomState},
};

/// How members are told of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lazy {
    /// Once.
    Sparing,
    /// With everything that they write.
    Redundant,
}

impl<'a> Story<'a> {
    /// Whether only those members are wanted whom the client needs to know.
    pub(super) fn lazy(&self) -> Option<Lazy> {
        match self.teller.filter.room.state.lazy_load_options {
            LazyLoadOptions::Enabled {
                include_redundant_members: true,
            } => Some(Lazy::Redundant),
            LazyLoadOptions::Enabled { .. } => Some(Lazy::Sparing),
            LazyLoadOptions::Disabled => None,
        }
    }

    /// The newest of the events for each type and key, as far as the client wants them. With lazy loading, a client that
    /// knows nothing is told only of the members it needs, and one that knows the room is told of those who wrote, if it
    /// was not before.
    pub(super) fn state<'e>(
        &'e self,
        events: Vec<At<'e>>,
        before: Option<&'e RoomState>,
        summary: &RoomSummary,
        known: &mut Known,
    ) -> Vec<At<'e>> {
        let mut newest: BTreeMap<_, At<'e>> = events
            .into_iter()
            .map(|(at, event)| ((&*event.kind, event.state_key.as_deref()), (at, event)))
            .collect();
        let lazy = self.lazy();
        if let Some(lazy) = lazy {
            let needed = self.needed(summary);
            if self.since == 0 {
                newest.retain(|(kind, key), _| {
                    *kind != MEMBER || key.is_some_and(|key| needed.contains(key))
                });
            }
            let sparing = lazy == Lazy::Sparing && self.since > 0;
            let within = self.tail.state();
            let is_of = |event: &StoredEvent, user: &str| {
                event.is_state(MEMBER) && event.state_key.as_deref() == Some(user)
            };
            for user in needed {
                let told = within.iter().any(|(_, event)| is_of(event, user));
                let entry = before.and_then(|state| state.get(MEMBER, user));
                if let Some(entry) = entry.filter(|_| !told)
                    && !(sparing && known.meets(self.mark(entry.event())))
                {
                    let key = (MEMBER, entry.event().state_key.as_deref());
                    newest.entry(key).or_insert((entry.position, entry.event()));
                }
            }
        }
        let filter = &self.teller.filter.room.state;
        newest.retain(|_, (_, event)| matches(filter, event));
        let told: Vec<At<'e>> = newest.into_values().collect();
        if lazy == Some(Lazy::Sparing) {
            let shown = self.tail.wanted.iter().map(|(_, event)| event);
            let all = told.iter().map(|(_, event)| *event).chain(shown);
            for member in all.filter(|event| event.is_state(MEMBER)) {
                known.add(self.mark(member));
            }
        }
        told
    }

    /// Whose member events a client needs: those who wrote, and, if it knows nothing yet, the user's own and those whom
    /// the room is named after.
    fn needed<'e>(&'e self, summary: &'e RoomSummary) -> BTreeSet<&'e str> {
        let mut needed: BTreeSet<&str> = self
            .tail
            .wanted
            .iter()
            .map(|(_, event)| event.sender.as_str())
            .collect();
        if self.since == 0 {
            needed.insert(self.teller.me.user.as_str());
            needed.extend(summary.heroes.iter().map(|user| user.as_str()));
        }
        needed
    }

    /// What stands for a member event that was told since the user came into the room: who comes again knows nobody.
    fn mark(&self, member: &StoredEvent) -> u32 {
        let words = format!("{}\0{}", self.own, member.event_id);
        u32::from_be_bytes(self.teller.tokens.name("member", &words))
    }
}
