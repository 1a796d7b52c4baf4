use std::{convert::Infallible, path::Path};

use bytes::Bytes;
use futures_util::{TryStreamExt, future::join_all, stream};
use ruma::{OwnedMxcUri, RoomId, UserId, room_id};

use super::{Incoming, receive, store_upload};
use crate::{
    config::Scope,
    error::{Error, Result},
    fixture::{Server, user},
    media::{self, InRoom, MEDIA, USAGE, Usage, keep},
    store::StoreError,
};

fn ciphertext(length: usize) -> Bytes {
    use sha2::{Digest, Sha256};
    (0u64..)
        .flat_map(|block| Sha256::digest(block.to_be_bytes()))
        .take(length)
        .collect()
}

async fn upload(server: &Server, whole: Bytes) -> Result<OwnedMxcUri> {
    let pieces: Vec<_> = whole
        .chunks(1_000)
        .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
        .collect();
    store_upload(&server.app, of(&user("nurse")), stream::iter(pieces)).await
}

fn of(user: &UserId) -> Incoming<'_> {
    Incoming {
        user,
        room: None,
        size: None,
    }
}

fn into_room<'a>(user: &'a UserId, id: &'a RoomId) -> Incoming<'a> {
    Incoming {
        room: Some(InRoom { id, most: 3 }),
        ..of(user)
    }
}

fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

fn blobs(server: &Server) -> usize {
    files(&server.directory.path().join("data").join("blobs"))
}

#[tokio::test]
async fn an_encrypted_file_comes_back_as_it_was() {
    let server = Server::new().await;
    let file = ciphertext(100_000);
    let address = upload(&server, file.clone()).await.unwrap();
    let id = address.media_id().unwrap();
    let media = server.app.store.get(&MEDIA, id).await.unwrap().unwrap();
    assert_eq!((media.size, media.owner), (100_000, user("nurse")));
    let pieces: Vec<Bytes> = server
        .app
        .blobs
        .read(id, None)
        .await
        .unwrap()
        .stream
        .try_collect()
        .await
        .unwrap();
    assert_eq!(pieces.concat(), file);
    assert_eq!(
        server
            .app
            .store
            .get(&USAGE, user("nurse"))
            .await
            .unwrap()
            .unwrap()
            .bytes,
        100_000
    );
}

