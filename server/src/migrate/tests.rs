use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use respite_outside::postgres::Cluster;
use tempfile::TempDir;

use super::*;
use crate::{
    config::Config,
    fixture, start,
    store::{
        Address, List, Page, Store, Table, Watch,
        engine::{PAGE, Pair, Span, WriteSet},
        postgres::Postgres,
    },
};

const NOTES: Table<u64, String> = Table::new(9001, "notes");
const DIARY: List<String, String> = List::new(9002, "diary");
const MANY: u64 = 3 * PAGE as u64;

/// An engine whose connection is lost at some commit.
struct Tiring {
    engine: Arc<dyn Engine>,
    commits: AtomicUsize,
}

#[async_trait]
impl Engine for Tiring {
    async fn get(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.engine.get(keys).await
    }

    async fn scan(&self, span: Span) -> Result<Vec<Pair>, StoreError> {
        self.engine.scan(span).await
    }

    async fn commit(&self, writes: WriteSet) -> Result<Vec<u64>, StoreError> {
        let left = self.commits.load(Ordering::Relaxed);
        if left == 0 {
            return Err(StoreError::Unavailable("the connection is lost".to_owned()));
        }
        self.commits.store(left - 1, Ordering::Relaxed);
        self.engine.commit(writes).await
    }

    fn watch(&self, list: Vec<u8>) -> Watch {
        self.engine.watch(list)
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.engine.snapshot().await
    }
}

