//! What a client's filter lets through.
//!
//! [Filtering](https://spec.matrix.org/v1.18/client-server-api/#filtering)

use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::filter::{Filter, RoomEventFilter, UrlFilter},
    serde::Raw,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Selects events by type and sender.
#[derive(Clone, Copy)]
pub struct Select<'a> {
    types: Option<&'a [String]>,
    not_types: &'a [String],
    senders: Option<&'a [OwnedUserId]>,
    not_senders: &'a [OwnedUserId],
    rooms: Option<&'a [OwnedRoomId]>,
    not_rooms: &'a [OwnedRoomId],
    url: Option<UrlFilter>,
}

impl<'a> From<&'a Filter> for Select<'a> {
    fn from(filter: &'a Filter) -> Self {
        Self {
            types: filter.types.as_deref(),
            not_types: &filter.not_types,
            senders: filter.senders.as_deref(),
            not_senders: &filter.not_senders,
            rooms: None,
            not_rooms: &[],
            url: None,
        }
    }
}

impl<'a> From<&'a RoomEventFilter> for Select<'a> {
    fn from(filter: &'a RoomEventFilter) -> Self {
        Self {
            types: filter.types.as_deref(),
            not_types: &filter.not_types,
            senders: filter.senders.as_deref(),
            not_senders: &filter.not_senders,
            rooms: filter.rooms.as_deref(),
            not_rooms: &filter.not_rooms,
            url: filter.url_filter,
        }
    }
}

impl Select<'_> {
    /// Whether something of this type may pass.
    pub fn kind(&self, kind: &str) -> bool {
        let is = |pattern: &String| matches(pattern, kind);
        self.types.is_none_or(|types| types.iter().any(is)) && !self.not_types.iter().any(is)
    }

    /// Whether something in this room may pass.
    pub fn room(&self, room: &RoomId) -> bool {
        has_room(self.rooms, self.not_rooms, room)
    }

    /// Whether an event may pass, given its content as JSON.
    pub fn event(&self, kind: &str, sender: &UserId, content: &str) -> bool {
        self.kind(kind)
            && self.senders.is_none_or(|senders| senders.iter().any(|one| one == sender))
            && !self.not_senders.iter().any(|one| one == sender)
            && self.url.is_none_or(|url| has_url(content) == (url == UrlFilter::EventsWithUrl))
    }
}

/// Whether a room is among `rooms`, where there is such a list, and not among `not_rooms`.
pub fn has_room(rooms: Option<&[OwnedRoomId]>, not_rooms: &[OwnedRoomId], room: &RoomId) -> bool {
    rooms.is_none_or(|rooms| rooms.iter().any(|one| one == room))
        && !not_rooms.iter().any(|one| one == room)
}

/// Leaves of an event only the fields that the client asked for; a dot leads to a field within, and `\.` is a dot.
///
/// # Errors
/// What is stored is not JSON.
pub fn only_fields<T>(event: Raw<T>, fields: Option<&[String]>) -> Result<Raw<T>> {
    let Some(fields) = fields else { return Ok(event) };
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
    let (Some((name, rest)), Value::Object(to)) = (path.split_first(), to) else { return };
    let Some(found) = from.get(name) else { return };
    if rest.is_empty() {
        to.insert(name.clone(), found.clone());
    } else if found.is_object() {
        copy(found, to.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())), rest);
    }
}

fn has_url(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Content {
        url: Option<IgnoredAny>,
    }
    serde_json::from_str::<Content>(content).is_ok_and(|content| content.url.is_some())
}

/// Whether a type matches a pattern, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = text.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use ruma::{events::AnySyncTimelineEvent, user_id};
    use serde_json::json;

    use super::*;

    fn filter(json: Value) -> RoomEventFilter {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("m.room.message", "m.room.message", true),
            ("m.room.message", "m.room.messages", false),
            ("m.room.*", "m.room.member", true),
            ("m.room.*", "m.reaction", false),
            ("*", "", true),
            ("*.room.*", "m.room.member", true),
            ("m.*.m*r", "m.room.member", true),
            ("m.*.*x*", "m.room.member", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} and {text}");
        }
    }

    #[test]
    fn a_client_that_wants_messages_only_gets_messages_only() {
        let filter = filter(json!({ "types": ["m.room.encrypted"], "not_senders": ["@spam:x"] }));
        let select = Select::from(&filter);
        assert!(select.event("m.room.encrypted", user_id!("@nurse:x"), "{}"));
        assert!(!select.event("m.room.member", user_id!("@nurse:x"), "{}"));
        assert!(!select.event("m.room.encrypted", user_id!("@spam:x"), "{}"));
    }

    #[test]
    fn what_is_not_wanted_wins_over_what_is() {
        let filter = filter(json!({ "types": ["m.*"], "not_types": ["m.room.member"] }));
        assert!(!Select::from(&filter).kind("m.room.member"));
        assert!(Select::from(&filter).kind("m.room.topic"));
    }

    #[test]
    fn an_empty_list_of_types_wants_nothing() {
        assert!(!Select::from(&filter(json!({ "types": [] }))).kind("m.room.message"));
    }

    #[test]
    fn pictures_can_be_left_out() {
        let filter = filter(json!({ "contains_url": false }));
        let select = Select::from(&filter);
        let nurse = user_id!("@nurse:x");
        assert!(!select.event("m.room.message", nurse, r#"{"url":"mxc://x/y"}"#));
        assert!(select.event("m.room.message", nurse, r#"{"body":"url"}"#));
    }

    #[test]
    fn only_the_fields_asked_for_are_sent() {
        let event = Raw::new(&json!({
            "type": "m.x", "sender": "@nurse:x", "content": { "a.b": 1, "c": { "d": 2, "e": 3 } },
        }))
        .unwrap()
        .cast_unchecked::<AnySyncTimelineEvent>();
        let fields = ["type", r"content.a\.b", "content.c.d", "content.c.d.e", "absent"]
            .map(ToOwned::to_owned);
        let kept: Value = only_fields(event, Some(&fields)).unwrap().deserialize_as_unchecked().unwrap();
        assert_eq!(kept, json!({ "type": "m.x", "content": { "a.b": 1, "c": { "d": 2 } } }));
    }
}
