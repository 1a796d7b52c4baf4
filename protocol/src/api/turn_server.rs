//! `GET /_matrix/client/v3/voip/turnServer`
//!
//! As in the specification, but where no TURN server is named, the answer is an empty object: clients
//! that are given an empty list of addresses fail at calls, instead of doing without.

use ruma::api::{auth_scheme::AccessToken, metadata, request, response};

metadata! {
    method: GET,
    rate_limited: true,
    authentication: AccessToken,
    history: {
        1.0 => "/_matrix/client/r0/voip/turnServer",
        1.1 => "/_matrix/client/v3/voip/turnServer",
    }
}

/// Asks for TURN credentials.
#[request]
#[derive(Default)]
pub struct Request {}

/// TURN credentials; all fields or none.
#[response]
#[derive(Default)]
pub struct Response {
    /// When the credentials end (seconds since the epoch), a colon, and the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The TURN servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uris: Option<Vec<String>>,
    /// How long the credentials hold, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

impl Request {
    /// Asks for TURN credentials.
    pub fn new() -> Self {
        Self {}
    }
}

impl Response {
    /// There is no TURN server.
    pub fn none() -> Self {
        Self::default()
    }

    /// These credentials.
    pub fn new(username: String, password: String, uris: Vec<String>, ttl: u64) -> Self {
        Self {
            username: Some(username),
            password: Some(password),
            uris: Some(uris),
            ttl: Some(ttl),
        }
    }
}
