//! The tokens of a device. It has one pair of them, an access token and perhaps a refresh token; after a refresh the pair
//! before lasts until the new one is used, so that a device whose connection broke in between can ask again.

use std::time::Duration;

use respite_protocol::Role;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{ACCESS_TOKENS, Secret, Session, TokenHash, hash_token};
use crate::{
    clock::{Clock, Random},
    error::{Error, Result},
    state::App,
    store::{StoreError, Table, Tx},
};

/// Whose refresh token it is, by its hash.
pub const REFRESH_TOKENS: Table<TokenHash, Refreshes> = Table::new(0x0103, "refresh_tokens");

/// What each device was given.
pub const ISSUED: Table<(OwnedUserId, OwnedDeviceId), Issued> = Table::new(0x0104, "issued_tokens");

/// Letters of a token, 5 random bits each: 200 bits.
const TOKEN_LETTERS: usize = 40;

/// The device that a refresh token belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refreshes {
    user: OwnedUserId,
    device: OwnedDeviceId,
}

/// The tokens of a device, as hashes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Issued {
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

/// Gives a device its first tokens. What it had before ends.
///
/// # Errors
/// The store's.
pub async fn issue_in(tx: &mut Tx, app: &App, grant: Grant<'_>) -> Result<Tokens, StoreError> {
    revoke_in(tx, grant.user, grant.device).await?;
    write_pair(tx, app, grant, None)
}

/// Takes all tokens of a device away.
///
/// # Errors
/// The store's.
pub async fn revoke_in(tx: &mut Tx, user: &UserId, device: &DeviceId) -> Result<(), StoreError> {
    if let Some(issued) = tx.get(&ISSUED, (user, device)).await? {
        issued.current.end(tx);
        if let Some(previous) = issued.previous {
            previous.end(tx);
        }
        tx.delete(&ISSUED, (user, device));
    }
    Ok(())
}

/// Exchanges a refresh token for a new pair. The old pair ends when the new one is first used; until then, asking again
/// with the old token gives another new pair and ends the unused one.
///
/// [Refreshing](https://spec.matrix.org/v1.18/client-server-api/#refreshing-access-tokens)
///
/// # Errors
/// 401 `M_UNKNOWN_TOKEN` for a token that is unknown or used up.
pub async fn refresh(app: &App, token: &Secret) -> Result<Tokens> {
    let token = hash_token(token.expose());
    app.store
        .transact(|mut tx| async {
            let unknown = || Error::unknown_token(false);
            let Refreshes { user, device } =
                tx.get(&REFRESH_TOKENS, token).await?.ok_or_else(unknown)?;
            let issued = tx
                .get(&ISSUED, (&user, &device))
                .await?
                .ok_or_else(unknown)?;
            let kept = issued.rotate(&mut tx, token).ok_or_else(unknown)?;
            let grant = Grant {
                user: &user,
                device: &device,
                role: kept.role,
                refreshable: true,
            };
            let tokens = write_pair(&mut tx, app, grant, Some(kept.current))?;
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
            if let Some(mut issued) = tx.get(&ISSUED, &owner).await?
                && issued.current.access == token
                && let Some(previous) = issued.previous.take()
            {
                previous.end(&mut tx);
                tx.put(&ISSUED, &owner, &issued)?;
            }
            session.unused = false;
            tx.put(&ACCESS_TOKENS, token, &session)?;
            Ok((tx, ()))
        })
        .await
        .map(|done| done.value)
}

impl Issued {
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
            role: self.role,
            current: kept,
            previous: None,
        })
    }
}

impl Pair {
    fn end(&self, tx: &mut Tx) {
        tx.delete(&ACCESS_TOKENS, self.access);
        if let Some(refresh) = self.refresh {
            tx.delete(&REFRESH_TOKENS, refresh);
        }
    }
}

fn write_pair(
    tx: &mut Tx,
    app: &App,
    grant: Grant<'_>,
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
    tx.put(&ACCESS_TOKENS, pair.access, &session)?;
    if let Some(refresh) = pair.refresh {
        let refreshes = Refreshes {
            user: user.clone(),
            device: device.clone(),
        };
        tx.put(&REFRESH_TOKENS, refresh, &refreshes)?;
    }
    tx.put(
        &ISSUED,
        (user, device),
        &Issued {
            role: grant.role,
            current: pair,
            previous,
        },
    )?;
    Ok(tokens)
}

/// The prefix lets scanners find tokens that were published by mistake.
fn new_token(random: &Random, prefix: &str) -> Secret {
    Secret::from(format!("{prefix}{}", random.text(TOKEN_LETTERS)))
}

fn expiry(clock: &Clock, lifetime: Option<Duration>) -> Option<u64> {
    lifetime.map(|lifetime| clock.after(lifetime))
}
