//! Staying logged in, and logging out.

use axum::Router;
use ruma::api::client::session::{logout, logout_all, refresh_token};

use super::log_out_everywhere;
use crate::{
    auth::{self, Anyone, Leaving, Secret},
    devices,
    endpoint::endpoint,
    error::Result,
    state::App,
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(refresh))
        .merge(endpoint::<_, _, _, _>(logout))
        .merge(endpoint::<_, _, _, _>(logout_all))
}

async fn refresh(
    app: App,
    _: Anyone,
    request: refresh_token::v3::Request,
) -> Result<refresh_token::v3::Response> {
    let tokens = auth::refresh(&app, &Secret::from(request.refresh_token)).await?;
    let mut response = refresh_token::v3::Response::new(tokens.access.into_answer());
    response.refresh_token = tokens.refresh.map(Secret::into_answer);
    response.expires_in_ms = tokens.expires_in;
    Ok(response)
}

async fn logout(
    app: App,
    Leaving(me): Leaving,
    _: logout::v3::Request,
) -> Result<logout::v3::Response> {
    devices::delete_all(&app, &me.user, &[me.device]).await?;
    Ok(logout::v3::Response::new())
}

async fn logout_all(
    app: App,
    Leaving(me): Leaving,
    _: logout_all::v3::Request,
) -> Result<logout_all::v3::Response> {
    log_out_everywhere(&app, &me.user, None).await?;
    Ok(logout_all::v3::Response::new())
}
