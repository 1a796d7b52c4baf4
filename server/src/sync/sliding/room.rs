//! What a client is told of one room: everything, or what it has not been told.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    OwnedUserId, RoomId, UserId,
    events::{AnySyncStateEvent, AnySyncTimelineEvent, room::member::MembershipState},
    serde::Raw,
};
use serde::Deserialize;

use super::{lists::Entry, pos::Seen, wanted::Wanted, wire};
use crate::{
    auth::Device,
    error::{Error, Result},
    inbox::{
        connection::{Terms, Told},
        token::Tokens,
    },
    push,
    rooms::{
        access::{self, Readable},
        event::{StoredEvent, TIMELINE, Viewer},
        position,
        state::{self, RoomState},
    },
    state::App,
    sync::{
        room::stripped,
        story::sum_up,
        timeline::{Source, Tail},
        window::News,
    },
};

const MEMBER: &str = "m.room.member";
/// How many members of a room are remembered to have been told of because they wrote.
const MAX_MEMBERS: usize = 100;

/// Tells one device of rooms.
pub(super) struct Teller<'a> {
    pub(super) app: &'a App,
    pub(super) me: &'a Device,
    pub(super) tokens: &'a Tokens,
    /// Whose messages the user does not want.
    pub(super) ignored: &'a BTreeSet<OwnedUserId>,
    /// Members that were told of because they wrote.
    pub(super) seen: &'a [Seen],
}

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

/// What is said of a room.
#[derive(Default)]
pub(super) struct Said {
    pub(super) room: wire::Room,
    /// What the client knows then, where that must be kept.
    pub(super) told: Option<Told>,
    /// Whether the extensions are to tell everything of the room.
    pub(super) whole: bool,
    /// Members who are told of because they wrote.
    pub(super) seen: Vec<Seen>,
}

/// A stretch of a room's timeline, and what the client has of the time before it.
struct Reach {
    state: Arc<RoomState>,
    /// Where the user came to be what they are in it.
    own: u64,
    /// The last position that the client knows; 0 if it begins anew.
    from: u64,
    /// The last position that is told.
    end: u64,
    /// Whether they never were in it: they were invited and declined, and learn no more than that.
    stranger: bool,
}

impl Case<'_> {
    /// New events, as far as they were not told.
    fn events(&self) -> &[u64] {
        let events = self.news.map_or(&[][..], |news| &news.events);
        let told = self.told.as_ref().map_or(0, |told| told.up_to);
        events
            .split_at_checked(events.partition_point(|position| *position <= told))
            .map_or(&[], |(_, new)| new)
    }

    fn is_live(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.live)
    }

    /// Whether more is wanted of the room than the client was told of it.
    fn asks_more(&self) -> bool {
        let before = self.before.as_ref();
        before.is_none_or(|before| self.wanted.exceeds(before))
    }

    /// Whether an extension is to tell of the room that did not before.
    fn extends(&self) -> bool {
        let before = self.before.as_ref().map_or(0, |before| before.extensions);
        self.wanted.terms.extensions & !before != 0
    }

    /// Whether the client holds it wrongly for a conversation of two, or for none.
    fn is_direct_anew(&self) -> bool {
        let told = self.told.as_ref();
        told.is_some_and(|told| told.direct != self.direct)
    }

    /// Whether the client knows all that it wants to know.
    pub(super) fn is_known(&self) -> bool {
        self.is_live() && !self.asks_more() && self.events().is_empty() && !self.is_direct_anew()
    }

    /// Where the client's knowledge ends, if it has any that can be gone on from.
    fn known_up_to(&self, head: u64) -> Option<u64> {
        let told = self.told.as_ref()?;
        match self.events().first() {
            Some(first) if told.live => Some(told.up_to.max(first - 1)),
            None if told.live => Some(head),
            _ => Some(told.up_to),
        }
    }
}

