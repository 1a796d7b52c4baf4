//! `GET /_matrix/client/unstable/io.element.msc4360/thread_updates`
//!
//! In which threads, of all rooms that the caller is in, there are new replies, page by page. It goes with the `threads`
//! extension of sliding sync. [MSC4360](https://github.com/matrix-org/matrix-spec-proposals/pull/4360)

use std::collections::BTreeMap;

use ruma::{
    OwnedEventId, OwnedRoomId, UInt,
    api::{Direction, auth_scheme::AccessToken, metadata, request, response},
    events::AnyTimelineEvent,
    serde::Raw,
};
use serde::{Deserialize, Serialize};

metadata! {
    method: GET,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/io.element.msc4360/thread_updates",
}

/// Threads with new replies, by their rooms and the events that they began with.
pub type ThreadUpdates = BTreeMap<OwnedRoomId, BTreeMap<OwnedEventId, ThreadUpdate>>;

/// What is new in a thread.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ThreadUpdate {
    /// The event that it began with, and with it the newest reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_root: Option<Raw<AnyTimelineEvent>>,
    /// Where `/relations` goes on backwards, if there are further new replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
}

/// Asks for threads with new replies.
#[request]
pub struct Request {
    /// Backwards; there is no other direction.
    #[ruma_api(query)]
    pub dir: Direction,
    /// Where to go on.
    #[ruma_api(query)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Since which answer of sliding sync.
    #[ruma_api(query)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How many; 100 at most.
    #[ruma_api(query)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<UInt>,
}

/// A page of them.
#[response]
pub struct Response {
    /// The threads.
    pub chunk: ThreadUpdates,
    /// Where to go on, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

impl Request {
    /// Asks for the first page.
    pub fn new() -> Self {
        Self {
            dir: Direction::Backward,
            from: None,
            to: None,
            limit: None,
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        Self::new()
    }
}

impl Response {
    /// A page, and where to go on.
    pub fn new(chunk: ThreadUpdates, next_batch: Option<String>) -> Self {
        Self { chunk, next_batch }
    }
}
