//! `POST /_matrix/client/unstable/chat.respite/rooms/{room_id}/documents`
//!
//! Stores an encrypted blob that belongs to a room: only its members can fetch it (over the
//! ordinary media endpoint), and it is deleted with the room. What does not look like ciphertext
//! is refused.

use ruma::{
    OwnedMxcUri, OwnedRoomId,
    api::{auth_scheme::AccessToken, metadata, request, response},
};

metadata! {
    method: POST,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/rooms/{room_id}/documents",
}

/// Carries the encrypted blob.
#[request]
pub struct Request {
    /// The therapy room.
    #[ruma_api(path)]
    pub room_id: OwnedRoomId,

    /// The ciphertext, at most [`MAX_DOCUMENT_BYTES`](super::MAX_DOCUMENT_BYTES).
    #[ruma_api(raw_body)]
    pub file: Vec<u8>,
}

/// The blob is stored and on disk.
#[response]
pub struct Response {
    /// Where to fetch it.
    pub content_uri: OwnedMxcUri,
}

impl Request {
    /// Binds this blob to this room.
    pub fn new(room_id: OwnedRoomId, file: Vec<u8>) -> Self {
        Self { room_id, file }
    }
}

impl Response {
    /// Tells where the blob is.
    pub fn new(content_uri: OwnedMxcUri) -> Self {
        Self { content_uri }
    }
}
