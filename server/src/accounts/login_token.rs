//! Letting another device in by a token.

use axum::Router;
use ruma::api::client::session::get_login_token;

use crate::{
    auth::{self, Device, LOGIN_TOKEN_LIFETIME, Secret},
    endpoint::endpoint,
    error::Result,
    limits::Rate,
    state::App,
    uia,
};

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(make)
}

/// Asks for the password each time: whoever only holds an access token must not let devices in.
async fn make(
    app: App,
    me: Device,
    request: get_login_token::v1::Request,
) -> Result<get_login_token::v1::Response> {
    uia::require(&app, &me, "let a device in", request.auth.as_ref()).await?;
    app.limiter
        .take(&app.clock, Rate::login_tokens(), me.user.as_str())?;
    let token = auth::issue_login_token(&app, &me).await?;
    Ok(get_login_token::v1::Response::new(
        LOGIN_TOKEN_LIFETIME,
        Secret::into_answer(token),
    ))
}
