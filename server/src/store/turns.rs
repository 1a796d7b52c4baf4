//! Queues for transactions that would run into each other.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Mutex, MutexGuard};

const QUEUES: usize = 256;

/// Lets those who change the same rows do so one after the other, within this process. Only saves repetitions: what is
/// right, transactions alone ensure.
pub struct Turns {
    queues: [Mutex<()>; QUEUES],
    /// Never used; what an index that is too large would lead to.
    spare: Mutex<()>,
}

impl Turns {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self {
            queues: [const { Mutex::const_new(()) }; QUEUES],
            spare: Mutex::const_new(()),
        }
    }

    /// Waits for one's turn among those who name the same thing; it ends when the guard is dropped. Things share a few
    /// queues, so nobody takes a second turn while they have one.
    pub async fn wait(&self, of: impl Hash) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        of.hash(&mut hasher);
        usize::try_from(hasher.finish() % QUEUES as u64)
            .ok()
            .and_then(|queue| self.queues.get(queue))
            .unwrap_or(&self.spare)
            .lock()
            .await
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self::new()
    }
}
