//! Who waits for which list to grow; shared by the engines.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

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

/// The lists that somebody waits for.
type Waiting = HashMap<Vec<u8>, watch::Sender<()>>;

/// The subscriptions of one process. Costs what is waiting, not what exists.
#[derive(Clone)]
pub struct Watchers {
    shards: Arc<[Mutex<Waiting>]>,
    hasher: RandomState,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Watchers {
    /// Subscribes to a list.
    pub fn subscribe(&self, list: Vec<u8>) -> Watch {
        let receiver = self.with(&list, |waiting| {
            if waiting.len() >= 64 && waiting.len().is_power_of_two() {
                waiting.retain(|_, sender| !sender.is_closed());
            }
            waiting
                .entry(list.clone())
                .or_insert_with(|| watch::channel(()).0)
                .subscribe()
        });
        Watch { receiver }
    }

    /// Wakes whoever waits for this list.
    pub fn grown(&self, list: &[u8]) {
        self.with(list, |waiting| {
            if let Some(sender) = waiting.get(list)
                && sender.send(()).is_err()
            {
                waiting.remove(list);
            }
        });
    }

    fn with<T>(&self, list: &[u8], act: impl FnOnce(&mut Waiting) -> T) -> T {
        let shard = self.hasher.hash_one(list) as usize % SHARDS;
        match self.shards.get(shard) {
            Some(shard) => act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)),
            None => act(&mut Waiting::new()),
        }
    }
}
