use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{chunks::CHUNK_BYTES, *};
use crate::store::{
    engine::{Cell, Check, Write},
    suite::{self, Place},
};

const CACHE: usize = 1 << 20;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn engine(&self) -> Sled {
        Sled::open(&self.path(), CACHE).unwrap()
    }
}

impl Place for Folder {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine())
    }
}

fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put {
        key: Cell::plain(key.to_vec()),
        value: Cell::plain(value.to_vec()),
    }
}

async fn write(engine: &Sled, writes: Vec<Write>) {
    let checks = Vec::new();
    engine.commit(WriteSet { checks, writes }).await.unwrap();
}

async fn get(engine: &Sled, key: &[u8]) -> Option<Vec<u8>> {
    engine.get(vec![key.to_vec()]).await.unwrap().pop().unwrap()
}

async fn everything(engine: &Sled) -> Vec<Pair> {
    let span = Span::prefix(Vec::new(), usize::MAX, false);
    engine.scan(span).await.unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_engine_does() {
    suite::run(Folder::new).await;
}

// ---- Values of any length ------------------------------------------------------------------------------------------

fn lengths() -> impl Strategy<Value = usize> {
    let around =
        (0..4usize, 0..5usize).prop_map(|(n, off)| (n * CHUNK_BYTES + off).saturating_sub(2));
    prop_oneof![0..20usize, around, Just(300_000)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_of_any_length_are_replaced_scanned_and_removed(
        steps in proptest::collection::vec((0..6u8, proptest::option::of(lengths())), 1..40),
    ) {
        let place = Folder::new();
        let mut expected = std::collections::BTreeMap::new();
        runtime().block_on(async {
            let engine = place.engine();
            for (n, (key, length)) in steps.into_iter().enumerate() {
                // One key is the beginning of the next.
                let key = vec![1; key as usize];
                match length {
                    Some(length) => {
                        let value: Vec<u8> = (0..length).map(|at| (at * 7 + n) as u8).collect();
                        write(&engine, vec![put(&key, &value)]).await;
                        expected.insert(key, value);
                    }
                    None => {
                        write(&engine, vec![Write::Delete { key: key.clone() }]).await;
                        expected.remove(&key);
                    }
                }
            }
            let mut pairs: Vec<Pair> = expected.clone().into_iter().collect();
            assert_eq!(everything(&engine).await, pairs);
            drop(engine);
            let engine = place.engine();
            pairs.reverse();
            pairs.truncate(4);
            let backwards = engine.scan(Span::prefix(Vec::new(), 4, true)).await.unwrap();
            assert_eq!(backwards, pairs);
            for key in expected.keys() {
                write(&engine, vec![Write::Delete { key: key.clone() }]).await;
            }
        });
        // No chunk is left, and nothing became a blob.
        // sled's threads let go of the file a moment after it was dropped.
        let database = (0..500)
            .find_map(|_| {
                let opened = sled::open(place.path()).ok();
                if opened.is_none() {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                opened
            })
            .unwrap();
        assert_eq!(database.len(), 1);
        assert_eq!(fs::read_dir(place.path().join("blobs")).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_values_as_long_as_a_chunk_become_no_blob() {
    let place = Folder::new();
    let engine = place.engine();
    for n in 0..600u16 {
        let key = [n.to_be_bytes().as_slice(), &[7; 900]].concat();
        write(&engine, vec![put(&key, &vec![n as u8; CHUNK_BYTES])]).await;
    }
    for n in (0..600u16).filter(|n| n % 3 != 0) {
        let key = [n.to_be_bytes().as_slice(), &[7; 900]].concat();
        write(&engine, vec![Write::Delete { key }]).await;
    }
    assert_eq!(everything(&engine).await.len(), 200);
    assert_eq!(fs::read_dir(place.path().join("blobs")).unwrap().count(), 0);
}

// ---- Moments -------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn several_snapshots_each_keep_their_moment() {
    let place = Folder::new();
    let engine = place.engine();
    let long = |n: u8| vec![n; 3 * CHUNK_BYTES + 1];
    let mut snapshots = Vec::new();
    for n in 0..5u8 {
        write(&engine, vec![put(b"same", &long(n)), put(&[9, n], b"new")]).await;
        if n == 3 {
            write(&engine, vec![Write::Delete { key: vec![9, 0] }]).await;
        }
        let snapshot = engine.snapshot().await.unwrap();
        snapshots.push((snapshot, everything(&engine).await));
    }
    write(&engine, vec![put(b"same", b"short"), put(b"last", b"new")]).await;
    for (snapshot, then) in snapshots {
        let mut found = snapshot.page(None, 2).await.unwrap();
        let rest = snapshot.page(Some(found[1].0.clone()), 100).await.unwrap();
        found.extend(rest);
        assert_eq!(found, then);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_ends_when_too_much_has_changed_since() {
    let place = Folder::new();
    let engine = place.engine();
    let large = vec![7; 500 << 10];
    for n in 0..=(moments::MAX_PAST_BYTES / large.len()) as u8 {
        write(&engine, vec![put(&[n], &large)]).await;
    }
    let snapshot = engine.snapshot().await.unwrap();
    for n in 0..=(moments::MAX_PAST_BYTES / large.len()) as u8 {
        assert_eq!(snapshot.page(None, 1).await.unwrap()[0].1, large);
        write(&engine, vec![put(&[n], b"")]).await;
    }
    assert!(matches!(
        snapshot.page(None, 1).await,
        Err(StoreError::Unavailable(_))
    ));
    engine
        .snapshot()
        .await
        .unwrap()
        .page(None, 1)
        .await
        .unwrap();
}

// ---- Opening -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_told_so() {
    let place = Folder::new();
    let first = place.engine();
    assert!(matches!(
        Sled::open(&place.path(), CACHE),
        Err(StoreError::Locked)
    ));
    drop(first);
    place.engine();
}

#[tokio::test]
async fn only_the_owner_can_look_into_it() {
    let place = Folder::new();
    fs::create_dir(place.path()).unwrap();
    let engine = place.engine();
    write(&engine, vec![put(b"key", b"value")]).await;
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.path()), 0o700);
    for name in ["db", "conf", "lock"] {
        assert_eq!(mode(place.path().join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_crash_while_the_store_is_being_made_does_no_harm() {
    let place = Folder::new();
    let unfinished = place.0.path().join("store.new");
    fs::create_dir_all(unfinished.join("blobs")).unwrap();
    fs::write(unfinished.join("db"), [7; 5000]).unwrap();
    place.engine();
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn a_directory_without_its_files_is_refused_and_nothing_is_made_in_it() {
    for lost in ["db", "conf"] {
        let place = Folder::new();
        drop(place.engine());
        fs::remove_file(place.path().join(lost)).unwrap();
        match Sled::open(&place.path(), CACHE) {
            Err(StoreError::Damaged(what)) => assert!(what.contains(lost), "{what}"),
            other => panic!("{lost}: {:?}", other.err()),
        }
        assert!(!place.path().join(lost).exists());
    }
}

#[tokio::test]
async fn a_directory_of_somebody_else_is_left_alone() {
    let place = Folder::new();
    fs::create_dir(place.path()).unwrap();
    fs::write(place.path().join("letter"), "Dear night nurse").unwrap();
    assert!(matches!(
        Sled::open(&place.path(), CACHE),
        Err(StoreError::Damaged(_))
    ));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

// ---- Failures ------------------------------------------------------------------------------------------------------

/// An engine that tells its last words instead of ending the process.
fn mortal(place: &Folder) -> (Sled, Arc<Mutex<Vec<String>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = said.clone();
    let fatal = Fatal::told(move |why| heard.lock().unwrap().push(why.to_owned()));
    let engine = Sled::open_with(&place.path(), CACHE, fatal).unwrap();
    (engine, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_not_whole_stops_everything() {
    let place = Folder::new();
    let engine = place.engine();
    write(
        &engine,
        vec![put(b"note", &vec![7; 3 * CHUNK_BYTES]), put(b"other", b"1")],
    )
    .await;
    drop(engine);
    let database = sled::open(place.path()).unwrap();
    let (chunk, _) = database.scan_prefix([1]).next().unwrap().unwrap();
    database.remove(chunk).unwrap();
    database.flush().unwrap();
    drop(database);

    let (engine, said) = mortal(&place);
    assert_eq!(get(&engine, b"other").await.unwrap(), b"1");
    assert!(matches!(
        engine.get(vec![b"note".to_vec()]).await,
        Err(StoreError::Damaged(_))
    ));
    let words = said.lock().unwrap().clone();
    assert_eq!(words.len(), 1);
    assert!(words[0].contains("not whole"), "{}", words[0]);

    let one = WriteSet {
        checks: Vec::new(),
        writes: vec![put(b"more", b"1")],
    };
    assert!(matches!(
        engine.commit(one).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        engine.get(vec![b"other".to_vec()]).await,
        Err(StoreError::Unavailable(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_stops_everything_and_acknowledges_nothing() {
    let place = Folder::new();
    let (engine, said) = mortal(&place);
    write(&engine, vec![put(b"before", b"1")]).await;
    fs::remove_dir_all(place.path().join("blobs")).unwrap();

    let set = WriteSet {
        checks: vec![Check {
            key: b"before".to_vec(),
            expected: Some(b"1".to_vec()),
        }],
        writes: vec![put(b"before", b"2")],
    };
    engine.commit(set).await.unwrap_err();
    assert_eq!(said.lock().unwrap().len(), 1);
    assert!(engine.get(vec![b"before".to_vec()]).await.is_err());
}

#[test]
fn the_threads_of_sled_are_known_by_their_names() {
    for name in ["sled-io-1", "log flusher"] {
        assert!(is_of_sled(Some(name)), "{name}");
    }
    assert!(!is_of_sled(Some("tokio-runtime-worker")) && !is_of_sled(None));
}
