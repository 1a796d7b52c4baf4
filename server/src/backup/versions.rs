//! Versions of a backup: making, showing, changing and deleting them.

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    UserId,
    api::client::backup::{
        BackupAlgorithm, create_backup_version, delete_backup_version, get_backup_info,
        get_latest_backup_info, update_backup_version,
    },
    serde::Raw,
};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    BACKED_UP, BACKUPS, Backup, LATEST_BACKUP, changed, existing, no_such_version, number,
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    state::App,
    store::{Page, Store, StoreError},
};

/// Most versions of one user that are kept: clients have one, and some keep the one before it.
const MAX_VERSIONS: usize = 100;
/// How many keys of a deleted version one transaction removes.
const STEP: usize = 500;

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(create))
        .merge(endpoint::<_, _, _, _>(latest))
        .merge(endpoint::<_, _, _, _>(show))
        .merge(endpoint::<_, _, _, _>(update))
        .merge(endpoint::<_, _, _, _>(delete))
}

/// The newest version that is not deleted.
pub(super) async fn newest(
    store: &Store,
    user: &UserId,
) -> Result<Option<(u64, Backup)>, StoreError> {
    let versions = store
        .scan(&BACKUPS, (user,), Page::last(MAX_VERSIONS))
        .await?;
    let newest = versions.into_iter().find(|(_, backup)| !backup.deleted);
    Ok(newest.map(|((_, version), backup)| (version, backup)))
}

/// What a client says of a version.
#[derive(Deserialize)]
struct Description {
    algorithm: String,
    auth_data: Box<RawValue>,
    version: Option<String>,
}

impl Description {
    /// Algorithm, auth data as the gate lets it through, and the version if it is named.
    fn checked(body: &Raw<BackupAlgorithm>) -> Result<(String, String, Option<String>)> {
        let Self {
            algorithm,
            auth_data,
            version,
        } = serde_json::from_str(body.json().get())
            .map_err(|_| Error::bad_json("A key backup needs an algorithm and its auth_data."))?;
        let auth_data =
            ciphertext::backup_auth_data(&algorithm, gate::canonical(auth_data.get())?)?;
        Ok((algorithm, gate::text(&auth_data)?, version))
    }
}

/// `POST /room_keys/version`
async fn create(
    app: App,
    me: Device,
    request: create_backup_version::v3::Request,
) -> Result<create_backup_version::v3::Response> {
    let (algorithm, auth_data, _) = Description::checked(&request.algorithm)?;
    finish_deletions(&app.store, &me.user).await?;
    let backup = &Backup {
        algorithm,
        auth_data,
        count: 0,
        etag: 0,
        deleted: false,
    };
    let user = &me.user;
    let version = app
        .store
        .transact(|mut tx| async move {
            let mut latest = tx.get(&LATEST_BACKUP, user).await?.unwrap_or_default();
            let kept = tx
                .store()
                .scan(&BACKUPS, (user,), Page::first(MAX_VERSIONS))
                .await?;
            if kept.len() >= MAX_VERSIONS {
                return Err(Error::forbidden(
                    "You have too many versions of the key backup. Delete an old one first.",
                ));
            }
            latest.issued += 1;
            tx.put(&LATEST_BACKUP, user, &latest)?;
            tx.put(&BACKUPS, (user, latest.issued), backup)?;
            Ok::<_, Error>((tx, latest.issued))
        })
        .await?;
    Ok(create_backup_version::v3::Response::new(
        version.value.to_string(),
    ))
}

/// `GET /room_keys/version`
async fn latest(
    app: App,
    me: Device,
    _: get_latest_backup_info::v3::Request,
) -> Result<get_latest_backup_info::v3::Response> {
    let newest = newest(&app.store, &me.user).await?;
    let (version, backup) =
        newest.ok_or_else(|| Error::not_found("You have no key backup yet."))?;
    let (etag, count) = changed(&backup);
    Ok(get_latest_backup_info::v3::Response::new(
        described(&backup)?,
        count,
        etag,
        version.to_string(),
    ))
}

