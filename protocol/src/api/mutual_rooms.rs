//! `GET /_matrix/client/v1/mutual_rooms`
//!
//! The rooms that the caller shares with somebody, page by page. An endpoint of the specification, of which ruma knows an
//! earlier form only; that one's path is served too.

use ruma::{
    OwnedRoomId, OwnedUserId, UInt,
    api::{auth_scheme::AccessToken, metadata, request, response},
};

metadata! {
    method: GET,
    rate_limited: true,
    authentication: AccessToken,
    history: {
        unstable("uk.half-shot.msc2666.query_mutual_rooms") => "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms",
        1.18 => "/_matrix/client/v1/mutual_rooms",
    }
}

/// Asks for the rooms that the caller shares with somebody.
#[request]
pub struct Request {
    /// With whom.
    #[ruma_api(query)]
    pub user_id: OwnedUserId,
    /// Where to go on.
    #[ruma_api(query)]
    #[serde(alias = "batch_token", skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// The rooms, in the order of their ids.
#[response]
pub struct Response {
    /// The rooms that both are in.
    pub joined: Vec<OwnedRoomId>,
    /// How many there are, on all pages.
    pub count: UInt,
    /// Where to go on, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// The same, as it was called before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch_token: Option<String>,
}

impl Request {
    /// Asks for the first page of the rooms shared with somebody.
    pub fn new(user_id: OwnedUserId) -> Self {
        Self {
            user_id,
            from: None,
        }
    }
}

impl Response {
    /// A page of so many rooms, and where to go on.
    pub fn new(joined: Vec<OwnedRoomId>, count: UInt, next: Option<String>) -> Self {
        Self {
            joined,
            count,
            next_batch: next.clone(),
            next_batch_token: next,
        }
    }
}
