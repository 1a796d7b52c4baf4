//! Which blobs there are, whose, and how much that is.

use ruma::{RoomId, UserId};

use super::{
    InRoom, MEDIA, Media, ROOM_MEDIA, ROOM_USAGE, USAGE, Usage, claim::put_usage, in_room,
};
use crate::{
    error::{Error, Result},
    state::App,
    store::{StoreError, Tx},
};

/// Most blobs of one user, with those that are being uploaded.
const MAX_BLOBS: u64 = 100_000;
/// Most bytes of one user's blobs together, with those that are being uploaded.
pub(super) const MAX_BYTES: u64 = 20 << 30;

/// As far as the blobs of a room are counted one by one.
const MAX_COUNTED: usize = 10_000;

/// How many bytes to set aside for an upload of this size; if that is not known, as many as it may have at `most`.
pub(super) fn share(usage: Usage, size: Option<u64>, most: u64) -> Result<u64> {
    let left = MAX_BYTES.saturating_sub(usage.bytes);
    let bytes = size.unwrap_or_else(|| most.min(left));
    // A blob has at least a byte.
    if usage.count >= MAX_BLOBS || bytes > left || left == 0 {
        return Err(over_quota());
    }
    Ok(bytes)
}

pub(super) fn over_quota() -> Error {
    Error::forbidden("You have uploaded as much as this server keeps for one person.")
}

/// Counts one more blob in a room.
pub(super) async fn take_place(tx: &mut Tx, room: InRoom<'_>) -> Result<()> {
    let count = count_in(tx, room.id).await?;
    if count >= room.most as u64 {
        return Err(Error::too_large(
            "This room holds as many documents as it can. Delete some first.",
        ));
    }
    Ok(tx.put(&ROOM_USAGE, room.id, &(count + 1))?)
}

/// Counts one less of a user's blobs, of this size, and of a room's.
pub(super) async fn give_back(
    tx: &mut Tx,
    user: &UserId,
    room: Option<&RoomId>,
    bytes: u64,
) -> Result<(), StoreError> {
    let usage = tx.get(&USAGE, user).await?.unwrap_or_default();
    let usage = Usage {
        count: usage.count.saturating_sub(1),
        bytes: usage.bytes.saturating_sub(bytes),
    };
    put_usage(tx, user, usage)?;
    if let Some(room) = room {
        match count_in(tx, room).await?.saturating_sub(1) {
            0 => tx.delete(&ROOM_USAGE, room),
            left => tx.put(&ROOM_USAGE, room, &left)?,
        }
    }
    Ok(())
}

/// How many blobs a room has, with those that are being uploaded. Where it was never counted, it is now.
async fn count_in(tx: &mut Tx, room: &RoomId) -> Result<u64, StoreError> {
    match tx.get(&ROOM_USAGE, room).await? {
        Some(count) => Ok(count),
        None => {
            let found = in_room(tx.store(), room, None, MAX_COUNTED).await?;
            Ok(found.len() as u64)
        }
    }
}

/// Removes a blob that is bound to this room; `None` if the room has no such blob. Once it is committed, the caller
/// removes the bytes with [`remove_blob`]. A transaction can remove one blob of a user or room, not several.
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
    give_back(tx, &media.owner, Some(room), media.size).await?;
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

pub(super) fn not_reached(error: std::io::Error) -> Error {
    StoreError::Unavailable(format!("a blob cannot be reached: {}", error.kind())).into()
}
