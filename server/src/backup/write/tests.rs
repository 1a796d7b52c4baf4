use std::collections::BTreeMap;

use ruma::{OwnedRoomId, room_id};

use super::{Sessions, store as put};
use crate::{
    backup::{BACKED_UP, BACKUPS, Backup, Session, versions},
    error::Error,
    fixture::{store, user},
    store::{Store, StoreError},
};

fn session(first_message_index: u64, is_verified: bool) -> Session {
    Session {
        first_message_index,
        forwarded_count: 0,
        is_verified,
        session_data: "{}".to_owned(),
    }
}

fn sessions(of: impl IntoIterator<Item = (&'static str, Session)>) -> Sessions {
    let room: OwnedRoomId = room_id!("!night:localhost").to_owned();
    of.into_iter()
        .map(|(id, session)| ((room.clone(), id.to_owned()), session))
        .collect::<BTreeMap<_, _>>()
}

async fn begin(store: &Store, version: u64) {
    let nurse = &user("nurse");
    store
        .transact(|mut tx| async move {
            let backup = Backup {
                algorithm: "a".to_owned(),
                auth_data: "{}".to_owned(),
                count: 0,
                etag: 0,
                deleted: false,
            };
            tx.put(&BACKUPS, (nurse, version), &backup)?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn the_etag_tells_other_devices_that_there_is_something_new() {
    let (_directory, store) = store();
    let nurse = user("nurse");
    begin(&store, 1).await;
    let one = put(
        &store,
        &nurse,
        "1",
        sessions([("a", session(5, false)), ("b", session(0, true))]),
    )
    .await
    .unwrap();
    assert_eq!((one.count, one.etag), (2, 1));
    let same = put(&store, &nurse, "1", sessions([("a", session(5, false))]))
        .await
        .unwrap();
    assert_eq!((same.count, same.etag), (2, 1));
    let better = put(&store, &nurse, "1", sessions([("a", session(2, false))]))
        .await
        .unwrap();
    assert_eq!((better.count, better.etag), (2, 2));
    let worse = put(&store, &nurse, "1", sessions([("b", session(0, false))]))
        .await
        .unwrap();
    assert_eq!((worse.count, worse.etag), (2, 2));
    let key = (&nurse, 1, room_id!("!night:localhost"), "a");
    assert_eq!(
        store
            .get(&BACKED_UP, key)
            .await
            .unwrap()
            .unwrap()
            .first_message_index,
        2
    );
}

#[tokio::test]
async fn two_phones_that_back_up_at_once_lose_no_key() {
    let (_directory, store) = store();
    begin(&store, 1).await;
    let puts = ["a", "b", "c", "d", "e", "f"].map(|id| {
        let store = store.clone();
        tokio::spawn(async move {
            put(
                &store,
                &user("nurse"),
                "1",
                sessions([(id, session(0, true))]),
            )
            .await
            .unwrap();
        })
    });
    for done in futures_util::future::join_all(puts).await {
        done.unwrap();
    }
    let (_, backup) = versions::newest(&store, &user("nurse"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((backup.count, backup.etag), (6, 6));
}

#[tokio::test]
async fn a_device_with_an_old_version_is_told_which_one_is_current() {
    let (_directory, store) = store();
    begin(&store, 1).await;
    begin(&store, 2).await;
    let refused = put(
        &store,
        &user("nurse"),
        "1",
        sessions([("a", session(0, true))]),
    )
    .await
    .unwrap_err();
    let Error::Matrix { kind, .. } = refused else {
        panic!("an error of the specification")
    };
    let ruma::api::error::ErrorKind::WrongRoomKeysVersion(data) = *kind else {
        panic!("M_WRONG_ROOM_KEYS_VERSION")
    };
    assert_eq!(data.current_version, "2");
    for unknown in ["3", "01", "x", ""] {
        assert!(
            put(&store, &user("nurse"), unknown, sessions([]))
                .await
                .is_err()
        );
    }
}
