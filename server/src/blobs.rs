//! Encrypted blobs (media, documents) in a directory or in S3-compatible storage, streamed in and out, never whole in
//! memory.
//!
//! Both homes keep the same promise: nobody sees a blob before it is finished, and finished is durable (see
//! `docs/decisions/0006-blobs.md`).

mod directory;
mod home;
mod s3;

use std::{
    io::{self, ErrorKind},
    ops::Range,
    path::Path,
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};

pub use self::home::{CannotOpen, Home, NoHome, S3Access};
use self::{directory::Directory, s3::S3};

/// How many bytes of a blob are in memory at once, for each reader; for a writer, in a directory.
pub const CHUNK_BYTES: usize = 128 << 10;

/// How many bytes of an upload to S3 are in memory at once: the size of a part. S3 takes none smaller (but the last) and at
/// most 10,000 of them, which is 48 GiB.
pub const PART_BYTES: usize = 5 << 20;

/// The shortest id of a blob.
pub const MIN_ID_LENGTH: usize = 32;

/// The longest id of a blob.
pub const MAX_ID_LENGTH: usize = 128;

/// How many characters of the id name the directory that its blob is in.
const SHARD_LENGTH: usize = 2;

/// How many blobs are listed at a time.
const LIST_PAGE: usize = 1_000;

/// The blobs of one server; cheap to clone.
#[derive(Clone)]
pub struct Blobs(Kept);

#[derive(Clone)]
enum Kept {
    Directory(Directory),
    S3(S3),
    Closed,
}

/// A blob that is being read.
pub struct Blob {
    /// The size of the whole blob, whatever range was asked for.
    pub size: u64,
    /// The bytes asked for, in pieces of at most [`CHUNK_BYTES`].
    pub stream: BoxStream<'static, io::Result<Bytes>>,
}

/// A blob in the list of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The blob's id.
    pub id: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was finished.
    pub finished: SystemTime,
}

impl Blobs {
    /// Opens a directory, making it if need be (mode 0700). Several processes may have it open. Blocks.
    ///
    /// # Errors
    /// The directory cannot be made or written to.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Directory::open(directory).map(|directory| Self(Kept::Directory(directory)))
    }

    /// No blobs at all, for who needs none: everything fails, and nothing is opened.
    pub fn closed() -> Self {
        Self(Kept::Closed)
    }

    /// Begins a blob. Of two that are written under one id at the same time, one is kept whole; who must know which lets no
    /// second one begin.
    ///
    /// # Errors
    /// `InvalidInput` if the id is not one, `AlreadyExists` if there is such a blob, and in a directory also if one is being
    /// written; or the disk's or the network's.
    pub async fn writer(&self, id: &str) -> io::Result<BlobWriter> {
        let shard = shard_of(id)?;
        let writing = match &self.0 {
            Kept::Directory(directory) => Writing::Directory(directory.writer(shard, id).await?),
            Kept::S3(s3) => Writing::S3(s3.writer(shard, id).await?),
            Kept::Closed => return Err(closed()),
        };
        Ok(BlobWriter { writing, size: 0 })
    }

    /// Reads a blob, or a range of it; a range that goes beyond the end is cut there.
    ///
    /// # Errors
    /// `NotFound` if there is no such blob; `InvalidInput` if the range is empty or begins beyond the end.
    pub async fn read(&self, id: &str, range: Option<Range<u64>>) -> io::Result<Blob> {
        let shard = shard_of(id).map_err(|_| io::Error::from(ErrorKind::NotFound))?;
        match &self.0 {
            Kept::Directory(directory) => directory.read(shard, id, range).await,
            Kept::S3(s3) => s3.read(shard, id, range).await,
            Kept::Closed => Err(closed()),
        }
    }

    /// Removes a blob, and what an upload under this id that a crash ended has left in a directory; if nothing is there, that
    /// is no error.
    ///
    /// # Errors
    /// The disk's or the network's.
    pub async fn delete(&self, id: &str) -> io::Result<()> {
        let shard = shard_of(id)?;
        match &self.0 {
            Kept::Directory(directory) => directory.delete(shard, id).await,
            Kept::S3(s3) => s3.delete(shard, id).await,
            Kept::Closed => Err(closed()),
        }
    }

    /// Finished blobs in the order of their ids, from the one after `after` on. Fewer than `limit` are the last ones.
    ///
    /// # Errors
    /// The disk's or the network's.
    pub async fn page(&self, after: Option<&str>, limit: usize) -> io::Result<Vec<Listed>> {
        match &self.0 {
            Kept::Directory(directory) => directory.page(after, limit).await,
            Kept::S3(s3) => s3.page(after, limit).await,
            Kept::Closed => Err(closed()),
        }
    }

    /// All finished blobs, in the order of their ids.
    pub fn list(&self) -> BoxStream<'static, io::Result<Listed>> {
        let pages = stream::try_unfold((self.clone(), Some(None)), |(blobs, after)| async move {
            let Some(after) = after else { return Ok(None) };
            let page = blobs
                .page(Option::<String>::as_deref(&after), LIST_PAGE)
                .await?;
            let next = match page.last() {
                Some(last) if page.len() == LIST_PAGE => Some(Some(last.id.clone())),
                _ => None,
            };
            Ok::<_, io::Error>(Some((
                stream::iter(page.into_iter().map(Ok)),
                (blobs, next),
            )))
        });
        pages.try_flatten().boxed()
    }

    /// Removes what uploads have left that a crash ended before this time; returns how many. Uploads under way must be younger.
    ///
    /// # Errors
    /// The disk's or the network's.
    pub async fn remove_unfinished(&self, before: SystemTime) -> io::Result<u64> {
        match &self.0 {
            Kept::Directory(directory) => directory.remove_unfinished(before).await,
            Kept::S3(s3) => s3.remove_unfinished(before).await,
            Kept::Closed => Err(closed()),
        }
    }
}

