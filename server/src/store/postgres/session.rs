//! A connection that writes: groups of commits as transactions.

use futures_util::future::{join3, try_join4};
use tokio_postgres::{
    Error, Statement,
    error::{Severity, SqlState},
};

use super::{
    connect::{Connected, Target},
    explain, in_time,
    locked::{Changes, Known, Needs},
    schema,
};
use crate::store::{
    engine::{StoreError, WriteSet},
    writing::Outcome,
};

/// The level is said, since a database may have another default. With a stricter one, whoever has waited for a lock would go
/// on to read what was there before.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Locks rows, in their order. If one of them is missing the database divides by zero and refuses the whole transaction, also
/// where all of it goes there in one round trip: what is not there is locked by nobody.
const LOCK: &str = "\
    SELECT 1 / (count(*) = cardinality($1::integer[]))::integer FROM (\
        SELECT bucket FROM respite_locks WHERE bucket = ANY($1) ORDER BY bucket FOR UPDATE) locked";

/// Why a group did not go through.
pub(super) enum Failure {
    /// Nothing was written, and the next attempt may succeed.
    Again(StoreError),
    /// Nothing was written: the database refuses.
    Refused(StoreError),
    /// The connection ended, and nothing can have been written.
    Ended(StoreError),
    /// The connection ended when the commit was under way.
    Unknown(StoreError),
}

/// A connection that writes.
pub(super) struct Session {
    connected: Connected,
    lock: Statement,
    read: Statement,
    upsert: Statement,
    delete: Statement,
}

impl Session {
    pub(super) fn has_ended(&self) -> bool {
        self.connected.client.is_closed()
    }

    /// Connects, and prepares what is said again and again.
    pub(super) async fn begin(target: &Target) -> Result<Self, StoreError> {
        let connected = target.connect().await?;
        let client = &connected.client;
        let prepared = try_join4(
            client.prepare(LOCK),
            client.prepare("SELECT key, value FROM respite_entries WHERE key = ANY($1)"),
            client.prepare(
                "INSERT INTO respite_entries (key, value) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            ),
            client.prepare("DELETE FROM respite_entries WHERE key = ANY($1)"),
        );
        let (lock, read, upsert, delete) = in_time(target.waits.connection, prepared)
            .await?
            .map_err(|error| explain(&error))?;
        Ok(Self {
            connected,
            lock,
            read,
            upsert,
            delete,
        })
    }

    /// Writes a group in one transaction.
    pub(super) async fn write(&self, sets: &[WriteSet]) -> Result<Vec<Outcome>, Failure> {
        let needs = Needs::of(sets);
        if needs.keys.is_empty() {
            return self.write_at_once(&needs, sets).await;
        }
        let (begun, locked, found) = join3(
            self.simple(BEGIN),
            self.lock(&needs.buckets),
            self.connected.client.query(&self.read, &[&needs.keys]),
        )
        .await;
        let rows = match begun.and(locked).and(found) {
            Ok(rows) => rows,
            Err(error) => return Err(self.give_up(&error).await),
        };
        let known = Known::of(&rows).and_then(|mut known| {
            let outcomes = known.write(sets)?;
            Ok((known, outcomes))
        });
        let (known, outcomes) = match known {
            Ok(known) => known,
            Err(error) => {
                self.roll_back().await;
                return Err(Failure::Refused(error));
            }
        };
        if outcomes.iter().all(Option::is_none) {
            self.roll_back().await;
            return Ok(outcomes);
        }
        self.end(&known).await.map_err(failed_at_the_end)?;
        Ok(outcomes)
    }

    /// Writes what needs nothing back.
    async fn write_at_once(
        &self,
        needs: &Needs,
        sets: &[WriteSet],
    ) -> Result<Vec<Outcome>, Failure> {
        let mut known = Known::default();
        let outcomes = known.write(sets).map_err(Failure::Refused)?;
        let (begun, locked, ended) = join3(
            self.simple(BEGIN),
            self.lock(&needs.buckets),
            self.end(&known),
        )
        .await;
        // Without a transaction, each of the others was one by itself.
        begun.map_err(|error| Failure::Unknown(explain(&error)))?;
        // An error of an earlier step is why the later ones failed; a connection that ended may have done so after.
        locked.and(ended).map_err(failed_at_the_end)?;
        Ok(outcomes)
    }

    async fn simple(&self, sql: &str) -> Result<(), Error> {
        self.connected.client.batch_execute(sql).await
    }

    async fn lock(&self, buckets: &Vec<i32>) -> Result<(), Error> {
        let locked = self.connected.client.execute(&self.lock, &[buckets]).await;
        locked.map(drop)
    }

    /// Writes and commits. A transaction in which anything went wrong is rolled back by its `COMMIT`.
    async fn end(&self, known: &Known) -> Result<(), Error> {
        let Changes { keys, values, gone } = known.changes();
        let client = &self.connected.client;
        let upsert = async {
            if !keys.is_empty() {
                client.execute(&self.upsert, &[&keys, &values]).await?;
            }
            Ok::<_, Error>(())
        };
        let delete = async {
            if !gone.is_empty() {
                client.execute(&self.delete, &[&gone]).await?;
            }
            Ok::<_, Error>(())
        };
        let (upserted, deleted, committed) = join3(upsert, delete, self.simple("COMMIT")).await;
        upserted.and(deleted).and(committed)
    }

    /// What it means that the first round trip failed: nothing is written in any case.
    async fn give_up(&self, error: &Error) -> Failure {
        if self.connected.client.is_closed() || error.is_closed() || is_fatal(error) {
            return Failure::Ended(explain(error));
        }
        self.roll_back().await;
        refused(error)
    }

    async fn roll_back(&self) {
        // A connection on which this fails has ended, and its transaction with it.
        let _ = self.simple("ROLLBACK").await;
    }
}

/// Only what the database itself has refused is known not to have happened.
fn failed_at_the_end(error: Error) -> Failure {
    if error.as_db_error().is_none() || is_fatal(&error) {
        Failure::Unknown(explain(&error))
    } else {
        refused(&error)
    }
}

fn refused(error: &Error) -> Failure {
    if error.code() == Some(&SqlState::DIVISION_BY_ZERO) {
        Failure::Refused(schema::locks_are_missing())
    } else if may_succeed_again(error) {
        Failure::Again(explain(error))
    } else {
        Failure::Refused(explain(error))
    }
}

fn is_fatal(error: &Error) -> bool {
    error
        .as_db_error()
        .and_then(|error| error.parsed_severity())
        .is_some_and(|severity| matches!(severity, Severity::Fatal | Severity::Panic))
}

fn may_succeed_again(error: &Error) -> bool {
    [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ]
    .iter()
    .any(|state| error.code() == Some(state))
}
