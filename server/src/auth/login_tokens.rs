//! Tokens with which somebody who is logged in lets another device of theirs in: for one login, for two minutes.
//!
//! [Token-based login](https://spec.matrix.org/v1.18/client-server-api/#token-based-login)

use std::time::Duration;

use ruma::{OwnedDeviceId, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::{DEVICES, Device, Secret, TokenHash, hash_token};
use crate::{
    error::{Error, Result},
    state::App,
    store::{Page, StoreError, Table, Tx},
};

/// The tokens that were not used yet, by when they end and their hash.
pub const LOGIN_TOKENS: Table<(u64, TokenHash), Issued> = Table::new(0x0110, "login_tokens");

/// How long a token lasts.
pub const LOGIN_TOKEN_LIFETIME: Duration = Duration::from_secs(2 * 60);

/// 200 random bits.
const LETTERS: usize = 40;
/// How many tokens that have ended are forgotten when one is made.
const FORGET_AT_ONCE: usize = 8;

/// Who made a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Issued {
    user: OwnedUserId,
    /// With its login the token ends.
    device: OwnedDeviceId,
}

/// Makes a token.
///
/// # Errors
/// The store's.
pub async fn issue_login_token(app: &App, me: &Device) -> Result<Secret, StoreError> {
    let expires = app.clock.after(LOGIN_TOKEN_LIFETIME);
    let token = Secret::from(format!("rsl_{expires}_{}", app.random.text(LETTERS)));
    let key = (expires, hash_token(token.expose()));
    let issued = &Issued {
        user: me.user.clone(),
        device: me.device.clone(),
    };
    let now = app.clock.millis();
    app.store
        .transact(|mut tx: Tx| async move {
            let oldest = tx
                .store()
                .scan(&LOGIN_TOKENS, (), Page::first(FORGET_AT_ONCE));
            for (old, _) in oldest.await? {
                if old.0 <= now {
                    tx.delete(&LOGIN_TOKENS, old);
                }
            }
            tx.put(&LOGIN_TOKENS, key, issued)?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(token)
}

/// Uses a token up. Whose it was, if the device that made it is still logged in.
///
/// # Errors
/// 403 `M_FORBIDDEN` for one that is unknown, used or too old.
pub async fn redeem_login_token_in(tx: &mut Tx, app: &App, token: &Secret) -> Result<OwnedUserId> {
    let token = token.expose();
    let expires = token.split('_').nth(1).and_then(|text| text.parse().ok());
    let expires: u64 = expires.ok_or_else(refused)?;
    let key = (expires, hash_token(token));
    let issued = tx.get(&LOGIN_TOKENS, key).await?.ok_or_else(refused)?;
    let made_by = tx.get(&DEVICES, (&issued.user, &issued.device)).await?;
    if expires <= app.clock.millis() || made_by.is_none() {
        return Err(refused());
    }
    tx.delete(&LOGIN_TOKENS, key);
    Ok(issued.user)
}

fn refused() -> Error {
    Error::forbidden(
        "This login token is wrong, used up or too old. Make a new one on a device that is logged in.",
    )
}
