//! What a storage engine does: read, commit, watch, snapshot. Raw bytes only; the types live one level up.

use async_trait::async_trait;

use super::watch::Watch;

/// A key and its value, as the engine keeps them.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Why the store could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A check did not hold: what the transaction had read has changed since. Nothing was written.
    #[error("somebody else wrote at the same time")]
    Conflict,
    /// The disk is full or fails, or the database is gone. Nothing of the commit may be relied on, nothing is half written.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The data directory belongs to another process that is running.
    #[error("the store is in use by another process")]
    Locked,
    /// What is in the store is not what was written to it.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// An ordered key-value engine with lists that it numbers itself.
///
/// Every method may be cancelled; a commit that has been handed over then still happens or not as a whole.
#[async_trait]
pub trait Engine: Send + Sync {
    /// The values at the keys, in their order, all from one moment.
    async fn get(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// The entries of a span, in order, all from one moment.
    async fn scan(&self, span: Span) -> Result<Vec<Pair>, StoreError>;

    /// The number of a list's last entry, 0 for a list that never had one.
    async fn head(&self, list: Vec<u8>) -> Result<u64, StoreError>;

    /// Applies a write set if all its checks hold; returns the numbers given to its appends, in their order. When this
    /// returns, the writes are durable and visible to every later read.
    async fn commit(&self, writes: WriteSet) -> Result<Vec<u64>, StoreError>;

    /// Tells when a list grows, whoever appended. Where several processes append, it sometimes tells for nothing.
    fn watch(&self, list: Vec<u8>) -> Watch;

    /// A consistent view of everything, for backup and migration.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;
}

/// A consistent view of the whole store.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// Up to `limit` entries after the key, in key order; list heads are among them under their own keys.
    async fn page(&self, after: Option<Vec<u8>>, limit: usize) -> Result<Vec<Pair>, StoreError>;
}

/// A range of keys, `from` included, `to` not, read in one direction.
#[derive(Clone, Debug)]
pub struct Span {
    /// The lowest key of the span.
    pub from: Vec<u8>,
    /// The first key beyond the span; `None` is the end of the store.
    pub to: Option<Vec<u8>>,
    /// Highest key first.
    pub backwards: bool,
    /// At most this many entries.
    pub limit: usize,
}

impl Span {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: Vec<u8>, limit: usize, backwards: bool) -> Self {
        let to = beyond(&prefix);
        Self {
            from: prefix,
            to,
            backwards,
            limit,
        }
    }

    /// Leaves out `key` and what comes before it in the direction of reading.
    #[must_use]
    pub fn starting_after(mut self, key: Vec<u8>) -> Self {
        if self.backwards {
            if self.to.as_ref().is_none_or(|to| key < *to) {
                self.to = Some(key);
            }
        } else {
            let mut next = key;
            next.push(0);
            self.from = self.from.max(next);
        }
        self
    }

    /// Whether no key can be in the span.
    pub fn is_empty(&self) -> bool {
        self.limit == 0 || self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
}

/// The first key that is greater than everything beginning with `prefix`.
fn beyond(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut key = prefix.get(..=last)?.to_vec();
    if let Some(byte) = key.last_mut() {
        *byte += 1;
    }
    Some(key)
}

/// Everything that one commit does, all or nothing.
#[derive(Clone, Debug, Default)]
pub struct WriteSet {
    /// What must still hold.
    pub checks: Vec<Check>,
    /// What is done, in this order.
    pub writes: Vec<Write>,
}

/// A key that must still hold this value, or still be absent.
#[derive(Clone, Debug)]
pub struct Check {
    /// The key.
    pub key: Vec<u8>,
    /// The value, `None` for an absent key.
    pub expected: Option<Vec<u8>>,
}

/// One write of a commit.
#[derive(Clone, Debug)]
pub enum Write {
    /// Sets a key.
    Put {
        /// Where.
        key: Cell,
        /// What.
        value: Cell,
    },
    /// Removes a key; one that is absent is no error.
    Delete {
        /// Which.
        key: Vec<u8>,
    },
    /// Adds a value at the end of a list. The engine gives it the next number n, from 1 on without gaps, and keeps it at
    /// the list's key followed by n (8 bytes, big-endian). The list's head is kept at [`head_key`].
    Append {
        /// The list.
        list: Vec<u8>,
        /// The entry.
        value: Cell,
    },
}

/// Bytes, optionally followed by the number that an earlier append of the same commit was given (8 bytes, big-endian).
#[derive(Clone, Debug)]
pub struct Cell {
    /// What comes first.
    pub bytes: Vec<u8>,
    /// The index, among the commit's appends, of the one whose number comes last.
    pub number_of: Option<usize>,
}

impl Cell {
    /// Bytes alone.
    pub fn plain(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            number_of: None,
        }
    }

    /// Bytes followed by a number.
    pub fn number(mut bytes: Vec<u8>, number: u64) -> Vec<u8> {
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes
    }
}

/// Where an engine keeps the number of a list's last entry (8 bytes, big-endian): table 0, then the list's key.
pub fn head_key(list: &[u8]) -> Vec<u8> {
    let mut key = vec![0, 0];
    key.extend_from_slice(list);
    key
}

/// A list's head as it is kept.
///
/// # Errors
/// It is no number.
pub fn head_number(bytes: &[u8]) -> Result<u64, StoreError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| {
        StoreError::Damaged("the number of a list's last entry has another size".to_owned())
    })
}
