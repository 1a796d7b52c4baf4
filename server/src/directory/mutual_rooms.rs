//! The rooms that one shares with somebody.

use axum::Router;
use respite_protocol::api::mutual_rooms::{Request, Response};
use ruma::{OwnedRoomId, UInt};

use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::membership,
    state::App,
};

/// The most rooms of one answer.
const PAGE: usize = 200;

pub(super) fn router() -> Router<App> {
    endpoint::<Request, _, _, _>(mutual_rooms)
}

/// Nobody learns here who has an account: with whom one shares nothing, one shares nothing.
async fn mutual_rooms(app: App, me: Device, request: Request) -> Result<Response> {
    if request.user_id == me.user {
        return Err(Error::invalid_param(
            "Name somebody else: you share all of your rooms with yourself.",
        ));
    }
    if request.user_id.validate_strict().is_err() {
        return Err(Error::invalid_param("This is no user id."));
    }
    let from = match request.from.map(OwnedRoomId::try_from) {
        Some(Ok(room)) => Some(room),
        Some(Err(_)) => return Err(Error::invalid_param("This is no token of these pages.")),
        None => None,
    };
    let all = membership::shared(&app.store, &me.user, &request.user_id).await?;
    let count = UInt::try_from(all.len()).unwrap_or(UInt::MAX);
    let mut joined: Vec<_> = all
        .into_iter()
        .filter(|room| from.as_ref().is_none_or(|from| room > from))
        .collect();
    let more = joined.len() > PAGE;
    joined.truncate(PAGE);
    let next = joined.last().filter(|_| more).map(ToString::to_string);
    Ok(Response::new(joined, count, next))
}
