//! The connections that read: a pool that everything shares which only wants to know.

use deadpool_postgres::{HookError, Object, Pool, PoolError};
use tokio_postgres::{Row, types::ToSql};

use super::{Waits, explain, in_time};
use crate::store::engine::StoreError;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Readers {
    pool: Pool,
    waits: Waits,
}

enum Trouble {
    Ended,
    Other(StoreError),
}

impl Readers {
    pub(super) fn new(pool: Pool, waits: Waits) -> Self {
        Self { pool, waits }
    }

    /// Asks once, and once more if the connection has ended while nobody used it.
    pub(super) async fn read(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let result = match self.read_once(sql, parameters).await {
            Err(Trouble::Ended) => self.read_once(sql, parameters).await,
            result => result,
        };
        result.map_err(|trouble| match trouble {
            Trouble::Ended => {
                StoreError::Unavailable("the connection to the database ended".to_owned())
            }
            Trouble::Other(error) => error,
        })
    }

    async fn read_once(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Trouble> {
        let client = self.client().await.map_err(Trouble::Other)?;
        let query = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, parameters).await
        };
        match in_time(self.waits.read, query).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) if client.is_closed() || error.is_closed() => Err(Trouble::Ended),
            Ok(Err(error)) => Err(Trouble::Other(explain(&error))),
            Err(late) => {
                // What may still be answered on this connection is nobody's answer any more.
                drop(Object::take(client));
                Err(Trouble::Other(late))
            }
        }
    }

    async fn client(&self) -> Result<Object, StoreError> {
        let client = in_time(self.waits.connection, self.pool.get()).await;
        let client = client.map_err(|_| {
            StoreError::Unavailable("there was no connection to the database in time".to_owned())
        })?;
        client.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                explain(&error)
            }
            _ => StoreError::Unavailable("there is no connection to the database".to_owned()),
        })
    }
}
