//! The tokens of a device. It has one pair of them, an access token and perhaps a refresh token; after a refresh the pair
//! before lasts until the new one is used, so that a device whose connection broke in between can ask again.

use std::time::Duration;

use respite_protocol::Role;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{
    ACCESS_TOKENS, Restriction, Secret, Session, TokenHash, hash_token,
    restriction::{RESTRICTED_TOKENS, locked, restriction_in},
};
use crate::{
    clock::{Clock, Random},
    error::{Error, Result},
    state::App,
    store::{Page, Store, StoreError, Table, Tx},
};

/// Whose refresh token it is, by its hash.
pub const REFRESH_TOKENS: Table<TokenHash, Refreshes> = Table::new(0x0103, "refresh_tokens");

/// The devices of each account, with the tokens that each was given. Of a device, the server knows its id and when it first
/// logged in: no name (it tells what people own), no address; and, in the inbox, the day of its last sync.
pub const DEVICES: Table<(OwnedUserId, OwnedDeviceId), Registered> = Table::new(0x0104, "devices");

/// How many devices an account may have.
pub const MAX_DEVICES: usize = 200;

/// Letters of a token, 5 random bits each: 200 bits.
const TOKEN_LETTERS: usize = 40;

/// The device that a refresh token belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refreshes {
    user: OwnedUserId,
    device: OwnedDeviceId,
}

/// A device that is logged in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// When it first logged in, in milliseconds since 1970.
    pub created: u64,
    role: Role,
    current: Pair,
    /// Ends when `current` is first used.
    previous: Option<Pair>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pair {
    access: TokenHash,
    refresh: Option<TokenHash>,
}

/// New tokens, told this once.
#[derive(Debug)]
pub struct Tokens {
    /// For the `Authorization` header.
    pub access: Secret,
    /// For the next pair, if one was asked for.
    pub refresh: Option<Secret>,
    /// How long the access token lasts; `None` until logout.
    pub expires_in: Option<Duration>,
}

/// Which tokens a new session gets, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// Whose.
    pub user: &'a UserId,
    /// Which device's.
    pub device: &'a DeviceId,
    /// What the account's owner is here.
    pub role: Role,
    /// Whether the client can refresh; only then does its access token expire.
    pub refreshable: bool,
}

/// The ids of an account's devices.
///
/// # Errors
/// The store's.
pub async fn devices_of(store: &Store, user: &UserId) -> Result<Vec<OwnedDeviceId>, StoreError> {
    let devices = store
        .scan(&DEVICES, (user,), Page::first(MAX_DEVICES))
        .await?;
    Ok(devices.into_iter().map(|((_, device), _)| device).collect())
}

/// Logs a device in: adds it, or goes on with the one that has this id, whose earlier tokens end.
///
/// # Errors
/// 403 when the account has [`MAX_DEVICES`] others already, 401 `M_USER_LOCKED` when it is locked.
pub async fn log_in(tx: &mut Tx, app: &App, grant: Grant<'_>) -> Result<Tokens> {
    let restriction = unlocked_in(tx, grant.user).await?;
    let created = match tx.get(&DEVICES, (grant.user, grant.device)).await? {
        Some(before) => {
            before.end_tokens(tx);
            before.created
        }
        None if devices_of(tx.store(), grant.user).await?.len() >= MAX_DEVICES => {
            return Err(Error::forbidden(
                "This account is logged in on too many devices. Log out on one of them first.",
            ));
        }
        None => app.clock.millis(),
    };
    Ok(write_pair(tx, app, grant, restriction, created, None)?)
}

/// What an account may not, if it may have tokens at all.
async fn unlocked_in(tx: &mut Tx, user: &UserId) -> Result<Restriction> {
    match restriction_in(tx, user).await? {
        Restriction { locked: true, .. } => Err(locked()),
        restriction => Ok(restriction),
    }
}

/// Logs a device out: its tokens end. `false` if there was no such device.
///
/// # Errors
/// The store's.
pub async fn log_out(tx: &mut Tx, user: &UserId, device: &DeviceId) -> Result<bool, StoreError> {
    let Some(registered) = tx.get(&DEVICES, (user, device)).await? else {
        return Ok(false);
    };
    registered.end_tokens(tx);
    tx.delete(&DEVICES, (user, device));
    Ok(true)
}

