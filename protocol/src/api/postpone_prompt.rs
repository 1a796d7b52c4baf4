//! `POST /_matrix/client/unstable/chat.respite/prompts/{prompt_id}/postpone`
//!
//! Moves a waiting prompt. Its author and its addressee may; to anyone else, and once it has been
//! released or dropped, it is `M_NOT_FOUND`.

use ruma::{
    MilliSecondsSinceUnixEpoch,
    api::{auth_scheme::AccessToken, metadata, request, response},
};

metadata! {
    method: POST,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/prompts/{prompt_id}/postpone",
}

/// Asks for another release time.
#[request]
pub struct Request {
    /// The prompt.
    #[ruma_api(path)]
    pub prompt_id: String,

    /// Its new time, at most [`MAX_PROMPT_AHEAD_MS`](super::MAX_PROMPT_AHEAD_MS) from now. An
    /// expiry moves by as much.
    pub release_ts: MilliSecondsSinceUnixEpoch,
}

/// The prompt has moved.
#[response]
#[derive(Default)]
pub struct Response {}

impl Request {
    /// Moves this prompt to this time.
    pub fn new(prompt_id: String, release_ts: MilliSecondsSinceUnixEpoch) -> Self {
        Self {
            prompt_id,
            release_ts,
        }
    }
}

impl Response {
    /// The prompt has moved.
    pub fn new() -> Self {
        Self {}
    }
}