async fn write(store: &Store, note: u64, text: &str) {
    store
        .transact(|mut tx| async move {
            tx.put(&NOTES, note, &text.to_owned())?;
            tx.append(&DIARY, "nurse".to_owned(), &text.to_owned())?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
}

/// A store with some notes, a diary and something large.
async fn full() -> (TempDir, Store) {
    let (directory, store) = fixture::store();
    store
        .transact(|mut tx| async move {
            for note in 0..MANY {
                tx.put(&NOTES, note, &format!("note {note}"))?;
                tx.append(&DIARY, "nurse".to_owned(), &format!("night {note}"))?;
            }
            for large in MANY..MANY + 6 {
                tx.put(&NOTES, large, &"x".repeat(1 << 20))?;
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
    (directory, store)
}

async fn migrate(from: &Store, to: &Store) -> anyhow::Result<Migrated> {
    run(from.engine(), to.engine(), None, &mut ()).await
}

fn sentence<T>(result: anyhow::Result<T>) -> String {
    format!("{:#}", result.err().unwrap())
}

#[tokio::test]
async fn everything_arrives_and_lists_go_on_where_they_were() {
    let (_from, from) = full().await;
    let (_to, to) = fixture::store();
    let migrated = migrate(&from, &to).await.unwrap();
    // The notes, the diary, and the diary's head.
    assert_eq!(migrated.sums.entries(), MANY + 6 + MANY + 1);
    assert_eq!(migrated.sums.0[&9001].entries, MANY + 6);
    let notes = to.scan(&NOTES, (), Page::last(1)).await.unwrap();
    assert_eq!(notes[0].1.len(), 1 << 20);
    write(&to, 7, "the next night").await;
    assert_eq!(to.head(&DIARY, "nurse".to_owned()).await.unwrap(), MANY + 1);
    assert!(!filling::is_unfinished(&**to.engine()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_to_postgresql_and_back_is_the_same() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let (_from, from) = full().await;
    let url = cluster.fresh().unwrap();
    let there = Store::new(Arc::new(Postgres::open(&url).await.unwrap()));
    let (_back, back) = fixture::store();
    let out = migrate(&from, &there).await.unwrap();
    assert_eq!(migrate(&there, &back).await.unwrap().sums, out.sums);
    write(&there, 7, "the next night").await;
    let number = there.head(&DIARY, "nurse".to_owned()).await.unwrap();
    assert_eq!(number, MANY + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_to_sled_and_back_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sled");
    let sled: Address = format!("sled:{}", path.display()).parse().unwrap();
    let engine = sled.open(directory.path(), 1 << 20).await.unwrap();
    let there = Store::new(engine);
    let (_from, from) = full().await;
    let (_back, back) = fixture::store();
    let out = migrate(&from, &there).await.unwrap();
    assert_eq!(migrate(&there, &back).await.unwrap().sums, out.sums);
    write(&there, 7, "the next night").await;
    let number = there.head(&DIARY, "nurse".to_owned()).await.unwrap();
    assert_eq!(number, MANY + 1);
}

#[tokio::test]
async fn an_interrupted_migration_goes_on_and_nobody_uses_it_before_it_is_done() {
    let (_from, from) = full().await;
    let (_to, to) = fixture::store();
    let mut tries = 0;
    let mut reached = Vec::new();
    loop {
        let tiring: Arc<dyn Engine> = Arc::new(Tiring {
            engine: to.engine().clone(),
            commits: AtomicUsize::new(2),
        });
        tries += 1;
        let error = match run(from.engine(), &tiring, None, &mut ()).await {
            Ok(migrated) => break assert_eq!(migrated.sums.entries(), 2 * MANY + 7),
            Err(error) => error,
        };
        assert!(
            format!("{error:#}").contains("the connection is lost"),
            "{error:#}"
        );
        assert!(filling::is_unfinished(&**to.engine()).await.unwrap());
        let snapshot = to.engine().snapshot().await.unwrap();
        let there = filling::sums(&*snapshot, &mut |_| {}).await.unwrap();
        reached.push(there.entries());
    }
    assert!(
        tries > 3 && reached.is_sorted_by(|a, b| a < b),
        "{reached:?}"
    );
    assert!(!filling::is_unfinished(&**to.engine()).await.unwrap());
}

#[tokio::test]
async fn a_target_that_holds_something_else_is_refused() {
    let (_from, from) = full().await;
    let (_to, to) = fixture::store();
    write(&to, 1, "already here").await;
    let said = sentence(migrate(&from, &to).await);
    assert!(said.contains("it is not empty"), "{said}");
    assert_eq!(to.scan(&NOTES, (), Page::first(9)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_source_that_has_changed_between_two_attempts_is_not_mixed() {
    let (_from, from) = full().await;
    let (_to, to) = fixture::store();
    let tiring: Arc<dyn Engine> = Arc::new(Tiring {
        engine: to.engine().clone(),
        commits: AtomicUsize::new(2),
    });
    run(from.engine(), &tiring, None, &mut ())
        .await
        .unwrap_err();
    write(&from, 0, "changed").await;
    let said = sentence(migrate(&from, &to).await);
    assert!(said.contains("another state of the same"), "{said}");
}

/// A source that somebody writes to while it is copied.
struct Busy {
    store: Store,
    written: bool,
}

impl Progress for Busy {
    fn begin(&mut self, what: &str, _: Option<u64>) {
        if what.contains("copying") && !std::mem::replace(&mut self.written, true) {
            let store = self.store.clone();
            let write = async move { write(&store, 0, "meanwhile").await };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(write));
        }
    }

    fn advance(&mut self, _: u64) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_written_to_meanwhile_is_noticed() {
    let (_from, from) = full().await;
    let (_to, to) = fixture::store();
    let mut busy = Busy {
        store: from.clone(),
        written: false,
    };
    let said = sentence(run(from.engine(), to.engine(), None, &mut busy).await);
    assert!(said.contains("changed while it was copied"), "{said}");
    assert!(filling::is_unfinished(&**to.engine()).await.unwrap());
}

#[tokio::test]
async fn an_entry_that_is_not_the_same_in_the_end_keeps_the_target_closed() {
    let (_from, from) = full().await;
    let snapshot = from.engine().snapshot().await.unwrap();
    let sums = filling::sums(&*snapshot, &mut |_| {}).await.unwrap();
    let (_to, to) = fixture::store();
    let mut filling = Filling::begin(to.engine().clone(), sums.fingerprint())
        .await
        .unwrap();
    copy(&*snapshot, &mut filling, &mut ()).await.unwrap();
    write(&to, 3, "a bit fell over").await;
    let Err(FillError::Differs(tables)) = filling.verify(&sums, &mut |_| {}).await else {
        panic!("it was not noticed")
    };
    assert_eq!(tables, [0, 9001, 9002]);
    filling.finish(Vec::new()).await.unwrap_err();
    assert!(filling::is_unfinished(&**to.engine()).await.unwrap());
}

#[tokio::test]
async fn an_empty_source_and_an_unfinished_one_are_refused() {
    let (_from, from) = fixture::store();
    let (_to, to) = fixture::store();
    assert!(sentence(migrate(&from, &to).await).contains("nothing in the source"));
    Filling::begin(from.engine().clone(), [7; 32])
        .await
        .unwrap();
    assert!(sentence(migrate(&from, &to).await).contains("The source is not whole"));
}

#[tokio::test]
async fn no_server_starts_on_a_store_that_is_not_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.server.data = directory.path().join("data");
    start::prepare(&config).unwrap();
    let engine = start::open_engine(&Address::default(), &config)
        .await
        .unwrap();
    let filling = Filling::begin(engine, [7; 32]).await.unwrap();
    drop(filling);
    for opened in [
        start::open(config.clone(), start::Options::default())
            .await
            .err(),
        start::open_existing(config, start::Options::default(), true)
            .await
            .err(),
    ] {
        let said = opened.unwrap().to_string();
        assert!(said.starts_with("The store is not whole"), "{said}");
    }
}

async fn keep(blobs: &Blobs, id: &str, bytes: &[u8]) {
    let mut writer = blobs.writer(id).await.unwrap();
    writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    writer.finish().await.unwrap();
}

fn places(directory: &Path) -> (Blobs, Blobs) {
    let open = |name| Blobs::open(&directory.join(name)).unwrap();
    (open("from"), open("to"))
}

#[tokio::test]
async fn blobs_are_copied_once_and_a_damaged_one_again() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = places(directory.path());
    let ids = ["a", "b", "c"].map(|letter| letter.repeat(40));
    for (id, size) in ids.iter().zip([0, 1, 300_000]) {
        keep(&from, id, &vec![7; size]).await;
    }
    keep(&to, &ids[0], b"").await;
    keep(&to, &ids[1], b"x").await;
    let copied = copy_blobs(&from, &to, &mut ()).await.unwrap();
    assert_eq!((copied.blobs, copied.bytes, copied.there), (3, 300_001, 1));
    for id in &ids {
        let hashes = (hash_blob(&from, id).await, hash_blob(&to, id).await);
        assert_eq!(hashes.0.unwrap().unwrap(), hashes.1.unwrap().unwrap());
    }
    assert_eq!(copy_blobs(&from, &to, &mut ()).await.unwrap().there, 3);
}