/// `GET /room_keys/version/{version}`
async fn show(
    app: App,
    me: Device,
    request: get_backup_info::v3::Request,
) -> Result<get_backup_info::v3::Response> {
    let backup = existing(&app.store, &me.user, number(&request.version)?).await?;
    let (etag, count) = changed(&backup);
    Ok(get_backup_info::v3::Response::new(
        described(&backup)?,
        count,
        etag,
        request.version,
    ))
}

/// `PUT /room_keys/version/{version}`: new signatures, the same algorithm.
async fn update(
    app: App,
    me: Device,
    request: update_backup_version::v3::Request,
) -> Result<update_backup_version::v3::Response> {
    let version = number(&request.version)?;
    let (algorithm, auth_data, named) = Description::checked(&request.algorithm)?;
    if named.is_some_and(|named| named != request.version) {
        return Err(Error::invalid_param(
            "The version in the request's body is not the one in its path.",
        ));
    }
    let (user, algorithm, auth_data) = (&me.user, &algorithm, &auth_data);
    app.store
        .transact(|mut tx| async move {
            let found = tx.get(&BACKUPS, (user, version)).await?;
            let mut backup = found
                .filter(|backup| !backup.deleted)
                .ok_or_else(no_such_version)?;
            if backup.algorithm != *algorithm {
                return Err(Error::invalid_param(
                    "The algorithm of a key backup cannot be changed. Make a new version.",
                ));
            }
            backup.auth_data.clone_from(auth_data);
            tx.put(&BACKUPS, (user, version), &backup)?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(update_backup_version::v3::Response::new())
}

/// `DELETE /room_keys/version/{version}`: gone at once; its keys are then removed step by step.
async fn delete(
    app: App,
    me: Device,
    request: delete_backup_version::v3::Request,
) -> Result<delete_backup_version::v3::Response> {
    let (user, version) = (&me.user, number(&request.version)?);
    app.store
        .transact(|mut tx| async move {
            let found = tx.get(&BACKUPS, (user, version)).await?;
            let mut backup = found
                .filter(|backup| !backup.deleted)
                .ok_or_else(no_such_version)?;
            backup.deleted = true;
            tx.put(&BACKUPS, (user, version), &backup)?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    finish_deletions(&app.store, user).await?;
    Ok(delete_backup_version::v3::Response::new())
}

fn described(backup: &Backup) -> Result<Raw<BackupAlgorithm>> {
    let damaged = |_| Error::internal("a key backup that is not JSON");
    let auth_data: Box<RawValue> = serde_json::from_str(&backup.auth_data).map_err(damaged)?;
    let json = serde_json::json!({ "algorithm": backup.algorithm, "auth_data": auth_data });
    Ok(Raw::from_json(to_raw_value(&json).map_err(damaged)?))
}

/// Removes the keys of deleted versions, also of those where a crash came in between, then the versions themselves.
async fn finish_deletions(store: &Store, user: &UserId) -> Result<(), StoreError> {
    let versions = store
        .scan(&BACKUPS, (user,), Page::first(MAX_VERSIONS))
        .await?;
    for ((_, version), _) in versions.into_iter().filter(|(_, backup)| backup.deleted) {
        while remove_some(store, user, version).await? {}
    }
    Ok(())
}

/// Removes some keys of a deleted version, and the version when none is left; whether there is more to do.
async fn remove_some(store: &Store, user: &UserId, version: u64) -> Result<bool, StoreError> {
    let removed = store
        .transact(|mut tx| async move {
            let keys = tx
                .store()
                .clone()
                .scan(&BACKED_UP, (user, version), Page::first(STEP))
                .await?;
            let more = keys.len() == STEP;
            for (key, _) in keys {
                tx.delete(&BACKED_UP, key);
            }
            if !more {
                tx.delete(&BACKUPS, (user, version));
            }
            Ok::<_, StoreError>((tx, more))
        })
        .await?;
    Ok(removed.value)
}
