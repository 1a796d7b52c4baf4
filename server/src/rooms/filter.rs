//! Which events of a room a client wants to see.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#filtering)

use ruma::api::client::filter::{RoomEventFilter, UrlFilter};
use serde::{Deserialize, de::IgnoredAny};

use super::event::StoredEvent;

/// Whether a filter lets an event through.
pub fn matches(filter: &RoomEventFilter, event: &StoredEvent) -> bool {
    let in_list = |list: &[String]| list.iter().any(|pattern| fits(pattern, &event.kind));
    filter.types.as_ref().is_none_or(|types| in_list(types))
        && !in_list(&filter.not_types)
        && filter
            .senders
            .as_ref()
            .is_none_or(|senders| senders.contains(&event.sender))
        && !filter.not_senders.contains(&event.sender)
        && filter
            .rooms
            .as_ref()
            .is_none_or(|rooms| rooms.contains(&event.room_id))
        && !filter.not_rooms.contains(&event.room_id)
        && match filter.url_filter {
            None => true,
            Some(UrlFilter::EventsWithUrl) => has_url(event),
            Some(UrlFilter::EventsWithoutUrl) => !has_url(event),
        }
}

fn has_url(event: &StoredEvent) -> bool {
    #[derive(Deserialize)]
    struct Content {
        url: Option<IgnoredAny>,
    }
    serde_json::from_str::<Content>(&event.content).is_ok_and(|content| content.url.is_some())
}

/// Whether a type fits a pattern, in which `*` stands for anything.
pub fn fits(pattern: &str, kind: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == kind;
    };
    let Some(mut left) = kind.strip_prefix(start) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_anything() {
        assert!(fits("m.room.*", "m.room.encrypted"));
        assert!(fits("*", "m.room.encrypted"));
        assert!(fits("m.*.verification.*", "m.key.verification.start"));
        assert!(fits("m.room.name", "m.room.name"));
        assert!(!fits("m.room.*", "m.sticker"));
        assert!(!fits("m.room.name", "m.room.names"));
        assert!(!fits("*.name", "m.room.names"));
        assert!(!fits("m.a*a", "m.a"));
    }
}
