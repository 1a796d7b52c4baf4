//! Who enters a room that has taken another one's place finds there what they had set for that one.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#room-upgrades)

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, RoomId, UserId, events::room::member::MembershipState};
use serde::Deserialize;

use super::MEMBERSHIPS;
use crate::{
    account_data,
    error::{Error, Result},
    push,
    rooms::state::RoomState,
    store::Tx,
};

const TAGS: &str = "m.tag";
const DIRECT: &str = "m.direct";

/// The room whose place a room says that it has taken.
pub(in crate::rooms) fn predecessor(state: &RoomState) -> Option<OwnedRoomId> {
    #[derive(Deserialize)]
    struct Create {
        predecessor: Option<Predecessor>,
    }
    #[derive(Deserialize)]
    struct Predecessor {
        room_id: OwnedRoomId,
    }
    let create: Create = state.content("m.room.create")?;
    Some(create.predecessor?.room_id)
}

/// Copies the tags and the push rule of a room that the user is in, and calls the new one a conversation between two where the
/// old one was. What is set for the new one already stays.
///
/// # Errors
/// The store's.
pub(in crate::rooms) async fn follow_in(
    tx: &mut Tx,
    user: &UserId,
    old: &RoomId,
    new: &RoomId,
) -> Result<()> {
    let member = tx.get(&MEMBERSHIPS, (user, old)).await?;
    if member.is_none_or(|member| member.value.state != MembershipState::Join) {
        return Ok(());
    }
    let tags = account_data::get(tx.store(), user, Some(old), TAGS).await?;
    let known = account_data::get(tx.store(), user, Some(new), TAGS).await?;
    if let (Some(tags), None) = (tags, known) {
        account_data::set_in(tx, user, Some(new), TAGS, &tags).await?;
    }
    let direct = account_data::get(tx.store(), user, None, DIRECT).await?;
    if let Some(direct) = direct.and_then(|json| with(&json, old, new)) {
        let direct = serde_json::to_string(&direct)
            .map_err(|_| Error::internal("JSON that cannot be written"))?;
        account_data::set_in(tx, user, None, DIRECT, &direct).await?;
    }
    push::room_follows_in(tx, user, old, new).await
}

/// The conversations between two, with the new room beside the old one; `None` if that changes nothing.
fn with(json: &str, old: &RoomId, new: &RoomId) -> Option<BTreeMap<String, Vec<OwnedRoomId>>> {
    let mut direct: BTreeMap<String, Vec<OwnedRoomId>> = serde_json::from_str(json).ok()?;
    let mut changed = false;
    for rooms in direct.values_mut() {
        let has = |room: &RoomId| rooms.iter().any(|one| one == room);
        if has(old) && !has(new) {
            rooms.push(new.to_owned());
            changed = true;
        }
    }
    changed.then_some(direct)
}
