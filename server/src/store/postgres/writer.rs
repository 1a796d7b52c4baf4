//! The writers: each takes all commits that wait, and writes them in one transaction.
//!
//! # How commits keep out of each other's way
//! Every key belongs to one of [`BUCKETS`] rows of `respite_locks`. A transaction first locks the rows of all keys that it
//! checks, numbers or sets, in their order, so that two transactions never wait for each other in a circle; only then
//! does it read. So of two commits that concern the same key, in whichever process, the later one sees all of the earlier,
//! and this holds for keys that are not there as well, of which there is no row that could be locked. Everything else
//! (serializable transactions and their repetitions, advisory locks) is either slower or not to be had everywhere.
//!
//! The keys of list entries and those that end in a number just given are not locked: the list's head is, and who has it
//! is the only one who knows the number.
//!
//! # Round trips
//! What needs nothing back from the database (no checks, no numbers) goes there in one: begin, lock, write, commit. All
//! else takes two: begin, lock, read; then, when the checks were made and the numbers given here, write, commit.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{join3, try_join4};
use tokio::{
    sync::{Mutex, mpsc},
    time::Instant,
};
use tokio_postgres::{Error, Statement, error::Severity, error::SqlState};

use super::{
    connect::{Connected, Target},
    explain, pair,
    wake::Wake,
};
use crate::store::{
    engine::{Cell, StoreError, Write, WriteSet, head_key, head_number},
    group::{self, Job},
    watch::{Watchers, name_of},
};

/// How many rows there are to lock; `schema.rs` makes them.
const BUCKETS: u64 = 16_384;

/// The level is said, since a database may have another default. With a stricter one, whoever has waited for a lock would go
/// on to read what was there before.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// How long a group may take. A database that hangs without closing the connection must not hold its writers for ever.
const MAX_GROUP_WAIT: Duration = Duration::from_secs(30);

/// How often a group is tried on which nothing can have been written yet.
const MAX_ATTEMPTS: usize = 5;

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What became of one commit of a group that went through: its numbers, or `None` if a check failed.
type Outcome = Option<Vec<u64>>;

pub(super) struct Writer {
    target: Arc<Target>,
    watchers: Watchers,
    wake: Wake,
    session: Option<Session>,
    /// How long to wait before the next attempt to connect, and since when.
    pause: Option<(Duration, Instant)>,
}

/// Why a group did not go through.
enum Failure {
    /// Nothing was written, and the next attempt may succeed.
    Again(StoreError),
    /// Nothing was written: the database refuses.
    Refused(StoreError),
    /// The connection ended, and nothing can have been written.
    Ended(StoreError),
    /// The connection ended when the commit was under way.
    Unknown(StoreError),
}

impl Writer {
    pub(super) fn new(target: Arc<Target>, watchers: Watchers, wake: Wake) -> Self {
        Self {
            target,
            watchers,
            wake,
            session: None,
            pause: None,
        }
    }

    /// Works until nobody can send any more.
    pub(super) async fn run(mut self, jobs: Arc<Mutex<mpsc::Receiver<Job>>>) {
        loop {
            let group = {
                let mut jobs = jobs.lock().await;
                let Some(first) = jobs.recv().await else {
                    return;
                };
                group::gather(first, &mut jobs).0
            };
            self.commit(group).await;
        }
    }

    async fn commit(&mut self, group: Vec<Job>) {
        let (sets, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|job| (job.writes, job.answer))
            .unzip();
        match self.write(&sets).await {
            Ok(outcomes) => {
                for ((set, answer), outcome) in sets.iter().zip(answers).zip(outcomes) {
                    if outcome.is_some() {
                        self.tell(set);
                    }
                    // Who does not wait any more does not need the answer.
                    let _ = answer.send(outcome.ok_or(StoreError::Conflict));
                }
            }
            Err(error) => {
                tracing::error!(%error, "the database did not take a group of commits");
                // It may have: a reader that is woken for nothing only reads once more.
                sets.iter().for_each(|set| self.tell(set));
                let sentence = error.to_string();
                for answer in answers {
                    let _ = answer.send(Err(StoreError::Unavailable(sentence.clone())));
                }
            }
        }
    }

    fn tell(&self, set: &WriteSet) {
        for list in group::lists(set) {
            self.watchers.grown(list);
            self.wake.tell(name_of(list));
        }
    }

