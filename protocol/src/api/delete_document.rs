//! `DELETE /_matrix/client/unstable/chat.respite/rooms/{room_id}/documents/{media_id}`
//!
//! Deletes a document's blob for good. Who uploaded it may, and the room's therapist.

use ruma::{
    OwnedRoomId,
    api::{auth_scheme::AccessToken, metadata, request, response},
};

metadata! {
    method: DELETE,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/rooms/{room_id}/documents/{media_id}",
}

/// Asks for the end of a document.
#[request]
pub struct Request {
    /// The therapy room.
    #[ruma_api(path)]
    pub room_id: OwnedRoomId,

    /// The last part of the document's `mxc://` address.
    #[ruma_api(path)]
    pub media_id: String,
}

/// The blob is gone.
#[response]
#[derive(Default)]
pub struct Response {}

impl Request {
    /// Deletes this document of this room.
    pub fn new(room_id: OwnedRoomId, media_id: String) -> Self {
        Self { room_id, media_id }
    }
}

impl Response {
    /// The blob is gone.
    pub fn new() -> Self {
        Self {}
    }
}
