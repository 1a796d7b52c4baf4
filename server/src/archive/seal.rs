//! Encrypted files, written and read in pieces. A file has its name only when it is whole and on the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use age::{
    DecryptError, Decryptor,
    stream::{StreamReader, StreamWriter},
};
use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use super::{Identities, Recipients, on_disk};
use crate::store::{
    file::{beside, sync_name},
    sums::Hash,
};

/// How many bytes are in memory at once.
pub(super) const CHUNK: usize = 128 << 10;

/// What a name ends in until its file is whole.
pub(super) const PARTIAL: &str = ".partial";

/// An encrypted file that is being written. Dropped before it is finished, it leaves nothing.
pub(super) struct Sealing {
    writer: Option<StreamWriter<Hashing>>,
    unfinished: Unfinished,
    place: PathBuf,
}

/// A file that is removed when it goes out of scope.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // If this fails, the next backup removes it.
        let _ = fs::remove_file(&self.0);
    }
}

struct Hashing {
    file: File,
    hash: Sha256,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sealing {
    /// Begins the file that will be at `place`.
    pub(super) async fn begin(place: PathBuf, recipients: &Recipients) -> io::Result<Self> {
        let recipients = recipients.clone();
        on_disk(move || {
            let (file, unfinished) = create(&place)?;
            let hashing = Hashing {
                file,
                hash: Sha256::new(),
            };
            let writer = Some(recipients.encryptor()?.wrap_output(hashing)?);
            Ok(Self {
                writer,
                unfinished,
                place,
            })
        })
        .await
    }

    /// Adds bytes at the end.
    pub(super) async fn write(
        &mut self,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> io::Result<()> {
        let mut writer = self.writer.take().ok_or_else(failed_before)?;
        let write = on_disk(move || {
            writer.write_all(bytes.as_ref())?;
            Ok(writer)
        });
        self.writer = Some(write.await?);
        Ok(())
    }

    /// Gives the file its name, once it is on the disk; the hash of it as it is there.
    pub(super) async fn finish(self) -> io::Result<Hash> {
        let Self {
            writer,
            unfinished,
            place,
        } = self;
        let writer = writer.ok_or_else(failed_before)?;
        on_disk(move || {
            let Hashing { file, hash } = writer.finish()?;
            settle(&file, &unfinished, &place)?;
            Ok(hash.finalize().into())
        })
        .await
    }
}

fn failed_before() -> io::Error {
    io::Error::other("an earlier write to this file has failed")
}

/// Writes a small file that is not encrypted, in the same way. Blocks.
pub(super) fn write_plain(place: &Path, text: &str) -> io::Result<()> {
    let (mut file, unfinished) = create(place)?;
    file.write_all(text.as_bytes())?;
    settle(&file, &unfinished, place)
}

fn create(place: &Path) -> io::Result<(File, Unfinished)> {
    let partial = beside(place, PARTIAL);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    Ok((options.open(&partial)?, Unfinished(partial)))
}

fn settle(file: &File, unfinished: &Unfinished, place: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(&unfinished.0, place)?;
    sync_name(place)
}

/// An encrypted file that is being read. What it gives is what was written, or an error.
pub(super) struct Opening(StreamReader<File>);

impl Opening {
    /// Opens a file. Blocks.
    ///
    /// # Errors
    /// None of the keys opens it, or it is no such file.
    pub(super) fn begin(path: &Path, identities: &Identities) -> anyhow::Result<Self> {
        let file =
            File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let opened = Decryptor::new(file).and_then(|file| file.decrypt(identities.each()));
        match opened {
            Ok(reader) => Ok(Self(reader)),
            Err(DecryptError::NoMatchingKeys) => {
                bail!("The backup was encrypted to other keys; this one does not open it.")
            }
            Err(error) => Err(error).with_context(|| format!("{} is damaged", path.display())),
        }
    }

    /// The next piece; empty at the end.
    pub(super) async fn next(mut self) -> io::Result<(Vec<u8>, Self)> {
        on_disk(move || {
            let mut piece = Vec::with_capacity(CHUNK);
            let most = CHUNK as u64;
            self.0.by_ref().take(most).read_to_end(&mut piece)?;
            Ok((piece, self))
        })
        .await
    }
}

impl Read for Opening {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

/// The hash of a file as it is on the disk.
pub(super) async fn hash_file(path: PathBuf) -> io::Result<Hash> {
    on_disk(move || {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(hash.finalize().into()),
                read => hash.update(chunk.get(..read).unwrap_or_default()),
            }
        }
    })
    .await
}
