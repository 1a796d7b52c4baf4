//! The file while the disk takes no writes: what redb writes to open it stays in memory, so that reading goes on.

use std::{
    collections::HashMap,
    io,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend};

const BLOCK: u64 = 4096;

/// A backend that changes nothing beneath it.
#[derive(Debug)]
pub(super) struct Overlay<B> {
    file: B,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    length: u64,
    /// What the file holds beyond this is not seen any more.
    seen: u64,
    blocks: HashMap<u64, Vec<u8>>,
}

impl<B: StorageBackend> Overlay<B> {
    pub(super) fn new(file: B) -> io::Result<Self> {
        let length = file.len()?;
        let changes = Mutex::new(Changes {
            length,
            seen: length,
            blocks: HashMap::new(),
        });
        Ok(Self { file, changes })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it is in the file, zero beyond the end.
    fn beneath(&self, block: u64, seen: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; BLOCK as usize];
        let start = block * BLOCK;
        let there = seen.saturating_sub(start).min(BLOCK) as usize;
        if let Some(out) = bytes.get_mut(..there).filter(|out| !out.is_empty()) {
            self.file.read(start, out)?;
        }
        Ok(bytes)
    }
}

/// The blocks that a stretch of bytes lies in: the number of each, where in it the piece begins, and how long it is.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    (offset / BLOCK..end.div_ceil(BLOCK)).map(move |block| {
        let start = offset.max(block * BLOCK);
        let stop = end.min((block + 1) * BLOCK);
        (block, (start % BLOCK) as usize, (stop - start) as usize)
    })
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        if offset + out.len() as u64 > changes.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = &mut *out;
        for (number, from, length) in pieces(offset, rest.len()) {
            let beneath;
            let block = match changes.blocks.get(&number) {
                Some(block) => block,
                None => {
                    beneath = self.beneath(number, changes.seen)?;
                    &beneath
                }
            };
            let (piece, after) = rest.split_at_mut(length);
            let source = block.get(from..from + length);
            piece.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
            rest = after;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut changes = self.changes();
        changes.length = length;
        changes.seen = changes.seen.min(length);
        changes.blocks.retain(|block, _| block * BLOCK < length);
        if let Some(last) = changes.blocks.get_mut(&(length / BLOCK)) {
            let beyond = last.iter_mut().skip((length % BLOCK) as usize);
            beyond.for_each(|byte| *byte = 0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        let mut rest = data;
        for (number, from, length) in pieces(offset, data.len()) {
            let mut block = match changes.blocks.remove(&number) {
                Some(block) => block,
                None => self.beneath(number, changes.seen)?,
            };
            let (piece, after) = rest.split_at(length);
            if let Some(target) = block.get_mut(from..from + length) {
                target.copy_from_slice(piece);
            }
            changes.blocks.insert(number, block);
            rest = after;
        }
        changes.length = changes.length.max(offset + data.len() as u64);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
