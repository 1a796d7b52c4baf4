//! Documents: encrypted blobs that belong to a therapy room. Only its members can fetch them, over the ordinary media
//! endpoint; what they are is inside the encrypted messages that refer to them.

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::State,
    response::Response,
    routing::post,
};
use bytes::BytesMut;
use respite_protocol::api::{
    MAX_DOCUMENTS_PER_ROOM, delete_document,
    list_documents::{self, StoredDocument},
    upload_document,
};
use ruma::{MilliSecondsSinceUnixEpoch, MxcUri, OwnedRoomId, UInt, api::OutgoingResponse};

use super::rooms::therapy_room;
use crate::{
    auth::{Active, Device},
    endpoint::{InPath, endpoint},
    error::{Error, Result},
    media::{self, InRoom, Incoming},
    state::App,
};

/// Streams, so it is a plain handler; the place in the path is named as [`endpoint`] names it.
const UPLOAD_PATH: &str = "/_matrix/client/unstable/chat.respite/rooms/{p6}/documents";

pub(super) fn router() -> Router<App> {
    Router::new()
        .route(UPLOAD_PATH, post(upload))
        .merge(endpoint(list))
        .merge(endpoint(delete))
}

async fn upload(
    State(app): State<App>,
    me: Active,
    InPath(room_id): InPath<OwnedRoomId>,
    body: Body,
) -> Result<Response> {
    let room = therapy_room(&app, &me.user, &room_id).await?;
    let incoming = Incoming {
        user: &me.user,
        room: Some(InRoom {
            id: &room.room_id,
            most: MAX_DOCUMENTS_PER_ROOM,
        }),
        size: body.size_hint().exact(),
    };
    let address = media::store_upload(&app, incoming, body.into_data_stream()).await?;
    upload_document::Response::new(address)
        .try_into_http_response::<BytesMut>()
        .map(|response| response.map(|body| Body::from(body.freeze())))
        .map_err(|_| Error::internal("an answer that cannot be written"))
}

async fn list(
    app: App,
    me: Device,
    request: list_documents::Request,
) -> Result<list_documents::Response> {
    let room = therapy_room(&app, &me.user, &request.room_id).await?;
    let mut found = media::in_room(&app.store, &room.room_id, None, MAX_DOCUMENTS_PER_ROOM).await?;
    found.sort_by_key(|(_, media)| std::cmp::Reverse(media.uploaded));
    let documents = found
        .into_iter()
        .map(|(id, media)| StoredDocument {
            content_uri: <&MxcUri>::from(format!("mxc://{}/{id}", app.server_name()).as_str())
                .to_owned(),
            sender: media.owner,
            size: media.size,
            uploaded_ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(media.uploaded)),
        })
        .collect();
    Ok(list_documents::Response::new(documents))
}

async fn delete(
    app: App,
    me: Device,
    request: delete_document::Request,
) -> Result<delete_document::Response> {
    let room = therapy_room(&app, &me.user, &request.room_id).await?;
    let found = app.store.get(&media::MEDIA, &request.media_id).await?;
    let media = found
        .filter(|media| media.room.as_ref() == Some(&room.room_id))
        .ok_or_else(|| Error::not_found("There is no such document in this room."))?;
    let runs_the_room = room
        .state
        .create()
        .is_some_and(|create| create.sender == me.user);
    if media.owner != me.user && !runs_the_room {
        return Err(Error::forbidden(
            "Only who shared a document, or the room's therapist, can delete it.",
        ));
    }
    media::delete(&app, &room.room_id, &request.media_id).await?;
    Ok(delete_document::Response::new())
}
