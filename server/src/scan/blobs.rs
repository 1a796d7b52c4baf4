//! Blobs: each is read whole, in pieces, and must look encrypted; each that the store speaks of must be there.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use futures_util::TryStreamExt;
use respite_protocol::ciphertext::BlobCheck;

use super::{Blob, Report, judge::Flaw};
use crate::{
    blobs::Listed,
    gate,
    media::{MEDIA, ORPHANS_KEPT, UPLOADS},
    state::App,
    store::StoreError,
};

const PLACE: &str = "blobs";

/// Looks at all blobs; `expected` has those that must be there, by id.
pub(super) async fn scan(
    app: &App,
    mut expected: BTreeMap<String, Blob>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut blobs = app.blobs.list();
    while let Some(blob) = blobs.try_next().await.map_err(unavailable)? {
        let entered = expected.remove(&blob.id);
        let size = entered.as_ref().map(|entered| entered.size);
        let guarded = entered.map_or_else(
            || gate::guards(&app.config, false),
            |entered| entered.guarded,
        );
        match verdict(app, &blob.id, guarded).await {
            // An upload that is finished but not entered yet may be younger than the snapshot.
            Ok(()) if size.is_none() && !is_known(app, &blob.id).await? => {
                match left_over(app, &blob).await? {
                    true => report.add(PLACE, blob.id.as_bytes(), Flaw::Orphan),
                    false => report.note(&blob.id, age(app, &blob)),
                }
            }
            Ok(()) if size.is_some_and(|size| size != blob.size) => {
                report.add(PLACE, blob.id.as_bytes(), Flaw::Missing);
            }
            Ok(()) => report.blobs += 1,
            Err(flaw) => report.add(PLACE, blob.id.as_bytes(), flaw),
        }
    }
    for id in expected.into_keys() {
        // One that was deleted since the snapshot is not missed.
        if is_known(app, &id).await? {
            report.add(PLACE, id.as_bytes(), Flaw::Missing);
        }
    }
    Ok(())
}

async fn verdict(app: &App, id: &str, guarded: bool) -> Result<(), Flaw> {
    let mut blob = app.blobs.read(id, None).await.map_err(|_| Flaw::Missing)?;
    let mut check = BlobCheck::new();
    while let Some(bytes) = blob.stream.try_next().await.map_err(|_| Flaw::Unreadable)? {
        check.feed(&bytes);
    }
    match guarded {
        true => check.finish().map_err(|_| Flaw::Refused),
        false => Ok(()),
    }
}

/// Whether a blob that belongs to nothing should have been removed by now.
async fn left_over(app: &App, blob: &Listed) -> Result<bool, StoreError> {
    let claimed = app.store.get(&UPLOADS, &blob.id).await?.is_some();
    Ok(!claimed && age(app, blob) >= ORPHANS_KEPT)
}

fn age(app: &App, blob: &Listed) -> Duration {
    let now = UNIX_EPOCH + Duration::from_millis(app.clock.millis());
    // The clock of the storage may be ahead.
    now.duration_since(blob.finished).unwrap_or_default()
}

async fn is_known(app: &App, id: &str) -> Result<bool, StoreError> {
    Ok(app.store.get(&MEDIA, id).await?.is_some())
}

fn unavailable(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("the blobs cannot be listed: {error}"))
}
