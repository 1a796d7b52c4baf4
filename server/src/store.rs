//! The one layer under everything: ordered tables and lists, kept by an engine.
//!
//! A noun describes what it keeps as [`Table`]s and [`List`]s, reads through [`Store`], and writes through
//! [`Store::transact`], which runs the caller's closure again whenever what it read has changed in the meantime.
//! What an acknowledged commit wrote is on the disk.

mod address;
pub mod compact;
pub mod engine;
pub mod fatal;
pub mod file;
pub mod filling;
mod group;
mod key;
pub mod packed;
pub mod postgres;
mod queue;
pub mod redb;
pub mod sled;
#[cfg(test)]
mod suite;
pub mod sums;
mod table;
mod transaction;
mod turns;
pub mod watch;
mod writing;

use std::{
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use self::engine::{Cell, Pair, Span, Write, WriteSet, head_key};
pub use self::{
    address::{Address, STORE_FILE},
    engine::{Engine, StoreError},
    key::{AsKey, Key, PrefixOf},
    table::{List, Numbered, Table, Value},
    transaction::{Committed, Slot, Tx},
    turns::Turns,
    watch::Watch,
};

/// How often a transaction is tried again after a conflict before the caller is told to come back later.
pub const MAX_ATTEMPTS: usize = 64;

/// How many of these come without a wait.
const EAGER_ATTEMPTS: usize = 4;
/// The longest wait before another, in milliseconds, as a power of two.
const MAX_WAIT_BITS: usize = 5;

/// A read under way. It has taken what it needs of the key, so that it holds none of the caller's references.
pub type Read<'s, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 's>>;

/// A handle on the store; cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
}

/// Which entries of a table a scan wants, beyond the prefix.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// At most this many entries.
    pub limit: usize,
    /// From the last entry to the first.
    pub backwards: bool,
}

impl Page {
    /// The first `limit` entries.
    pub fn first(limit: usize) -> Self {
        Self {
            limit,
            backwards: false,
        }
    }

    /// The last `limit` entries, last first.
    pub fn last(limit: usize) -> Self {
        Self {
            limit,
            backwards: true,
        }
    }
}

