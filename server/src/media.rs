//! Encrypted blobs: attachments, and the documents of therapy rooms. Neither type nor file name is kept.
//!
//! [Content repository](https://spec.matrix.org/v1.18/client-server-api/#content-repository)

mod claim;
mod download;
mod keep;
mod reserve;
mod trim;
mod upload;

use axum::Router;
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId,
    api::client::{authenticated_media, media},
};
use serde::{Deserialize, Serialize};

pub use self::{
    claim::{InRoom, UPLOADS},
    keep::{delete, delete_in, remove_blob},
    trim::{ORPHANS_KEPT, WALK, trim_step},
    upload::{Incoming, store_upload},
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
    store::{Page, Store, StoreError, Table},
};

/// The blobs that are whole, by media id.
pub const MEDIA: Table<String, Media> = Table::new(0x0701, "media");

/// The blobs that are bound to a room.
pub const ROOM_MEDIA: Table<(OwnedRoomId, String), ()> = Table::new(0x0702, "room_media");

/// Addresses that were given out for uploads to come.
pub const RESERVED: Table<String, Reserved> = Table::new(0x0703, "reserved_media");

/// The same, by user.
pub const RESERVED_BY: Table<(OwnedUserId, String), ()> = Table::new(0x0705, "media_reserved_by");

/// What ends when: addresses that were given out, and claims of uploads under way.
pub const EXPIRY: Table<(u64, String), ()> = Table::new(0x0707, "media_expiry");

/// How many blobs a room has, with those that are being uploaded.
pub const ROOM_USAGE: Table<OwnedRoomId, u64> = Table::new(0x0708, "room_media_usage");

/// How much each user has uploaded, with what is being uploaded.
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

impl Usage {
    fn with(self, bytes: u64) -> Self {
        Self {
            count: self.count.saturating_add(1),
            bytes: self.bytes.saturating_add(bytes),
        }
    }
}

/// The endpoints. Link previews are not among them: the server fetches no address that a message names.
pub fn router() -> Router<App> {
    Router::new()
        .merge(upload::router())
        .merge(reserve::router())
        .merge(download::router())
        .merge(endpoint::<_, _, _, _>(config))
        .merge(endpoint::<_, _, _, _>(legacy_config))
        .merge(endpoint::<_, _, _, _>(thumbnail))
}

/// The blobs that are bound to a room, in the order of their ids, from the one after `after` on.
///
/// # Errors
/// The store's.
pub async fn in_room(
    store: &Store,
    room: &RoomId,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Media)>, StoreError> {
    let page = Page::first(limit);
    let found = match after {
        Some(after) => {
            store
                .scan_after(&ROOM_MEDIA, (room,), (room, after), page)
                .await?
        }
        None => store.scan(&ROOM_MEDIA, (room,), page).await?,
    };
    let ids: Vec<String> = found.into_iter().map(|((_, id), ())| id).collect();
    let media = store.get_many(&MEDIA, &ids).await?;
    Ok(ids
        .into_iter()
        .zip(media)
        .filter_map(|(id, media)| Some((id, media?)))
        .collect())
}

/// `GET /_matrix/client/v1/media/config`
async fn config(
    app: App,
    _: Device,
    _: authenticated_media::get_media_config::v1::Request,
) -> Result<authenticated_media::get_media_config::v1::Response> {
    let limit = ruma::UInt::new_saturating(app.config.media.max_upload);
    Ok(authenticated_media::get_media_config::v1::Response::new(
        limit,
    ))
}

/// `GET /_matrix/media/v3/config`, where older clients ask.
#[expect(deprecated, reason = "older clients ask here")]
async fn legacy_config(
    app: App,
    _: Device,
    _: media::get_media_config::v3::Request,
) -> Result<media::get_media_config::v3::Response> {
    let limit = ruma::UInt::new_saturating(app.config.media.max_upload);
    Ok(media::get_media_config::v3::Response::new(limit))
}

/// `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`: of ciphertext there are no thumbnails. Clients upload
/// those that they show, encrypted, as files of their own.
async fn thumbnail(
    _: App,
    _: Device,
    _: authenticated_media::get_content_thumbnail::v1::Request,
) -> Result<authenticated_media::get_content_thumbnail::v1::Response> {
    Err(Error::not_found(
        "This server makes no thumbnails: it cannot see what is in encrypted files.",
    ))
}
