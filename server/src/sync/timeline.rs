//! The end of a room's timeline: the last events that a client wants, read backwards.

use std::ops::ControlFlow;

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
/// How many events are looked at for those that the client wants.
pub(super) const MAX_EXAMINED: usize = 2_000;

/// An event and its position.
pub(super) type Placed = (u64, StoredEvent);

/// Where events are read from.
pub(super) enum Source<'a> {
    /// These positions, lowest first.
    Positions(&'a [u64]),
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
    /// The state events that it covers and that are not wanted.
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
        let mut rest = source;
        'reading: loop {
            let (chunk, more) = rest.take(store, room, limit + 1).await?;
            if chunk.is_empty() {
                break;
            }
            for (position, event) in chunk {
                let wanted = wants(&event);
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
    pub(super) fn state(&self) -> Vec<&StoredEvent> {
        let wanted = self
            .wanted
            .iter()
            .filter(|(_, event)| event.state_key.is_some());
        let mut all: Vec<&Placed> = wanted.chain(&self.unwanted).collect();
        all.sort_by_key(|(position, _)| *position);
        all.into_iter().map(|(_, event)| event).collect()
    }
}

impl<'a> Source<'a> {
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
            Self::History { end, readable } => {
                let mut events = store.before(&TIMELINE, room, end + 1, count).await?;
                let next = events.last().map_or(0, |(position, _)| position - 1);
                events.retain(|(position, _)| readable.sees(*position));
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
