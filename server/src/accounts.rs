//! Accounts: making one, logging in and out, and what its owner may change.

mod account;
mod administration;
mod login;
mod login_token;
mod name;
mod profile;
mod registration;
mod session;

use axum::Router;
use respite_protocol::Role;
use ruma::{DeviceId, OwnedUserId, RoomId, UserId, events::room::member::MembershipState};
use serde::{Deserialize, Serialize};

use crate::{
    auth::{self, PASSWORDS, RESTRICTED, Restriction, Secret},
    devices,
    error::{Error, Result},
    invites,
    rooms::{erasure, membership, state::ROOMS},
    state::App,
    store::{Page, Store, StoreError, Table},
};

/// The accounts that are ended, and of which not everything is removed; with the last of their rooms from which their
/// pseudonym was taken out, in the order of ids.
pub const ENDED: Table<OwnedUserId, String> = Table::new(0x010A, "accounts_ended");

/// How many entries of an ended account one transaction removes.
const STEP: usize = 500;

/// All accounts that ever were: the name of one that was given up is not given away again.
pub const ACCOUNTS: Table<OwnedUserId, Account> = Table::new(0x0106, "accounts");

/// An account. Its password's hash is in [`auth::PASSWORDS`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// What its owner is here.
    pub role: Role,
    /// Milliseconds since 1970.
    pub created: u64,
    /// When it was given up, in milliseconds since 1970.
    pub deactivated: Option<u64>,
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(registration::router())
        .merge(login::router())
        .merge(login_token::router())
        .merge(session::router())
        .merge(account::router())
        .merge(administration::router())
        .merge(profile::router())
}

/// An account that is in use.
///
/// # Errors
/// The store's.
pub async fn active(store: &Store, user: &UserId) -> Result<Option<Account>, StoreError> {
    Ok(store
        .get(&ACCOUNTS, user)
        .await?
        .filter(|account| account.deactivated.is_none()))
}

/// Accounts in the order of their ids, from after `after` on.
///
/// # Errors
/// The store's.
pub async fn list(
    store: &Store,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<(OwnedUserId, Account)>, StoreError> {
    match after {
        Some(after) => {
            store
                .scan_after(&ACCOUNTS, (), after, Page::first(limit))
                .await
        }
        None => store.scan(&ACCOUNTS, (), Page::first(limit)).await,
    }
}

/// Gives an account a new password and logs all of its devices out.
///
/// # Errors
/// 404 for an unknown or deactivated account, 400 for a password that cannot be taken.
pub async fn reset_password(app: &App, user: &UserId, password: Secret) -> Result<()> {
    set_password(app, user, password).await?;
    log_out_everywhere(app, user, None).await
}

async fn set_password(app: &App, user: &UserId, password: Secret) -> Result<()> {
    auth::check_quality(password.expose())?;
    let hash = app.hasher.hash(&app.random, password).await?;
    app.store
        .transact(|mut tx| async {
            match tx.get(&ACCOUNTS, user).await? {
                Some(Account {
                    deactivated: None, ..
                }) => {}
                _ => return Err(Error::not_found("There is no such account.")),
            }
            tx.put(&PASSWORDS, user, &hash)?;
            Ok((tx, ()))
        })
        .await?;
    Ok(())
}

/// Ends an account: nobody can log in to it again, its devices and codes are gone, and it leaves its rooms. What its owner
/// kept here about themselves is then removed in small steps (`trimming`). Ending it again finishes what a failure left
/// undone. With `erase`, what they said is from then on shown only to those who were in the room when they said it.
///
/// # Errors
/// 404 for an unknown account.
pub async fn deactivate(app: &App, user: &UserId, erase: bool) -> Result<()> {
    if erase {
        // First: nobody can ask for it again once the account is ended.
        erasure::erase(&app.store, user).await?;
    }
    app.store
        .transact(|mut tx| async {
            let Some(mut account) = tx.get(&ACCOUNTS, user).await? else {
                return Err(Error::not_found("There is no such account."));
            };
            account.deactivated.get_or_insert(app.clock.millis());
            tx.put(&ACCOUNTS, user, &account)?;
            tx.put(&ENDED, user, &String::new())?;
            tx.delete(&PASSWORDS, user);
            tx.delete(&RESTRICTED, user);
            let devices = devices::of(tx.store(), user).await?;
            devices::delete_each_in(&mut tx, app, user, &devices).await?;
            Ok((tx, ()))
        })
        .await?;
    log_out_everywhere(app, user, None).await?;
    while invites::forget_maker(&app.store, user, STEP).await? {}
    for (room, membership) in membership::rooms_of(&app.store, user).await? {
        if matches!(
            membership.state,
            MembershipState::Join | MembershipState::Invite | MembershipState::Knock
        ) {
            leave(app, user, &room).await?;
        }
    }
    Ok(())
}

/// Has somebody leave a room whose account is ended. A room that is deleted meanwhile they have left by that.
///
/// # Errors
/// The store's.
pub async fn leave(app: &App, user: &UserId, room: &RoomId) -> Result<()> {
    match membership::leave(app, user, room).await {
        Err(_) if app.store.get(&ROOMS, room).await?.is_none() => Ok(()),
        left => left,
    }
}

/// Locks an account, or unlocks it. While it is locked, its devices stay logged in and can do nothing.
///
/// # Errors
/// 404 for an unknown or deactivated account.
pub async fn lock(app: &App, user: &UserId, locked: bool) -> Result<()> {
    restrict(app, user, |restriction| restriction.locked = locked).await
}

/// Suspends an account, or ends that. While it is suspended, its owner can read, and not write.
///
/// # Errors
/// 404 for an unknown or deactivated account.
pub async fn suspend(app: &App, user: &UserId, suspended: bool) -> Result<()> {
    restrict(app, user, |restriction| restriction.suspended = suspended).await
}

async fn restrict(
    app: &App,
    user: &UserId,
    change: impl Fn(&mut Restriction) + Send + Sync,
) -> Result<()> {
    if active(&app.store, user).await?.is_none() {
        return Err(Error::not_found("There is no such account."));
    }
    auth::restrict(&app.store, user, change).await?;
    Ok(())
}

/// Removes all devices but the one to keep; again until there is none, since a login that was under way may have added one.
async fn log_out_everywhere(app: &App, user: &UserId, keep: Option<&DeviceId>) -> Result<()> {
    loop {
        let mut devices = devices::of(&app.store, user).await?;
        devices.retain(|device| Some(&**device) != keep);
        if devices.is_empty() {
            return Ok(());
        }
        devices::delete_all(app, user, &devices).await?;
    }
}

#[cfg(test)]
mod tests;
