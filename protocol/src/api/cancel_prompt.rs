//! `DELETE /_matrix/client/unstable/chat.respite/prompts/{prompt_id}`
//!
//! Takes a waiting prompt, and those that remind of it, off the schedule. Its author and its
//! addressee may; to anyone else, and once it has been released or dropped, it is `M_NOT_FOUND`.

use ruma::api::{auth_scheme::AccessToken, metadata, request, response};

metadata! {
    method: DELETE,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/prompts/{prompt_id}",
}

/// Asks for the end of a prompt.
#[request]
pub struct Request {
    /// The prompt.
    #[ruma_api(path)]
    pub prompt_id: String,
}

/// The prompt will not be released.
#[response]
#[derive(Default)]
pub struct Response {}

impl Request {
    /// Cancels this prompt.
    pub fn new(prompt_id: String) -> Self {
        Self { prompt_id }
    }
}

impl Response {
    /// The prompt will not be released.
    pub fn new() -> Self {
        Self {}
    }
}
