//! The writers: each takes all commits that wait, and writes them in one transaction.
//!
//! # How commits keep out of each other's way
//! Every key belongs to one of the rows of `respite_locks` ([`BUCKETS`](super::schema::BUCKETS)). A transaction first locks
//! the rows of all keys that it checks, numbers or sets, in their order, so that two transactions never wait for each other
//! in a circle; only then does it read. So of two commits that concern the same key, in whichever process, the later one
//! sees all of the earlier, and this holds for keys that are not there as well, of which there is no row that could be
//! locked. Everything else (serializable transactions and their repetitions, advisory locks) is either slower or not to be
//! had everywhere: decision 3.
//!
//! The keys of list entries and those that end in a number just given are not locked: the list's head is, and who has it
//! is the only one who knows the number.
//!
//! # Round trips
//! What needs nothing back from the database (no checks, no numbers) goes there in one: begin, lock, write, commit. All
//! else takes two: begin, lock, read; then, when the checks were made and the numbers given here, write, commit.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc},
    time::Instant,
};

use super::{
    connect::Target,
    in_time,
    session::{Failure, Session},
    wake::Wake,
};
use crate::store::{
    engine::{StoreError, WriteSet},
    group::{self, Job},
    watch::{Watchers, name_of},
    writing::Outcome,
};

/// How often a group is tried on which nothing can have been written yet.
const MAX_ATTEMPTS: usize = 5;

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Writer {
    target: Arc<Target>,
    watchers: Watchers,
    wake: Wake,
    session: Option<Session>,
    /// How long to wait before the next attempt to connect, and since when.
    pause: Option<(Duration, Instant)>,
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
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
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
            let most = self.target.waits.group;
            let attempt = self.session().await?.write(sets);
            let failure = match in_time(most, attempt).await {
                Ok(Ok(outcomes)) => return Ok(outcomes),
                Ok(Err(failure)) => failure,
                Err(error) => Failure::Unknown(error),
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
            Some(session) if !session.has_ended() => session,
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
