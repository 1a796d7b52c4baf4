//! What a request wants to be told of one room: what all lists and subscriptions that the room is in ask for, together.

use std::collections::BTreeSet;

use ruma::UserId;

use super::wire::{Body, Details, Scope};
use crate::{
    inbox::{connection::Terms, token::Tokens},
    rooms::event::StoredEvent,
};

/// The most events of a room's timeline in one answer.
pub(super) const MAX_TIMELINE: u32 = 100;

/// The extensions that are about rooms, as bits.
pub(super) const ACCOUNT_DATA: u8 = 1;
pub(super) const RECEIPTS: u8 = 2;
pub(super) const TYPING: u8 = 4;

const ANY: &str = "*";
const MEMBER: &str = "m.room.member";

/// What is wanted of a room.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Types and keys of state.
    state: BTreeSet<(String, String)>,
    /// The same to compare with later, and the rest.
    pub(super) terms: Terms,
}

impl Wanted {
    /// What these lists (by their place) want, and the subscription.
    pub(super) fn of(
        body: &Body,
        tokens: &Tokens,
        lists: &[usize],
        subscription: Option<(&str, &Details)>,
    ) -> Self {
        let mut wanted = Self::default();
        let named = body.lists.iter().enumerate();
        let mut names = Vec::new();
        for (_, (name, list)) in named.filter(|(place, _)| lists.contains(place)) {
            names.push(name.as_str());
            wanted.add(&list.details);
        }
        let room = subscription.map(|(room, details)| {
            wanted.add(details);
            room
        });
        let extensions = &body.extensions;
        for (scope, bit) in [
            (&extensions.account_data, ACCOUNT_DATA),
            (&extensions.receipts, RECEIPTS),
            (&extensions.typing, TYPING),
        ] {
            if scope.covers(&names, room) {
                wanted.terms.extensions |= bit;
            }
        }
        wanted.sum_up(tokens);
        wanted
    }

    fn add(&mut self, details: &Details) {
        let limit = u32::try_from(details.timeline_limit).unwrap_or(MAX_TIMELINE);
        self.terms.limit = self.terms.limit.max(limit.min(MAX_TIMELINE));
        self.state.extend(details.required_state.iter().cloned());
    }

    fn sum_up(&mut self, tokens: &Tokens) {
        let terms = &mut self.terms;
        terms.state = self
            .state
            .iter()
            .map(|(kind, key)| hash(tokens, "state", &format!("{kind}\0{key}")))
            .collect();
        terms.id = 0;
        let all = format!("{terms:?}");
        terms.id = hash(tokens, "terms", &all);
    }

    /// How many events of the timeline.
    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.terms.limit).unwrap_or_default()
    }

    /// Whether this piece of state is wanted, whoever wrote something.
    pub(super) fn asks_for(&self, event: &StoredEvent, me: &UserId) -> bool {
        self.state.iter().any(|wish| fits(wish, event, me))
    }

    /// Whether this piece of state is wanted and was not before.
    pub(super) fn asks_newly_for(&self, event: &StoredEvent, me: &UserId, before: &Terms) -> bool {
        let mut found = false;
        for (wish, hash) in self.state.iter().zip(&self.terms.state) {
            if fits(wish, event, me) {
                if before.state.contains(hash) {
                    return false;
                }
                found = true;
            }
        }
        found
    }

    /// Whether members are wanted of whom the client needs to know because they wrote.
    pub(super) fn is_lazy(&self) -> bool {
        self.state
            .iter()
            .any(|(kind, key)| kind == MEMBER && key == "$LAZY")
    }

    /// Whether more of the timeline is wanted than before.
    pub(super) fn is_longer_than(&self, before: &Terms) -> bool {
        self.terms.limit > before.limit
    }

    /// Whether anything is wanted that was not before.
    pub(super) fn exceeds(&self, before: &Terms) -> bool {
        self.is_longer_than(before)
            || self.terms.extensions & !before.extensions != 0
            || !self
                .terms
                .state
                .iter()
                .all(|wish| before.state.contains(wish))
    }
}

fn fits((kind, key): &(String, String), event: &StoredEvent, me: &UserId) -> bool {
    let Some(of) = event.state_key.as_deref() else {
        return false;
    };
    (kind == ANY || *kind == event.kind)
        && match key.as_str() {
            ANY => true,
            "$ME" => of == me.as_str(),
            "$LAZY" => false,
            key => key == of,
        }
}

impl Scope {
    /// Whether it is switched on.
    pub(super) fn is_on(&self) -> bool {
        self.enabled == Some(true)
    }

    /// Whether it covers a room that is in these lists, and is subscribed to under this id.
    fn covers(&self, lists: &[&str], subscribed: Option<&str>) -> bool {
        let in_lists = match &self.lists {
            None => !lists.is_empty(),
            Some(named) => named
                .iter()
                .any(|name| name == ANY || lists.contains(&name.as_str())),
        };
        let is_subscribed = subscribed.is_some_and(|room| {
            self.rooms
                .as_ref()
                .is_none_or(|rooms| rooms.iter().any(|one| one == ANY || one == room))
        });
        self.is_on() && (in_lists || is_subscribed)
    }

    /// Whether it covers a room that the client knows, and that is in no list of this answer.
    pub(super) fn covers_known(&self, room: &str) -> bool {
        let lists = self.lists.as_ref().is_none_or(|lists| !lists.is_empty());
        let rooms = self
            .rooms
            .as_ref()
            .is_some_and(|rooms| rooms.iter().any(|one| one == ANY || one == room));
        self.is_on() && (lists || rooms)
    }
}

/// A number that stands for words.
pub(super) fn hash(tokens: &Tokens, kind: &str, of: &str) -> u64 {
    u64::from_be_bytes(tokens.name(kind, of))
}
