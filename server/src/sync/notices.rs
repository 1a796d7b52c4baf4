//! What a client is told beside events: receipts, who is typing, account data.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedUserId, RoomId, UInt, UserId,
    events::{
        AnySyncEphemeralRoomEvent, AnyToDeviceEvent,
        receipt::{Receipt as Shown, ReceiptEventContent, ReceiptType},
        typing::TypingEventContent,
    },
    serde::Raw,
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    account_data,
    ephemeral::receipts::{self, RECEIPTS, Receipt},
    error::{Error, Result},
    push,
    state::App,
    to_device::ToDevice,
};

#[derive(Serialize)]
struct Event<'a, C> {
    r#type: &'a str,
    content: C,
}

/// An event of a type and a content.
pub(super) fn event<T>(kind: &str, content: impl Serialize) -> Result<Raw<T>> {
    to_raw_value(&Event {
        r#type: kind,
        content,
    })
    .map(Raw::from_json)
    .map_err(|_| Error::internal("an event that is not JSON"))
}

/// All receipts of a room that a user may see.
pub(super) async fn all_receipts(
    app: &App,
    viewer: &UserId,
    room: &RoomId,
) -> Result<Vec<Raw<AnySyncEphemeralRoomEvent>>> {
    shown(viewer, receipts::in_room(&app.store, room).await?)
}

/// Certain receipts of a room, as far as a user may see them.
pub(super) async fn some_receipts(
    app: &App,
    viewer: &UserId,
    room: &RoomId,
    moved: &BTreeSet<(OwnedUserId, String)>,
) -> Result<Vec<Raw<AnySyncEphemeralRoomEvent>>> {
    let keys = moved.iter().map(|(user, of)| (room, user, of));
    let found = app.store.get_many(&RECEIPTS, keys).await?;
    let moved = moved.iter().zip(found);
    let moved = moved.filter_map(|((user, of), found)| Some((user.clone(), of.clone(), found?)));
    shown(viewer, moved.collect())
}

/// Who is typing in a room.
pub(super) fn typing(typists: Vec<OwnedUserId>) -> Result<Raw<AnySyncEphemeralRoomEvent>> {
    event("m.typing", TypingEventContent::new(typists))
}

/// The user's account data of these types, or all of it; of a room, or global.
pub(super) async fn account_data<T>(
    app: &App,
    user: &UserId,
    room: Option<&RoomId>,
    types: Option<&BTreeSet<String>>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Raw<T>>> {
    let mut found = Vec::new();
    match types {
        Some(types) => {
            for kind in types.iter().filter(|kind| wanted(kind)) {
                if let Some(json) = account_data::get(&app.store, user, room, kind).await? {
                    found.push((kind.clone(), json));
                }
            }
        }
        None => match room {
            Some(room) => found = account_data::in_room(&app.store, user, room).await?,
            None => found = account_data::global(&app.store, user).await?,
        },
    }
    let found = found.iter().filter(|(kind, _)| wanted(kind));
    found.map(|(kind, json)| datum(kind, json)).collect()
}

/// Account data of a type, as it is kept.
pub(super) fn datum<T>(kind: &str, json: &str) -> Result<Raw<T>> {
    let content: &RawValue = serde_json::from_str(json)
        .map_err(|_| Error::internal("stored account data is not JSON"))?;
    event(kind, content)
}

/// The user's push rules as account data.
pub(super) async fn push_rules<T>(app: &App, user: &UserId) -> Result<Raw<T>> {
    let global = push::ruleset(&app.store, user).await?;
    event("m.push_rules", BTreeMap::from([("global", global)]))
}

/// A message to a device.
pub(super) fn to_device(message: &ToDevice) -> Result<Raw<AnyToDeviceEvent>> {
    #[derive(Serialize)]
    struct Message<'a> {
        r#type: &'a str,
        sender: &'a UserId,
        content: &'a RawValue,
    }
    let broken = |_| Error::internal("a stored message to a device is not JSON");
    let content = serde_json::from_str(&message.content).map_err(broken)?;
    let shown = Message {
        r#type: &message.kind,
        sender: &message.sender,
        content,
    };
    to_raw_value(&shown).map(Raw::from_json).map_err(broken)
}

/// One event, or several where somebody has more than one receipt of a type at the same message: a content has room for
/// one of them only.
fn shown(
    viewer: &UserId,
    receipts: Vec<(OwnedUserId, String, Receipt)>,
) -> Result<Vec<Raw<AnySyncEphemeralRoomEvent>>> {
    let mut contents: Vec<ReceiptEventContent> = Vec::new();
    for (user, of, receipt) in receipts {
        let (kind, thread) = receipts::of(&of);
        if kind == ReceiptType::ReadPrivate && user != viewer {
            continue;
        }
        let mut shown = Shown::new(MilliSecondsSinceUnixEpoch(UInt::new_saturating(receipt.ts)));
        shown.thread = thread;
        let taken = |content: &ReceiptEventContent| {
            let at = content
                .0
                .get(&receipt.event_id)
                .and_then(|at| at.get(&kind));
            at.is_some_and(|users| users.contains_key(&user))
        };
        let place = contents.iter().position(|content| !taken(content));
        let place = place.unwrap_or_else(|| {
            contents.push(ReceiptEventContent(BTreeMap::new()));
            contents.len() - 1
        });
        if let Some(content) = contents.get_mut(place) {
            let at = content.0.entry(receipt.event_id).or_default();
            at.entry(kind).or_default().insert(user, shown);
        }
    }
    contents
        .into_iter()
        .map(|content| event("m.receipt", content))
        .collect()
}
