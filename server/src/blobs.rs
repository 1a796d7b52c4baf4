//! Encrypted blobs (media, documents) in a directory, streamed in and out, never whole in memory.
//!
//! A blob is written to `incoming/`, synced, renamed to `kept/<first two characters>/<id>` and its directory synced; only
//! then is it finished. Reading, removing and listing go through [`object_store`], writing does not: its local store does
//! not sync what it writes (see `docs/decisions/0001-storage.md`).

use std::{
    fs,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore, local::LocalFileSystem,
    path::Path as Location,
};
use tokio::{io::AsyncWriteExt, task::spawn_blocking};

/// How many bytes of a blob are in memory at once, for each reader and each writer.
pub const CHUNK_BYTES: usize = 128 << 10;

/// The shortest id of a blob.
pub const MIN_ID_LENGTH: usize = 32;

/// The longest id of a blob.
pub const MAX_ID_LENGTH: usize = 128;

/// How many characters of the id name the directory that its blob is in.
const SHARD_LENGTH: usize = 2;

/// The blobs of one server; cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    kept: Arc<dyn ObjectStore>,
    directory: Arc<Path>,
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
    /// Opens the directory, making it if need be (mode 0700), and removes what a crash has left unfinished. Only the
    /// process that has the store open may do this. Blocks.
    ///
    /// # Errors
    /// The directory cannot be made or written to.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let kept = directory.join("kept");
        let incoming = directory.join("incoming");
        make_directory(&kept)?;
        make_directory(&incoming)?;
        for left in fs::read_dir(&incoming)? {
            fs::remove_file(left?.path())?;
        }
        sync_directory(directory)?;
        let kept = LocalFileSystem::new_with_prefix(kept).map_err(io::Error::other)?;
        Ok(Self {
            kept: Arc::new(kept),
            directory: directory.into(),
        })
    }

    /// Begins a blob.
    ///
    /// # Errors
    /// `InvalidInput` if the id is not one, `AlreadyExists` if there is such a blob or one is being written; or the disk's.
    pub async fn writer(&self, id: &str) -> io::Result<BlobWriter> {
        let shard = shard_of(id)?;
        let incoming = self.directory.join("incoming").join(id);
        let kept = self.directory.join("kept").join(shard).join(id);
        let (file, paths) = on_disk(move || {
            let mut options = fs::OpenOptions::new();
            let file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&incoming)?;
            let unfinished = Unfinished(incoming);
            if kept.try_exists()? {
                return Err(ErrorKind::AlreadyExists.into());
            }
            Ok((file, Paths { unfinished, kept }))
        })
        .await?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(CHUNK_BYTES);
        Ok(BlobWriter {
            file,
            paths,
            size: 0,
        })
    }

    /// Reads a blob, or a range of it; a range that goes beyond the end is cut there.
    ///
    /// # Errors
    /// `NotFound` if there is no such blob; `InvalidInput` if the range is empty or begins beyond the end.
    pub async fn read(&self, id: &str, range: Option<Range<u64>>) -> io::Result<Blob> {
        let location = location(id).map_err(|_| io::Error::from(ErrorKind::NotFound))?;
        let size = self.kept.head(&location).await.map_err(io_error)?.size;
        if range
            .as_ref()
            .is_some_and(|range| range.is_empty() || range.start >= size)
        {
            return Err(ErrorKind::InvalidInput.into());
        }
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = self
            .kept
            .get_opts(&location, options)
            .await
            .map_err(io_error)?;
        let range = found.range;
        let stream = match found.payload {
            // In larger pieces than the store's own stream of a file.
            GetResultPayload::File(file, _) => stream_file(file, range),
            GetResultPayload::Stream(stream) => stream.map_err(io_error).boxed(),
        };
        Ok(Blob {
            size: found.meta.size,
            stream,
        })
    }

    /// Removes a blob; one that is not there is no error.
    ///
    /// # Errors
    /// The disk's.
    pub async fn delete(&self, id: &str) -> io::Result<()> {
        match self.kept.delete(&location(id)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(io_error(error)),
        }
    }

    /// All finished blobs, in no order.
    pub fn list(&self) -> BoxStream<'static, io::Result<Listed>> {
        self.kept
            .list(None)
            .map_err(io_error)
            .map_ok(listed)
            .boxed()
    }
}

/// A blob that is being written. Dropped before it is finished, it leaves nothing.
pub struct BlobWriter {
    file: tokio::fs::File,
    paths: Paths,
    size: u64,
}

struct Paths {
    unfinished: Unfinished,
    kept: PathBuf,
}

/// A file that is removed when it goes out of scope.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // If this fails, the next start removes it.
        let _ = fs::remove_file(&self.0);
    }
}

impl BlobWriter {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// The disk's; the blob can then only be dropped.
    pub async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.file.write_all(&bytes).await?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes were written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Keeps the blob and returns its size. When this returns, the blob is durable. When it is cancelled, the blob may be
    /// kept nevertheless, though nobody knows of it: [`Blobs::list`] finds it.
    ///
    /// # Errors
    /// The disk's; the blob is not to be relied on then.
    pub async fn finish(self) -> io::Result<u64> {
        let Self {
            mut file,
            paths,
            size,
        } = self;
        file.flush().await?;
        let file = file.into_std().await;
        on_disk(move || {
            file.sync_all()?;
            let Paths { unfinished, kept } = paths;
            let shard = kept.parent().ok_or(ErrorKind::InvalidInput)?;
            make_directory(shard)?;
            // Also if it was there: whoever has made it may not have synced it yet.
            sync_directory(shard.parent().ok_or(ErrorKind::InvalidInput)?)?;
            fs::rename(&unfinished.0, &kept)?;
            sync_directory(shard).inspect_err(|_| {
                // Nobody is told of it; what cannot be removed either is found by comparing.
                let _ = fs::remove_file(&kept);
            })?;
            Ok(size)
        })
        .await
    }
}

fn stream_file(mut file: fs::File, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
    let length = range.end.saturating_sub(range.start);
    let begin = on_disk(move || {
        file.seek(SeekFrom::Start(range.start))?;
        Ok(file.take(length))
    });
    stream::once(begin)
        .map_ok(|file| stream::try_unfold(file, |file| on_disk(move || read_chunk(file))))
        .try_flatten()
        .boxed()
}

/// The next piece, and the file to go on with. An end before the range's means that somebody cut the file.
fn read_chunk(mut file: io::Take<fs::File>) -> io::Result<Option<(Bytes, io::Take<fs::File>)>> {
    let length = usize::try_from(file.limit())
        .unwrap_or(CHUNK_BYTES)
        .min(CHUNK_BYTES);
    if length == 0 {
        return Ok(None);
    }
    let mut chunk = vec![0; length];
    file.read_exact(&mut chunk)?;
    Ok(Some((chunk.into(), file)))
}

fn listed(meta: ObjectMeta) -> Listed {
    Listed {
        id: meta.location.filename().unwrap_or_default().to_owned(),
        size: meta.size,
        finished: meta.last_modified.into(),
    }
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

fn location(id: &str) -> io::Result<Location> {
    Ok(Location::from(format!("{}/{id}", shard_of(id)?)))
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// The store's errors without the paths that are in them.
fn io_error(error: object_store::Error) -> io::Error {
    use object_store::Error;
    match error {
        Error::NotFound { .. } => ErrorKind::NotFound.into(),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied.into()
        }
        _ => io::Error::other("the blob store failed"),
    }
}

async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(act).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
