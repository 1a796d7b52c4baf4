//! Reads a backup's snapshot from its first line to its last, and finds out whether it is what was written.

use std::io::{self, ErrorKind, Read};

use anyhow::{Context, bail, ensure};

use super::{
    Source,
    frame::{Frame, Head, MAGIC, Manifest, Tally},
    on_disk,
    seal::{Opening, hash_file},
    shelf::snapshot_file,
};
use crate::{progress::Progress, store::sums::Summing};

/// A snapshot that is being read.
pub(super) struct Reading(Opening);

impl Reading {
    /// Opens a backup's snapshot and reads its head.
    pub(super) async fn begin(source: &Source) -> anyhow::Result<(Head, Self)> {
        let path = source.shelf.snapshot(&source.name);
        let identities = source.identities.clone();
        let mut opening =
            tokio::task::spawn_blocking(move || Opening::begin(&path, &identities)).await??;
        let read = on_disk(move || {
            let mut magic = vec![0; MAGIC.len()];
            opening.read_exact(&mut magic)?;
            if magic != MAGIC {
                return Err(ErrorKind::Unsupported.into());
            }
            Ok((Frame::read(&mut opening)?, Self(opening)))
        });
        match read.await {
            Ok((Frame::Head(head), reading)) => Ok((head, reading)),
            Err(error) if error.kind() != ErrorKind::Unsupported => Err(damaged(error)),
            _ => bail!("This is no backup of Respite, or one of another version."),
        }
    }

    /// The next frame.
    pub(super) async fn next(self) -> anyhow::Result<(Frame, Self)> {
        let Self(mut opening) = self;
        on_disk(move || Ok((Frame::read(&mut opening)?, Self(opening))))
            .await
            .map_err(damaged)
    }

    /// Sees that nothing comes any more. A file that was cut shows it here at the latest.
    async fn end(self) -> anyhow::Result<()> {
        let Self(mut opening) = self;
        let more = on_disk(move || opening.read(&mut [0]))
            .await
            .map_err(damaged)?;
        ensure!(
            more == 0,
            "The backup is damaged: it goes on after its end."
        );
        Ok(())
    }
}

fn damaged(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("The backup is damaged, or cannot be read")
}

/// Reads all of it and compares it with its checksum and its manifest.
pub(super) async fn whole(
    source: &Source,
    told: &mut dyn Progress,
) -> anyhow::Result<(Head, Manifest)> {
    let (shelf, name) = (source.shelf.clone(), source.name.clone());
    let list = tokio::task::spawn_blocking(move || shelf.list(&name)).await??;
    let path = source.shelf.snapshot(&source.name);
    let sum = hash_file(path).await.context("The backup cannot be read")?;
    ensure!(
        list.get(&snapshot_file(&source.name)) == Some(&sum),
        "The backup {} is damaged: it does not match its checksum.",
        source.name
    );
    let (head, mut reading) = Reading::begin(source).await?;
    let (mut summing, mut blobs) = (Summing::default(), Tally::default());
    loop {
        let (frame, rest) = reading.next().await?;
        reading = rest;
        match frame {
            Frame::Entries(entries) => {
                told.advance(entries.len() as u64);
                entries.iter().for_each(|pair| summing.add(pair));
            }
            Frame::Blob(line) => blobs.add(&line.found),
            Frame::Head(_) => bail!("The backup is damaged: it begins twice."),
            Frame::End(manifest) => {
                reading.end().await?;
                let came = Manifest {
                    sums: summing.finish(),
                    blobs,
                };
                ensure!(
                    came == manifest,
                    "The backup is damaged: it does not hold what its manifest says."
                );
                return Ok((head, manifest));
            }
        }
    }
}
