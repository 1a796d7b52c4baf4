//! Users that the content of a state event names. A user id is a place for words, so that one that is written into a room
//! must be somebody's.

use std::collections::BTreeSet;

use ruma::{CanonicalJsonObject, UserId};

use super::state::RoomState;
use crate::{
    auth::PASSWORDS,
    error::{Error, Result},
    store::Store,
};

/// Whether everybody whom an event of this type would newly name has an account here. Who has to do with the room or is
/// named there already may be named again, so that nobody's end keeps a room from being changed.
///
/// # Errors
/// 404 `M_NOT_FOUND` if somebody has not, or the store's.
pub(super) async fn exist(
    store: &Store,
    kind: &str,
    content: &CanonicalJsonObject,
    room: Option<&RoomState>,
) -> Result<()> {
    let mut named = users(kind, content);
    if named.is_empty() {
        return Ok(());
    }
    if let Some(room) = room {
        let before = match room.get(kind, "") {
            Some(entry) => entry.event().parsed_content()?,
            None => CanonicalJsonObject::new(),
        };
        let before = users(kind, &before);
        named.retain(|user| {
            !before.contains(user) && room.get("m.room.member", user.as_str()).is_none()
        });
    }
    let found = store.get_many(&PASSWORDS, &named).await?;
    if found.iter().any(Option::is_none) {
        return Err(Error::not_found(
            "Somebody who is named here is no user of this server.",
        ));
    }
    Ok(())
}

/// What is no user id was refused by the gate.
fn users<'c>(kind: &str, content: &'c CanonicalJsonObject) -> BTreeSet<&'c UserId> {
    let named: Vec<&str> = match kind {
        "m.room.power_levels" => content
            .get("users")
            .and_then(|users| users.as_object())
            .into_iter()
            .flat_map(|users| users.keys().map(String::as_str))
            .collect(),
        "m.room.create" => content
            .get("additional_creators")
            .and_then(|creators| creators.as_array())
            .into_iter()
            .flatten()
            .filter_map(|user| user.as_str())
            .collect(),
        _ => Vec::new(),
    };
    named
        .into_iter()
        .filter_map(|user| user.try_into().ok())
        .collect()
}
