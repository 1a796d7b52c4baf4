//! The face that the nouns use: tables, lists, transactions.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::*;
use crate::store::{List, Numbered, Page, Store, Table};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    name: String,
    devices: Vec<u32>,
    invited_by: Option<String>,
}

const ACCOUNTS: Table<String, Account> = Table::new(1001, "accounts");
const SHIFTS: Table<(String, u64), String> = Table::new(1002, "shifts");
const COUNTER: Table<(), u64> = Table::new(1003, "counter");
const ROOM: List<String, String> = List::new(1004, "room");
const INBOX: List<String, Numbered<String>> = List::new(1005, "inbox");
const POSITIONS: Table<String, Numbered<u8>> = Table::new(1006, "positions");
const STATE: Table<(String, String, u64), u8> = Table::new(1007, "state");

async fn write(store: &Store, body: impl Fn(&mut crate::store::Tx) -> Result<(), StoreError>) {
    store
        .transact(|mut tx| {
            let written = body(&mut tx);
            async move { written.map(|()| (tx, ())) }
        })
        .await
        .unwrap_or_else(|error: StoreError| panic!("{error}"));
}

pub(super) async fn a_value_is_found_by_its_key(engine: Arc<dyn Engine>) {
    let store = Store::new(engine);
    let nurse = Account {
        name: "night nurse".to_owned(),
        devices: vec![1, 70_000],
        invited_by: None,
    };
    let therapist = Account {
        name: String::new(),
        devices: vec![],
        invited_by: Some("operator".to_owned()),
    };
    write(&store, |tx| {
        tx.put(&ACCOUNTS, "nurse", &nurse)?;
        tx.put(&ACCOUNTS, "therapist", &therapist)
    })
    .await;
    assert_eq!(
        store.get(&ACCOUNTS, "nurse").await.unwrap().as_ref(),
        Some(&nurse)
    );
    assert_eq!(store.get(&ACCOUNTS, "nurs").await.unwrap(), None);
    let many = store
        .get_many(&ACCOUNTS, ["therapist", "nobody", "nurse"])
        .await
        .unwrap();
    assert_eq!(many, [Some(therapist), None, Some(nurse)]);
    assert_eq!(
        store
            .get_many::<String, Account, &str>(&ACCOUNTS, [])
            .await
            .unwrap(),
        []
    );

    write(&store, |tx| {
        tx.delete(&ACCOUNTS, "nurse");
        Ok(())
    })
    .await;
    assert_eq!(store.get(&ACCOUNTS, "nurse").await.unwrap(), None);
}

