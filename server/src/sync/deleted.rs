//! What a client is told of a room that was deleted: that its user has left it. The events are gone, so the one that says
//! so is made up for each member.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ruma::{RoomId, UserId, api::client::sync::sync_events::v3::LeftRoom, serde::Raw};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// A room that was deleted at some time, as somebody who was in it sees it.
pub(super) fn left(user: &UserId, room: &RoomId, when: u64) -> Result<LeftRoom> {
    let leaving = json!({
        "type": "m.room.member",
        "state_key": user,
        "sender": user,
        "event_id": event_id(user, room),
        "origin_server_ts": when,
        "content": { "membership": "leave" },
    });
    let leaving = Raw::new(&leaving)
        .map_err(|_| Error::internal("an event that is not JSON"))?
        .cast_unchecked();
    let mut left = LeftRoom::new();
    left.timeline.events.push(leaving);
    Ok(left)
}

/// The same at every telling, and no other event's.
fn event_id(user: &UserId, room: &RoomId) -> String {
    let hash = Sha256::new_with_prefix(b"deleted room")
        .chain_update(room.as_bytes())
        .chain_update([0])
        .chain_update(user.as_bytes())
        .finalize();
    format!("${}", BASE64_URL_SAFE_NO_PAD.encode(hash))
}
