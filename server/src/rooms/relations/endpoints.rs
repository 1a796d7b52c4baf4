//! `GET /rooms/{roomId}/relations/{eventId}`

use axum::Router;
use ruma::{
    EventId, RoomId, UInt,
    api::{
        Direction,
        client::relations::{
            get_relating_events, get_relating_events_with_rel_type,
            get_relating_events_with_rel_type_and_event_type,
        },
    },
    events::AnyMessageLikeEvent,
    serde::Raw,
};

use super::{Bundler, RELATIONS, recursion};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::Result,
    rooms::{
        access::{self, Readable},
        event::{StoredEvent, TIMELINE},
        position,
    },
    state::App,
    store::Page,
};

/// How many events one request is answered with, if it does not say.
const DEFAULT_EVENTS: usize = 50;
/// The most events that one request is answered with.
const MAX_EVENTS: usize = 100;
/// How many relations are read at once.
const PAGE: usize = 500;
/// The most relations that one request looks at; where few of them are wanted, there is a token to go on with.
const MAX_SCANNED: usize = 5_000;

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(any))
        .merge(endpoint::<_, _, _, _>(of_type))
        .merge(endpoint::<_, _, _, _>(of_type_and_kind))
}

/// What is asked for.
struct Query<'a> {
    room: &'a RoomId,
    event: &'a EventId,
    rel_type: Option<String>,
    kind: Option<String>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    direction: Direction,
    limit: Option<UInt>,
    recurse: bool,
}

/// The part of a room's timeline that is asked for, in the direction of reading.
struct Bounds {
    backwards: bool,
    /// Right after which position it begins.
    from: u64,
    to: Option<u64>,
    limit: usize,
}

/// What is answered.
struct Found {
    chunk: Vec<Raw<AnyMessageLikeEvent>>,
    next: Option<String>,
    depth: Option<UInt>,
}

async fn any(
    app: App,
    me: Device,
    request: get_relating_events::v1::Request,
) -> Result<get_relating_events::v1::Response> {
    let query = Query {
        room: &request.room_id,
        event: &request.event_id,
        rel_type: None,
        kind: None,
        from: request.from.as_deref(),
        to: request.to.as_deref(),
        direction: request.dir,
        limit: request.limit,
        recurse: request.recurse,
    };
    let found = query.run(&app, &me).await?;
    let mut response = get_relating_events::v1::Response::new(found.chunk);
    response.next_batch = found.next;
    response.prev_batch = request.from;
    response.recursion_depth = found.depth;
    Ok(response)
}

async fn of_type(
    app: App,
    me: Device,
    request: get_relating_events_with_rel_type::v1::Request,
) -> Result<get_relating_events_with_rel_type::v1::Response> {
    let query = Query {
        room: &request.room_id,
        event: &request.event_id,
        rel_type: Some(request.rel_type.to_string()),
        kind: None,
        from: request.from.as_deref(),
        to: request.to.as_deref(),
        direction: request.dir,
        limit: request.limit,
        recurse: request.recurse,
    };
    let found = query.run(&app, &me).await?;
    let mut response = get_relating_events_with_rel_type::v1::Response::new(found.chunk);
    response.next_batch = found.next;
    response.prev_batch = request.from;
    response.recursion_depth = found.depth;
    Ok(response)
}

async fn of_type_and_kind(
    app: App,
    me: Device,
    request: get_relating_events_with_rel_type_and_event_type::v1::Request,
) -> Result<get_relating_events_with_rel_type_and_event_type::v1::Response> {
    let query = Query {
        room: &request.room_id,
        event: &request.event_id,
        rel_type: Some(request.rel_type.to_string()),
        kind: Some(request.event_type.to_string()),
        from: request.from.as_deref(),
        to: request.to.as_deref(),
        direction: request.dir,
        limit: request.limit,
        recurse: request.recurse,
    };
    let found = query.run(&app, &me).await?;
    let mut response =
        get_relating_events_with_rel_type_and_event_type::v1::Response::new(found.chunk);
    response.next_batch = found.next;
    response.prev_batch = request.from;
    response.recursion_depth = found.depth;
    Ok(response)
}

