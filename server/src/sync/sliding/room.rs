//! What a client is told of one room: everything, or what it has not been told.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    OwnedUserId, RoomId, UserId,
    events::{AnySyncStateEvent, AnySyncTimelineEvent, room::member::MembershipState},
    serde::Raw,
};
use serde::Deserialize;

use super::{case::Case, pos::Seen, reach::Reach, wire};
use crate::{
    auth::Device,
    error::Result,
    inbox::{connection::Told, token::Tokens},
    push,
    rooms::{
        access::{self, Readable},
        event::Viewer,
        position,
        relations::Bundler,
        state::{self, StateEntry},
    },
    state::App,
    sync::{room::stripped, summary::sum_up, timeline::Tail},
};

const MEMBER: &str = "m.room.member";

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

/// What is said of a room.
#[derive(Default)]
pub(super) struct Said {
    pub(super) room: wire::Room,
    /// What the client knows then, where that must be kept.
    pub(super) told: Option<Told>,
    /// Whether the extensions are to tell everything of the room.
    pub(super) whole: bool,
    /// From which position on all of the timeline is told.
    pub(super) from: Option<u64>,
    /// Members who are told of because they wrote.
    pub(super) seen: Vec<Seen>,
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
        said.told = Some(case.told(position, BTreeSet::new()));
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
        said.from = Some(tail.start);
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
        let required = required(case, &reach, &lazy, gap, &self.me.user);
        let readable = self.what_is_readable(case, &reach, readable, &tail, &required);
        let readable = readable.await?;
        room.required_state = self.state(&required, readable.as_ref())?;
        room.timeline = self.timeline(&tail, readable.as_ref()).await?;
        let new: Vec<u32> = lazy.iter().map(|user| self.hash(user.as_str())).collect();
        if gap || !case.is_live() || case.asks_more() || case.is_direct_anew() {
            known.extend(new);
            said.told = Some(case.told(reach.end, known));
        } else {
            let room = self.room_hash(&case.entry.room);
            said.seen = new.into_iter().map(|member| (room, member)).collect();
        }
        Ok(said)
    }

    /// What may be read of the room, if that decides what is shown of these events: there is something that refers to
    /// them and that the client does not hear of by itself, or they took the place of what was before the user's time.
    async fn what_is_readable(
        &self,
        case: &Case<'_>,
        reach: &Reach,
        known: Option<Readable>,
        tail: &Tail,
        required: &[&Arc<StateEntry>],
    ) -> Result<Option<Readable>> {
        let is_old = |entry: &&Arc<StateEntry>| {
            entry.position < reach.own && entry.event().replaced.is_some()
        };
        let decides = !reach.stranger
            && (required.iter().any(is_old)
                || (tail.limited && Bundler::is_needed(self.app, &tail.wanted).await?));
        if known.is_some() || !decides {
            return Ok(known);
        }
        let (app, room) = (self.app, &case.entry.room);
        let ignored = self.ignored.clone();
        let readable = access::readable_without(app, &self.me.user, room, ignored).await?;
        Ok(Some(readable))
    }

    async fn timeline(
        &self,
        tail: &Tail,
        readable: Option<&Readable>,
    ) -> Result<Vec<Raw<AnySyncTimelineEvent>>> {
        let viewer = Viewer::new(self.app, self.me);
        let bundles = match readable.filter(|_| tail.limited) {
            Some(readable) => {
                let bundler = Bundler::new(self.app, self.me, readable);
                bundler.bundles(&tail.wanted).await?
            }
            None => vec![None; tail.wanted.len()],
        };
        let shown = tail.wanted.iter().zip(&bundles);
        let shown = shown.map(|((position, event), bundle)| {
            let viewer = match readable {
                Some(readable) => viewer.as_of(readable.membership(*position)),
                None => viewer,
            };
            event.to_sync(viewer.with(bundle.as_deref()))
        });
        shown.collect()
    }

    fn state(
        &self,
        entries: &[&Arc<StateEntry>],
        readable: Option<&Readable>,
    ) -> Result<Vec<Raw<AnySyncStateEvent>>> {
        let viewer = Viewer::new(self.app, self.me);
        let shown = entries.iter().map(|entry| {
            let viewer = match readable {
                Some(readable) => viewer.as_of(readable.membership(entry.position)),
                None => viewer,
            };
            entry.event().to_sync(viewer)
        });
        shown.collect()
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

/// The state that a client asks for and does not know.
fn required<'r>(
    case: &Case<'_>,
    reach: &'r Reach,
    lazy: &BTreeSet<OwnedUserId>,
    gap: bool,
    me: &UserId,
) -> Vec<&'r Arc<StateEntry>> {
    let wanted = |entry: &&Arc<StateEntry>| {
        let (event, new) = (entry.event(), entry.position > reach.from);
        let member = event.target();
        let loaded = member.is_some_and(|user| lazy.contains(&user))
            || (new && !gap && case.wanted.is_lazy() && event.is_state(MEMBER));
        let asked = match (new, &case.before) {
            (true, _) => case.wanted.asks_for(event, me),
            (false, Some(before)) => case.wanted.asks_newly_for(event, me, before),
            (false, None) => case.wanted.asks_for(event, me),
        };
        (!reach.stranger || entry.position == reach.own) && (asked || loaded)
    };
    reach.state.entries().filter(wanted).collect()
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
