//! The engine for several servers: a PostgreSQL database, which all of them use at once.
//!
//! Everything is in one table of keys and values, as in the other engines. How commits of several processes keep out of
//! each other's way is told in [`writer`]; how a process hears of what another one has written, in [`wake`].

mod connect;
mod schema;
mod wake;
mod writer;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool, PoolError};
use tokio::{
    sync::{Mutex, mpsc},
    task::AbortHandle,
};
use tokio_postgres::{Row, types::ToSql};

pub use self::connect::Target;
use self::{connect::Connected, wake::Wake, writer::Writer};
use super::{
    engine::{Engine, Pair, Snapshot, Span, StoreError, WriteSet},
    group::{self, Job, MAX_QUEUED_COMMITS},
    watch::{Watch, Watchers},
};

/// How many groups of commits a process may have under way. The second goes on while the first one is being synced.
const WRITERS: usize = 2;

/// How long a read may take.
const MAX_READ_WAIT: Duration = Duration::from_secs(30);

/// The store in a PostgreSQL database.
///
/// Dropping it finishes what is queued.
pub struct Postgres {
    pool: Pool,
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
        let target = Arc::new(Target::parse(url)?);
        let mut first = target.connect().await?;
        schema::bring_up_to_date(&mut first.client).await?;
        let pool = target.pool()?;
        let watchers = Watchers::default();
        let (wake, waking) = Wake::start(target.clone(), pool.clone(), watchers.clone());
        let (queue, jobs) = mpsc::channel(MAX_QUEUED_COMMITS);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..WRITERS {
            let writer = Writer::new(target.clone(), watchers.clone(), wake.clone());
            tokio::spawn(writer.run(jobs.clone()));
        }
        Ok(Self {
            pool,
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
        let found = read(&self.pool, GET, &[&keys]).await?;
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
        let rows = read(&self.pool, sql, &parameters).await?;
        rows.iter().map(pair).collect()
    }

    async fn commit(&self, writes: WriteSet) -> Result<Vec<u64>, StoreError> {
        group::submit(&self.queue, writes).await
    }

    fn watch(&self, list: Vec<u8>) -> Watch {
        self.watchers.subscribe(list)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let connected = self.target.connect().await?;
        connected
            .client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0; SELECT 1")
            .await
            .map_err(|error| explain(&error))?;
        Ok(Box::new(PostgresSnapshot { connected }))
    }
}

/// What the database was at one moment: a transaction that stays open as long as this lives.
struct PostgresSnapshot {
    connected: Connected,
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
        let rows = self.connected.client.query(sql, &[&after, &limit]).await;
        rows.map_err(|error| explain(&error))?
            .iter()
            .map(pair)
            .collect()
    }
}

/// Reads through a connection of the pool. One that has ended while nobody used it is replaced, once.
async fn read(
    pool: &Pool,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    match read_once(pool, sql, parameters).await {
        Err(Trouble::Ended) => read_once(pool, sql, parameters).await,
        result => result,
    }
    .map_err(|trouble| match trouble {
        Trouble::Ended => StoreError::Unavailable("the connection to the database ended".into()),
        Trouble::Other(error) => error,
    })
}

enum Trouble {
    Ended,
    Other(StoreError),
}

async fn read_once(
    pool: &Pool,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Trouble> {
    let client = pool
        .get()
        .await
        .map_err(|error| Trouble::Other(no_connection(&error)))?;
    let query = async {
        let statement = client.prepare_cached(sql).await?;
        client.query(&statement, parameters).await
    };
    let Ok(result) = tokio::time::timeout(MAX_READ_WAIT, query).await else {
        // What may still be answered on this connection is nobody's answer any more.
        drop(Object::take(client));
        return Err(Trouble::Other(StoreError::Unavailable(
            "the database did not answer in time".to_owned(),
        )));
    };
    result.map_err(|error| {
        if client.is_closed() || error.is_closed() {
            Trouble::Ended
        } else {
            Trouble::Other(explain(&error))
        }
    })
}

fn pair(row: &Row) -> Result<Pair, StoreError> {
    Ok((
        row.try_get(0).map_err(|error| explain(&error))?,
        row.try_get(1).map_err(|error| explain(&error))?,
    ))
}

fn no_connection(error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => explain(error),
        PoolError::Timeout(_) => {
            StoreError::Unavailable("no connection to the database became free in time".to_owned())
        }
        _ => StoreError::Unavailable("there is no connection to the database".to_owned()),
    }
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
