//! Putting keys into the backup.

use std::collections::BTreeMap;

use axum::Router;
use ruma::{
    OwnedRoomId, UserId,
    api::client::backup::{
        KeyBackupData, RoomKeyBackup, add_backup_keys, add_backup_keys_for_room,
        add_backup_keys_for_session,
    },
    serde::Raw,
};

use super::{
    BACKED_UP, BACKUPS, Backup, Session, changed, existing, no_such_version, number, versions,
    wrong_version,
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
    store::{Store, Tx},
};

/// Most keys in one request.
const MAX_SESSIONS_PER_UPLOAD: usize = 2_000;
/// Most keys in one backup.
const MAX_SESSIONS: u64 = 200_000;

/// Keys as a request brings them, checked, each once.
type Sessions = BTreeMap<(OwnedRoomId, String), Session>;

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(add))
        .merge(endpoint::<_, _, _, _>(add_for_room))
        .merge(endpoint::<_, _, _, _>(add_one))
}

/// `PUT /room_keys/keys`
async fn add(
    app: App,
    me: Device,
    request: add_backup_keys::v3::Request,
) -> Result<add_backup_keys::v3::Response> {
    let sessions = checked(request.rooms)?;
    let (etag, count) = changed(&store(&app.store, &me.user, &request.version, sessions).await?);
    Ok(add_backup_keys::v3::Response::new(etag, count))
}

/// `PUT /room_keys/keys/{roomId}`
async fn add_for_room(
    app: App,
    me: Device,
    request: add_backup_keys_for_room::v3::Request,
) -> Result<add_backup_keys_for_room::v3::Response> {
    let sessions = checked([(request.room_id, RoomKeyBackup::new(request.sessions))].into())?;
    let (etag, count) = changed(&store(&app.store, &me.user, &request.version, sessions).await?);
    Ok(add_backup_keys_for_room::v3::Response::new(etag, count))
}

/// `PUT /room_keys/keys/{roomId}/{sessionId}`
async fn add_one(
    app: App,
    me: Device,
    request: add_backup_keys_for_session::v3::Request,
) -> Result<add_backup_keys_for_session::v3::Response> {
    let session: BTreeMap<String, Raw<KeyBackupData>> =
        [(request.session_id, request.session_data)].into();
    let sessions = checked([(request.room_id, RoomKeyBackup::new(session))].into())?;
    let (etag, count) = changed(&store(&app.store, &me.user, &request.version, sessions).await?);
    Ok(add_backup_keys_for_session::v3::Response::new(etag, count))
}

/// The keys of a request, all through the gate before any is kept.
fn checked(rooms: BTreeMap<OwnedRoomId, RoomKeyBackup>) -> Result<Sessions> {
    if rooms
        .values()
        .map(|room| room.sessions.len())
        .sum::<usize>()
        > MAX_SESSIONS_PER_UPLOAD
    {
        return Err(Error::too_large(
            "Too many keys at once. Back up at most 2,000 in one request.",
        ));
    }
    let mut checked = Sessions::new();
    for (room, backup) in rooms {
        for (session_id, data) in backup.sessions {
            let session = Session::checked(&room, &session_id, &data)?;
            checked.insert((room.clone(), session_id), session);
        }
    }
    Ok(checked)
}

/// Keeps those keys that are new or better than what is there, in one commit.
async fn store(store: &Store, user: &UserId, version: &str, sessions: Sessions) -> Result<Backup> {
    let version = number(version)?;
    existing(store, user, version).await?;
    let sessions = &sessions;
    let committed = store
        .transact(|mut tx| async move {
            let backup = merge_in(&mut tx, user, version, sessions).await?;
            Ok::<_, Error>((tx, backup))
        })
        .await?;
    Ok(committed.value)
}

/// The version's row is checked at commit and changes with every change of its keys, so that what is read beside it holds.
async fn merge_in(tx: &mut Tx, user: &UserId, version: u64, sessions: &Sessions) -> Result<Backup> {
    let found = tx.get(&BACKUPS, (user, version)).await?;
    let mut backup = found
        .filter(|backup| !backup.deleted)
        .ok_or_else(no_such_version)?;
    match versions::newest(tx.store(), user).await? {
        Some((newest, _)) if newest != version => return Err(wrong_version(newest)),
        _ => {}
    }
    let keys = sessions
        .keys()
        .map(|(room, session)| (user, version, room, session));
    let kept = tx.store().get_many(&BACKED_UP, keys).await?;
    let before = backup.count;
    let mut changes = false;
    for (((room, id), new), kept) in sessions.iter().zip(kept) {
        match kept {
            Some(kept) if !new.replaces(&kept) => continue,
            Some(_) => {}
            None => backup.count += 1,
        }
        changes = true;
        tx.put(&BACKED_UP, (user, version, room, id), new)?;
    }
    if backup.count > before && backup.count > MAX_SESSIONS {
        return Err(Error::too_large("The key backup is full. Begin a new one."));
    }
    if changes {
        backup.etag += 1;
        tx.put(&BACKUPS, (user, version), &backup)?;
    }
    Ok(backup)
}

#[cfg(test)]
mod tests;
