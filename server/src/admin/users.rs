//! Accounts, as an operator manages them.

use ruma::{OwnedUserId, UserId};

use super::{Answer, Failure, User};
use crate::{
    accounts,
    auth::{self, Secret},
    devices,
    state::App,
    trimming,
};

/// How many accounts are read at a time.
const PAGE: usize = 500;
/// A random password's length: 5 bits a letter.
const PASSWORD_LETTERS: usize = 20;

/// All accounts, with the number of their devices.
pub(super) async fn list(app: &App) -> Result<Vec<User>, Failure> {
    let mut users: Vec<User> = Vec::new();
    loop {
        let after = users.last().map(|user| user.user.clone());
        let page = accounts::list(&app.store, after.as_deref(), PAGE).await?;
        if page.is_empty() {
            return Ok(users);
        }
        for (user, account) in page {
            let restriction = auth::restriction(&app.store, &user).await?;
            users.push(User {
                locked: restriction.locked,
                suspended: restriction.suspended,
                devices: devices::of(&app.store, &user).await?.len(),
                user,
                role: account.role,
                created: account.created,
                deactivated: account.deactivated,
            });
        }
    }
}

/// Ends an account.
pub(super) async fn deactivate(app: &App, name: &str, erase: bool) -> Result<OwnedUserId, Failure> {
    let user = user_id(app, name)?;
    trimming::erase_account(app, &user, erase).await?;
    Ok(user)
}

/// Sets the password that is given, or a random one, which is returned.
pub(super) async fn reset_password(
    app: &App,
    name: &str,
    given: Option<Secret>,
) -> Result<(OwnedUserId, Option<Secret>), Failure> {
    let user = user_id(app, name)?;
    let (password, made) = match given {
        Some(password) => (password, None),
        None => {
            let made = Secret::from(app.random.text(PASSWORD_LETTERS));
            (made.clone(), Some(made))
        }
    };
    accounts::reset_password(app, &user, password).await?;
    Ok((user, made))
}

/// Locks an account, or unlocks it.
pub(super) async fn lock(app: &App, name: &str, locked: bool) -> Result<Answer, Failure> {
    let user = user_id(app, name)?;
    accounts::lock(app, &user, locked).await?;
    restricted(app, user).await
}

/// Suspends an account, or ends that.
pub(super) async fn suspend(app: &App, name: &str, suspended: bool) -> Result<Answer, Failure> {
    let user = user_id(app, name)?;
    accounts::suspend(app, &user, suspended).await?;
    restricted(app, user).await
}

async fn restricted(app: &App, user: OwnedUserId) -> Result<Answer, Failure> {
    let restriction = auth::restriction(&app.store, &user).await?;
    Ok(Answer::Restricted {
        user,
        locked: restriction.locked,
        suspended: restriction.suspended,
    })
}

fn user_id(app: &App, name: &str) -> Result<OwnedUserId, Failure> {
    UserId::parse_with_server_name(name, app.server_name())
        .ok()
        .filter(|user| user.server_name() == *app.server_name())
        .ok_or_else(|| {
            Failure(format!(
                "This is no user of this server. Write @name:{} or name.",
                app.server_name()
            ))
        })
}
