//! Getting keys out of the backup.

use std::collections::BTreeMap;

use axum::Router;
use ruma::{
    OwnedRoomId,
    api::client::backup::{
        KeyBackupData, RoomKeyBackup, get_backup_keys, get_backup_keys_for_room,
        get_backup_keys_for_session,
    },
    serde::Raw,
};

use super::{BACKED_UP, existing, not_found, number};
use crate::{auth::Device, endpoint::endpoint, error::Result, state::App, store::Page};

/// How many keys are read at once.
const PAGE: usize = 1_000;

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(all))
        .merge(endpoint::<_, _, _, _>(of_room))
        .merge(endpoint::<_, _, _, _>(one))
}

/// `GET /room_keys/keys`
async fn all(
    app: App,
    me: Device,
    request: get_backup_keys::v3::Request,
) -> Result<get_backup_keys::v3::Response> {
    let version = number(&request.version)?;
    existing(&app.store, &me.user, version).await?;
    let mut rooms: BTreeMap<OwnedRoomId, RoomKeyBackup> = BTreeMap::new();
    let mut page = app
        .store
        .scan(&BACKED_UP, (&me.user, version), Page::first(PAGE))
        .await?;
    loop {
        let next = page
            .last()
            .map(|(key, _)| key.clone())
            .filter(|_| page.len() == PAGE);
        for ((_, _, room, id), session) in page {
            let room = rooms
                .entry(room)
                .or_insert_with(|| RoomKeyBackup::new(BTreeMap::new()));
            room.sessions.insert(id, session.to_client()?);
        }
        let Some(last) = next else {
            return Ok(get_backup_keys::v3::Response::new(rooms));
        };
        page = app
            .store
            .scan_after(&BACKED_UP, (&me.user, version), last, Page::first(PAGE))
            .await?;
    }
}

/// `GET /room_keys/keys/{roomId}`
async fn of_room(
    app: App,
    me: Device,
    request: get_backup_keys_for_room::v3::Request,
) -> Result<get_backup_keys_for_room::v3::Response> {
    let (version, room) = (number(&request.version)?, &request.room_id);
    existing(&app.store, &me.user, version).await?;
    let mut sessions: BTreeMap<String, Raw<KeyBackupData>> = BTreeMap::new();
    let mut page = app
        .store
        .scan(&BACKED_UP, (&me.user, version, room), Page::first(PAGE))
        .await?;
    loop {
        let next = page
            .last()
            .map(|(key, _)| key.clone())
            .filter(|_| page.len() == PAGE);
        for ((_, _, _, id), session) in page {
            sessions.insert(id, session.to_client()?);
        }
        let Some(last) = next else {
            return Ok(get_backup_keys_for_room::v3::Response::new(sessions));
        };
        page = app
            .store
            .scan_after(
                &BACKED_UP,
                (&me.user, version, room),
                last,
                Page::first(PAGE),
            )
            .await?;
    }
}

/// `GET /room_keys/keys/{roomId}/{sessionId}`
async fn one(
    app: App,
    me: Device,
    request: get_backup_keys_for_session::v3::Request,
) -> Result<get_backup_keys_for_session::v3::Response> {
    let version = number(&request.version)?;
    existing(&app.store, &me.user, version).await?;
    let key = (&me.user, version, &request.room_id, &request.session_id);
    let session = app
        .store
        .get(&BACKED_UP, key)
        .await?
        .ok_or_else(not_found)?;
    Ok(get_backup_keys_for_session::v3::Response::new(
        session.to_client()?,
    ))
}
