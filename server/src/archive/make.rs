//! Makes a backup, beside whatever else the server does.

use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::{
    Recipients, Shelf,
    frame::{BlobLine, Found, Frame, Head, MAGIC, Manifest, Tally},
    on_disk,
    seal::Sealing,
    shelf::{blob_file, snapshot_file},
};
use crate::{
    media::MEDIA,
    progress::Progress,
    state::App,
    store::{
        engine::{Pair, Snapshot},
        filling::PAGE,
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
    let now = app.clock.millis();
    let name = blocking(&shelf, move |shelf| shelf.new_name(now)).await?;

    let written = write_snapshot(app, &shelf, &name, now, &recipients, told).await?;
    let Written {
        entries,
        tally,
        copied,
        files,
    } = written;
    let (finished, keep) = (name.clone(), order.keep);
    let pruned = blocking(&shelf, move |shelf| {
        shelf.write_list(&finished, &files)?;
        keep.map_or(Ok(0), |keep| shelf.prune(keep))
    })
    .await?;
    drop(lock);
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
    })
}

/// What has been written of a backup that is not finished yet.
struct Written {
    entries: u64,
    tally: Tally,
    copied: u64,
    files: Vec<(String, Hash)>,
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
    })
}

async fn blocking<T: Send + 'static>(
    shelf: &Shelf,
    act: impl FnOnce(&Shelf) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let shelf = shelf.clone();
    tokio::task::spawn_blocking(move || act(&shelf)).await?
}

async fn write_entries(
    snapshot: &dyn Snapshot,
    file: &mut Sealing,
    told: &mut dyn Progress,
) -> anyhow::Result<Sums> {
    let mut summing = Summing::default();
    let mut after = None;
    loop {
        let page = snapshot.page(after.take(), PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
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

/// Copies the blobs that a snapshot speaks of.
struct Copying<'a> {
    app: &'a App,
    shelf: &'a Shelf,
    recipients: &'a Recipients,
    fingerprint: Hash,
    earlier: Earlier,
    files: Vec<(String, Hash)>,
    tally: Tally,
    copied: u64,
}

impl<'a> Copying<'a> {
    fn new(app: &'a App, shelf: &'a Shelf, recipients: &'a Recipients) -> Self {
        Self {
            app,
            shelf,
            recipients,
            fingerprint: recipients.fingerprint(),
            earlier: Earlier::default(),
            files: Vec::new(),
            tally: Tally::default(),
            copied: 0,
        }
    }

    async fn run(
        &mut self,
        snapshot: &dyn Snapshot,
        file: &mut Sealing,
        told: &mut dyn Progress,
    ) -> anyhow::Result<()> {
        self.earlier = Earlier {
            files: HashMap::new(),
            unread: blocking(self.shelf, |shelf| Ok(shelf.names()?)).await?,
        };
        // The keys of this table alone: its number, and everything that begins with it.
        let table = MEDIA.describe().0.to_be_bytes();
        let mut after = Some(table.to_vec());
        loop {
            let page = snapshot.page(after.take(), PAGE).await?;
            let media = page.iter().filter(|(key, _)| key.starts_with(&table));
            let mut seen = 0;
            for pair in media {
                let (id, media) = MEDIA.decode_entry(pair)?;
                let found = self.keep(&id, media.size).await?;
                self.tally.add(&found);
                if let Found::Kept { file, sealed, .. } = &found {
                    self.files.push((file.clone(), *sealed));
                }
                file.write(Frame::Blob(BlobLine { id, found }).encode()?)
                    .await?;
                seen += 1;
                told.advance(1);
            }
            match page.last() {
                Some((last, _)) if seen == page.len() => after = Some(last.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Sees to it that a blob is in the directory.
    async fn keep(&mut self, id: &str, size: u64) -> anyhow::Result<Found> {
        for copy in 0.. {
            let name = blob_file(&self.fingerprint, id, copy);
            let path = self.shelf.path(&name).context("a name that cannot be")?;
            let there = on_disk({
                let path = path.clone();
                move || length(&path)
            })
            .await?;
            match self
                .earlier
                .sealed(self.shelf, &name, there.is_some())
                .await?
            {
                // Encrypted, it has more bytes than in the clear; with fewer, it was cut.
                Some(sealed) if there.is_some_and(|there| there > size) => {
                    return Ok(Found::Kept {
                        size,
                        file: name,
                        sealed,
                    });
                }
                // An earlier backup speaks of it: it stays as it is.
                Some(_) => {}
                None => {
                    if there.is_some() {
                        let path = path.clone();
                        on_disk(move || fs::remove_file(path)).await?;
                    }
                    return self.copy(id, size, name, path).await;
                }
            }
        }
        anyhow::bail!("no name is free")
    }

    async fn copy(
        &mut self,
        id: &str,
        size: u64,
        name: String,
        path: PathBuf,
    ) -> anyhow::Result<Found> {
        let mut blob = match self.app.blobs.read(id, None).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return self.absent(id).await,
            read => read.context("A blob cannot be read")?,
        };
        if blob.size != size {
            return self.absent(id).await;
        }
        if let Some(shard) = path.parent().map(ToOwned::to_owned) {
            on_disk(move || super::shelf::make_directory(&shard)).await?;
        }
        let mut sealing = Sealing::begin(path, self.recipients).await?;
        let mut copied = 0;
        loop {
            match blob.stream.try_next().await {
                Ok(Some(bytes)) => {
                    copied += bytes.len() as u64;
                    sealing.write(bytes).await?;
                }
                Ok(None) => break,
                // It may have been deleted under our hands.
                Err(error) => match self.absent(id).await? {
                    Found::Gone => return Ok(Found::Gone),
                    _ => return Err(error).context("A blob cannot be read"),
                },
            }
        }
        if copied != size {
            return self.absent(id).await;
        }
        self.copied += 1;
        Ok(Found::Kept {
            size,
            file: name,
            sealed: sealing.finish().await?,
        })
    }

    /// Blobs are deleted after their record: one whose record is there still should be there.
    async fn absent(&self, id: &str) -> anyhow::Result<Found> {
        Ok(match self.app.store.get(&MEDIA, id).await? {
            None => Found::Gone,
            Some(_) => Found::Missing,
        })
    }
}

/// The checksums of earlier backups' files, read as far back as needed.
#[derive(Default)]
struct Earlier {
    files: HashMap<String, Hash>,
    unread: Vec<String>,
}

impl Earlier {
    /// The checksum of a file by the lists of earlier backups, if one of them has it.
    async fn sealed(
        &mut self,
        shelf: &Shelf,
        file: &str,
        exists: bool,
    ) -> anyhow::Result<Option<Hash>> {
        loop {
            if let Some(hash) = self.files.get(file) {
                return Ok(Some(*hash));
            }
            // Without the file, a list that has it would be of a damaged backup; that one need not be kept as it is.
            let Some(next) = exists.then(|| self.unread.pop()).flatten() else {
                return Ok(None);
            };
            self.files
                .extend(blocking(shelf, move |shelf| shelf.list(&next)).await?);
        }
    }
}

fn length(path: &std::path::Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(about) => Ok(Some(about.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
