//! What the owner of an account may ask and change.

use std::time::Duration;

use axum::Router;
use ruma::{
    api::client::account::{
        ThirdPartyIdRemovalStatus, change_password, deactivate, get_3pids, request_openid_token,
        whoami,
    },
    authentication::TokenType,
};
use serde_json::{Map, Value, json};

use super::{log_out_everywhere, set_password};
use crate::{
    auth::{Device, Secret, check_quality},
    endpoint::{LeavesOut, SpelledOut, endpoint},
    error::{Error, Result},
    state::App,
    uia,
};

/// How long others may believe an OpenID token.
const OPENID_LIFETIME: Duration = Duration::from_secs(60 * 60);
const OPENID_LETTERS: usize = 40;

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(whoami))
        .merge(endpoint::<_, _, _, _>(change_password))
        .merge(endpoint::<_, _, _, _>(deactivate))
        .merge(endpoint::<_, _, _, _>(contact_data))
        .merge(endpoint::<_, _, _, _>(openid_token))
}

async fn whoami(_: App, me: Device, _: whoami::v3::Request) -> Result<whoami::v3::Response> {
    let mut response = whoami::v3::Response::new(me.user, false);
    response.device_id = Some(me.device);
    Ok(response)
}

async fn change_password(
    app: App,
    me: Device,
    request: change_password::v3::Request,
) -> Result<change_password::v3::Response> {
    let password = Secret::from(request.new_password);
    // A password that would not be taken is told before the old one is asked for.
    check_quality(password.expose())?;
    uia::require(&app, &me, "change password", request.auth.as_ref()).await?;
    set_password(&app, &me.user, password).await?;
    if request.logout_devices {
        log_out_everywhere(&app, &me.user, Some(&me.device)).await?;
    }
    Ok(change_password::v3::Response::new())
}

async fn deactivate(
    app: App,
    me: Device,
    request: deactivate::v3::Request,
) -> Result<deactivate::v3::Response> {
    uia::require(&app, &me, "deactivate", request.auth.as_ref()).await?;
    super::deactivate(&app, &me.user, request.erase).await?;
    Ok(deactivate::v3::Response::new(
        ThirdPartyIdRemovalStatus::NoSupport,
    ))
}

/// Nobody has any here; clients ask at every start.
async fn contact_data(
    _: App,
    _: Device,
    _: SpelledOut<get_3pids::v3::Request>,
) -> Result<SpelledOut<get_3pids::v3::Response>> {
    Ok(SpelledOut(get_3pids::v3::Response::new(Vec::new())))
}

impl LeavesOut for get_3pids::v3::Response {
    fn spell_out(answer: &mut Map<String, Value>) {
        answer.entry("threepids").or_insert_with(|| json!([]));
    }
}

/// A token for somebody else's service. Such services ask over federation whose it is; there is none here, so that nothing
/// of it need be kept: the answer is there for clients that ask before they look whether they need it.
async fn openid_token(
    app: App,
    me: Device,
    request: request_openid_token::v3::Request,
) -> Result<request_openid_token::v3::Response> {
    if request.user_id != me.user {
        return Err(Error::forbidden("You can ask for yourself only."));
    }
    Ok(request_openid_token::v3::Response::new(
        app.random.text(OPENID_LETTERS),
        TokenType::Bearer,
        app.server_name().clone(),
        OPENID_LIFETIME,
    ))
}
