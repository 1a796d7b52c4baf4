//! A room's timeline and the state that belongs to it, so that a client that puts the two together knows the room.

mod lazy;

use http::StatusCode;
use ruma::{
    RoomId, UserId,
    api::client::{
        filter::EventFormat,
        sync::sync_events::v3::{RoomSummary, State, StateEvents, Timeline},
    },
    events::{AnySyncStateEvent, AnySyncTimelineEvent, room::member::MembershipState},
    room_version_rules::RoomVersionRules,
    serde::Raw,
};
use serde_json::value::RawValue;

use super::{
    room::{Extent, Teller, Telling},
    select::only_fields,
    summary::sum_up,
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
        state,
    },
};

const MEMBER: &str = "m.room.member";

/// An event and its position.
type At<'e> = (u64, &'e StoredEvent);

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
    /// Where the user came to be what they are in the room.
    own: u64,
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
        // Who is not in it learns nothing of what it became after their time, even if they were banned since.
        let end = match &presence {
            Presence::Anew(readable) if !joined => end.min(readable.last()),
            _ => end,
        };
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
            usize::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT)
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
            own: membership.position,
            since,
            limited,
            rules: as_exchanged(teller, room).await?,
        })
    }

    /// Puts it into words. `telling` learns who has come into view and who has gone, and whom the client knows then.
    pub(super) async fn tell(self, telling: &mut Telling) -> Result<Told> {
        let (me, people) = (&self.teller.me.user, &mut telling.people);
        let gap = self.since < self.tail.start;
        let before = match (gap || self.lazy().is_some()) && self.since < u64::MAX {
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
        let earlier: Vec<At<'_>> = entries
            .map(|entry| (entry.position, entry.event()))
            .collect();
        let within = self.tail.state();
        let within = || within.iter().map(|(at, event)| (*at, event));
        let changes = || earlier.iter().copied().chain(within());

        // Of a gap only each person's newest event is known: whoever came in it may have changed their name since.
        people.see(me, earlier.iter().map(|(_, event)| *event), true);
        people.see(me, within().map(|(_, event)| event), self.since == 0);
        let out = !self.joined && self.since < u64::MAX;
        let summed_up = self.joined && changes().any(|(_, event)| event.is_state(MEMBER));
        let mut summary = RoomSummary::new();
        if out || summed_up {
            let after = state::at(self.teller.app, self.room, self.end).await?;
            if self.joined {
                summary = sum_up(&after, me);
            } else {
                people.lose(me, after.joined());
            }
        }
        let unwanted = self.tail.unwanted.iter().map(|(at, event)| (*at, event));
        let changes: Vec<At<'_>> = match self.teller.state_after {
            true => changes().collect(),
            false => earlier.iter().copied().chain(unwanted).collect(),
        };
        let state = self.state(changes, before.as_deref(), &summary, &mut telling.known);
        let state = self.show(&state).await?;
        Ok(Told {
            timeline: self.timeline().await?,
            state: as_asked(self.teller.state_after, state),
            summary,
        })
    }

    fn shown<T>(&self, event: &StoredEvent, viewer: Viewer<'_>) -> Result<Raw<T>> {
        match &self.rules {
            Some(rules) => event.to_exchanged(rules, viewer),
            None => event.to_sync(viewer),
        }
    }

    /// State events, each as this user may see it.
    async fn show(&self, events: &[At<'_>]) -> Result<Vec<Raw<AnySyncStateEvent>>> {
        let viewer = Viewer::new(self.teller.app, self.teller.me);
        let fields = self.teller.filter.event_fields.as_deref();
        let is_old = |(at, event): &At<'_>| *at <= self.own && event.replaced.is_some();
        let read;
        let readable = match &self.presence {
            Presence::Anew(readable) => Some(readable),
            _ if events.iter().any(is_old) => {
                read = readable(self.teller, self.room, self.joined).await?;
                read.as_ref()
            }
            _ => None,
        };
        let shown = events.iter().map(|(at, event)| {
            let viewer = match readable {
                Some(readable) => viewer.as_of(readable.membership(*at)),
                None => viewer,
            };
            only_fields(self.shown(event, viewer)?, fields)
        });
        shown.collect()
    }

    /// What the events are shown with: nothing, where the client hears of what refers to them by itself.
    async fn bundles(&self) -> Result<Vec<Option<Box<RawValue>>>> {
        let (app, me) = (self.teller.app, self.teller.me);
        let wanted = &self.tail.wanted;
        match &self.presence {
            _ if !self.limited || !self.joined || !Bundler::is_needed(app, wanted).await? => {
                Ok(vec![None; wanted.len()])
            }
            Presence::Anew(readable) => Bundler::new(app, me, readable).bundles(wanted).await,
            _ => match readable(self.teller, self.room, self.joined).await? {
                Some(readable) => Bundler::new(app, me, &readable).bundles(wanted).await,
                None => Ok(vec![None; wanted.len()]),
            },
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

/// What the user may read of a room; `None` for somebody who was invited and declined, and never was in it.
async fn readable(teller: &Teller<'_>, room: &RoomId, joined: bool) -> Result<Option<Readable>> {
    let ignored = teller.ignored.clone();
    match access::readable_without(teller.app, &teller.me.user, room, ignored).await {
        Ok(readable) => Ok(Some(readable)),
        Err(Error::Matrix {
            status: StatusCode::FORBIDDEN,
            ..
        }) if !joined => Ok(None),
        Err(error) => Err(error),
    }
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
    let readable = readable(teller, room, joined).await?;
    Ok(readable.map_or(Presence::Passing, Presence::Anew))
}

fn came_in(tail: &Tail, user: &UserId) -> bool {
    tail.state().iter().any(|(_, event)| {
        event.state_key.as_deref() == Some(user.as_str())
            && event.membership() == Some(MembershipState::Join)
    })
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
