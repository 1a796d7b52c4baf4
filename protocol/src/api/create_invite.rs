//! `POST /_matrix/client/unstable/chat.respite/invites`
//!
//! Makes a code for a new client. It is a Matrix registration token, so any client can use it;
//! redeeming it also opens a therapy room for the new client and the therapist. Therapists only.

use ruma::{
    MilliSecondsSinceUnixEpoch,
    api::{auth_scheme::AccessToken, metadata, request, response},
};

use crate::TherapyKind;

metadata! {
    method: POST,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/invites",
}

/// Asks for a code.
#[request]
pub struct Request {
    /// The kind of room that redeeming the code opens.
    pub kind: TherapyKind,

    /// How many people may register with it: 1 to
    /// [`MAX_INVITE_USES`](super::MAX_INVITE_USES); by default
    /// [`DEFAULT_INVITE_USES`](super::DEFAULT_INVITE_USES).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,

    /// How long it lives, in milliseconds, up to
    /// [`MAX_INVITE_LIFETIME_MS`](super::MAX_INVITE_LIFETIME_MS); by default
    /// [`DEFAULT_INVITE_LIFETIME_MS`](super::DEFAULT_INVITE_LIFETIME_MS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// The code, told this once.
#[response]
pub struct Response {
    /// The registration token to give to the client. The server keeps no readable copy.
    pub code: String,

    /// Names the code in lists and for revoking.
    pub invite_id: String,

    /// When the code stops working.
    pub expires_ts: MilliSecondsSinceUnixEpoch,
}

impl Request {
    /// A code for a room of this kind, with the default uses and life.
    pub fn new(kind: TherapyKind) -> Self {
        Self {
            kind,
            uses: None,
            expires_in_ms: None,
        }
    }
}

impl Response {
    /// Hands over the code.
    pub fn new(code: String, invite_id: String, expires_ts: MilliSecondsSinceUnixEpoch) -> Self {
        Self {
            code,
            invite_id,
            expires_ts,
        }
    }
}
