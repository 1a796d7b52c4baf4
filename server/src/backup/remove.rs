//! Removing keys from the backup.

use axum::Router;
use ruma::{
    OwnedRoomId, UserId,
    api::client::backup::{
        delete_backup_keys, delete_backup_keys_for_room, delete_backup_keys_for_session,
    },
};

use super::{BACKED_UP, BACKUPS, Backup, changed, no_such_version, number};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
    store::{Page, Store, StoreError, Tx},
};

/// How many keys one transaction removes.
const STEP: usize = 500;

/// Which keys are to go.
#[derive(Clone, Copy)]
enum Which<'a> {
    All,
    OfRoom(&'a OwnedRoomId),
    One(&'a OwnedRoomId, &'a str),
}

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(all))
        .merge(endpoint::<_, _, _, _>(of_room))
        .merge(endpoint::<_, _, _, _>(one))
}

/// `DELETE /room_keys/keys`
async fn all(
    app: App,
    me: Device,
    request: delete_backup_keys::v3::Request,
) -> Result<delete_backup_keys::v3::Response> {
    let backup = remove(&app.store, &me.user, &request.version, Which::All).await?;
    let (etag, count) = changed(&backup);
    Ok(delete_backup_keys::v3::Response::new(etag, count))
}

/// `DELETE /room_keys/keys/{roomId}`
async fn of_room(
    app: App,
    me: Device,
    request: delete_backup_keys_for_room::v3::Request,
) -> Result<delete_backup_keys_for_room::v3::Response> {
    let which = Which::OfRoom(&request.room_id);
    let (etag, count) = changed(&remove(&app.store, &me.user, &request.version, which).await?);
    Ok(delete_backup_keys_for_room::v3::Response::new(etag, count))
}

/// `DELETE /room_keys/keys/{roomId}/{sessionId}`
async fn one(
    app: App,
    me: Device,
    request: delete_backup_keys_for_session::v3::Request,
) -> Result<delete_backup_keys_for_session::v3::Response> {
    let which = Which::One(&request.room_id, &request.session_id);
    let (etag, count) = changed(&remove(&app.store, &me.user, &request.version, which).await?);
    Ok(delete_backup_keys_for_session::v3::Response::new(
        etag, count,
    ))
}

/// Removes keys step by step, each step a commit with the count that belongs to it.
async fn remove(store: &Store, user: &UserId, version: &str, which: Which<'_>) -> Result<Backup> {
    let version = number(version)?;
    loop {
        let step = store
            .transact(|mut tx| async move {
                let found = tx.get(&BACKUPS, (user, version)).await?;
                let mut backup = found
                    .filter(|backup| !backup.deleted)
                    .ok_or_else(no_such_version)?;
                let removed = remove_some_in(&mut tx, user, version, which).await?;
                if removed > 0 {
                    backup.count = backup.count.saturating_sub(removed as u64);
                    backup.etag += 1;
                    tx.put(&BACKUPS, (user, version), &backup)?;
                }
                Ok::<_, Error>((tx, (backup, removed == STEP)))
            })
            .await?;
        let (backup, more) = step.value;
        if !more {
            return Ok(backup);
        }
    }
}

/// Removes up to [`STEP`] keys; how many.
async fn remove_some_in(
    tx: &mut Tx,
    user: &UserId,
    version: u64,
    which: Which<'_>,
) -> Result<usize, StoreError> {
    let store = tx.store().clone();
    let page = Page::first(STEP);
    let keys = match which {
        Which::All => store.scan(&BACKED_UP, (user, version), page).await?,
        Which::OfRoom(room) => store.scan(&BACKED_UP, (user, version, room), page).await?,
        Which::One(room, session) => {
            let found = store
                .get(&BACKED_UP, (user, version, room, session))
                .await?;
            found
                .into_iter()
                .map(|found| {
                    (
                        (user.to_owned(), version, room.clone(), session.to_owned()),
                        found,
                    )
                })
                .collect()
        }
    };
    let removed = keys.len();
    for (key, _) in keys {
        tx.delete(&BACKED_UP, key);
    }
    Ok(removed)
}
