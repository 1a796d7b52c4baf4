//! Who waits for which list to grow; shared by the engines.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::sync::watch;

const SHARDS: usize = 64;

/// A subscription to one list.
pub struct Watch {
    receiver: watch::Receiver<()>,
}

impl Watch {
    /// Returns once the list has grown since the subscription, or since this last returned.
    pub async fn grown(&mut self) {
        if self.receiver.changed().await.is_err() {
            // The store is going away; whoever waits is stopped by the shutdown, not by us.
            std::future::pending::<()>().await;
        }
    }
}

/// A list as processes name it to each other: the beginning of its key's SHA-256. Should two lists ever share one, those
/// who wait for the one are also woken for the other, and find nothing.
pub type ListName = u64;

/// The name of the list with this key.
pub fn name_of(list: &[u8]) -> ListName {
    let hash = Sha256::digest(list);
    hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// A list that somebody waits for.
struct Awaited {
    list: Vec<u8>,
    sender: watch::Sender<()>,
}

type Waiting = HashMap<ListName, Awaited>;

/// The subscriptions of one process. Costs what is waiting, not what exists.
#[derive(Clone)]
pub struct Watchers {
    shards: Arc<[Mutex<Waiting>]>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Watchers {
    /// Subscribes to a list.
    pub fn subscribe(&self, list: Vec<u8>) -> Watch {
        let name = name_of(&list);
        let receiver = self.with(name, |waiting| {
            if waiting.len() >= 64 && waiting.len().is_power_of_two() {
                waiting.retain(|_, awaited| !awaited.sender.is_closed());
            }
            let awaited = waiting.entry(name).or_insert_with(|| Awaited {
                list,
                sender: watch::channel(()).0,
            });
            awaited.sender.subscribe()
        });
        Watch { receiver }
    }

    /// Wakes whoever waits for this list.
    pub fn grown(&self, list: &[u8]) {
        self.named_has_grown(name_of(list));
    }

    /// Wakes whoever waits for the list of this name.
    pub fn named_has_grown(&self, name: ListName) {
        self.with(name, |waiting| {
            if let Some(awaited) = waiting.get(&name)
                && awaited.sender.send(()).is_err()
            {
                waiting.remove(&name);
            }
        });
    }

    /// Wakes everybody: something may have grown.
    pub fn anything_may_have_grown(&self) {
        for shard in self.shards.iter() {
            lock(shard).retain(|_, awaited| awaited.sender.send(()).is_ok());
        }
    }

    /// The lists that somebody waits for.
    pub fn awaited(&self) -> Vec<Vec<u8>> {
        let mut lists = Vec::new();
        for shard in self.shards.iter() {
            let mut waiting = lock(shard);
            waiting.retain(|_, awaited| !awaited.sender.is_closed());
            lists.extend(waiting.values().map(|awaited| awaited.list.clone()));
        }
        lists
    }

    fn with<T>(&self, name: ListName, act: impl FnOnce(&mut Waiting) -> T) -> T {
        let shard = usize::try_from(name % SHARDS as u64).unwrap_or_default();
        match self.shards.get(shard) {
            Some(shard) => act(&mut lock(shard)),
            None => act(&mut Waiting::new()),
        }
    }
}

fn lock(shard: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
