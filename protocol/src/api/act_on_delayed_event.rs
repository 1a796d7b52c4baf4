//! `POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/{action}`
//!
//! Restarts, sends or cancels an event that waits ([MSC4140]). Whoever knows its id may.
//!
//! [MSC4140]: https://github.com/matrix-org/matrix-spec-proposals/pull/4140

use ruma::api::{
    auth_scheme::NoAccessToken,
    client::delayed_events::update_delayed_event::unstable::UpdateAction, metadata, request,
    response,
};

metadata! {
    method: POST,
    rate_limited: true,
    authentication: NoAccessToken,
    path: "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delay_id}/{action}",
}

/// What is to become of an event that waits.
#[request]
pub struct Request {
    /// Names it.
    #[ruma_api(path)]
    pub delay_id: String,
    /// `restart`, `send` or `cancel`.
    #[ruma_api(path)]
    pub action: UpdateAction,
}

/// It has become so.
#[response]
#[derive(Default)]
pub struct Response {}

impl Request {
    /// This is to become of it.
    pub fn new(delay_id: String, action: UpdateAction) -> Self {
        Self { delay_id, action }
    }
}

impl Response {
    /// It has become so.
    pub fn new() -> Self {
        Self {}
    }
}
