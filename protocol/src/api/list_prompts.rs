//! `GET /_matrix/client/unstable/chat.respite/rooms/{room_id}/prompts`
//!
//! What is scheduled in a room: to its author and its addressee.

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedRoomId, OwnedUserId,
    api::{auth_scheme::AccessToken, metadata, request, response},
};
use serde::{Deserialize, Serialize};

metadata! {
    method: GET,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/rooms/{room_id}/prompts",
}

/// Asks for a room's prompts.
#[request]
pub struct Request {
    /// The therapy room.
    #[ruma_api(path)]
    pub room_id: OwnedRoomId,
}

/// The prompts of which the caller is author or addressee, by release time.
#[response]
pub struct Response {
    /// At most [`MAX_PROMPTS_PER_ROOM`](super::MAX_PROMPTS_PER_ROOM).
    pub prompts: Vec<Prompt>,
}

/// What the server knows of a prompt: everything but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Names the prompt.
    pub prompt_id: String,
    /// Who wrote it.
    pub sender: OwnedUserId,
    /// Who is asked.
    pub addressee: OwnedUserId,
    /// When it is due.
    pub release_ts: MilliSecondsSinceUnixEpoch,
    /// When it is dropped instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ts: Option<MilliSecondsSinceUnixEpoch>,
    /// It is dropped if the addressee has written since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless_written_since: Option<MilliSecondsSinceUnixEpoch>,
    /// The prompt that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminds: Option<String>,
    /// What became of it.
    pub state: PromptState,
}

/// What became of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptState {
    /// It waits for its time.
    Waiting,
    /// It is in the room.
    Released,
    /// It expired, or the addressee had written.
    Dropped,
    /// Its author or addressee cancelled it.
    Cancelled,
}

impl Request {
    /// Asks for this room's prompts.
    pub fn new(room_id: OwnedRoomId) -> Self {
        Self { room_id }
    }
}

impl Response {
    /// Lists these prompts.
    pub fn new(prompts: Vec<Prompt>) -> Self {
        Self { prompts }
    }
}
