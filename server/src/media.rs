//! Encrypted blobs: attachments, and the documents of therapy rooms. Neither type nor file name is kept.
//!
//! [Content repository](https://spec.matrix.org/v1.18/client-server-api/#content-repository)

use axum::Router;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::{state::App, store::Table};

/// The blobs that are whole, by media id.
pub const MEDIA: Table<String, Media> = Table::new(0x0701, "media");

/// The blobs that are bound to a room.
pub const ROOM_MEDIA: Table<(OwnedRoomId, String), ()> = Table::new(0x0702, "room_media");

/// Addresses that were given out for uploads to come.
pub const RESERVED: Table<String, Reserved> = Table::new(0x0703, "reserved_media");

/// How much each user has uploaded.
pub const USAGE: Table<OwnedUserId, Usage> = Table::new(0x0704, "media_usage");

/// A blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Who uploaded it.
    pub owner: OwnedUserId,
    /// Bytes.
    pub size: u64,
    /// The room whose members alone may fetch it; `None` for an ordinary attachment, whose id is the secret.
    pub room: Option<OwnedRoomId>,
    /// When, in milliseconds since 1970.
    pub uploaded: u64,
}

/// An address for an upload to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Who may upload to it.
    pub owner: OwnedUserId,
    /// Until when, in milliseconds since 1970.
    pub expires: u64,
}

/// How much a user has uploaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Blobs.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
}
