//! A database that is cut off, stopped, or hangs.

use std::sync::atomic::{AtomicU64, Ordering};

use respite_outside::{part::POSTGRESQL, wire::Wire};
use tokio::{sync::Notify, time::timeout};

use super::*;

/// How often the connections are cut, half of the times so that commits happen and nobody hears of it.
const CUTS: u64 = 30;

/// How many commits are acknowledged between two cuts.
const BETWEEN: u64 = 10;

/// An engine that has less patience than usual.
async fn impatient(url: &str) -> Postgres {
    let waits = Waits {
        connection: Duration::from_secs(2),
        read: Duration::from_secs(2),
        group: Duration::from_secs(2),
        look: Duration::from_millis(100),
    };
    Postgres::open_with(url, waits).await.unwrap()
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

/// An entry and a row of its own for it: both are there or neither.
fn twofold(value: &[u8]) -> WriteSet {
    let mut writes = append(value);
    writes.writes.push(put(value, b"whole"));
    writes
}

/// What a writer was told of its commits.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(u64, String)>,
    unknown: Vec<String>,
}

async fn writes_until(
    engine: &Postgres,
    writer: usize,
    acknowledged: &AtomicU64,
    more: &Notify,
    end: u64,
) -> Told {
    let mut told = Told::default();
    for number in 0.. {
        if acknowledged.load(Ordering::Acquire) >= end {
            break;
        }
        let value = format!("{writer} {number}");
        match engine.commit(twofold(value.as_bytes())).await {
            Ok(numbers) => {
                told.acknowledged.push((numbers[0], value));
                acknowledged.fetch_add(1, Ordering::AcqRel);
                more.notify_one();
            }
            Err(StoreError::Unavailable(_)) => told.unknown.push(value),
            Err(error) => panic!("{error}"),
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_in_the_middle_of_commits_lose_and_repeat_nothing() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let wire = Wire::to(&cluster.address()).unwrap();
    let url = cluster.through(&wire, &cluster.fresh().unwrap()).unwrap();
    let engine = Postgres::open(&url).await.unwrap();
    let (acknowledged, more) = (AtomicU64::new(0), Notify::new());
    let end = (CUTS + 1) * BETWEEN;
    let writers = (0..8).map(|writer| writes_until(&engine, writer, &acknowledged, &more, end));
    let cutting = async {
        for cut in 1..=CUTS {
            while acknowledged.load(Ordering::Acquire) < cut * BETWEEN {
                more.notified().await;
            }
            tokio::task::block_in_place(|| match cut % 2 {
                0 => wire.cut(),
                _ => wire.cut_answers(),
            });
        }
    };
    let (told, ()) = patiently(async { tokio::join!(join_all(writers), cutting) }).await;
    // It has gone on by itself.
    engine.commit(twofold(b"last")).await.unwrap();

    let found = entries(&engine).await;
    let times = |value: &str| {
        found
            .iter()
            .filter(|found| *found == value.as_bytes())
            .count()
    };
    let mut unheard = 0;
    for told in told {
        for (number, value) in told.acknowledged {
            let there = &found[usize::try_from(number).unwrap() - 1];
            assert_eq!(there, value.as_bytes());
            assert_eq!(times(&value), 1, "{value}");
        }
        for value in told.unknown {
            unheard += times(&value);
            assert!(times(&value) <= 1, "{value}");
            let whole = self::value(&engine, value.as_bytes()).await.is_some();
            assert_eq!(times(&value) == 1, whole, "{value}");
        }
    }
    assert!(unheard > 0, "no commit happened unheard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_stopped_is_unavailable_until_it_is_back() {
    if !POSTGRESQL.is_there() {
        return;
    }
    let cluster = Cluster::start(&[]).unwrap();
    let engine = Postgres::open(&cluster.fresh().unwrap()).await.unwrap();
    for round in 1..=2 {
        engine.commit(append(b"up")).await.unwrap();
        cluster.stop().unwrap();
        assert!(is_unavailable(&engine.commit(append(b"down")).await));
        assert!(is_unavailable(&engine.get(vec![b"key".to_vec()]).await));
        assert!(is_unavailable(&engine.snapshot().await));
        cluster.resume().unwrap();
        assert_eq!(entries(&engine).await.len(), round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_holds_nobody_for_ever() {
    if !POSTGRESQL.is_there() {
        return;
    }
    let cluster = Cluster::start(&[]).unwrap();
    let url = cluster.fresh().unwrap();
    let engine = impatient(&url).await;
    let writer_alone = impatient(&url).await;
    engine.commit(append(b"before")).await.unwrap();
    let snapshot = engine.snapshot().await.unwrap();
    cluster.freeze().unwrap();
    let (got, head, page, other, committed, first, opened) = timeout(PATIENCE, async {
        tokio::join!(
            engine.get(vec![b"key".to_vec()]),
            engine.head(LIST.to_vec()),
            snapshot.page(None, 10),
            engine.snapshot(),
            engine.commit(append(b"meanwhile")),
            writer_alone.commit(append(b"meanwhile")),
            Postgres::open_with(
                &url,
                Waits {
                    connection: Duration::from_secs(2),
                    ..Waits::default()
                }
            ),
        )
    })
    .await
    .unwrap();
    assert!(is_unavailable(&got), "{got:?}");
    assert!(is_unavailable(&head), "{head:?}");
    assert!(is_unavailable(&page), "{page:?}");
    assert!(is_unavailable(&other));
    assert!(is_unavailable(&committed), "{committed:?}");
    assert!(is_unavailable(&first), "{first:?}");
    assert!(is_unavailable(&opened));
    cluster.thaw().unwrap();
    patiently(async { while engine.commit(append(b"after")).await.is_err() {} }).await;
    let found = entries(&engine).await;
    assert_eq!(found.first().unwrap(), b"before");
    assert!(found.iter().any(|value| value == b"after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_says_nothing_does_not_keep_anybody_from_the_next() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let first = silent.local_addr().unwrap();
    let url = cluster.fresh().unwrap();
    let url = url.replace(
        &cluster.address(),
        &format!("{first},{}", cluster.address()),
    );
    let engine = impatient(&url).await;
    engine.commit(append(b"here")).await.unwrap();
    assert_eq!(entries(&engine).await, [b"here"]);
}
