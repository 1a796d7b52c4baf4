//! The other engine for one machine: a sled directory, one writer thread that groups commits and syncs after each group.
//!
//! `docs/sled.md` says what it promises, and why redb is the default.

mod chunks;
mod directory;
mod moments;

use std::{
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;

use self::{
    directory::Directory,
    moments::{Moments, Past},
};
use super::{
    engine::{Engine, Pair, Snapshot, Span, StoreError, WriteSet},
    fatal::Fatal,
    queue::Queue,
    watch::{Watch, Watchers},
    writing::Outcome,
};

/// The store in one sled directory.
///
/// Whatever sled does that it should not, an error or a panic, ends the process: what it holds in memory is then no
/// longer to be trusted, and the next start reads what is on the disk.
///
/// Dropping it finishes what is queued, waits for reads that have begun and closes the directory.
pub struct Sled {
    stored: Arc<Stored>,
    watchers: Watchers,
    queue: Queue,
}

impl Sled {
    /// Opens the store in the directory at `path`, or makes a new one if there is none or it is empty; `cache_bytes` is
    /// how much of it sled may keep in memory, roughly. Blocks, longer the more is stored. From then on, an error or a
    /// panic of sled ends the process.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it open, [`StoreError::Damaged`] if it is not a whole store (nothing is
    /// deleted), [`StoreError::Unavailable`] if the directory cannot be written to.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let engine = Self::open_with(path, cache_bytes, Fatal::exit())?;
        end_with_threads_of_sled();
        Ok(engine)
    }

    fn open_with(path: &Path, cache_bytes: usize, fatal: Fatal) -> Result<Self, StoreError> {
        let moments = Moments::new(Directory::open(path, cache_bytes)?);
        let stored = Arc::new(Stored {
            moments,
            broken: AtomicBool::new(false),
            fatal: fatal.clone(),
        });
        let watchers = Watchers::default();
        let writer = stored.clone();
        let queue = Queue::start(watchers.clone(), fatal, move |sets, _| writer.write(sets))?;
        Ok(Self {
            stored,
            watchers,
            queue,
        })
    }
}

impl Drop for Sled {
    fn drop(&mut self) {
        self.queue.close();
        self.stored.moments.close();
    }
}

#[async_trait]
impl Engine for Sled {
    async fn get(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        blocking(&self.stored, move |moments| moments.get(&keys)).await
    }

    async fn scan(&self, span: Span) -> Result<Vec<Pair>, StoreError> {
        if span.is_empty() {
            return Ok(Vec::new());
        }
        blocking(&self.stored, move |moments| moments.scan(&span)).await
    }

    async fn commit(&self, writes: WriteSet) -> Result<Vec<u64>, StoreError> {
        self.queue.commit(writes).await
    }

    fn watch(&self, list: Vec<u8>) -> Watch {
        self.watchers.subscribe(list)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let past = blocking(&self.stored, |moments| Ok(moments.snapshot())).await?;
        let stored = self.stored.clone();
        Ok(Box::new(SledSnapshot { stored, past }))
    }
}

/// What the store was at one moment.
struct SledSnapshot {
    stored: Arc<Stored>,
    past: Arc<Mutex<Past>>,
}

#[async_trait]
impl Snapshot for SledSnapshot {
    async fn page(&self, after: Option<Vec<u8>>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let past = self.past.clone();
        let found = blocking(&self.stored, move |moments| {
            moments.page(&past, after.as_deref(), limit)
        });
        found.await?.ok_or_else(|| {
            StoreError::Unavailable(
                "too much was written since the snapshot was taken; take another one".to_owned(),
            )
        })
    }
}

/// What is in the directory, for as long as sled can be trusted with it.
struct Stored {
    moments: Moments,
    broken: AtomicBool,
    fatal: Fatal,
}

impl Stored {
    fn write(&self, sets: &[WriteSet]) -> Result<Vec<Outcome>, StoreError> {
        self.trusted(|moments| moments.write(sets))
    }

    /// Uses the store; stops everything if that goes wrong.
    fn trusted<T>(
        &self,
        act: impl FnOnce(&Moments) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(not_trusted());
        }
        if self.moments.is_closed() {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        catch_unwind(AssertUnwindSafe(|| act(&self.moments)))
            .unwrap_or_else(|_| Err(StoreError::Damaged("sled panicked".to_owned())))
            .inspect_err(|error| {
                if self.moments.is_closed() {
                    return;
                }
                self.broken.store(true, Ordering::Release);
                self.fatal.stop(&format!(
                    "The sled store cannot be trusted any more ({error}). The server stops; nothing was acknowledged that \
                     had not been synced. Look at the disk before starting it again."
                ));
            })
    }
}

fn not_trusted() -> StoreError {
    StoreError::Unavailable("sled has failed before; the server has to be started again".to_owned())
}

async fn blocking<T: Send + 'static>(
    stored: &Arc<Stored>,
    act: impl FnOnce(&Moments) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let stored = stored.clone();
    tokio::task::spawn_blocking(move || stored.trusted(act))
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the server is stopping".to_owned())))
}

/// sled has threads of its own. One that panics takes with it what it should have written, and who waits for that waits
/// for ever; so that ends the process too.
fn end_with_threads_of_sled() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            before(panicked);
            if is_of_sled(std::thread::current().name()) {
                Fatal::exit().stop("A thread of the sled store panicked. The server stops.");
            }
        }));
    });
}

fn is_of_sled(thread: Option<&str>) -> bool {
    thread.is_some_and(|name| name.starts_with("sled") || name == "log flusher")
}

#[cfg(test)]
mod tests;
