//! The addresses that a room says it goes by (`m.room.canonical_alias`): each must lead to it.

use ruma::{
    CanonicalJsonObject, OwnedRoomAliasId, UserId, api::error::ErrorKind, events::StateEventType,
};

use super::resolve;
use crate::{
    error::{Error, Result},
    rooms::state::RoomState,
    state::App,
};

/// The type of the event.
pub(in crate::rooms) const KIND: &str = "m.room.canonical_alias";

/// Whether every address that an event would newly name leads to the room.
///
/// # Errors
/// 400 `M_INVALID_PARAM` for what is no address, 400 `M_BAD_ALIAS` for one that leads elsewhere or nowhere.
pub(in crate::rooms) async fn check(
    app: &App,
    room: &RoomState,
    kind: &str,
    content: &CanonicalJsonObject,
) -> Result<()> {
    if kind != KIND {
        return Ok(());
    }
    let before = match room.get(KIND, "") {
        Some(entry) => named(&entry.event().parsed_content()?),
        None => Vec::new(),
    };
    for alias in named(content) {
        if before.contains(&alias) {
            continue;
        }
        let alias = OwnedRoomAliasId::try_from(alias)
            .map_err(|_| Error::invalid_param("One of these is no address of a room."))?;
        if resolve(app, &alias).await.ok().as_deref() != Some(room.room_id()) {
            return Err(bad_alias());
        }
    }
    Ok(())
}

/// What the event would say without one of its addresses, if it names it and this person may say so.
pub(super) fn without(
    room: &RoomState,
    user: &UserId,
    alias: &str,
) -> Result<Option<CanonicalJsonObject>> {
    let Some(entry) = room.get(KIND, "") else {
        return Ok(None);
    };
    let mut content = entry.event().parsed_content()?;
    if !named(&content).iter().any(|named| named == alias) || !may_say(room, user) {
        return Ok(None);
    }
    if content.get("alias").and_then(|it| it.as_str()) == Some(alias) {
        content.remove("alias");
    }
    if let Some(others) = content
        .get_mut("alt_aliases")
        .and_then(|it| it.as_array_mut())
    {
        others.retain(|other| other.as_str() != Some(alias));
        if others.is_empty() {
            content.remove("alt_aliases");
        }
    }
    Ok(Some(content))
}

/// Whether somebody may say which addresses the room goes by, and so decides about those that others have given it.
pub(in crate::rooms) fn may_say(room: &RoomState, user: &UserId) -> bool {
    room.is_joined(user)
        && room
            .power_levels()
            .user_can_send_state(user, StateEventType::RoomCanonicalAlias)
}

pub(in crate::rooms) fn bad_alias() -> Error {
    Error::new(
        http::StatusCode::BAD_REQUEST,
        ErrorKind::BadAlias,
        "One of these addresses does not lead to this room. Give it to the room first.",
    )
}

/// The addresses in the content, in the form in which they stand there.
pub(in crate::rooms) fn named(content: &CanonicalJsonObject) -> Vec<String> {
    let others = content.get("alt_aliases").and_then(|it| it.as_array());
    content
        .get("alias")
        .into_iter()
        .chain(others.into_iter().flatten())
        .filter_map(|alias| alias.as_str())
        .filter(|alias| !alias.is_empty())
        .map(str::to_owned)
        .collect()
}
