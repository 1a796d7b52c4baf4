//! In which threads there are new replies, in all rooms that a user is in: an extension of sliding sync tells it, and an
//! endpoint that goes on where there are more than one answer may have.
//!
//! Threads are listed room by room, in the order of the rooms' ids, those with the newest reply first. So a page is a place
//! in that order and a time, and nothing is kept for it.
//!
//! [MSC4360](https://github.com/matrix-org/matrix-spec-proposals/pull/4360)

use std::collections::BTreeMap;

use axum::Router;
use respite_protocol::api::thread_updates::{Request, Response, ThreadUpdate, ThreadUpdates};
use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId, api::Direction};

use super::sliding::time_of;
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::{
        access::{self, Readable},
        event::TIMELINE,
        membership, position,
        relations::{self, Bundler},
    },
    state::App,
};

/// The most threads of one answer.
pub(super) const MAX_UPDATES: usize = 100;
/// How far the clocks of servers may be apart, in milliseconds: so much earlier replies are told again.
const APART_MS: u64 = 60_000;
/// How many threads of a room are read at once.
const PAGE: usize = 100;
/// How many rooms and threads are looked at for one answer, with those in which the user may read nothing new.
const MAX_EXAMINED: usize = 1_000;
/// How many of a thread's new replies are looked at.
const MAX_REPLIES: usize = 50;

/// What is looked for.
pub(super) struct Search<'a> {
    pub(super) app: &'a App,
    pub(super) me: &'a Device,
    /// Replies that were sent at this time or later, in milliseconds since 1970.
    pub(super) since: u64,
    /// Whether the events are shown that the threads began with, and all threads are told. Otherwise those are left out whose
    /// new replies the client is told anyway.
    pub(super) with_roots: bool,
    /// From which position on the client is told all of a room's timeline.
    pub(super) told: &'a BTreeMap<OwnedRoomId, u64>,
    pub(super) limit: usize,
}

/// A room, and a stretch of it: after a position, and before another one.
pub(super) type Stretch = (OwnedRoomId, u64, u64);

/// How many more threads one answer may tell, and how many rooms and threads it may look at.
struct Left {
    told: usize,
    examined: usize,
}

/// Where to go on: a room, and the position before which its threads have their newest replies.
type Place = (OwnedRoomId, u64);

pub(super) fn router() -> Router<App> {
    endpoint::<Request, _, _, _>(thread_updates)
}

async fn thread_updates(app: App, me: Device, request: Request) -> Result<Response> {
    if request.dir != Direction::Backward {
        return Err(Error::invalid_param("There are only pages backwards."));
    }
    let no_token = || Error::invalid_param("This is no token of these pages.");
    let since = match &request.to {
        Some(pos) => time_of(pos).ok_or_else(no_token)?,
        None => 0,
    };
    let from = request.from.as_deref();
    let from = from.map(|token| parse(token).ok_or_else(no_token));
    let (since, place) = match from.transpose()? {
        Some((begun, place)) => (since.max(begun), Some(place)),
        None => (since, None),
    };
    let limit = request.limit.map_or(MAX_UPDATES, |limit| {
        usize::try_from(u64::from(limit)).unwrap_or(MAX_UPDATES)
    });
    let search = Search {
        app: &app,
        me: &me,
        since,
        with_roots: true,
        told: &BTreeMap::new(),
        limit: limit.clamp(1, MAX_UPDATES),
    };
    let (updates, next) = search.everywhere(place).await?;
    Ok(Response::new(updates, next))
}

/// The token for a place.
fn token(since: u64, (room, before): &Place) -> String {
    format!("{since}_{before}_{room}")
}

fn parse(token: &str) -> Option<(u64, Place)> {
    let (since, rest) = token.split_once('_')?;
    let (before, room) = rest.split_once('_')?;
    let room = OwnedRoomId::try_from(room).ok()?;
    Some((since.parse().ok()?, (room, before.parse().ok()?)))
}

