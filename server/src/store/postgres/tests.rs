mod outages;
mod tls;

use std::collections::BTreeSet;

use futures_util::future::{join_all, try_join_all};
use respite_outside::postgres::Cluster;

use super::*;
use crate::store::{
    engine::{Cell, Check, Write},
    suite::{self, Place},
};

const LIST: &[u8] = b"\0\x01inbox";

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

struct Database(String);

impl Database {
    fn new(cluster: &Cluster) -> Self {
        Self(cluster.fresh().unwrap())
    }

    async fn engine(&self) -> Postgres {
        Postgres::open(&self.0).await.unwrap()
    }

    async fn looked_at_every(&self, look: Duration) -> Postgres {
        let waits = Waits {
            look,
            ..Waits::default()
        };
        Postgres::open_with(&self.0, waits).await.unwrap()
    }
}

impl Place for Database {
    /// It does not look by itself: whoever has begun to wait since the last look would be woken for nothing.
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(self.looked_at_every(PATIENCE * 10).await)
    }
}

fn append(value: &[u8]) -> WriteSet {
    WriteSet {
        checks: vec![],
        writes: vec![Write::Append {
            list: LIST.to_vec(),
            value: Cell::plain(value.to_vec()),
        }],
    }
}

fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put {
        key: Cell::plain(key.to_vec()),
        value: Cell::plain(value.to_vec()),
    }
}

fn only_if(key: &[u8], expected: Option<Vec<u8>>, write: Write) -> WriteSet {
    WriteSet {
        checks: vec![Check {
            key: key.to_vec(),
            expected,
        }],
        writes: vec![write],
    }
}

async fn value(engine: &Postgres, key: &[u8]) -> Option<Vec<u8>> {
    engine.get(vec![key.to_vec()]).await.unwrap().remove(0)
}

/// The list's entries in their order, with no gap in their numbers.
async fn entries(engine: &Postgres) -> Vec<Vec<u8>> {
    let head = engine.head(LIST.to_vec()).await.unwrap();
    let span = Span::prefix(LIST.to_vec(), 1_000_000, false);
    let found = engine.scan(span).await.unwrap();
    let keys: Vec<_> = found.iter().map(|(key, _)| key.clone()).collect();
    let expected: Vec<_> = (1..=head)
        .map(|number| Cell::number(LIST.to_vec(), number))
        .collect();
    assert_eq!(keys, expected);
    found.into_iter().map(|(_, value)| value).collect()
}

async fn patiently<T>(act: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, act).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_engine_does() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    suite::run(|| Database::new(cluster)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_start_at_once_on_an_empty_database_agree() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = Database::new(cluster);
    let engines = join_all((0..6).map(|_| database.engine())).await;
    let commits = engines.iter().map(|engine| engine.commit(append(b"here")));
    let numbers = try_join_all(commits).await.unwrap();
    let numbers: BTreeSet<_> = numbers.into_iter().flatten().collect();
    assert_eq!(numbers, (1..=6).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_refused() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = Database::new(cluster);
    drop(database.engine().await);
    let newer = "INSERT INTO respite_schema (version) VALUES (99)";
    cluster.sql_in(&database.0, newer).unwrap();
    let refused = Postgres::open(&database.0).await.err().unwrap();
    assert!(refused.to_string().contains("a newer version"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_at_one_server_is_woken_by_what_another_one_writes() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = Database::new(cluster);
    // Only a notification can be what wakes them.
    let waiting = database.looked_at_every(PATIENCE * 10).await;
    let writing = database.engine().await;
    let mut watch = waiting.watch(LIST.to_vec());
    patiently(async {
        for _ in 0..20 {
            writing.commit(append(b"awake?")).await.unwrap();
            watch.grown().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_was_notified_of_is_found_by_looking() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = Database::new(cluster);
    let engine = database.looked_at_every(Duration::from_millis(50)).await;
    let mut watch = engine.watch(LIST.to_vec());
    patiently(watch.grown()).await;
    // Wakes that come of beginning to listen and to look are over.
    while tokio::time::timeout(Duration::from_millis(300), watch.grown())
        .await
        .is_ok()
    {}
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let one = hex(&1_u64.to_be_bytes());
    let silently = format!(
        "INSERT INTO respite_entries VALUES ('\\x{}', '\\x{one}'), ('\\x{}{one}', '\\x00')",
        hex(&head_key(LIST)),
        hex(LIST)
    );
    cluster.sql_in(&database.0, &silently).unwrap();
    patiently(watch.grown()).await;
    assert_eq!(entries(&engine).await, [b"\0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_two_servers_leave_no_gap_and_write_once() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = Database::new(cluster);
    let engines = [database.engine().await, database.engine().await];
    let writers = (0..64).map(|writer| {
        let engine = &engines[writer % 2];
        async move {
            for number in 0..8 {
                let value = format!("{writer} {number}");
                let given = engine.commit(append(value.as_bytes())).await.unwrap();
                let key = Cell::number(LIST.to_vec(), given[0]);
                assert_eq!(self::value(engine, &key).await, Some(value.into_bytes()));
            }
        }
    });
    join_all(writers).await;
    let found = entries(&engines[0]).await;
    assert_eq!(found.len(), 64 * 8);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 64 * 8);
}

/// Two servers count together: each step is a read, and a commit that checks what was read.
async fn counted_together(database: &Database) {
    let engines = [database.engine().await, database.engine().await];
    let counting = (0..16).map(|who| {
        let engine = &engines[who % 2];
        async move {
            for _ in 0..4 {
                loop {
                    let before = value(engine, b"count").await;
                    let count = before.as_ref().map_or(0, |bytes| bytes[0]);
                    let next = only_if(b"count", before, put(b"count", &[count + 1]));
                    match engine.commit(next).await {
                        Ok(_) => break,
                        Err(StoreError::Conflict) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    });
    patiently(join_all(counting)).await;
    assert_eq!(value(&engines[0], b"count").await, Some(vec![64]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_sees_what_another_server_wrote() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    counted_together(&Database::new(cluster)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_where_the_database_is_stricter_by_default() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    for level in ["repeatable read", "serializable"] {
        let database = Database::new(cluster);
        let name = database.0.rsplit('/').next().unwrap();
        let stricter =
            format!("ALTER DATABASE {name} SET default_transaction_isolation = '{level}'");
        cluster.sql(&stricter).unwrap();
        counted_together(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_all_rows_to_lock_is_refused() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = Database::new(cluster);
    let engine = database.engine().await;
    engine.commit(append(b"before")).await.unwrap();
    cluster
        .sql_in(&database.0, "DELETE FROM respite_locks")
        .unwrap();
    let blind = WriteSet {
        checks: vec![],
        writes: vec![put(b"key", b"after")],
    };
    for refused in [append(b"after"), blind] {
        let refused = engine.commit(refused).await;
        assert!(
            matches!(refused, Err(StoreError::Damaged(_))),
            "{refused:?}"
        );
    }
    assert_eq!(entries(&engine).await, [b"before"]);
    assert_eq!(value(&engine, b"key").await, None);
    let refused = Postgres::open(&database.0).await.err().unwrap();
    assert!(refused.to_string().contains("respite_locks"), "{refused}");
}