#[tokio::test]
async fn a_readable_file_is_refused_and_leaves_nothing() {
    let server = Server::new().await;
    let diary = Bytes::from("Tonight on the ward I could not stop thinking of it. ".repeat(2_000));
    assert!(upload(&server, diary).await.is_err());
    assert!(
        upload(&server, Bytes::from_static(b"%PDF-1.7 and so on"))
            .await
            .is_err()
    );
    assert!(upload(&server, Bytes::new()).await.is_err());
    assert_eq!(blobs(&server), 0);
    assert_eq!(
        server.app.store.get(&USAGE, user("nurse")).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_file_that_is_too_large_or_breaks_off_leaves_nothing() {
    let server = Server::with(|config| config.media.max_upload = 50_000).await;
    assert!(upload(&server, ciphertext(50_001)).await.is_err());
    let broken = stream::iter([Ok(ciphertext(1_000)), Err("the train is in a tunnel")]);
    assert!(
        store_upload(&server.app, of(&user("nurse")), broken)
            .await
            .is_err()
    );
    assert_eq!(blobs(&server), 0);
    upload(&server, ciphertext(50_000)).await.unwrap();
}

#[tokio::test]
async fn beside_plain_rooms_a_therapy_rooms_documents_are_still_judged() {
    let server = Server::with(|config| config.gate.scope = Scope::TherapyRooms).await;
    let plain = || {
        stream::iter([Ok::<_, Infallible>(Bytes::from(
            "a plain text of some length, ".repeat(50),
        ))])
    };
    let nurse = user("nurse");
    store_upload(&server.app, of(&nurse), plain())
        .await
        .unwrap();
    let room = room_id!("!therapy:localhost");
    assert!(
        store_upload(&server.app, into_room(&nurse, room), plain())
            .await
            .is_err()
    );
    assert_eq!(blobs(&server), 1);
}

#[tokio::test]
async fn a_document_goes_with_its_room_and_gives_its_space_back() {
    let server = Server::new().await;
    let (room, other) = (room_id!("!therapy:localhost"), room_id!("!other:localhost"));
    server.found(room).await;
    let body = stream::iter([Ok::<_, Infallible>(ciphertext(5_000))]);
    let therapist = user("therapist");
    let address = store_upload(&server.app, into_room(&therapist, room), body)
        .await
        .unwrap();
    let id = address.media_id().unwrap();
    let found = media::in_room(&server.app.store, room, None, 10)
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, id);
    assert!(!media::delete(&server.app, other, id).await.unwrap());
    assert!(media::delete(&server.app, room, id).await.unwrap());
    assert!(
        media::in_room(&server.app.store, room, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(blobs(&server), 0);
    assert_eq!(server.app.store.get(&USAGE, therapist).await.unwrap(), None);
}

async fn announced(server: &Server) -> String {
    use crate::media::reserve;
    let me = crate::fixture::device("nurse", "PHONE");
    let reserved = reserve::reserve(server.app.clone(), me.into(), Default::default()).await;
    let address = reserved.unwrap().content_uri;
    address.media_id().unwrap().to_owned()
}

async fn fill(server: &Server, who: &str, id: &str) -> Result<()> {
    let body = stream::iter([Ok::<_, Infallible>(ciphertext(2_000))]);
    receive(&server.app, of(&user(who)), id, true, body).await
}

fn status(error: Error) -> http::StatusCode {
    match error {
        Error::Matrix { status, .. } | Error::Extended { status, .. } => status,
        Error::Interactive(_) => panic!("that is no refusal"),
    }
}

#[tokio::test]
async fn an_announced_upload_fills_its_address_once_and_only_for_its_owner() {
    let server = Server::new().await;
    let id = announced(&server).await;
    let others = fill(&server, "therapist", &id).await.unwrap_err();
    assert_eq!(status(others), http::StatusCode::FORBIDDEN);
    fill(&server, "nurse", &id).await.unwrap();
    let again = fill(&server, "nurse", &id).await.unwrap_err();
    assert_eq!(status(again), http::StatusCode::CONFLICT);
    assert_eq!(blobs(&server), 1);
}

#[tokio::test]
async fn an_announced_upload_that_broke_off_may_be_repeated() {
    let server = Server::new().await;
    let id = announced(&server).await;
    let broken = stream::iter([Ok(ciphertext(1_000)), Err("the train is in a tunnel")]);
    let cut = receive(&server.app, of(&user("nurse")), &id, true, broken).await;
    cut.unwrap_err();
    fill(&server, "nurse", &id).await.unwrap();
}

#[tokio::test]
async fn an_address_that_nobody_used_expires() {
    let server = Server::new().await;
    let id = announced(&server).await;
    server.wait(25 * 60 * 60 * 1000);
    let late = fill(&server, "nurse", &id).await.unwrap_err();
    assert_eq!(status(late), http::StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn of_many_uploads_at_once_as_many_are_kept_as_the_quota_has_room_for() {
    let server = Server::new().await;
    let nurse = user("nurse");
    let nearly = Usage {
        count: 1,
        bytes: keep::MAX_BYTES - 250_000,
    };
    let (owner, before) = (&nurse, &nearly);
    server
        .app
        .store
        .transact(|mut tx| async move {
            tx.put(&USAGE, owner, before)?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
    for size in [Some(100_000), None] {
        let uploads = (0..20).map(|_| {
            let body = stream::iter([Ok::<_, Infallible>(ciphertext(100_000))]);
            let incoming = Incoming { size, ..of(&nurse) };
            store_upload(&server.app, incoming, body)
        });
        let kept = join_all(uploads)
            .await
            .iter()
            .filter(|it| it.is_ok())
            .count();
        let expected = if size.is_some() { 2 } else { 0 };
        assert_eq!(kept, expected);
    }
    let usage = server.app.store.get(&USAGE, &nurse).await.unwrap();
    let expected = Usage {
        count: 3,
        bytes: keep::MAX_BYTES - 50_000,
    };
    assert_eq!(usage, Some(expected));
    assert_eq!(blobs(&server), 2);
}

#[tokio::test]
async fn of_many_documents_at_once_a_room_gets_as_many_as_it_may_have() {
    let server = Server::new().await;
    let (therapist, room) = (user("therapist"), room_id!("!therapy:localhost"));
    server.found(room).await;
    let share = || {
        let body = stream::iter([Ok::<_, Infallible>(ciphertext(5_000))]);
        store_upload(&server.app, into_room(&therapist, room), body)
    };
    let shared = join_all((0..12).map(|_| share())).await;
    let kept: Vec<_> = shared.into_iter().flatten().collect();
    assert_eq!(kept.len(), 3);
    assert_eq!(blobs(&server), 3);
    let first = kept[0].media_id().unwrap();
    assert!(media::delete(&server.app, room, first).await.unwrap());
    share().await.unwrap();
    let full = share().await.unwrap_err();
    assert_eq!(status(full), http::StatusCode::PAYLOAD_TOO_LARGE);
}
