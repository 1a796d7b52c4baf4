use std::{convert::Infallible, path::Path};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use ruma::{OwnedMxcUri, room_id};

use super::{receive, store_upload};
use crate::{
    config::Scope,
    error::{Error, Result},
    fixture::{Server, user},
    media::{self, MEDIA, USAGE},
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
    store_upload(&server.app, &user("nurse"), None, stream::iter(pieces)).await
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
        store_upload(&server.app, &user("nurse"), None, broken)
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
    store_upload(&server.app, &nurse, None, plain())
        .await
        .unwrap();
    let room = room_id!("!therapy:localhost");
    assert!(
        store_upload(&server.app, &nurse, Some(room), plain())
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
    let address = store_upload(&server.app, &user("therapist"), Some(room), body)
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
    assert_eq!(
        server
            .app
            .store
            .get(&USAGE, user("therapist"))
            .await
            .unwrap()
            .unwrap()
            .bytes,
        0
    );
}

#[tokio::test]
async fn an_announced_upload_fills_its_address_once_and_only_for_its_owner() {
    use crate::media::reserve;
    let server = Server::new().await;
    let me = crate::fixture::device("nurse", "PHONE");
    let address = reserve::reserve(server.app.clone(), me, Default::default())
        .await
        .unwrap()
        .content_uri;
    let id = address.media_id().unwrap();
    let nurse = user("nurse");
    assert!(
        reserve::check(&server.app, &user("therapist"), id)
            .await
            .is_err()
    );
    reserve::check(&server.app, &nurse, id).await.unwrap();
    let body = || stream::iter([Ok::<_, Infallible>(ciphertext(2_000))]);
    receive(&server.app, &nurse, None, id, true, body())
        .await
        .unwrap();
    let again = reserve::check(&server.app, &nurse, id).await.unwrap_err();
    assert!(matches!(again, Error::Matrix { status, .. } if status == http::StatusCode::CONFLICT));
    assert_eq!(blobs(&server), 1);
}

#[tokio::test]
async fn an_address_that_nobody_used_expires() {
    use crate::media::reserve;
    let server = Server::new().await;
    let me = crate::fixture::device("nurse", "PHONE");
    let address = reserve::reserve(server.app.clone(), me, Default::default())
        .await
        .unwrap()
        .content_uri;
    server.wait(25 * 60 * 60 * 1000);
    assert!(
        reserve::check(&server.app, &user("nurse"), address.media_id().unwrap())
            .await
            .is_err()
    );
}
