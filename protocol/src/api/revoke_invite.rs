//! `DELETE /_matrix/client/unstable/chat.respite/invites/{invite_id}`
//!
//! Makes one of the caller's codes useless. Accounts made with it stay. `M_NOT_FOUND` if the
//! caller has no such code.

use ruma::api::{auth_scheme::AccessToken, metadata, request, response};

metadata! {
    method: DELETE,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/invites/{invite_id}",
}

/// Asks for the end of a code.
#[request]
pub struct Request {
    /// The code's name from `create_invite` or `list_invites`.
    #[ruma_api(path)]
    pub invite_id: String,
}

/// The code no longer works.
#[response]
#[derive(Default)]
pub struct Response {}

impl Request {
    /// Revokes this code.
    pub fn new(invite_id: String) -> Self {
        Self { invite_id }
    }
}

impl Response {
    /// The code no longer works.
    pub fn new() -> Self {
        Self {}
    }
}
