//! Making an account.

use axum::Router;
use http::StatusCode;
use respite_protocol::{Role, ciphertext};
use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::{
        client::{
            account::{
                check_registration_token_validity, get_username_availability,
                register::{self, RegistrationKind},
            },
            uiaa::{AuthData, AuthFlow, AuthType},
        },
        error::ErrorKind,
    },
};

use super::{ACCOUNTS, Account, name};
use crate::{
    auth::{self, Anyone, Grant, PASSWORDS, Secret, Tokens},
    config::RegistrationMode,
    devices,
    endpoint::endpoint,
    error::{Error, Result},
    invites::{self, Refused},
    limits::Rate,
    state::App,
    store::Tx,
    uia,
};

const PURPOSE: &str = "register";
/// What lookups of user names are counted as.
const NAMES: &str = "names";
/// Letters of a user name that nobody chose.
const RANDOM_NAME_LETTERS: usize = 12;

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(register))
        .merge(endpoint::<_, _, _, _>(available))
        .merge(endpoint::<_, _, _, _>(validity))
}

/// What is written when everything has been checked.
struct Newcomer {
    user: OwnedUserId,
    password_hash: String,
    login: Option<NewLogin>,
}

struct NewLogin {
    device: OwnedDeviceId,
    refreshable: bool,
}

async fn register(
    app: App,
    _: Anyone,
    mut request: register::v3::Request,
) -> Result<register::v3::Response> {
    check_possible(&app, &request)?;
    let password = request.password.take().map(Secret::from);
    if let Some(password) = &password {
        auth::check_quality(password.expose())?;
    }
    if let Some(device) = &request.device_id {
        ciphertext::device_id(device.as_str())?;
    }
    let user = match &request.username {
        Some(username) => name::chosen(username, app.server_name())?,
        None => name::chosen(&app.random.text(RANDOM_NAME_LETTERS), app.server_name())?,
    };
    let session = match admit(&app, request.auth.as_ref()).await {
        Ok(session) => session,
        Err(asked) => {
            // A name that is taken is told before a code is asked for, but not to who looks up many of them.
            if app.limiter.take(&app.clock, names(&app), NAMES).is_ok() {
                check_free(&app, &user).await?;
            }
            return Err(asked);
        }
    };
    match enter(&app, &session, user, password, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(refused)) => Err(ask_again(session, &app, refused)),
        Err(error) => {
            // A code that was shown need not be shown again. What anybody can show as often as they like leaves nothing here.
            if session.proved.code.is_some()
                && let Err(error) = session.keep(&app).await
            {
                tracing::warn!(%error, "what was shown could not be kept");
            }
            Err(error)
        }
    }
}

/// Makes the account of somebody who has shown what that takes. What costs nothing comes before what costs something: only
/// who has shown a code is counted, and has anything hashed.
async fn enter(
    app: &App,
    session: &uia::Session,
    user: OwnedUserId,
    password: Option<Secret>,
    request: register::v3::Request,
) -> Result<Result<register::v3::Response, Refused>> {
    app.limiter
        .take(&app.clock, Rate::registrations(&app.config.limits), "")?;
    check_free(app, &user).await?;
    let password = password.ok_or_else(|| Error::missing_param("Choose a password."))?;
    let newcomer = Newcomer {
        user,
        password_hash: app.hasher.hash(&app.random, password).await?,
        login: (!request.inhibit_login).then(|| NewLogin {
            device: request
                .device_id
                .unwrap_or_else(|| devices::new_id(&app.random)),
            refreshable: request.refresh_token,
        }),
    };
    let created = create(app, session, &newcomer).await?;
    Ok(created.map(|tokens| answer(newcomer, tokens)))
}

async fn available(
    app: App,
    _: Anyone,
    request: get_username_availability::v3::Request,
) -> Result<get_username_availability::v3::Response> {
    app.limiter.take(&app.clock, names(&app), NAMES)?;
    check_free(&app, &name::chosen(&request.username, app.server_name())?).await?;
    Ok(get_username_availability::v3::Response::new(true))
}

async fn validity(
    app: App,
    _: Anyone,
    request: check_registration_token_validity::v1::Request,
) -> Result<check_registration_token_validity::v1::Response> {
    app.limiter
        .take(&app.clock, Rate::lookups(&app.config.limits), "codes")?;
    if app.config.registration.mode == RegistrationMode::Closed {
        return Err(closed());
    }
    let valid = match invites::hash(&request.token) {
        Some(code) => invites::check(&app, code).await?.is_ok(),
        None => false,
    };
    Ok(check_registration_token_validity::v1::Response::new(valid))
}

fn names(app: &App) -> Rate {
    Rate::lookups(&app.config.limits)
}