impl Teller<'_> {
    /// What is to be said of a room; nothing, if it is not there for this user.
    pub(super) async fn tell(&self, case: &Case<'_>) -> Result<Option<Said>> {
        let told = match case.entry.membership.state {
            MembershipState::Invite | MembershipState::Knock => self.stripped(case).await,
            _ => self.story(case).await.map(Some),
        };
        let mut said = match told {
            Ok(Some(said)) => said,
            Ok(None) => return Ok(None),
            // A room that is being deleted at this moment: the inbox will say so.
            Err(_) if state::current(self.app, &case.entry.room).await?.is_none() => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let room = &mut said.room;
        let unread = push::unread(&self.app.store, &self.me.user, &case.entry.room).await?;
        (room.notification_count, room.highlight_count) = unread;
        room.bump_stamp = Some(case.entry.recency.proper).filter(|stamp| *stamp > 0);
        if case.direct || case.told.as_ref().is_some_and(|told| told.direct) {
            room.is_dm = Some(case.direct);
        }
        Ok(Some(said))
    }

    async fn stripped(&self, case: &Case<'_>) -> Result<Option<Said>> {
        let (entry, me) = (case.entry, &*self.me.user);
        let position = entry.membership.position;
        let events = stripped(self.app, me, self.ignored, &entry.room, position).await?;
        let Some(events) = events else {
            return Ok(None);
        };
        let mut said = Said::default();
        said.room.initial = case.told.is_none();
        if entry.membership.state == MembershipState::Knock {
            // Clients look for either.
            said.room.knock_state = Some(events.clone());
        }
        said.room.invite_state = Some(events);
        said.room.membership = Some(entry.membership.state.to_string());
        said.told = Some(told(case, position, BTreeSet::new()));
        Ok(Some(said))
    }

    async fn story(&self, case: &Case<'_>) -> Result<Said> {
        let reach = self.reach(case).await?;
        let (tail, readable) = self.tail(case, &reach).await?;
        let (mut said, anew) = (Said::default(), reach.from == 0);
        let room = &mut said.room;
        (room.initial, said.whole) = (anew, anew || !case.is_live() || case.extends());
        room.membership = Some(reach.state.membership(&self.me.user).to_string());
        room.limited = Some(tail.limited);
        room.prev_batch = Some(position::token(tail.start.saturating_sub(1)));
        let new = case.events();
        let is_new = |position: &u64| match anew {
            true => new.contains(position),
            false => *position > reach.from,
        };
        let live = tail.wanted.iter().filter(|(position, _)| is_new(position));
        room.num_live = Some(live.count());
        let first = tail.wanted.first().map_or(u64::MAX, |(first, _)| *first);
        room.unstable_expanded_timeline = !anew && first <= reach.from;
        if !reach.stranger {
            describe(room, &reach, &self.me.user);
        }

        // Whom a client knows it forgets where it is not told of everything.
        let gap = anew || (tail.limited && !room.unstable_expanded_timeline);
        let mut known = match gap {
            true => BTreeSet::new(),
            false => self.known_members(case),
        };
        let lazy = match case.wanted.is_lazy() {
            true => self.writers(&tail, &known),
            false => BTreeSet::new(),
        };
        room.required_state = self.required(case, &reach, &lazy, gap)?;
        room.timeline = self.timeline(&tail, readable.as_ref())?;
        let new: Vec<u32> = lazy.iter().map(|user| self.hash(user.as_str())).collect();
        if gap || !case.is_live() || case.asks_more() || case.is_direct_anew() {
            known.extend(new);
            said.told = Some(told(case, reach.end, known));
        } else {
            let room = self.room_hash(&case.entry.room);
            said.seen = new.into_iter().map(|member| (room, member)).collect();
        }
        Ok(said)
    }

    /// Up to where the room is told, and from where on: from the beginning, if the user was not in it all the time since.
    async fn reach(&self, case: &Case<'_>) -> Result<Reach> {
        let (entry, me) = (case.entry, &*self.me.user);
        let joined = entry.is_joined();
        let mut end = match case.events().last() {
            Some(last) if case.is_live() => *last,
            _ if joined => self.app.store.head(&TIMELINE, &entry.room).await?,
            _ => entry.membership.position,
        };
        let mut state = state::at(self.app, &entry.room, end).await?;
        let own = |state: &RoomState| {
            let own = state.get(MEMBER, me.as_str());
            own.map_or(0, |entry| entry.position)
        };
        if joined && !state.is_joined(me) {
            // They have left since the row was read.
            end = own(&state);
            state = state::at(self.app, &entry.room, end).await?;
        }
        let own = own(&state);
        let mut from = case.known_up_to(end).unwrap_or_default().min(end);
        let unbroken = case.is_live() && case.news.is_none_or(News::unbroken);
        let throughout = (state.is_joined(me) && own <= from)
            || (from > 0
                && unbroken
                && state::at(self.app, &entry.room, from).await?.is_joined(me));
        if !throughout {
            from = 0;
        }
        let stranger = !state.is_joined(me)
            && match access::readable(self.app, me, &entry.room).await {
                Ok(_) => false,
                Err(Error::Matrix {
                    status: http::StatusCode::FORBIDDEN,
                    ..
                }) => true,
                Err(error) => return Err(error),
            };
        Ok(Reach {
            state,
            own,
            from,
            end,
            stranger,
        })
    }

    /// The events, and what may be read, if the user was not in the room all the time.
    async fn tail(&self, case: &Case<'_>, reach: &Reach) -> Result<(Tail, Option<Readable>)> {
        let longer = case
            .before
            .as_ref()
            .is_some_and(|before| case.wanted.is_longer_than(before));
        let end = reach.end;
        if reach.stranger {
            let own = [reach.own];
            let tail = self.read(case, Source::Positions(&own), end).await?;
            return Ok((tail, None));
        }
        if reach.from > 0 && !longer {
            let first = reach.from + 1;
            let tail = self.read(case, Source::Span { first, end }, end).await?;
            return Ok((tail, None));
        }
        if reach.state.is_joined(&self.me.user) {
            // What came since they are in the room needs no look at who may read what.
            let first = reach.own;
            let tail = self.read(case, Source::Span { first, end }, end).await?;
            if tail.limited {
                return Ok((tail, None));
            }
        }
        let readable = access::readable(self.app, &self.me.user, &case.entry.room).await?;
        let source = Source::History {
            end,
            readable: &readable,
        };
        let tail = self.read(case, source, end).await?;
        Ok((tail, Some(readable)))
    }

    async fn read(&self, case: &Case<'_>, source: Source<'_>, end: u64) -> Result<Tail> {
        let wants = |event: &StoredEvent| {
            event.state_key.is_some() || !self.ignored.contains(&event.sender)
        };
        let (store, room) = (&self.app.store, &*case.entry.room);
        Tail::read(store, room, source, end, case.wanted.limit(), wants).await
    }

    fn timeline(
        &self,
        tail: &Tail,
        readable: Option<&Readable>,
    ) -> Result<Vec<Raw<AnySyncTimelineEvent>>> {
        let viewer = Viewer::new(self.app, self.me);
        let shown = tail.wanted.iter().map(|(position, event)| {
            let viewer = match readable {
                Some(readable) => viewer.as_of(readable.membership(*position)),
                None => viewer,
            };
            event.to_sync(viewer)
        });
        shown.collect()
    }

    fn required(
        &self,
        case: &Case<'_>,
        reach: &Reach,
        lazy: &BTreeSet<OwnedUserId>,
        gap: bool,
    ) -> Result<Vec<Raw<AnySyncStateEvent>>> {
        let me = &*self.me.user;
        let viewer = Viewer::new(self.app, self.me);
        let mut required = Vec::new();
        let own = |entry: &&Arc<state::StateEntry>| entry.position == reach.own;
        let entries = reach.state.entries();
        for entry in entries.filter(|entry| !reach.stranger || own(entry)) {
            let (event, new) = (entry.event(), entry.position > reach.from);
            let member = event.target();
            let loaded = member.is_some_and(|user| lazy.contains(&user))
                || (new && !gap && case.wanted.is_lazy() && event.is_state(MEMBER));
            let asked = match (new, &case.before) {
                (true, _) => case.wanted.asks_for(event, me),
                (false, Some(before)) => case.wanted.asks_newly_for(event, me, before),
                (false, None) => case.wanted.asks_for(event, me),
            };
            if asked || loaded {
                required.push(event.to_sync(viewer)?);
            }
        }
        Ok(required)
    }

    /// Those whose names a client needs to show the timeline, and does not know.
    fn writers(&self, tail: &Tail, known: &BTreeSet<u32>) -> BTreeSet<OwnedUserId> {
        let events = tail.wanted.iter().map(|(_, event)| event);
        let people = events.flat_map(|event| [Some(event.sender.clone()), event.target()]);
        people
            .flatten()
            .filter(|user| !known.contains(&self.hash(user.as_str())))
            .collect()
    }

    fn known_members(&self, case: &Case<'_>) -> BTreeSet<u32> {
        let room = self.room_hash(&case.entry.room);
        let seen = self.seen.iter().filter(|(of, _)| *of == room);
        let told = case.told.iter().flat_map(|told| told.members.iter());
        told.copied()
            .chain(seen.map(|(_, member)| *member))
            .collect()
    }

    /// What stands for a room beside its members.
    pub(super) fn room_hash(&self, room: &RoomId) -> u32 {
        self.hash(room.as_str())
    }

    fn hash(&self, of: &str) -> u32 {
        u32::from_be_bytes(self.tokens.name("seen", of))
    }
}