impl Search<'_> {
    /// In all of the user's rooms, from a place on.
    pub(super) async fn everywhere(
        &self,
        place: Option<Place>,
    ) -> Result<(ThreadUpdates, Option<String>)> {
        let mut rooms = membership::joined_rooms(&self.app.store, &self.me.user).await?;
        rooms.sort();
        let (first, before) = place.map_or((None, u64::MAX), |(room, at)| (Some(room), at));
        let rooms = rooms
            .into_iter()
            .filter(|room| Some(room) >= first.as_ref());
        let stretches = rooms.map(|room| {
            let end = match Some(&room) == first.as_ref() {
                true => before,
                false => u64::MAX,
            };
            (room, 0, end)
        });
        self.within(stretches).await
    }

    /// In stretches of rooms, which are in the order of the rooms' ids. Returns a token too if there are more.
    pub(super) async fn within(
        &self,
        stretches: impl Iterator<Item = Stretch>,
    ) -> Result<(ThreadUpdates, Option<String>)> {
        let mut updates = ThreadUpdates::new();
        let mut left = Left {
            told: self.limit,
            examined: MAX_EXAMINED,
        };
        for stretch in stretches {
            let room = stretch.0.clone();
            if left.examined == 0 {
                return Ok((updates, Some(token(self.since, &(room, stretch.2)))));
            }
            left.examined -= 1;
            let (found, next) = self.within_one(stretch, &mut left).await?;
            if !found.is_empty() {
                updates.insert(room.clone(), found.into_iter().collect());
            }
            if let Some(before) = next {
                return Ok((updates, Some(token(self.since, &(room, before)))));
            }
        }
        Ok((updates, None))
    }

    async fn within_one(
        &self,
        (room, after, mut before): Stretch,
        left: &mut Left,
    ) -> Result<(Vec<(OwnedEventId, ThreadUpdate)>, Option<u64>)> {
        let (mut found, mut readable) = (Vec::new(), None);
        loop {
            let page = relations::threads_before(&self.app.store, &room, before, PAGE).await?;
            let last = page.len() < PAGE;
            for (newest, root) in page {
                if newest <= after || (after == 0 && !self.is_since(&room, newest).await?) {
                    return Ok((found, None));
                }
                if left.told == 0 || left.examined == 0 {
                    return Ok((found, Some(before)));
                }
                left.examined -= 1;
                let readable = match &mut readable {
                    Some(readable) => readable,
                    none => none.insert(access::readable(self.app, &self.me.user, &room).await?),
                };
                if let Some(update) = self.update(readable, &root, after).await? {
                    found.push((root, update));
                    left.told -= 1;
                }
                before = newest;
            }
            if last {
                return Ok((found, None));
            }
        }
    }

    async fn is_since(&self, room: &RoomId, at: u64) -> Result<bool> {
        if self.since == 0 {
            return Ok(true);
        }
        let event = self.app.store.entries(&TIMELINE, room, &[at]).await?;
        let sent = event.into_iter().flatten().next();
        let sent = sent.map_or(0, |event| event.origin_server_ts);
        Ok(sent.saturating_add(APART_MS) >= self.since)
    }

    /// What is new in a thread, if this user is told of it.
    async fn update(
        &self,
        readable: &Readable,
        root: &EventId,
        after: u64,
    ) -> Result<Option<ThreadUpdate>> {
        let room = &*readable.room_id;
        let replies = relations::replies(&self.app.store, room, root, MAX_REPLIES).await?;
        let all = replies.len() < MAX_REPLIES;
        let new = replies.into_iter().filter(|(at, reply)| {
            *at > after && readable.sees(*at) && !readable.ignores_user(&reply.sender)
        });
        let new: Vec<u64> = new.map(|(at, _)| at).collect();
        let (Some(newest), Some(oldest)) = (new.first(), new.last()) else {
            return Ok(None);
        };
        let told = self.told.get(room);
        let is_told = told.is_some_and(|from| oldest >= from && (all || new.len() < MAX_REPLIES));
        if is_told && !self.with_roots {
            return Ok(None);
        }
        let mut update = ThreadUpdate {
            prev_batch: (new.len() > 1).then(|| position::token(newest.saturating_sub(1))),
            ..ThreadUpdate::default()
        };
        if self.with_roots {
            let root = match readable.event(self.app, root).await {
                Ok(root) => root,
                // It is from before the user's time.
                Err(Error::Matrix { .. }) => return Ok(Some(update)),
                Err(error) => return Err(error),
            };
            let shown = Bundler::new(self.app, self.me, readable)
                .show(&[root])
                .await?;
            update.thread_root = shown.into_iter().next();
        }
        Ok(Some(update))
    }
}

#[cfg(test)]
mod tests {
    use ruma::owned_room_id;

    use super::*;

    #[test]
    fn a_page_goes_on_where_the_one_before_has_ended() {
        let place = (owned_room_id!("!night_shift:x"), 7);
        assert_eq!(parse(&token(5, &place)), Some((5, place)));
        for other in ["", "5", "5_7", "5_7_room", "x_7_!night:x", "5_-1_!night:x"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
