//! The room versions that this server knows: 10, 11 and 12.

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

use crate::error::{Error, Result};

/// The room versions that this server knows, oldest first.
pub const SUPPORTED: [RoomVersionId; 3] =
    [RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12];

/// A room version's rules.
///
/// # Errors
/// 400 `M_UNSUPPORTED_ROOM_VERSION` for a version that this server does not know.
pub fn rules(version: &RoomVersionId) -> Result<RoomVersionRules> {
    if SUPPORTED.contains(version)
        && let Some(rules) = version.rules()
    {
        return Ok(rules);
    }
    Err(Error::new(
        http::StatusCode::BAD_REQUEST,
        ruma::api::error::ErrorKind::UnsupportedRoomVersion,
        "This server does not know that room version. Use 10, 11 or 12.",
    ))
}
