//! A store that is being filled from somewhere else, by a migration or a restore: resumable, and nobody's to use before it
//! is whole.
//!
//! How far it is stands in the store itself, changed by the commits that bring the entries. As long as that record is there,
//! no server starts on the store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Engine, StoreError, Table, Value,
    engine::{Cell, Check, PAGE, Pages, Pair, Snapshot, Write, WriteSet},
    sums::{Hash, Summing, Sums},
};

/// How far the filling of this store is; absent in a store that is whole.
pub const FILLING: Table<(), Progress> = Table::new(0x0C0F, "filling");

/// One commit writes at most [`PAGE`] entries, and takes no further entry once it has this many bytes.
pub(super) const MAX_COMMIT_BYTES: usize = 4 << 20;

/// How far a filling is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What the store is filled with: the fingerprint of its sums.
    source: Hash,
    /// The last key that was written.
    after: Option<Vec<u8>>,
    /// How many entries were written.
    entries: u64,
    /// Whether all of it was found to be what it should be.
    verified: bool,
}

/// Why a store cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// There is something in it.
    #[error("it is not empty")]
    NotEmpty,
    /// It is half filled with something else, or with another state of the same.
    #[error(
        "an earlier copy into it has not finished, and was of something else or of another state of the same. Empty it and \
         start again"
    )]
    OtherSource,
    /// It is not what it should be.
    #[error("it differs from what it was filled with in {} of its tables", .0.len())]
    Differs(Vec<u16>),
    /// Somebody else fills it at the same time, or the store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A store that is being filled.
pub struct Filling {
    engine: Arc<dyn Engine>,
    progress: Progress,
}

impl Filling {
    /// Begins to fill an empty store with entries of this fingerprint, or goes on with what was interrupted.
    ///
    /// # Errors
    /// The store holds something, or is half filled with something else.
    pub async fn begin(engine: Arc<dyn Engine>, source: Hash) -> Result<Self, FillError> {
        if let Some(progress) = progress(&*engine).await? {
            return match progress.source == source {
                true => Ok(Self { engine, progress }),
                false => Err(FillError::OtherSource),
            };
        }
        if !is_empty(&*engine).await? {
            return Err(FillError::NotEmpty);
        }
        let progress = Progress {
            source,
            after: None,
            entries: 0,
            verified: false,
        };
        let record = Check {
            key: FILLING.key(&()),
            expected: None,
        };
        let writes = vec![put(FILLING.key(&()), progress.encode()?)];
        commit(&*engine, record, writes).await?;
        Ok(Self { engine, progress })
    }

    /// The last key that is there; go on after it.
    pub fn after(&self) -> Option<&[u8]> {
        self.progress.after.as_deref()
    }

    /// How many entries are there.
    pub fn entries(&self) -> u64 {
        self.progress.entries
    }

    /// Writes the next entries, in the order of their keys; those that are there already are passed over.
    ///
    /// # Errors
    /// The store's; what is there by then is kept, and [`Filling::begin`] goes on after it.
    pub async fn put(&mut self, pairs: Vec<Pair>) -> Result<(), StoreError> {
        let mut next = self.progress.clone();
        let (mut writes, mut bytes) = (Vec::new(), 0);
        for (key, value) in pairs {
            if next.after.as_ref().is_some_and(|after| key <= *after) {
                continue;
            }
            bytes += key.len() + value.len();
            next.after = Some(key.clone());
            next.entries += 1;
            writes.push(put(key, value));
            if writes.len() >= PAGE || bytes >= MAX_COMMIT_BYTES {
                self.advance(next.clone(), std::mem::take(&mut writes))
                    .await?;
                bytes = 0;
            }
        }
        match writes.is_empty() {
            true => Ok(()),
            false => self.advance(next, writes).await,
        }
    }

    /// Compares what is there, all of it, with what should be. It is done once: what is changed after that is on purpose.
    ///
    /// # Errors
    /// It is not the same: the store stays closed. Or the store's.
    pub async fn verify(
        &mut self,
        expected: &Sums,
        seen: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), FillError> {
        if self.progress.verified {
            return Ok(());
        }
        let found = sums(&*self.engine.snapshot().await?, seen).await?;
        let differing = found.differing(expected);
        if !differing.is_empty() {
            return Err(FillError::Differs(differing));
        }
        let next = Progress {
            verified: true,
            ..self.progress.clone()
        };
        Ok(self.advance(next, Vec::new()).await?)
    }

    /// Opens the store for use, and writes these entries with that.
    ///
    /// # Errors
    /// It was not verified, or the store's.
    pub async fn finish(self, with: Vec<Pair>) -> Result<(), StoreError> {
        if !self.progress.verified {
            return Err(StoreError::Unavailable("it was not verified".to_owned()));
        }
        let mut writes: Vec<Write> = with
            .into_iter()
            .map(|(key, value)| put(key, value))
            .collect();
        let key = FILLING.key(&());
        writes.push(Write::Delete { key });
        commit(&*self.engine, self.record()?, writes).await
    }

    async fn advance(&mut self, next: Progress, mut writes: Vec<Write>) -> Result<(), StoreError> {
        writes.push(put(FILLING.key(&()), next.encode()?));
        commit(&*self.engine, self.record()?, writes).await?;
        self.progress = next;
        Ok(())
    }

    /// That nobody else has filled it meanwhile.
    fn record(&self) -> Result<Check, StoreError> {
        Ok(Check {
            key: FILLING.key(&()),
            expected: Some(self.progress.encode()?),
        })
    }
}

/// Whether the store is being filled, or was and that did not finish.
///
/// # Errors
/// The store's.
pub async fn is_unfinished(engine: &dyn Engine) -> Result<bool, StoreError> {
    Ok(progress(engine).await?.is_some())
}

/// Whether nothing at all is in the store.
///
/// # Errors
/// The store's.
pub async fn is_empty(engine: &dyn Engine) -> Result<bool, StoreError> {
    Ok(engine.snapshot().await?.page(None, 1).await?.is_empty())
}

/// The sums of everything in a snapshot; `seen` is told the number of entries of each page.
///
/// # Errors
/// The store's.
pub async fn sums(
    snapshot: &dyn Snapshot,
    seen: &mut (dyn FnMut(u64) + Send),
) -> Result<Sums, StoreError> {
    let own = FILLING.key(&());
    let mut summing = Summing::default();
    let mut pages = Pages::new(snapshot, None);
    while let Some(page) = pages.next().await? {
        for pair in page.iter().filter(|(key, _)| *key != own) {
            summing.add(pair);
        }
        seen(page.len() as u64);
    }
    Ok(summing.finish())
}

async fn progress(engine: &dyn Engine) -> Result<Option<Progress>, StoreError> {
    let found = engine.get(vec![FILLING.key(&())]).await?.pop().flatten();
    found.as_deref().map(Progress::decode).transpose()
}

pub(super) fn put(key: Vec<u8>, value: Vec<u8>) -> Write {
    Write::Put {
        key: Cell::plain(key),
        value: Cell::plain(value),
    }
}

async fn commit(engine: &dyn Engine, check: Check, writes: Vec<Write>) -> Result<(), StoreError> {
    let checks = vec![check];
    engine.commit(WriteSet { checks, writes }).await.map(drop)
}
