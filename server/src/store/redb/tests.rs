use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{self, ErrorKind},
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use redb::{Builder, StorageBackend};
use tempfile::TempDir;

use super::*;
use crate::store::{
    engine::{Cell, Write, head_key},
    suite::{self, Place},
};

const CACHE: usize = 1 << 20;
const BLOCK: usize = 4096;
/// More blocks than a test can fill.
const ROOM: usize = 1 << 30;

struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("store.redb")
    }
}

impl Place for Directory {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(Redb::open(&self.file(), CACHE).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_engine_does() {
    suite::run(Directory::new).await;
}

fn put(key: &str, value: &[u8]) -> Write {
    Write::Put {
        key: Cell::plain(key.into()),
        value: Cell::plain(value.to_vec()),
    }
}

fn append(list: &str, value: &[u8]) -> Write {
    Write::Append {
        list: list.into(),
        value: Cell::plain(value.to_vec()),
    }
}

fn set(writes: Vec<Write>) -> WriteSet {
    WriteSet {
        checks: Vec::new(),
        writes,
    }
}

async fn get(engine: &Redb, key: &str) -> Option<Vec<u8>> {
    engine.get(vec![key.into()]).await.unwrap().pop().unwrap()
}

// ---- Opening -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_told_so() {
    let directory = Directory::new();
    let first = Redb::open(&directory.file(), CACHE).unwrap();
    assert!(matches!(
        Redb::open(&directory.file(), CACHE),
        Err(StoreError::Locked)
    ));
    drop(first);
    Redb::open(&directory.file(), CACHE).unwrap();
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_refused_and_left_as_it_is() {
    let directory = Directory::new();
    let engine = Redb::open(&directory.file(), CACHE).unwrap();
    for n in 0..50 {
        engine
            .commit(set(vec![put(&format!("key {n}"), &[7; 5000])]))
            .await
            .unwrap();
    }
    drop(engine);
    let whole = fs::read(directory.file()).unwrap();
    for length in [
        0,
        1,
        100,
        320,
        4096,
        10_000,
        whole.len() / 2,
        whole.len() - 4096,
    ] {
        fs::write(directory.file(), &whole[..length]).unwrap();
        match Redb::open(&directory.file(), CACHE) {
            Err(StoreError::Damaged(what)) => assert!(what.contains("store.redb"), "{what}"),
            Err(other) => panic!("{length} bytes: {other}"),
            Ok(_) => panic!("{length} bytes: opened"),
        }
        assert_eq!(fs::read(directory.file()).unwrap(), &whole[..length]);
    }
    fs::write(directory.file(), &whole).unwrap();
    let engine = Redb::open(&directory.file(), CACHE).unwrap();
    assert_eq!(get(&engine, "key 49").await, Some(vec![7; 5000]));
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_and_left_as_it_is() {
    let directory = Directory::new();
    let letter = b"Dear night nurse, ".repeat(1000);
    fs::write(directory.file(), &letter).unwrap();
    assert!(matches!(
        Redb::open(&directory.file(), CACHE),
        Err(StoreError::Damaged(_))
    ));
    assert_eq!(fs::read(directory.file()).unwrap(), letter);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let directory = Directory::new();
    let path = directory.0.path().join("nowhere/store.redb");
    match Redb::open(&path, CACHE) {
        Err(StoreError::Unavailable(what)) => {
            assert!(what.contains("nowhere/store.redb"), "{what}")
        }
        _ => panic!("opened"),
    }
}

#[tokio::test]
async fn a_crash_while_the_store_is_being_made_does_no_harm() {
    let directory = Directory::new();
    let unfinished = directory.0.path().join("store.redb.new");
    fs::write(&unfinished, [7; 5000]).unwrap();
    Redb::open(&directory.file(), CACHE).unwrap();
    assert!(!unfinished.exists());
}

// ---- A disk that fails ---------------------------------------------------------------------------------------------

/// A disk in memory that can fill up, and that can lose power: then any of the writes since the last sync are lost.
#[derive(Clone, Debug)]
struct Medium(Arc<Mutex<Image>>);

#[derive(Debug)]
struct Image {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    used: HashSet<usize>,
    /// The blocks that fit on the disk.
    blocks: usize,
    /// Nothing at all is written any more.
    refuses: bool,
    /// The changes that are still made before the power fails.
    changes_left: usize,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => bytes.resize(*length, 0),
        Change::Write(at, data) => {
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
    }
}

impl Medium {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Image {
            now: Vec::new(),
            synced: Vec::new(),
            unsynced: Vec::new(),
            used: HashSet::new(),
            blocks: ROOM,
            refuses: false,
            changes_left: usize::MAX,
        })))
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap()
    }

    fn start(&self) -> Result<Redb, StoreError> {
        let database = self.open().map_err(|error| explain(&error))?;
        Redb::start(
            database,
            Box::new(self.clone()),
            Fatal::told(|why| panic!("{why}")),
        )
    }

    fn fills_up(&self) {
        let mut image = self.image();
        image.blocks = image.used.len();
    }

    fn has_room_again(&self) {
        self.image().blocks = ROOM;
    }

    /// What is on the disk after the power has failed, each unsynced change kept or lost as `keeps` says.
    fn after_power_loss(&self, mut keeps: impl FnMut() -> bool) -> Self {
        let mut image = self.image();
        let mut bytes = image.synced.clone();
        for change in image.unsynced.drain(..) {
            if keeps() {
                apply(&mut bytes, &change);
            }
        }
        let after = Self::new();
        after.image().now = bytes.clone();
        after.image().synced = bytes;
        after
    }
}

