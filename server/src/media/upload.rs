//! Uploads, judged by the gate while they stream to disk.

use std::{io, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::State,
    response::Response,
    routing::{post, put},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{StatusCode, header::CONTENT_TYPE};
use respite_protocol::ciphertext::BlobCheck;
use ruma::{
    MxcUri, OwnedMxcUri, UserId,
    api::{OutgoingResponse, client::media::create_content, error::ErrorKind},
};
use tokio::time::{Instant, timeout_at};

use super::{
    InRoom,
    claim::{self, Claim},
    keep, reserve,
};
use crate::{
    auth::Active,
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

/// What is known of an upload before it is read.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// Whose it is.
    pub user: &'a UserId,
    /// The room whose members alone can fetch it; then it is ciphertext whatever the gate's scope.
    pub room: Option<InRoom<'a>>,
    /// Its bytes, if it says so.
    pub size: Option<u64>,
}

/// Takes an upload and returns its address. Returns once it is durable; an upload that is refused, too large or broken off
/// leaves nothing.
///
/// # Errors
/// `M_FORBIDDEN` if it is no ciphertext or the user has uploaded too much, `M_TOO_LARGE` if it or the room's documents are
/// too many, 408 if it is too slow.
pub async fn store_upload<E: Send>(
    app: &App,
    incoming: Incoming<'_>,
    body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
) -> Result<OwnedMxcUri> {
    let id = new_id(app);
    receive(app, incoming, &id, false, body).await?;
    Ok(address(app, &id))
}

pub(super) fn new_id(app: &App) -> String {
    app.random.text(ID_LETTERS)
}

pub(super) fn address(app: &App, id: &str) -> OwnedMxcUri {
    <&MxcUri>::from(format!("mxc://{}/{id}", app.server_name()).as_str()).to_owned()
}

/// `POST /_matrix/media/v3/upload`
async fn upload(State(app): State<App>, me: Active, body: Body) -> Result<Response> {
    let incoming = Incoming {
        user: &me.user,
        room: None,
        size: body.size_hint().exact(),
    };
    let address = store_upload(&app, incoming, body.into_data_stream()).await?;
    answer(create_content::v3::Response::new(address))
}

/// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
async fn upload_reserved(
    State(app): State<App>,
    me: Active,
    InPath((server, id)): InPath<(String, String)>,
    body: Body,
) -> Result<Response> {
    if server != app.server_name().as_str() {
        return Err(not_given_out());
    }
    let incoming = Incoming {
        user: &me.user,
        room: None,
        size: body.size_hint().exact(),
    };
    receive(&app, incoming, &id, true, body.into_data_stream()).await?;
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
    incoming: Incoming<'_>,
    id: &str,
    reserved: bool,
    body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
) -> Result<()> {
    let Incoming { user, room, size } = incoming;
    // Before anything is read.
    check_size(app, size.unwrap_or_default())?;
    let mut claim = Claim::new(app, user, room, id, size, reserved).await?;
    let guarded = room.is_some() || app.config.gate.scope == Scope::Everywhere;
    let writer = match stream_in(app, &mut claim, id, guarded, body).await {
        Ok(writer) => writer,
        Err(error) => {
            claim.give_up().await;
            return Err(error);
        }
    };
    // On its own, so that a client that hangs up in between leaves no file behind that nothing refers to.
    let kept = tokio::spawn(finish(claim, writer));
    kept.await
        .map_err(|_| Error::internal("an upload was interrupted"))?
}

async fn finish(mut claim: Claim, writer: BlobWriter) -> Result<()> {
    claim.writes();
    let kept = match writer.finish().await.map_err(not_written) {
        Ok(size) => claim.settle(size).await,
        Err(error) => Err(error),
    };
    if kept.is_err() {
        claim.give_up().await;
    }
    kept
}

/// Writes the body while the gate looks at it; what is returned without an error may be kept.
async fn stream_in<E: Send>(
    app: &App,
    claim: &mut Claim,
    id: &str,
    guarded: bool,
    mut body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin,
) -> Result<BlobWriter> {
    let mut writer = app.blobs.writer(id).await.map_err(not_written)?;
    let mut check = BlobCheck::new();
    let last = Instant::now() + UPLOAD_TIME;
    let mut renew = Instant::now() + claim::RENEW;
    loop {
        let patience = last.min(Instant::now() + UPLOAD_STALL);
        let Some(piece) = timeout_at(patience, body.next())
            .await
            .map_err(|_| too_slow())?
        else {
            break;
        };
        let piece = piece.map_err(|_| Error::bad_json("The upload did not arrive whole."))?;
        let size = writer.size().saturating_add(piece.len() as u64);
        check_size(app, size)?;
        if size > claim.bytes() {
            return Err(keep::over_quota());
        }
        check.feed(&piece);
        writer.write(piece).await.map_err(not_written)?;
        if Instant::now() >= renew {
            claim.renew().await?;
            renew = Instant::now() + claim::RENEW;
        }
    }
    if guarded {
        check.finish()?;
    }
    Ok(writer)
}

fn too_slow() -> Error {
    Error::new(
        StatusCode::REQUEST_TIMEOUT,
        ErrorKind::Unknown,
        "The upload took too long. Try again with a better connection.",
    )
}

fn not_given_out() -> Error {
    Error::not_found("This address was not given out by this server.")
}

fn not_written(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => reserve::taken(),
        io::ErrorKind::InvalidInput => not_given_out(),
        kind => StoreError::Unavailable(format!("a blob cannot be written: {kind}")).into(),
    }
}

#[cfg(test)]
mod tests;
