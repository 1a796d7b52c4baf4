//! Key backups: message keys that clients have encrypted for themselves, so that whoever loses a phone loses nothing. The
//! server holds what it cannot open.
//!
//! [Server-side key backups](https://spec.matrix.org/v1.18/client-server-api/#server-side-key-backups)

mod read;
mod remove;
mod session;
mod versions;
mod write;

use axum::Router;
use http::StatusCode;
use ruma::{
    OwnedRoomId, OwnedUserId, UserId,
    api::error::{ErrorKind, WrongRoomKeysVersionErrorData},
};
use serde::{Deserialize, Serialize};

pub use self::session::Session;
use crate::{
    error::{Error, Result},
    state::App,
    store::{Store, Table},
};

/// The backup versions of each user.
pub const BACKUPS: Table<(OwnedUserId, u64), Backup> = Table::new(0x0641, "backups");

/// The version that was made last, and which of them is in use.
pub const LATEST_BACKUP: Table<OwnedUserId, Latest> = Table::new(0x0642, "latest_backup");

/// The keys of each version, by room and session id.
pub const BACKED_UP: Table<(OwnedUserId, u64, OwnedRoomId, String), Session> =
    Table::new(0x0643, "backed_up_sessions");

/// A version of a backup. Every change of its keys changes this row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// How its keys are encrypted.
    pub algorithm: String,
    /// The public key and who signed it, as JSON.
    pub auth_data: String,
    /// How many keys it holds.
    pub count: u64,
    /// Goes up with every change of its keys.
    pub etag: u64,
    /// Whether it was deleted, and its keys are being removed.
    pub deleted: bool,
}

/// A user's latest version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// The number that was given out last; none is given twice.
    pub issued: u64,
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(versions::router())
        .merge(write::router())
        .merge(read::router())
        .merge(remove::router())
}

/// A version's number as clients name it.
fn number(version: &str) -> Result<u64> {
    // Only the way that the server writes it, so that a version has one name.
    version
        .parse()
        .ok()
        .filter(|number: &u64| number.to_string() == version)
        .ok_or_else(no_such_version)
}

/// A version that is not deleted.
async fn existing(store: &Store, user: &UserId, version: u64) -> Result<Backup> {
    let found = store.get(&BACKUPS, (user, version)).await?;
    found
        .filter(|backup| !backup.deleted)
        .ok_or_else(no_such_version)
}

fn no_such_version() -> Error {
    Error::not_found("There is no such version of the key backup.")
}

fn not_found() -> Error {
    Error::not_found("This key is not in the backup.")
}

/// 403 `M_WRONG_ROOM_KEYS_VERSION`.
fn wrong_version(current: u64) -> Error {
    Error::new(
        StatusCode::FORBIDDEN,
        ErrorKind::WrongRoomKeysVersion(WrongRoomKeysVersionErrorData::new(current.to_string())),
        "Another of your devices has begun a new key backup. Keys go there now.",
    )
}

/// `etag` and `count` as an answer.
fn changed(backup: &Backup) -> (String, ruma::UInt) {
    (
        backup.etag.to_string(),
        ruma::UInt::new_saturating(backup.count),
    )
}