fn check_possible(app: &App, request: &register::v3::Request) -> Result<()> {
    if app.config.registration.mode == RegistrationMode::Closed {
        return Err(closed());
    }
    match request.kind {
        RegistrationKind::User if request.login_type.is_none() => Ok(()),
        RegistrationKind::Guest => Err(Error::new(
            StatusCode::FORBIDDEN,
            ErrorKind::GuestAccessForbidden,
            "This server has no guests. Make an account with a code.",
        )),
        _ => Err(Error::invalid_param(
            "This server makes accounts for people only.",
        )),
    }
}

async fn check_free(app: &App, user: &OwnedUserId) -> Result<()> {
    match app.store.get(&ACCOUNTS, user).await? {
        None => Ok(()),
        Some(_) => Err(in_use()),
    }
}

/// Whether the caller has shown what registering takes. A code that was shown stays with the session, so that a client
/// whose first choice of name was taken need not ask for it again; it is redeemed only with the account.
async fn admit(app: &App, auth: Option<&AuthData>) -> Result<uia::Session> {
    let id = auth.and_then(AuthData::session);
    let mut session = uia::Session::resume(app, PURPOSE, id).await?;
    match auth {
        Some(AuthData::RegistrationToken(shown)) => {
            let checked = match invites::hash(&shown.token) {
                Some(code) => invites::check(app, code).await?.map(|()| code),
                None => Err(Refused::Unknown),
            };
            match checked {
                Ok(code) => session.proved.code = Some(code),
                Err(refused) => return Err(ask_again(session, app, refused)),
            }
        }
        // Some clients put this stage after every flow, since it asks nothing of anybody.
        Some(AuthData::Dummy(_)) => session.proved.dummy = true,
        _ => {}
    }
    let open = app.config.registration.mode == RegistrationMode::Open && session.proved.dummy;
    if open || session.proved.code.is_some() {
        Ok(session)
    } else {
        session.proved.dummy = false;
        Err(uia::ask(session, flows(app), None))
    }
}

fn flows(app: &App) -> Vec<AuthFlow> {
    let code = AuthFlow::new(vec![AuthType::RegistrationToken]);
    match app.config.registration.mode {
        RegistrationMode::Open => vec![AuthFlow::new(vec![AuthType::Dummy]), code],
        RegistrationMode::Code | RegistrationMode::Closed => vec![code],
    }
}

/// What was shown is worth nothing (any longer), and is looked at again whenever it is shown again.
fn ask_again(mut session: uia::Session, app: &App, refused: Refused) -> Error {
    session.proved = uia::Proved::default();
    uia::ask(
        session,
        flows(app),
        Some((ErrorKind::Unauthorized, refused.sentence())),
    )
}

/// Writes the account, its first device, the code's use and the therapy room in one transaction, or nothing.
async fn create(
    app: &App,
    session: &uia::Session,
    newcomer: &Newcomer,
) -> Result<Result<Option<Tokens>, Refused>> {
    app.store
        .transact(|mut tx| async {
            if tx.get(&ACCOUNTS, &newcomer.user).await?.is_some() {
                return Err(in_use());
            }
            let role = match session.proved.code {
                Some(code) => match invites::redeem_in(&mut tx, app, code, &newcomer.user).await? {
                    Ok(redeemed) => redeemed.role,
                    Err(refused) => return Ok((tx, Err(refused))),
                },
                None => Role::Client,
            };
            session.close_in(&mut tx);
            let tokens = create_in(&mut tx, app, newcomer, role).await?;
            Ok((tx, Ok(tokens)))
        })
        .await
        .map(|done| done.value)
}

async fn create_in(
    tx: &mut Tx,
    app: &App,
    newcomer: &Newcomer,
    role: Role,
) -> Result<Option<Tokens>> {
    let user = &newcomer.user;
    let account = Account {
        role,
        created: app.clock.millis(),
        deactivated: None,
    };
    tx.put(&ACCOUNTS, user, &account)?;
    tx.put(&PASSWORDS, user, &newcomer.password_hash)?;
    let Some(NewLogin {
        device,
        refreshable,
    }) = &newcomer.login
    else {
        return Ok(None);
    };
    let grant = Grant {
        user,
        device,
        role,
        refreshable: *refreshable,
    };
    Ok(Some(auth::log_in(tx, app, grant).await?))
}

fn answer(newcomer: Newcomer, tokens: Option<Tokens>) -> register::v3::Response {
    let mut response = register::v3::Response::new(newcomer.user);
    response.device_id = newcomer.login.map(|login| login.device);
    if let Some(tokens) = tokens {
        response.access_token = Some(tokens.access.into_answer());
        response.refresh_token = tokens.refresh.map(Secret::into_answer);
        response.expires_in = tokens.expires_in;
    }
    response
}

fn in_use() -> Error {
    Error::new(
        StatusCode::BAD_REQUEST,
        ErrorKind::UserInUse,
        "This user name is taken. Choose another one.",
    )
}

fn closed() -> Error {
    Error::forbidden("This server makes no new accounts.")
}
