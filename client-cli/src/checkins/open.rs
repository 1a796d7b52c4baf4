//! What a person still has to answer, kept on the device so that they can answer without a network.

use anyhow::Result;
use jiff::Timestamp;
use matrix_sdk::Room;
use respite_protocol::events::Checkin;
use ruma::{OwnedEventId, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::Asked;

/// Most check-ins that are kept for a room.
const MAX_KEPT: usize = 20;

#[derive(Deserialize, Serialize)]
struct Kept {
    checkin: Checkin,
    event_id: OwnedEventId,
    sender: OwnedUserId,
    at: Timestamp,
    expires: Option<Timestamp>,
}

/// Keeps the newest check-ins that the own person has not answered.
///
/// # Errors
///
/// If the store cannot be written.
pub async fn remember(room: &Room, agenda: &[Asked]) -> Result<()> {
    let own = room.own_user_id();
    let open = agenda
        .iter()
        .rev()
        .filter(|asked| asked.sender != own && !asked.is_answered_by(own))
        .take(MAX_KEPT)
        .map(|asked| Kept {
            checkin: asked.checkin.clone(),
            event_id: asked.event_id.clone(),
            sender: asked.sender.clone(),
            at: asked.at,
            expires: asked.expires,
        });
    let mut open: Vec<_> = open.collect();
    open.reverse();
    room.client()
        .state_store()
        .set_custom_value_no_read(&key(room), serde_json::to_vec(&open)?)
        .await?;
    Ok(())
}

/// The check-ins that were kept, oldest first.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn recall(room: &Room) -> Result<Vec<Asked>> {
    let kept = room
        .client()
        .state_store()
        .get_custom_value(&key(room))
        .await?;
    // What an older release has kept may read differently: then there is nothing.
    let kept: Vec<Kept> = kept
        .and_then(|kept| serde_json::from_slice(&kept).ok())
        .unwrap_or_default();
    let asked = kept.into_iter().map(|kept| Asked {
        checkin: kept.checkin,
        event_id: kept.event_id,
        sender: kept.sender,
        at: kept.at,
        expires: kept.expires,
        answers: Vec::new(),
        unclear: Vec::new(),
    });
    Ok(asked.collect())
}

fn key(room: &Room) -> Vec<u8> {
    format!("chat.respite.open.{}", room.room_id()).into_bytes()
}
