//! Moves everything from one store to another, of whatever engine, while no server runs on either.
//!
//! The source is read three times: to count and sum it, to copy it, and, in a new view of it, to see that nobody has
//! changed it meanwhile. The target is read once, and opened for use only if it is the same, table by table.

mod blobs;

use std::sync::Arc;

use anyhow::{Context, ensure};

pub use self::blobs::{CopiedBlobs, copy_blobs, hash_blob};
use crate::{
    blobs::Blobs,
    progress::Progress,
    store::{
        Engine, StoreError,
        engine::{Pages, Snapshot},
        filling::{self, FillError, Filling},
        sums::Sums,
    },
};

/// What a migration has copied.
#[derive(Debug)]
pub struct Migrated {
    /// The entries, by table.
    pub sums: Sums,
    /// The blobs, if there were any to move.
    pub blobs: Option<CopiedBlobs>,
}

/// Copies a store, and blobs with it, or goes on with a copy that was interrupted. The target is opened for use last.
///
/// # Errors
/// The source is unfinished or empty, the target holds something else, the source was changed meanwhile, the two differ in
/// the end, or either fails; in a sentence for the operator. The target cannot be used by a server then.
pub async fn run(
    from: &Arc<dyn Engine>,
    to: &Arc<dyn Engine>,
    blobs: Option<(&Blobs, &Blobs)>,
    told: &mut dyn Progress,
) -> anyhow::Result<Migrated> {
    ensure!(
        !filling::is_unfinished(&**from).await?,
        "The source is not whole: it is itself the target of a migration or a restore that has not finished."
    );
    let snapshot = from.snapshot().await?;
    told.begin("counting what is there", None);
    let sums = filling::sums(&*snapshot, &mut |n| told.advance(n)).await?;
    ensure!(sums.entries() > 0, "There is nothing in the source.");
    let mut filling = Filling::begin(to.clone(), sums.fingerprint())
        .await
        .context("The target cannot be used")?;
    told.begin("copying entries", Some(sums.entries()));
    told.advance(filling.entries());
    copy(&*snapshot, &mut filling, told).await?;
    drop(snapshot);
    let blobs = match blobs {
        Some((from, to)) => Some(copy_blobs(from, to, told).await?),
        None => None,
    };
    told.begin("looking for changes in the source", Some(sums.entries()));
    let now = filling::sums(&*from.snapshot().await?, &mut |n| told.advance(n)).await?;
    ensure!(
        now == sums,
        "The source was changed while it was copied. Stop every server on it, empty the target and start again."
    );
    told.begin("comparing the target", Some(sums.entries()));
    match filling.verify(&sums, &mut |n| told.advance(n)).await {
        Err(FillError::Differs(tables)) => anyhow::bail!(
            "The target differs from the source in the tables {tables:04x?}, so it cannot be used. Empty it and start again."
        ),
        other => other.context("The target cannot be verified")?,
    }
    filling
        .finish(Vec::new())
        .await
        .context("The target cannot be finished")?;
    Ok(Migrated { sums, blobs })
}

async fn copy(
    snapshot: &dyn Snapshot,
    filling: &mut Filling,
    told: &mut dyn Progress,
) -> Result<(), StoreError> {
    let mut pages = Pages::new(snapshot, filling.after().map(<[u8]>::to_vec));
    while let Some(page) = pages.next().await? {
        let read = page.len() as u64;
        filling.put(page).await?;
        told.advance(read);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
