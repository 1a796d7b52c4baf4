//! Who is typing where: kept in memory, never stored.
//!
//! Each change has a number, above all numbers before it, also after a restart. A change is noted for each of the room's
//! members, so that a sync looks only at what has changed for its user.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::Router;
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::typing::create_typing_event::{self, v3::Typing},
};
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    auth::Device,
    clock::Clock,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::access,
    state::App,
};

/// The longest that somebody types without saying so again.
pub const MAX_TYPING: Duration = Duration::from_secs(120);
/// How many rooms' changes are remembered for each user.
pub const MAX_CHANGES: usize = 64;
/// How long changes are remembered for a user whose clients do not ask, in milliseconds.
pub const FORGET_AFTER: u64 = 5 * 60 * 1000;
/// With fewer users than this, nobody is forgotten.
const KEEP_USERS: usize = 1_024;

/// Typing notices, and who waits for them; cheap to clone.
#[derive(Clone, Default)]
pub struct Ephemeral {
    typing: Arc<Mutex<Notices>>,
}

#[derive(Default)]
struct Notices {
    version: u64,
    rooms: HashMap<OwnedRoomId, Vec<Typist>>,
    users: HashMap<OwnedUserId, Changes>,
    sweep_at: usize,
}

struct Typist {
    user: OwnedUserId,
    /// Ends the typing when its time is over; also tells this notice from a later one.
    end: AbortHandle,
}

struct Changes {
    told: watch::Sender<()>,
    rooms: VecDeque<(u64, OwnedRoomId)>,
}

impl Ephemeral {
    /// Who is typing in a room.
    pub fn typing(&self, room: &RoomId) -> Vec<OwnedUserId> {
        let typing = self.lock();
        typing
            .rooms
            .get(room)
            .into_iter()
            .flatten()
            .map(|typist| typist.user.clone())
            .collect()
    }

    /// The number of the last change for this user (`since` if there is none later), and the rooms that have changed for
    /// them after the change `since`.
    pub fn typing_changes(&self, user: &UserId, since: u64) -> (u64, Vec<OwnedRoomId>) {
        let typing = self.lock();
        let rooms = typing.users.get(user).map(|changes| &changes.rooms);
        let last = rooms
            .and_then(VecDeque::back)
            .map_or(0, |(version, _)| *version);
        let changed = rooms
            .into_iter()
            .flatten()
            .filter(|(version, _)| *version > since);
        (
            last.max(since),
            changed.map(|(_, room)| room.clone()).collect(),
        )
    }

    /// Tells when somebody begins or ends typing in a room of this user. Subscribe first, read second.
    pub fn watch_typing(&self, user: &UserId) -> watch::Receiver<()> {
        self.lock().changes_of(user).told.subscribe()
    }

    /// Somebody types for at most `timeout` from now (and [`MAX_TYPING`]); `members` are told when they begin and end.
    pub fn begin_typing(
        &self,
        clock: &Clock,
        room: &RoomId,
        user: &UserId,
        members: Vec<OwnedUserId>,
        timeout: Duration,
    ) {
        let mut typing = self.lock();
        let end = tokio::spawn({
            let (ephemeral, clock) = (self.clone(), clock.clone());
            let (room, user, members) = (room.to_owned(), user.to_owned(), members.clone());
            async move {
                tokio::time::sleep(timeout.min(MAX_TYPING)).await;
                let notice = tokio::task::try_id();
                ephemeral.lock().end(&clock, &room, &user, &members, notice);
            }
        })
        .abort_handle();
        let typists = typing.rooms.entry(room.to_owned()).or_default();
        match typists.iter_mut().find(|typist| typist.user == user) {
            Some(typist) => std::mem::replace(&mut typist.end, end).abort(),
            None => {
                typists.push(Typist {
                    user: user.to_owned(),
                    end,
                });
                typing.tell(clock, room, &members);
            }
        }
    }

    /// Somebody has stopped typing; `members` are told.
    pub fn end_typing(&self, clock: &Clock, room: &RoomId, user: &UserId, members: &[OwnedUserId]) {
        self.lock().end(clock, room, user, members, None);
    }

    fn lock(&self) -> MutexGuard<'_, Notices> {
        self.typing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notices {
    /// With `notice`, only that one is ended: not a later one of the same user.
    fn end(
        &mut self,
        clock: &Clock,
        room: &RoomId,
        user: &UserId,
        members: &[OwnedUserId],
        notice: Option<tokio::task::Id>,
    ) {
        let Some(typists) = self.rooms.get_mut(room) else {
            return;
        };
        let ends = |typist: &Typist| {
            typist.user == user && notice.is_none_or(|notice| typist.end.id() == notice)
        };
        let Some(place) = typists.iter().position(ends) else {
            return;
        };
        typists.swap_remove(place).end.abort();
        if typists.is_empty() {
            self.rooms.remove(room);
        }
        self.tell(clock, room, members);
    }

    fn tell(&mut self, clock: &Clock, room: &RoomId, members: &[OwnedUserId]) {
        self.version = clock.millis().max(self.version + 1);
        let version = self.version;
        for member in members {
            let changes = self.changes_of(member);
            changes.rooms.retain(|(_, changed)| changed != room);
            if changes.rooms.len() >= MAX_CHANGES {
                changes.rooms.pop_front();
            }
            changes.rooms.push_back((version, room.to_owned()));
            changes.told.send_replace(());
        }
        if self.users.len() > self.sweep_at.max(KEEP_USERS) {
            self.users.retain(|_, changes| {
                let last = changes.rooms.back().map_or(0, |(last, _)| *last);
                changes.told.receiver_count() > 0 || last.saturating_add(FORGET_AFTER) > version
            });
            self.sweep_at = self.users.len() * 2;
        }
    }

    fn changes_of(&mut self, user: &UserId) -> &mut Changes {
        self.users
            .entry(user.to_owned())
            .or_insert_with(|| Changes {
                told: watch::channel(()).0,
                rooms: VecDeque::new(),
            })
    }
}

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(set)
}

async fn set(
    app: App,
    me: Device,
    request: create_typing_event::v3::Request,
) -> Result<create_typing_event::v3::Response> {
    if me.user != request.user_id {
        return Err(Error::forbidden("You can only say this of yourself."));
    }
    let room = access::joined(&app, &me.user, &request.room_id).await?;
    let members: Vec<OwnedUserId> = room.state.joined().iter().cloned().collect();
    match request.state {
        Typing::Yes(info) => {
            app.ephemeral
                .begin_typing(&app.clock, &room.room_id, &me.user, members, info.timeout)
        }
        Typing::No => app
            .ephemeral
            .end_typing(&app.clock, &room.room_id, &me.user, &members),
    }
    Ok(create_typing_event::v3::Response::new())
}
