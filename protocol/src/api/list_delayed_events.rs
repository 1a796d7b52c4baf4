//! `GET /_matrix/client/unstable/org.matrix.msc4140/delayed_events`
//!
//! The caller's events that wait ([MSC4140]).
//!
//! [MSC4140]: https://github.com/matrix-org/matrix-spec-proposals/pull/4140

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedRoomId,
    api::{auth_scheme::AccessToken, metadata, request, response},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

metadata! {
    method: GET,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/org.matrix.msc4140/delayed_events",
}

/// Asks for the caller's events that wait.
#[request]
#[derive(Default)]
pub struct Request {}

/// The caller's events that wait, the next one first.
#[response]
pub struct Response {
    /// Where older revisions of the proposal have them.
    pub delayed_events: Vec<DelayedEvent>,
    /// Where newer ones have them.
    pub scheduled: Vec<DelayedEvent>,
}

/// An event that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DelayedEvent {
    /// Names it. Whoever knows it may restart, send or cancel it.
    pub delay_id: String,
    /// Where it goes.
    pub room_id: OwnedRoomId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its state key, if it is a state event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_key: Option<String>,
    /// How long it waits, in milliseconds.
    pub delay: u64,
    /// When it began to wait.
    pub running_since: MilliSecondsSinceUnixEpoch,
    /// Its content.
    pub content: Box<RawValue>,
}

impl Request {
    /// Asks for the caller's events that wait.
    pub fn new() -> Self {
        Self {}
    }
}

impl Response {
    /// These events.
    pub fn new(events: Vec<DelayedEvent>) -> Self {
        Self {
            delayed_events: events.clone(),
            scheduled: events,
        }
    }
}
