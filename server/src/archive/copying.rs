//! Copies blobs into a directory of backups, unless an earlier backup has done so.

use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::Context;
use futures_util::TryStreamExt;

use super::{
    Recipients, Shelf, blocking,
    frame::{BlobLine, Found, Frame, Tally},
    on_disk,
    seal::Sealing,
    shelf::blob_file,
};
use crate::{
    media::{MEDIA, Media},
    progress::Progress,
    rooms::deletion::DELETIONS,
    state::App,
    store::{
        engine::{Pages, Snapshot},
        file::make_directory,
        sums::Hash,
    },
};

/// Copies the blobs that a snapshot speaks of.
pub(super) struct Copying<'a> {
    app: &'a App,
    shelf: &'a Shelf,
    recipients: &'a Recipients,
    fingerprint: Hash,
    earlier: Earlier,
    pub(super) files: Vec<(String, Hash)>,
    pub(super) tally: Tally,
    pub(super) copied: u64,
}

impl<'a> Copying<'a> {
    pub(super) fn new(app: &'a App, shelf: &'a Shelf, recipients: &'a Recipients) -> Self {
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

    pub(super) async fn run(
        &mut self,
        snapshot: &dyn Snapshot,
        file: &mut Sealing,
        told: &mut dyn Progress,
    ) -> anyhow::Result<()> {
        self.earlier.unread = blocking(self.shelf, |shelf| Ok(shelf.names()?)).await?;
        // The keys of this table alone: its number, and everything that begins with it.
        let table = MEDIA.describe().0.to_be_bytes();
        let mut pages = Pages::new(snapshot, Some(table.to_vec()));
        while let Some(page) = pages.next().await? {
            for pair in &page {
                if !pair.0.starts_with(&table) {
                    return Ok(());
                }
                let (id, media) = MEDIA.decode_entry(pair)?;
                let found = self.keep(&id, &media).await?;
                self.tally.add(&found);
                if let Found::Kept { file, sealed, .. } = &found {
                    self.files.push((file.clone(), *sealed));
                }
                file.write(Frame::Blob(BlobLine { id, found }).encode()?)
                    .await?;
                told.advance(1);
            }
        }
        Ok(())
    }

    /// What is wrong with earlier backups, in sentences for the operator.
    pub(super) fn warnings(&self) -> Vec<String> {
        let damaged = self.earlier.damaged.iter();
        let told = damaged.map(|name| {
            format!("The list of files of the backup {name} is damaged. What it alone names was copied again.")
        });
        told.collect()
    }

    /// Sees to it that a blob is in the directory.
    async fn keep(&mut self, id: &str, media: &Media) -> anyhow::Result<Found> {
        for copy in 0.. {
            let name = blob_file(&self.fingerprint, id, copy);
            let path = self.shelf.path(&name).context("a name that cannot be")?;
            let there = on_disk({
                let path = path.clone();
                move || length(&path)
            })
            .await?;
            let Some(length) = there else {
                // A list that has it would be of a damaged backup; that one need not be kept as it is.
                return self.copy(id, media, name, path).await;
            };
            match self.earlier.owner(self.shelf, &name).await? {
                // Encrypted, it has more bytes than in the clear; with fewer, it was cut.
                Owner::Listed(sealed) if length > media.size => {
                    return Ok(Found::Kept {
                        size: media.size,
                        file: name,
                        sealed,
                    });
                }
                // An earlier backup speaks of it, or may do so: it stays as it is.
                Owner::Listed(_) | Owner::Unknown => {}
                Owner::Nobody => {
                    let old = path.clone();
                    on_disk(move || fs::remove_file(old)).await?;
                    return self.copy(id, media, name, path).await;
                }
            }
        }
        anyhow::bail!("no name is free")
    }

    async fn copy(
        &mut self,
        id: &str,
        media: &Media,
        name: String,
        path: PathBuf,
    ) -> anyhow::Result<Found> {
        let mut blob = match self.app.blobs.read(id, None).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.absent(id, media).await;
            }
            read => read.context("A blob cannot be read")?,
        };
        if blob.size != media.size {
            return self.absent(id, media).await;
        }
        if let Some(shard) = path.parent().map(ToOwned::to_owned) {
            on_disk(move || make_directory(&shard)).await?;
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
                Err(error) => match self.absent(id, media).await? {
                    Found::Gone => return Ok(Found::Gone),
                    _ => return Err(error).context("A blob cannot be read"),
                },
            }
        }
        if copied != media.size {
            return self.absent(id, media).await;
        }
        self.copied += 1;
        Ok(Found::Kept {
            size: media.size,
            file: name,
            sealed: sealing.finish().await?,
        })
    }

    /// A blob is deleted after its record, so that one whose record is there still should be there; but with a room that is
    /// being deleted, its documents' bytes go first. Their records go before the note that it is being deleted, so that
    /// the note is looked for first.
    async fn absent(&self, id: &str, media: &Media) -> anyhow::Result<Found> {
        let store = &self.app.store;
        if let Some(room) = &media.room
            && store.get(&DELETIONS, room).await?.is_some()
        {
            return Ok(Found::Gone);
        }
        Ok(match store.get(&MEDIA, id).await? {
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
    /// The backups whose lists cannot be read.
    damaged: Vec<String>,
}

/// Which earlier backup a file belongs to.
enum Owner {
    /// To one whose list has this checksum of it.
    Listed(Hash),
    /// Perhaps to one whose list cannot be read.
    Unknown,
    /// To none.
    Nobody,
}

impl Earlier {
    async fn owner(&mut self, shelf: &Shelf, file: &str) -> anyhow::Result<Owner> {
        loop {
            if let Some(hash) = self.files.get(file) {
                return Ok(Owner::Listed(*hash));
            }
            let Some(name) = self.unread.pop() else {
                return Ok(match self.damaged.is_empty() {
                    true => Owner::Nobody,
                    false => Owner::Unknown,
                });
            };
            let of = name.clone();
            match blocking(shelf, move |shelf| Ok(shelf.list(&of))).await? {
                Ok(list) => self.files.extend(list),
                Err(_) => self.damaged.push(name),
            }
        }
    }
}

fn length(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(about) => Ok(Some(about.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
