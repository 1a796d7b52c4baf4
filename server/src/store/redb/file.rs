//! The redb file itself: made once and whole, opened, and its errors put into words.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{Builder, Database, Error, backends::FileBackend};

use super::ENTRIES;
use crate::store::engine::StoreError;

/// Opens the file, or makes it if there is none.
pub(super) fn open_or_create(path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    let opened = match open(path, cache_bytes) {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            create(path, cache_bytes)
        }
        opened => opened,
    };
    opened.map_err(|error| match explain(&error) {
        StoreError::Damaged(what) => StoreError::Damaged(format!(
            "{what} ({} was left as it is; restore it from a backup)",
            path.display()
        )),
        StoreError::Unavailable(what) => {
            StoreError::Unavailable(format!("{what} ({})", path.display()))
        }
        other => other,
    })
}

/// Opens a file that exists and has held a store before.
pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Database, Error> {
    let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
    if file.metadata()?.len() == 0 {
        return Err(Error::Corrupted("the file is empty".to_owned()));
    }
    with_database(file, cache_bytes)
}

/// Makes a new store under another name and renames it when it is whole, so that a file under the real name that is not
/// a store was damaged, and is never taken for one that was not finished.
fn create(path: &Path, cache_bytes: usize) -> Result<Database, Error> {
    let unfinished = unfinished(path);
    let make = || with_database(open_unfinished(&unfinished)?, cache_bytes);
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
    fs::rename(&unfinished, path)?;
    if let Some(directory) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(database)
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn open_unfinished(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn with_database(file: fs::File, cache_bytes: usize) -> Result<Database, Error> {
    let backend = FileBackend::new(file)?;
    // On a damaged file, redb may panic instead of returning an error.
    catch_unwind(AssertUnwindSafe(|| {
        Builder::new()
            .set_cache_size(cache_bytes)
            .create_with_backend(backend)
    }))
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

/// A list's head as it is kept.
pub(super) fn head_number(bytes: &[u8]) -> Result<u64, StoreError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| {
        StoreError::Damaged("the number of a list's last entry has another size".to_owned())
    })
}
