//! The engine for one machine: a redb file, one writer thread that groups commits, readers beside it.

mod file;
mod overlay;
mod synced;
mod writer;

use std::{
    ops::Bound,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use self::{
    file::{Disk, OnDisk, explain},
    writer::Writer,
};
use super::{
    engine::{Engine, Pair, Snapshot, Span, StoreError, WriteSet},
    fatal::Fatal,
    queue::Queue,
    watch::{Watch, Watchers},
};

/// Everything is in this one table of the file.
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// How much of the file redb keeps in memory, if nothing else is asked for; the operating system keeps the rest of it.
pub const DEFAULT_CACHE_BYTES: usize = 16 << 20;

/// How often a read is tried anew on a file that had to be opened again.
const MAX_READ_ATTEMPTS: usize = 3;

type Entries = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The store in one redb file.
///
/// Dropping it finishes what is queued, waits for reads that have begun and closes the file.
pub struct Redb {
    file: Arc<File>,
    watchers: Watchers,
    queue: Queue,
}

impl Redb {
    /// Opens the store at `path`, or makes a new one if there is no file; `cache_bytes` is how much of it redb may keep
    /// in memory. Blocks: after a crash, reading through the whole file takes seconds for each gigabyte. From then on, a
    /// sync of the file that fails ends the process.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it open, [`StoreError::Damaged`] if it is not a whole store (the
    /// file is left as it is), [`StoreError::Unavailable`] if the directory cannot be written to.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let fatal = Fatal::exit();
        let disk = OnDisk::new(path, cache_bytes, fatal.clone());
        let database = disk.open_or_create()?;
        Self::start(database, Box::new(disk), fatal)
    }

    /// Starts the writer on an open database.
    fn start(database: Database, disk: Box<dyn Disk>, fatal: Fatal) -> Result<Self, StoreError> {
        let state = RwLock::new(State {
            opened: 0,
            database: Some(database),
            reads_only: None,
        });
        let file = Arc::new(File { state, disk });
        let watchers = Watchers::default();
        let mut writer = Writer::new(file.clone());
        let queue = Queue::start(watchers.clone(), fatal, move |sets, bytes| {
            writer.apply(sets, bytes).map_err(|error| explain(&error))
        })?;
        Ok(Self {
            file,
            watchers,
            queue,
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        act: impl Fn(&Entries) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = self.file.clone();
        blocking(move || file.read(act)).await
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.queue.close();
        self.file.close();
    }
}

#[async_trait]
impl Engine for Redb {
    async fn get(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.read(move |entries| keys.iter().map(|key| value_at(entries, key)).collect())
            .await
    }

    async fn scan(&self, span: Span) -> Result<Vec<Pair>, StoreError> {
        if span.is_empty() {
            return Ok(Vec::new());
        }
        self.read(move |entries| {
            let to = span.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = entries.range::<&[u8]>((Bound::Included(span.from.as_slice()), to))?;
            if span.backwards {
                collect(range.rev(), span.limit)
            } else {
                collect(range, span.limit)
            }
        })
        .await
    }

    async fn commit(&self, writes: WriteSet) -> Result<Vec<u64>, StoreError> {
        self.queue.commit(writes).await
    }

    fn watch(&self, list: Vec<u8>) -> Watch {
        self.watchers.subscribe(list)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let file = self.file.clone();
        let entries = blocking(move || file.snapshot()).await?;
        Ok(Box::new(RedbSnapshot {
            entries: Arc::new(entries),
        }))
    }
}

/// What the file was at one moment: redb keeps the pages of it as long as this lives.
struct RedbSnapshot {
    entries: Arc<Entries>,
}

#[async_trait]
impl Snapshot for RedbSnapshot {
    async fn page(&self, after: Option<Vec<u8>>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let entries = self.entries.clone();
        blocking(move || {
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = entries.range::<&[u8]>((from, Bound::Unbounded));
            range
                .map_err(redb::Error::from)
                .and_then(|range| collect(range, limit))
                .map_err(|error| explain(&error))
        })
        .await
    }
}

/// The open file. redb refuses everything after the disk has failed once, until the file is opened again.
struct File {
    state: RwLock<State>,
    disk: Box<dyn Disk>,
}

struct State {
    /// How often the file has been opened again.
    opened: u64,
    /// `None` when the last attempt to open it failed, and after the end.
    database: Option<Database>,
    /// The disk did not even take what redb writes to open the file, so that it may only be read.
    reads_only: Option<ReadsOnly>,
}

#[derive(Clone, Copy)]
struct ReadsOnly {
    since: Instant,
    /// How long it took to open.
    cost: Duration,
}

/// A file that may only be read is tried again after this many times what opening it took: most of the time is for readers.
const PATIENCE: u32 = 4;

impl File {
    /// Runs a read on the newest state; opens the file again if an earlier failure has closed it.
    fn read<T>(&self, act: impl Fn(&Entries) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        for _ in 1..MAX_READ_ATTEMPTS {
            let (opened, result) = self.with(|database| act(&entries_of(database)?));
            match result {
                Err(error) if file::needs_reopening(&error) => self.open_again(opened)?,
                result => return result.map_err(|error| explain(&error)),
            }
        }
        self.with(|database| act(&entries_of(database)?))
            .1
            .map_err(|error| explain(&error))
    }

    fn snapshot(&self) -> Result<Entries, StoreError> {
        for _ in 1..MAX_READ_ATTEMPTS {
            let (opened, result) = self.with(entries_of);
            match result {
                Err(error) if file::needs_reopening(&error) => self.open_again(opened)?,
                result => return result.map_err(|error| explain(&error)),
            }
        }
        self.with(entries_of).1.map_err(|error| explain(&error))
    }

    /// Uses the database, and tells which opening of it that was.
    fn with<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> (u64, Result<T, redb::Error>) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let result = state
            .database
            .as_ref()
            .map_or(Err(redb::Error::DatabaseClosed), act);
        (state.opened, result)
    }

    /// Opens the file again, unless somebody else has done so since the opening `seen`; to be read only, if the disk does
    /// not take what has to be written for that.
    fn open_again(&self, seen: u64) -> Result<(), StoreError> {
        let state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.opened != seen {
            return Ok(());
        }
        match self.reopen(state) {
            (Some(error), false) => Err(explain(&error)),
            _ => Ok(()),
        }
    }

    /// Sees to it that what is written goes to the disk.
    fn be_writable(&self) -> Result<(), redb::Error> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.reads_only.is_none() {
            return Ok(());
        }
        drop(state);
        let state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match state.reads_only {
            None => Ok(()),
            Some(ReadsOnly { since, cost }) if since.elapsed() < PATIENCE * cost => {
                Err(redb::Error::PreviousIo)
            }
            Some(_) => self.reopen(state).0.map_or(Ok(()), Err),
        }
    }

    /// What kept the file from being opened, and whether it can be read nevertheless.
    fn reopen(&self, mut state: RwLockWriteGuard<'_, State>) -> (Option<redb::Error>, bool) {
        let since = Instant::now();
        state.database = None;
        state.reads_only = None;
        let error = match self.disk.open() {
            Ok(database) => {
                state.database = Some(database);
                None
            }
            Err(error) => {
                state.database = self.disk.open_to_read().ok();
                let cost = since.elapsed();
                state.reads_only = state.database.as_ref().map(|_| ReadsOnly { since, cost });
                Some(error)
            }
        };
        let readable = state.database.is_some();
        if error.is_none() || readable {
            state.opened += 1;
        }
        (error, readable)
    }

    fn close(&self) {
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .database = None;
    }
}

fn entries_of(database: &Database) -> Result<Entries, redb::Error> {
    Ok(database.begin_read()?.open_table(ENTRIES)?)
}

fn value_at(entries: &Entries, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(entries.get(key)?.map(|value| value.value().to_vec()))
}

fn collect<'a>(
    range: impl Iterator<
        Item = Result<
            (
                redb::AccessGuard<'a, &'static [u8]>,
                redb::AccessGuard<'a, &'static [u8]>,
            ),
            redb::StorageError,
        >,
    >,
    limit: usize,
) -> Result<Vec<Pair>, redb::Error> {
    range
        .take(limit)
        .map(|entry| {
            let (key, value) = entry?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        })
        .collect()
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(act)
        .await
        .unwrap_or_else(|error| {
            Err(if error.is_panic() {
                StoreError::Damaged(
                    "reading it failed in a way that only damage explains".to_owned(),
                )
            } else {
                StoreError::Unavailable("the server is stopping".to_owned())
            })
        })
}

#[cfg(test)]
mod tests;
