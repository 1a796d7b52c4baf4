//! Reading a room's timeline, as far as one may.

mod asked;
mod endpoints;
mod moment;

use axum::Router;
use ruma::{api::Direction, api::client::filter::RoomEventFilter};

use super::{
    access::Readable,
    event::{StoredEvent, TIMELINE},
    filter::matches,
    relations::RelatedBy,
};
use crate::{error::Result, state::App, store::Store};

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoints::router())
        .merge(moment::router())
}

/// The most events that one request is answered with, whatever it asks for: each may have 64 KiB.
pub const MAX_EVENTS: usize = 100;

/// The most events that one request looks at; a filter that lets few through gets a token to go on with.
const MAX_SCANNED: usize = 10_000;
/// The same, where what refers to each of them has to be looked up.
const MAX_SCANNED_WITH_RELATIONS: usize = 1_000;

/// A stretch of a timeline.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// Right after which position it begins, in the direction of reading.
    pub from: u64,
    /// Right after which position it ends.
    pub to: Option<u64>,
    /// Towards the room's beginning, or its end.
    pub direction: Direction,
    /// At most this many events.
    pub limit: usize,
}

/// Which of its events are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// By what they are; all, if nothing is said.
    pub filter: Option<&'a RoomEventFilter>,
    /// By what refers to them.
    related: Option<&'a RelatedBy>,
}

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// The events and their positions, in the direction of reading.
    pub events: Vec<(u64, StoredEvent)>,
    /// Right after which position to go on; `None` if there is no more for now.
    pub next: Option<u64>,
}

/// The events of a stretch that the user may read and wants to, and the filter lets through.
///
/// # Errors
/// The store's.
pub async fn read(
    store: &Store,
    readable: &Readable,
    stretch: Stretch,
    wanted: Wanted<'_>,
) -> Result<Read> {
    let backwards = stretch.direction == Direction::Backward;
    // The first position that is looked at lies right behind this one.
    let mut at = if backwards {
        stretch.from.min(readable.last()).saturating_add(1)
    } else {
        stretch.from.max(readable.first().saturating_sub(1))
    };
    let inside = |position: u64| {
        let within = match stretch.to {
            None => true,
            Some(to) if backwards => position > to,
            Some(to) => position <= to,
        };
        within && (readable.first()..=readable.last()).contains(&position)
    };
    let mut events = Vec::new();
    let mut scanned = 0;
    while events.len() < stretch.limit && scanned < wanted.most_scanned() {
        let page = if backwards {
            store
                .before(&TIMELINE, &readable.room_id, at, stretch.limit)
                .await?
        } else {
            store
                .after(&TIMELINE, &readable.room_id, at, stretch.limit)
                .await?
        };
        let whole = page.len() < stretch.limit;
        scanned += page.len();
        for (position, event) in page {
            if !inside(position) {
                return Ok(Read { events, next: None });
            }
            at = position;
            if readable.sees(position) && wanted.has(store, readable, &event).await? {
                events.push((position, event));
            }
            if events.len() == stretch.limit {
                break;
            }
        }
        if whole && events.len() < stretch.limit {
            return Ok(Read { events, next: None });
        }
    }
    let next = if backwards { at.saturating_sub(1) } else { at };
    let more = next != 0
        && inside(if backwards {
            next
        } else {
            next.saturating_add(1)
        });
    Ok(Read {
        events,
        next: more.then_some(next),
    })
}

impl Wanted<'_> {
    fn most_scanned(&self) -> usize {
        match self.related {
            Some(related) if !related.is_empty() => MAX_SCANNED_WITH_RELATIONS,
            _ => MAX_SCANNED,
        }
    }

    async fn has(&self, store: &Store, readable: &Readable, event: &StoredEvent) -> Result<bool> {
        if readable.ignores(event) || self.filter.is_some_and(|filter| !matches(filter, event)) {
            return Ok(false);
        }
        match self.related {
            Some(related) => Ok(related.matches(store, readable, event).await?),
            None => Ok(true),
        }
    }
}
