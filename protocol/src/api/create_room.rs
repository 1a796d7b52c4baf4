//! `POST /_matrix/client/unstable/chat.respite/rooms`
//!
//! Opens a therapy room: encrypted, invite only, never federated, of an unchangeable kind.
//! Therapists only; anyone else gets `M_FORBIDDEN`.

use ruma::{
    OwnedRoomId, OwnedUserId,
    api::{auth_scheme::AccessToken, metadata, request, response},
};

use crate::TherapyKind;

metadata! {
    method: POST,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/rooms",
}

/// Asks for a new therapy room.
#[request]
pub struct Request {
    /// Who meets in the room.
    pub kind: TherapyKind,

    /// People to invite, at most [`MAX_INVITED_AT_CREATION`](super::MAX_INVITED_AT_CREATION).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invite: Vec<OwnedUserId>,
}

/// The room is there and the invitations are out.
#[response]
pub struct Response {
    /// The new room.
    pub room_id: OwnedRoomId,
}

impl Request {
    /// A room of this kind for these people.
    pub fn new(kind: TherapyKind, invite: Vec<OwnedUserId>) -> Self {
        Self { kind, invite }
    }
}

impl Response {
    /// Names the new room.
    pub fn new(room_id: OwnedRoomId) -> Self {
        Self { room_id }
    }
}
