//! The writer: takes all commits that wait, applies them one after the other in one transaction, syncs the disk once,
//! and answers all.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use redb::{Durability, Error, ReadableTable, Table, WriteTransaction};
use tokio::sync::mpsc;

use super::{ENTRIES, File, file::explain};
use crate::store::{
    engine::{Cell, Check, StoreError, Write, WriteSet, head_key, head_number},
    group::{self, Job},
    watch::Watchers,
};

type Entries<'a> = Table<'a, &'static [u8], &'static [u8]>;

pub(super) struct Writer {
    file: Arc<File>,
    watchers: Watchers,
    /// The last group failed: the disk has to show that it takes writes before redb is tried, which needs to read
    /// through the file after each failure.
    distrusts_disk: bool,
}

/// What became of one commit of a group that went through: its numbers, or `None` if a check failed.
type Outcome = Option<Vec<u64>>;

impl Writer {
    pub(super) fn new(file: Arc<File>, watchers: Watchers) -> Self {
        Self {
            file,
            watchers,
            distrusts_disk: false,
        }
    }

    /// Works until nobody can send any more.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let (group, bytes) = group::gather(first, &mut jobs);
            self.commit(group, bytes);
        }
    }

    fn commit(&mut self, group: Vec<Job>, bytes: usize) {
        let (sets, answers): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|job| (job.writes, job.answer))
            .unzip();
        let result = self.apply(&sets, bytes);
        for (n, set) in sets.iter().enumerate() {
            // After a failure, the commit may have reached the disk nevertheless; a reader that is woken for nothing
            // only reads once more.
            let may_have_happened = match &result {
                Ok(outcomes) => outcomes.get(n).is_some_and(Option::is_some),
                Err(_) => true,
            };
            if may_have_happened {
                group::lists(set).for_each(|list| self.watchers.grown(list));
            }
        }
        match result {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Who does not wait any more does not need the answer.
                    let _ = answer.send(outcome.ok_or(StoreError::Conflict));
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(explain(&error)));
                }
            }
        }
    }

    /// Writes a group. After a failure the file is opened again at once, so that reads go on; a group that could not
    /// even begin is then tried once more.
    fn apply(&mut self, sets: &[WriteSet], bytes: usize) -> Result<Vec<Outcome>, Error> {
        if self.distrusts_disk {
            self.file.disk.probe(bytes as u64)?;
        }
        let result = match self.attempt(sets) {
            Err(Failure { begun: false, .. }) => self.attempt(sets),
            result => result,
        };
        let failed = result.is_err();
        if failed != self.distrusts_disk {
            self.distrusts_disk = failed;
            match &result {
                Ok(_) => tracing::info!("the store takes writes again"),
                Err(Failure { error, .. }) => {
                    tracing::error!(%error, "the store does not take writes; they are refused until it does");
                }
            }
        }
        result.map_err(|failure| failure.error)
    }

    fn attempt(&self, sets: &[WriteSet]) -> Result<Vec<Outcome>, Failure> {
        self.file
            .be_writable()
            .map_err(|error| Failure { begun: true, error })?;
        let mut begun = false;
        let (opened, result) = self.file.with(|database| {
            let transaction = database.begin_write()?;
            begun = true;
            write_group(transaction, sets)
        });
        result.map_err(|error| {
            if let Err(error) = self.file.open_again(opened) {
                tracing::error!(%error, "the store could not be opened again");
            }
            Failure { begun, error }
        })
    }
}

struct Failure {
    begun: bool,
    error: Error,
}

fn write_group(
    mut transaction: WriteTransaction,
    sets: &[WriteSet],
) -> Result<Vec<Outcome>, Error> {
    transaction.set_durability(Durability::Immediate)?;
    let mut entries = transaction.open_table(ENTRIES)?;
    let outcomes = sets
        .iter()
        .map(|set| write_set(&mut entries, set))
        .collect::<Result<Vec<_>, _>>()?;
    drop(entries);
    if outcomes.iter().all(Option::is_none) {
        transaction.abort()?;
    } else {
        transaction.commit()?;
    }
    Ok(outcomes)
}

fn write_set(entries: &mut Entries<'_>, set: &WriteSet) -> Result<Outcome, Error> {
    for check in &set.checks {
        if !holds(entries, check)? {
            return Ok(None);
        }
    }
    let mut numbers = Vec::new();
    let mut heads = HashMap::new();
    for write in &set.writes {
        match write {
            Write::Put { key, value } => {
                entries.insert(
                    resolved(key, &numbers)?.as_ref(),
                    resolved(value, &numbers)?.as_ref(),
                )?;
            }
            Write::Delete { key } => {
                entries.remove(key.as_slice())?;
            }
            Write::Append { list, value } => {
                let head = match heads.get(list.as_slice()) {
                    Some(head) => *head,
                    None => head_of(entries, list)?,
                };
                let number: u64 = head + 1;
                let key = Cell::number(list.clone(), number);
                entries.insert(key.as_slice(), resolved(value, &numbers)?.as_ref())?;
                heads.insert(list.as_slice(), number);
                numbers.push(number);
            }
        }
    }
    for (list, head) in heads {
        entries.insert(head_key(list).as_slice(), head.to_be_bytes().as_slice())?;
    }
    Ok(Some(numbers))
}

fn holds(entries: &Entries<'_>, check: &Check) -> Result<bool, Error> {
    let found = entries.get(check.key.as_slice())?;
    Ok(found.as_ref().map(|value| value.value()) == check.expected.as_deref())
}

fn head_of(entries: &Entries<'_>, list: &[u8]) -> Result<u64, Error> {
    let found = entries.get(head_key(list).as_slice())?;
    found.map_or(Ok(0), |bytes| {
        head_number(bytes.value()).map_err(|error| Error::Corrupted(error.to_string()))
    })
}

fn resolved<'a>(cell: &'a Cell, numbers: &[u64]) -> Result<Cow<'a, [u8]>, Error> {
    let Some(index) = cell.number_of else {
        return Ok(Cow::Borrowed(&cell.bytes));
    };
    let number = numbers.get(index).ok_or_else(|| {
        Error::Corrupted("a write refers to a number that is not given yet".to_owned())
    })?;
    let mut bytes = Vec::with_capacity(cell.bytes.len() + size_of::<u64>());
    bytes.extend_from_slice(&cell.bytes);
    bytes.extend_from_slice(&number.to_be_bytes());
    Ok(Cow::Owned(bytes))
}
