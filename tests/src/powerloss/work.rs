//! The work that is interrupted, and what must be left of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Write as _,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use respite_server::store::{
    Address, Engine,
    engine::{Cell, Write, WriteSet},
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{Report, trace::Event};

/// At most so many write at the same time.
pub const MAX_WRITERS: u32 = 100;
/// Into how many places of its own each of them writes in turn.
const PLACES: u32 = 16;
const LIST: &[u8] = b"room";
const CACHE: usize = 16 << 20;

/// Who writes how much.
#[derive(Clone, Copy, Debug)]
pub struct Writers {
    /// How many write at the same time, up to [`MAX_WRITERS`]. What they write goes to the disk together, so that many
    /// of them make large groups.
    pub number: u32,
    /// How many commits each of them makes.
    pub commits: u32,
}

/// What is in a store: the names in the list's order, and which commit wrote each place last.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Found {
    names: Vec<String>,
    /// (writer, place) to the commit, twice: once in the place itself, once beside it.
    places: Vec<(u32, u32, u32, u32)>,
}

/// Writes: each commit appends its name to the list and overwrites a place and what is beside it. Says on standard output
/// what is acknowledged, and returns how many commits that were.
///
/// # Errors
/// The store's.
pub async fn work(store: &Address, writers: Writers) -> Result<u32> {
    let engine = store.open(Path::new("."), CACHE).await?;
    let mut all = JoinSet::new();
    for writer in 0..writers.number.min(MAX_WRITERS) {
        let engine = engine.clone();
        all.spawn(async move { write(&engine, writer, writers.commits).await });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(writers.number * writers.commits)
}

async fn write(engine: &Arc<dyn Engine>, writer: u32, commits: u32) -> Result<()> {
    for n in 0..commits {
        let put = |kind: u8, value: Vec<u8>| Write::Put {
            key: Cell::plain(place(kind, writer, n % PLACES)),
            value: Cell::plain(value),
        };
        let writes = vec![
            put(b'a', content(writer, n)),
            Write::Append {
                list: LIST.to_vec(),
                value: Cell::plain(format!("{writer} {n}").into_bytes()),
            },
            put(b'b', content(writer, n)),
        ];
        let checks = Vec::new();
        let numbers = engine.commit(WriteSet { checks, writes }).await?;
        let number = numbers.first().context("no number")?;
        let said = format!("{writer} {n} {number}\n");
        // One call for each, so that the trace shows when it was said.
        std::io::stdout().write_all(said.as_bytes())?;
    }
    Ok(())
}

fn place(kind: u8, writer: u32, place: u32) -> Vec<u8> {
    format!("{}{writer:02}{place:02}", char::from(kind)).into_bytes()
}

/// Up to 12,000 bytes that only this commit writes, its number first.
fn content(writer: u32, n: u32) -> Vec<u8> {
    let mut value = n.to_be_bytes().to_vec();
    let mut state = u64::from(writer) << 32 | u64::from(n) | 1 << 63;
    for _ in 0..(n * 7919 + writer * 104_729) % 1500 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(n.into());
        value.extend_from_slice(&state.to_be_bytes());
    }
    value
}

/// Reads everything.
///
/// # Errors
/// The store's; or what is in it was never written.
pub async fn look(store: &Address) -> Result<Found> {
    let engine = store.open(Path::new("."), CACHE).await?;
    let head = engine.head(LIST.to_vec()).await?;
    let snapshot = engine.snapshot().await?;
    let entries: BTreeMap<_, _> = snapshot.page(None, usize::MAX).await?.into_iter().collect();
    let mut found = Found::default();
    for number in 1..=head {
        let name = entries.get(&Cell::number(LIST.to_vec(), number));
        let name = name.with_context(|| format!("entry {number} of {head} is missing"))?;
        found.names.push(String::from_utf8(name.clone())?);
    }
    let numbered = entries.keys().filter(|key| key.starts_with(LIST)).count();
    ensure!(
        numbered == found.names.len(),
        "there are entries beyond the head"
    );
    for writer in 0..MAX_WRITERS {
        for at in 0..PLACES {
            let read = |kind| {
                let value = entries.get(&place(kind, writer, at))?;
                let n = u32::from_be_bytes(value.get(..4)?.try_into().ok()?);
                Some((n, *value == content(writer, n)))
            };
            match (read(b'a'), read(b'b')) {
                (Some((a, true)), Some((b, true))) => found.places.push((writer, at, a, b)),
                (None, None) => {}
                _ => anyhow::bail!("place {at} of writer {writer} is broken"),
            }
        }
    }
    Ok(found)
}

/// What was acknowledged: the number by writer and commit.
#[derive(Default)]
pub(super) struct Acknowledged {
    numbers: HashMap<(u32, u32), usize>,
}

impl Acknowledged {
    pub(super) fn hear(&mut self, event: &Event) -> Result<()> {
        let Event::Said(bytes) = event else {
            return Ok(());
        };
        for line in std::str::from_utf8(bytes)?.lines() {
            let mut words = line.split(' ');
            let mut word = || words.next().context("a word is missing");
            let (writer, n) = (word()?.parse()?, word()?.parse()?);
            self.numbers.insert((writer, n), word()?.parse()?);
        }
        Ok(())
    }

    /// Adds to the report what became of the acknowledged commits.
    pub(super) fn compare(&self, found: Result<Found>, report: &mut Report, moment: &str) {
        report.cuts += 1;
        report.acknowledged += self.numbers.len();
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                report.unopenable += 1;
                let first = || format!("{moment}: {error:#}");
                report.first.get_or_insert_with(first);
                return;
            }
        };
        let there: HashSet<&String> = found.names.iter().collect();
        let twice = found.names.len() - there.len();
        let (mut lost, mut moved) = (0, 0);
        for ((writer, n), number) in &self.numbers {
            let name = format!("{writer} {n}");
            if !there.contains(&name) {
                lost += 1;
            } else if found.names.get(number - 1) != Some(&name) {
                moved += 1;
            }
        }
        let (halved, overwritten) = self.compare_places(&found, &there);
        if lost + overwritten > 0 {
            report.with_losses += 1;
        }
        report.lost += lost + overwritten;
        report.duplicated += twice;
        report.out_of_order += moved;
        report.halved += halved;
        if lost + overwritten + twice + moved + halved > 0 {
            let first = || {
                format!(
                    "{moment}: of {} acknowledged {lost} lost, {overwritten} overwritten by older ones, {twice} twice, \
                     {moved} moved, {halved} in part",
                    self.numbers.len()
                )
            };
            report.first.get_or_insert_with(first);
        }
    }

    /// How many commits are there in part, and how many acknowledged ones are not in their places.
    fn compare_places(&self, found: &Found, there: &HashSet<&String>) -> (usize, usize) {
        let mut newest: HashMap<(u32, u32), u32> = HashMap::new();
        for (writer, n) in self.numbers.keys() {
            let newest = newest.entry((*writer, n % PLACES)).or_insert(*n);
            *newest = (*n).max(*newest);
        }
        let mut halved = 0;
        for (writer, _, a, b) in &found.places {
            halved += usize::from(a != b || !there.contains(&format!("{writer} {a}")));
        }
        let places: HashMap<_, _> = found
            .places
            .iter()
            .map(|(writer, place, a, _)| ((*writer, *place), *a))
            .collect();
        let behind = newest
            .iter()
            .filter(|(place, n)| places.get(place).is_none_or(|found| found < *n));
        (halved, behind.count())
    }
}