impl Store {
    /// A store on the given engine.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// The engine itself, for backup, scan and migration.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// The value at a key.
    pub fn get<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        key: impl AsKey<K>,
    ) -> Read<'_, Option<V>> {
        let found = self.engine.get(vec![table.key(&key)]);
        Box::pin(async move { found.await?.pop().flatten().map(decode).transpose() })
    }

    /// The values at several keys, in their order.
    pub fn get_many<K: Key, V: Value, A: AsKey<K>>(
        &self,
        table: &Table<K, V>,
        keys: impl IntoIterator<Item = A>,
    ) -> Read<'_, Vec<Option<V>>> {
        let keys: Vec<_> = keys.into_iter().map(|key| table.key(&key)).collect();
        self.many(keys)
    }

    /// The entries whose keys begin with `prefix`, in key order (or against it).
    pub fn scan<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        prefix: impl PrefixOf<K>,
        page: Page,
    ) -> Read<'_, Vec<(K, V)>> {
        let span = Span::prefix(table.prefix(&prefix), page.limit, page.backwards);
        let (table, found) = (*table, self.engine.scan(span));
        Box::pin(async move { table.decode(found.await?) })
    }

    /// As [`Store::scan`], but only entries after `after` in the direction of reading.
    pub fn scan_after<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        prefix: impl PrefixOf<K>,
        after: impl AsKey<K>,
        page: Page,
    ) -> Read<'_, Vec<(K, V)>> {
        let span = Span::prefix(table.prefix(&prefix), page.limit, page.backwards)
            .starting_after(table.key(&after));
        let (table, found) = (*table, self.engine.scan(span));
        Box::pin(async move { table.decode(found.await?) })
    }

    /// The number of the list's last entry; 0 when nothing was ever appended.
    pub fn head<K: Key, V: Value>(&self, list: &List<K, V>, of: impl AsKey<K>) -> Read<'_, u64> {
        self.engine.head(list.key(&of))
    }

    /// The entries of a list with numbers above `after`, oldest first.
    pub fn after<K: Key, V: Value>(
        &self,
        list: &List<K, V>,
        of: impl AsKey<K>,
        after: u64,
        limit: usize,
    ) -> Read<'_, Vec<(u64, V)>> {
        let key = list.key(&of);
        let span = Span::prefix(key.clone(), limit, false).starting_after(Cell::number(key, after));
        let (list, found) = (*list, self.engine.scan(span));
        Box::pin(async move { list.decode(found.await?) })
    }

    /// The entries of a list with numbers below `before`, newest first.
    pub fn before<K: Key, V: Value>(
        &self,
        list: &List<K, V>,
        of: impl AsKey<K>,
        before: u64,
        limit: usize,
    ) -> Read<'_, Vec<(u64, V)>> {
        let key = list.key(&of);
        let span = Span::prefix(key.clone(), limit, true).starting_after(Cell::number(key, before));
        let (list, found) = (*list, self.engine.scan(span));
        Box::pin(async move { list.decode(found.await?) })
    }

    /// The entries of a list with the given numbers, in the order asked for.
    pub fn entries<K: Key, V: Value>(
        &self,
        list: &List<K, V>,
        of: impl AsKey<K>,
        numbers: &[u64],
    ) -> Read<'_, Vec<Option<V>>> {
        let key = list.key(&of);
        let keys = numbers
            .iter()
            .map(|number| Cell::number(key.clone(), *number))
            .collect();
        self.many(keys)
    }

    fn many<V: Value>(&self, keys: Vec<Vec<u8>>) -> Read<'_, Vec<Option<V>>> {
        if keys.is_empty() {
            return Box::pin(async { Ok(Vec::new()) });
        }
        let found = self.engine.get(keys);
        Box::pin(async move {
            found
                .await?
                .into_iter()
                .map(|value| value.map(decode).transpose())
                .collect()
        })
    }

    /// Removes up to `most` entries whose keys begin with `prefix`, in key order; how many that were. For what nobody
    /// writes any more: an entry that is written meanwhile may go too.
    ///
    /// # Errors
    /// The engine's; nothing is removed then.
    pub async fn erase<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        prefix: impl PrefixOf<K>,
        most: usize,
    ) -> Result<usize, StoreError> {
        let found = self
            .engine
            .scan(Span::prefix(table.prefix(&prefix), most, false));
        self.delete(found.await?).await
    }

    /// Removes up to `most` entries of a list with numbers up to `up_to`, the oldest first; how many. Their numbers are not
    /// given again. Removing what somebody else has just removed changes nothing.
    ///
    /// # Errors
    /// The engine's; nothing is removed then.
    pub async fn trim<K: Key, V: Value>(
        &self,
        list: &List<K, V>,
        of: impl AsKey<K>,
        up_to: u64,
        most: usize,
    ) -> Result<usize, StoreError> {
        let key = list.key(&of);
        let last = Cell::number(key.clone(), up_to);
        let found = self.engine.scan(Span::prefix(key, most, false)).await?;
        let trimmed = found.into_iter().take_while(|(key, _)| *key <= last);
        self.delete(trimmed.collect()).await
    }

    /// Removes up to `most` entries of a list that nobody appends to any more, the oldest first, and with the last of them
    /// the memory that there was such a list; how many entries that were.
    ///
    /// # Errors
    /// The engine's; nothing is removed then.
    pub async fn erase_list<K: Key, V: Value>(
        &self,
        list: &List<K, V>,
        of: impl AsKey<K>,
        most: usize,
    ) -> Result<usize, StoreError> {
        let key = list.key(&of);
        let mut found = self
            .engine
            .scan(Span::prefix(key.clone(), most, false))
            .await?;
        let removed = found.len();
        let head = head_key(&key);
        if removed < most && self.engine.head(key).await? > 0 {
            found.push((head, Vec::new()));
        }
        self.delete(found).await?;
        Ok(removed)
    }

    async fn delete(&self, found: Vec<Pair>) -> Result<usize, StoreError> {
        let removed = found.len();
        if removed > 0 {
            let writes = found.into_iter().map(|(key, _)| Write::Delete { key });
            self.engine
                .commit(WriteSet {
                    checks: Vec::new(),
                    writes: writes.collect(),
                })
                .await?;
        }
        Ok(removed)
    }

    /// Tells when the list grows. Subscribe first, read second: then nothing is missed.
    pub fn watch<K: Key, V: Value>(&self, list: &List<K, V>, of: impl AsKey<K>) -> Watch {
        self.engine.watch(list.key(&of))
    }

    /// Runs `body` with a fresh transaction and commits what it wrote, all or nothing; when something that it read
    /// through the transaction has changed by then, runs it again.
    ///
    /// The closure takes the transaction and hands it back with its result: `|mut tx| async move { … Ok((tx, result)) }`.
    ///
    /// # Errors
    /// The closure's own error, in which case nothing is written; or the store's.
    pub async fn transact<T, E, F, Fut>(&self, mut body: F) -> Result<Committed<T>, E>
    where
        E: From<StoreError>,
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = Result<(Tx, T), E>>,
    {
        for attempt in 0..MAX_ATTEMPTS {
            let (tx, value) = body(Tx::new(self.clone())).await?;
            match tx.commit().await {
                Ok(numbers) => return Ok(Committed::new(value, numbers)),
                Err(StoreError::Conflict) => give_way(attempt).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }
}

/// Lets others go first: at once for the first times, later by a time of one's own, so that several servers that want the
/// same row do not run into each other for ever.
async fn give_way(attempt: usize) {
    let Some(beyond) = attempt.checked_sub(EAGER_ATTEMPTS) else {
        return tokio::task::yield_now().await;
    };
    let longest = 1_u64 << beyond.min(MAX_WAIT_BITS);
    let chance = RandomState::new().hash_one(attempt);
    tokio::time::sleep(Duration::from_millis(chance % longest + 1)).await;
}

fn decode<V: Value>(bytes: Vec<u8>) -> Result<V, StoreError> {
    V::decode(&bytes)
}
