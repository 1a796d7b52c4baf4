//! What a group of commits locks and reads, and what it changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::Row;

use super::{pair, schema::BUCKETS};
use crate::store::{
    engine::{StoreError, Write, WriteSet, head_key},
    watch::name_of,
    writing::{self, Entries, Outcome},
};

/// What a group has to lock and to know.
pub(super) struct Needs {
    pub(super) buckets: Vec<i32>,
    pub(super) keys: Vec<Vec<u8>>,
}

impl Needs {
    pub(super) fn of(sets: &[WriteSet]) -> Self {
        let mut buckets = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for set in sets {
            for check in &set.checks {
                buckets.insert(bucket_of(&check.key));
                keys.insert(check.key.clone());
            }
            for write in &set.writes {
                match write {
                    Write::Put { key, .. } if key.number_of.is_none() => {
                        buckets.insert(bucket_of(&key.bytes));
                    }
                    Write::Put { .. } => {}
                    Write::Delete { key } => {
                        buckets.insert(bucket_of(key));
                    }
                    Write::Append { list, .. } => {
                        let head = head_key(list);
                        buckets.insert(bucket_of(&head));
                        keys.insert(head);
                    }
                }
            }
        }
        Self {
            buckets: buckets.into_iter().collect(),
            keys: keys.into_iter().collect(),
        }
    }
}

fn bucket_of(key: &[u8]) -> i32 {
    i32::try_from(name_of(key) % u64::from(BUCKETS)).unwrap_or_default()
}

/// The entries that a group needs, as they were found when they were locked, and what the group has changed since.
#[derive(Default)]
pub(super) struct Known {
    found: HashMap<Vec<u8>, Vec<u8>>,
    /// Values, or `None` for keys that are gone.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Known {
    pub(super) fn of(rows: &[Row]) -> Result<Self, StoreError> {
        Ok(Self {
            found: rows.iter().map(pair).collect::<Result<_, _>>()?,
            changes: BTreeMap::new(),
        })
    }

    /// Does each commit in turn.
    pub(super) fn write(&mut self, sets: &[WriteSet]) -> Result<Vec<Outcome>, StoreError> {
        sets.iter().map(|set| writing::write(self, set)).collect()
    }

    /// What has to be written: the keys and values to set, and the keys to remove.
    pub(super) fn changes(&self) -> Changes<'_> {
        let mut changes = Changes::default();
        for (key, value) in &self.changes {
            match value {
                Some(value) => {
                    changes.keys.push(key);
                    changes.values.push(value);
                }
                None => changes.gone.push(key),
            }
        }
        changes
    }
}

#[derive(Default)]
pub(super) struct Changes<'a> {
    pub(super) keys: Vec<&'a [u8]>,
    pub(super) values: Vec<&'a [u8]>,
    pub(super) gone: Vec<&'a [u8]>,
}

impl Entries for Known {
    type Error = StoreError;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(match self.changes.get(key) {
            Some(changed) => changed.clone(),
            None => self.found.get(key).cloned(),
        })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.changes.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.changes.insert(key.to_vec(), None);
        Ok(())
    }

    fn damaged(error: StoreError) -> StoreError {
        error
    }
}
