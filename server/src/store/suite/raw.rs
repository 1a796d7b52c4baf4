//! The engine's own face: bytes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    prelude::{Strategy, any},
    sample::select,
    strategy::ValueTree,
    test_runner::TestRunner,
};
use tokio::task::JoinSet;

use super::*;
use crate::store::engine::head_key;

const ALL: usize = 1_000_000;

fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put {
        key: Cell::plain(key.to_vec()),
        value: Cell::plain(value.to_vec()),
    }
}

fn delete(key: &[u8]) -> Write {
    Write::Delete { key: key.to_vec() }
}

fn append(list: &[u8], value: &[u8]) -> Write {
    Write::Append {
        list: list.to_vec(),
        value: Cell::plain(value.to_vec()),
    }
}

fn expect(key: &[u8], expected: Option<&[u8]>) -> Check {
    Check {
        key: key.to_vec(),
        expected: expected.map(<[u8]>::to_vec),
    }
}

async fn commit(engine: &Arc<dyn Engine>, writes: Vec<Write>) -> Vec<u64> {
    commit_if(engine, vec![], writes).await.unwrap()
}

async fn commit_if(
    engine: &Arc<dyn Engine>,
    checks: Vec<Check>,
    writes: Vec<Write>,
) -> Result<Vec<u64>, StoreError> {
    engine.commit(WriteSet { checks, writes }).await
}

async fn get(engine: &Arc<dyn Engine>, key: &[u8]) -> Option<Vec<u8>> {
    engine.get(vec![key.to_vec()]).await.unwrap().pop().unwrap()
}

async fn scan(
    engine: &Arc<dyn Engine>,
    prefix: &[u8],
    limit: usize,
    backwards: bool,
) -> Vec<Vec<u8>> {
    let found = engine
        .scan(Span::prefix(prefix.to_vec(), limit, backwards))
        .await
        .unwrap();
    found.into_iter().map(|(key, _)| key).collect()
}

async fn everything(engine: &Arc<dyn Engine>) -> Vec<Pair> {
    engine
        .snapshot()
        .await
        .unwrap()
        .page(None, ALL)
        .await
        .unwrap()
}

pub(super) async fn entries_come_in_order_from_both_ends(engine: Arc<dyn Engine>) {
    let keys: [&[u8]; 9] = [
        b"a",
        b"a\x00",
        b"a\x00\xff",
        b"a\xff",
        b"a\xff\xff",
        b"b",
        b"\xfe",
        b"\xff",
        b"\xff\xff\x00",
    ];
    for key in keys.iter().rev() {
        commit(&engine, vec![put(key, key)]).await;
    }
    assert_eq!(scan(&engine, b"", ALL, false).await, keys);
    assert_eq!(scan(&engine, b"a", ALL, false).await, keys[..5]);
    assert_eq!(scan(&engine, b"a\xff", ALL, false).await, keys[3..5]);
    assert_eq!(scan(&engine, b"\xff", ALL, false).await, keys[7..]);
    assert_eq!(scan(&engine, b"\xff\xff", ALL, false).await, keys[8..]);
    assert_eq!(scan(&engine, b"", 2, false).await, keys[..2]);
    assert_eq!(scan(&engine, b"", 2, true).await, [keys[8], keys[7]]);
    assert_eq!(scan(&engine, b"a", 2, true).await, [keys[4], keys[3]]);
    assert_eq!(scan(&engine, b"c", ALL, true).await, [b""; 0]);
    assert_eq!(scan(&engine, b"", 0, false).await, [b""; 0]);
}