    async fn write(&mut self, sets: &[WriteSet]) -> Result<Vec<Outcome>, StoreError> {
        let mut last = None;
        for _ in 0..MAX_ATTEMPTS {
            let attempt = self.session().await?.write(sets);
            let failure = match tokio::time::timeout(MAX_GROUP_WAIT, attempt).await {
                Ok(Ok(outcomes)) => return Ok(outcomes),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Unknown(StoreError::Unavailable(
                    "the database did not answer in time".to_owned(),
                )),
            };
            match failure {
                Failure::Again(error) => {
                    last = Some(error);
                    tokio::time::sleep(SHORTEST_PAUSE).await;
                }
                Failure::Ended(error) => {
                    self.session = None;
                    last = Some(error);
                }
                Failure::Refused(error) => return Err(error),
                Failure::Unknown(error) => {
                    self.session = None;
                    return Err(error);
                }
            }
        }
        Err(last.unwrap_or_else(group::stopped))
    }

    async fn session(&mut self) -> Result<&mut Session, StoreError> {
        let session = match self.session.take() {
            Some(session) if !session.connected.client.is_closed() => session,
            _ => self.connect().await?,
        };
        Ok(self.session.insert(session))
    }

    async fn connect(&mut self) -> Result<Session, StoreError> {
        if let Some((pause, since)) = self.pause {
            tokio::time::sleep_until(since + pause).await;
        }
        match Session::begin(&self.target).await {
            Ok(session) => {
                self.pause = None;
                Ok(session)
            }
            Err(error) => {
                let pause = self.pause.map_or(SHORTEST_PAUSE, |(pause, _)| pause * 2);
                self.pause = Some((pause.min(LONGEST_PAUSE), Instant::now()));
                Err(error)
            }
        }
    }
}

/// A connection that writes.
struct Session {
    connected: Connected,
    lock: Statement,
    read: Statement,
    upsert: Statement,
    delete: Statement,
}

