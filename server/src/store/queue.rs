//! Commits that wait for an engine's one writer, and its thread: it takes all that wait, has them applied and synced as
//! one group, and answers all. For the engines on one machine.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread::JoinHandle,
};

use tokio::sync::mpsc;

use super::{
    engine::{StoreError, WriteSet},
    fatal::Fatal,
    group::{self, Job, MAX_QUEUED_COMMITS},
    watch::Watchers,
    writing::Outcome,
};

/// The way to the writer. Dropping it finishes what is queued and ends the thread.
pub(super) struct Queue {
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Queue {
    /// Starts the writer. `apply` is given a group and the bytes of it, and returns what became of each commit once all
    /// of them are durable and visible. Should it panic, everything is stopped.
    pub(super) fn start(
        watchers: Watchers,
        fatal: Fatal,
        apply: impl FnMut(&[WriteSet], usize) -> Result<Vec<Outcome>, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel(MAX_QUEUED_COMMITS);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                let work = AssertUnwindSafe(|| run(jobs, &watchers, apply));
                if catch_unwind(work).is_err() {
                    // It has answered nobody of its group. A server that only reads would look as if it were well.
                    fatal.stop("The thread that writes the store has failed. The server stops.");
                }
            })
            .map_err(|error| {
                StoreError::Unavailable(format!("no thread to write with: {error}"))
            })?;
        Ok(Self {
            jobs: Some(queue),
            writer: Some(writer),
        })
    }

    /// Hands a commit over, and waits for what becomes of it.
    pub(super) async fn commit(&self, writes: WriteSet) -> Result<Vec<u64>, StoreError> {
        let jobs = self.jobs.as_ref().ok_or_else(group::stopped)?;
        group::submit(jobs, writes).await
    }

    /// Finishes what is queued and ends the thread.
    pub(super) fn close(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.close();
    }
}

/// Works until nobody can send any more.
fn run(
    mut jobs: mpsc::Receiver<Job>,
    watchers: &Watchers,
    mut apply: impl FnMut(&[WriteSet], usize) -> Result<Vec<Outcome>, StoreError>,
) {
    while let Some(first) = jobs.blocking_recv() {
        let (group, bytes) = group::gather(first, &mut jobs);
        let (sets, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|job| (job.writes, job.answer))
            .unzip();
        let result = apply(&sets, bytes);
        wake(watchers, &sets, &result);
        for (n, answer) in answers.into_iter().enumerate() {
            let outcome = match &result {
                Ok(outcomes) => outcomes
                    .get(n)
                    .cloned()
                    .flatten()
                    .ok_or(StoreError::Conflict),
                Err(error) => Err(error.clone()),
            };
            // Who does not wait any more does not need the answer.
            let _ = answer.send(outcome);
        }
    }
}

/// Wakes who waits for lists that have grown. After a failure, the commit may have reached the disk nevertheless; a
/// reader that is woken for nothing only reads once more.
fn wake(watchers: &Watchers, sets: &[WriteSet], result: &Result<Vec<Outcome>, StoreError>) {
    for (n, set) in sets.iter().enumerate() {
        let may_have_happened = match result {
            Ok(outcomes) => outcomes.get(n).is_some_and(Option::is_some),
            Err(_) => true,
        };
        if may_have_happened {
            group::lists(set).for_each(|list| watchers.grown(list));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::store::engine::{Cell, Write};

    #[tokio::test]
    async fn a_writer_that_fails_stops_the_server_and_acknowledges_nothing() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = heard.clone();
        let fatal = Fatal::told(move |why| told.lock().unwrap().push(why.to_owned()));
        let mut queue = Queue::start(Watchers::default(), fatal, |_, _| panic!("damage")).unwrap();
        let put = Write::Put {
            key: Cell::plain(vec![1]),
            value: Cell::plain(vec![2]),
        };
        let set = WriteSet {
            checks: Vec::new(),
            writes: vec![put],
        };
        assert!(queue.commit(set.clone()).await.is_err());
        assert!(queue.commit(set).await.is_err());
        queue.close();
        let heard = heard.lock().unwrap();
        assert!(
            heard.len() == 1 && !heard[0].contains("damage"),
            "{heard:?}"
        );
    }
}
