//! Looks at everything that is stored with the eyes of the gate: what the gate would not let in today may not be there.
//!
//! A violation is told by its table, what is wrong with it and a hash of its key; never by its content, and not by the ids
//! in its key.

mod blobs;
mod judge;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::judge::Flaw;
use crate::{
    config::Config,
    hex,
    state::App,
    store::{
        StoreError,
        engine::{Pages, Pair},
    },
};

/// How many violations are listed one by one; further ones are counted.
pub const MAX_LISTED: usize = 1_000;
/// How many bytes of a key's hash are shown.
const SHOWN_HASH: usize = 8;

/// What a scan found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// How many entries of the store passed, by class.
    pub entries: BTreeMap<String, u64>,
    /// How many blobs passed.
    pub blobs: u64,
    /// What may not be there.
    pub violations: Vec<Violation>,
    /// How many more violations there are than are listed.
    pub unlisted: u64,
    /// Blobs that belong to nothing, which is no violation yet.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// How many more of them there are than are listed.
    #[serde(default)]
    pub unlisted_notes: u64,
}

/// A blob that belongs to nothing: an upload under way, or one that was cut off and is removed in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The start of the SHA-256 of its id, in hexadecimal.
    pub key: String,
    /// How old it is, in milliseconds.
    pub age: u64,
}

/// Something that may not be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The table, or `blobs`.
    pub place: String,
    /// What is wrong with it.
    pub flaw: Flaw,
    /// The start of the SHA-256 of its key, in hexadecimal.
    pub key: String,
}

impl Report {
    /// Whether nothing is there that may not be.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    fn add(&mut self, place: &str, key: &[u8], flaw: Flaw) {
        if self.violations.len() >= MAX_LISTED {
            self.unlisted += 1;
            return;
        }
        self.violations.push(Violation {
            place: place.to_owned(),
            flaw,
            key: shown(key),
        });
    }

    fn note(&mut self, id: &str, age: Duration) {
        if self.notes.len() >= MAX_LISTED {
            self.unlisted_notes += 1;
            return;
        }
        self.notes.push(Note {
            key: shown(id.as_bytes()),
            age: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        });
    }
}

fn shown(key: &[u8]) -> String {
    let hash = Sha256::digest(key);
    hex::encode(hash.get(..SHOWN_HASH).unwrap_or_default())
}

/// The name of a table, for people.
pub fn table_name(number: u16) -> &'static str {
    tables::rows()
        .iter()
        .find(|row| row.number == number)
        .map_or("a table that this version does not know", |row| row.name)
}

/// Looks at everything, as it is at one moment.
///
/// # Errors
/// The store does not answer; what cannot be read in it is a violation, no error.
pub async fn scan(app: &App) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let mut scan = Scan::new(&app.config);
    let snapshot = app.store.engine().snapshot().await?;
    let mut pages = Pages::new(&*snapshot, None);
    while let Some(page) = pages.next().await? {
        for pair in &page {
            scan.entry(pair, &mut report);
        }
    }
    scan.settle(&mut report);
    blobs::scan(app, scan.media, &mut report).await?;
    Ok(report)
}

/// The tables of the store, by their numbers.
pub fn tables() -> BTreeMap<u16, &'static str> {
    let rows = tables::rows().into_iter();
    rows.map(|row| (row.number, row.name)).collect()
}

/// What has to be remembered from one table for the next.
struct Scan<'a> {
    config: &'a Config,
    rows: BTreeMap<u16, tables::Row>,
    /// Rooms in which the gate lets plain Matrix pass.
    plain: BTreeSet<OwnedRoomId>,
    /// What is wrong only if the gate guards the room: rooms come after what people keep about them.
    doubts: Vec<Doubt>,
    /// The blobs that must be there.
    media: BTreeMap<String, Blob>,
}

/// Something about a room that the gate would not let in.
struct Doubt {
    room: OwnedRoomId,
    table: &'static str,
    key: Vec<u8>,
    flaw: Flaw,
}

/// What the store says of a blob.
struct Blob {
    size: u64,
    /// Whether it must look encrypted.
    guarded: bool,
}

impl<'a> Scan<'a> {
    fn new(config: &'a Config) -> Self {
        Self {
            config,
            rows: tables::rows()
                .into_iter()
                .map(|row| (row.number, row))
                .collect(),
            plain: BTreeSet::new(),
            doubts: Vec::new(),
            media: BTreeMap::new(),
        }
    }

    fn entry(&mut self, pair: &Pair, report: &mut Report) {
        let (key, _) = pair;
        let number = key
            .first_chunk()
            .map_or(u16::MAX, |number| u16::from_be_bytes(*number));
        let Some((name, class, judge)) = self
            .rows
            .get(&number)
            .map(|row| (row.name, row.class, row.judge))
        else {
            return report.add(
                "a table that this version does not know",
                key,
                Flaw::Unknown,
            );
        };
        match judge(self, pair) {
            Ok(()) => *report.entries.entry(class.to_owned()).or_default() += 1,
            Err(flaw) => report.add(name, key, flaw),
        }
    }

    /// Now that all rooms are known.
    fn settle(&mut self, report: &mut Report) {
        for doubt in self.doubts.drain(..) {
            if !self.plain.contains(&doubt.room) {
                report.add(doubt.table, &doubt.key, doubt.flaw);
            }
        }
    }
}

#[cfg(test)]
mod tests;
