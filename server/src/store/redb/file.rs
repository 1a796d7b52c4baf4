//! The redb file itself: made once and whole, opened, and its errors put into words.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, Error, StorageBackend, backends::FileBackend};

use super::{ENTRIES, overlay::Overlay, synced::Synced};
use crate::store::{
    engine::StoreError,
    fatal::Fatal,
    file::{beside, sync_name},
};

/// How much must fit on the disk before it is trusted again after a failure, beside twice the bytes to be written.
const PROBE_BYTES: u64 = 4 << 20;

/// Where the file is.
pub(super) trait Disk: Send + Sync {
    /// Opens a file that has held a store before.
    fn open(&self) -> Result<Database, Error>;

    /// Opens it to be read, without a byte written to it.
    fn open_to_read(&self) -> Result<Database, Error>;

    /// Whether so many bytes could be written now.
    fn probe(&self, bytes: u64) -> io::Result<()>;
}

/// A file in a directory.
pub(super) struct OnDisk {
    path: PathBuf,
    cache_bytes: usize,
    fatal: Fatal,
}

impl Disk for OnDisk {
    fn open(&self) -> Result<Database, Error> {
        self.open_file(self.existing()?)
    }

    fn open_to_read(&self) -> Result<Database, Error> {
        let backend = Overlay::new(FileBackend::new(self.existing()?)?)?;
        database(Builder::new().set_cache_size(self.cache_bytes), backend)
    }

    fn probe(&self, bytes: u64) -> io::Result<()> {
        let path = beside(&self.path, ".probe");
        let result = private_file()
            .create(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| {
                io::copy(&mut io::repeat(0).take(PROBE_BYTES + 2 * bytes), &mut file)?;
                file.sync_all()
            });
        fs::remove_file(&path)
            .or_else(|error| if result.is_err() { Ok(()) } else { Err(error) })?;
        result
    }
}

impl OnDisk {
    pub(super) fn new(path: &Path, cache_bytes: usize, fatal: Fatal) -> Self {
        Self {
            path: path.into(),
            cache_bytes,
            fatal,
        }
    }

    /// Opens the file, or makes it if there is none.
    pub(super) fn open_or_create(&self) -> Result<Database, StoreError> {
        let opened = match self.open() {
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => self.create(),
            opened => opened,
        };
        let path = self.path.display();
        opened.map_err(|error| match explain(&error) {
            StoreError::Damaged(what) => StoreError::Damaged(format!(
                "{what} ({path} was left as it is; restore it from a backup)"
            )),
            StoreError::Unavailable(what) => StoreError::Unavailable(format!("{what} ({path})")),
            other => other,
        })
    }

    /// Makes a new store under another name and renames it when it is whole, so that a file under the real name that is
    /// not a store was damaged, and is never taken for one that was not finished.
    fn create(&self) -> Result<Database, Error> {
        let unfinished = beside(&self.path, ".new");
        let make = || self.database(private_file().create(true).open(&unfinished)?);
        let database = match make() {
            // What a crash left here in the making held nothing yet.
            Err(Error::Corrupted(_)) => {
                fs::remove_file(&unfinished)?;
                make()?
            }
            made => made?,
        };
        let transaction = database.begin_write()?;
        transaction.open_table(ENTRIES)?;
        transaction.commit()?;
        fs::rename(&unfinished, &self.path)?;
        sync_name(&self.path)?;
        Ok(database)
    }

    fn existing(&self) -> Result<fs::File, Error> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)?;
        if file.metadata()?.len() == 0 {
            return Err(Error::Corrupted("the file is empty".to_owned()));
        }
        Ok(file)
    }

    /// Opens what was found under the path. Until it is locked, a compaction may end and put its file there: what is open
    /// then has no name any more, and would take writes that nobody finds again.
    fn open_file(&self, file: fs::File) -> Result<Database, Error> {
        let opened = file.metadata()?;
        let database = self.database(file)?;
        let named = fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino()));
        named.then_some(database).ok_or(Error::DatabaseAlreadyOpen)
    }

    fn database(&self, file: fs::File) -> Result<Database, Error> {
        let backend = Synced::new(FileBackend::new(file)?, self.fatal.clone());
        database(Builder::new().set_cache_size(self.cache_bytes), backend)
    }
}

fn private_file() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Opens a database; on a damaged file, redb may panic instead of returning an error.
pub(super) fn database(builder: &Builder, backend: impl StorageBackend) -> Result<Database, Error> {
    catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(backend)))
        .unwrap_or_else(|_| {
            Err(redb::StorageError::Corrupted("its pages make no sense".to_owned()).into())
        })
        .map_err(|error| match error.into() {
            Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Error::Corrupted(error.to_string())
            }
            error => error,
        })
}

/// Whether the error says that an earlier failure has closed the file.
pub(super) fn needs_reopening(error: &Error) -> bool {
    matches!(
        error,
        Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_)
    )
}

/// What a redb error means to whoever runs the server.
pub(super) fn explain(error: &Error) -> StoreError {
    match error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => StoreError::Locked,
        Error::Corrupted(_)
        | Error::RepairAborted
        | Error::UpgradeRequired(_)
        | Error::TableTypeMismatch { .. }
        | Error::TypeDefinitionChanged { .. }
        | Error::TableIsMultimap(_)
        | Error::TableDoesNotExist(_) => StoreError::Damaged(error.to_string()),
        Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            StoreError::Unavailable("the disk is full".to_owned())
        }
        Error::Io(error) => StoreError::Unavailable(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_another_one_replaced_before_it_was_locked_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let disk = OnDisk::new(&path, 1 << 20, Fatal::told(|_| {}));
        drop(disk.open_or_create().unwrap());
        let old = disk.existing().unwrap();
        fs::copy(&path, beside(&path, ".compact")).unwrap();
        fs::rename(beside(&path, ".compact"), &path).unwrap();
        let opened = disk.open_file(old).map_err(|error| explain(&error));
        assert!(matches!(opened, Err(StoreError::Locked)));
        disk.open().unwrap();
    }
}
