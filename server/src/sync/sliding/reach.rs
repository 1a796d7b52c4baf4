//! How much of a room's timeline is told: a stretch of it, and what the client has of the time before it.

use std::sync::Arc;

use super::{case::Case, room::Teller};
use crate::{
    error::{Error, Result},
    rooms::{
        access::{self, Readable},
        event::{StoredEvent, TIMELINE},
        state::{self, RoomState},
    },
    sync::{
        timeline::{Source, Tail},
        window::News,
    },
};

const MEMBER: &str = "m.room.member";

/// A stretch of a room's timeline, and what the client has of the time before it.
pub(super) struct Reach {
    pub(super) state: Arc<RoomState>,
    /// Where the user came to be what they are in it.
    pub(super) own: u64,
    /// The last position that the client knows; 0 if it begins anew.
    pub(super) from: u64,
    /// The last position that is told.
    pub(super) end: u64,
    /// Whether they never were in it: they were invited and declined, and learn no more than that.
    pub(super) stranger: bool,
}

impl Teller<'_> {
    /// Up to where the room is told, and from where on: from the beginning, if the user was not in it all the time since.
    pub(super) async fn reach(&self, case: &Case<'_>) -> Result<Reach> {
        let (entry, me) = (case.entry, &*self.me.user);
        let joined = entry.is_joined();
        let mut end = match case.events().last() {
            Some(last) if case.is_live() => *last,
            _ if joined => self.app.store.head(&TIMELINE, &entry.room).await?,
            _ => entry.membership.position,
        };
        let mut state = state::at(self.app, &entry.room, end).await?;
        let own = |state: &RoomState| {
            let own = state.get(MEMBER, me.as_str());
            own.map_or(0, |entry| entry.position)
        };
        if joined && !state.is_joined(me) {
            // They have left since the row was read.
            end = own(&state);
            state = state::at(self.app, &entry.room, end).await?;
        }
        let own = own(&state);
        let mut from = case.known_up_to(end).unwrap_or_default().min(end);
        let unbroken = case.is_live() && case.news.is_none_or(News::unbroken);
        let throughout = (state.is_joined(me) && own <= from)
            || (from > 0
                && unbroken
                && state::at(self.app, &entry.room, from).await?.is_joined(me));
        if !throughout {
            from = 0;
        }
        let stranger = !state.is_joined(me)
            && match access::readable(self.app, me, &entry.room).await {
                Ok(_) => false,
                Err(Error::Matrix {
                    status: http::StatusCode::FORBIDDEN,
                    ..
                }) => true,
                Err(error) => return Err(error),
            };
        Ok(Reach {
            state,
            own,
            from,
            end,
            stranger,
        })
    }

    /// The events, and what may be read, if the user was not in the room all the time.
    pub(super) async fn tail(
        &self,
        case: &Case<'_>,
        reach: &Reach,
    ) -> Result<(Tail, Option<Readable>)> {
        let longer = case
            .before
            .as_ref()
            .is_some_and(|before| case.wanted.is_longer_than(before));
        let end = reach.end;
        if reach.stranger {
            let own = [reach.own];
            let tail = self.read(case, Source::Positions(&own), end).await?;
            return Ok((tail, None));
        }
        if reach.from > 0 && !longer {
            let first = reach.from + 1;
            let tail = self.read(case, Source::Span { first, end }, end).await?;
            return Ok((tail, None));
        }
        if reach.state.is_joined(&self.me.user) {
            // What came since they are in the room needs no look at who may read what.
            let first = reach.own;
            let tail = self.read(case, Source::Span { first, end }, end).await?;
            if tail.limited {
                return Ok((tail, None));
            }
        }
        let readable = access::readable(self.app, &self.me.user, &case.entry.room).await?;
        let source = Source::History {
            end,
            readable: &readable,
        };
        let tail = self.read(case, source, end).await?;
        Ok((tail, Some(readable)))
    }

    async fn read(&self, case: &Case<'_>, source: Source<'_>, end: u64) -> Result<Tail> {
        let wants = |event: &StoredEvent| {
            event.state_key.is_some() || !self.ignored.contains(&event.sender)
        };
        let (store, room) = (&self.app.store, &*case.entry.room);
        Tail::read(store, room, source, end, case.wanted.limit(), wants).await
    }
}
