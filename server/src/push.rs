//! Placeholder: push.
use axum::Router;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::{
    state::App,
    store::{List, Numbered},
};

/// What somebody has not read yet in a room. The number at an entry's end is the event's position in the room.
pub const NOTIFICATIONS: List<(OwnedUserId, OwnedRoomId), Numbered<Notification>> =
    List::new(0x0801, "notifications");

/// An event that is worth telling somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Whether it is highlighted.
    pub highlight: bool,
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
}
