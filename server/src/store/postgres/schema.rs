//! The tables, and how an older database gets them.

use tokio_postgres::{Client, error::SqlState};

use super::explain;
use crate::store::engine::StoreError;

/// How many rows there are to lock, numbered from 0.
pub(super) const BUCKETS: u32 = 16_384;

/// What brings the database from one version to the next. Never changed, only added to.
fn steps() -> [String; 1] {
    [
        // Rows of `respite_locks` are never changed, only locked. Values are ciphertext for the most part, which does not
        // compress.
        format!(
            "CREATE TABLE respite_entries (key BYTEA PRIMARY KEY, value BYTEA NOT NULL);
             CREATE TABLE respite_locks (bucket INTEGER PRIMARY KEY);
             INSERT INTO respite_locks (bucket) SELECT generate_series(0, {BUCKETS} - 1)"
        ),
    ]
}

/// How often one tries when other servers do the same at this moment.
const MAX_ATTEMPTS: usize = 20;

/// Brings the database up to date. Several servers may do this at once: whoever records a version first has made it.
pub(super) async fn bring_up_to_date(client: &mut Client) -> Result<(), StoreError> {
    let steps = steps();
    for _ in 0..MAX_ATTEMPTS {
        match step(client, &steps).await {
            Ok(Some(version)) if version > steps.len() => {
                return Err(StoreError::Unavailable(
                    "a newer version of this program has used the database; use that one"
                        .to_owned(),
                ));
            }
            Ok(Some(version)) if version == steps.len() => return check_locks(client).await,
            Ok(_) => {}
            Err(error) if somebody_else_was_first(&error) => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => return Err(explain(&error)),
        }
    }
    Err(StoreError::Unavailable(
        "other servers kept on changing the database's tables".to_owned(),
    ))
}

/// Goes one version further, if there is one, and returns the version that was found before.
async fn step(
    client: &mut Client,
    steps: &[String],
) -> Result<Option<usize>, tokio_postgres::Error> {
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS respite_schema (version INTEGER PRIMARY KEY)")
        .await?;
    let row = client
        .query_one("SELECT COALESCE(MAX(version), 0) FROM respite_schema", &[])
        .await?;
    let found: i32 = row.try_get(0)?;
    let version = usize::try_from(found).unwrap_or_default();
    if let Some(sql) = steps.get(version) {
        let transaction = client.transaction().await?;
        transaction
            .execute(
                "INSERT INTO respite_schema (version) VALUES ($1)",
                &[&(found + 1)],
            )
            .await?;
        transaction.batch_execute(sql).await?;
        transaction.commit().await?;
    }
    Ok(Some(version))
}

/// Makes sure that there is a row to lock for every bucket. What is not there is locked by nobody.
async fn check_locks(client: &Client) -> Result<(), StoreError> {
    let counted = client
        .query_one("SELECT count(*) FROM respite_locks", &[])
        .await;
    let found: i64 = counted
        .and_then(|row| row.try_get(0))
        .map_err(|error| explain(&error))?;
    if found == i64::from(BUCKETS) {
        Ok(())
    } else {
        Err(locks_are_missing())
    }
}

pub(super) fn locks_are_missing() -> StoreError {
    StoreError::Damaged(
        "rows of the table respite_locks are missing; restore the database from a backup"
            .to_owned(),
    )
}

fn somebody_else_was_first(error: &tokio_postgres::Error) -> bool {
    [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ]
    .iter()
    .any(|state| error.code() == Some(state))
}
