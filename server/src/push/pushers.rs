//! Pushers: not available yet. Clients ask for them at every start and must get an answer that they understand.

use axum::Router;
use ruma::api::client::push::{
    get_pushers,
    set_pusher::v3::{PusherAction, Request, Response},
};

use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(list))
        .merge(endpoint::<_, _, _, _>(set))
}

/// `GET /pushers`
async fn list(_: App, _: Device, _: get_pushers::v3::Request) -> Result<get_pushers::v3::Response> {
    Ok(get_pushers::v3::Response::new(Vec::new()))
}

/// `POST /pushers/set`: there is nothing to delete, and nothing can be added.
async fn set(_: App, _: Device, request: Request) -> Result<Response> {
    match request.action {
        PusherAction::Delete(_) => Ok(Response::new()),
        _ => Err(Error::forbidden(
            "Push notifications are not available on this server yet.",
        )),
    }
}
