//! The end of a room's timeline: the last events that a client wants, read backwards.

use std::{collections::BTreeSet, ops::ControlFlow};

use ruma::RoomId;

use crate::{
    error::Result,
    rooms::{
        access::Readable,
        event::{StoredEvent, TIMELINE},
    },
    store::Store,
};

/// How many events a client gets of a room when it does not say.
pub(super) const DEFAULT_LIMIT: usize = 10;
/// The most events that a client gets of a room in one sync.
pub(super) const MAX_LIMIT: usize = 100;
/// How many events are read at once at least, after the first ones.
const CHUNK: usize = 10;
/// How many events are looked at for those that the client wants.
pub(super) const MAX_EXAMINED: usize = 2_000;

/// An event and its position.
pub(super) type Placed = (u64, StoredEvent);

/// Where events are read from.
pub(super) enum Source<'a> {
    /// These positions, lowest first.
    Positions(&'a [u64]),
    /// All of the room between two positions, both included, throughout which the reader was in it.
    Span {
        /// The first position.
        first: u64,
        /// The last one.
        end: u64,
    },
    /// All of the room up to a position, as far as it may be read.
    History {
        /// The last position.
        end: u64,
        /// What may be read.
        readable: &'a Readable,
    },
}

/// The end of a timeline.
#[derive(Debug, Default)]
pub(super) struct Tail {
    limit: usize,
    examined: usize,
    /// The events that are wanted, lowest position first once it is finished.
    pub(super) wanted: Vec<Placed>,
    /// The state events that it covers and that are not wanted, or that may not be read where they stand and hold no more.
    pub(super) unwanted: Vec<Placed>,
    /// Whether there is more before it.
    pub(super) limited: bool,
    /// The first position that it covers.
    pub(super) start: u64,
}

impl Tail {
    /// The last events up to `end`, at most `limit` wanted ones, of which `wants` decides.
    pub(super) async fn read(
        store: &Store,
        room: &RoomId,
        source: Source<'_>,
        end: u64,
        limit: usize,
        wants: impl Fn(&StoredEvent) -> bool,
    ) -> Result<Self> {
        let mut tail = Self::new(limit, end);
        let readable = source.readable();
        let mut rest = source;
        let mut settled: BTreeSet<(String, String)> = BTreeSet::new();
        let mut count = limit + 1;
        'reading: loop {
            let (chunk, more) = rest.take(store, room, count).await?;
            count = count.max(CHUNK);
            if chunk.is_empty() {
                break;
            }
            for (position, event) in chunk {
                let seen = readable.is_none_or(|readable| readable.sees(position));
                // What still holds is told in its place: the timeline may have what held before it.
                let holds = event.state_key.clone().is_some_and(|key| {
                    readable.is_some() && settled.insert((event.kind.clone(), key))
                });
                let wanted = (seen || holds) && wants(&event);
                if tail.push((position, event), wanted).is_break() {
                    break 'reading;
                }
            }
            rest = more;
        }
        Ok(tail.finish())
    }

    fn new(limit: usize, end: u64) -> Self {
        Self {
            limit,
            start: end + 1,
            ..Self::default()
        }
    }

    /// Takes the next event towards the beginning.
    fn push(&mut self, placed: Placed, wanted: bool) -> ControlFlow<()> {
        if self.examined >= MAX_EXAMINED || (wanted && self.wanted.len() >= self.limit) {
            self.limited = true;
            return ControlFlow::Break(());
        }
        self.examined += 1;
        self.start = placed.0;
        if wanted {
            self.wanted.push(placed);
        } else if placed.1.state_key.is_some() {
            self.unwanted.push(placed);
        }
        ControlFlow::Continue(())
    }

    fn finish(mut self) -> Self {
        self.wanted.reverse();
        self.unwanted.reverse();
        self
    }

    /// The state events that it covers, wanted or not, in their order.
    pub(super) fn state(&self) -> Vec<&Placed> {
        let wanted = self
            .wanted
            .iter()
            .filter(|(_, event)| event.state_key.is_some());
        let mut all: Vec<&Placed> = wanted.chain(&self.unwanted).collect();
        all.sort_by_key(|(position, _)| *position);
        all
    }
}

