//! Asking for the directory, and putting rooms into it.

use axum::Router;
use ruma::{
    OwnedRoomId, ServerName,
    api::{
        IncomingRequest,
        client::{
            directory::{
                get_public_rooms, get_public_rooms_filtered, get_room_visibility,
                set_room_visibility,
            },
            room::Visibility,
        },
        error::{Error as MatrixError, FromHttpRequestError},
    },
    directory::{Filter, RoomNetwork},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Found, PUBLISHED, find, publish_in};
use crate::{
    auth::{Active, Device},
    endpoint::{LeavesOut, SpelledOut, asked_like, endpoint},
    error::{Error, Result},
    limits::Rate,
    rooms::{aliases, state},
    state::App,
    store::Tx,
};

/// What questions of people who are not logged in are counted as.
const LOOKUPS: &str = "public rooms";

pub(in crate::rooms) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(list))
        .merge(endpoint::<_, _, _, _>(search))
        .merge(endpoint::<_, _, _, _>(visibility))
        .merge(endpoint::<_, _, _, _>(set_visibility))
}

async fn list(
    app: App,
    me: Option<Device>,
    SpelledOut(request): SpelledOut<get_public_rooms::v3::Request>,
) -> Result<SpelledOut<get_public_rooms::v3::Response>> {
    if me.is_none() {
        app.limiter
            .take(&app.clock, Rate::lookups(&app.config.limits), LOOKUPS)?;
    }
    is_here(&app, request.server.as_deref())?;
    let since = request.since.as_deref();
    let found = find(&app, &Filter::new(), request.limit, since).await?;
    let mut response = get_public_rooms::v3::Response::new(found.chunk);
    response.next_batch = found.after;
    response.prev_batch = found.before;
    response.total_room_count_estimate = Some(found.total);
    Ok(SpelledOut(response))
}

async fn search(
    app: App,
    _: Device,
    SpelledOut(request): SpelledOut<get_public_rooms_filtered::v3::Request>,
) -> Result<SpelledOut<get_public_rooms_filtered::v3::Response>> {
    is_here(&app, request.server.as_deref())?;
    let mut response = get_public_rooms_filtered::v3::Response::new();
    if let RoomNetwork::ThirdParty(_) = request.room_network {
        return Ok(SpelledOut(response));
    }
    let since = request.since.as_deref();
    let Found {
        chunk,
        before,
        after,
        total,
    } = find(&app, &request.filter, request.limit, since).await?;
    response.chunk = chunk;
    response.next_batch = after;
    response.prev_batch = before;
    response.total_room_count_estimate = Some(total);
    Ok(SpelledOut(response))
}

impl LeavesOut for get_public_rooms::v3::Response {
    fn spell_out(answer: &mut Map<String, Value>) {
        tell_who_may_join(answer);
    }
}

impl LeavesOut for get_public_rooms_filtered::v3::Response {
    fn spell_out(answer: &mut Map<String, Value>) {
        tell_who_may_join(answer);
    }
}

fn tell_who_may_join(answer: &mut Map<String, Value>) {
    let rooms = answer.get_mut("chunk").and_then(Value::as_array_mut);
    for room in rooms.into_iter().flatten().filter_map(Value::as_object_mut) {
        room.entry("join_rule").or_insert_with(|| "public".into());
    }
}

/// A room that is not in the directory is known to those who are in it.
async fn visibility(
    app: App,
    me: Option<Device>,
    request: get_room_visibility::v3::Request,
) -> Result<get_room_visibility::v3::Response> {
    let room = &*request.room_id;
    if app.store.get(&PUBLISHED, room).await?.is_some() {
        return Ok(get_room_visibility::v3::Response::new(Visibility::Public));
    }
    match (state::current(&app, room).await?, me) {
        (Some(state), Some(me)) if state.is_joined(&me.user) => {
            Ok(get_room_visibility::v3::Response::new(Visibility::Private))
        }
        _ => Err(no_such_room()),
    }
}

async fn set_visibility(
    app: App,
    me: Active,
    request: SetVisibility,
) -> Result<set_room_visibility::v3::Response> {
    let SetVisibility { room, visibility } = &request;
    app.store
        .transact(|mut tx: Tx| async {
            let state = state::current_in(&mut tx, &app, room).await?;
            let state = state.filter(|state| state.is_joined(&me.user));
            let state = state.ok_or_else(no_such_room)?;
            if !aliases::may_say(&state, &me.user) {
                return Err(Error::forbidden(
                    "You do not have the power to say who finds this room.",
                ));
            }
            let is_public = tx.get(&PUBLISHED, room).await?.is_some();
            match visibility {
                Visibility::Public if state.is_therapy() => {
                    return Err(Error::forbidden(
                        "A therapy room is not shown in the directory.",
                    ));
                }
                Visibility::Public if !is_public => publish_in(&mut tx, room).await?,
                Visibility::Private if is_public => tx.delete(&PUBLISHED, room),
                Visibility::Public | Visibility::Private => {}
                _ => {
                    return Err(Error::invalid_param(
                        "A room's visibility is public or private.",
                    ));
                }
            }
            Ok((tx, ()))
        })
        .await?;
    Ok(set_room_visibility::v3::Response::new())
}

/// This server asks no others.
fn is_here(app: &App, server: Option<&ServerName>) -> Result<()> {
    match server {
        Some(server) if *server != **app.server_name() => Err(Error::not_found(
            "This server knows only its own rooms. Leave the other server's name out.",
        )),
        _ => Ok(()),
    }
}

fn no_such_room() -> Error {
    Error::not_found("There is no such room, or you are not in it.")
}

/// The request. ruma's own one does not take a body that leaves the visibility out, which means public.
#[derive(Debug)]
struct SetVisibility {
    room: OwnedRoomId,
    visibility: Visibility,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default = "public")]
    visibility: Visibility,
}

fn public() -> Visibility {
    Visibility::Public
}

asked_like!(SetVisibility, set_room_visibility::v3::Request);

impl IncomingRequest for SetVisibility {
    type EndpointError = MatrixError;
    type OutgoingResponse = set_room_visibility::v3::Response;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        Self::check_request_method(request.method())?;
        let (room,) = Deserialize::deserialize(serde::de::value::SeqDeserializer::<
            _,
            serde::de::value::Error,
        >::new(path.iter().map(AsRef::as_ref)))?;
        let body: Body = serde_json::from_slice(request.body().as_ref())?;
        Ok(Self {
            room,
            visibility: body.visibility,
        })
    }
}
