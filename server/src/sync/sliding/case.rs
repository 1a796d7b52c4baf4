//! A room that is to be told, and what the client knows of it.

use std::collections::BTreeSet;

use super::{lists::Entry, wanted::Wanted};
use crate::{
    inbox::connection::{Terms, Told},
    sync::window::News,
};

/// How many members of a room are remembered to have been told of because they wrote.
const MAX_MEMBERS: usize = 100;

/// A room that is to be told, and what the client knows of it.
pub(super) struct Case<'a> {
    pub(super) entry: &'a Entry,
    pub(super) wanted: &'a Wanted,
    pub(super) direct: bool,
    /// What the client was told.
    pub(super) told: Option<Told>,
    /// On which terms, if they are remembered.
    pub(super) before: Option<Terms>,
    /// What came into the inbox since, if the client has been told of everything before.
    pub(super) news: Option<&'a News>,
}

impl Case<'_> {
    /// New events, as far as they were not told.
    pub(super) fn events(&self) -> &[u64] {
        let events = self.news.map_or(&[][..], |news| &news.events);
        let told = self.told.as_ref().map_or(0, |told| told.up_to);
        events
            .split_at_checked(events.partition_point(|position| *position <= told))
            .map_or(&[], |(_, new)| new)
    }

    pub(super) fn is_live(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.live)
    }

    /// Whether more is wanted of the room than the client was told of it.
    pub(super) fn asks_more(&self) -> bool {
        let before = self.before.as_ref();
        before.is_none_or(|before| self.wanted.exceeds(before))
    }

    /// Whether an extension is to tell of the room that did not before.
    pub(super) fn extends(&self) -> bool {
        let before = self.before.as_ref().map_or(0, |before| before.extensions);
        self.wanted.terms.extensions & !before != 0
    }

    /// Whether the client holds it wrongly for a conversation of two, or for none.
    pub(super) fn is_direct_anew(&self) -> bool {
        let told = self.told.as_ref();
        told.is_some_and(|told| told.direct != self.direct)
    }

    /// Whether the client knows all that it wants to know.
    pub(super) fn is_known(&self) -> bool {
        self.is_live() && !self.asks_more() && self.events().is_empty() && !self.is_direct_anew()
    }

    /// Where the client's knowledge ends, if it has any that can be gone on from.
    pub(super) fn known_up_to(&self, head: u64) -> Option<u64> {
        let told = self.told.as_ref()?;
        match self.events().first() {
            Some(first) if told.live => Some(told.up_to.max(first - 1)),
            None if told.live => Some(head),
            _ => Some(told.up_to),
        }
    }

    /// What is kept of what the client is told.
    pub(super) fn told(&self, up_to: u64, members: BTreeSet<u32>) -> Told {
        let before = self.told.as_ref().filter(|_| !self.asks_more());
        Told {
            up_to,
            live: true,
            direct: self.direct,
            terms: before.map_or(self.wanted.terms.id, |told| told.terms),
            members: members.into_iter().take(MAX_MEMBERS).collect(),
        }
    }
}