impl Query<'_> {
    async fn run(self, app: &App, me: &Device) -> Result<Found> {
        let readable = access::readable(app, &me.user, self.room).await?;
        readable.event(app, self.event).await?;
        let bounds = self.bounds(app, me).await?;
        let (positions, next) = match self.recurse {
            true => self.recursed(app, &readable, &bounds).await?,
            false => self.direct(app, &readable, &bounds).await?,
        };
        let events = app.store.entries(&TIMELINE, self.room, &positions).await?;
        let wanted =
            |event: &StoredEvent| event.redacted_because.is_none() && !readable.ignores(event);
        let events: Vec<(u64, StoredEvent)> = positions
            .into_iter()
            .zip(events)
            .filter_map(|(position, event)| Some((position, event.filter(wanted)?)))
            .collect();
        Ok(Found {
            chunk: Bundler::new(app, me, &readable).show(&events).await?,
            next: next.map(position::token),
            depth: self.recurse.then(|| UInt::from(recursion::DEPTH)),
        })
    }

    async fn bounds(&self, app: &App, me: &Device) -> Result<Bounds> {
        let backwards = self.direction == Direction::Backward;
        let place = async |token: Option<&str>| match token {
            Some(token) => position::parse(app, me, self.room, token).await.map(Some),
            None => Ok(None),
        };
        Ok(Bounds {
            backwards,
            from: place(self.from)
                .await?
                .unwrap_or(if backwards { u64::MAX } else { 0 }),
            to: place(self.to).await?,
            limit: self.limit.map_or(DEFAULT_EVENTS, |limit| {
                usize::try_from(u64::from(limit))
                    .unwrap_or(MAX_EVENTS)
                    .clamp(1, MAX_EVENTS)
            }),
        })
    }

    /// Where what refers to the event itself is, and where to go on.
    async fn direct(
        &self,
        app: &App,
        readable: &Readable,
        bounds: &Bounds,
    ) -> Result<(Vec<u64>, Option<u64>)> {
        let key = (self.room, self.event);
        let page = Page {
            limit: PAGE,
            backwards: bounds.backwards,
        };
        // The first position that is looked at lies right behind this one.
        let mut at = bounds.start();
        let mut positions = Vec::new();
        for _ in 0..MAX_SCANNED / PAGE {
            let found = app
                .store
                .scan_after(&RELATIONS, key, (key.0, key.1, at), page)
                .await?;
            let last = found.len() < PAGE;
            for ((.., position), relation) in found {
                if bounds.ends_before(position) {
                    return Ok((positions, None));
                }
                if readable.sees(position) && self.wants(&relation.rel_type, &relation.kind) {
                    if positions.len() == bounds.limit {
                        return Ok((positions, Some(bounds.after(at))));
                    }
                    positions.push(position);
                }
                at = position;
            }
            if last {
                return Ok((positions, None));
            }
        }
        Ok((positions, Some(bounds.after(at))))
    }

    /// The same, of what refers to what refers to it too.
    async fn recursed(
        &self,
        app: &App,
        readable: &Readable,
        bounds: &Bounds,
    ) -> Result<(Vec<u64>, Option<u64>)> {
        let found = recursion::below(&app.store, self.room, self.event).await?;
        let mut positions: Vec<u64> = found
            .into_iter()
            .filter(|(position, rel_type, related)| {
                bounds.contains(*position)
                    && readable.sees(*position)
                    && self.wants(rel_type, &related.kind)
            })
            .map(|(position, ..)| position)
            .collect();
        positions.sort_unstable();
        if bounds.backwards {
            positions.reverse();
        }
        let more = positions.len() > bounds.limit;
        positions.truncate(bounds.limit);
        let next = positions.last().filter(|_| more);
        let next = next.map(|last| bounds.after(*last));
        Ok((positions, next))
    }

    fn wants(&self, rel_type: &str, kind: &str) -> bool {
        self.rel_type
            .as_ref()
            .is_none_or(|wanted| wanted == rel_type)
            && self.kind.as_ref().is_none_or(|wanted| wanted == kind)
    }
}

impl Bounds {
    fn start(&self) -> u64 {
        if self.backwards {
            self.from.saturating_add(1)
        } else {
            self.from
        }
    }

    fn ends_before(&self, position: u64) -> bool {
        self.to.is_some_and(|to| match self.backwards {
            true => position <= to,
            false => position > to,
        })
    }

    fn contains(&self, position: u64) -> bool {
        let begun = match self.backwards {
            true => position <= self.from,
            false => position > self.from,
        };
        begun && !self.ends_before(position)
    }

    /// Where to go on after a position.
    fn after(&self, position: u64) -> u64 {
        if self.backwards {
            position.saturating_sub(1)
        } else {
            position
        }
    }
}