pub(super) async fn spans_find_what_a_sorted_map_finds(engine: Arc<dyn Engine>) {
    let mut runner = TestRunner::deterministic();
    let byte = || select(vec![0, 1, 0x7f, 0xfe, 0xff]);
    let key = || proptest::collection::vec(byte(), 1..4);
    let mut model = BTreeMap::new();
    for n in 0..150u8 {
        let key = key().new_tree(&mut runner).unwrap().current();
        commit(&engine, vec![put(&key, &[n])]).await;
        model.insert(key, vec![n]);
    }
    let spans = (
        proptest::collection::vec(byte(), 0..3),
        1..20usize,
        any::<bool>(),
        proptest::option::of(key()),
    );
    for _ in 0..300 {
        let (prefix, limit, backwards, after) = spans.new_tree(&mut runner).unwrap().current();
        let mut expected: Vec<Pair> = model
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .filter(|(key, _)| {
                after.as_ref().is_none_or(|after| {
                    if backwards {
                        *key < after
                    } else {
                        *key > after
                    }
                })
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if backwards {
            expected.reverse();
        }
        expected.truncate(limit);
        let mut span = Span::prefix(prefix, limit, backwards);
        if let Some(after) = after {
            span = span.starting_after(after);
        }
        assert_eq!(
            engine.scan(span.clone()).await.unwrap(),
            expected,
            "{span:?}"
        );
    }
}

pub(super) async fn a_scan_goes_on_after_any_key(engine: Arc<dyn Engine>) {
    for n in 0..10u8 {
        commit(&engine, vec![put(&[7, n * 2], b"")]).await;
    }
    for (backwards, after, expected) in [
        (false, [7, 4], [7, 6]),
        (false, [7, 5], [7, 6]),
        (true, [7, 4], [7, 2]),
        (true, [7, 5], [7, 4]),
    ] {
        let span = Span::prefix(vec![7], 1, backwards).starting_after(after.to_vec());
        assert_eq!(engine.scan(span).await.unwrap()[0].0, expected);
    }
    let beyond = Span::prefix(vec![7], 5, false).starting_after(vec![8]);
    assert_eq!(engine.scan(beyond).await.unwrap(), []);
    let before = Span::prefix(vec![7], 5, true).starting_after(vec![6]);
    assert_eq!(engine.scan(before).await.unwrap(), []);
}

pub(super) async fn values_are_replaced_and_removed(engine: Arc<dyn Engine>) {
    commit(&engine, vec![put(b"name", b"first"), put(b"other", b"")]).await;
    commit(&engine, vec![put(b"name", b"second")]).await;
    assert_eq!(get(&engine, b"name").await.unwrap(), b"second");
    assert_eq!(get(&engine, b"other").await.unwrap(), b"");
    commit(&engine, vec![delete(b"name"), delete(b"never there")]).await;
    assert_eq!(get(&engine, b"name").await, None);
    let found = engine
        .get(vec![b"name".to_vec(), b"other".to_vec(), b"other".to_vec()])
        .await;
    assert_eq!(found.unwrap(), [None, Some(vec![]), Some(vec![])]);
}

pub(super) async fn writes_of_a_commit_happen_in_order(engine: Arc<dyn Engine>) {
    commit(
        &engine,
        vec![
            put(b"a", b"1"),
            delete(b"a"),
            put(b"b", b"1"),
            put(b"b", b"2"),
        ],
    )
    .await;
    commit(&engine, vec![delete(b"c"), put(b"c", b"3")]).await;
    assert_eq!(get(&engine, b"a").await, None);
    assert_eq!(get(&engine, b"b").await.unwrap(), b"2");
    assert_eq!(get(&engine, b"c").await.unwrap(), b"3");
    assert_eq!(commit(&engine, vec![]).await, [0; 0]);
}

pub(super) async fn lists_number_their_entries_without_gaps(engine: Arc<dyn Engine>) {
    assert_eq!(engine.head(b"room".to_vec()).await.unwrap(), 0);
    let numbers = commit(
        &engine,
        vec![
            append(b"room", b"x"),
            append(b"inbox", b"y"),
            append(b"room", b"z"),
        ],
    );
    assert_eq!(numbers.await, [1, 1, 2]);
    assert_eq!(commit(&engine, vec![append(b"room", b"w")]).await, [3]);
    assert_eq!(engine.head(b"room".to_vec()).await.unwrap(), 3);
    assert_eq!(engine.head(b"inbox".to_vec()).await.unwrap(), 1);
    assert_eq!(
        get(&engine, &head_key(b"room")).await.unwrap(),
        3u64.to_be_bytes()
    );
    let entries = engine
        .scan(Span::prefix(b"room".to_vec(), ALL, false))
        .await
        .unwrap();
    let expected = [(1, b"x"), (2, b"z"), (3, b"w")];
    assert_eq!(
        entries,
        expected.map(|(number, value)| (Cell::number(b"room".to_vec(), number), value.to_vec()))
    );
}

pub(super) async fn many_writers_leave_no_gap_and_see_no_gap(engine: Arc<dyn Engine>) {
    const WRITERS: u64 = 64;
    const EACH: u64 = 8;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let engine = engine.clone();
        writers.spawn(async move {
            let own = format!("inbox {writer}").into_bytes();
            let mut given = Vec::new();
            for n in 1..=EACH {
                let numbers = commit(
                    &engine,
                    vec![append(b"room", b"hello"), append(&own, b"hello")],
                )
                .await;
                assert_eq!(numbers[1], n);
                // What is acknowledged is visible, and everything before it too.
                assert!(engine.head(b"room".to_vec()).await.unwrap() >= numbers[0]);
                let seen = scan(&engine, b"room", ALL, false).await;
                let expected =
                    (1..=seen.len() as u64).map(|number| Cell::number(b"room".to_vec(), number));
                assert!(seen.len() as u64 >= numbers[0] && seen.iter().cloned().eq(expected));
                given.push(numbers[0]);
            }
            given
        });
    }
    let given: BTreeSet<u64> = writers.join_all().await.into_iter().flatten().collect();
    assert!(given.into_iter().eq(1..=WRITERS * EACH));
}

pub(super) async fn a_number_is_never_given_twice(engine: Arc<dyn Engine>) {
    commit(&engine, vec![append(b"room", b"x"), append(b"room", b"y")]).await;
    let entry = |number| Cell::number(b"room".to_vec(), number);
    commit(&engine, vec![delete(&entry(1)), delete(&entry(2))]).await;
    assert_eq!(engine.head(b"room".to_vec()).await.unwrap(), 2);
    assert_eq!(commit(&engine, vec![append(b"room", b"z")]).await, [3]);
    assert_eq!(scan(&engine, b"room", ALL, false).await, [entry(3)]);
}

/// As migrations and restores do it: entries and head are put under their keys.
pub(super) async fn a_list_that_was_copied_goes_on_where_it_was(engine: Arc<dyn Engine>) {
    let entry = Cell::number(b"room".to_vec(), 5);
    let head = head_key(b"room");
    commit(
        &engine,
        vec![put(&head, &5u64.to_be_bytes()), put(&entry, b"copied")],
    )
    .await;
    assert_eq!(engine.head(b"room".to_vec()).await.unwrap(), 5);
    assert_eq!(commit(&engine, vec![append(b"room", b"new")]).await, [6]);
    assert_eq!(engine.head(b"room".to_vec()).await.unwrap(), 6);
    let snapshot = engine.snapshot().await.unwrap();
    let heads = snapshot.page(None, 1).await.unwrap();
    assert_eq!(heads, [(head, 6u64.to_be_bytes().to_vec())]);
}

pub(super) async fn lists_do_not_mix(engine: Arc<dyn Engine>) {
    let lists: [&[u8]; 4] = [
        b"\x00\x05",
        b"\x00\x05a\x00\x01",
        b"\x00\x05ab\x00\x01",
        b"\xff\xff",
    ];
    for (n, list) in lists.iter().enumerate() {
        for _ in 0..=n {
            commit(&engine, vec![append(list, b"")]).await;
        }
    }
    for (n, list) in lists.iter().enumerate() {
        assert_eq!(engine.head(list.to_vec()).await.unwrap(), n as u64 + 1);
    }
}

pub(super) async fn a_commit_happens_only_if_its_checks_hold(engine: Arc<dyn Engine>) {
    commit(&engine, vec![put(b"present", b"1")]).await;
    for (name, check, holds) in [
        ("same value", expect(b"present", Some(b"1")), true),
        ("other value", expect(b"present", Some(b"2")), false),
        ("longer value", expect(b"present", Some(b"11")), false),
        ("empty value", expect(b"present", Some(b"")), false),
        ("not absent", expect(b"present", None), false),
        ("still absent", expect(b"absent", None), true),
        ("not there", expect(b"absent", Some(b"")), false),
    ] {
        let before = everything(&engine).await;
        let checks = vec![expect(b"present", Some(b"1")), check];
        let writes = vec![
            put(b"written", name.as_bytes()),
            append(b"room", b""),
            delete(b"present"),
        ];
        let result = commit_if(&engine, checks, writes).await;
        if holds {
            result.unwrap();
            assert_eq!(get(&engine, b"written").await.unwrap(), name.as_bytes());
            commit(&engine, vec![put(b"present", b"1")]).await;
        } else {
            assert!(
                matches!(result, Err(StoreError::Conflict)),
                "{name}: {result:?}"
            );
            assert_eq!(everything(&engine).await, before, "{name}");
        }
    }
    let only_checks = commit_if(&engine, vec![expect(b"present", None)], vec![]).await;
    assert!(matches!(only_checks, Err(StoreError::Conflict)));
}

pub(super) async fn of_many_who_claim_a_key_one_gets_it(engine: Arc<dyn Engine>) {
    let mut claims = JoinSet::new();
    for claim in 0..64u8 {
        let engine = engine.clone();
        claims.spawn(async move {
            let writes = vec![put(b"code", &[claim]), append(b"accounts", &[claim])];
            match commit_if(&engine, vec![expect(b"code", None)], writes).await {
                Ok(_) => Some(claim),
                Err(StoreError::Conflict) => None,
                Err(other) => panic!("{other}"),
            }
        });
    }
    let winners: Vec<u8> = claims.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(get(&engine, b"code").await.unwrap(), winners);
    assert_eq!(engine.head(b"accounts".to_vec()).await.unwrap(), 1);
}

pub(super) async fn numbers_go_into_keys_and_values(engine: Arc<dyn Engine>) {
    commit(&engine, vec![append(b"room", b""), append(b"room", b"")]).await;
    let cell = |bytes: &[u8], append| Cell {
        bytes: bytes.to_vec(),
        number_of: Some(append),
    };
    let numbers = commit(
        &engine,
        vec![
            append(b"room", b"event"),
            Write::Append {
                list: b"inbox".to_vec(),
                value: cell(b"see ", 0),
            },
            Write::Put {
                key: cell(b"state ", 0),
                value: cell(b"in ", 1),
            },
        ],
    );
    assert_eq!(numbers.await, [3, 1]);
    let with = |bytes: &[u8], number| Cell::number(bytes.to_vec(), number);
    assert_eq!(
        get(&engine, &with(b"inbox", 1)).await.unwrap(),
        with(b"see ", 3)
    );
    assert_eq!(
        get(&engine, &with(b"state ", 3)).await.unwrap(),
        with(b"in ", 1)
    );
}

pub(super) async fn a_number_that_is_not_given_yet_is_refused(engine: Arc<dyn Engine>) {
    let own = Cell {
        bytes: vec![],
        number_of: Some(0),
    };
    let itself = Write::Append {
        list: b"room".to_vec(),
        value: own.clone(),
    };
    let early = Write::Put {
        key: Cell::plain(b"a".to_vec()),
        value: own,
    };
    for writes in [vec![itself], vec![early, append(b"room", b"")]] {
        let result = commit_if(&engine, vec![], writes).await;
        assert!(matches!(result, Err(StoreError::Damaged(_))), "{result:?}");
    }
    assert_eq!(everything(&engine).await, []);
}

pub(super) async fn a_batch_is_read_from_one_moment(engine: Arc<dyn Engine>) {
    commit(&engine, vec![put(b"here", b"0"), put(b"there", b"0")]).await;
    let writer = tokio::spawn({
        let engine = engine.clone();
        async move {
            for n in 1..=200u8 {
                commit(&engine, vec![put(b"here", &[n]), put(b"there", &[n])]).await;
            }
        }
    });
    while !writer.is_finished() {
        let found = engine
            .get(vec![b"here".to_vec(), b"there".to_vec()])
            .await
            .unwrap();
        assert_eq!(found[0], found[1]);
        let scanned = engine.scan(Span::prefix(vec![], 2, false)).await.unwrap();
        assert_eq!(scanned[0].1, scanned[1].1);
    }
    writer.await.unwrap();
}

pub(super) async fn large_values_are_kept(engine: Arc<dyn Engine>) {
    let large: Vec<u8> = (0..1u32 << 20).map(|n| (n % 253) as u8).collect();
    commit(
        &engine,
        vec![
            put(b"large", &large),
            append(b"room", &large),
            put(b"small", b"1"),
        ],
    )
    .await;
    assert_eq!(get(&engine, b"large").await.unwrap(), large);
    assert_eq!(
        get(&engine, &Cell::number(b"room".to_vec(), 1))
            .await
            .unwrap(),
        large
    );
    let check = vec![expect(b"large", Some(&large))];
    commit_if(&engine, check, vec![delete(b"large")])
        .await
        .unwrap();
    assert_eq!(get(&engine, b"large").await, None);
    assert_eq!(get(&engine, b"small").await.unwrap(), b"1");
}

pub(super) async fn a_waiting_reader_misses_nothing(engine: Arc<dyn Engine>) {
    const MESSAGES: u64 = 300;
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let engine = engine.clone();
        readers.spawn(async move {
            let mut seen = 0;
            while seen < MESSAGES {
                let mut watch = engine.watch(b"room".to_vec());
                let head = engine.head(b"room".to_vec()).await.unwrap();
                if head == seen {
                    watch.grown().await;
                }
                seen = head;
            }
        });
    }
    for _ in 0..MESSAGES {
        commit(&engine, vec![append(b"room", b"hello")]).await;
    }
    readers.join_all().await;
}

