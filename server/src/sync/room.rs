//! What a client is told of one room.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UInt, UserId,
    api::client::{
        filter::FilterDefinition,
        sync::sync_events::{
            UnreadNotificationsCount,
            v3::{
                InviteState, InvitedRoom, JoinedRoom, KnockState, KnockedRoom, LeftRoom, Rooms,
                State,
            },
        },
    },
    events::{AnyStrippedStateEvent, room::member::MembershipState},
    serde::Raw,
};

use super::{
    devices::People,
    notices,
    select::{has_room, wants},
    story::{Story, Told},
    window::News,
};
use crate::{
    auth::Device,
    ephemeral::typing,
    error::Result,
    inbox::token::{Known, Tokens},
    push::{self, Unread},
    rooms::{
        event::TIMELINE,
        membership::{self, Membership},
        state::{self, ROOMS, StateEntry},
    },
    state::App,
};

/// What is shown of a room to somebody who is not in it.
const STRIPPED: [&str; 8] = [
    "m.room.create",
    "m.room.join_rules",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.guest_access",
];

/// Tells one device of rooms.
pub(super) struct Teller<'a> {
    /// The server.
    pub(super) app: &'a App,
    /// The device.
    pub(super) me: &'a Device,
    /// Its tokens.
    pub(super) tokens: &'a Tokens,
    /// What it wants to hear.
    pub(super) filter: &'a FilterDefinition,
    /// Whether the state is told as it is after the timeline instead of before it.
    pub(super) state_after: bool,
    /// Whether all of the state is told, and not only what has changed.
    pub(super) full_state: bool,
    /// Whose messages the user does not want.
    pub(super) ignored: BTreeSet<OwnedUserId>,
}

/// What an answer says of rooms, as it is put together.
#[derive(Default)]
pub(super) struct Telling {
    /// The rooms, by what the user is in them.
    pub(super) rooms: Rooms,
    /// Who comes into view there, and who goes out of it.
    pub(super) people: People,
    /// The members whom the client knows.
    pub(super) known: Known,
}

/// What of a room is told.
pub(super) enum Extent<'a> {
    /// Everything that matters of it, up to a position.
    Whole(u64),
    /// What is new.
    New(&'a News),
}

