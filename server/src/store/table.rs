//! Tables and lists: what is kept, described once.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    AsKey, Key, PrefixOf,
    engine::{Pair, StoreError},
};

/// The first byte of every value: how the rest is encoded. Version 1 is postcard.
const ENCODING: u8 = 1;

/// A value in the store. Anything serde can take without looking at the input's own types (keep JSON as text).
pub trait Value: Sized + Send + 'static {
    /// The value's bytes.
    fn encode(&self) -> Result<Vec<u8>, StoreError>;
    /// The value again.
    fn decode(bytes: &[u8]) -> Result<Self, StoreError>;
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Value for T {
    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        postcard::to_extend(self, vec![ENCODING]).map_err(|error| {
            StoreError::Damaged(format!("a value that cannot be encoded: {error}"))
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        match bytes {
            [ENCODING, rest @ ..] => postcard::from_bytes(rest)
                .map_err(|error| StoreError::Damaged(format!("a value of another shape: {error}"))),
            _ => Err(StoreError::Damaged(
                "a value of an unknown encoding".to_owned(),
            )),
        }
    }
}

/// A value together with a number that an append of the same commit was given: its last eight bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// The value.
    pub value: T,
    number: [u8; 8],
}

impl<T> Numbered<T> {
    /// A value with a number that is known already.
    pub fn new(value: T, number: u64) -> Self {
        Self {
            value,
            number: number.to_be_bytes(),
        }
    }

    /// The number.
    pub fn number(&self) -> u64 {
        u64::from_be_bytes(self.number)
    }
}

/// An ordered table from `K` to `V`.
pub struct Table<K, V> {
    id: u16,
    name: &'static str,
    marker: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K: Key, V: Value> Table<K, V> {
    /// A table with its number, which no other table or list may have, and its name.
    pub const fn new(id: u16, name: &'static str) -> Self {
        Self {
            id,
            name,
            marker: PhantomData,
        }
    }

    /// Number and name, for the register of tables.
    pub const fn describe(&self) -> (u16, &'static str) {
        (self.id, self.name)
    }

    /// The raw bytes of a key.
    pub fn key(&self, key: &impl AsKey<K>) -> Vec<u8> {
        let mut out = self.id.to_be_bytes().to_vec();
        key.write(&mut out);
        out
    }

    pub(super) fn prefix(&self, prefix: &impl PrefixOf<K>) -> Vec<u8> {
        let mut out = self.id.to_be_bytes().to_vec();
        prefix.write(&mut out);
        out
    }

    /// A raw entry of this table as its types.
    ///
    /// # Errors
    /// The entry is not one of this table's.
    pub fn decode_entry(&self, (key, value): &Pair) -> Result<(K, V), StoreError> {
        let mut rest = key
            .strip_prefix(&self.id.to_be_bytes())
            .ok_or_else(|| StoreError::Damaged(format!("a key outside of {}", self.name)))?;
        let key = K::take(&mut rest)
            .filter(|_| rest.is_empty())
            .ok_or_else(|| {
                StoreError::Damaged(format!("a key of another shape in {}", self.name))
            })?;
        Ok((key, V::decode(value)?))
    }

    pub(super) fn decode(&self, found: Vec<Pair>) -> Result<Vec<(K, V)>, StoreError> {
        found.iter().map(|pair| self.decode_entry(pair)).collect()
    }
}

/// Many lists of `V`, one for each `K`; the engine numbers the entries of each from 1 on, without gaps.
pub struct List<K, V> {
    table: Table<K, V>,
}

impl<K, V> Clone for List<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for List<K, V> {}

impl<K: Key, V: Value> List<K, V> {
    /// A family of lists with its number and name.
    pub const fn new(id: u16, name: &'static str) -> Self {
        Self {
            table: Table::new(id, name),
        }
    }

    /// Number and name, for the register of tables.
    pub const fn describe(&self) -> (u16, &'static str) {
        self.table.describe()
    }

    /// The raw key of the list of `of`.
    pub fn key(&self, of: &impl AsKey<K>) -> Vec<u8> {
        self.table.key(of)
    }

    /// A raw entry of one of these lists: whose, its number, its value.
    ///
    /// # Errors
    /// The entry is not one of theirs.
    pub fn decode_entry(&self, (key, value): &Pair) -> Result<(K, u64, V), StoreError> {
        let (key, number) = split_number(key)?;
        let (of, value) = self.table.decode_entry(&(key.to_vec(), value.clone()))?;
        Ok((of, number, value))
    }

    pub(super) fn decode(&self, found: Vec<Pair>) -> Result<Vec<(u64, V)>, StoreError> {
        found
            .iter()
            .map(|(key, value)| Ok((split_number(key)?.1, V::decode(value)?)))
            .collect()
    }
}

fn split_number(key: &[u8]) -> Result<(&[u8], u64), StoreError> {
    key.split_last_chunk()
        .map(|(key, number)| (key, u64::from_be_bytes(*number)))
        .ok_or_else(|| StoreError::Damaged("a list entry without a number".to_owned()))
}