/// Exchanges a refresh token for a new pair. The old pair ends when the new one is first used; until then, asking again
/// with the old token gives another new pair and ends the unused one.
///
/// [Refreshing](https://spec.matrix.org/v1.18/client-server-api/#refreshing-access-tokens)
///
/// # Errors
/// 401 `M_UNKNOWN_TOKEN` for a token that is unknown or used up, 401 `M_USER_LOCKED` while the account is locked.
pub async fn refresh(app: &App, token: &Secret) -> Result<Tokens> {
    let token = hash_token(token.expose());
    app.store
        .transact(|mut tx| async {
            let unknown = || Error::unknown_token(false);
            let Refreshes { user, device } =
                tx.get(&REFRESH_TOKENS, token).await?.ok_or_else(unknown)?;
            let issued = tx
                .get(&DEVICES, (&user, &device))
                .await?
                .ok_or_else(unknown)?;
            let restriction = unlocked_in(&mut tx, &user).await?;
            let kept = issued.rotate(&mut tx, token).ok_or_else(unknown)?;
            let grant = Grant {
                user: &user,
                device: &device,
                role: kept.role,
                refreshable: true,
            };
            let previous = Some(kept.current);
            let tokens = write_pair(&mut tx, app, grant, restriction, kept.created, previous)?;
            Ok((tx, tokens))
        })
        .await
        .map(|done| done.value)
}

/// Called when an access token that came from a refresh is used for the first time: the pair before it ends.
pub(super) async fn first_use(app: &App, token: TokenHash) -> Result<()> {
    app.store
        .transact(|mut tx| async move {
            let Some(mut session) = tx.get(&ACCESS_TOKENS, token).await? else {
                return Err(Error::unknown_token(false));
            };
            let owner = (session.user.clone(), session.device.clone());
            if let Some(mut issued) = tx.get(&DEVICES, &owner).await?
                && issued.current.access == token
                && let Some(previous) = issued.previous.take()
            {
                previous.end(&mut tx);
                tx.put(&DEVICES, &owner, &issued)?;
            }
            session.unused = false;
            tx.put(&ACCESS_TOKENS, token, &session)?;
            Ok((tx, ()))
        })
        .await
        .map(|done| done.value)
}

impl Registered {
    /// The hashes of its access tokens.
    pub(super) fn access_tokens(&self) -> impl Iterator<Item = TokenHash> {
        let pairs = self.previous.iter().chain([&self.current]);
        pairs.map(|pair| pair.access)
    }

    fn end_tokens(&self, tx: &mut Tx) {
        self.current.end(tx);
        if let Some(previous) = &self.previous {
            previous.end(tx);
        }
    }

    /// Ends the pair that a refresh with this token makes superfluous; what stays is the one it belongs to.
    fn rotate(self, tx: &mut Tx, token: TokenHash) -> Option<Self> {
        let (kept, ended) = match self.previous {
            previous if self.current.refresh == Some(token) => (self.current, previous),
            Some(previous) if previous.refresh == Some(token) => (previous, Some(self.current)),
            _ => return None,
        };
        if let Some(ended) = ended {
            ended.end(tx);
        }
        Some(Self {
            current: kept,
            previous: None,
            created: self.created,
            role: self.role,
        })
    }
}

impl Pair {
    fn end(&self, tx: &mut Tx) {
        tx.delete(&ACCESS_TOKENS, self.access);
        tx.delete(&RESTRICTED_TOKENS, self.access);
        if let Some(refresh) = self.refresh {
            tx.delete(&REFRESH_TOKENS, refresh);
        }
    }
}

fn write_pair(
    tx: &mut Tx,
    app: &App,
    grant: Grant<'_>,
    restriction: Restriction,
    created: u64,
    previous: Option<Pair>,
) -> Result<Tokens, StoreError> {
    let (user, device) = (grant.user.to_owned(), grant.device.to_owned());
    let lifetime = Duration::from_secs(app.config.tokens.access_lifetime_seconds);
    let tokens = Tokens {
        access: new_token(&app.random, "rsp_"),
        refresh: grant.refreshable.then(|| new_token(&app.random, "rsr_")),
        expires_in: grant.refreshable.then_some(lifetime),
    };
    let pair = Pair {
        access: hash_token(tokens.access.expose()),
        refresh: tokens
            .refresh
            .as_ref()
            .map(|token| hash_token(token.expose())),
    };
    let session = Session {
        user: user.clone(),
        device: device.clone(),
        role: grant.role,
        expires: expiry(&app.clock, tokens.expires_in),
        unused: previous.is_some(),
    };
    tx.put(restriction.tokens(), pair.access, &session)?;
    if let Some(refresh) = pair.refresh {
        let refreshes = Refreshes {
            user: user.clone(),
            device: device.clone(),
        };
        tx.put(&REFRESH_TOKENS, refresh, &refreshes)?;
    }
    let registered = Registered {
        created,
        role: grant.role,
        current: pair,
        previous,
    };
    tx.put(&DEVICES, (user, device), &registered)?;
    Ok(tokens)
}

/// The prefix lets scanners find tokens that were published by mistake.
fn new_token(random: &Random, prefix: &str) -> Secret {
    Secret::from(format!("{prefix}{}", random.text(TOKEN_LETTERS)))
}

fn expiry(clock: &Clock, lifetime: Option<Duration>) -> Option<u64> {
    lifetime.map(|lifetime| clock.after(lifetime))
}
