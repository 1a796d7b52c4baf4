use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::store::{Store, Table, engine::Pair, redb::DEFAULT_CACHE_BYTES};

const NOTES: Table<String, String> = Table::new(1, "notes");
const CACHE: usize = DEFAULT_CACHE_BYTES;

async fn open(directory: &Path) -> Store {
    Store::new(Address::default().open(directory, CACHE).await.unwrap())
}

async fn write(store: &Store, keys: std::ops::Range<u32>, text: &str) {
    store
        .transact(|mut tx| {
            let keys = keys.clone();
            async move {
                for key in keys {
                    tx.put(&NOTES, format!("{key:06}"), &format!("{text} {key}"))?;
                }
                Ok::<_, StoreError>((tx, ()))
            }
        })
        .await
        .unwrap();
}

fn holds(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    })
}

/// A store with two thousand notes, of which the second thousand was removed.
async fn with_removed_notes(directory: &Path) {
    let store = open(directory).await;
    write(&store, 0..1_000, "stays").await;
    write(&store, 1_000..2_000, "goes").await;
    store
        .transact(|mut tx| async move {
            for key in 1_000..2_000 {
                tx.delete(&NOTES, format!("{key:06}"));
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_is_in_no_file_any_more_and_the_rest_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    with_removed_notes(path).await;
    assert!(
        holds(path, "goes 1"),
        "the engine wipes what it removes: there is nothing to compact for"
    );
    let before = everything(path).await;
    let compacted = compact(&Address::default(), path, CACHE).await.unwrap();
    assert!(compacted.after < compacted.before, "{compacted:?}");
    assert!(!holds(path, "goes 1") && holds(path, "stays 9"));
    assert_eq!(everything(path).await, before);
}

async fn everything(directory: &Path) -> Vec<Pair> {
    let store = open(directory).await;
    let snapshot = store.engine().snapshot().await.unwrap();
    snapshot.page(None, 10_000).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_in_use_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    write(&store, 0..10, "stays").await;
    let refused = compact(&Address::default(), directory.path(), CACHE).await;
    assert!(matches!(refused, Err(StoreError::Locked)), "{refused:?}");
    write(&store, 10..20, "stays").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_not_finished_is_thrown_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    with_removed_notes(path).await;
    let file = Address::default().file(path);
    fs::copy(&file, copy_of(&file)).unwrap();
    drop(open(path).await);
    assert!(!copy_of(&file).exists());
    // And one in the way of the next attempt.
    fs::write(copy_of(&file), "half a copy of what goes 1").unwrap();
    compact(&Address::default(), path, CACHE).await.unwrap();
    assert!(!holds(path, "goes 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_there_is_nothing_to_compact() {
    let directory = tempfile::tempdir().unwrap();
    let refused = compact(&Address::default(), directory.path(), CACHE).await;
    assert!(refused.is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// A disk that stops to give what is on it after some pages.
struct Failing {
    snapshot: Box<dyn Snapshot>,
    pages: AtomicUsize,
}

#[async_trait]
impl Snapshot for Failing {
    async fn page(&self, after: Option<Vec<u8>>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        if self.pages.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(StoreError::Unavailable("the disk fails".to_owned()));
        }
        self.snapshot.page(after, limit).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_that_fails_takes_no_place_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    with_removed_notes(path).await;
    let before = everything(path).await;
    let file = Address::default().file(path);
    let store = open(path).await;
    let failing = Failing {
        snapshot: store.engine().snapshot().await.unwrap(),
        pages: AtomicUsize::new(1),
    };
    let failed = write_anew(&failing, &file, CACHE).await.err().unwrap();
    assert!(failed.to_string().contains("the disk fails"), "{failed}");
    assert!(!copy_of(&file).exists());
    drop((failing, store));
    assert_eq!(everything(path).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_half_filled_stays_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let engine = Address::default().open(path, CACHE).await.unwrap();
    drop(filling::Filling::begin(engine, [7; 32]).await.unwrap());
    let refused = compact(&Address::default(), path, CACHE).await;
    assert!(refused.is_err(), "{refused:?}");
    let engine = open(path).await.engine().clone();
    assert!(filling::is_unfinished(&*engine).await.unwrap());
}
