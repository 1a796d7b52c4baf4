//! How entries lie in sled's one tree. Short values are kept with their key. Longer ones are cut into chunks, because sled
//! writes a page with all its entries as one message, and puts a message of more than a quarter of a segment (128 KiB) into
//! a file of its own, which it does not sync.
//!
//! | key | value |
//! |---|---|
//! | 0, the entry's key | 0, the value |
//! | 0, the entry's key | 1, the value's length (8 bytes, big-endian) |
//! | 1, length of the entry's key (4 bytes, big-endian), the entry's key, n from 0 on (4 bytes, big-endian) | the n-th chunk |
//! | 2 | [`FORMAT`] |

use std::ops::Bound;

use sled::{Batch, Db, IVec};

use crate::store::engine::StoreError;

/// The longest value that is kept with its key, and the length of every chunk but the last. sled splits a page of more
/// than 16 entries, and one that is about to be split has fewer than 24: with keys of up to 1,000 bytes that is below
/// 128 KiB.
pub(super) const CHUNK_BYTES: usize = 4096;

/// What says that a tree is a store, and how it is written.
const FORMAT: &[u8] = b"respite 1";

const ENTRY: u8 = 0;
const CHUNK: u8 = 1;
const MARK: &[u8] = &[2];

const WITH_KEY: u8 = 0;
const IN_CHUNKS: u8 = 1;

/// The tree.
pub(super) struct Chunks(pub(super) Db);

/// An entry as it lies in the tree: its key, and its value or the length of it.
pub(super) type Found = (Vec<u8>, IVec);

impl Chunks {
    /// Marks a new tree as a store.
    pub(super) fn mark(&self) -> Result<(), StoreError> {
        self.0.insert(MARK, FORMAT).map_err(|e| explain(&e))?;
        Ok(())
    }

    /// Whether the tree was marked as a store.
    pub(super) fn is_marked(&self) -> Result<bool, StoreError> {
        let found = self.0.get(MARK).map_err(|e| explain(&e))?;
        Ok(found.is_some_and(|format| format == FORMAT))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.0.get(entry(key)).map_err(|e| explain(&e))?;
        found.map(|bytes| self.value(key, &bytes)).transpose()
    }

    /// The value of an entry that [`Chunks::range`] found.
    pub(super) fn value(&self, key: &[u8], bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        match bytes.split_first() {
            Some((&WITH_KEY, value)) => Ok(value.to_vec()),
            Some((&IN_CHUNKS, length)) => {
                let length = length.try_into().map(u64::from_be_bytes);
                let length = length.ok().and_then(|n| usize::try_from(n).ok());
                self.assemble(key, length.ok_or_else(in_pieces)?)
            }
            _ => Err(in_pieces()),
        }
    }

    fn assemble(&self, key: &[u8], length: usize) -> Result<Vec<u8>, StoreError> {
        let mut value = Vec::new();
        for n in 0..chunks(length) {
            let found = self.0.get(chunk(key, n)).map_err(|e| explain(&e))?;
            value.extend_from_slice(&found.ok_or_else(in_pieces)?);
        }
        if value.len() == length {
            Ok(value)
        } else {
            Err(in_pieces())
        }
    }

    /// The entries with keys from `from` on, before `to`, in order or against it.
    pub(super) fn range(
        &self,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<Found, StoreError>> + use<> {
        let to = to.map_or_else(|| vec![CHUNK], entry);
        self.0
            .range((from.map(entry), Bound::Excluded(to)))
            .map(|found| {
                let (key, bytes) = found.map_err(|e| explain(&e))?;
                let (_, key) = key.split_first().ok_or_else(in_pieces)?;
                Ok((key.to_vec(), bytes))
            })
    }

    /// Applies a batch, all or nothing. It is not on the disk yet.
    pub(super) fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.0.apply_batch(batch).map_err(|e| explain(&e))
    }

    /// Adds to a batch what sets an entry (or removes it, with `None`) that had the value `before`.
    pub(super) fn change(
        batch: &mut Batch,
        key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) {
        let chunks_of = |value: Option<&[u8]>| {
            let long = value.map_or(0, <[u8]>::len);
            if long > CHUNK_BYTES { chunks(long) } else { 0 }
        };
        for n in chunks_of(after)..chunks_of(before) {
            batch.remove(chunk(key, n));
        }
        match after {
            None => batch.remove(entry(key)),
            Some(value) if value.len() <= CHUNK_BYTES => {
                batch.insert(entry(key), joined(WITH_KEY, value));
            }
            Some(value) => {
                for (n, bytes) in (0..).zip(value.chunks(CHUNK_BYTES)) {
                    batch.insert(chunk(key, n), bytes);
                }
                let length = (value.len() as u64).to_be_bytes();
                batch.insert(entry(key), joined(IN_CHUNKS, &length));
            }
        }
    }
}

fn chunks(length: usize) -> u32 {
    u32::try_from(length.div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX)
}

fn entry(key: &[u8]) -> Vec<u8> {
    joined(ENTRY, key)
}

fn chunk(key: &[u8], n: u32) -> Vec<u8> {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut bytes = joined(CHUNK, &length.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&n.to_be_bytes());
    bytes
}

fn joined(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + rest.len());
    bytes.push(first);
    bytes.extend_from_slice(rest);
    bytes
}

fn in_pieces() -> StoreError {
    StoreError::Damaged("a value in it is not whole".to_owned())
}

/// What an error of sled means to whoever runs the server; without what is stored.
pub(super) fn explain(error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            StoreError::Unavailable("the disk is full".to_owned())
        }
        sled::Error::Io(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            StoreError::Damaged(error.to_string())
        }
        sled::Error::Io(error) => StoreError::Unavailable(error.to_string()),
        sled::Error::Unsupported(what) => StoreError::Damaged(what.clone()),
        sled::Error::Corruption { .. } => StoreError::Damaged("its pages make no sense".to_owned()),
        sled::Error::CollectionNotFound(_) => StoreError::Damaged("a tree is missing".to_owned()),
        sled::Error::ReportableBug(_) => StoreError::Damaged("sled has found a bug".to_owned()),
    }
}
