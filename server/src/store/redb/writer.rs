//! The writer: applies a group of commits one after the other in one transaction, and syncs the disk once.

use std::sync::Arc;

use redb::{Durability, Error, ReadableTable, Table, WriteTransaction};

use super::{ENTRIES, File};
use crate::store::{
    engine::{StoreError, WriteSet},
    writing::{self, Entries, Outcome},
};

pub(super) struct Writer {
    file: Arc<File>,
    /// The last group failed: the disk has to show that it takes writes before redb is tried, which needs to read
    /// through the file after each failure.
    distrusts_disk: bool,
}

impl Writer {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self {
            file,
            distrusts_disk: false,
        }
    }

    /// Writes a group. After a failure the file is opened again at once, so that reads go on; a group that could not
    /// even begin is then tried once more.
    pub(super) fn apply(&mut self, sets: &[WriteSet], bytes: usize) -> Result<Vec<Outcome>, Error> {
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
        .map(|set| writing::write(&mut entries, set))
        .collect::<Result<Vec<_>, _>>()?;
    drop(entries);
    if outcomes.iter().all(Option::is_none) {
        transaction.abort()?;
    } else {
        transaction.commit()?;
    }
    Ok(outcomes)
}

impl Entries for Table<'_, &'static [u8], &'static [u8]> {
    type Error = Error;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(ReadableTable::get(self, key)?.map(|value| value.value().to_vec()))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.insert(key, value)?;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Error> {
        Table::remove(self, key)?;
        Ok(())
    }

    fn damaged(error: StoreError) -> Error {
        Error::Corrupted(error.to_string())
    }
}
