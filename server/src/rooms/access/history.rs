//! Which events somebody may read: by the room's history visibility at each event, and what they were in the room.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#room-history-visibility)

use ruma::{
    RoomId, UserId,
    events::room::{history_visibility::HistoryVisibility, member::MembershipState},
};

use crate::{
    error::Result,
    rooms::{
        event::{StoredEvent, TIMELINE},
        state::{STATE, visibility_of},
    },
    store::{Page, Store},
};

/// How many changes of one kind are read at once.
const PAGE: usize = 500;

/// What decides about reading, each with the position from which on it held.
pub(super) struct History {
    visibility: Vec<(u64, HistoryVisibility)>,
    membership: Vec<(u64, MembershipState)>,
}

impl History {
    /// Reads it from the store, as it was at a position.
    pub(super) async fn read(
        store: &Store,
        room: &RoomId,
        user: &UserId,
        until: u64,
    ) -> Result<Self> {
        let visibility = changes(store, room, "m.room.history_visibility", "", until).await?;
        let membership = changes(store, room, "m.room.member", user.as_str(), until).await?;
        let visibility = visibility
            .iter()
            .map(|(at, event)| (*at, visibility_of(event)));
        let membership = membership
            .iter()
            .filter_map(|(at, event)| Some((*at, event.membership()?)));
        Ok(Self {
            visibility: visibility.collect(),
            membership: membership.collect(),
        })
    }

    pub(super) fn visibility_now(&self) -> HistoryVisibility {
        self.visibility
            .last()
            .map_or(HistoryVisibility::Shared, |(_, visibility)| {
                visibility.clone()
            })
    }

    pub(super) fn was_joined(&self) -> bool {
        self.membership
            .iter()
            .any(|(_, membership)| *membership == MembershipState::Join)
    }

    pub(super) fn membership(&self, position: u64) -> &MembershipState {
        held_at(&self.membership, position).unwrap_or(&MembershipState::Leave)
    }

    /// A membership event, and a change of visibility, can be read by whoever could read before or can read after it.
    pub(super) fn sees(&self, position: u64) -> bool {
        [position.saturating_sub(1), position]
            .into_iter()
            .any(|visibility_at| {
                let visibility = held_at(&self.visibility, visibility_at);
                let visibility = visibility.unwrap_or(&HistoryVisibility::Shared);
                [position.saturating_sub(1), position]
                    .into_iter()
                    .any(|membership_at| {
                        self.allowed(visibility, self.membership(membership_at), position)
                    })
            })
    }

    fn allowed(
        &self,
        visibility: &HistoryVisibility,
        membership: &MembershipState,
        position: u64,
    ) -> bool {
        *membership == MembershipState::Join
            || match visibility {
                HistoryVisibility::WorldReadable => true,
                HistoryVisibility::Shared => position <= self.joined_until(),
                HistoryVisibility::Invited => *membership == MembershipState::Invite,
                _ => false,
            }
    }

    pub(super) fn first(&self) -> u64 {
        let first = self.turns().find(|position| self.sees(*position));
        first.unwrap_or(u64::MAX)
    }

    /// The next position that can be read, this one included.
    pub(super) fn next(&self, position: u64) -> Option<u64> {
        let later = self.turns().filter(|turn| *turn > position);
        std::iter::once(position)
            .chain(later)
            .find(|position| self.sees(*position))
    }

    pub(super) fn last(&self) -> u64 {
        if self.sees(u64::MAX) {
            return u64::MAX;
        }
        let mut last = 0;
        let mut before: Option<u64> = None;
        for turn in self.turns() {
            if let Some(before) = before
                && self.sees(before)
            {
                last = turn.saturating_sub(1).max(before);
            }
            before = Some(turn);
        }
        last
    }

    /// The positions from which on something may be different, ascending.
    fn turns(&self) -> impl Iterator<Item = u64> {
        let changes = self.visibility.iter().map(|(at, _)| *at);
        let changes = changes.chain(self.membership.iter().map(|(at, _)| *at));
        let mut turns: Vec<u64> = changes
            .flat_map(|at| [at, at.saturating_add(1)])
            .chain([1])
            .collect();
        turns.sort_unstable();
        turns.into_iter()
    }

    /// The last position at which the user was in the room: what is `shared` can be read up to there.
    fn joined_until(&self) -> u64 {
        let joined =
            |(_, membership): &(u64, MembershipState)| *membership == MembershipState::Join;
        match self.membership.iter().rposition(joined) {
            None => 0,
            Some(last) => self
                .membership
                .get(last + 1)
                .map_or(u64::MAX, |(left, _)| *left),
        }
    }
}

fn held_at<T>(changes: &[(u64, T)], position: u64) -> Option<&T> {
    let later = changes.partition_point(|(at, _)| *at <= position);
    changes.get(later.checked_sub(1)?).map(|(_, value)| value)
}

async fn changes(
    store: &Store,
    room: &RoomId,
    kind: &str,
    key: &str,
    until: u64,
) -> Result<Vec<(u64, StoredEvent)>> {
    let mut changes = Vec::new();
    let mut after = 0;
    loop {
        let last = (room, kind, key, after);
        let page = store
            .scan_after(&STATE, (room, kind, key), last, Page::first(PAGE))
            .await?;
        let positions: Vec<u64> = page
            .iter()
            .map(|((.., at), ())| *at)
            .filter(|at| *at <= until)
            .collect();
        let events = store.entries(&TIMELINE, room, &positions).await?;
        changes.extend(
            positions
                .iter()
                .zip(events)
                .filter_map(|(at, event)| Some((*at, event?))),
        );
        match positions.last() {
            Some(last) if positions.len() == PAGE => after = *last,
            _ => return Ok(changes),
        }
    }
}
