//! Commits that wait for an engine's one writer, and its thread: it takes all that wait, has them applied and synced as
//! one group, and answers all. For the engines on one machine.

use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::{
    engine::{StoreError, WriteSet},
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
    /// of them are durable and visible.
    pub(super) fn start(
        watchers: Watchers,
        apply: impl FnMut(&[WriteSet], usize) -> Result<Vec<Outcome>, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel(MAX_QUEUED_COMMITS);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(jobs, &watchers, apply))
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
            // A writer that has panicked has answered nobody, and nothing of its group is in the store.
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
