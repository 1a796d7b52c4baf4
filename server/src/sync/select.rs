//! What a client's filter lets through.
//!
//! [Filtering](https://spec.matrix.org/v1.18/client-server-api/#filtering)

use ruma::{
    OwnedRoomId, RoomId,
    api::client::filter::{Filter, RoomEventFilter},
    serde::Raw,
};
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result},
    rooms::filter::fits,
};

/// Whether a client wants to hear of account data of this type.
pub(super) fn wants_global(filter: &Filter, kind: &str) -> bool {
    has_kind(filter.types.as_deref(), &filter.not_types, kind)
}

/// Whether a client wants to hear of something of this type in a room.
pub(super) fn wants(filter: &RoomEventFilter, room: &RoomId, kind: &str) -> bool {
    has_kind(filter.types.as_deref(), &filter.not_types, kind)
        && has_room(filter.rooms.as_deref(), &filter.not_rooms, room)
}

/// Whether a room is among `rooms`, where there is such a list, and not among `not_rooms`.
pub(super) fn has_room(
    rooms: Option<&[OwnedRoomId]>,
    not_rooms: &[OwnedRoomId],
    room: &RoomId,
) -> bool {
    rooms.is_none_or(|rooms| rooms.iter().any(|one| one == room))
        && !not_rooms.iter().any(|one| one == room)
}

fn has_kind(types: Option<&[String]>, not_types: &[String], kind: &str) -> bool {
    let is = |pattern: &String| fits(pattern, kind);
    types.is_none_or(|types| types.iter().any(is)) && !not_types.iter().any(is)
}

/// Leaves of an event only the fields that the client asked for; a dot leads to a field within, and `\.` is a dot.
///
/// # Errors
/// What is stored is not JSON.
pub(super) fn only_fields<T>(event: Raw<T>, fields: Option<&[String]>) -> Result<Raw<T>> {
    let Some(fields) = fields else {
        return Ok(event);
    };
    let broken = |_| Error::internal("a stored event is not JSON");
    let whole: Value = serde_json::from_str(event.json().get()).map_err(broken)?;
    let mut kept = Value::Object(Map::new());
    for field in fields {
        copy(&whole, &mut kept, &path(field));
    }
    Ok(Raw::new(&kept).map_err(broken)?.cast_unchecked())
}

fn path(field: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = field.chars();
    while let Some(char) = chars.next() {
        match char {
            '.' => parts.push(String::new()),
            '\\' => match chars.next() {
                Some(escaped @ ('.' | '\\')) => push(&mut parts, escaped),
                Some(other) => {
                    push(&mut parts, '\\');
                    push(&mut parts, other);
                }
                None => push(&mut parts, '\\'),
            },
            other => push(&mut parts, other),
        }
    }
    parts
}

fn push(parts: &mut [String], char: char) {
    if let Some(last) = parts.last_mut() {
        last.push(char);
    }
}

fn copy(from: &Value, to: &mut Value, path: &[String]) {
    let (Some((name, rest)), Value::Object(to)) = (path.split_first(), to) else {
        return;
    };
    let Some(found) = from.get(name) else { return };
    if rest.is_empty() {
        to.insert(name.clone(), found.clone());
    } else if found.is_object() {
        copy(
            found,
            to.entry(name.clone())
                .or_insert_with(|| Value::Object(Map::new())),
            rest,
        );
    }
}

#[cfg(test)]
mod tests {
    use ruma::{events::AnySyncTimelineEvent, room_id};
    use serde_json::json;

    use super::*;

    fn filter(json: Value) -> RoomEventFilter {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_is_not_wanted_wins_over_what_is() {
        let filter = filter(json!({ "types": ["m.*"], "not_types": ["m.typing"] }));
        let room = room_id!("!night:x");
        assert!(wants(&filter, room, "m.receipt"));
        assert!(!wants(&filter, room, "m.typing"));
        assert!(!wants(&filter, room, "org.x"));
    }

    #[test]
    fn an_empty_list_wants_nothing() {
        assert!(!wants(
            &filter(json!({ "types": [] })),
            room_id!("!night:x"),
            "m.receipt"
        ));
        assert!(!wants(
            &filter(json!({ "rooms": [] })),
            room_id!("!night:x"),
            "m.receipt"
        ));
    }

    #[test]
    fn only_the_fields_asked_for_are_sent() {
        let event = Raw::new(&json!({
            "type": "m.x", "sender": "@nurse:x", "content": { "a.b": 1, "c": { "d": 2, "e": 3 } },
        }))
        .unwrap()
        .cast_unchecked::<AnySyncTimelineEvent>();
        let fields = [
            "type",
            r"content.a\.b",
            "content.c.d",
            "content.c.d.e",
            "absent",
        ]
        .map(ToOwned::to_owned);
        let kept: Value = only_fields(event, Some(&fields))
            .unwrap()
            .deserialize_as_unchecked()
            .unwrap();
        assert_eq!(
            kept,
            json!({ "type": "m.x", "content": { "a.b": 1, "c": { "d": 2 } } })
        );
    }
}
