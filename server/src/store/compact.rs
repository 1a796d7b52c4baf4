//! Writing a store anew, so that nothing that was removed is left in its files.
//!
//! An engine that removes an entry lets its pages go, but what was on them stays in the file until they are used again, and
//! moving pages together does not change that. So everything that is there is copied to a fresh file, compared, and put in
//! the old one's place by one rename.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Address,
    address::blocking,
    engine::{Cell, Engine, Pair, Snapshot, StoreError, Write, WriteSet},
    redb::Redb,
};

/// How many entries are copied at once.
const PAGE: usize = 2_000;

/// How large a store's file was before it was written anew, and after, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// Writes a store anew that no server has open. Needs as much free space as the store is large. Until the new file is whole
/// and on the disk, the old one stays what it is.
///
/// # Errors
/// There is no store, it is in use or damaged, the disk is full, or the engine does this by other means; in a sentence for
/// the operator. The store is as it was then.
pub async fn compact(
    address: &Address,
    data: &Path,
    cache: usize,
) -> Result<Compacted, StoreError> {
    match address {
        Address::Redb(_) => {}
        Address::Postgres(_) => {
            return Err(StoreError::Unavailable(
                "PostgreSQL is compacted by itself: run VACUUM FULL on the database while no server uses it".to_owned(),
            ));
        }
        Address::Sled(_) => {
            return Err(StoreError::Unavailable(
                "a store of this engine is compacted by moving it to another directory".to_owned(),
            ));
        }
    }
    let file = address.file(data);
    let before = size(&file)?;
    let old = address.open(data, cache).await?;
    let fresh_file = beside(&file);
    let fresh = {
        let path = fresh_file.clone();
        blocking(move || Redb::open(&path, cache)).await?
    };
    let snapshot = old.snapshot().await?;
    copy(&*snapshot, &fresh).await?;
    compare(&*snapshot, &*fresh.snapshot().await?).await?;
    drop(snapshot);
    let after = blocking(move || {
        drop(fresh);
        fs::rename(&fresh_file, &file).map_err(|error| failed(&error))?;
        sync_directory_of(&file)?;
        size(&file)
    })
    .await?;
    // Its lock has kept everybody away until here.
    blocking(move || {
        drop(old);
        Ok(())
    })
    .await?;
    Ok(Compacted { before, after })
}

/// Removes what a compaction that was cut off has left. The caller has the store open.
pub(super) fn remove_unfinished(file: &Path) -> Result<(), StoreError> {
    match fs::remove_file(beside(file)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&error)),
        _ => Ok(()),
    }
}

async fn copy(from: &dyn Snapshot, to: &dyn Engine) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = from.page(after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        let writes = page.into_iter().map(put).collect();
        to.commit(WriteSet {
            checks: Vec::new(),
            writes,
        })
        .await?;
    }
}

fn put((key, value): Pair) -> Write {
    Write::Put {
        key: Cell::plain(key),
        value: Cell::plain(value),
    }
}

async fn compare(one: &dyn Snapshot, other: &dyn Snapshot) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = one.page(after.clone(), PAGE).await?;
        if page != other.page(after, PAGE).await? {
            return Err(StoreError::Damaged(
                "the copy is not what was copied; the store was left as it is".to_owned(),
            ));
        }
        match page.last() {
            Some((last, _)) => after = Some(last.clone()),
            None => return Ok(()),
        }
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".compact");
    path.into()
}

fn size(file: &Path) -> Result<u64, StoreError> {
    fs::metadata(file)
        .map(|metadata| metadata.len())
        .map_err(|error| failed(&error))
}

fn sync_directory_of(file: &Path) -> Result<(), StoreError> {
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failed(&error))
}

fn failed(error: &io::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
