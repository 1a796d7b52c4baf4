//! Which blobs there are, whose, and how much that is.

use futures_util::TryStreamExt;
use ruma::{RoomId, UserId};

use super::{MEDIA, Media, RESERVED, RESERVED_BY, ROOM_MEDIA, USAGE, Usage};
use crate::{
    error::{Error, Result},
    rooms::{not_in_room, state::ROOMS},
    state::App,
    store::{Store, StoreError, Tx},
};

/// Most blobs of one user.
pub(super) const MAX_BLOBS: u64 = 100_000;
/// Most bytes of one user's blobs together.
pub(super) const MAX_BYTES: u64 = 20 << 30;
/// How old a blob must be before it counts as left over: younger ones may belong to an upload that is not done.
const ORPHAN_AGE_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Whether the user may upload anything at all.
pub(super) async fn check_quota(store: &Store, user: &UserId) -> Result<()> {
    within_quota(store.get(&USAGE, user).await?.unwrap_or_default(), 0)
}

fn within_quota(usage: Usage, more: u64) -> Result<()> {
    if usage.count >= MAX_BLOBS || usage.bytes.saturating_add(more) > MAX_BYTES {
        return Err(Error::forbidden(
            "You have uploaded as much as this server keeps for one person.",
        ));
    }
    Ok(())
}

/// Notes a blob that is on disk; if that cannot be, removes it.
pub(super) async fn keep(app: &App, id: &str, media: &Media, reserved: bool) -> Result<()> {
    let kept = app
        .store
        .transact(|mut tx| async move {
            keep_in(&mut tx, id, media, reserved).await?;
            Ok::<_, Error>((tx, ()))
        })
        .await;
    if kept.is_err() {
        remove_blob(app, id).await?;
    }
    kept.map(drop)
}

async fn keep_in(tx: &mut Tx, id: &str, media: &Media, reserved: bool) -> Result<()> {
    let mut usage = tx.get(&USAGE, &media.owner).await?.unwrap_or_default();
    within_quota(usage, media.size)?;
    usage.count += 1;
    usage.bytes += media.size;
    tx.put(&USAGE, &media.owner, &usage)?;
    if reserved {
        tx.get(&RESERVED, id)
            .await?
            .filter(|reserved| reserved.owner == media.owner)
            .ok_or_else(super::reserve::taken)?;
        tx.delete(&RESERVED, id);
        tx.delete(&RESERVED_BY, (&media.owner, id));
    }
    tx.put(&MEDIA, id, media)?;
    if let Some(room) = &media.room {
        // The room may have been deleted during the upload.
        tx.get(&ROOMS, room).await?.ok_or_else(not_in_room)?;
        tx.put(&ROOM_MEDIA, (room, id), &())?;
    }
    Ok(())
}

/// Removes a blob that is bound to this room; `None` if the room has no such blob. Once it is committed, the caller
/// removes the bytes with [`remove_blob`].
///
/// # Errors
/// The store's.
pub async fn delete_in(tx: &mut Tx, room: &RoomId, id: &str) -> Result<Option<Media>, StoreError> {
    let found = tx.get(&MEDIA, id).await?;
    let Some(media) = found.filter(|media| media.room.as_deref() == Some(room)) else {
        return Ok(None);
    };
    tx.delete(&MEDIA, id);
    tx.delete(&ROOM_MEDIA, (room, id));
    let mut usage = tx.get(&USAGE, &media.owner).await?.unwrap_or_default();
    usage.count = usage.count.saturating_sub(1);
    usage.bytes = usage.bytes.saturating_sub(media.size);
    tx.put(&USAGE, &media.owner, &usage)?;
    Ok(Some(media))
}

/// Removes a blob that is bound to this room, with its bytes; whether there was one.
///
/// # Errors
/// The store's or the disk's.
pub async fn delete(app: &App, room: &RoomId, id: &str) -> Result<bool> {
    let deleted = app
        .store
        .transact(|mut tx| async move {
            let media = delete_in(&mut tx, room, id).await?;
            Ok::<_, StoreError>((tx, media))
        })
        .await?;
    if deleted.value.is_some() {
        remove_blob(app, id).await?;
    }
    Ok(deleted.value.is_some())
}

/// Removes the bytes of a blob that nothing refers to any more.
///
/// # Errors
/// The disk's.
pub async fn remove_blob(app: &App, id: &str) -> Result<()> {
    app.blobs.delete(id).await.map_err(not_reached)
}

/// Removes blobs that nothing refers to, which a crash between two steps can leave; returns how many. For once a day.
///
/// # Errors
/// The store's or the disk's.
pub async fn remove_orphans(app: &App) -> Result<u64> {
    let mut removed = 0;
    let mut blobs = app.blobs.list();
    while let Some(blob) = blobs.try_next().await.map_err(not_reached)? {
        let finished = blob
            .finished
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let finished = u64::try_from(finished.as_millis()).unwrap_or(u64::MAX);
        let is_old = finished.saturating_add(ORPHAN_AGE_MILLIS) < app.clock.millis();
        if is_old && app.store.get(&MEDIA, &blob.id).await?.is_none() {
            remove_blob(app, &blob.id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn not_reached(error: std::io::Error) -> Error {
    StoreError::Unavailable(format!("a blob cannot be reached: {}", error.kind())).into()
}
