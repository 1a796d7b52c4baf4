//! Uploads, judged by the gate while they stream to disk.

use std::{io, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::Response,
    routing::{post, put},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use respite_protocol::ciphertext::BlobCheck;
use ruma::{
    MxcUri, OwnedMxcUri, RoomId, UserId,
    api::{OutgoingResponse, client::media::create_content, error::ErrorKind},
};
use tokio::time::{Instant, timeout_at};

use super::{Media, keep, reserve};
use crate::{
    auth::Device,
    blobs::BlobWriter,
    config::Scope,
    endpoint::InPath,
    error::{Error, Result},
    state::App,
    store::StoreError,
};

/// How long an upload may send nothing.
const UPLOAD_STALL: Duration = Duration::from_secs(30);
/// How long an upload may take as a whole.
const UPLOAD_TIME: Duration = Duration::from_secs(60 * 60);
/// 160 random bits: whoever knows the id of an ordinary attachment may fetch it.
const ID_LETTERS: usize = 32;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/_matrix/media/v3/upload", post(upload))
        .route("/_matrix/media/r0/upload", post(upload))
        .route(
            "/_matrix/media/v3/upload/{server}/{id}",
            put(upload_reserved),
        )
}

/// Takes an upload and returns its address; with a room, only members of that room can fetch it, and it is ciphertext
/// whatever the gate's scope. Returns once it is on disk; an upload that is refused, too large or broken off leaves
/// nothing.
///
/// # Errors
/// `M_FORBIDDEN` if it is no ciphertext or the user has uploaded too much, `M_TOO_LARGE`, 408 if it is too slow.
pub async fn store_upload<E: Send>(
    app: &App,
    user: &UserId,
    room: Option<&RoomId>,
    body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
) -> Result<OwnedMxcUri> {
    let id = new_id(app);
    receive(app, user, room, &id, false, body).await?;
    Ok(address(app, &id))
}

pub(super) fn new_id(app: &App) -> String {
    app.random.text(ID_LETTERS)
}

pub(super) fn address(app: &App, id: &str) -> OwnedMxcUri {
    <&MxcUri>::from(format!("mxc://{}/{id}", app.server_name()).as_str()).to_owned()
}

/// `POST /_matrix/media/v3/upload`
async fn upload(
    State(app): State<App>,
    me: Device,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    check_declared_size(&app, &headers)?;
    let address = store_upload(&app, &me.user, None, body.into_data_stream()).await?;
    answer(create_content::v3::Response::new(address))
}

/// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
async fn upload_reserved(
    State(app): State<App>,
    me: Device,
    InPath((server, id)): InPath<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    check_declared_size(&app, &headers)?;
    if server != app.server_name().as_str() {
        return Err(Error::not_found(
            "This address was not given out by this server.",
        ));
    }
    reserve::check(&app, &me.user, &id).await?;
    receive(&app, &me.user, None, &id, true, body.into_data_stream()).await?;
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from("{}"))
        .map_err(|_| Error::internal("an answer that cannot be written"))
}

fn answer(response: impl OutgoingResponse) -> Result<Response> {
    response
        .try_into_http_response::<BytesMut>()
        .map(|response| response.map(|body| Body::from(body.freeze())))
        .map_err(|_| Error::internal("an answer that cannot be written"))
}

/// Refuses before anything is read what says itself that it is too large.
fn check_declared_size(app: &App, headers: &HeaderMap) -> Result<()> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    check_size(app, declared.unwrap_or(0))
}

fn check_size(app: &App, size: u64) -> Result<()> {
    if size > app.config.media.max_upload {
        let limit = app.config.media.max_upload / (1024 * 1024);
        return Err(Error::too_large(format!(
            "The file is too large. This server takes at most {limit} MiB."
        )));
    }
    Ok(())
}

async fn receive<E: Send>(
    app: &App,
    user: &UserId,
    room: Option<&RoomId>,
    id: &str,
    reserved: bool,
    body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
) -> Result<()> {
    keep::check_quota(&app.store, user).await?;
    let mut writer = app.blobs.writer(id).await.map_err(not_written)?;
    let guarded = room.is_some() || app.config.gate.scope == Scope::Everywhere;
    stream_in(app, &mut writer, guarded, body).await?;
    let media = Media {
        owner: user.to_owned(),
        size: writer.size(),
        room: room.map(ToOwned::to_owned),
        uploaded: app.clock.millis(),
    };
    // On its own, so that a client that hangs up in between leaves no file behind that nothing refers to.
    let (app, id) = (app.clone(), id.to_owned());
    let kept = tokio::spawn(async move {
        writer.finish().await.map_err(not_written)?;
        keep::keep(&app, &id, &media, reserved).await
    });
    kept.await
        .map_err(|_| Error::internal("an upload was interrupted"))?
}

/// Writes the body to disk while the gate looks at it; without an error, it may be kept.
async fn stream_in<E: Send>(
    app: &App,
    writer: &mut BlobWriter,
    guarded: bool,
    mut body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
) -> Result<()> {
    let mut check = BlobCheck::new();
    let last = Instant::now() + UPLOAD_TIME;
    loop {
        let patience = last.min(Instant::now() + UPLOAD_STALL);
        let Some(piece) = timeout_at(patience, body.next())
            .await
            .map_err(|_| too_slow())?
        else {
            break;
        };
        let piece = piece.map_err(|_| Error::bad_json("The upload did not arrive whole."))?;
        check_size(app, writer.size().saturating_add(piece.len() as u64))?;
        check.feed(&piece);
        writer.write(piece).await.map_err(not_written)?;
    }
    if guarded {
        check.finish()?;
    }
    Ok(())
}

fn too_slow() -> Error {
    Error::new(
        StatusCode::REQUEST_TIMEOUT,
        ErrorKind::Unknown,
        "The upload took too long. Try again with a better connection.",
    )
}

fn not_written(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => reserve::taken(),
        io::ErrorKind::InvalidInput => {
            Error::not_found("This address was not given out by this server.")
        }
        kind => StoreError::Unavailable(format!("a blob cannot be written: {kind}")).into(),
    }
}

#[cfg(test)]
mod tests;
