//! Who is asking: a type for each kind of caller. Holding one is the proof.

mod login_tokens;
mod password;
mod restriction;
mod seal;
mod secret;
mod tokens;

use std::ops::Deref;

use axum::extract::FromRequestParts;
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use respite_protocol::Role;
use ruma::{OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) use self::restriction::suspended;
pub use self::{
    login_tokens::{LOGIN_TOKEN_LIFETIME, LOGIN_TOKENS, issue_login_token, redeem_login_token_in},
    password::{
        Asker, Hasher, MAX_PASSWORD_BYTES, MAX_QUEUED_HASHINGS, MAX_QUEUED_STRANGERS,
        MIN_PASSWORD_CHARS, PASSWORDS, Verified, check_quality, exists, verify,
    },
    restriction::{RESTRICTED, RESTRICTED_TOKENS, Restriction, restrict, restriction},
    seal::{Seal, Seals},
    secret::Secret,
    tokens::{
        DEVICES, Grant, MAX_DEVICES, REFRESH_TOKENS, Refreshes, Registered, Tokens, devices_of,
        log_in, log_out, refresh,
    },
};
use crate::{
    error::{Error, Result},
    limits::Rate,
    state::App,
    store::Table,
};

/// An access token as it is kept: its SHA-256. The token itself has 160 random bits or more, so that a plain hash is enough.
pub type TokenHash = [u8; 32];

/// The sessions, by the hash of their access token.
pub const ACCESS_TOKENS: Table<TokenHash, Session> = Table::new(0x0101, "access_tokens");

/// What an access token stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Whose.
    pub user: OwnedUserId,
    /// Which of their devices.
    pub device: OwnedDeviceId,
    /// The role the account was made with.
    pub role: Role,
    /// Milliseconds since 1970; `None` lasts until logout.
    pub expires: Option<u64>,
    /// Came from a refresh and was not used yet: its first use ends the tokens before it.
    pub unused: bool,
}

/// How a token or a code is looked up.
pub fn hash_token(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// A kind of caller that a handler asks for.
pub trait Caller: Sized + Send {
    /// Finds out whether the request comes from such a caller.
    fn authenticate(app: &App, parts: &Parts) -> impl Future<Output = Result<Self>> + Send;

    /// Whose requests these are, if that is known: they are counted together.
    fn user(&self) -> Option<&UserId>;
}

/// Anybody at all.
#[derive(Debug)]
pub struct Anyone;

/// A logged-in device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Whose it is.
    pub user: OwnedUserId,
    /// Its id.
    pub device: OwnedDeviceId,
    /// What its owner is here.
    pub role: Role,
    /// The hash of the token that it came with.
    pub token: TokenHash,
    /// Whether its account is suspended.
    pub suspended: bool,
}

/// A logged-in device of an account that may write: it is not suspended.
#[derive(Clone, Debug)]
pub struct Active(Device);

#[cfg(test)]
impl From<Device> for Active {
    fn from(device: Device) -> Self {
        Self(device)
    }
}

impl Deref for Active {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0
    }
}

/// A logged-in device, even if its account is locked.
#[derive(Clone, Debug)]
pub struct Leaving(pub Device);

/// A logged-in device of a therapist.
#[derive(Clone, Debug)]
pub struct Therapist(pub Device);

/// A logged-in device of whoever runs the server.
#[derive(Clone, Debug)]
pub struct Operator(pub Device);

impl Caller for Anyone {
    async fn authenticate(_: &App, _: &Parts) -> Result<Self> {
        Ok(Self)
    }

    fn user(&self) -> Option<&UserId> {
        None
    }
}

/// A device where one is logged in, for endpoints that anybody may ask but that tell members more.
impl Caller for Option<Device> {
    async fn authenticate(app: &App, parts: &Parts) -> Result<Self> {
        match bearer(&parts.headers) {
            Some(_) => Device::authenticate(app, parts).await.map(Some),
            None => Ok(None),
        }
    }

    fn user(&self) -> Option<&UserId> {
        self.as_ref().map(|device| &*device.user)
    }
}

