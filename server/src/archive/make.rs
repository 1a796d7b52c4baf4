//! Makes a backup, beside whatever else the server does.

use std::{io, path::PathBuf};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{
    Recipients, Shelf, blocking,
    copying::Copying,
    frame::{Frame, Head, MAGIC, Manifest, Tally},
    seal::Sealing,
    shelf::snapshot_file,
};
use crate::{
    progress::Progress,
    state::App,
    store::{
        engine::{Pages, Pair, Snapshot},
        sums::{Hash, Summing, Sums},
    },
};

/// A frame takes no further entry once it has this many bytes.
const MAX_FRAME_BYTES: usize = 4 << 20;

/// What backup to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The directory of backups.
    pub destination: PathBuf,
    /// The public keys to encrypt to; where there are none, those of the server's configuration.
    pub recipients: Vec<String>,
    /// How many backups to keep, with this one; all where it is not said.
    pub keep: Option<usize>,
}

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// The entries of the store.
    pub entries: u64,
    /// The blobs that belong to it, and their bytes.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many blobs were not in an earlier backup.
    pub copied: u64,
    /// How many blobs were deleted while it was made, and are not in it.
    pub gone: u64,
    /// How many blobs the server should have and has not, or not whole.
    pub missing: u64,
    /// How many older backups were removed.
    pub pruned: usize,
    /// What is wrong with earlier backups, in sentences for the operator; this one is whole nevertheless.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Makes a backup of one moment's state. It counts once it is whole and on the disk; whatever fails leaves earlier ones as
/// they were.
///
/// # Errors
/// The order cannot be done, or the store or a disk fails; in a sentence for the operator.
pub async fn make(app: &App, order: &Order, told: &mut dyn Progress) -> anyhow::Result<Made> {
    ensure!(
        order.keep != Some(0),
        "Keep at least the backup that is made now: --keep 1."
    );
    let recipients = Recipients::parse(match order.recipients.as_slice() {
        [] => &app.config.backup.recipients,
        named => named,
    })?;
    let shelf = Shelf::at(&order.destination);
    let lock = blocking(&shelf, Shelf::lock).await?;
    let tidied = blocking(&shelf, |shelf| Ok(shelf.tidy()?)).await;
    let now = app.clock.millis();
    let name = blocking(&shelf, move |shelf| shelf.new_name(now)).await?;

    let written = write_snapshot(app, &shelf, &name, now, &recipients, told).await?;
    let Written {
        entries,
        tally,
        copied,
        files,
        mut warnings,
    } = written;
    let finished = name.clone();
    blocking(
        &shelf,
        move |shelf| Ok(shelf.write_list(&finished, &files)?),
    )
    .await?;
    if let Err(error) = tidied {
        warnings.push(format!(
            "What an interrupted backup has left was not removed: {error:#}."
        ));
    }
    // It is made: what goes wrong now does not change that.
    let made = name.clone();
    let mut pruned = 0;
    if let Some(keep) = order.keep {
        match blocking(&shelf, move |shelf| Ok(shelf.prune(keep, &made)?)).await {
            Ok(removed) => pruned = removed,
            Err(error) => warnings.push(format!("Older backups were not removed: {error:#}.")),
        }
        if let Err(error) = blocking(&shelf, Shelf::sweep).await {
            warnings.push(format!("Blobs of removed backups stay: {error:#}."));
        }
    }
    drop(lock);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        entries,
        blobs = tally.kept,
        missing = tally.missing,
        "a backup was made"
    );
    Ok(Made {
        name,
        entries,
        blobs: tally.kept,
        bytes: tally.bytes,
        copied,
        gone: tally.gone,
        missing: tally.missing,
        pruned,
        warnings,
    })
}

/// What has been written of a backup that is not finished yet.
struct Written {
    entries: u64,
    tally: Tally,
    copied: u64,
    files: Vec<(String, Hash)>,
    warnings: Vec<String>,
}

async fn write_snapshot(
    app: &App,
    shelf: &Shelf,
    name: &str,
    created: u64,
    recipients: &Recipients,
    told: &mut dyn Progress,
) -> anyhow::Result<Written> {
    let snapshot = app.store.engine().snapshot().await?;
    let mut file = Sealing::begin(shelf.snapshot(name), recipients).await?;
    file.write(MAGIC).await?;
    let program = env!("CARGO_PKG_VERSION").to_owned();
    file.write(Frame::Head(Head { created, program }).encode()?)
        .await?;
    told.begin("writing entries", None);
    let sums = write_entries(&*snapshot, &mut file, told).await?;
    let entries = sums.entries();
    told.begin("writing blobs", None);
    let mut blobs = Copying::new(app, shelf, recipients);
    blobs.run(&*snapshot, &mut file, told).await?;
    let warnings = blobs.warnings();
    let Copying {
        tally,
        copied,
        mut files,
        ..
    } = blobs;
    let manifest = Manifest { sums, blobs: tally };
    file.write(Frame::End(manifest).encode()?).await?;
    files.push((snapshot_file(name), file.finish().await?));
    Ok(Written {
        entries,
        tally,
        copied,
        files,
        warnings,
    })
}

async fn write_entries(
    snapshot: &dyn Snapshot,
    file: &mut Sealing,
    told: &mut dyn Progress,
) -> anyhow::Result<Sums> {
    let mut summing = Summing::default();
    let mut pages = Pages::new(snapshot, None);
    while let Some(page) = pages.next().await? {
        told.advance(page.len() as u64);
        let (mut frame, mut bytes) = (Vec::new(), 0);
        for pair in page {
            summing.add(&pair);
            bytes += pair.0.len() + pair.1.len();
            frame.push(pair);
            if bytes >= MAX_FRAME_BYTES {
                bytes = 0;
                write(file, std::mem::take(&mut frame)).await?;
            }
        }
        write(file, frame).await?;
    }
    Ok(summing.finish())
}

async fn write(file: &mut Sealing, entries: Vec<Pair>) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    file.write(Frame::Entries(entries).encode()?).await
}
