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
use http::Method;
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::{
        IncomingRequest, Metadata,
        client::typing::create_typing_event,
        error::{Error as MatrixError, FromHttpRequestError},
    },
};
use serde::{
    Deserialize,
    de::value::{Error as ValueError, SeqDeserializer},
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
/// How long somebody types whose client does not say for how long.
pub const DEFAULT_TYPING: Duration = Duration::from_secs(30);
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

async fn set(app: App, me: Device, request: Request) -> Result<create_typing_event::v3::Response> {
    if me.user != request.user {
        return Err(Error::forbidden("You can only say this of yourself."));
    }
    let room = access::joined(&app, &me.user, &request.room).await?;
    let members: Vec<OwnedUserId> = room.state.joined().iter().cloned().collect();
    if request.body.typing {
        let timeout = request.body.timeout.unwrap_or(DEFAULT_TYPING);
        app.ephemeral
            .begin_typing(&app.clock, &room.room_id, &me.user, members, timeout);
    } else {
        app.ephemeral
            .end_typing(&app.clock, &room.room_id, &me.user, &members);
    }
    Ok(create_typing_event::v3::Response::new())
}

/// The request. ruma's own one takes nobody who types without a `timeout`, which the specification lets clients leave out.
#[derive(Debug)]
struct Request {
    room: OwnedRoomId,
    user: OwnedUserId,
    body: Body,
}

#[derive(Debug, Deserialize)]
struct Body {
    typing: bool,
    #[serde(with = "ruma::serde::duration::opt_ms", default)]
    timeout: Option<Duration>,
}

impl Metadata for Request {
    const METHOD: Method = create_typing_event::v3::Request::METHOD;
    const RATE_LIMITED: bool = create_typing_event::v3::Request::RATE_LIMITED;
    type Authentication = <create_typing_event::v3::Request as Metadata>::Authentication;
    type PathBuilder = <create_typing_event::v3::Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = create_typing_event::v3::Request::PATH_BUILDER;
}

impl IncomingRequest for Request {
    type EndpointError = MatrixError;
    type OutgoingResponse = create_typing_event::v3::Response;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        Self::check_request_method(request.method())?;
        let path = path.iter().map(AsRef::as_ref);
        let (room, user) = Deserialize::deserialize(SeqDeserializer::<_, ValueError>::new(path))?;
        Ok(Self {
            room,
            user,
            body: serde_json::from_slice(request.body().as_ref())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(body: &str) -> Option<Duration> {
        let request = http::Request::put("/typing").body(body).unwrap();
        let request = Request::try_from_http_request(request, &["!night:x", "@nurse:x"]).unwrap();
        assert_eq!(request.user, "@nurse:x");
        request.body.timeout
    }

    #[test]
    fn a_client_need_not_say_for_how_long_somebody_types() {
        assert_eq!(timeout(r#"{"typing":true}"#), None);
        assert_eq!(timeout(r#"{"typing":false}"#), None);
        let second = Some(Duration::from_secs(1));
        assert_eq!(timeout(r#"{"typing":true,"timeout":1000}"#), second);
    }

    #[test]
    fn whether_somebody_types_must_be_said() {
        let request = http::Request::put("/typing").body("{}").unwrap();
        Request::try_from_http_request(request, &["!night:x", "@nurse:x"]).unwrap_err();
    }
}
