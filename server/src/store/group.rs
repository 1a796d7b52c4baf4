//! Commits that wait for the writer, and go to the disk together.

use tokio::sync::{mpsc, oneshot};

use super::engine::{Cell, StoreError, Write, WriteSet};

/// How many commits may wait for a writer. Who comes when the queue is full waits for a place.
pub const MAX_QUEUED_COMMITS: usize = 1024;

/// How many commits share one sync of the disk.
pub const MAX_GROUP_COMMITS: usize = 256;

/// A group takes no further commit once it has this many bytes.
pub const MAX_GROUP_BYTES: usize = 8 << 20;

/// The longest key, or list's key, without a number at its end. PostgreSQL's index takes 2,704 bytes.
pub const MAX_KEY_BYTES: usize = 2_600;

/// Where the numbers of a commit's appends go.
pub(super) type Answer = oneshot::Sender<Result<Vec<u64>, StoreError>>;

/// A commit that waits for a writer.
pub(super) struct Job {
    pub(super) writes: WriteSet,
    pub(super) answer: Answer,
    bytes: usize,
}

/// Hands a commit over and waits for what becomes of it.
pub(super) async fn submit(
    queue: &mpsc::Sender<Job>,
    writes: WriteSet,
) -> Result<Vec<u64>, StoreError> {
    check_references(&writes)?;
    check_keys(&writes)?;
    let (answer, answered) = oneshot::channel();
    let bytes = writes.writes.iter().map(size).sum();
    let job = Job {
        writes,
        answer,
        bytes,
    };
    queue.send(job).await.map_err(|_| stopped())?;
    answered.await.map_err(|_| stopped())?
}

/// What comes after the first commit and waits already. Returns the bytes of all.
pub(super) fn gather(first: Job, jobs: &mut mpsc::Receiver<Job>) -> (Vec<Job>, usize) {
    let mut bytes = first.bytes;
    let mut group = vec![first];
    while group.len() < MAX_GROUP_COMMITS
        && bytes < MAX_GROUP_BYTES
        && let Ok(job) = jobs.try_recv()
    {
        bytes += job.bytes;
        group.push(job);
    }
    (group, bytes)
}

/// The lists that a commit appends to.
pub(super) fn lists(writes: &WriteSet) -> impl Iterator<Item = &[u8]> {
    writes.writes.iter().filter_map(|write| match write {
        Write::Append { list, .. } => Some(list.as_slice()),
        _ => None,
    })
}

pub(super) fn stopped() -> StoreError {
    StoreError::Unavailable("the writer has stopped".to_owned())
}

fn size(write: &Write) -> usize {
    match write {
        Write::Put { key, value } => key.bytes.len() + value.bytes.len(),
        Write::Delete { key } => key.len(),
        Write::Append { list, value } => list.len() + value.bytes.len(),
    }
}

/// A key that an engine cannot keep must not make the whole group fail.
fn check_keys(writes: &WriteSet) -> Result<(), StoreError> {
    let longest = writes.writes.iter().map(|write| match write {
        Write::Put { key, .. } => key.bytes.len(),
        Write::Delete { key } => key.len(),
        Write::Append { list, .. } => list.len(),
    });
    if longest.max().unwrap_or_default() > MAX_KEY_BYTES {
        return Err(StoreError::Damaged("a key is too long".to_owned()));
    }
    Ok(())
}

/// A number can only be used after the append that it is given to.
fn check_references(writes: &WriteSet) -> Result<(), StoreError> {
    let mut appends = 0;
    for write in &writes.writes {
        let (cells, appended): ([Option<&Cell>; 2], usize) = match write {
            Write::Put { key, value } => ([Some(key), Some(value)], 0),
            Write::Append { value, .. } => ([Some(value), None], 1),
            Write::Delete { .. } => ([None, None], 0),
        };
        if cells
            .into_iter()
            .flatten()
            .filter_map(|cell| cell.number_of)
            .any(|of| of >= appends)
        {
            return Err(StoreError::Damaged(
                "a write refers to a number that is not given yet".to_owned(),
            ));
        }
        appends += appended;
    }
    Ok(())
}
