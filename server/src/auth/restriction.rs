//! Accounts that whoever runs the server has locked or suspended.
//!
//! The access tokens of such an account are kept apart from all others, so that nobody else's request has to look whether
//! its account is one of them.
//!
//! [Account locking](https://spec.matrix.org/v1.18/client-server-api/#account-locking),
//! [account suspension](https://spec.matrix.org/v1.18/client-server-api/#account-suspension)

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::{ACCESS_TOKENS, DEVICES, Session, TokenHash, devices_of};
use crate::{
    error::{Error, Result},
    store::{Store, StoreError, Table, Tx},
};

/// The accounts that are locked or suspended.
pub const RESTRICTED: Table<OwnedUserId, Restriction> = Table::new(0x0111, "accounts_restricted");
/// Their sessions, by the hash of their access token.
pub const RESTRICTED_TOKENS: Table<TokenHash, Session> =
    Table::new(0x0112, "restricted_access_tokens");

/// What an account may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    /// Nothing but log out, until it is unlocked.
    pub locked: bool,
    /// Write, come into rooms and let others in.
    pub suspended: bool,
}

impl Restriction {
    /// Whether the account may do everything.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// The table that its access tokens are in.
    pub(super) fn tokens(self) -> &'static Table<TokenHash, Session> {
        match self.is_none() {
            true => &ACCESS_TOKENS,
            false => &RESTRICTED_TOKENS,
        }
    }
}

/// What an account may not.
///
/// # Errors
/// The store's.
pub async fn restriction(store: &Store, user: &UserId) -> Result<Restriction, StoreError> {
    Ok(store.get(&RESTRICTED, user).await?.unwrap_or_default())
}

/// The same; the transaction holds as long as it stays so.
pub(super) async fn restriction_in(tx: &mut Tx, user: &UserId) -> Result<Restriction, StoreError> {
    Ok(tx.get(&RESTRICTED, user).await?.unwrap_or_default())
}

/// Changes what an account may not. Asking for the same again finishes what a failure left undone.
///
/// # Errors
/// The store's.
pub async fn restrict(
    store: &Store,
    user: &UserId,
    change: impl Fn(&mut Restriction) + Send + Sync,
) -> Result<Restriction, StoreError> {
    let change = &change;
    let done = store
        .transact(|mut tx: Tx| async move {
            let mut restriction = restriction_in(&mut tx, user).await?;
            change(&mut restriction);
            match restriction.is_none() {
                true => tx.delete(&RESTRICTED, user),
                false => tx.put(&RESTRICTED, user, &restriction)?,
            }
            Ok::<_, StoreError>((tx, restriction))
        })
        .await?;
    // Who logs in from here on gets a token that is in the right place.
    while move_tokens(store, user).await? {}
    Ok(done.value)
}

/// Moves the tokens that are in the wrong place; whether there were any.
async fn move_tokens(store: &Store, user: &UserId) -> Result<bool, StoreError> {
    let devices = &devices_of(store, user).await?;
    let done = store
        .transact(|mut tx: Tx| async move {
            let restriction = restriction_in(&mut tx, user).await?;
            let (from, to) = match restriction.is_none() {
                true => (&RESTRICTED_TOKENS, &ACCESS_TOKENS),
                false => (&ACCESS_TOKENS, &RESTRICTED_TOKENS),
            };
            let mut moved = false;
            for device in devices {
                let registered = tx.get(&DEVICES, (user, device)).await?;
                for token in registered.iter().flat_map(|it| it.access_tokens()) {
                    if let Some(session) = tx.get(from, token).await? {
                        tx.delete(from, token);
                        tx.put(to, token, &session)?;
                        moved = true;
                    }
                }
            }
            Ok::<_, StoreError>((tx, moved))
        })
        .await?;
    Ok(done.value)
}

/// 401 `M_USER_LOCKED`.
pub(super) fn locked() -> Error {
    Error::new(
        http::StatusCode::UNAUTHORIZED,
        ruma::api::error::ErrorKind::UserLocked,
        "This account is locked. Ask whoever runs this server.",
    )
}

/// 403 `M_USER_SUSPENDED`.
pub(crate) fn suspended() -> Error {
    Error::new(
        http::StatusCode::FORBIDDEN,
        ruma::api::error::ErrorKind::UserSuspended,
        "This account is suspended: you can read, leave rooms and take back what you wrote. Ask whoever runs this server.",
    )
}
