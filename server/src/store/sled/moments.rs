//! What the store was at which moment. sled has one state only, the newest, and its iterators see it change. So before
//! anything is changed, what was there is set aside: for readers until the change is on the disk, so that nobody acts on
//! what a power cut could still take back; for snapshots as long as they live.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak},
};

use sled::Batch;

use super::{
    chunks::{Chunks, Found},
    directory::Directory,
};
use crate::store::{
    engine::{Pair, Span, StoreError, WriteSet},
    writing::{self, Entries, Outcome},
};

/// How many bytes of what has changed since are kept in memory for a snapshot, before it ends with an error. Tests do not
/// want to write so much.
pub(super) const MAX_PAST_BYTES: usize = if cfg!(test) { 4 << 20 } else { 256 << 20 };

/// What was at the keys that have changed.
type Before = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a snapshot needs beside what is stored now.
#[derive(Default)]
pub(super) struct Past {
    before: Before,
    bytes: usize,
}

impl Past {
    fn keep(&mut self, changed: &Before) {
        if self.is_over() {
            return;
        }
        for (key, value) in changed {
            if !self.before.contains_key(key) {
                self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
                self.before.insert(key.clone(), value.clone());
            }
        }
        if self.is_over() {
            self.before.clear();
        }
    }

    fn is_over(&self) -> bool {
        self.bytes > MAX_PAST_BYTES
    }
}

/// The store, and what was.
pub(super) struct Moments(RwLock<State>);

struct State {
    /// `None` after the end.
    now: Option<Arc<Directory>>,
    /// What was at the keys whose change is not on the disk yet.
    unsynced: Before,
    snapshots: Vec<Weak<Mutex<Past>>>,
}

impl Moments {
    pub(super) fn new(directory: Directory) -> Self {
        Self(RwLock::new(State {
            now: Some(Arc::new(directory)),
            unsynced: Before::new(),
            snapshots: Vec::new(),
        }))
    }

    /// Applies a group of commits and syncs it; readers see it after that.
    pub(super) fn write(&self, sets: &[WriteSet]) -> Result<Vec<Outcome>, StoreError> {
        let directory = self.reading().now()?.clone();
        let mut group = Group {
            stored: &directory.chunks,
            changes: BTreeMap::new(),
        };
        let outcomes = sets
            .iter()
            .map(|set| writing::write(&mut group, set))
            .collect::<Result<Vec<_>, _>>()?;
        if group.changes.is_empty() {
            return Ok(outcomes);
        }
        let (before, batch) = group.end();
        self.writing().change(before, batch)?;
        directory.sync()?;
        self.writing().unsynced.clear();
        Ok(outcomes)
    }

    pub(super) fn get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let state = self.reading();
        let stored = &state.now()?.chunks;
        keys.iter()
            .map(|key| match state.unsynced.get(key) {
                Some(before) => Ok(before.clone()),
                None => stored.get(key),
            })
            .collect()
    }

    pub(super) fn scan(&self, span: &Span) -> Result<Vec<Pair>, StoreError> {
        let state = self.reading();
        let stored = &state.now()?.chunks;
        let from = Bound::Included(span.from.as_slice());
        let to = span.to.as_deref();
        let now = stored.range(from, to);
        let before = state.unsynced.range::<[u8], _>((from, end(to)));
        if span.backwards {
            merge(stored, now.rev(), before.rev(), span.limit, |a, b| a > b)
        } else {
            merge(stored, now, before, span.limit, |a, b| a < b)
        }
    }

    /// Begins a snapshot of what is on the disk.
    pub(super) fn snapshot(&self) -> Arc<Mutex<Past>> {
        let mut state = self.writing();
        let mut past = Past::default();
        past.keep(&state.unsynced);
        let past = Arc::new(Mutex::new(past));
        state.snapshots.push(Arc::downgrade(&past));
        past
    }

    /// Entries of a snapshot; `None` if too much has changed since.
    pub(super) fn page(
        &self,
        past: &Mutex<Past>,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Option<Vec<Pair>>, StoreError> {
        let state = self.reading();
        let past = past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.is_over() {
            return Ok(None);
        }
        let stored = &state.now()?.chunks;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let before = past.before.range::<[u8], _>((from, Bound::Unbounded));
        let now = stored.range(after.map_or(Bound::Included(&[]), Bound::Excluded), None);
        merge(stored, now, before, limit, |a, b| a < b).map(Some)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.reading().now.is_none()
    }

    /// Waits for those who read, and closes the directory.
    pub(super) fn close(&self) {
        self.writing().now = None;
    }

    fn reading(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&self) -> Result<&Arc<Directory>, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        self.now.as_ref().ok_or_else(closed)
    }

    fn change(&mut self, before: Before, batch: Batch) -> Result<(), StoreError> {
        self.snapshots.retain(|past| match past.upgrade() {
            Some(past) => {
                let mut past = past.lock().unwrap_or_else(PoisonError::into_inner);
                past.keep(&before);
                true
            }
            None => false,
        });
        self.unsynced = before;
        self.now()?.chunks.apply(batch)
    }
}

fn end(to: Option<&[u8]>) -> Bound<&[u8]> {
    to.map_or(Bound::Unbounded, Bound::Excluded)
}

/// What is stored now, with what was before in the place of what has changed since.
fn merge<'a>(
    stored: &Chunks,
    now: impl Iterator<Item = Result<Found, StoreError>>,
    before: impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)>,
    limit: usize,
    comes_first: impl Fn(&Vec<u8>, &Vec<u8>) -> bool,
) -> Result<Vec<Pair>, StoreError> {
    let (mut now, mut before) = (now.peekable(), before.peekable());
    let mut pairs = Vec::new();
    while pairs.len() < limit {
        let changed = match (now.peek(), before.peek()) {
            (Some(Ok((key, _))), Some((changed, _))) if comes_first(key, changed) => None,
            (Some(Ok((key, _))), Some((changed, _))) if *changed == key => {
                now.next();
                before.next()
            }
            (Some(Err(_)), _) => None,
            _ => before.next(),
        };
        if let Some((key, value)) = changed {
            pairs.extend(value.clone().map(|value| (key.clone(), value)));
        } else if let Some(found) = now.next() {
            let (key, bytes) = found?;
            let value = stored.value(&key, &bytes)?;
            pairs.push((key, value));
        } else {
            break;
        }
    }
    Ok(pairs)
}

/// What a group of commits changes, seen by itself only.
struct Group<'a> {
    stored: &'a Chunks,
    changes: BTreeMap<Vec<u8>, Change>,
}

struct Change {
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

impl Group<'_> {
    fn set(&mut self, key: &[u8], after: Option<Vec<u8>>) -> Result<(), StoreError> {
        if let Some(change) = self.changes.get_mut(key) {
            change.after = after;
        } else {
            let before = self.stored.get(key)?;
            self.changes.insert(key.to_vec(), Change { before, after });
        }
        Ok(())
    }

    fn end(self) -> (Before, Batch) {
        let mut batch = Batch::default();
        let mut before = Before::new();
        for (key, change) in self.changes {
            let (was, is) = (change.before.as_deref(), change.after.as_deref());
            Chunks::change(&mut batch, &key, was, is);
            before.insert(key, change.before);
        }
        (before, batch)
    }
}

impl Entries for Group<'_> {
    type Error = StoreError;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.after.clone()),
            None => self.stored.get(key),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.set(key, Some(value.to_vec()))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.set(key, None)
    }

    fn damaged(error: StoreError) -> StoreError {
        error
    }
}
