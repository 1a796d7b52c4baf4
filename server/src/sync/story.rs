//! A room's timeline and the state that belongs to it, so that a client that puts the two together knows the room.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use ruma::{
    OwnedUserId, RoomId, UInt, UserId,
    api::client::{
        filter::{EventFormat, LazyLoadOptions},
        sync::sync_events::v3::{RoomSummary, State, StateEvents, Timeline},
    },
    events::{AnySyncStateEvent, AnySyncTimelineEvent, room::member::MembershipState},
    room_version_rules::RoomVersionRules,
    serde::Raw,
};
use serde_json::value::RawValue;

use super::{
    devices::People,
    room::{Extent, Teller},
    select::only_fields,
    timeline::{DEFAULT_LIMIT, MAX_LIMIT, Source, Tail},
};
use crate::{
    error::{Error, Result},
    rooms::{
        access::{self, Readable},
        event::{StoredEvent, Viewer},
        filter::matches,
        membership::Membership,
        position,
        relations::Bundler,
        state::{self, RoomState},
    },
};

/// How many people a room may be named after.
const MAX_HEROES: usize = 5;
const MEMBER: &str = "m.room.member";

/// What a client is told of a room's history.
pub(super) struct Told {
    /// The events.
    pub(super) timeline: Timeline,
    /// The state before or after them.
    pub(super) state: State,
    /// Who is there, if that has changed.
    pub(super) summary: RoomSummary,
}

/// How the user was in the room since the client last heard of it.
enum Presence {
    /// All the time.
    Throughout,
    /// Not all the time, or the client is told of everything: it knows nothing, and gets what may be read.
    Anew(Readable),
    /// They are out, and were not in it all the time before that: only what reached them is told.
    Passing,
}

/// A stretch of a room's history as it is read.
pub(super) struct Story<'a> {
    teller: &'a Teller<'a>,
    room: &'a RoomId,
    presence: Presence,
    tail: Tail,
    end: u64,
    joined: bool,
    /// The first position that the client does not know about.
    since: u64,
    /// Earlier events were left out that the client will want to ask for.
    limited: bool,
    /// The rules of the room's version, if the client wants events as servers exchange them.
    rules: Option<RoomVersionRules>,
}

impl Told {
    /// No event.
    pub(super) fn nothing(state_after: bool) -> Self {
        Self {
            timeline: Timeline::new(),
            state: as_asked(state_after, Vec::new()),
            summary: RoomSummary::new(),
        }
    }
}

impl<'a> Story<'a> {
    /// Reads the timeline up to the position `end`, right after which the user is in the room or not.
    pub(super) async fn read(
        teller: &'a Teller<'a>,
        room: &'a RoomId,
        membership: &Membership,
        extent: &Extent<'_>,
        end: u64,
        joined: bool,
    ) -> Result<Self> {
        let presence = presence(teller, room, membership, extent, joined).await?;
        let own = [membership.position];
        let source = match (&presence, extent) {
            (Presence::Anew(readable), _) => Source::History { end, readable },
            (_, Extent::New(news)) => Source::Positions(&news.events),
            (_, Extent::Whole(_)) => Source::Positions(&own),
        };
        let filter = &teller.filter.room.timeline;
        let wants = |event: &StoredEvent| {
            matches(filter, event)
                && (event.state_key.is_some() || !teller.ignored.contains(&event.sender))
        };
        let limit = filter.limit.map_or(DEFAULT_LIMIT, |limit| {
            usize::try_from(limit)
                .unwrap_or(MAX_LIMIT)
                .clamp(1, MAX_LIMIT)
        });
        let tail = Tail::read(&teller.app.store, room, source, end, limit, wants).await?;
        let (since, limited) = match (&presence, extent) {
            (Presence::Throughout, Extent::New(_)) if teller.full_state => (0, tail.limited),
            (Presence::Throughout, Extent::New(news)) => (
                news.events.first().copied().unwrap_or_default(),
                tail.limited,
            ),
            (Presence::Anew(_), Extent::New(_)) => (0, true),
            (Presence::Passing, Extent::New(_)) if came_in(&tail, &teller.me.user) => (0, true),
            (Presence::Passing, _) => (u64::MAX, tail.limited),
            (_, Extent::Whole(_)) => (0, tail.start > 1),
        };
        Ok(Self {
            teller,
            room,
            presence,
            tail,
            end,
            joined,
            since,
            limited,
            rules: as_exchanged(teller, room).await?,
        })
    }

