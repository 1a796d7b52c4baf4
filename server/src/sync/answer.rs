//! Puts an answer together: everything for a client that begins, and what is new for one that goes on.

mod whole;

use std::cmp::Ordering;

use ruma::{
    OwnedRoomId,
    api::client::{
        filter::FilterDefinition,
        sync::sync_events::v3::{Request, Response},
    },
};

use super::{
    deleted, notices,
    room::{Extent, Teller, Telling},
    select::{has_room, wants_global},
    window::{Window, follows},
};
use crate::{
    account_data,
    auth::Device,
    ephemeral::typing,
    error::Result,
    inbox::{
        INBOX,
        token::{Known, Position, Tokens},
    },
    keys, presence,
    rooms::membership::{self, MEMBERSHIPS, Membership},
    state::App,
    to_device::TO_DEVICE,
};

/// How many entries of an inbox one answer covers. A client that is further behind is told where to go on.
pub(super) const MAX_ENTRIES: usize = 2_000;
/// How many messages to a device one answer has.
pub(super) const MAX_TO_DEVICE: usize = 100;
/// How many bytes of content they have; the first message comes whatever its size.
const MAX_TO_DEVICE_BYTES: usize = 1024 * 1024;

/// An answer, and what the poll must know about it.
pub(super) struct Answer {
    /// The answer, without its token.
    pub(super) response: Response,
    /// Where the client goes on.
    pub(super) position: Position,
    /// The members whom it knows then.
    pub(super) known: Known,
    /// There is more already.
    pub(super) more: bool,
    /// It does not go on from the client's token: there was none, or none that can be gone on from.
    pub(super) anew: bool,
}

/// Builds answers for one request.
pub(super) struct Answerer<'a> {
    app: &'a App,
    me: &'a Device,
    tokens: &'a Tokens,
    full_state: bool,
    state_after: bool,
    page: usize,
}

impl<'a> Answerer<'a> {
    /// For this request of this device.
    pub(super) fn new(app: &'a App, me: &'a Device, tokens: &'a Tokens, request: &Request) -> Self {
        Self {
            app,
            me,
            tokens,
            full_state: request.full_state,
            state_after: request.use_state_after,
            page: MAX_ENTRIES,
        }
    }

    /// What is new since a position, for a client that knows certain members there; everything, if there is none, or none
    /// that can be gone on from.
    pub(super) async fn since(
        &self,
        filter: &FilterDefinition,
        since: Option<Position>,
        known: &Known,
    ) -> Result<Answer> {
        let ignored = account_data::ignored_by(&self.app.store, std::iter::once(&*self.me.user));
        let teller = Teller {
            app: self.app,
            me: self.me,
            tokens: self.tokens,
            filter,
            state_after: self.state_after,
            full_state: self.full_state,
            ignored: ignored.await?.pop().unwrap_or_default(),
        };
        let window = match since {
            Some(since) => self.window(since).await?,
            None => None,
        };
        let mut answer = match (since, window) {
            (Some(since), Some((window, more))) => {
                let from = (since, known);
                self.news(&teller, from, window, more).await?
            }
            // Who comes back after too long may still show rooms that their user has left.
            _ => self.everything(&teller, since).await?,
        };
        if since.is_some() && answer.anew {
            // The device knows people from before, but not whose devices have changed since.
            let everybody = membership::neighbours(self.app, &self.me.user).await?;
            answer.response.device_lists.changed = everybody.into_iter().collect();
        }
        self.add_to_device(&mut answer).await?;
        let counts = keys::counts(&self.app.store, &self.me.user, &self.me.device).await?;
        answer.response.device_one_time_keys_count = counts.one_time_key_counts();
        answer.response.device_unused_fallback_key_types = Some(counts.unused_fallback_types());
        Ok(answer)
    }

    /// The inbox after a position, and whether there is more; `None` if the inbox has forgotten what was there, or (after
    /// a backup was put back) never got that far.
    async fn window(&self, since: Position) -> Result<Option<(Window, bool)>> {
        let (store, user) = (&self.app.store, &*self.me.user);
        let mut entries = store.after(&INBOX, user, since.inbox, self.page).await?;
        if entries.is_empty() {
            match store.head(&INBOX, user).await?.cmp(&since.inbox) {
                Ordering::Equal => return Ok(Some((Window::of(since.inbox, entries), false))),
                Ordering::Less => return Ok(None),
                // It came between the two reads, or it was trimmed: what is there now says which.
                Ordering::Greater => {
                    entries = store.after(&INBOX, user, since.inbox, self.page).await?;
                }
            }
        }
        let more = entries.len() == self.page;
        let fits = !entries.is_empty() && follows(since.inbox, &entries);
        Ok(fits.then(|| (Window::of(since.inbox, entries), more)))
    }

