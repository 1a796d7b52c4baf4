//! Uploads under way: each has claimed its id, and its share of what its owner and its room may have, before the first byte is
//! written. So limits hold however many upload at the same time, through however many servers.
//!
//! A claim holds for [`LEASE`] and is renewed while bytes arrive. What a crash has left of an upload is removed when its claim
//! has expired ([`super::trim_step`]). Whoever removes it takes the claim over first: then an upload that was only slow can
//! no longer be entered.

use std::time::Duration;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use super::{EXPIRY, MEDIA, Media, RESERVED, RESERVED_BY, ROOM_MEDIA, USAGE, Usage, keep, reserve};
use crate::{
    error::{Error, Result},
    rooms::{not_in_room, state::ROOMS},
    state::App,
    store::{StoreError, Table, Tx},
};

/// The uploads under way, by media id.
pub const UPLOADS: Table<String, Upload> = Table::new(0x0706, "media_uploads");

/// How long a claim holds after it was made or renewed.
pub(super) const LEASE: Duration = Duration::from_secs(5 * 60);
/// How much of that may have passed when it is renewed.
pub(super) const RENEW: Duration = Duration::from_secs(60);
/// When to ask again for who uploads to an address a second time while the first upload is under way.
const BUSY: Duration = Duration::from_secs(60);

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Whose it is.
    pub owner: OwnedUserId,
    /// The room that it is for.
    pub room: Option<OwnedRoomId>,
    /// The bytes that are set aside for it.
    pub bytes: u64,
    /// When the claim ends, in milliseconds since 1970.
    pub expires: u64,
    /// Who may enter or remove it: the one who knows this number.
    pub attempt: u64,
}

/// A room that a blob is bound to.
#[derive(Clone, Copy, Debug)]
pub struct InRoom<'a> {
    /// The room.
    pub id: &'a RoomId,
    /// The most blobs that it may have.
    pub most: usize,
}

/// A claim; dropped before it is settled or given up, it is given up in the background.
pub(super) struct Claim {
    app: App,
    id: String,
    upload: Upload,
    /// Whether there may be bytes under the id.
    written: bool,
    settled: bool,
}

impl Claim {
    /// Claims an id, which was given out before if it is `reserved`, and `size` bytes; as many as possible if that is not known.
    pub(super) async fn new(
        app: &App,
        user: &UserId,
        room: Option<InRoom<'_>>,
        id: &str,
        size: Option<u64>,
        reserved: bool,
    ) -> Result<Self> {
        let (now, expires) = (app.clock.millis(), app.clock.after(LEASE));
        let attempt = u64::from_be_bytes(app.random.bytes());
        let most = app.config.media.max_upload;
        let claimed = app
            .store
            .transact(|mut tx| async move {
                if reserved {
                    reserve::check_in(&mut tx, user, id, now).await?;
                }
                if tx.get(&UPLOADS, id).await?.is_some() {
                    return Err(Error::limit_exceeded(BUSY));
                }
                let usage = tx.get(&USAGE, user).await?.unwrap_or_default();
                let bytes = keep::share(usage, size, most)?;
                put_usage(&mut tx, user, usage.with(bytes))?;
                if let Some(room) = room {
                    keep::take_place(&mut tx, room).await?;
                }
                let upload = Upload {
                    owner: user.to_owned(),
                    room: room.map(|room| room.id.to_owned()),
                    bytes,
                    expires,
                    attempt,
                };
                tx.put(&UPLOADS, id, &upload)?;
                tx.put(&EXPIRY, (expires, id), &())?;
                Ok((tx, upload))
            })
            .await?;
        Ok(Self {
            app: app.clone(),
            id: id.to_owned(),
            upload: claimed.value,
            written: false,
            settled: false,
        })
    }

    /// The most bytes that the upload may have.
    pub(super) fn bytes(&self) -> u64 {
        self.upload.bytes
    }

    /// Holds it for another [`LEASE`].
    pub(super) async fn renew(&mut self) -> Result<()> {
        let expires = self.app.clock.after(LEASE);
        let (id, old) = (&self.id, &self.upload);
        let renewed = Upload {
            expires,
            ..old.clone()
        };
        let new = &renewed;
        self.app
            .store
            .transact(|mut tx| async move {
                ours_in(&mut tx, id, old.attempt).await?.ok_or_else(lost)?;
                replace_in(&mut tx, id, old, new)?;
                Ok::<_, Error>((tx, ()))
            })
            .await?;
        self.upload = renewed;
        Ok(())
    }

    /// From now on there may be bytes under the id.
    pub(super) fn writes(&mut self) {
        self.written = true;
    }

    /// Enters the upload, which is durable and has this size.
    pub(super) async fn settle(&mut self, size: u64) -> Result<()> {
        let media = &Media {
            owner: self.upload.owner.clone(),
            size,
            room: self.upload.room.clone(),
            uploaded: self.app.clock.millis(),
        };
        let (id, attempt) = (self.id.as_str(), self.upload.attempt);
        self.app
            .store
            .transact(|mut tx| async move {
                let upload = ours_in(&mut tx, id, attempt).await?.ok_or_else(lost)?;
                enter_in(&mut tx, id, &upload, media).await?;
                Ok::<_, Error>((tx, ()))
            })
            .await?;
        self.settled = true;
        Ok(())
    }