pub(super) async fn only_growth_wakes_a_reader(engine: Arc<dyn Engine>) {
    use futures_util::FutureExt;
    commit(&engine, vec![append(b"room", b"before")]).await;
    let mut watch = engine.watch(b"room".to_vec());
    let entry = Cell::number(b"room".to_vec(), 1);
    commit(
        &engine,
        vec![
            append(b"other room", b""),
            put(&entry, b"redacted"),
            delete(&entry),
        ],
    )
    .await;
    assert!(watch.grown().now_or_never().is_none());
    let refused = vec![expect(b"absent", Some(b""))];
    commit_if(&engine, refused, vec![append(b"room", b"")])
        .await
        .unwrap_err();
    assert!(watch.grown().now_or_never().is_none());
    commit(&engine, vec![append(b"room", b"")]).await;
    watch.grown().await;
    assert!(watch.grown().now_or_never().is_none());
}

pub(super) async fn a_commit_that_nobody_waits_for_happens_or_not_as_a_whole(
    engine: Arc<dyn Engine>,
) {
    for n in 0..100u8 {
        let commit = tokio::spawn({
            let engine = engine.clone();
            async move {
                commit(
                    &engine,
                    vec![put(&[1, n], b""), append(b"room", b""), put(&[2, n], b"")],
                )
                .await
            }
        });
        for _ in 0..n % 5 {
            tokio::task::yield_now().await;
        }
        commit.abort();
    }
    commit(&engine, vec![put(b"last", b"")]).await;
    let first = scan(&engine, &[1], ALL, false).await;
    let second = scan(&engine, &[2], ALL, false).await;
    assert!(
        first
            .iter()
            .map(|key| key[1])
            .eq(second.iter().map(|key| key[1]))
    );
    assert_eq!(
        engine.head(b"room".to_vec()).await.unwrap(),
        first.len() as u64
    );
}

