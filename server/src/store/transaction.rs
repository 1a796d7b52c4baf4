//! A transaction: reads that are checked again at commit, and the writes that depend on them.

use super::{
    AsKey, Key, List, Numbered, PrefixOf, Read, Store, StoreError, Table, Value,
    engine::{Cell, Check, Write, WriteSet},
};

/// The number that an append will be given when its transaction commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

/// A transaction in the making. It sees the store as it is, not its own writes.
pub struct Tx {
    store: Store,
    writes: WriteSet,
    appends: usize,
}

/// What a committed transaction returned, and the numbers its appends were given.
#[derive(Debug)]
pub struct Committed<T> {
    /// What the closure returned.
    pub value: T,
    numbers: Vec<u64>,
}

impl<T> Committed<T> {
    pub(super) fn new(value: T, numbers: Vec<u64>) -> Self {
        Self { value, numbers }
    }

    /// The number that was given to an append of this transaction.
    pub fn number(&self, slot: Slot) -> u64 {
        self.numbers.get(slot.0).copied().unwrap_or_default()
    }
}

impl Tx {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            writes: WriteSet::default(),
            appends: 0,
        }
    }

    /// The store, for reads whose result need not hold until the commit.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads a value, and makes the commit depend on it: if it has changed by then, the transaction runs again.
    pub fn get<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        key: impl AsKey<K>,
    ) -> Read<'_, Option<V>> {
        let key = table.key(&key);
        Box::pin(async move {
            let found = self
                .store
                .engine
                .get(vec![key.clone()])
                .await?
                .pop()
                .flatten();
            let value = found.as_deref().map(V::decode).transpose()?;
            self.writes.checks.push(Check {
                key,
                expected: found,
            });
            Ok(value)
        })
    }

    /// Sets a value.
    pub fn put<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        key: impl AsKey<K>,
        value: &V,
    ) -> Result<(), StoreError> {
        self.write(Cell::plain(table.key(&key)), Cell::plain(value.encode()?));
        Ok(())
    }

    /// Sets a value that ends in an append's number.
    pub fn put_numbered<K: Key, V>(
        &mut self,
        table: &Table<K, Numbered<V>>,
        key: impl AsKey<K>,
        value: V,
        slot: Slot,
    ) -> Result<(), StoreError>
    where
        Numbered<V>: Value,
    {
        let value = numbered(value, slot)?;
        self.write(Cell::plain(table.key(&key)), value);
        Ok(())
    }

    /// Sets a value at a key whose last part, a `u64`, is an append's number.
    pub fn put_at<K: Key, V: Value>(
        &mut self,
        table: &Table<K, V>,
        prefix: impl PrefixOf<K>,
        slot: Slot,
        value: &V,
    ) -> Result<(), StoreError> {
        let key = Cell {
            bytes: table.prefix(&prefix),
            number_of: Some(slot.0),
        };
        self.write(key, Cell::plain(value.encode()?));
        Ok(())
    }

    /// Replaces an entry of a list in its place.
    pub fn replace<K: Key, V: Value>(
        &mut self,
        list: &List<K, V>,
        of: impl AsKey<K>,
        number: u64,
        value: &V,
    ) -> Result<(), StoreError> {
        let key = Cell::number(list.key(&of), number);
        self.write(Cell::plain(key), Cell::plain(value.encode()?));
        Ok(())
    }

    /// Removes an entry of a list; its number is not given again.
    pub fn remove<K: Key, V: Value>(&mut self, list: &List<K, V>, of: impl AsKey<K>, number: u64) {
        self.writes.writes.push(Write::Delete {
            key: Cell::number(list.key(&of), number),
        });
    }

    /// Removes a key.
    pub fn delete<K: Key, V: Value>(&mut self, table: &Table<K, V>, key: impl AsKey<K>) {
        self.writes.writes.push(Write::Delete {
            key: table.key(&key),
        });
    }

    /// Adds an entry at the end of a list.
    pub fn append<K: Key, V: Value>(
        &mut self,
        list: &List<K, V>,
        of: impl AsKey<K>,
        value: &V,
    ) -> Result<Slot, StoreError> {
        let value = Cell::plain(value.encode()?);
        Ok(self.push(list.key(&of), value))
    }

    /// Adds an entry that ends in the number of an earlier append of this transaction.
    pub fn append_numbered<K: Key, V>(
        &mut self,
        list: &List<K, Numbered<V>>,
        of: impl AsKey<K>,
        value: V,
        slot: Slot,
    ) -> Result<Slot, StoreError>
    where
        Numbered<V>: Value,
    {
        let value = numbered(value, slot)?;
        Ok(self.push(list.key(&of), value))
    }

    /// Whether nothing has been written so far.
    pub fn is_empty(&self) -> bool {
        self.writes.writes.is_empty()
    }

    pub(super) async fn commit(self) -> Result<Vec<u64>, StoreError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        self.store.engine.commit(self.writes).await
    }

    fn write(&mut self, key: Cell, value: Cell) {
        self.writes.writes.push(Write::Put { key, value });
    }

    fn push(&mut self, list: Vec<u8>, value: Cell) -> Slot {
        self.writes.writes.push(Write::Append { list, value });
        self.appends += 1;
        Slot(self.appends - 1)
    }
}

fn numbered<V>(value: V, slot: Slot) -> Result<Cell, StoreError>
where
    Numbered<V>: Value,
{
    let mut bytes = Numbered::new(value, 0).encode()?;
    bytes.truncate(bytes.len().saturating_sub(8));
    Ok(Cell {
        bytes,
        number_of: Some(slot.0),
    })
}
