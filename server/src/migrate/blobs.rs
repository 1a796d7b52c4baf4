//! Moves blobs from one place to another.

use std::io::{self, ErrorKind};

use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};

use crate::{blobs::Blobs, progress::Progress, store::sums::Hash};

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiedBlobs {
    /// All blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them were there already, and whole.
    pub there: u64,
}

/// Copies every blob that is not there yet. Each that is there is read and compared, each that is copied is read back and
/// compared.
///
/// # Errors
/// A blob cannot be read or written, or is not the same afterwards.
pub async fn copy_blobs(
    from: &Blobs,
    to: &Blobs,
    told: &mut dyn Progress,
) -> anyhow::Result<CopiedBlobs> {
    told.begin("copying blobs", None);
    let mut copied = CopiedBlobs::default();
    let mut all = from.list();
    while let Some(blob) = all.try_next().await.context("The blobs cannot be listed")? {
        let is_new = copy_blob(from, to, &blob.id)
            .await
            .context("A blob cannot be copied")?;
        copied.blobs += 1;
        copied.bytes += blob.size;
        copied.there += u64::from(!is_new);
        told.advance(1);
    }
    Ok(copied)
}

/// Whether it had to be copied.
async fn copy_blob(from: &Blobs, to: &Blobs, id: &str) -> anyhow::Result<bool> {
    if let Some(there) = hash_blob(to, id).await? {
        if hash_blob(from, id).await? == Some(there) {
            return Ok(false);
        }
        to.delete(id).await?;
    }
    let mut writer = to.writer(id).await?;
    let mut blob = from.read(id, None).await?;
    let mut hashing = Sha256::new();
    while let Some(bytes) = blob.stream.try_next().await? {
        hashing.update(&bytes);
        writer.write(bytes).await?;
    }
    ensure!(
        writer.size() == blob.size,
        "it ended before its time: the source is damaged"
    );
    writer.finish().await?;
    let sent: Hash = hashing.finalize().into();
    ensure!(
        hash_blob(to, id).await? == Some(sent),
        "what arrived is not what was sent"
    );
    Ok(true)
}

/// The SHA-256 of a blob; `None` if there is none.
///
/// # Errors
/// It cannot be read.
pub async fn hash_blob(blobs: &Blobs, id: &str) -> io::Result<Option<Hash>> {
    let mut blob = match blobs.read(id, None).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let mut hash = Sha256::new();
    while let Some(bytes) = blob.stream.try_next().await? {
        hash.update(&bytes);
    }
    Ok(Some(hash.finalize().into()))
}
