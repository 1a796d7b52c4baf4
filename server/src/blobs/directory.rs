//! Blobs in a directory, which several processes may share.
//!
//! A blob is written to `incoming/<id>`, synced, linked to `kept/<first two characters>/<id>`, and its directory synced; only
//! then is it finished.

use std::{
    fs,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::{io::AsyncWriteExt, task::spawn_blocking};

use super::{Blob, CHUNK_BYTES, Listed, SHARD_LENGTH, part_of};
use crate::store::file::{make_directory, sync_directory};

#[derive(Clone)]
pub(super) struct Directory {
    kept: Arc<Path>,
    incoming: Arc<Path>,
}

impl Directory {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let kept = directory.join("kept");
        let incoming = directory.join("incoming");
        make_directory(&kept)?;
        make_directory(&incoming)?;
        sync_directory(directory)?;
        Ok(Self {
            kept: kept.into(),
            incoming: incoming.into(),
        })
    }

    pub(super) async fn writer(&self, shard: &str, id: &str) -> io::Result<Writer> {
        let incoming = self.incoming.join(id);
        let kept = self.kept.join(shard).join(id);
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
        Ok(Writer { file, paths })
    }

    pub(super) async fn read(
        &self,
        shard: &str,
        id: &str,
        range: Option<Range<u64>>,
    ) -> io::Result<Blob> {
        let path = self.kept.join(shard).join(id);
        let (file, size, part) = on_disk(move || {
            let mut file = fs::File::open(path)?;
            let size = file.metadata()?.len();
            let part = part_of(size, range)?;
            file.seek(SeekFrom::Start(part.start))?;
            Ok((file, size, part))
        })
        .await?;
        Ok(Blob {
            size,
            stream: stream_file(file.take(part.end.saturating_sub(part.start))),
        })
    }

    pub(super) async fn delete(&self, shard: &str, id: &str) -> io::Result<()> {
        let paths = [self.incoming.join(id), self.kept.join(shard).join(id)];
        on_disk(move || paths.iter().try_for_each(|path| remove(path).map(drop))).await
    }

    pub(super) async fn page(&self, after: Option<&str>, limit: usize) -> io::Result<Vec<Listed>> {
        let kept = self.kept.clone();
        let after = after.unwrap_or_default().to_owned();
        on_disk(move || {
            let from = after.get(..SHARD_LENGTH).unwrap_or_default().to_owned();
            let mut found = Vec::new();
            for shard in names_in(&kept, |name| name >= from.as_str())? {
                let shard = kept.join(shard);
                let ids = match names_in(&shard, |name| name > after.as_str()) {
                    Err(error) if error.kind() == ErrorKind::NotADirectory => continue,
                    ids => ids?,
                };
                // What others have put there is not ours.
                for id in ids.into_iter().filter(|id| super::shard_of(id).is_ok()) {
                    if found.len() >= limit {
                        return Ok(found);
                    }
                    found.extend(listed(&shard, id)?);
                }
            }
            Ok(found)
        })
        .await
    }

    pub(super) async fn remove_unfinished(&self, before: SystemTime) -> io::Result<u64> {
        let incoming = self.incoming.clone();
        on_disk(move || {
            let mut removed = 0;
            for name in names_in(&incoming, |_| true)? {
                let path = incoming.join(name);
                match fs::metadata(&path).and_then(|about| about.modified()) {
                    Ok(written) if written < before => removed += u64::from(remove(&path)?),
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(removed)
        })
        .await
    }
}

pub(super) struct Writer {
    file: tokio::fs::File,
    paths: Paths,
}

struct Paths {
    unfinished: Unfinished,
    kept: PathBuf,
}

/// A file that is removed when it goes out of scope.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // If this fails, it is removed when it is old.
        let _ = fs::remove_file(&self.0);
    }
}

impl Writer {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.file.flush().await?;
        let file = self.file.into_std().await;
        let Paths { unfinished, kept } = self.paths;
        on_disk(move || {
            file.sync_all()?;
            let shard = kept.parent().ok_or(ErrorKind::InvalidInput)?;
            make_directory(shard)?;
            // Also if it was there: whoever has made it may not have synced it yet.
            sync_directory(shard.parent().ok_or(ErrorKind::InvalidInput)?)?;
            // Unlike a rename, this never replaces a blob that another process has finished meanwhile.
            fs::hard_link(&unfinished.0, &kept)?;
            drop(unfinished);
            sync_directory(shard).inspect_err(|_| {
                // Nobody is told of it; what cannot be removed either is found by comparing.
                let _ = fs::remove_file(&kept);
            })
        })
        .await
    }
}

fn stream_file(file: io::Take<fs::File>) -> BoxStream<'static, io::Result<Bytes>> {
    stream::try_unfold(file, |file| on_disk(move || read_chunk(file))).boxed()
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

/// The names in a directory that are wanted, in order.
fn names_in(directory: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        // What is not text is not ours.
        if let Ok(name) = entry?.file_name().into_string()
            && wanted(&name)
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// `None` if it was deleted meanwhile.
fn listed(shard: &Path, id: String) -> io::Result<Option<Listed>> {
    match fs::metadata(shard.join(&id)) {
        Ok(about) => Ok(Some(Listed {
            id,
            size: about.len(),
            finished: about.modified()?,
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there was such a file.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(act).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
