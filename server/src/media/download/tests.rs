use std::convert::Infallible;

use axum::{
    body::{Body, to_bytes},
    response::Response,
};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use respite_protocol::Role;
use ruma::room_id;
use tower::ServiceExt;

use super::{HEADERS, Wanted, parse_range, serve};
use crate::{
    auth::{ACCESS_TOKENS, Session, hash_token},
    error::Error,
    fixture::{Server, device, user},
    media::{InRoom, Incoming, store_upload},
    store::StoreError,
};

#[tokio::test]
async fn a_document_is_not_even_there_for_who_is_not_in_its_room() {
    let server = Server::new().await;
    let body = stream::iter([Ok::<_, Infallible>(Bytes::from_static(&[
        0xa7, 0x1c, 0x93, 0x5e,
    ]))]);
    let room = room_id!("!therapy:localhost");
    server.found(room).await;
    let therapist = user("therapist");
    let incoming = Incoming {
        user: &therapist,
        room: Some(InRoom { id: room, most: 1 }),
        size: None,
    };
    let address = store_upload(&server.app, incoming, body).await.unwrap();
    let nurse = device("nurse", "PHONE");
    let fetch = async |id: &str| {
        let answer = serve(
            &server.app,
            &nurse,
            ("localhost", id),
            http::Version::HTTP_11,
            &http::HeaderMap::new(),
        )
        .await;
        let Err(Error::Matrix {
            status,
            kind,
            message,
        }) = answer
        else {
            panic!("no answer but an error")
        };
        (status, kind, message)
    };
    let refused = fetch(address.media_id().unwrap()).await;
    assert_eq!(refused, fetch("abcdefghijkmnopqrstuvwxyz2345678").await);
    assert_eq!(refused.0, http::StatusCode::NOT_FOUND);
}

#[test]
fn a_download_can_go_on_where_it_broke_off() {
    assert_eq!(parse_range("bytes=0-99", 1000), Wanted::Part(0..100));
    assert_eq!(parse_range("bytes=900-", 1000), Wanted::Part(900..1000));
    assert_eq!(parse_range("bytes=-10", 1000), Wanted::Part(990..1000));
    assert_eq!(parse_range("bytes=990-5000", 1000), Wanted::Part(990..1000));
}

#[test]
fn a_range_beyond_the_end_is_told_apart_from_nonsense() {
    assert_eq!(parse_range("bytes=1000-", 1000), Wanted::Nothing);
    assert_eq!(parse_range("bytes=-0", 1000), Wanted::Nothing);
    for nonsense in [
        "bytes=5-1",
        "bytes=a-b",
        "lines=1-2",
        "bytes=0-1,5-6",
        "bytes=-",
    ] {
        assert_eq!(parse_range(nonsense, 1000), Wanted::Whole);
    }
}

/// The answer to a request of the nurse's phone.
async fn ask(
    server: &Server,
    method: &str,
    path: &str,
    range: Option<&str>,
    body: Bytes,
) -> Response {
    let session = Session {
        user: user("nurse"),
        device: "PHONE".into(),
        role: Role::Client,
        expires: None,
        unused: false,
    };
    let session = &session;
    server
        .app
        .store
        .transact(|mut tx| async move {
            tx.put(&ACCESS_TOKENS, hash_token("token"), session)?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, "Bearer token")
        .header(header::CONTENT_TYPE, "text/html");
    if let Some(range) = range {
        request = request.header(header::RANGE, range);
    }
    let request = request.body(Body::from(body)).unwrap();
    crate::router(server.app.clone())
        .oneshot(request)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_uploaded_as_a_web_page_comes_back_as_nothing_that_a_browser_runs() {
    let server = Server::new().await;
    let file = Bytes::from_static(&[0xa7, 0x1c, 0x93, 0x5e, 0x00, 0xfe, 0x42, 0x81]);
    let uploaded = ask(
        &server,
        "POST",
        "/_matrix/media/v3/upload?filename=secret.html",
        None,
        file.clone(),
    )
    .await;
    let uploaded: serde_json::Value =
        serde_json::from_slice(&to_bytes(uploaded.into_body(), 1_000).await.unwrap()).unwrap();
    let address = uploaded["content_uri"]
        .as_str()
        .unwrap()
        .trim_start_matches("mxc://")
        .to_owned();

    let path = format!("/_matrix/client/v1/media/download/{address}/secret.html");
    let whole = ask(&server, "GET", &path, None, Bytes::new()).await;
    for (name, value) in HEADERS {
        assert_eq!(whole.headers().get(name).unwrap(), value);
    }
    assert_eq!(to_bytes(whole.into_body(), 1_000).await.unwrap(), file);

    let part = ask(&server, "GET", &path, Some("bytes=2-3"), Bytes::new()).await;
    assert_eq!(part.status(), http::StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        part.headers().get(header::CONTENT_RANGE).unwrap(),
        "bytes 2-3/8"
    );
    assert_eq!(
        to_bytes(part.into_body(), 1_000).await.unwrap(),
        file.slice(2..4)
    );

    let old = ask(
        &server,
        "GET",
        &format!("/_matrix/media/v3/download/{address}"),
        None,
        Bytes::new(),
    )
    .await;
    assert_eq!(old.status(), http::StatusCode::NOT_FOUND);
}