    async fn news(
        &self,
        teller: &Teller<'_>,
        (since, known): (Position, &Known),
        mut window: Window,
        more: bool,
    ) -> Result<Answer> {
        let (app, user) = (self.app, &*self.me.user);
        let typing = typing::changes(&app.store, user, since.typing).await?;
        if typing.forgotten {
            for news in window.rooms.values_mut() {
                news.typing = true;
            }
        }
        for room in typing.rooms {
            window.rooms.entry(room).or_default().typing = true;
        }
        if teller.full_state {
            for room in membership::joined_rooms(&app.store, user).await? {
                window.rooms.entry(room).or_default();
            }
        }
        let mut telling = Telling {
            known: known.clone(),
            ..Telling::default()
        };
        let memberships = self.memberships(window.rooms.keys()).await?;
        for ((room, news), membership) in window.rooms.iter().zip(memberships) {
            let Some(membership) = membership else {
                continue;
            };
            let extent = Extent::New(news);
            teller.tell(room, &membership, extent, &mut telling).await?;
        }
        let mut response = Response::new(String::new());
        response.rooms = telling.rooms;
        let filter = &teller.filter.room;
        for (room, when) in &window.deleted {
            if has_room(filter.rooms.as_deref(), &filter.not_rooms, room) {
                let left = deleted::left(user, room, *when)?;
                response.rooms.leave.insert(room.clone(), left);
            }
        }
        let wants = |kind: &str| wants_global(&teller.filter.account_data, kind);
        response.account_data.events =
            notices::account_data(app, user, None, Some(&window.account_data), wants).await?;
        if window.account_data.contains("m.push_rules") && wants("m.push_rules") {
            response
                .account_data
                .events
                .push(notices::push_rules(app, user).await?);
        }
        if wants_global(&teller.filter.presence, "m.presence") {
            let (changed, met) = (&window.presence, &telling.people.came);
            response.presence.events = presence::news(app, user, changed, met).await?;
        }
        response.device_lists = telling.people.tell(app, user, window.devices).await?;
        let position = Position {
            inbox: window.end,
            to_device: since.to_device,
            typing: typing.last,
        };
        Ok(Answer {
            response,
            position,
            known: telling.known,
            more,
            anew: false,
        })
    }

    async fn memberships(
        &self,
        rooms: impl Iterator<Item = &OwnedRoomId>,
    ) -> Result<Vec<Option<Membership>>> {
        let keys = rooms.map(|room| (&*self.me.user, room));
        let found = self.app.store.get_many(&MEMBERSHIPS, keys).await?;
        Ok(found
            .into_iter()
            .map(|row| row.map(Membership::from))
            .collect())
    }

    async fn add_to_device(&self, answer: &mut Answer) -> Result<()> {
        let after = answer.position.to_device;
        let list = (&*self.me.user, &*self.me.device);
        let found = self
            .app
            .store
            .after(&TO_DEVICE, list, after, MAX_TO_DEVICE)
            .await?;
        answer.more |= found.len() == MAX_TO_DEVICE;
        let mut bytes = 0;
        for (number, message) in found {
            bytes += message.content.len();
            let events = &mut answer.response.to_device.events;
            if bytes > MAX_TO_DEVICE_BYTES && !events.is_empty() {
                answer.more = true;
                break;
            }
            events.push(notices::to_device(&message)?);
            answer.position.to_device = number;
        }
        Ok(())
    }
}

impl Answer {
    /// Whether there is anything in it that a client waits for.
    pub(super) fn says_something(&self) -> bool {
        let response = &self.response;
        let rooms = &response.rooms;
        !(rooms.join.is_empty()
            && rooms.invite.is_empty()
            && rooms.knock.is_empty()
            && rooms.leave.is_empty()
            && response.to_device.is_empty()
            && response.account_data.is_empty()
            && response.presence.is_empty()
            && response.device_lists.is_empty())
    }
}

#[cfg(test)]
mod tests;
