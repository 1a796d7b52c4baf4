//! Presence is off: who is awake when is nobody's business here. Clients may set it, and it is forgotten at once.
//!
//! [Presence](https://spec.matrix.org/v1.18/client-server-api/#presence)

use axum::Router;
use ruma::{
    api::client::presence::{get_presence, set_presence},
    presence::PresenceState,
};

use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::membership,
    state::App,
};

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(set))
        .merge(endpoint::<_, _, _, _>(get))
}

async fn set(
    _: App,
    me: Device,
    request: set_presence::v3::Request,
) -> Result<set_presence::v3::Response> {
    if me.user != request.user_id {
        return Err(Error::forbidden("You can only say this of yourself."));
    }
    Ok(set_presence::v3::Response::new())
}

async fn get(
    app: App,
    me: Device,
    request: get_presence::v3::Request,
) -> Result<get_presence::v3::Response> {
    if me.user != request.user_id
        && !membership::neighbours(&app, &me.user)
            .await?
            .contains(&request.user_id)
    {
        return Err(Error::forbidden(
            "You share no room with this user, or there is no such user.",
        ));
    }
    Ok(get_presence::v3::Response::new(PresenceState::Offline))
}
