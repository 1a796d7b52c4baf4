//! Writing a store anew, so that nothing that was removed is left in its files.
//!
//! An engine that removes an entry lets its pages go, but what was on them stays in the file until they are used again, and
//! moving pages together does not change that. So everything that is there is copied to a fresh file, compared, and put in
//! the old one's place by one rename.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Address,
    address::blocking,
    engine::{Engine, Pages, Snapshot, StoreError, Write, WriteSet},
    file::{beside, sync_name},
    filling::{self, MAX_COMMIT_BYTES},
    redb::Redb,
};

/// What an entry takes in memory beside its bytes, about.
const ENTRY_BYTES: usize = 128;

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
    if filling::is_unfinished(&*old).await? {
        return Err(StoreError::Unavailable(
            "it is the target of a migration or a restore that has not finished".to_owned(),
        ));
    }
    let copy = write_anew(&*old.snapshot().await?, &file, cache).await?;
    let after = blocking(move || {
        // The lock keeps everybody away until the end, also until a copy that cannot be used is removed.
        let _old = old;
        let copy = copy;
        fs::rename(&copy.0, &file).map_err(|error| failed(&error))?;
        sync_name(&file).map_err(|error| failed(&error))?;
        size(&file)
    })
    .await?;
    Ok(Compacted { before, after })
}

/// The file of the copy, which is removed if it has that name still when it goes out of scope.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        // If this fails, the next who opens the store does it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Copies everything to a file beside this one, and sees that it is the same.
async fn write_anew(old: &dyn Snapshot, file: &Path, cache: usize) -> Result<Copy, StoreError> {
    let copy = Copy(copy_of(file));
    let path = copy.0.clone();
    let fresh =
        blocking(move || Ok(Arc::new(Redb::open(&path, cache)?) as Arc<dyn Engine>)).await?;
    copy_entries(old, &*fresh).await?;
    let is = filling::sums(&*fresh.snapshot().await?, &mut |_| {}).await?;
    if is != filling::sums(old, &mut |_| {}).await? {
        return Err(StoreError::Damaged(
            "the copy is not what was copied".to_owned(),
        ));
    }
    blocking(move || {
        drop(fresh);
        Ok(copy)
    })
    .await
}

/// In few commits: each leaves places in the file that nothing is in.
async fn copy_entries(from: &dyn Snapshot, to: &dyn Engine) -> Result<(), StoreError> {
    let (mut writes, mut bytes) = (Vec::new(), 0);
    let mut pages = Pages::new(from, None);
    while let Some(page) = pages.next().await? {
        for (key, value) in page {
            bytes += key.len() + value.len() + ENTRY_BYTES;
            writes.push(filling::put(key, value));
            if bytes >= MAX_COMMIT_BYTES {
                commit(to, std::mem::take(&mut writes)).await?;
                bytes = 0;
            }
        }
    }
    match writes.is_empty() {
        true => Ok(()),
        false => commit(to, writes).await,
    }
}

async fn commit(to: &dyn Engine, writes: Vec<Write>) -> Result<(), StoreError> {
    let checks = Vec::new();
    to.commit(WriteSet { checks, writes }).await.map(drop)
}

/// Removes what a compaction that was cut off has left. The caller has the store open.
pub(super) fn remove_unfinished(file: &Path) -> Result<(), StoreError> {
    match fs::remove_file(copy_of(file)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&error)),
        _ => Ok(()),
    }
}

fn copy_of(file: &Path) -> PathBuf {
    beside(file, ".compact")
}

fn size(file: &Path) -> Result<u64, StoreError> {
    fs::metadata(file)
        .map(|metadata| metadata.len())
        .map_err(|error| failed(&error))
}

fn failed(error: &io::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