/// What is kept of what a client was told.
fn told(case: &Case<'_>, up_to: u64, members: BTreeSet<u32>) -> Told {
    let before = case.told.as_ref().filter(|_| !case.asks_more());
    Told {
        up_to,
        live: true,
        direct: case.direct,
        terms: before.map_or(case.wanted.terms.id, |told| told.terms),
        members: members.into_iter().take(MAX_MEMBERS).collect(),
    }
}

/// What the room is called and who is in it, as far as that has changed.
fn describe(room: &mut wire::Room, reach: &Reach, me: &UserId) {
    #[derive(Deserialize)]
    struct Words {
        name: Option<String>,
        url: Option<String>,
        displayname: Option<String>,
        avatar_url: Option<String>,
    }
    let state = &reach.state;
    let words = |kind: &str, key: &str| {
        let found = state.get(kind, key);
        let found = found.filter(|entry| entry.position > reach.from || kind == MEMBER);
        found.and_then(|entry| entry.content::<Words>())
    };
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    room.name = words("m.room.name", "").and_then(|words| filled(words.name));
    room.avatar = words("m.room.avatar", "").and_then(|words| filled(words.url));
    let is_new = |entry: &Arc<state::StateEntry>| entry.position > reach.from;
    if !state.of_type(MEMBER).any(is_new) {
        return;
    }
    let summary = sum_up(state, me);
    room.joined_count = summary.joined_member_count.map(Into::into);
    room.invited_count = summary.invited_member_count.map(Into::into);
    let named: Option<Words> = state.content("m.room.name");
    if named.and_then(|words| filled(words.name)).is_none() {
        let heroes = summary.heroes.into_iter().map(|user_id| {
            let words = words(MEMBER, user_id.as_str());
            let (displayname, avatar_url) =
                words.map_or((None, None), |words| (words.displayname, words.avatar_url));
            wire::Hero {
                user_id,
                displayname,
                avatar_url,
            }
        });
        room.heroes = Some(heroes.collect());
    }
}