    /// Gives it up, with what was written; if that fails, it expires.
    pub(super) async fn give_up(mut self) {
        let given = give_up(&self.app, &self.id, &self.upload, self.written).await;
        if let Err(error) = given {
            tracing::debug!(?error, "an upload that failed is cleared away later");
        }
        self.settled = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.settled, tokio::runtime::Handle::try_current()) {
            let (app, id, upload) = (self.app.clone(), self.id.clone(), self.upload.clone());
            let written = self.written;
            // If this fails, the claim expires.
            runtime.spawn(async move { give_up(&app, &id, &upload, written).await });
        }
    }
}

/// Gives up a claim and removes the bytes that may be under its id.
///
/// # Errors
/// The store's or the disk's: then the claim expires.
pub(super) async fn give_up(app: &App, id: &str, upload: &Upload, written: bool) -> Result<()> {
    let mut attempt = upload.attempt;
    if written {
        let Some(mine) = take_over(app, id, attempt).await? else {
            return Ok(());
        };
        attempt = mine;
        keep::remove_blob(app, id).await?;
    }
    app.store
        .transact(|mut tx| async move {
            if let Some(upload) = ours_in(&mut tx, id, attempt).await? {
                release_in(&mut tx, id, &upload).await?;
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Makes a claim one's own, if it is still `attempt`'s: whoever has held it can enter nothing any more, not even if a commit
/// of theirs is still on its way.
async fn take_over(app: &App, id: &str, attempt: u64) -> Result<Option<u64>> {
    let expires = app.clock.after(LEASE);
    let mine = u64::from_be_bytes(app.random.bytes());
    let taken = app
        .store
        .transact(|mut tx| async move {
            let Some(upload) = ours_in(&mut tx, id, attempt).await? else {
                return Ok((tx, None));
            };
            let new = Upload {
                expires,
                attempt: mine,
                ..upload.clone()
            };
            replace_in(&mut tx, id, &upload, &new)?;
            Ok::<_, StoreError>((tx, Some(mine)))
        })
        .await?;
    Ok(taken.value)
}

async fn ours_in(tx: &mut Tx, id: &str, attempt: u64) -> Result<Option<Upload>, StoreError> {
    let found = tx.get(&UPLOADS, id).await?;
    Ok(found.filter(|upload| upload.attempt == attempt))
}

fn replace_in(tx: &mut Tx, id: &str, old: &Upload, new: &Upload) -> Result<(), StoreError> {
    tx.delete(&EXPIRY, (old.expires, id));
    tx.put(&EXPIRY, (new.expires, id), &())?;
    tx.put(&UPLOADS, id, new)
}

async fn enter_in(tx: &mut Tx, id: &str, upload: &Upload, media: &Media) -> Result<()> {
    let usage = tx.get(&USAGE, &upload.owner).await?.unwrap_or_default();
    let bytes = usage.bytes.saturating_sub(upload.bytes);
    let usage = Usage {
        bytes: bytes.saturating_add(media.size),
        ..usage
    };
    put_usage(tx, &upload.owner, usage)?;
    tx.delete(&UPLOADS, id);
    tx.delete(&EXPIRY, (upload.expires, id));
    if let Some(reserved) = tx.get(&RESERVED, id).await? {
        tx.delete(&RESERVED, id);
        tx.delete(&RESERVED_BY, (&reserved.owner, id));
        tx.delete(&EXPIRY, (reserved.expires, id));
    }
    tx.put(&MEDIA, id, media)?;
    if let Some(room) = &media.room {
        // The room may have been deleted during the upload.
        tx.get(&ROOMS, room).await?.ok_or_else(not_in_room)?;
        tx.put(&ROOM_MEDIA, (room, id), &())?;
    }
    Ok(())
}

async fn release_in(tx: &mut Tx, id: &str, upload: &Upload) -> Result<(), StoreError> {
    tx.delete(&UPLOADS, id);
    tx.delete(&EXPIRY, (upload.expires, id));
    // The address may be used again, as long as it holds.
    if let Some(reserved) = tx.get(&RESERVED, id).await? {
        tx.put(&EXPIRY, (reserved.expires, id), &())?;
    }
    keep::give_back(tx, &upload.owner, upload.room.as_deref(), upload.bytes).await
}

pub(super) fn put_usage(tx: &mut Tx, user: &UserId, usage: Usage) -> Result<(), StoreError> {
    if usage == Usage::default() {
        tx.delete(&USAGE, user);
        return Ok(());
    }
    tx.put(&USAGE, user, &usage)
}

fn lost() -> Error {
    Error::internal("an upload that came to its end after its claim was given up")
}
