//! How server processes hear that a list has grown: PostgreSQL's notifications, sent after the commit and many lists at a
//! time. They only make it fast. Whatever goes missing is found by looking, every few seconds, at the heads of the lists
//! that somebody waits for.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use deadpool_postgres::Pool;
use tokio::{sync::Notify, task::AbortHandle};

use super::{connect::Target, pair, read};
use crate::store::{
    engine::{StoreError, head_key},
    watch::{ListName, Watchers},
};

/// How often one looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How many heads are looked at in one request.
const HEADS_AT_ONCE: usize = 500;

/// How many lists are named in one notification; PostgreSQL takes 8000 bytes.
const NAMES_AT_ONCE: usize = 400;

/// Beyond this many lists, everybody is told to look.
const MAX_NAMES: usize = 10_000;

/// In place of names: anything may have grown.
const ANYTHING: &str = "*";

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Tells other processes; cheap to clone.
#[derive(Clone)]
pub(super) struct Wake(Arc<Pending>);

struct Pending {
    names: Mutex<HashSet<ListName>>,
    some: Notify,
    /// Names this process, so that it does not listen to itself.
    process: String,
}

impl Wake {
    /// Starts to tell, to listen and to look. It ends when the tasks are aborted.
    pub(super) fn start(
        target: Arc<Target>,
        pool: Pool,
        watchers: Watchers,
    ) -> (Self, Vec<AbortHandle>) {
        let wake = Self(Arc::new(Pending {
            names: Mutex::default(),
            some: Notify::new(),
            process: format!("{:016x}", RandomState::new().hash_one(0)),
        }));
        let tasks = [
            tokio::spawn(wake.clone().keep_telling(pool.clone())),
            tokio::spawn(wake.clone().keep_listening(target, watchers.clone())),
            tokio::spawn(keep_looking(pool, watchers)),
        ];
        (wake, tasks.iter().map(|task| task.abort_handle()).collect())
    }

    /// Tells, soon, that a list has grown.
    pub(super) fn tell(&self, name: ListName) {
        self.names().insert(name);
        self.0.some.notify_one();
    }

    fn names(&self) -> std::sync::MutexGuard<'_, HashSet<ListName>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While one notification is on its way, the names for the next one gather.
    async fn keep_telling(self, pool: Pool) {
        loop {
            self.0.some.notified().await;
            let names = std::mem::take(&mut *self.names());
            for payload in payloads(&self.0.process, names) {
                let sql = "SELECT pg_notify('respite_grown', $1)";
                if let Err(error) = read(&pool, sql, &[&payload]).await {
                    tracing::debug!(%error, "other servers were not told that lists have grown");
                }
            }
        }
    }

    async fn keep_listening(self, target: Arc<Target>, watchers: Watchers) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let (own, heard) = (self.0.process.clone(), watchers.clone());
            match listen(&target, move |payload| hear(&payload, &own, &heard)).await {
                Ok((connected, task)) => {
                    pause = SHORTEST_PAUSE;
                    // What has grown while nobody listened.
                    watchers.anything_may_have_grown();
                    let _ = task.await;
                    drop(connected);
                }
                Err(error) => {
                    tracing::debug!(%error, "nobody listens to what other servers tell");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn listen(
    target: &Target,
    heard: impl Fn(String) + Send + 'static,
) -> Result<(super::Connected, tokio::task::JoinHandle<()>), StoreError> {
    let (connected, task) = target.connect_with(heard).await?;
    connected
        .client
        .batch_execute("LISTEN respite_grown")
        .await
        .map_err(|error| super::explain(&error))?;
    Ok((connected, task))
}

/// `PROCESS NAME NAME …`, or `PROCESS *`.
fn payloads(process: &str, names: HashSet<ListName>) -> Vec<String> {
    if names.len() > MAX_NAMES {
        return vec![format!("{process} {ANYTHING}")];
    }
    let names: Vec<_> = names.into_iter().collect();
    names
        .chunks(NAMES_AT_ONCE)
        .map(|names| {
            names.iter().fold(process.to_owned(), |mut payload, name| {
                payload.push_str(&format!(" {name:016x}"));
                payload
            })
        })
        .collect()
}

fn hear(payload: &str, own: &str, watchers: &Watchers) {
    let mut words = payload.split(' ');
    if words.next() == Some(own) {
        return;
    }
    for word in words {
        match ListName::from_str_radix(word, 16) {
            Ok(name) => watchers.named_has_grown(name),
            Err(_) => watchers.anything_may_have_grown(),
        }
    }
}

/// Looks at the heads of what somebody waits for. Whoever has begun to wait since the last look is woken once, as nobody
/// knows from when on they wait.
async fn keep_looking(pool: Pool, watchers: Watchers) {
    let mut seen: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let awaited = watchers.awaited();
        let mut now = HashMap::with_capacity(awaited.len());
        for lists in awaited.chunks(HEADS_AT_ONCE) {
            match heads(&pool, lists).await {
                Ok(heads) => now.extend(heads),
                Err(error) => {
                    tracing::debug!(%error, "the heads of awaited lists cannot be looked at");
                }
            }
        }
        for (list, head) in &now {
            if seen.get(list) != Some(head) {
                watchers.grown(list);
            }
        }
        seen = now;
    }
}

async fn heads(
    pool: &Pool,
    lists: &[Vec<u8>],
) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, StoreError> {
    let keys: Vec<_> = lists.iter().map(|list| head_key(list)).collect();
    let sql = "SELECT key, value FROM respite_entries WHERE key = ANY($1)";
    let rows = read(pool, sql, &[&keys]).await?;
    let mut found: HashMap<_, _> = rows.iter().map(pair).collect::<Result<_, _>>()?;
    Ok(lists
        .iter()
        .zip(&keys)
        .map(|(list, key)| (list.clone(), found.remove(key)))
        .collect())
}