impl Disk for Medium {
    fn open(&self) -> Result<Database, redb::Error> {
        file::database(Builder::new().set_cache_size(CACHE), self.clone())
    }

    fn open_to_read(&self) -> Result<Database, redb::Error> {
        let overlay = overlay::Overlay::new(self.clone())?;
        file::database(Builder::new().set_cache_size(CACHE), overlay)
    }

    fn probe(&self, bytes: u64) -> io::Result<()> {
        let image = self.image();
        if image.blocks.saturating_sub(image.used.len()) as u64 * BLOCK as u64 <= bytes {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Image {
    fn change(&mut self, change: Change) -> io::Result<()> {
        if self.refuses {
            return Err(io::Error::other("Input/output error"));
        }
        self.changes_left = self
            .changes_left
            .checked_sub(1)
            .ok_or(ErrorKind::BrokenPipe)?;
        if let Change::Write(at, data) = &change {
            let blocks = at / BLOCK..(at + data.len()).div_ceil(BLOCK);
            let fresh: Vec<_> = blocks.filter(|block| !self.used.contains(block)).collect();
            if self.used.len() + fresh.len() > self.blocks {
                return Err(ErrorKind::StorageFull.into());
            }
            self.used.extend(fresh);
        }
        apply(&mut self.now, &change);
        self.unsynced.push(change);
        Ok(())
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.image().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        let image = self.image();
        let bytes = image
            .now
            .get(at..at + out.len())
            .ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.image().change(Change::Length(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.image();
        image.changes_left = image
            .changes_left
            .checked_sub(1)
            .ok_or(ErrorKind::BrokenPipe)?;
        image.synced = image.now.clone();
        image.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.image()
            .change(Change::Write(offset as usize, data.to_vec()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_writes_are_refused_reads_go_on_and_later_writes_work_again() {
    let disk = Medium::new();
    let engine = disk.start().unwrap();
    engine
        .commit(set(vec![put("before", b"kept"), append("room", b"one")]))
        .await
        .unwrap();

    disk.fills_up();
    for _ in 0..5 {
        let large = set(vec![append("room", b"two"), put("too much", &[7; 1 << 20])]);
        match engine.commit(large).await {
            Err(StoreError::Unavailable(what)) => assert_eq!(what, "the disk is full"),
            other => panic!("{other:?}"),
        }
        assert_eq!(get(&engine, "before").await.unwrap(), b"kept");
        assert_eq!(get(&engine, "too much").await, None);
        assert_eq!(engine.head(b"room".to_vec()).await.unwrap(), 1);
    }

    disk.has_room_again();
    let numbers = engine
        .commit(set(vec![append("room", b"two"), put("after", b"kept")]))
        .await
        .unwrap();
    assert_eq!(numbers, [2]);
    drop(engine);
    let engine = disk.start().unwrap();
    assert_eq!(get(&engine, "after").await.unwrap(), b"kept");
    assert_eq!(engine.head(b"room".to_vec()).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_takes_no_byte_reads_go_on_and_nothing_is_changed() {
    let disk = Medium::new();
    let engine = disk.start().unwrap();
    for n in 0..100 {
        engine
            .commit(set(vec![append("room", &[n; 3000])]))
            .await
            .unwrap();
    }
    let before = disk.image().now.clone();
    disk.image().refuses = true;
    for _ in 0..5 {
        let refused = engine.commit(set(vec![put("too late", b"")])).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        assert_eq!(engine.head(b"room".to_vec()).await.unwrap(), 100);
        let all = Span::prefix(b"room".to_vec(), 1000, false);
        let found = engine.scan(all).await.unwrap();
        assert!(
            found
                .iter()
                .zip(0..)
                .all(|((_, value), n)| *value == [n; 3000])
        );
        assert_eq!(found.len(), 100);
    }
    assert!(disk.image().now == before);

    disk.image().refuses = false;
    let commit = || engine.commit(set(vec![append("room", b"more")]));
    let numbers = loop {
        // A file that could only be read is not tried again at once.
        match commit().await {
            Ok(numbers) => break numbers,
            Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(numbers, [101]);
    drop(engine);
    let engine = disk.start().unwrap();
    assert_eq!(engine.head(b"room".to_vec()).await.unwrap(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_is_fatal_and_a_write_that_fails_is_not() {
    let disk = Medium::new();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let fatal = {
        let told = told.clone();
        Fatal::told(move |why| told.lock().unwrap().push(why.to_owned()))
    };
    let synced = synced::Synced::new(disk.clone(), fatal);
    synced.write(0, b"a page").unwrap();
    synced.sync_data().unwrap();
    disk.image().refuses = true;
    synced.write(0, b"another").unwrap_err();
    assert!(told.lock().unwrap().is_empty());
    disk.image().changes_left = 0;
    synced.sync_data().unwrap_err();
    let told = told.lock().unwrap();
    assert!(
        told.len() == 1 && told[0].contains("failed to sync the store"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_from_before_the_disk_failed_says_so() {
    let disk = Medium::new();
    let engine = disk.start().unwrap();
    for n in 0..200 {
        engine
            .commit(set(vec![put(&format!("{n:03}"), &[7; 20_000])]))
            .await
            .unwrap();
    }
    let snapshot = engine.snapshot().await.unwrap();
    disk.fills_up();
    engine
        .commit(set(vec![put("too much", &[7; 1 << 20])]))
        .await
        .unwrap_err();
    assert!(matches!(
        snapshot.page(None, 500).await,
        Err(StoreError::Unavailable(_))
    ));
    assert_eq!(
        engine
            .snapshot()
            .await
            .unwrap()
            .page(None, 500)
            .await
            .unwrap()
            .len(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_power_fails_what_was_acknowledged_is_there_and_nothing_is_there_in_part() {
    for (seed, moment) in (0..150).map(|seed| (seed, 1 + seed % 50)) {
        let disk = Medium::new();
        let engine = Arc::new(disk.start().unwrap());
        engine
            .commit(set(vec![
                append("room", b"first"),
                put("a first", b""),
                put("b first", b""),
            ]))
            .await
            .unwrap();
        disk.image().changes_left = moment;
        let acknowledged = write_until_it_fails(&engine).await;
        drop(engine);

        let mut random = seed as u64;
        let after = disk.after_power_loss(|| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            random >> 63 == 1
        });
        let engine = after
            .start()
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut found = BTreeMap::new();
        for (key, value) in engine
            .snapshot()
            .await
            .unwrap()
            .page(None, 10_000)
            .await
            .unwrap()
        {
            found.insert(key, value);
        }
        let head = engine.head(b"room".to_vec()).await.unwrap();
        let entries: Vec<String> = (1..=head)
            .map(|number| {
                found
                    .remove(&Cell::number(b"room".to_vec(), number))
                    .unwrap()
            })
            .map(|name| String::from_utf8(name).unwrap())
            .collect();
        for name in &entries {
            assert!(
                found.remove(format!("a {name}").as_bytes()).is_some(),
                "seed {seed}: half of {name}"
            );
            assert!(
                found.remove(format!("b {name}").as_bytes()).is_some(),
                "seed {seed}: half of {name}"
            );
        }
        assert_eq!(
            found.into_keys().collect::<Vec<_>>(),
            [head_key(b"room")],
            "seed {seed}: left over"
        );
        for (name, number) in acknowledged {
            assert_eq!(
                entries[number as usize - 1],
                name,
                "seed {seed}: lost or moved"
            );
        }
    }
}

async fn write_until_it_fails(engine: &Arc<Redb>) -> Vec<(String, u64)> {
    let writers = (0..8).map(|writer| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0..100 {
                let name = format!("{writer} {n}");
                let writes = vec![
                    put(&format!("a {name}"), &[7; 700]),
                    append("room", name.as_bytes()),
                    put(&format!("b {name}"), &[7; 700]),
                ];
                match engine.commit(set(writes)).await {
                    Ok(numbers) => acknowledged.push((name, numbers[0])),
                    Err(StoreError::Unavailable(_)) => break,
                    Err(other) => panic!("{other}"),
                }
            }
            acknowledged
        })
    });
    let mut all = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        all.extend(writer.await.unwrap());
    }
    all
}
