//! `GET /_matrix/client/unstable/chat.respite/rooms/{room_id}/documents`
//!
//! The blobs bound to a room, to its members. What they are is inside the encrypted messages.

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedMxcUri, OwnedRoomId, OwnedUserId,
    api::{auth_scheme::AccessToken, metadata, request, response},
};
use serde::{Deserialize, Serialize};

metadata! {
    method: GET,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/rooms/{room_id}/documents",
}

/// Asks for a room's documents.
#[request]
pub struct Request {
    /// The therapy room.
    #[ruma_api(path)]
    pub room_id: OwnedRoomId,
}

/// The room's documents, newest first.
#[response]
pub struct Response {
    /// At most [`MAX_DOCUMENTS_PER_ROOM`](super::MAX_DOCUMENTS_PER_ROOM).
    pub documents: Vec<StoredDocument>,
}

/// What the server knows of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDocument {
    /// Where to fetch it.
    pub content_uri: OwnedMxcUri,
    /// Who uploaded it.
    pub sender: OwnedUserId,
    /// Bytes of ciphertext.
    pub size: u64,
    /// When it was uploaded.
    pub uploaded_ts: MilliSecondsSinceUnixEpoch,
}

impl Request {
    /// Asks for this room's documents.
    pub fn new(room_id: OwnedRoomId) -> Self {
        Self { room_id }
    }
}

impl Response {
    /// Lists these documents.
    pub fn new(documents: Vec<StoredDocument>) -> Self {
        Self { documents }
    }
}