    /// Puts it into words. `people` learns who has come into view and who has gone.
    pub(super) async fn tell(self, people: &mut People) -> Result<Told> {
        let me = &self.teller.me.user;
        let gap = self.since < self.tail.start;
        let before = match (gap || self.lazy()) && self.since < u64::MAX {
            true => Some(
                state::at(
                    self.teller.app,
                    self.room,
                    self.tail.start.saturating_sub(1),
                )
                .await?,
            ),
            false => None,
        };
        let entries = before
            .iter()
            .filter(|_| gap)
            .flat_map(|state| state.entries());
        let entries = entries.filter(|entry| entry.position >= self.since);
        let earlier: Vec<&StoredEvent> = entries.map(|entry| entry.event()).collect();
        let within = self.tail.state();
        let changes = || earlier.iter().chain(&within).copied();

        // Of a gap only each person's newest event is known: whoever came in it may have changed their name since.
        people.see(me, earlier.iter().copied(), true);
        people.see(me, within.iter().copied(), self.since == 0);
        let out = !self.joined && self.since < u64::MAX;
        let summed_up = self.joined && changes().any(|event| event.is_state(MEMBER));
        let mut summary = RoomSummary::new();
        if out || summed_up {
            let after = state::at(self.teller.app, self.room, self.end).await?;
            if self.joined {
                summary = sum_up(&after, me);
            } else {
                people.lose(me, after.joined());
            }
        }
        let state = if self.teller.state_after {
            self.state(changes(), before.as_deref(), &summary)?
        } else {
            let unwanted = self.tail.unwanted.iter().map(|(_, event)| event);
            self.state(
                earlier.iter().copied().chain(unwanted),
                before.as_deref(),
                &summary,
            )?
        };
        let state = as_asked(self.teller.state_after, state);
        Ok(Told {
            timeline: self.timeline().await?,
            state,
            summary,
        })
    }

    fn lazy(&self) -> bool {
        let options = &self.teller.filter.room.state.lazy_load_options;
        matches!(options, LazyLoadOptions::Enabled { .. })
    }

    /// The newest of the events for each type and key, as far as the client wants them. With lazy loading, a client that
    /// knows nothing is told only of the members it needs, and one that knows the room is told again of those who wrote.
    fn state<'e>(
        &'e self,
        events: impl Iterator<Item = &'e StoredEvent>,
        before: Option<&'e RoomState>,
        summary: &RoomSummary,
    ) -> Result<Vec<Raw<AnySyncStateEvent>>> {
        let mut newest: BTreeMap<_, &StoredEvent> = events
            .map(|event| ((&*event.kind, event.state_key.as_deref()), event))
            .collect();
        if self.lazy() {
            let needed = self.needed(summary);
            if self.since == 0 {
                newest.retain(|(kind, key), _| {
                    *kind != MEMBER || key.is_some_and(|key| needed.contains(key))
                });
            }
            let within = self.tail.state();
            for user in needed {
                let told = within
                    .iter()
                    .any(|event| event.kind == MEMBER && event.state_key.as_deref() == Some(user));
                if !told && let Some(entry) = before.and_then(|state| state.get(MEMBER, user)) {
                    newest
                        .entry((MEMBER, entry.event().state_key.as_deref()))
                        .or_insert(entry.event());
                }
            }
        }
        let filter = &self.teller.filter.room.state;
        let viewer = Viewer::new(self.teller.app, self.teller.me);
        let fields = self.teller.filter.event_fields.as_deref();
        newest
            .into_values()
            .filter(|event| matches(filter, event))
            .map(|event| only_fields(self.shown(event, viewer)?, fields))
            .collect()
    }

    fn shown<T>(&self, event: &StoredEvent, viewer: Viewer<'_>) -> Result<Raw<T>> {
        match &self.rules {
            Some(rules) => event.to_exchanged(rules, viewer),
            None => event.to_sync(viewer),
        }
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

    /// What the events are shown with: nothing, where the client hears of what refers to them by itself.
    async fn bundles(&self) -> Result<Vec<Option<Box<RawValue>>>> {
        let (app, me) = (self.teller.app, self.teller.me);
        let wanted = &self.tail.wanted;
        match &self.presence {
            _ if !self.limited || !self.joined => Ok(vec![None; wanted.len()]),
            Presence::Anew(readable) => Bundler::new(app, me, readable).bundles(wanted).await,
            _ => {
                let readable = readable(self.teller, self.room).await?;
                Bundler::new(app, me, &readable).bundles(wanted).await
            }
        }
    }

    async fn timeline(&self) -> Result<Timeline> {
        let bundles = self.bundles().await?;
        let viewer = Viewer::new(self.teller.app, self.teller.me);
        let fields = self.teller.filter.event_fields.as_deref();
        let mut timeline = Timeline::new();
        for ((at, event), bundle) in self.tail.wanted.iter().zip(&bundles) {
            let viewer = match &self.presence {
                Presence::Anew(readable) => viewer.as_of(readable.membership(*at)),
                _ => viewer,
            };
            let shown: Raw<AnySyncTimelineEvent> =
                self.shown(event, viewer.with(bundle.as_deref()))?;
            timeline.events.push(only_fields(shown, fields)?);
        }
        timeline.limited = self.limited;
        if self.since < u64::MAX {
            timeline.prev_batch = Some(position::token(self.tail.start.saturating_sub(1)));
        }
        Ok(timeline)
    }
}

