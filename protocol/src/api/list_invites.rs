//! `GET /_matrix/client/unstable/chat.respite/invites`
//!
//! The caller's own codes, without the codes themselves. Therapists only.

use ruma::{
    MilliSecondsSinceUnixEpoch,
    api::{auth_scheme::AccessToken, metadata, request, response},
};
use serde::{Deserialize, Serialize};

use crate::TherapyKind;

metadata! {
    method: GET,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/invites",
}

/// Asks for the caller's codes.
#[request]
#[derive(Default)]
pub struct Request {}

/// The caller's codes, newest first.
#[response]
pub struct Response {
    /// One entry a code that has neither been revoked nor forgotten.
    pub invites: Vec<Invite>,
}

/// What is known of a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Names the code.
    pub invite_id: String,
    /// The kind of room that redeeming it opens.
    pub kind: TherapyKind,
    /// Registrations still possible.
    pub uses_left: u32,
    /// Registrations so far.
    pub used: u32,
    /// When it was made.
    pub created_ts: MilliSecondsSinceUnixEpoch,
    /// When it stops working.
    pub expires_ts: MilliSecondsSinceUnixEpoch,
}

impl Request {
    /// Asks for the caller's codes.
    pub fn new() -> Self {
        Self {}
    }
}

impl Response {
    /// Lists these codes.
    pub fn new(invites: Vec<Invite>) -> Self {
        Self { invites }
    }
}
