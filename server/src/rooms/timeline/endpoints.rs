//! `GET /rooms/{roomId}/event`, `/context` and `/messages`.

use std::{collections::BTreeSet, sync::Arc};

use axum::Router;
use ruma::{
    UInt,
    api::{
        Direction,
        client::{
            context::get_context,
            filter::{LazyLoadOptions, RoomEventFilter},
            message::get_message_events,
            room::get_room_event,
        },
    },
};

use super::{MAX_EVENTS, Stretch, Wanted, asked::Asked, read};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::{
        access,
        event::{StoredEvent, Viewer},
        filter, no_such_event, position,
        reading::shown,
        relations::Bundler,
        state::{RoomState, StateEntry},
    },
    state::App,
};

pub(in crate::rooms) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(event))
        .merge(endpoint::<_, _, _, _>(context))
        .merge(endpoint::<_, _, _, _>(messages))
}

async fn event(
    app: App,
    me: Device,
    request: get_room_event::v3::Request,
) -> Result<get_room_event::v3::Response> {
    let readable = access::readable(&app, &me.user, &request.room_id).await;
    let readable = readable.map_err(hidden)?;
    let (position, event) = readable.event(&app, &request.event_id).await?;
    let found = [(position, event)];
    let mut shown = Bundler::new(&app, &me, &readable).show(&found).await?;
    let event = shown.pop().ok_or_else(no_such_event)?;
    Ok(get_room_event::v3::Response::new(event))
}

/// "The event was not found or you do not have permission to read this event": one answer for both.
fn hidden(error: Error) -> Error {
    match error {
        Error::Matrix { status, .. } if status == http::StatusCode::FORBIDDEN => no_such_event(),
        error => error,
    }
}

async fn messages(
    app: App,
    me: Device,
    Asked { request, related }: Asked,
) -> Result<get_message_events::v3::Response> {
    let readable = access::readable(&app, &me.user, &request.room_id).await?;
    let place = async |token: &Option<String>| match token {
        Some(token) => position::parse(&app, &me, &request.room_id, token)
            .await
            .map(Some),
        None => Ok(None),
    };
    let from = place(&request.from).await?.unwrap_or(match request.dir {
        Direction::Backward => u64::MAX,
        Direction::Forward => 0,
    });
    let stretch = Stretch {
        from,
        to: place(&request.to).await?,
        direction: request.dir,
        limit: limit(request.limit),
    };
    let wanted = Wanted {
        filter: Some(&request.filter),
        related: Some(&related),
    };
    let found = read(&app.store, &readable, stretch, wanted).await?;
    let start = match (request.from, found.events.first()) {
        (Some(token), _) => token,
        (None, Some((first, _))) if request.dir == Direction::Backward => position::token(*first),
        (None, _) => position::token(0),
    };
    let viewer = Viewer::new(&app, &me);
    let mut response = get_message_events::v3::Response::new();
    response.start = start;
    response.end = found.next.map(position::token);
    let bundler = Bundler::new(&app, &me, &readable);
    response.chunk = bundler.show(&found.events).await?;
    if lazy(&request.filter) && !found.events.is_empty() {
        let state = readable.state(&app).await?;
        let members = members_of(&state, &found.events).into_iter();
        response.state = shown(members, &readable, viewer)?;
    }
    Ok(response)
}

async fn context(
    app: App,
    me: Device,
    request: get_context::v3::Request,
) -> Result<get_context::v3::Response> {
    let readable = access::readable(&app, &me.user, &request.room_id).await?;
    let (position, event) = readable.event(&app, &request.event_id).await?;
    let limit = usize::try_from(u64::from(request.limit))
        .unwrap_or(MAX_EVENTS)
        .min(MAX_EVENTS);
    let around = async |from, direction, limit| {
        let stretch = Stretch {
            from,
            to: None,
            direction,
            limit,
        };
        let wanted = Wanted {
            filter: Some(&request.filter),
            related: None,
        };
        read(&app.store, &readable, stretch, wanted)
            .await
            .map(|read| read.events)
    };
    let before = around(position - 1, Direction::Backward, limit / 2).await?;
    let after = around(position, Direction::Forward, limit - limit / 2).await?;
    let first = before.last().map_or(position, |(first, _)| *first);
    let last = after.last().map_or(position, |(last, _)| *last);
    let viewer = Viewer::new(&app, &me);
    let bundler = Bundler::new(&app, &me, &readable);
    let mut response = get_context::v3::Response::new();
    response.start = Some(position::token(first - 1));
    response.end = Some(position::token(last));
    response.events_before = bundler.show(&before).await?;
    response.events_after = bundler.show(&after).await?;
    let middle = [(position, event)];
    response.event = bundler.show(&middle).await?.pop();
    let state = readable.state_at(&app, last).await?;
    response.state = if lazy(&request.filter) {
        let all = [before.as_slice(), &middle, &after].concat();
        shown(members_of(&state, &all).into_iter(), &readable, viewer)?
    } else {
        let entries = state.entries();
        let entries = entries.filter(|entry| filter::matches(&request.filter, entry.event()));
        shown(entries, &readable, viewer)?
    };
    Ok(response)
}

fn limit(asked: UInt) -> usize {
    usize::try_from(u64::from(asked))
        .unwrap_or(MAX_EVENTS)
        .clamp(1, MAX_EVENTS)
}

fn lazy(filter: &RoomEventFilter) -> bool {
    matches!(filter.lazy_load_options, LazyLoadOptions::Enabled { .. })
}

/// The member events of whoever sent these events.
fn members_of<'s>(state: &'s RoomState, events: &[(u64, StoredEvent)]) -> Vec<&'s Arc<StateEntry>> {
    let senders: BTreeSet<&str> = events
        .iter()
        .map(|(_, event)| event.sender.as_str())
        .collect();
    let members = senders
        .into_iter()
        .filter_map(|sender| state.get("m.room.member", sender));
    members.collect()
}