pub(super) async fn tables_are_read_in_the_order_of_their_keys(engine: Arc<dyn Engine>) {
    let store = Store::new(engine);
    let keys = [
        ("a", 1),
        ("a", 255),
        ("a", 256),
        ("a\0", 0),
        ("ab", 2),
        ("b", u64::MAX),
        ("ü", 3),
    ];
    write(&store, |tx| {
        keys.iter()
            .rev()
            .try_for_each(|(name, number)| tx.put(&SHIFTS, (*name, *number), &(*name).to_owned()))
    })
    .await;
    let names = |found: Vec<((String, u64), String)>| {
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let expected = |range: &[(&str, u64)]| {
        range
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect::<Vec<_>>()
    };

    let found = store.scan(&SHIFTS, (), Page::first(100)).await.unwrap();
    assert_eq!(names(found), expected(&keys));
    let found = store.scan(&SHIFTS, ("a",), Page::first(100)).await.unwrap();
    assert_eq!(names(found), expected(&keys[..3]));
    let found = store.scan(&SHIFTS, ("a",), Page::last(2)).await.unwrap();
    assert_eq!(names(found), expected(&[keys[2], keys[1]]));
    let found = store
        .scan_after(&SHIFTS, (), ("a", 256), Page::first(2))
        .await
        .unwrap();
    assert_eq!(names(found), expected(&keys[3..5]));
    let found = store
        .scan_after(&SHIFTS, ("a",), ("a", 256), Page::last(9))
        .await
        .unwrap();
    assert_eq!(names(found), expected(&[keys[1], keys[0]]));
}

pub(super) async fn a_list_is_read_from_any_position(engine: Arc<dyn Engine>) {
    let store = Store::new(engine);
    write(&store, |tx| {
        for n in 1..=300 {
            tx.append(&ROOM, "ward", &format!("message {n}"))?;
            tx.append(&ROOM, "ward 2", &"elsewhere".to_owned())?;
        }
        Ok(())
    })
    .await;
    let numbers = |found: Vec<(u64, String)>| -> Vec<u64> {
        let check = |(n, text)| {
            assert_eq!(text, format!("message {n}"));
            n
        };
        found.into_iter().map(check).collect()
    };
    assert_eq!(store.head(&ROOM, "ward").await.unwrap(), 300);
    assert_eq!(store.head(&ROOM, "war").await.unwrap(), 0);
    assert_eq!(
        numbers(store.after(&ROOM, "ward", 0, 3).await.unwrap()),
        [1, 2, 3]
    );
    assert_eq!(
        numbers(store.after(&ROOM, "ward", 255, 3).await.unwrap()),
        [256, 257, 258]
    );
    assert_eq!(
        numbers(store.after(&ROOM, "ward", 300, 3).await.unwrap()),
        [0; 0]
    );
    assert_eq!(
        numbers(store.before(&ROOM, "ward", u64::MAX, 2).await.unwrap()),
        [300, 299]
    );
    assert_eq!(
        numbers(store.before(&ROOM, "ward", 257, 2).await.unwrap()),
        [256, 255]
    );
    assert_eq!(
        numbers(store.before(&ROOM, "ward", 1, 2).await.unwrap()),
        [0; 0]
    );

    write(&store, |tx| {
        tx.replace(&ROOM, "ward", 7, &"redacted".to_owned())?;
        tx.remove(&ROOM, "ward", 8);
        Ok(())
    })
    .await;
    let found = store.entries(&ROOM, "ward", &[9, 7, 8, 301]).await.unwrap();
    assert_eq!(
        found,
        [
            Some("message 9".to_owned()),
            Some("redacted".to_owned()),
            None,
            None
        ]
    );
}

pub(super) async fn a_transaction_runs_again_until_nothing_has_changed(engine: Arc<dyn Engine>) {
    const COUNTS: u64 = 16;
    let store = Store::new(engine);
    let runs = Arc::new(AtomicUsize::new(0));
    let mut counting = JoinSet::new();
    for _ in 0..COUNTS {
        let (store, runs) = (store.clone(), runs.clone());
        counting.spawn(async move {
            let counted = store.transact(|mut tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                async move {
                    let count = tx.get(&COUNTER, ()).await?.unwrap_or_default() + 1;
                    tx.put(&COUNTER, (), &count)?;
                    Ok::<_, StoreError>((tx, count))
                }
            });
            counted.await.unwrap().value
        });
    }
    let mut counts = counting.join_all().await;
    counts.sort_unstable();
    assert!(counts.into_iter().eq(1..=COUNTS));
    assert_eq!(store.get(&COUNTER, ()).await.unwrap(), Some(COUNTS));
    assert!(runs.load(Ordering::Relaxed) >= COUNTS as usize);
}

pub(super) async fn an_error_in_a_transaction_writes_nothing(engine: Arc<dyn Engine>) {
    let store = Store::new(engine);
    let result = store
        .transact(|mut tx| async move {
            tx.put(&COUNTER, (), &1)?;
            tx.append(&ROOM, "ward", &"never".to_owned())?;
            let refused: Result<(crate::store::Tx, ()), _> =
                Err(StoreError::Unavailable("no".to_owned()));
            refused
        })
        .await;
    assert!(matches!(result, Err(StoreError::Unavailable(_))));
    assert_eq!(store.get(&COUNTER, ()).await.unwrap(), None);
    assert_eq!(store.head(&ROOM, "ward").await.unwrap(), 0);
}

pub(super) async fn values_and_keys_carry_the_numbers_of_appends(engine: Arc<dyn Engine>) {
    let store = Store::new(engine);
    for round in 1..=3u64 {
        let sent = store.transact(|mut tx| async move {
            let event = tx.append(&ROOM, "ward", &"event".to_owned())?;
            tx.append_numbered(&INBOX, "nurse", "ward".to_owned(), event)?;
            tx.put_numbered(&POSITIONS, "event id", 7, event)?;
            tx.put_at(&STATE, ("ward", "name"), event, &9)?;
            Ok::<_, StoreError>((tx, event))
        });
        let sent = sent.await.unwrap();
        assert_eq!(sent.number(sent.value), round);
    }
    let inbox = store.after(&INBOX, "nurse", 0, 9).await.unwrap();
    assert!(
        inbox
            .into_iter()
            .eq((1..=3).map(|n| (n, Numbered::new("ward".to_owned(), n))))
    );
    let position = store.get(&POSITIONS, "event id").await.unwrap().unwrap();
    assert_eq!((position.value, position.number()), (7, 3));
    let state = store
        .scan(&STATE, ("ward", "name"), Page::last(1))
        .await
        .unwrap();
    assert_eq!(state, [(("ward".to_owned(), "name".to_owned(), 3), 9)]);
}

pub(super) async fn a_subscriber_sees_the_list_grow(engine: Arc<dyn Engine>) {
    let store = Store::new(engine);
    let mut watch = store.watch(&ROOM, "ward");
    write(&store, |tx| {
        tx.append(&ROOM, "ward", &"hello".to_owned()).map(drop)
    })
    .await;
    watch.grown().await;
    assert_eq!(store.head(&ROOM, "ward").await.unwrap(), 1);
}
