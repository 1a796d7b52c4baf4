//! What whoever runs the server may see and decide of accounts.
//!
//! [Server administration](https://spec.matrix.org/v1.18/client-server-api/#server-administration)

use axum::Router;
use respite_protocol::Role;
use ruma::{
    UserId,
    api::client::admin::{
        get_user_info::{self, v3::DeviceInfo},
        is_user_locked, is_user_suspended, lock_user, suspend_user,
    },
};

use super::active;
use crate::{
    auth::{self, Device, Operator},
    devices,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(whois))
        .merge(endpoint::<_, _, _, _>(is_locked))
        .merge(endpoint::<_, _, _, _>(lock))
        .merge(endpoint::<_, _, _, _>(is_suspended))
        .merge(endpoint::<_, _, _, _>(suspend))
}

/// The devices by their ids: where and with what somebody connects is not kept.
async fn whois(
    app: App,
    me: Device,
    request: get_user_info::v3::Request,
) -> Result<get_user_info::v3::Response> {
    let user = request.user_id;
    if user != me.user && me.role != Role::Operator {
        return Err(Error::forbidden(
            "You can ask for your own devices only. The operator of this server can ask for others'.",
        ));
    }
    if active(&app.store, &user).await?.is_none() {
        return Err(no_account());
    }
    let devices = devices::of(&app.store, &user).await?.into_iter();
    let mut response = get_user_info::v3::Response::new();
    response.devices = devices
        .map(|device| (device.to_string(), DeviceInfo::new()))
        .collect();
    response.user_id = Some(user);
    Ok(response)
}

async fn is_locked(
    app: App,
    _: Operator,
    request: is_user_locked::v1::Request,
) -> Result<is_user_locked::v1::Response> {
    subject(&app, &request.user_id).await?;
    let restriction = auth::restriction(&app.store, &request.user_id).await?;
    Ok(is_user_locked::v1::Response::new(restriction.locked))
}

async fn lock(
    app: App,
    _: Operator,
    request: lock_user::v1::Request,
) -> Result<lock_user::v1::Response> {
    subject(&app, &request.user_id).await?;
    super::lock(&app, &request.user_id, request.locked).await?;
    Ok(lock_user::v1::Response::new(request.locked))
}

async fn is_suspended(
    app: App,
    _: Operator,
    request: is_user_suspended::v1::Request,
) -> Result<is_user_suspended::v1::Response> {
    subject(&app, &request.user_id).await?;
    let restriction = auth::restriction(&app.store, &request.user_id).await?;
    Ok(is_user_suspended::v1::Response::new(restriction.suspended))
}

async fn suspend(
    app: App,
    _: Operator,
    request: suspend_user::v1::Request,
) -> Result<suspend_user::v1::Response> {
    subject(&app, &request.user_id).await?;
    super::suspend(&app, &request.user_id, request.suspended).await?;
    Ok(suspend_user::v1::Response::new(request.suspended))
}

/// Whether it is the account of somebody whom an operator may decide about: operators do not lock each other out.
async fn subject(app: &App, user: &UserId) -> Result<()> {
    if user.server_name() != app.server_name() {
        return Err(Error::invalid_param("This is no user of this server."));
    }
    match active(&app.store, user).await? {
        None => Err(no_account()),
        Some(account) if account.role == Role::Operator => Err(Error::forbidden(
            "The account of an operator can be locked or suspended only with the program respite-server.",
        )),
        Some(_) => Ok(()),
    }
}

fn no_account() -> Error {
    Error::not_found("There is no such account.")
}
