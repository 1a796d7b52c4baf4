//! The request and the answer of `/sync` on the wire: ruma's own, but for what ruma leaves out of the answer: knocks, where
//! there is nothing else of rooms, and what is the default and clients look for.

use std::collections::BTreeMap;

use bytes::BufMut;
use ruma::api::{
    IncomingRequest, OutgoingResponse,
    client::sync::sync_events::v3::{Request, Response},
    error::{FromHttpRequestError, IntoHttpError},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use crate::endpoint::asked_like;

/// What a client asks.
#[derive(Debug)]
pub(super) struct Asked(pub(super) Request);

/// What it is answered.
pub(super) struct Answered(pub(super) Response);

asked_like!(Asked, Request);

impl IncomingRequest for Asked {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Answered;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        Request::try_from_http_request(request, path).map(Self)
    }
}

impl OutgoingResponse for Answered {
    fn try_into_http_response<T: Default + BufMut>(
        self,
    ) -> Result<http::Response<T>, IntoHttpError> {
        let rooms = &self.0.rooms;
        let knocks = !rooms.knock.is_empty() && rooms.is_empty();
        if rooms.join.is_empty() && rooms.leave.is_empty() && !knocks {
            return self.0.try_into_http_response();
        }
        let knocks = knocks
            .then(|| to_raw_value(&json!({ "knock": rooms.knock })))
            .transpose()?;
        let (head, body) = self.0.try_into_http_response::<Vec<u8>>()?.into_parts();
        let mut answer: Parts<'_> = serde_json::from_slice(&body)?;
        if let Some(knocks) = knocks {
            answer.insert("rooms".to_owned(), Part::Ours(knocks));
        }
        change(&mut answer, "rooms", |rooms| {
            for kind in ["join", "leave"] {
                change(rooms, kind, |rooms| {
                    rooms
                        .values_mut()
                        .try_for_each(|room| room.change(spell_out))
                })?;
            }
            Ok(())
        })?;
        let mut body = T::default();
        body.put_slice(&serde_json::to_vec(&answer)?);
        Ok(http::Response::from_parts(head, body))
    }
}

/// An object's fields. Those that stay as they are are not read.
type Parts<'a> = BTreeMap<String, Part<'a>>;

/// A field as ruma has written it, or ours in its place.
enum Part<'a> {
    Theirs(&'a RawValue),
    Ours(Box<RawValue>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Part<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <&'a RawValue>::deserialize(from).map(Self::Theirs)
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(to)
    }
}

impl Part<'_> {
    fn text(&self) -> &RawValue {
        match self {
            Self::Theirs(text) => text,
            Self::Ours(text) => text,
        }
    }

    fn change(
        &mut self,
        how: impl FnOnce(&mut Parts<'_>) -> serde_json::Result<()>,
    ) -> serde_json::Result<()> {
        let mut parts: Parts<'_> = serde_json::from_str(self.text().get())?;
        how(&mut parts)?;
        let changed = to_raw_value(&parts)?;
        *self = Self::Ours(changed);
        Ok(())
    }
}

fn change(
    parts: &mut Parts<'_>,
    name: &str,
    how: impl FnOnce(&mut Parts<'_>) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    parts.get_mut(name).map_or(Ok(()), |part| part.change(how))
}

/// Says whether a room's timeline is limited, and that nothing of its state is told.
fn spell_out(room: &mut Parts<'_>) -> serde_json::Result<()> {
    change(room, "timeline", |timeline| {
        if !timeline.contains_key("limited") {
            timeline.insert("limited".to_owned(), Part::Ours(to_raw_value(&false)?));
        }
        Ok(())
    })?;
    if !["state", "state_after"]
        .iter()
        .any(|name| room.contains_key(*name))
    {
        let none = to_raw_value(&json!({ "events": [] }))?;
        room.insert("state".to_owned(), Part::Ours(none));
    }
    Ok(())
}
