//! Downloads: always attachments of no particular type, so that no browser ever runs or shows one.

mod patience;

use std::{io, ops::Range, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::Response,
    routing::{any, get},
};
use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{self, HeaderName},
};
use ruma::api::error::ErrorKind;
use tokio::time::sleep;

use super::{MEDIA, Media, RESERVED};
use crate::{
    auth::Device,
    blobs::Blob,
    endpoint::InPath,
    error::{Error, Result},
    rooms::access,
    state::App,
    store::StoreError,
};

/// How long somebody who asks for an attachment that is still being uploaded is kept waiting.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// How often it is looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Headers of every download.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_TYPE, "application/octet-stream"),
    (header::CONTENT_DISPOSITION, "attachment"),
    (
        header::CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "cross-origin",
    ),
    (header::CACHE_CONTROL, "private, no-store"),
    (header::ACCEPT_RANGES, "bytes"),
];

pub(super) fn router() -> Router<App> {
    Router::new()
        .route(
            "/_matrix/client/v1/media/download/{server}/{id}",
            get(download),
        )
        .route(
            "/_matrix/client/v1/media/download/{server}/{id}/{file_name}",
            get(download_as),
        )
        .route("/_matrix/media/{version}/download/{*rest}", any(frozen))
        .route("/_matrix/media/{version}/thumbnail/{*rest}", any(frozen))
}

/// The old, unauthenticated paths: nothing is to be had there, as the specification allows since v1.11.
async fn frozen() -> Error {
    missing()
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`
async fn download(
    State(app): State<App>,
    me: Device,
    InPath((server, id)): InPath<(String, String)>,
    version: Version,
    headers: HeaderMap,
) -> Result<Response> {
    serve(&app, &me, (&server, &id), version, &headers).await
}

/// The same with a file name, which stays on the client's side: the server repeats it to nobody.
async fn download_as(
    State(app): State<App>,
    me: Device,
    InPath((server, id, _)): InPath<(String, String, String)>,
    version: Version,
    headers: HeaderMap,
) -> Result<Response> {
    serve(&app, &me, (&server, &id), version, &headers).await
}

async fn serve(
    app: &App,
    me: &Device,
    (server, id): (&str, &str),
    version: Version,
    headers: &HeaderMap,
) -> Result<Response> {
    if server != app.server_name().as_str() {
        return Err(missing());
    }
    let media = readable(app, me, id).await?;
    let wanted = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let range = match wanted.map(|range| parse_range(range, media.size)) {
        Some(Wanted::Part(range)) => Some(range),
        Some(Wanted::Nothing) => return unsatisfiable(media.size),
        Some(Wanted::Whole) | None => None,
    };
    let found = app.blobs.read(id, range.clone()).await;
    let mut blob = found.map_err(unreadable)?;
    // A connection of HTTP/1 is cut off as a whole; a stream of HTTP/2 stands still while others of its connection go on.
    if version == Version::HTTP_2 {
        blob.stream = patience::limited(blob.stream, app.config.connections.write_wait);
    }
    respond(blob, range)
}

/// The blob, if the caller may fetch it. What others may fetch and what does not exist look the same.
async fn readable(app: &App, me: &Device, id: &str) -> Result<Media> {
    let media = match app.store.get(&MEDIA, id).await? {
        Some(media) => media,
        None => arriving(app, id).await?,
    };
    if let Some(room) = &media.room {
        access::joined(app, &me.user, room)
            .await
            .map_err(|_| missing())?;
    }
    Ok(media)
}

/// Waits a little for an upload that was announced.
async fn arriving(app: &App, id: &str) -> Result<Media> {
    let mut waited = Duration::ZERO;
    while app
        .store
        .get(&RESERVED, id)
        .await?
        .is_some_and(|reserved| reserved.expires > app.clock.millis())
    {
        if waited >= MAX_WAIT || app.shutdown.is_cancelled() {
            return Err(Error::new(
                StatusCode::GATEWAY_TIMEOUT,
                ErrorKind::NotYetUploaded,
                "This file is still being uploaded. Try again later.",
            ));
        }
        sleep(LOOK_AGAIN).await;
        waited += LOOK_AGAIN;
    }
    app.store.get(&MEDIA, id).await?.ok_or_else(missing)
}

fn respond(blob: Blob, range: Option<Range<u64>>) -> Result<Response> {
    let mut response = Response::builder();
    if let Some(headers) = response.headers_mut() {
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let length = range
            .as_ref()
            .map_or(blob.size, |range| range.end - range.start);
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if let Some(range) = range {
        let place = format!(
            "bytes {}-{}/{}",
            range.start,
            range.end.saturating_sub(1),
            blob.size
        );
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, place);
    }
    response
        .body(Body::from_stream(blob.stream))
        .map_err(|_| Error::internal("an answer that cannot be written"))
}

fn unsatisfiable(size: u64) -> Result<Response> {
    Response::builder()
        .status(StatusCode::RANGE_NOT_SATISFIABLE)
        .header(header::CONTENT_RANGE, format!("bytes */{size}"))
        .body(Body::empty())
        .map_err(|_| Error::internal("an answer that cannot be written"))
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// Everything: also for headers that are not understood, and for several ranges at once, as HTTP allows.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that the blob does not have.
    Nothing,
}

fn parse_range(header: &str, size: u64) -> Wanted {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Wanted::Whole;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..size.min(last.saturating_add(1)),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(last)) if first.trim().is_empty() => size.saturating_sub(last)..size,
        _ => return Wanted::Whole,
    };
    if range.is_empty() {
        Wanted::Nothing
    } else {
        Wanted::Part(range)
    }
}

fn missing() -> Error {
    Error::not_found("There is no such file, or you may not fetch it.")
}

fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => missing(),
        kind => StoreError::Unavailable(format!("a blob cannot be read: {kind}")).into(),
    }
}

#[cfg(test)]
mod tests;