impl Teller<'_> {
    /// Adds a room to an answer, where the user's membership wants it to be. A room that is being deleted or forgotten at this
    /// moment is left out: the inbox will say so.
    pub(super) async fn tell(
        &self,
        room: &RoomId,
        membership: &Membership,
        extent: Extent<'_>,
        telling: &mut Telling,
    ) -> Result<()> {
        match self.try_tell(room, membership, extent, telling).await {
            Err(_) if self.is_gone(room).await? => Ok(()),
            told => told,
        }
    }

    async fn is_gone(&self, room: &RoomId) -> Result<bool> {
        let store = &self.app.store;
        Ok(store.get(&ROOMS, room).await?.is_none()
            || membership::of(store, &self.me.user, room)
                .await?
                .is_none_or(|now| now.forgotten))
    }

    async fn try_tell(
        &self,
        room: &RoomId,
        membership: &Membership,
        extent: Extent<'_>,
        telling: &mut Telling,
    ) -> Result<()> {
        let filter = &self.filter.room;
        if !has_room(filter.rooms.as_deref(), &filter.not_rooms, room) {
            return Ok(());
        }
        let end = match &extent {
            Extent::Whole(end) => Some(*end),
            Extent::New(news) => match news.events.last() {
                // Only who is in the room may know what it has become.
                None if self.full_state && membership.state == MembershipState::Join => {
                    Some(self.app.store.head(&TIMELINE, room).await?)
                }
                last => last.copied(),
            },
        };
        let Some(end) = end else {
            if membership.state == MembershipState::Join {
                let joined = self
                    .joined(room, Told::nothing(self.state_after), &extent)
                    .await?;
                if self.says_something(&joined, &extent) {
                    insert(&mut telling.rooms.join, room, joined);
                }
            }
            return Ok(());
        };
        match self.membership_at(room, membership, end).await? {
            MembershipState::Join => {
                let story = Story::read(self, room, membership, &extent, end, true).await?;
                let story = story.tell(telling).await?;
                let joined = self.joined(room, story, &extent).await?;
                if self.says_something(&joined, &extent) {
                    insert(&mut telling.rooms.join, room, joined);
                }
            }
            MembershipState::Invite => {
                if let Some(events) = self.stripped(room, end).await? {
                    let mut invited = InvitedRoom::new();
                    invited.invite_state = InviteState::new();
                    invited.invite_state.events = events;
                    insert(&mut telling.rooms.invite, room, invited);
                }
            }
            MembershipState::Knock => {
                if let Some(events) = self.stripped(room, end).await? {
                    let mut state = KnockState::new();
                    state.events = events;
                    insert(&mut telling.rooms.knock, room, KnockedRoom::from(state));
                }
            }
            _ => {
                let story = Story::read(self, room, membership, &extent, end, false).await?;
                let story = story.tell(telling).await?;
                let mut left = LeftRoom::new();
                (left.timeline, left.state) = (story.timeline, story.state);
                insert(&mut telling.rooms.leave, room, left);
            }
        }
        Ok(())
    }

    /// The membership right after a position; costs nothing where it has not changed since.
    async fn membership_at(
        &self,
        room: &RoomId,
        now: &Membership,
        position: u64,
    ) -> Result<MembershipState> {
        if now.position <= position {
            return Ok(now.state.clone());
        }
        Ok(state::at(self.app, room, position)
            .await?
            .membership(&self.me.user))
    }

    /// Whether anything is left of a room's news that the client wants, or that changes how much is unread.
    fn says_something(&self, joined: &JoinedRoom, extent: &Extent<'_>) -> bool {
        let Extent::New(news) = extent else {
            return true;
        };
        let (State::Before(state) | State::After(state)) = &joined.state else {
            return true;
        };
        let has_read = || news.receipts.iter().any(|(user, _)| *user == self.me.user);
        self.full_state
            || joined.timeline.limited
            || !joined.timeline.events.is_empty()
            || !state.events.is_empty()
            || !joined.account_data.is_empty()
            || !joined.ephemeral.is_empty()
            || has_read()
    }

    async fn joined(&self, room: &RoomId, story: Told, extent: &Extent<'_>) -> Result<JoinedRoom> {
        let mut joined = JoinedRoom::new();
        (joined.timeline, joined.state, joined.summary) =
            (story.timeline, story.state, story.summary);
        let counts = push::counts(&self.app.store, &self.me.user, room).await?;
        if self.filter.room.timeline.unread_thread_notifications {
            joined.unread_notifications = unread(counts.main);
            let threads = counts.threads.into_iter();
            joined.unread_thread_notifications =
                threads.map(|(root, count)| (root, unread(count))).collect();
        } else {
            joined.unread_notifications = unread(counts.all());
        }
        let (app, user) = (self.app, &*self.me.user);
        let types = match extent {
            Extent::Whole(_) => None,
            Extent::New(news) => Some(&news.account_data),
        };
        let filter = &self.filter.room;
        let wanted = |kind: &str| wants(&filter.account_data, room, kind);
        joined.account_data.events =
            notices::account_data(app, user, Some(room), types, wanted).await?;
        if wants(&filter.ephemeral, room, "m.receipt") {
            joined.ephemeral.events = match extent {
                Extent::Whole(_) => notices::all_receipts(app, user, room).await?,
                Extent::New(news) => {
                    notices::some_receipts(app, user, room, &news.receipts).await?
                }
            };
        }
        let asks = match extent {
            Extent::Whole(_) => true,
            Extent::New(news) => news.typing,
        };
        if asks && wants(&filter.ephemeral, room, "m.typing") {
            let typists = typing::in_room(&app.store, room).await?;
            if !typists.is_empty() || matches!(extent, Extent::New(_)) {
                joined.ephemeral.events.push(notices::typing(typists)?);
            }
        }
        Ok(joined)
    }

    async fn stripped(
        &self,
        room: &RoomId,
        position: u64,
    ) -> Result<Option<Vec<Raw<AnyStrippedStateEvent>>>> {
        stripped(self.app, &self.me.user, &self.ignored, room, position).await
    }
}

/// What is shown of a room to somebody who is invited or knocks, by an event at this position; `None` if they ignore whoever
/// sent it.
pub(super) async fn stripped(
    app: &App,
    me: &UserId,
    ignored: &BTreeSet<OwnedUserId>,
    room: &RoomId,
    position: u64,
) -> Result<Option<Vec<Raw<AnyStrippedStateEvent>>>> {
    let state = state::at(app, room, position).await?;
    let Some(own) = state.get("m.room.member", me.as_str()) else {
        return Ok(None);
    };
    let sender = &own.event().sender;
    if ignored.contains(sender) {
        return Ok(None);
    }
    let mut entries: Vec<&Arc<StateEntry>> = STRIPPED
        .iter()
        .filter_map(|kind| state.get(kind, ""))
        .collect();
    if *sender != me {
        entries.extend(state.get("m.room.member", sender.as_str()));
    }
    entries.push(own);
    entries
        .into_iter()
        .map(|entry| entry.event().to_stripped())
        .collect::<Result<_>>()
        .map(Some)
}

fn insert<T>(rooms: &mut BTreeMap<OwnedRoomId, T>, room: &RoomId, value: T) {
    rooms.insert(room.to_owned(), value);
}

fn unread(count: Unread) -> UnreadNotificationsCount {
    let mut unread = UnreadNotificationsCount::new();
    unread.notification_count = Some(UInt::new_saturating(count.notified));
    unread.highlight_count = Some(UInt::new_saturating(count.highlighted));
    unread
}
