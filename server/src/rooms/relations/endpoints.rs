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

use super::{RELATIONS, Relation};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::Result,
    rooms::{
        access::{self, Readable},
        event::{StoredEvent, TIMELINE, Viewer},
        position,
    },
    state::App,
    store::Page,
};

/// How many events one request is answered with, if it does not say.
const DEFAULT_EVENTS: usize = 50;
/// The most events that one request is answered with.
const MAX_EVENTS: usize = 100;
/// The most relations that one request looks at.
const MAX_SCANNED: usize = 5_000;

pub(in crate::rooms) fn router() -> Router<App> {
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
}

/// What is answered.
struct Found {
    chunk: Vec<Raw<AnyMessageLikeEvent>>,
    next: Option<String>,
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
    };
    let found = query.run(&app, &me).await?;
    let mut response = get_relating_events::v1::Response::new(found.chunk);
    response.next_batch = found.next;
    response.prev_batch = request.from;
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
    };
    let found = query.run(&app, &me).await?;
    let mut response = get_relating_events_with_rel_type::v1::Response::new(found.chunk);
    response.next_batch = found.next;
    response.prev_batch = request.from;
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
    };
    let found = query.run(&app, &me).await?;
    let mut response =
        get_relating_events_with_rel_type_and_event_type::v1::Response::new(found.chunk);
    response.next_batch = found.next;
    response.prev_batch = request.from;
    Ok(response)
}

impl Query<'_> {
    async fn run(self, app: &App, me: &Device) -> Result<Found> {
        let readable = access::readable(app, &me.user, self.room).await?;
        readable.event(app, self.event).await?;
        let limit = self.limit.map_or(DEFAULT_EVENTS, |limit| {
            usize::try_from(u64::from(limit))
                .unwrap_or(MAX_EVENTS)
                .clamp(1, MAX_EVENTS)
        });
        let positions = self.positions(app, me, &readable).await?;
        let more = positions.len() > limit;
        let positions: Vec<u64> = positions.into_iter().take(limit).collect();
        let events = app.store.entries(&TIMELINE, self.room, &positions).await?;
        let viewer = Viewer::new(app, me);
        let show = |(position, event): (&u64, StoredEvent)| {
            event.to_client(viewer.as_of(readable.membership(*position)))
        };
        let chunk = positions
            .iter()
            .zip(events)
            .filter_map(|(position, event)| Some((position, event?)))
            .filter(|(_, event)| event.redacted_because.is_none())
            .map(show)
            .collect::<Result<_>>()?;
        let next = positions
            .last()
            .filter(|_| more)
            .map(|last| match self.direction {
                Direction::Backward => position::token(last - 1),
                Direction::Forward => position::token(*last),
            });
        Ok(Found { chunk, next })
    }

    /// Where the relations are that are asked for and may be read, in the direction of reading.
    async fn positions(&self, app: &App, me: &Device, readable: &Readable) -> Result<Vec<u64>> {
        let backwards = self.direction == Direction::Backward;
        let place = async |token: Option<&str>| match token {
            Some(token) => position::parse(app, me, self.room, token).await.map(Some),
            None => Ok(None),
        };
        let (from, to) = (place(self.from).await?, place(self.to).await?);
        let page = Page {
            limit: MAX_SCANNED,
            backwards,
        };
        let key = (self.room, self.event);
        let start = match from {
            Some(from) if backwards => from.saturating_add(1),
            None if backwards => u64::MAX,
            from => from.unwrap_or(0),
        };
        let found = app
            .store
            .scan_after(&RELATIONS, key, (key.0, key.1, start), page)
            .await?;
        let before_end = |position: u64| match to {
            Some(to) if backwards => position > to,
            Some(to) => position <= to,
            None => true,
        };
        Ok(found
            .into_iter()
            .map(|((.., position), relation)| (position, relation))
            .take_while(|(position, _)| before_end(*position))
            .filter(|(position, relation)| readable.sees(*position) && self.wants(relation))
            .map(|(position, _)| position)
            .collect())
    }

    fn wants(&self, relation: &Relation) -> bool {
        self.rel_type
            .as_ref()
            .is_none_or(|rel_type| *rel_type == relation.rel_type)
            && self.kind.as_ref().is_none_or(|kind| *kind == relation.kind)
    }
}