/// A blob that is being written. Dropped before it is finished, it leaves nothing.
pub struct BlobWriter {
    writing: Writing,
    size: u64,
}

enum Writing {
    Directory(directory::Writer),
    S3(s3::Writer),
}

impl BlobWriter {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// The disk's or the network's; the blob can then only be dropped.
    pub async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        let length = bytes.len() as u64;
        match &mut self.writing {
            Writing::Directory(writer) => writer.write(&bytes).await?,
            Writing::S3(writer) => writer.write(&bytes).await?,
        }
        self.size += length;
        Ok(())
    }

    /// How many bytes were written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Keeps the blob and returns its size. When this returns, the blob is durable: on the disk, or acknowledged by the S3
    /// server as a whole. When it is cancelled, the blob may be kept nevertheless, though nobody knows of it:
    /// [`Blobs::list`] finds it.
    ///
    /// # Errors
    /// `AlreadyExists` if somebody else was quicker, in a directory; or the disk's or the network's. The blob may be there
    /// nevertheless then.
    pub async fn finish(self) -> io::Result<u64> {
        match self.writing {
            Writing::Directory(writer) => writer.finish().await?,
            Writing::S3(writer) => writer.finish().await?,
        }
        Ok(self.size)
    }
}

fn closed() -> io::Error {
    io::Error::other("the blobs are not open")
}

/// The directory of the blob's file; refuses what is not an id.
fn shard_of(id: &str) -> io::Result<&str> {
    let safe = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    id.get(..SHARD_LENGTH)
        .filter(|_| safe && (MIN_ID_LENGTH..=MAX_ID_LENGTH).contains(&id.len()))
        .ok_or_else(|| ErrorKind::InvalidInput.into())
}

/// The part of a blob that a range asks for.
fn part_of(size: u64, range: Option<Range<u64>>) -> io::Result<Range<u64>> {
    match range {
        None => Ok(0..size),
        Some(range) if range.is_empty() || range.start >= size => {
            Err(ErrorKind::InvalidInput.into())
        }
        Some(range) => Ok(range.start..range.end.min(size)),
    }
}

#[cfg(test)]
mod suite;