pub(super) async fn a_snapshot_stays_as_it_was(engine: Arc<dyn Engine>) {
    for n in 0..50u8 {
        commit(&engine, vec![put(&[9, n], b"old"), append(b"room", b"old")]).await;
    }
    let before = everything(&engine).await;
    assert!(
        before
            .iter()
            .any(|(key, value)| *key == head_key(b"room") && *value == 50u64.to_be_bytes())
    );
    let snapshot = engine.snapshot().await.unwrap();
    let mut pages = snapshot.page(None, 7).await.unwrap();
    for n in 0..60u8 {
        commit(
            &engine,
            vec![
                put(&[9, n], b"new"),
                append(b"room", b"new"),
                delete(&[9, n / 2]),
            ],
        )
        .await;
        let page = snapshot
            .page(pages.last().map(|(key, _)| key.clone()), 7)
            .await
            .unwrap();
        pages.extend(page);
    }
    assert_eq!(pages, before);
    assert_ne!(everything(&engine).await, before);
}

pub(super) async fn what_was_committed_is_there_after_reopening(place: impl Place) {
    let engine = place.open().await;
    for n in 0..20u8 {
        commit(
            &engine,
            vec![
                put(&[9, n], b"kept"),
                append(b"room", b"kept"),
                delete(&[9, n / 2]),
            ],
        )
        .await;
    }
    let before = everything(&engine).await;
    drop(engine);
    let engine = place.open().await;
    assert_eq!(everything(&engine).await, before);
    assert_eq!(commit(&engine, vec![append(b"room", b"")]).await, [21]);
}