impl Caller for Device {
    async fn authenticate(app: &App, parts: &Parts) -> Result<Self> {
        match found(app, parts).await? {
            (_, Restriction { locked: true, .. }) => Err(restriction::locked()),
            (device, _) => Ok(device),
        }
    }

    fn user(&self) -> Option<&UserId> {
        Some(&self.user)
    }
}

impl Device {
    /// Finds out whether the device may still go on with a request that has waited: it may have been logged out meanwhile.
    ///
    /// # Errors
    /// 401 `M_UNKNOWN_TOKEN` if not.
    pub async fn stays(&self, app: &App) -> Result<()> {
        match session(app, self.token).await? {
            (_, Restriction { locked: true, .. }) => Err(restriction::locked()),
            _ => Ok(()),
        }
    }
}

async fn session(app: &App, token: TokenHash) -> Result<(Session, Restriction)> {
    let (session, restriction) = match app.store.get(&ACCESS_TOKENS, token).await? {
        Some(session) => (session, Restriction::default()),
        None => {
            let session = app.store.get(&RESTRICTED_TOKENS, token).await?;
            let session = session.ok_or_else(|| Error::unknown_token(false))?;
            let restriction = restriction(&app.store, &session.user).await?;
            (session, restriction)
        }
    };
    let now = app.clock.millis();
    if session.expires.is_some_and(|expires| expires <= now) {
        return Err(Error::unknown_token(true));
    }
    Ok((session, restriction))
}

/// The device that a request comes from, and what its account may not.
async fn found(app: &App, parts: &Parts) -> Result<(Device, Restriction)> {
    let token = hash_token(bearer(&parts.headers).ok_or_else(Error::missing_token)?);
    let (session, restriction) = session(app, token).await?;
    if session.unused && restriction.is_none() {
        tokens::first_use(app, token).await?;
    }
    let device = Device {
        user: session.user,
        device: session.device,
        role: session.role,
        token,
        suspended: restriction.suspended,
    };
    Ok((device, restriction))
}

impl Caller for Active {
    async fn authenticate(app: &App, parts: &Parts) -> Result<Self> {
        match Device::authenticate(app, parts).await? {
            device if device.suspended => Err(suspended()),
            device => Ok(Self(device)),
        }
    }

    fn user(&self) -> Option<&UserId> {
        self.0.user()
    }
}

impl Caller for Leaving {
    async fn authenticate(app: &App, parts: &Parts) -> Result<Self> {
        found(app, parts).await.map(|(device, _)| Self(device))
    }

    fn user(&self) -> Option<&UserId> {
        self.0.user()
    }
}

impl Caller for Therapist {
    async fn authenticate(app: &App, parts: &Parts) -> Result<Self> {
        let device = Device::authenticate(app, parts).await?;
        match device.role {
            Role::Therapist if device.suspended => Err(suspended()),
            Role::Therapist => Ok(Self(device)),
            _ => Err(Error::forbidden("Only a therapist can do this.")),
        }
    }

    fn user(&self) -> Option<&UserId> {
        self.0.user()
    }
}

impl Caller for Operator {
    async fn authenticate(app: &App, parts: &Parts) -> Result<Self> {
        let device = Device::authenticate(app, parts).await?;
        match device.role {
            Role::Operator => Ok(Self(device)),
            _ => Err(Error::forbidden(
                "Only the operator of this server can do this.",
            )),
        }
    }

    fn user(&self) -> Option<&UserId> {
        self.0.user()
    }
}

/// For the few handlers that stream and so are plain axum handlers.
impl FromRequestParts<App> for Device {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let device = Self::authenticate(app, parts).await?;
        count(app, &device)?;
        Ok(device)
    }
}

impl FromRequestParts<App> for Active {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let device = Self::authenticate(app, parts).await?;
        count(app, &device)?;
        Ok(device)
    }
}

/// Counts a request among those of its user.
fn count(app: &App, device: &Device) -> Result<()> {
    let rate = Rate::requests(&app.config.limits);
    app.limiter.take(&app.clock, rate, device.user.as_str())
}

/// The token of the `Authorization` header. Tokens in the query string end up in other people's logs: they are not taken.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
        .map(str::trim)
}
