//! Brings a backup back, into a store and a place for blobs that are empty.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

use super::{
    Shelf, Source,
    frame::{BlobLine, Found, Frame},
    read::{self, Reading},
    seal::{Opening, hash_file},
};
use crate::{
    blobs::Blobs,
    clock::Random,
    inbox::token::EPOCH,
    keys::forget_one_time_keys,
    migrate::hash_blob,
    progress::Progress,
    store::{
        Engine, Store, Value,
        filling::{self, FillError, Filling},
        sums::{Hash, Sums},
    },
};

/// What a restore has brought back.
#[derive(Debug)]
pub struct Restored {
    /// When the backup was begun, in milliseconds since 1970.
    pub created: u64,
    /// The entries, by table.
    pub sums: Sums,
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many blobs are not there because they were deleted while the backup was made, or because the server had lost them.
    pub absent: u64,
}

/// Brings a backup back, or goes on where an interrupted restore has stopped. The whole backup is read and checked before
/// anything is written, and the store is opened for use last, when it is what the backup says.
///
/// # Errors
/// The backup is damaged, its key is another one, the target is not empty, or a disk fails; in a sentence for the operator.
pub async fn restore(
    source: &Source,
    to: Arc<dyn Engine>,
    blobs: &Blobs,
    random: &Random,
    told: &mut dyn Progress,
) -> anyhow::Result<Restored> {
    told.begin("checking the backup", None);
    let (head, manifest) = read::whole(source, told).await?;
    // Only before anything is written: what an interrupted restore goes on with has blobs.
    if filling::is_empty(&*to).await? {
        ensure!(
            blobs.list().next().await.transpose()?.is_none(),
            "There are blobs at the target already. A backup is restored into an empty place only."
        );
    }
    let mut filling = match Filling::begin(to.clone(), manifest.sums.fingerprint()).await {
        Err(FillError::NotEmpty) => {
            bail!("The store is not empty. A backup is restored into an empty one only.")
        }
        begun => begun.context("The store cannot be used")?,
    };
    fill(source, &mut filling, blobs, manifest.sums.entries(), told).await?;
    told.begin("comparing the store", Some(manifest.sums.entries()));
    match filling
        .verify(&manifest.sums, &mut |n| told.advance(n))
        .await
    {
        Err(FillError::Differs(tables)) => bail!(
            "The store differs from the backup in the tables {tables:04x?}, so it cannot be used. Empty it and start again."
        ),
        other => other.context("The store cannot be verified")?,
    }
    // People's clients may have seen more than the backup has: what was given out since then must not be given out again
    // as if it were new.
    forget_one_time_keys(&Store::new(to)).await?;
    let epoch = u64::from_be_bytes(random.bytes());
    filling
        .finish(vec![(EPOCH.key(&()), epoch.encode()?)])
        .await
        .context("The store cannot be finished")?;
    Ok(Restored {
        created: head.created,
        sums: manifest.sums,
        blobs: manifest.blobs.kept,
        bytes: manifest.blobs.bytes,
        absent: manifest.blobs.gone + manifest.blobs.missing,
    })
}

async fn fill(
    source: &Source,
    filling: &mut Filling,
    blobs: &Blobs,
    entries: u64,
    told: &mut dyn Progress,
) -> anyhow::Result<()> {
    told.begin("restoring entries", Some(entries));
    let (_, mut reading) = Reading::begin(source).await?;
    let mut at_blobs = false;
    loop {
        let (frame, rest) = reading.next().await?;
        reading = rest;
        match frame {
            Frame::Entries(page) => {
                told.advance(page.len() as u64);
                filling.put(page).await?;
            }
            Frame::Blob(line) => {
                if !at_blobs {
                    told.begin("restoring blobs", None);
                    at_blobs = true;
                }
                bring(source, &line, blobs).await?;
                told.advance(1);
            }
            Frame::Head(_) => {}
            Frame::End(_) => return Ok(()),
        }
    }
}

/// Brings one blob back, unless it is there already.
async fn bring(source: &Source, line: &BlobLine, blobs: &Blobs) -> anyhow::Result<()> {
    let Found::Kept { size, file, sealed } = &line.found else {
        return Ok(());
    };
    if let Some(there) = hash_blob(blobs, &line.id).await?
        && there == unseal(source, file, sealed, *size, None).await?
    {
        return Ok(());
    }
    // Also what an interrupted restore has left.
    blobs.delete(&line.id).await?;
    let sent = unseal(source, file, sealed, *size, Some((blobs, &line.id))).await?;
    ensure!(
        hash_blob(blobs, &line.id).await? == Some(sent),
        "A blob is not what was written: the target's disk is not to be trusted."
    );
    Ok(())
}

/// Decrypts a blob's file and writes it, if there is somewhere to write it to; its hash in the clear.
pub(super) async fn unseal(
    source: &Source,
    file: &str,
    sealed: &Hash,
    size: u64,
    to: Option<(&Blobs, &str)>,
) -> anyhow::Result<Hash> {
    let damaged = || format!("The backup is damaged: {file} is not as it was written");
    let path = source.shelf.path(file).with_context(damaged)?;
    let is = hash_file(path.clone()).await.with_context(damaged)?;
    ensure!(is == *sealed, damaged());
    let identities = source.identities.clone();
    let mut opening =
        tokio::task::spawn_blocking(move || Opening::begin(&path, &identities)).await??;
    let mut writer = match to {
        Some((blobs, id)) => Some(blobs.writer(id).await?),
        None => None,
    };
    let (mut hash, mut length) = (Sha256::new(), 0);
    loop {
        let (piece, rest) = opening.next().await.with_context(damaged)?;
        opening = rest;
        if piece.is_empty() {
            break;
        }
        hash.update(&piece);
        length += piece.len() as u64;
        if let Some(writer) = &mut writer {
            writer.write(piece.into()).await?;
        }
    }
    ensure!(length == size, damaged());
    if let Some(writer) = writer {
        writer.finish().await?;
    }
    Ok(hash.finalize().into())
}

impl Source {
    /// The backup of this name, or else the newest.
    ///
    /// # Errors
    /// There is none.
    pub fn find(
        shelf: Shelf,
        name: Option<&str>,
        identities: super::Identities,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            name: shelf.find(name)?,
            shelf,
            identities,
        })
    }
}
