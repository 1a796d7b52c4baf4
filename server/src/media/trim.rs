//! What is not needed any more goes, in small steps: addresses that were given out and not used, what is left of uploads that
//! a crash ended, and blobs that nothing refers to.
//!
//! Several servers may do this at the same time: every step can be done twice.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{
    EXPIRY, MEDIA, RESERVED, RESERVED_BY,
    claim::{self, UPLOADS, Upload},
    keep,
};
use crate::{
    error::Result,
    state::App,
    store::{Page, StoreError, Table, Tx},
};

/// How far the walk through all blobs has come.
pub const WALK: Table<(), Walk> = Table::new(0x0709, "media_walk");

/// Most entries that one step ends.
const STEP: usize = 100;
/// Most blobs that one step looks at; an S3 server lists so many at a time.
const WALK_STEP: usize = 1_000;
/// How much time passes from the end of a walk through all blobs to the beginning of the next.
const WALK_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How old bytes must be before they count as left over: younger ones may belong to an upload that is not entered yet, and
/// the clock of another machine may be wrong by some hours.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a blob that nothing refers to is there, at most, if the server runs.
pub const ORPHANS_KEPT: Duration = ORPHAN_AGE.saturating_add(WALK_EVERY);

/// How far the walk through all blobs has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// When the next one begins, in milliseconds since 1970.
    next: u64,
    /// The last blob that this one has seen.
    after: Option<String>,
}

/// One small step; whether anything was to be done.
///
/// # Errors
/// The store's or the disk's; the step is done again next time.
pub async fn trim_step(app: &App) -> Result<bool> {
    Ok(expire(app).await? || walk(app).await?)
}

/// Ends what has expired: addresses and claims.
async fn expire(app: &App) -> Result<bool> {
    let now = app.clock.millis();
    let first = app.store.scan(&EXPIRY, (), Page::first(STEP)).await?;
    let due = first.into_iter().filter(|((time, _), ())| *time <= now);
    let mut any = false;
    for ((time, id), ()) in due {
        any = true;
        let (time, id) = (time, id.as_str());
        let left = app
            .store
            .transact(|mut tx| async move {
                let left = end_in(&mut tx, time, id, now).await?;
                Ok::<_, StoreError>((tx, left))
            })
            .await?;
        if let Some(upload) = left.value {
            claim::give_up(app, id, &upload, true).await?;
        }
    }
    Ok(any)
}

/// Ends one entry; returns an upload whose claim has expired, which is not ended yet.
async fn end_in(tx: &mut Tx, time: u64, id: &str, now: u64) -> Result<Option<Upload>, StoreError> {
    if let Some(upload) = tx.get(&UPLOADS, id).await? {
        if upload.expires <= now {
            return Ok(Some(upload));
        }
        // Under way, perhaps to an address that has expired since: looked at again when its claim ends.
        tx.delete(&EXPIRY, (time, id));
        tx.put(&EXPIRY, (upload.expires, id), &())?;
        return Ok(None);
    }
    let reserved = tx.get(&RESERVED, id).await?;
    if let Some(reserved) = reserved.filter(|reserved| reserved.expires <= now) {
        tx.delete(&RESERVED, id);
        tx.delete(&RESERVED_BY, (&reserved.owner, id));
    }
    tx.delete(&EXPIRY, (time, id));
    Ok(None)
}

/// Looks at the next blobs and removes those that nothing refers to; `false` if it is not time for that.
async fn walk(app: &App) -> Result<bool> {
    let walk = app.store.get(&WALK, ()).await?.unwrap_or_default();
    let now = app.clock.millis();
    if walk.next > now {
        return Ok(false);
    }
    let old = (UNIX_EPOCH + Duration::from_millis(now))
        .checked_sub(ORPHAN_AGE)
        .unwrap_or(UNIX_EPOCH);
    if walk.after.is_none() {
        match app.blobs.remove_unfinished(old).await {
            Ok(0) => {}
            Ok(removed) => {
                tracing::info!(removed, "removed what uploads that were cut off had left")
            }
            // An S3 server, or its key, may not allow it; then a rule of the bucket's does it.
            Err(error) => tracing::warn!(%error, "uploads that were cut off are not cleared away"),
        }
    }
    let after = remove_orphans(app, walk.after.as_deref(), old).await?;
    let next = &match after {
        Some(after) => Walk {
            next: walk.next,
            after: Some(after),
        },
        None => Walk {
            next: app.clock.after(WALK_EVERY),
            after: None,
        },
    };
    let walk = &walk;
    app.store
        .transact(|mut tx| async move {
            // Another server may be further already.
            if tx.get(&WALK, ()).await?.unwrap_or_default() == *walk {
                tx.put(&WALK, (), next)?;
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(true)
}

/// Removes those of the next blobs that nothing refers to; returns the last one that was looked at, unless there are no
/// further ones.
async fn remove_orphans(app: &App, after: Option<&str>, old: SystemTime) -> Result<Option<String>> {
    let page = app.blobs.page(after, WALK_STEP).await;
    let page = page.map_err(keep::not_reached)?;
    let ids: Vec<&str> = page
        .iter()
        .filter(|blob| blob.finished < old)
        .map(|blob| blob.id.as_str())
        .collect();
    let entered = app.store.get_many(&MEDIA, ids.clone()).await?;
    let claimed = app.store.get_many(&UPLOADS, ids.clone()).await?;
    let mut removed = 0;
    for ((id, entered), claimed) in ids.into_iter().zip(entered).zip(claimed) {
        if entered.is_none() && claimed.is_none() {
            keep::remove_blob(app, id).await?;
            removed += 1;
        }
    }
    if removed > 0 {
        tracing::info!(removed, "removed blobs that nothing referred to");
    }
    let more = page.len() == WALK_STEP;
    Ok(page.last().filter(|_| more).map(|blob| blob.id.clone()))
}

#[cfg(test)]
mod tests;
