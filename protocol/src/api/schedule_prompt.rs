//! `PUT /_matrix/client/unstable/chat.respite/rooms/{room_id}/prompts/{txn_id}`
//!
//! Hands the server ciphertext to release later. The author's client encrypts it now; the server
//! learns when it is due and for whom, never what it says. Repeating a transaction id gives the
//! same prompt again.

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedRoomId, OwnedTransactionId, OwnedUserId,
    api::{auth_scheme::AccessToken, metadata, request, response},
    events::room::encrypted::RoomEncryptedEventContent,
    serde::Raw,
};

metadata! {
    method: PUT,
    rate_limited: true,
    authentication: AccessToken,
    path: "/_matrix/client/unstable/chat.respite/rooms/{room_id}/prompts/{txn_id}",
}

/// Asks for the release of ciphertext at a later time.
#[request]
pub struct Request {
    /// The therapy room.
    #[ruma_api(path)]
    pub room_id: OwnedRoomId,

    /// Chosen by the client, so that a repeated request schedules once.
    #[ruma_api(path)]
    pub txn_id: OwnedTransactionId,

    /// The member who is asked; they too may postpone or cancel.
    pub addressee: OwnedUserId,

    /// When to release it, at most [`MAX_PROMPT_AHEAD_MS`](super::MAX_PROMPT_AHEAD_MS) from now.
    pub release_ts: MilliSecondsSinceUnixEpoch,

    /// Drop it, rather than release it, after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ts: Option<MilliSecondsSinceUnixEpoch>,

    /// Drop it if the addressee has written in the room since this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless_written_since: Option<MilliSecondsSinceUnixEpoch>,

    /// The prompt that this one repeats: it is cancelled and postponed together with that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminds: Option<String>,

    /// The content of an `m.room.encrypted` event.
    pub content: Raw<RoomEncryptedEventContent>,
}

/// The prompt is scheduled and on disk.
#[response]
pub struct Response {
    /// Names the prompt.
    pub prompt_id: String,
}

impl Request {
    /// Releases `content` in the room at `release_ts`, unconditionally.
    pub fn new(
        room_id: OwnedRoomId,
        txn_id: OwnedTransactionId,
        addressee: OwnedUserId,
        release_ts: MilliSecondsSinceUnixEpoch,
        content: Raw<RoomEncryptedEventContent>,
    ) -> Self {
        Self {
            room_id,
            txn_id,
            addressee,
            release_ts,
            expires_ts: None,
            unless_written_since: None,
            reminds: None,
            content,
        }
    }
}

impl Response {
    /// Names the prompt.
    pub fn new(prompt_id: String) -> Self {
        Self { prompt_id }
    }
}
