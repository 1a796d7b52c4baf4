//! Addresses that are given out before the upload, so that a client can send the message while its attachment uploads.

use std::time::Duration;

use axum::Router;
use http::StatusCode;
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt, UserId,
    api::{
        client::media::create_mxc_uri::v1::{Request, Response},
        error::ErrorKind,
    },
};

use super::{EXPIRY, MEDIA, RESERVED, RESERVED_BY, Reserved, upload};
use crate::{
    auth::Active,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
    store::{Page, Tx},
};

/// How long an address waits for its upload.
const RESERVATION: Duration = Duration::from_secs(24 * 60 * 60);
/// Most addresses of one user that wait for their upload.
const MAX_RESERVED: usize = 100;
/// When to ask again for who has that many.
const RETRY_AFTER: Duration = Duration::from_secs(60);

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(reserve)
}

/// `POST /_matrix/media/v1/create`
pub(super) async fn reserve(app: App, me: Active, _: Request) -> Result<Response> {
    let id = upload::new_id(&app);
    let expires = app.clock.after(RESERVATION);
    let (now, user, id) = (app.clock.millis(), &me.user, id.as_str());
    app.store
        .transact(|mut tx| async move {
            if waiting_in(&mut tx, user, now).await? >= MAX_RESERVED {
                return Err(Error::limit_exceeded(RETRY_AFTER));
            }
            tx.put(
                &RESERVED,
                id,
                &Reserved {
                    owner: user.clone(),
                    expires,
                },
            )?;
            tx.put(&RESERVED_BY, (user, id), &())?;
            tx.put(&EXPIRY, (expires, id), &())?;
            Ok((tx, ()))
        })
        .await?;
    let mut response = Response::new(upload::address(&app, id));
    response.unused_expires_at = Some(MilliSecondsSinceUnixEpoch(UInt::new_saturating(expires)));
    Ok(response)
}

/// How many of a user's addresses still wait.
async fn waiting_in(tx: &mut Tx, user: &UserId, now: u64) -> Result<usize> {
    let store = tx.store();
    let reserved = store
        .scan(&RESERVED_BY, (user,), Page::first(MAX_RESERVED * 2))
        .await?;
    let ids = reserved.into_iter().map(|((_, id), ())| id);
    let found = store.get_many(&RESERVED, ids).await?;
    let waiting = found
        .into_iter()
        .flatten()
        .filter(|reserved| reserved.expires > now);
    Ok(waiting.count())
}

/// Whether the user may upload to an address now.
pub(super) async fn check_in(tx: &mut Tx, user: &UserId, id: &str, now: u64) -> Result<()> {
    if tx.get(&MEDIA, id).await?.is_some() {
        return Err(taken());
    }
    let reserved = tx.get(&RESERVED, id).await?;
    match reserved.filter(|reserved| reserved.expires > now) {
        None => Err(Error::not_found(
            "This address has expired or was never given out. Ask for a new one.",
        )),
        Some(reserved) if reserved.owner != user => {
            Err(Error::forbidden("This address was given to somebody else."))
        }
        Some(_) => Ok(()),
    }
}

/// 409 `M_CANNOT_OVERWRITE_MEDIA`.
pub(super) fn taken() -> Error {
    Error::new(
        StatusCode::CONFLICT,
        ErrorKind::CannotOverwriteMedia,
        "Something was uploaded to this address already. Ask for a new one.",
    )
}
