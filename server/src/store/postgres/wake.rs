//! How server processes hear that a list has grown: PostgreSQL's notifications, sent after the commit and many lists at a
//! time. They only make it fast. Whatever goes missing is found by looking, every few seconds, at the heads of the lists
//! that somebody waits for.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinHandle},
};

use super::{
    connect::{Connected, Target},
    explain, in_time, pair,
    readers::Readers,
};
use crate::store::{
    engine::{StoreError, head_key},
    watch::{ListName, Watchers},
};

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
    /// Starts to tell, to listen and to look; when this returns, it listens. It ends when the tasks are aborted.
    pub(super) async fn start(
        target: Arc<Target>,
        readers: Readers,
        watchers: Watchers,
    ) -> Result<(Self, Vec<AbortHandle>), StoreError> {
        let wake = Self(Arc::new(Pending {
            names: Mutex::default(),
            some: Notify::new(),
            process: format!("{:016x}", RandomState::new().hash_one(0)),
        }));
        let ear = Ear {
            own: wake.0.process.clone(),
            target: target.clone(),
            watchers: watchers.clone(),
        };
        let listening = ear.listen().await?;
        let tasks = [
            tokio::spawn(wake.clone().keep_telling(readers.clone())),
            tokio::spawn(ear.keep_listening(listening)),
            tokio::spawn(keep_looking(readers, watchers, target.waits.look)),
        ];
        let tasks = tasks.iter().map(JoinHandle::abort_handle).collect();
        Ok((wake, tasks))
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
    async fn keep_telling(self, readers: Readers) {
        loop {
            self.0.some.notified().await;
            let names = std::mem::take(&mut *self.names());
            for payload in payloads(&self.0.process, names) {
                let sql = "SELECT pg_notify('respite_grown', $1)";
                if let Err(error) = readers.read(sql, &[&payload]).await {
                    tracing::debug!(%error, "other servers were not told that lists have grown");
                }
            }
        }
    }
}

/// What hears the other processes.
struct Ear {
    own: String,
    target: Arc<Target>,
    watchers: Watchers,
}

/// The connection that listens, and the task that ends when it does.
type Listening = (Connected, JoinHandle<()>);

impl Ear {
    async fn keep_listening(self, mut listening: Listening) {
        loop {
            let (_connected, task) = &mut listening;
            // However it ended, it does not listen any more.
            let _ = task.await;
            listening = self.listen_again().await;
            // What has grown while nobody listened.
            self.watchers.anything_may_have_grown();
        }
    }

    async fn listen_again(&self) -> Listening {
        let mut pause = SHORTEST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            match self.listen().await {
                Ok(listening) => return listening,
                Err(error) => {
                    tracing::debug!(%error, "nobody listens to what other servers tell");
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn listen(&self) -> Result<Listening, StoreError> {
        let (own, watchers) = (self.own.clone(), self.watchers.clone());
        let heard = move |payload: String| hear(&payload, &own, &watchers);
        let (connected, task) = self.target.connect_with(heard).await?;
        let begun = connected.client.batch_execute("LISTEN respite_grown");
        in_time(self.target.waits.connection, begun)
            .await?
            .map_err(|error| explain(&error))?;
        Ok((connected, task))
    }
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
async fn keep_looking(readers: Readers, watchers: Watchers, every: Duration) {
    let mut seen: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
    loop {
        tokio::time::sleep(every).await;
        let awaited = watchers.awaited();
        let mut now = HashMap::with_capacity(awaited.len());
        for lists in awaited.chunks(HEADS_AT_ONCE) {
            match heads(&readers, lists).await {
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
    readers: &Readers,
    lists: &[Vec<u8>],
) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, StoreError> {
    let keys: Vec<_> = lists.iter().map(|list| head_key(list)).collect();
    let sql = "SELECT key, value FROM respite_entries WHERE key = ANY($1)";
    let rows = readers.read(sql, &[&keys]).await?;
    let mut found: HashMap<_, _> = rows.iter().map(pair).collect::<Result<_, _>>()?;
    Ok(lists
        .iter()
        .zip(&keys)
        .map(|(list, key)| (list.clone(), found.remove(key)))
        .collect())
}
