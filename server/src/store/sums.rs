//! Counts and checksums of what is in a store, table by table, so that two stores can be compared without having both at
//! hand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::engine::Pair;

/// A SHA-256.
pub type Hash = [u8; 32];

/// What one table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// How many entries; list heads are table 0.
    pub entries: u64,
    /// A hash over keys and values in the order of the keys.
    pub hash: Hash,
}

/// What a store holds, by the number of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums(pub BTreeMap<u16, Sum>);

impl Sums {
    /// All entries.
    pub fn entries(&self) -> u64 {
        self.0.values().map(|sum| sum.entries).sum()
    }

    /// One hash for all of it.
    pub fn fingerprint(&self) -> Hash {
        let mut hash = Sha256::new();
        for (table, sum) in &self.0 {
            hash.update(table.to_be_bytes());
            hash.update(sum.entries.to_be_bytes());
            hash.update(sum.hash);
        }
        hash.finalize().into()
    }

    /// The tables that are not the same in both.
    pub fn differing(&self, other: &Self) -> Vec<u16> {
        let tables = self.0.keys().chain(other.0.keys());
        let mut found: Vec<u16> = tables
            .filter(|table| self.0.get(table) != other.0.get(table))
            .copied()
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Sums that are being made of entries as they come by, in the order of their keys.
#[derive(Default)]
pub struct Summing(BTreeMap<u16, (u64, Sha256)>);

impl Summing {
    /// Takes in an entry.
    pub fn add(&mut self, (key, value): &Pair) {
        let table = key
            .first_chunk()
            .copied()
            .map_or(u16::MAX, u16::from_be_bytes);
        let (entries, hash) = self.0.entry(table).or_default();
        *entries += 1;
        for part in [key, value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }

    /// The sums of what has come by.
    pub fn finish(self) -> Sums {
        let finished = self.0.into_iter().map(|(table, (entries, hash))| {
            let hash = hash.finalize().into();
            (table, Sum { entries, hash })
        });
        Sums(finished.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(pairs: &[(&[u8], &[u8])]) -> Sums {
        let mut summing = Summing::default();
        for (key, value) in pairs {
            summing.add(&(key.to_vec(), value.to_vec()));
        }
        summing.finish()
    }

    #[test]
    fn what_differs_is_told_by_table() {
        let one = sums(&[(&[0, 1, 7], b"a"), (&[0, 2, 7], b"b"), (&[0, 3], b"c")]);
        let other = sums(&[(&[0, 1, 7], b"a"), (&[0, 2, 7], b"x"), (&[0, 4], b"c")]);
        assert_eq!(one.differing(&other), [2, 3, 4]);
        assert!(one.differing(&one).is_empty());
        assert_eq!(one.entries(), 3);
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_byte_that_moves_from_key_to_value_is_seen() {
        assert_ne!(sums(&[(&[0, 1, 2], b"")]), sums(&[(&[0, 1], &[2])]));
    }
}