impl Session {
    async fn begin(target: &Target) -> Result<Self, StoreError> {
        let connected = target.connect().await?;
        let client = &connected.client;
        let prepared = try_join4(
            client.prepare(
                "SELECT bucket FROM respite_locks WHERE bucket = ANY($1) ORDER BY bucket FOR UPDATE",
            ),
            client.prepare("SELECT key, value FROM respite_entries WHERE key = ANY($1)"),
            client.prepare(
                "INSERT INTO respite_entries (key, value) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            ),
            client.prepare("DELETE FROM respite_entries WHERE key = ANY($1)"),
        );
        let (lock, read, upsert, delete) = prepared.await.map_err(|error| explain(&error))?;
        Ok(Self {
            connected,
            lock,
            read,
            upsert,
            delete,
        })
    }

    async fn write(&self, sets: &[WriteSet]) -> Result<Vec<Outcome>, Failure> {
        let needs = Needs::of(sets);
        if needs.keys.is_empty() {
            let (group, outcomes) = evaluate(sets, HashMap::new())?;
            let begin = join3(
                self.simple(BEGIN),
                self.lock(&needs.buckets),
                self.end(&group),
            );
            let (begun, locked, ended) = begin.await;
            // An error of an earlier step is why the later ones failed; a connection that ended may have done so after.
            for result in [begun, locked, ended] {
                result.map_err(failed_at_the_end)?;
            }
            return Ok(outcomes);
        }
        let (begun, locked, found) = join3(
            self.simple(BEGIN),
            self.lock(&needs.buckets),
            self.connected.client.query(&self.read, &[&needs.keys]),
        )
        .await;
        let found = match begun.and(locked).and(found) {
            Ok(rows) => rows.iter().map(pair).collect::<Result<_, _>>(),
            Err(error) => return Err(self.give_up(&error).await),
        };
        let evaluated = found
            .map_err(Failure::Refused)
            .and_then(|found| evaluate(sets, found));
        let (group, outcomes) = match evaluated {
            Ok(evaluated) => evaluated,
            Err(failure) => {
                self.roll_back().await;
                return Err(failure);
            }
        };
        if outcomes.iter().all(Option::is_none) {
            self.roll_back().await;
            return Ok(outcomes);
        }
        self.end(&group).await.map_err(failed_at_the_end)?;
        Ok(outcomes)
    }

    async fn simple(&self, sql: &str) -> Result<(), Error> {
        self.connected.client.batch_execute(sql).await
    }

    async fn lock(&self, buckets: &Vec<i32>) -> Result<(), Error> {
        let locked = self.connected.client.query(&self.lock, &[buckets]).await;
        locked.map(drop)
    }

    /// Writes and commits. A transaction in which anything went wrong is rolled back by its `COMMIT`.
    async fn end(&self, group: &Changes) -> Result<(), Error> {
        let mut set = (Vec::new(), Vec::new());
        let mut gone = Vec::new();
        for (key, value) in &group.0 {
            match value {
                Some(value) => {
                    set.0.push(key);
                    set.1.push(value);
                }
                None => gone.push(key),
            }
        }
        let client = &self.connected.client;
        let upsert = async {
            if !set.0.is_empty() {
                client.execute(&self.upsert, &[&set.0, &set.1]).await?;
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
        let explained = explain(error);
        if self.connected.client.is_closed() || error.is_closed() || is_fatal(error) {
            return Failure::Ended(explained);
        }
        self.roll_back().await;
        if may_succeed_again(error) {
            Failure::Again(explained)
        } else {
            Failure::Refused(explained)
        }
    }

    async fn roll_back(&self) {
        // A connection on which this fails has ended, and its transaction with it.
        let _ = self.simple("ROLLBACK").await;
    }
}

/// Only what the database itself has refused is known not to have happened.
fn failed_at_the_end(error: Error) -> Failure {
    let explained = explain(&error);
    if error.as_db_error().is_none() || is_fatal(&error) {
        Failure::Unknown(explained)
    } else if may_succeed_again(&error) {
        Failure::Again(explained)
    } else {
        Failure::Refused(explained)
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

/// What a group has to lock and to know.
struct Needs {
    buckets: Vec<i32>,
    keys: Vec<Vec<u8>>,
}

impl Needs {
    fn of(sets: &[WriteSet]) -> Self {
        let mut buckets = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for set in sets {
            for check in &set.checks {
                buckets.insert(bucket_of(&check.key));
                keys.insert(check.key.clone());
            }
            for write in &set.writes {
                match write {
                    Write::Put { key, .. } if key.number_of.is_none() => {
                        buckets.insert(bucket_of(&key.bytes));
                    }
                    Write::Put { .. } => {}
                    Write::Delete { key } => {
                        buckets.insert(bucket_of(key));
                    }
                    Write::Append { list, .. } => {
                        let head = head_key(list);
                        buckets.insert(bucket_of(&head));
                        keys.insert(head);
                    }
                }
            }
        }
        Self {
            buckets: buckets.into_iter().collect(),
            keys: keys.into_iter().collect(),
        }
    }
}

fn bucket_of(key: &[u8]) -> i32 {
    i32::try_from(name_of(key) % BUCKETS).unwrap_or_default()
}

/// What is different after a group: values, or `None` for keys that are gone.
struct Changes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

/// Makes the checks of each commit, in their order, gives the numbers, and collects what is to be written.
fn evaluate(
    sets: &[WriteSet],
    found: HashMap<Vec<u8>, Vec<u8>>,
) -> Result<(Changes, Vec<Outcome>), Failure> {
    let mut changes = Changes(BTreeMap::new());
    let mut outcomes = Vec::with_capacity(sets.len());
    for set in sets {
        let holds = set.checks.iter().all(|check| {
            let value = changes.value(&found, &check.key);
            value == check.expected.as_deref()
        });
        outcomes.push(if holds {
            Some(changes.add(&found, set).map_err(Failure::Refused)?)
        } else {
            None
        });
    }
    Ok((changes, outcomes))
}

impl Changes {
    fn value<'a>(&'a self, found: &'a HashMap<Vec<u8>, Vec<u8>>, key: &[u8]) -> Option<&'a [u8]> {
        match self.0.get(key) {
            Some(changed) => changed.as_deref(),
            None => found.get(key).map(Vec::as_slice),
        }
    }

    fn add(
        &mut self,
        found: &HashMap<Vec<u8>, Vec<u8>>,
        set: &WriteSet,
    ) -> Result<Vec<u64>, StoreError> {
        let mut numbers = Vec::new();
        for write in &set.writes {
            match write {
                Write::Put { key, value } => {
                    let value = resolve(value, &numbers)?;
                    self.0.insert(resolve(key, &numbers)?, Some(value));
                }
                Write::Delete { key } => {
                    self.0.insert(key.clone(), None);
                }
                Write::Append { list, value } => {
                    let head = head_key(list);
                    let number: u64 = self.value(found, &head).map_or(Ok(0), head_number)? + 1;
                    let value = resolve(value, &numbers)?;
                    self.0.insert(head, Some(number.to_be_bytes().to_vec()));
                    self.0
                        .insert(Cell::number(list.clone(), number), Some(value));
                    numbers.push(number);
                }
            }
        }
        Ok(numbers)
    }
}

fn resolve(cell: &Cell, numbers: &[u64]) -> Result<Vec<u8>, StoreError> {
    cell.clone().resolve(numbers).ok_or_else(|| {
        StoreError::Damaged("a write refers to a number that is not given yet".to_owned())
    })
}
