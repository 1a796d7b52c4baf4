//! The engine for several servers: a PostgreSQL database, which all of them use at once.
//!
//! Everything is in one table of keys and values, as in the other engines. How commits of several processes keep out of
//! each other's way is told in [`writer`]; how a process hears of what another one has written, in [`wake`].

mod connect;
mod hosts;
mod locked;
mod readers;
mod schema;
mod session;
mod url;
mod wake;
mod writer;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::{Mutex, mpsc},
    task::AbortHandle,
};
use tokio_postgres::{Row, types::ToSql};

pub use self::url::without_password;
use self::{
    connect::{Connected, Target},
    readers::Readers,
    wake::Wake,
    writer::Writer,
};
use super::{
    engine::{Engine, Pair, Snapshot, Span, StoreError, WriteSet, head_key, head_number},
    group::{self, Job, MAX_QUEUED_COMMITS},
    watch::{Watch, Watchers},
};

/// How many groups of commits a process may have under way. The second goes on while the first one is being synced.
const WRITERS: usize = 2;

/// How long the database may take. One that hangs and keeps its connections must not hold anybody for ever.
#[derive(Clone, Copy, Debug)]
struct Waits {
    /// Until a connection is made, or one of those that read is free.
    connection: Duration,
    /// For a read, a page of a snapshot, or a step of the schema.
    read: Duration,
    /// For a group of commits.
    group: Duration,
    /// From one look at the lists that somebody waits for to the next.
    look: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connection: Duration::from_secs(5),
            read: Duration::from_secs(30),
            group: Duration::from_secs(30),
            look: Duration::from_secs(5),
        }
    }
}

/// The store in a PostgreSQL database.
///
/// Dropping it finishes what is queued.
pub struct Postgres {
    readers: Readers,
    target: Arc<Target>,
    watchers: Watchers,
    queue: mpsc::Sender<Job>,
    waking: Vec<AbortHandle>,
}

impl Postgres {
    /// Connects, and brings the database's tables up to date; a new database gets them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached, lets nobody in, or was written by a newer version.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, Waits::default()).await
    }

    async fn open_with(url: &str, waits: Waits) -> Result<Self, StoreError> {
        let target = Arc::new(Target::parse(url, waits)?);
        let mut first = target.connect().await?;
        in_time(waits.read, schema::bring_up_to_date(&mut first.client)).await??;
        let readers = target.readers()?;
        let watchers = Watchers::default();
        let (wake, waking) = Wake::start(target.clone(), readers.clone(), watchers.clone()).await?;
        let (queue, jobs) = mpsc::channel(MAX_QUEUED_COMMITS);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..WRITERS {
            let writer = Writer::new(target.clone(), watchers.clone(), wake.clone());
            tokio::spawn(writer.run(jobs.clone()));
        }
        Ok(Self {
            readers,
            target,
            watchers,
            queue,
            waking,
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.waking.iter().for_each(AbortHandle::abort);
    }
}

#[async_trait]
impl Engine for Postgres {
    async fn get(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        const GET: &str = "SELECT key, value FROM respite_entries WHERE key = ANY($1)";
        let found = self.readers.read(GET, &[&keys]).await?;
        let mut found: HashMap<_, _> = found.iter().map(pair).collect::<Result<_, _>>()?;
        let last = keys.len().saturating_sub(1);
        Ok(keys
            .iter()
            .enumerate()
            .map(|(n, key)| {
                if n == last {
                    found.remove(key)
                } else {
                    found.get(key).cloned()
                }
            })
            .collect())
    }

    async fn scan(&self, span: Span) -> Result<Vec<Pair>, StoreError> {
        if span.is_empty() {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(span.limit).unwrap_or(i64::MAX);
        let sql = match (&span.to, span.backwards) {
            (Some(_), false) => {
                "SELECT key, value FROM respite_entries WHERE key >= $1 AND key < $3 ORDER BY key LIMIT $2"
            }
            (Some(_), true) => {
                "SELECT key, value FROM respite_entries WHERE key >= $1 AND key < $3 ORDER BY key DESC LIMIT $2"
            }
            (None, false) => {
                "SELECT key, value FROM respite_entries WHERE key >= $1 ORDER BY key LIMIT $2"
            }
            (None, true) => {
                "SELECT key, value FROM respite_entries WHERE key >= $1 ORDER BY key DESC LIMIT $2"
            }
        };
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&span.from, &limit];
        parameters.extend(span.to.as_ref().map(|to| to as &(dyn ToSql + Sync)));
        let rows = self.readers.read(sql, &parameters).await?;
        rows.iter().map(pair).collect()
    }

    async fn head(&self, list: Vec<u8>) -> Result<u64, StoreError> {
        let found = self.get(vec![head_key(&list)]).await?.pop().flatten();
        found.map_or(Ok(0), |bytes| head_number(&bytes))
    }

    async fn commit(&self, writes: WriteSet) -> Result<Vec<u64>, StoreError> {
        group::submit(&self.queue, writes).await
    }

    fn watch(&self, list: Vec<u8>) -> Watch {
        self.watchers.subscribe(list)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
            SET LOCAL idle_in_transaction_session_timeout = 0; SELECT 1";
        let most = self.target.waits.read;
        let connected = self.target.connect().await?;
        in_time(most, connected.client.batch_execute(BEGIN))
            .await?
            .map_err(|error| explain(&error))?;
        Ok(Box::new(PostgresSnapshot { connected, most }))
    }
}

/// What the database was at one moment: a transaction that stays open as long as this lives.
struct PostgresSnapshot {
    connected: Connected,
    /// How long a page may take.
    most: Duration,
}

#[async_trait]
impl Snapshot for PostgresSnapshot {
    async fn page(&self, after: Option<Vec<u8>>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let after = after.map_or_else(Vec::new, |mut key| {
            key.push(0);
            key
        });
        let sql = "SELECT key, value FROM respite_entries WHERE key >= $1 ORDER BY key LIMIT $2";
        let asked: [&(dyn ToSql + Sync); 2] = [&after, &limit];
        let rows = in_time(self.most, self.connected.client.query(sql, &asked)).await?;
        rows.map_err(|error| explain(&error))?
            .iter()
            .map(pair)
            .collect()
    }
}

/// Waits for the database, and not for ever.
async fn in_time<T>(most: Duration, answer: impl Future<Output = T>) -> Result<T, StoreError> {
    let answered = tokio::time::timeout(most, answer).await;
    answered.map_err(|_| StoreError::Unavailable("the database did not answer in time".to_owned()))
}

fn pair(row: &Row) -> Result<Pair, StoreError> {
    Ok((
        row.try_get(0).map_err(|error| explain(&error))?,
        row.try_get(1).map_err(|error| explain(&error))?,
    ))
}

/// What the database says, without the values that it says it of.
fn explain(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Unavailable(match error.as_db_error() {
        Some(error) => format!("{} ({})", error.message(), error.code().code()),
        None => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        }
    })
}

#[cfg(test)]
mod tests;