impl<'a> Source<'a> {
    const fn readable(&self) -> Option<&'a Readable> {
        match self {
            Self::Positions(_) | Self::Span { .. } => None,
            Self::History { readable, .. } => Some(readable),
        }
    }

    /// The last `count` events, newest first, and what is before them.
    async fn take(self, store: &Store, room: &RoomId, count: usize) -> Result<(Vec<Placed>, Self)> {
        match self {
            Self::Positions(positions) => {
                let (rest, last) = positions.split_at(positions.len().saturating_sub(count));
                let events = store.entries(&TIMELINE, room, last).await?;
                let placed = last.iter().copied().zip(events).rev();
                let found = placed.filter_map(|(position, event)| Some((position, event?)));
                Ok((found.collect(), Self::Positions(rest)))
            }
            Self::Span { first, end } if end < first => Ok((Vec::new(), Self::Span { first, end })),
            Self::Span { first, end } => {
                let mut events = store.before(&TIMELINE, room, end + 1, count).await?;
                let end = events.last().map_or(0, |(position, _)| position - 1);
                events.retain(|(position, _)| *position >= first);
                Ok((events, Self::Span { first, end }))
            }
            Self::History { end, readable } => {
                let mut events = store.before(&TIMELINE, room, end + 1, count).await?;
                let next = events.last().map_or(0, |(position, _)| position - 1);
                // What the room became between two stretches that may be read is part of what it is now.
                let first = readable.first();
                events.retain(|(position, event)| {
                    *position >= first && (event.state_key.is_some() || readable.sees(*position))
                });
                Ok((
                    events,
                    Self::History {
                        end: next,
                        readable,
                    },
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_event_id, owned_room_id, owned_user_id};

    use super::*;
    use crate::rooms::event::Seal;

    fn event(kind: &str, state_key: Option<&str>) -> StoredEvent {
        StoredEvent {
            event_id: owned_event_id!("$event"),
            room_id: owned_room_id!("!night:x"),
            sender: owned_user_id!("@nurse:x"),
            kind: kind.to_owned(),
            state_key: state_key.map(ToOwned::to_owned),
            origin_server_ts: 0,
            content: "{}".to_owned(),
            redacts: None,
            redacted_because: None,
            replaced: None,
            seal: Seal {
                auth_events: Vec::new(),
                prev_events: Vec::new(),
                depth: 0,
                hash: String::new(),
                key_id: String::new(),
                signature: String::new(),
            },
        }
    }

    /// `m` is a message, `t` a topic; only messages are wanted.
    fn tail(limit: usize, room: &str) -> Tail {
        let mut tail = Tail::new(limit, room.len() as u64);
        for (place, kind) in room
            .chars()
            .enumerate()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let event = if kind == 'm' {
                event("m", None)
            } else {
                event("t", Some(""))
            };
            if tail.push((place as u64 + 1, event), kind == 'm').is_break() {
                break;
            }
        }
        tail.finish()
    }

    fn places(placed: &[Placed]) -> Vec<u64> {
        placed.iter().map(|(position, _)| *position).collect()
    }

    #[test]
    fn a_short_room_is_told_whole() {
        let tail = tail(3, "mmm");
        assert_eq!(places(&tail.wanted), [1, 2, 3]);
        assert!(!tail.limited);
        assert_eq!(tail.start, 1);
    }

    #[test]
    fn of_a_long_room_the_end_is_told_and_that_there_is_more() {
        let tail = tail(2, "mmmm");
        assert_eq!(places(&tail.wanted), [3, 4]);
        assert!(tail.limited);
        assert_eq!(tail.start, 3);
    }

    #[test]
    fn who_wants_no_events_is_told_that_there_are_some() {
        let none = tail(0, "mm");
        assert!(none.wanted.is_empty() && none.limited);
        assert_eq!(none.start, 3);
        assert!(!tail(0, "").limited);
    }

    #[test]
    fn what_is_not_wanted_takes_no_place() {
        let tail = tail(2, "mtmttm");
        assert_eq!(places(&tail.wanted), [3, 6]);
        assert_eq!(places(&tail.unwanted), [2, 4, 5]);
        assert!(tail.limited);
        assert_eq!(tail.start, 2);
    }

    #[test]
    fn a_room_without_anything_new_ends_where_it_ended() {
        let tail = tail(2, "");
        assert!(tail.wanted.is_empty() && !tail.limited);
        assert_eq!(tail.start, 1);
    }

    #[test]
    fn the_search_for_wanted_events_has_an_end() {
        let tail = tail(2, &"t".repeat(MAX_EXAMINED + 1));
        assert!(tail.wanted.is_empty() && tail.limited);
        assert_eq!(tail.start, 2);
    }
}
