//! Logging in, with a password or with a token that another device has made.

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    OwnedDeviceId, UserId,
    api::{
        IncomingRequest,
        client::{
            session::{
                get_login_types::{
                    self,
                    v3::{LoginType, PasswordLoginType, TokenLoginType},
                },
                login,
            },
            uiaa::UserIdentifier,
        },
        error::{Error as MatrixError, FromHttpRequestError},
    },
};
use serde::Deserialize;

use super::{ACCOUNTS, name};
use crate::{
    auth::{self, Anyone, Asker, DEVICES, Grant, Secret, Tokens, Verified},
    devices,
    endpoint::{asked_like, endpoint},
    error::{Error, Result},
    state::App,
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(types))
        .merge(endpoint::<_, _, _, _>(login))
}

async fn types(
    _: App,
    _: Anyone,
    _: get_login_types::v3::Request,
) -> Result<get_login_types::v3::Response> {
    let password = LoginType::Password(PasswordLoginType::new());
    let mut token = TokenLoginType::new();
    token.get_login_token = true;
    Ok(get_login_types::v3::Response::new(vec![
        password,
        LoginType::Token(token),
    ]))
}

async fn login(app: App, _: Anyone, request: Request) -> Result<login::v3::Response> {
    let Request(request) = request;
    if let Some(device) = &request.device_id {
        ciphertext::device_id(device.as_str())?;
    }
    match request.kind.as_str() {
        "m.login.password" => by_password(&app, request).await,
        "m.login.token" => by_token(&app, request).await,
        _ => Err(unknown_kind()),
    }
}

async fn by_password(app: &App, request: Body) -> Result<login::v3::Response> {
    let named = request.identifier.and_then(user_name).or(request.user);
    let named = named.ok_or_else(|| Error::missing_param("Give the user name."))?;
    let password = request.password.map(Secret::from);
    let password = password.ok_or_else(|| Error::missing_param("Give the password."))?;

    // A name that cannot be anybody's is checked like any other, so that the answer takes as long.
    let user = name::meant(&named, app.server_name());
    let user = match &user {
        Some(user) => user,
        None => nobody(),
    };
    let known = match &request.device_id {
        Some(device) => app.store.get(&DEVICES, (user, device)).await?,
        None => None,
    };
    let asker = match (&request.device_id, known) {
        (Some(device), Some(_)) => Asker::Device(device),
        _ => Asker::Stranger,
    };
    let verified = auth::verify(app, user, asker, password).await?;
    let device = request
        .device_id
        .unwrap_or_else(|| devices::new_id(&app.random));
    let tokens = open(app, &verified, &device, request.refresh_token).await?;
    Ok(answer(verified.user(), device, tokens))
}

/// Uses the token and opens the session in one commit: of two who come with the same token, one comes in.
async fn by_token(app: &App, request: Body) -> Result<login::v3::Response> {
    let token = request.token.map(Secret::from);
    let token = &token.ok_or_else(|| Error::missing_param("Give the token."))?;
    let device = request
        .device_id
        .unwrap_or_else(|| devices::new_id(&app.random));
    let (device, refreshable) = (&device, request.refresh_token);
    let done = app
        .store
        .transact(|mut tx| async move {
            let user = auth::redeem_login_token_in(&mut tx, app, token).await?;
            let account = tx.get(&ACCOUNTS, &user).await?;
            let account =
                account.ok_or_else(|| Error::internal("a login token without an account"))?;
            let grant = Grant {
                user: &user,
                device,
                role: account.role,
                refreshable,
            };
            let tokens = auth::log_in(&mut tx, app, grant).await?;
            Ok::<_, Error>((tx, (user, tokens)))
        })
        .await?;
    let (user, tokens) = done.value;
    Ok(answer(&user, device.clone(), tokens))
}

/// Gives the device of somebody who has shown the password its tokens; those it had before end.
async fn open(
    app: &App,
    verified: &Verified,
    device: &OwnedDeviceId,
    refreshable: bool,
) -> Result<Tokens> {
    let user = verified.user();
    app.store
        .transact(|mut tx| async {
            verified.holds_in(&mut tx).await?;
            let account = tx.get(&ACCOUNTS, user).await?;
            let account =
                account.ok_or_else(|| Error::internal("a password without an account"))?;
            let grant = Grant {
                user,
                device,
                role: account.role,
                refreshable,
            };
            let tokens = auth::log_in(&mut tx, app, grant).await?;
            Ok((tx, tokens))
        })
        .await
        .map(|done| done.value)
}

fn answer(user: &UserId, device: OwnedDeviceId, tokens: Tokens) -> login::v3::Response {
    let mut response =
        login::v3::Response::new(user.to_owned(), tokens.access.into_answer(), device);
    response.refresh_token = tokens.refresh.map(Secret::into_answer);
    response.expires_in = tokens.expires_in;
    response
}

fn user_name(identifier: UserIdentifier) -> Option<String> {
    match identifier {
        UserIdentifier::Matrix(identifier) => Some(identifier.user),
        _ => None,
    }
}

fn nobody() -> &'static UserId {
    ruma::user_id!("@:nobody.invalid")
}

fn unknown_kind() -> Error {
    Error::new(
        http::StatusCode::BAD_REQUEST,
        ruma::api::error::ErrorKind::Unknown,
        "This server knows only logging in with a password, or with a token of another device.",
    )
}

/// The request. ruma's own one panics on a body without `type`.
#[derive(Debug)]
struct Request(Body);

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    identifier: Option<UserIdentifier>,
    /// As clients sent it before Matrix 1.0.
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    device_id: Option<OwnedDeviceId>,
    #[serde(default)]
    refresh_token: bool,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

asked_like!(Request, login::v3::Request);

impl IncomingRequest for Request {
    type EndpointError = MatrixError;
    type OutgoingResponse = login::v3::Response;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        _: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        Self::check_request_method(request.method())?;
        Ok(Self(serde_json::from_slice(request.body().as_ref())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Request, FromHttpRequestError> {
        let request = http::Request::post("/_matrix/client/v3/login")
            .body(body)
            .unwrap();
        Request::try_from_http_request::<_, &str>(request, &[])
    }

    #[test]
    fn a_body_without_a_type_is_an_error_and_not_a_panic() {
        parse("{}").unwrap_err();
        parse("[]").unwrap_err();
        parse(r#"{"type": 1}"#).unwrap_err();
    }

    #[test]
    fn passwords_are_not_printed() {
        let request =
            parse(r#"{"type": "m.login.password", "user": "nurse", "password": "between shifts"}"#)
                .unwrap();
        assert!(!format!("{request:?}").contains("between shifts"));
    }
}