async fn as_exchanged(teller: &Teller<'_>, room: &RoomId) -> Result<Option<RoomVersionRules>> {
    if teller.filter.event_format != EventFormat::Federation {
        return Ok(None);
    }
    let state = state::current(teller.app, room).await?;
    Ok(state.map(|state| state.rules().clone()))
}

async fn readable(teller: &Teller<'_>, room: &RoomId) -> Result<Readable> {
    let ignored = teller.ignored.clone();
    access::readable_without(teller.app, &teller.me.user, room, ignored).await
}

async fn presence(
    teller: &Teller<'_>,
    room: &RoomId,
    membership: &Membership,
    extent: &Extent<'_>,
    joined: bool,
) -> Result<Presence> {
    if let Extent::New(news) = extent
        && news.unbroken()
    {
        let first = news.events.first().copied().unwrap_or_default();
        let throughout = match news.events.is_empty() {
            true => joined,
            false => {
                membership.position < first
                    || state::at(teller.app, room, first.saturating_sub(1))
                        .await?
                        .is_joined(&teller.me.user)
            }
        };
        if throughout {
            return Ok(Presence::Throughout);
        }
    }
    if !joined && matches!(extent, Extent::New(_)) {
        return Ok(Presence::Passing);
    }
    match readable(teller, room).await {
        Ok(readable) => Ok(Presence::Anew(readable)),
        // Somebody who was invited and declined never was in the room.
        Err(Error::Matrix {
            status: StatusCode::FORBIDDEN,
            ..
        }) if !joined => Ok(Presence::Passing),
        Err(error) => Err(error),
    }
}

fn came_in(tail: &Tail, user: &UserId) -> bool {
    tail.state().iter().any(|event| {
        event.state_key.as_deref() == Some(user.as_str())
            && event.membership() == Some(MembershipState::Join)
    })
}

/// Who is in a room, and after whom it is called.
pub(super) fn sum_up(state: &RoomState, me: &UserId) -> RoomSummary {
    let mut others: Vec<(bool, u64, OwnedUserId)> = Vec::new();
    let mut invited = 0_u64;
    for entry in state.of_type(MEMBER) {
        let event = entry.event();
        let (Some(user), Some(membership)) = (event.target(), event.membership()) else {
            continue;
        };
        let there = matches!(membership, MembershipState::Join | MembershipState::Invite);
        invited += u64::from(membership == MembershipState::Invite);
        if user != me && membership != MembershipState::Knock {
            others.push((!there, entry.position, user));
        }
    }
    others.sort();
    // People who have left name the room only when nobody else is there.
    let alone = others.first().is_none_or(|(gone, ..)| *gone);
    let heroes = others.into_iter().filter(|(gone, ..)| *gone == alone);
    let mut summary = RoomSummary::new();
    summary.heroes = heroes.map(|(.., user)| user).take(MAX_HEROES).collect();
    summary.joined_member_count = Some(UInt::new_saturating(state.joined().len() as u64));
    summary.invited_member_count = Some(UInt::new_saturating(invited));
    summary
}

fn as_asked(state_after: bool, events: Vec<Raw<AnySyncStateEvent>>) -> State {
    let mut state = StateEvents::new();
    state.events = events;
    if state_after {
        State::After(state)
    } else {
        State::Before(state)
    }
}
