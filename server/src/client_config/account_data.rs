//! Account data as clients set and read it.

use axum::Router;
use http::StatusCode;
use respite_protocol::ciphertext;
use ruma::{
    RoomId,
    api::{
        client::config::{
            get_global_account_data, get_room_account_data, set_global_account_data,
            set_room_account_data,
        },
        error::ErrorKind,
    },
    serde::Raw,
};

use super::{guarded, of_room_in, own};
use crate::{
    account_data::{get, set_in},
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    gate, push,
    state::App,
};

/// What clients change through endpoints of its own.
const SET_ELSEWHERE: [&str; 2] = ["m.fully_read", "m.push_rules"];

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(get_global))
        .merge(endpoint::<_, _, _, _>(get_of_room))
        .merge(endpoint::<_, _, _, _>(set_global))
        .merge(endpoint::<_, _, _, _>(set_of_room))
}

async fn get_global(
    app: App,
    me: Device,
    request: get_global_account_data::v3::Request,
) -> Result<get_global_account_data::v3::Response> {
    own(&me, &request.user_id)?;
    let kind = request.event_type.to_string();
    let json = if kind == "m.push_rules" {
        Some(push_rules(&app, &me).await?)
    } else {
        get(&app.store, &me.user, None, &kind).await?
    };
    Ok(get_global_account_data::v3::Response::new(raw(json)?))
}

async fn get_of_room(
    app: App,
    me: Device,
    request: get_room_account_data::v3::Request,
) -> Result<get_room_account_data::v3::Response> {
    own(&me, &request.user_id)?;
    let kind = request.event_type.to_string();
    let json = get(&app.store, &me.user, Some(&request.room_id), &kind).await?;
    Ok(get_room_account_data::v3::Response::new(raw(json)?))
}

async fn set_global(
    app: App,
    me: Device,
    request: set_global_account_data::v3::Request,
) -> Result<set_global_account_data::v3::Response> {
    own(&me, &request.user_id)?;
    let kind = request.event_type.to_string();
    settable(&kind)?;
    let mut content = gate::canonical(request.data.json().get())?;
    if gate::guards(&app.config, false) {
        content = ciphertext::global_account_data(&kind, content)?;
    }
    set(&app, &me, None, &kind, &text(&content)?).await?;
    Ok(set_global_account_data::v3::Response::new())
}

async fn set_of_room(
    app: App,
    me: Device,
    request: set_room_account_data::v3::Request,
) -> Result<set_room_account_data::v3::Response> {
    own(&me, &request.user_id)?;
    let kind = request.event_type.to_string();
    settable(&kind)?;
    let mut content = gate::canonical(request.data.json().get())?;
    if guarded(&app, &me, &request.room_id).await? {
        content = ciphertext::room_account_data(&kind, content)?;
    }
    set(&app, &me, Some(&request.room_id), &kind, &text(&content)?).await?;
    Ok(set_room_account_data::v3::Response::new())
}

async fn set(app: &App, me: &Device, room: Option<&RoomId>, kind: &str, json: &str) -> Result<()> {
    app.store
        .transact(async |mut tx| {
            if let Some(room) = room {
                of_room_in(&mut tx, me, room).await?;
            }
            set_in(&mut tx, &me.user, room, kind, json).await?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

async fn push_rules(app: &App, me: &Device) -> Result<String> {
    let global = push::ruleset(&app.store, &me.user).await?;
    serde_json::to_string(&serde_json::json!({ "global": global }))
        .map_err(|_| Error::internal("push rules that are not JSON"))
}

fn settable(kind: &str) -> Result<()> {
    if SET_ELSEWHERE.contains(&kind) {
        return Err(Error::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::BadJson,
            "This is not set here: use the read markers' or the push rules' own endpoint.",
        ));
    }
    Ok(())
}

fn text(content: &ruma::CanonicalJsonObject) -> Result<String> {
    serde_json::to_string(content).map_err(|_| Error::bad_json("This content cannot be stored."))
}

fn raw<T>(json: Option<String>) -> Result<Raw<T>> {
    let json = json.ok_or_else(|| Error::not_found("There is no account data of this type."))?;
    Raw::from_json_string(json).map_err(|_| Error::internal("stored account data is not JSON"))
}
