use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use ruma::UserId;

use super::*;
use crate::{
    fixture::{Server, device, user},
    media::{Incoming, USAGE, claim::Claim, reserve, store_upload},
};

const MINUTE: u64 = 60 * 1000;
const DAY: u64 = 24 * 60 * MINUTE;

/// Trims until there is nothing to be done; how many steps that took.
async fn trim(server: &Server) -> usize {
    let mut steps = 0;
    while trim_step(&server.app).await.unwrap() {
        steps += 1;
    }
    steps
}

async fn blobs(server: &Server) -> usize {
    let all: Vec<_> = server.app.blobs.list().try_collect().await.unwrap();
    all.len()
}

async fn write(server: &Server, id: &str) {
    let mut writer = server.app.blobs.writer(id).await.unwrap();
    writer.write(Bytes::from_static(b"bytes")).await.unwrap();
    writer.finish().await.unwrap();
}

/// The files' times are the machine's; the server's clock is moved far beyond them.
fn years_pass(server: &Server) {
    server.wait(20 * 365 * DAY);
}

async fn claim(server: &Server, user: &UserId, id: &str, reserved: bool) -> Result<Claim> {
    Claim::new(&server.app, user, None, id, Some(1_000), reserved).await
}

async fn expiries(server: &Server) -> usize {
    let found = server.app.store.scan(&EXPIRY, (), Page::first(10)).await;
    found.unwrap().len()
}

const ID: &str = "abcdefghijkmnopqrstuvwxyz2345678";

#[tokio::test]
async fn an_upload_that_a_crash_ended_gives_its_share_and_its_address_back_after_some_minutes() {
    let server = Server::new().await;
    let nurse = user("nurse");
    let app = server.app.clone();
    let phone = device("nurse", "PHONE").into();
    let reserved = reserve::reserve(app, phone, Default::default()).await;
    let address = reserved.unwrap().content_uri;
    let id = address.media_id().unwrap();
    let mut writer = server.app.blobs.writer(id).await.unwrap();
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    std::mem::forget(writer);
    std::mem::forget(claim(&server, &nurse, id, true).await.unwrap());

    trim(&server).await;
    assert!(claim(&server, &nurse, id, true).await.is_err());
    let usage = server.app.store.get(&USAGE, &nurse).await.unwrap();
    assert_eq!(usage.unwrap().bytes, 1_000);

    server.wait(6 * MINUTE);
    trim(&server).await;
    assert_eq!(server.app.store.get(&USAGE, &nurse).await.unwrap(), None);
    drop(server.app.blobs.writer(id).await.unwrap());
    claim(&server, &nurse, id, true).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_was_taken_for_dead_cannot_be_entered_and_leaves_nothing() {
    let server = Server::new().await;
    let nurse = user("nurse");
    let mut slow = claim(&server, &nurse, ID, false).await.unwrap();
    let mut renewed = claim(&server, &nurse, &ID.replace('a', "b"), false)
        .await
        .unwrap();
    server.wait(4 * MINUTE);
    renewed.renew().await.unwrap();
    server.wait(2 * MINUTE);
    trim(&server).await;

    write(&server, ID).await;
    slow.writes();
    slow.settle(5).await.unwrap_err();
    slow.give_up().await;
    renewed.settle(1_000).await.unwrap();
    assert_eq!(server.app.store.get(&MEDIA, ID).await.unwrap(), None);
    let usage = server.app.store.get(&USAGE, &nurse).await.unwrap();
    assert_eq!(usage.unwrap().count, 1);
    assert_eq!(expiries(&server).await, 0);

    years_pass(&server);
    trim(&server).await;
    assert_eq!(blobs(&server).await, 0);
}

#[tokio::test]
async fn who_hangs_up_gives_the_share_back() {
    let server = Server::new().await;
    let nurse = user("nurse");
    drop(claim(&server, &nurse, ID, false).await.unwrap());
    let given_back = async {
        while server.app.store.get(&UPLOADS, ID).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), given_back)
        .await
        .unwrap();
    assert_eq!(server.app.store.get(&USAGE, &nurse).await.unwrap(), None);
    assert_eq!(expiries(&server).await, 0);
}

#[tokio::test]
async fn addresses_that_nobody_used_are_forgotten() {
    let server = Server::new().await;
    for _ in 0..3 {
        let app = server.app.clone();
        let phone = device("nurse", "PHONE").into();
        let reserved = reserve::reserve(app, phone, Default::default()).await;
        reserved.unwrap();
    }
    trim(&server).await;
    assert_eq!(expiries(&server).await, 3);
    server.wait(DAY + MINUTE);
    trim(&server).await;
    assert_eq!(expiries(&server).await, 0);
    let store = &server.app.store;
    let waiting = store.scan(&RESERVED, (), Page::first(10)).await.unwrap();
    assert!(waiting.is_empty());
    let by = store.scan(&RESERVED_BY, (), Page::first(10)).await.unwrap();
    assert!(by.is_empty());
}

#[tokio::test]
async fn blobs_that_nothing_refers_to_go_once_a_day_in_small_steps_and_all_others_stay() {
    let server = Server::new().await;
    let nurse = user("nurse");
    let incoming = Incoming {
        user: &nurse,
        room: None,
        size: None,
    };
    let body = stream::iter([Ok::<_, Infallible>(Bytes::from_static(&[
        0xa7, 0x1c, 0x93, 0x5e,
    ]))]);
    let kept = store_upload(&server.app, incoming, body).await.unwrap();
    let directory = server.directory.path().join("data/blobs/kept/00");
    std::fs::create_dir_all(&directory).unwrap();
    for n in 0..2 * WALK_STEP {
        let id = format!("00{n:04}ghijkmnopqrstuvwxyz2345678a");
        std::fs::write(directory.join(id), "bytes").unwrap();
    }
    // Before they are old.
    trim(&server).await;
    assert_eq!(blobs(&server).await, 2 * WALK_STEP + 1);

    years_pass(&server);
    let under_way = claim(&server, &nurse, ID, false).await.unwrap();
    write(&server, ID).await;
    assert!(trim(&server).await > 2);
    let left: Vec<_> = server.app.blobs.list().try_collect().await.unwrap();
    let mut left: Vec<_> = left.iter().map(|blob| &*blob.id).collect();
    let mut expected = vec![kept.media_id().unwrap(), ID];
    left.sort_unstable();
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert_eq!(trim(&server).await, 0);
    drop(under_way);
}
