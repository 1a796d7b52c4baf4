//! The file under redb, with one rule more: after a sync that failed, nothing is done any more.
//!
//! The system may have dropped the pages that it could not write and call the next sync a success, and what is read back
//! comes from its memory and proves nothing. A write that failed is another matter: redb knows of it, and nothing that was
//! synced is touched by it.

use std::{io, ops::Bound};

use redb::{BackendError, StorageBackend};

use crate::store::fatal::Fatal;

/// A backend whose failed syncs are fatal.
#[derive(Debug)]
pub(super) struct Synced<B> {
    backend: B,
    fatal: Fatal,
}

impl<B> Synced<B> {
    pub(super) fn new(backend: B, fatal: Fatal) -> Self {
        Self { backend, fatal }
    }
}

impl<B: StorageBackend> StorageBackend for Synced<B> {
    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data().inspect_err(|error| {
            self.fatal.stop(&format!(
                "The disk failed to sync the store ({error}), so nobody can know what is on it. The server stops; \
                 nothing was acknowledged that had not been synced. Look at the disk before starting it again."
            ));
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.backend.set_len(length)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.query_lock_range(start, end)
    }
}
