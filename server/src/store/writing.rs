//! What one commit does to the entries: its checks, its writes in their order, and the numbers of its appends. For the
//! engines that apply commits themselves, one after the other.

use std::{borrow::Cow, collections::HashMap};

use super::engine::{Cell, Check, StoreError, Write, WriteSet, head_key, head_number};

/// What became of a commit: the numbers of its appends, or `None` if a check failed and nothing was written.
pub(super) type Outcome = Option<Vec<u64>>;

/// The entries of a store, as a writer sees them: with its own writes.
pub(super) trait Entries {
    /// What goes wrong with them.
    type Error;

    /// The value at a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Sets a key.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Self::Error>;

    /// Removes a key, if it is there.
    fn remove(&mut self, key: &[u8]) -> Result<(), Self::Error>;

    /// The error that says that the store is damaged.
    fn damaged(error: StoreError) -> Self::Error;
}

/// Does one commit.
pub(super) fn write<E: Entries>(entries: &mut E, set: &WriteSet) -> Result<Outcome, E::Error> {
    for check in &set.checks {
        if !holds(entries, check)? {
            return Ok(None);
        }
    }
    let mut numbers = Vec::new();
    let mut heads = HashMap::new();
    for write in &set.writes {
        match write {
            Write::Put { key, value } => {
                let key = resolved::<E>(key, &numbers)?;
                entries.put(&key, &resolved::<E>(value, &numbers)?)?;
            }
            Write::Delete { key } => entries.remove(key)?,
            Write::Append { list, value } => {
                let head = match heads.get(list.as_slice()) {
                    Some(head) => *head,
                    None => head_of(entries, list)?,
                };
                let number: u64 = head + 1;
                let key = Cell::number(list.clone(), number);
                entries.put(&key, &resolved::<E>(value, &numbers)?)?;
                heads.insert(list.as_slice(), number);
                numbers.push(number);
            }
        }
    }
    for (list, head) in heads {
        entries.put(&head_key(list), &head.to_be_bytes())?;
    }
    Ok(Some(numbers))
}

fn holds<E: Entries>(entries: &E, check: &Check) -> Result<bool, E::Error> {
    Ok(entries.get(&check.key)? == check.expected)
}

fn head_of<E: Entries>(entries: &E, list: &[u8]) -> Result<u64, E::Error> {
    let found = entries.get(&head_key(list))?;
    found.map_or(Ok(0), |bytes| head_number(&bytes).map_err(E::damaged))
}

fn resolved<'a, E: Entries>(cell: &'a Cell, numbers: &[u64]) -> Result<Cow<'a, [u8]>, E::Error> {
    let Some(index) = cell.number_of else {
        return Ok(Cow::Borrowed(&cell.bytes));
    };
    let number = numbers
        .get(index)
        .ok_or_else(|| E::damaged(no_number_yet()))?;
    Ok(Cow::Owned(Cell::number(cell.bytes.clone(), *number)))
}

fn no_number_yet() -> StoreError {
    StoreError::Damaged("a write refers to a number that is not given yet".to_owned())
}
