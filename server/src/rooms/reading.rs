//! Reading a room's state and its members.

use std::{collections::BTreeMap, sync::Arc};

use axum::Router;
use ruma::{
    api::client::{
        membership::{get_member_events, joined_members},
        state::{get_state_event_for_key, get_state_events},
    },
    events::AnyStateEvent,
    serde::Raw,
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    access::{Readable, joined, readable},
    event::Viewer,
    position,
    state::StateEntry,
};
use crate::{
    auth::Device,
    endpoint::{LeavesOut, SpelledOut, endpoint, endpoint_at},
    error::{Error, Result},
    state::App,
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(state))
        .merge(endpoint_at::<_, _, _, _>(
            state_event,
            &super::WITHOUT_STATE_KEY,
        ))
        .merge(endpoint::<_, _, _, _>(members))
        .merge(endpoint::<_, _, _, _>(joined_members))
}

async fn state(
    app: App,
    me: Device,
    request: get_state_events::v3::Request,
) -> Result<get_state_events::v3::Response> {
    let readable = readable(&app, &me.user, &request.room_id).await?;
    let state = readable.state(&app).await?;
    let viewer = Viewer::new(&app, &me);
    let events = shown(state.entries(), &readable, viewer)?;
    Ok(get_state_events::v3::Response::new(events))
}

/// State as somebody is shown it who reads a room.
///
/// # Errors
/// What is stored is not JSON.
pub(super) fn shown<'s, T>(
    entries: impl Iterator<Item = &'s Arc<StateEntry>>,
    readable: &Readable,
    viewer: Viewer<'_>,
) -> Result<Vec<Raw<T>>> {
    let shown = entries.map(|entry| {
        let then = readable.membership(entry.position);
        entry.event().to_client(viewer.as_of(then))
    });
    shown.collect()
}

async fn state_event(
    app: App,
    me: Device,
    request: get_state_event_for_key::v3::Request,
) -> Result<get_state_event_for_key::v3::Response> {
    use get_state_event_for_key::v3::{Response, StateEventFormat};
    let readable = readable(&app, &me.user, &request.room_id).await?;
    let state = readable.state(&app).await?;
    let entry = state
        .get(&request.event_type.to_string(), &request.state_key)
        .ok_or_else(|| Error::not_found("The room has no such state."))?;
    if request.format == StateEventFormat::Event {
        let viewer = Viewer::new(&app, &me).as_of(readable.membership(entry.position));
        let event: Raw<AnyStateEvent> = entry.event().to_client(viewer)?;
        return Ok(Response::from(event));
    }
    let content = RawValue::from_string(entry.event().content.clone());
    content
        .map(Response::new)
        .map_err(|_| Error::internal("a stored event's content is not JSON"))
}

/// The position of the event with which a room's creator comes in.
const CREATOR_IS_IN: u64 = 2;

async fn members(
    app: App,
    me: Device,
    request: get_member_events::v3::Request,
) -> Result<get_member_events::v3::Response> {
    let readable = readable(&app, &me.user, &request.room_id).await?;
    let state = match &request.at {
        Some(token) => {
            let at = position::parse(&app, &me, &request.room_id, token).await?;
            // Before its creator came in, there was nobody in the room yet.
            readable.state_at(&app, at.max(CREATOR_IS_IN)).await?
        }
        None => readable.state(&app).await?,
    };
    let viewer = Viewer::new(&app, &me);
    let wanted = |event: &super::event::StoredEvent| {
        event.membership().is_some_and(|membership| {
            request
                .membership
                .as_ref()
                .is_none_or(|only| *only == membership)
                && request
                    .not_membership
                    .as_ref()
                    .is_none_or(|not| *not != membership)
        })
    };
    let members = state
        .of_type("m.room.member")
        .filter(|entry| wanted(entry.event()));
    let chunk = shown(members, &readable, viewer)?;
    Ok(get_member_events::v3::Response::new(chunk))
}

#[derive(Deserialize)]
struct Named {
    displayname: Option<String>,
}

async fn joined_members(
    app: App,
    me: Device,
    SpelledOut(request): SpelledOut<joined_members::v3::Request>,
) -> Result<SpelledOut<joined_members::v3::Response>> {
    let state = joined(&app, &me.user, &request.room_id).await?.state;
    let mut members = BTreeMap::new();
    for user in state.joined() {
        let entry = state.get("m.room.member", user.as_str());
        let mut member = joined_members::v3::RoomMember::new();
        member.display_name = entry
            .and_then(|entry| entry.content())
            .and_then(|named: Named| named.displayname);
        members.insert(user.clone(), member);
    }
    Ok(SpelledOut(joined_members::v3::Response::new(members)))
}

impl LeavesOut for joined_members::v3::Response {
    fn spell_out(answer: &mut Map<String, Value>) {
        let members = answer.get_mut("joined").and_then(Value::as_object_mut);
        let members = members.into_iter().flat_map(Map::values_mut);
        for member in members.filter_map(Value::as_object_mut) {
            for field in ["avatar_url", "display_name"] {
                member.entry(field).or_insert(Value::Null);
            }
        }
    }
}
