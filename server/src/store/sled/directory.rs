//! The directory that sled keeps its files in: made once and whole, opened by one process, synced.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use sled::{Config, Db};

use super::chunks::{Chunks, explain};
use crate::store::{
    engine::StoreError,
    file::{beside, sync_directory, sync_name},
};

/// The files that sled cannot do without: its log, and how that is written.
const LOG: &str = "db";
const CONFIG: &str = "conf";
/// Where sled puts messages that are too long for its log.
const BLOBS: &str = "blobs";
/// The file of ours that one process holds a lock on.
const LOCK: &str = "lock";

/// How often, and how far apart, opening is tried while sled has not let go of its log yet: it does so some time after it
/// was closed.
const MAX_OPENINGS: u32 = 200;
const BETWEEN_OPENINGS: Duration = Duration::from_millis(25);

/// An open directory.
pub(super) struct Directory {
    pub(super) chunks: Chunks,
    path: PathBuf,
    /// sled's log, opened beside it: an error of a sync is told to every file handle once, so this one hears of all.
    log: File,
    _lock: File,
}

impl Directory {
    /// Opens a directory, or makes it if there is none or an empty one.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        match is_missing(path).and_then(|missing| {
            if missing {
                create(path, cache_bytes)?;
            }
            Self::open_whole(path, cache_bytes)
        }) {
            Err(StoreError::Damaged(what)) => Err(StoreError::Damaged(format!(
                "{what} ({} was not made anew; restore it from a backup)",
                path.display()
            ))),
            Err(StoreError::Unavailable(what)) => Err(StoreError::Unavailable(format!(
                "{what} ({})",
                path.display()
            ))),
            opened => opened,
        }
    }

    fn open_whole(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        for name in [LOG, CONFIG] {
            let length = fs::metadata(path.join(name)).map(|file| file.len());
            if length.map_err(|error| missing(name, &error))? == 0 {
                return Err(StoreError::Damaged(format!("its file {name} is empty")));
            }
        }
        let lock = lock(path)?;
        let chunks = Chunks(database(path, cache_bytes)?);
        if !chunks.is_marked()? {
            return Err(StoreError::Damaged("it holds no store".to_owned()));
        }
        make_private(path).map_err(|error| unavailable(&error))?;
        let log = File::open(path.join(LOG)).map_err(|error| unavailable(&error))?;
        let directory = Self {
            chunks,
            path: path.to_owned(),
            log,
            _lock: lock,
        };
        directory.sync()?;
        sync_directory(path).map_err(|error| unavailable(&error))?;
        Ok(directory)
    }

    /// Puts on the disk whatever was applied before. sled's own flush only starts the writing of the log
    /// (`sync_file_range`); it does not tell the disk to empty its cache, nor the file system to keep the file's length.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.chunks.0.flush().map_err(|error| explain(&error))?;
        self.log.sync_data().map_err(|error| unavailable(&error))?;
        sync_blobs(&self.path).map_err(|error| unavailable(&error))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What was acknowledged is synced already; a failure costs time at the next start.
        let _ = self.sync();
        let _ = sync_directory(&self.path);
    }
}

/// Whether a new store is to be made. What is in a directory that holds none is somebody else's.
fn is_missing(path: &Path) -> Result<bool, StoreError> {
    match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(StoreError::Damaged("it is not a directory".to_owned()))
        }
        Err(error) => Err(unavailable(&error)),
        Ok(mut entries) => Ok(entries.next().is_none()),
    }
}

/// Makes a new store under another name and renames it when it is whole, so that a directory under the real name that is
/// not a store was damaged, and is never taken for one that was not finished.
fn create(path: &Path, cache_bytes: usize) -> Result<(), StoreError> {
    let unfinished = beside(path, ".new");
    match fs::DirBuilder::new().mode(0o700).create(&unfinished) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.map_err(|error| unavailable(&error))?,
    }
    let lock = lock(&unfinished)?;
    empty(&unfinished).map_err(|error| unavailable(&error))?;
    let chunks = Chunks(database(&unfinished, cache_bytes)?);
    chunks.mark()?;
    chunks.0.flush().map_err(|error| explain(&error))?;
    drop(chunks);
    make_private(&unfinished).map_err(|error| unavailable(&error))?;
    for name in [LOG, CONFIG, BLOBS] {
        let file = File::open(unfinished.join(name));
        file.and_then(|file| file.sync_all())
            .map_err(|error| unavailable(&error))?;
    }
    sync_directory(&unfinished).map_err(|error| unavailable(&error))?;
    fs::rename(&unfinished, path).map_err(|error| unavailable(&error))?;
    drop(lock);
    sync_name(path).map_err(|error| unavailable(&error))
}

/// Removes what a crash left in the making, which held nothing yet.
fn empty(unfinished: &Path) -> io::Result<()> {
    for entry in fs::read_dir(unfinished)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Takes the directory for this process. sled locks its log too, but tells so only in words.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut options = fs::OpenOptions::new();
    let file = options
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path.join(LOCK))
        .map_err(|error| unavailable(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(unavailable(&error)),
    }
}

/// Opens sled; on damaged files, it may panic instead of returning an error.
fn database(path: &Path, cache_bytes: usize) -> Result<Db, StoreError> {
    let config = Config::new()
        .path(path)
        .cache_capacity(cache_bytes as u64)
        .flush_every_ms(None);
    for _ in 1..MAX_OPENINGS {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Err(sled::Error::Io(error))) if is_still_locked(&error) => {
                thread::sleep(BETWEEN_OPENINGS);
            }
            Ok(opened) => return opened.map_err(|error| explain(&error)),
            Err(_) => return Err(StoreError::Damaged("its pages make no sense".to_owned())),
        }
    }
    Err(StoreError::Locked)
}

fn is_still_locked(error: &io::Error) -> bool {
    error.to_string().starts_with("could not acquire lock on")
}

/// sled leaves the modes of its files to the umask. Those that it makes later are behind the directory's.
fn make_private(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    fs::set_permissions(path.join(BLOBS), fs::Permissions::from_mode(0o700))?;
    for name in [LOG, CONFIG] {
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Keys can be so long that a page of them becomes a blob nevertheless; that is synced too.
fn sync_blobs(path: &Path) -> io::Result<()> {
    let blobs = path.join(BLOBS);
    let mut any = false;
    for entry in fs::read_dir(&blobs)? {
        any = true;
        match File::open(entry?.path()) {
            // sled has no more use for it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            file => file?.sync_all()?,
        }
    }
    if any {
        sync_directory(&blobs)?;
    }
    Ok(())
}

fn missing(name: &str, error: &io::Error) -> StoreError {
    if error.kind() == ErrorKind::NotFound {
        StoreError::Damaged(format!("it has no file {name}"))
    } else {
        unavailable(error)
    }
}

fn unavailable(error: &io::Error) -> StoreError {
    explain(&sled::Error::Io(io::Error::new(
        error.kind(),
        error.to_string(),
    )))
}
