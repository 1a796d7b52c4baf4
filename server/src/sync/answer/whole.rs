//! Everything, for a client that begins.

use std::collections::BTreeMap;

use ruma::{
    OwnedRoomId,
    api::client::sync::sync_events::v3::{Response, Rooms},
    events::room::member::MembershipState,
};

use super::{Answer, Answerer};
use crate::{
    ephemeral::typing,
    error::Result,
    inbox::{INBOX, token::Position},
    presence,
    rooms::{
        event::TIMELINE,
        membership::{self, Membership},
    },
    store::StoreError,
    sync::{
        deleted, notices,
        room::{Extent, Teller, Telling},
        select::wants_global,
        window::{Window, follows},
    },
};

/// How often everything is put together before the client is told to come back.
const MAX_ATTEMPTS: usize = 5;

/// What came into an inbox while its rooms were read.
#[derive(Default)]
struct Meanwhile {
    end: u64,
    /// The rooms in which something happened, with the last event if one came.
    rooms: BTreeMap<OwnedRoomId, Option<u64>>,
    /// The rooms that were deleted, and when.
    deleted: BTreeMap<OwnedRoomId, u64>,
}

impl Answerer<'_> {
    /// Rooms are read while others write. What came into the inbox meanwhile says which of them to read again, and up to
    /// where, so that the answer is exactly what was there at its token's position.
    pub(super) async fn everything(
        &self,
        teller: &Teller<'_>,
        since: Option<Position>,
    ) -> Result<Answer> {
        let (app, user) = (self.app, &*self.me.user);
        let with_left = since.is_some() || teller.filter.room.include_leave;
        let mut attempts = 0;
        let (mut telling, typing, told, meanwhile) = loop {
            let begin = app.store.head(&INBOX, user).await?;
            let typing = typing::changes(&app.store, user, u64::MAX).await?;
            let (mut telling, mut told) = (Telling::default(), BTreeMap::new());
            for (room, membership) in membership::rooms_of(&app.store, user).await? {
                if let Some(end) = self.end_of(with_left, &room, &membership).await? {
                    let extent = Extent::Whole(end);
                    teller
                        .tell(&room, &membership, extent, &mut telling)
                        .await?;
                    told.insert(room, end);
                }
            }
            if let Some(meanwhile) = self.changed_since(begin).await? {
                break (telling, typing, told, meanwhile);
            }
            // What came meanwhile was trimmed already: the other devices are that fast.
            attempts += 1;
            if attempts >= MAX_ATTEMPTS {
                return Err(StoreError::Conflict.into());
            }
        };
        let memberships = self.memberships(meanwhile.rooms.keys()).await?;
        for ((room, event), membership) in meanwhile.rooms.iter().zip(memberships) {
            untell(&mut telling.rooms, room);
            // A receipt or a tag is told with the room as it was told before.
            let end = event.or_else(|| told.get(room).copied());
            if let (Some(end), Some(membership)) = (end, membership)
                && !membership.forgotten
            {
                let extent = Extent::Whole(end);
                teller.tell(room, &membership, extent, &mut telling).await?;
            }
        }
        for (room, when) in &meanwhile.deleted {
            untell(&mut telling.rooms, room);
            if with_left {
                let left = deleted::left(user, room, *when)?;
                telling.rooms.leave.insert(room.clone(), left);
            }
        }
        if !with_left {
            telling.rooms.leave.clear();
        }
        let mut response = Response::new(String::new());
        response.rooms = telling.rooms;
        let wants = |kind: &str| wants_global(&teller.filter.account_data, kind);
        response.account_data.events = notices::account_data(app, user, None, None, wants).await?;
        if wants("m.push_rules") {
            response
                .account_data
                .events
                .push(notices::push_rules(app, user).await?);
        }
        if wants_global(&teller.filter.presence, "m.presence") {
            response.presence.events = presence::of_everybody(app, user).await?;
        }
        let from = since.filter(|since| *since != Position::NOWHERE);
        let position = Position {
            inbox: meanwhile.end,
            // What was sent to the device is a list of its own, of which it has what its token says.
            to_device: from.map_or(0, |since| since.to_device),
            typing: typing.last,
        };
        Ok(Answer {
            response,
            position,
            known: telling.known,
            more: false,
            anew: true,
        })
    }

    /// Up to where a room is told to a client that begins; `None` if it is not told at all.
    async fn end_of(
        &self,
        with_left: bool,
        room: &OwnedRoomId,
        membership: &Membership,
    ) -> Result<Option<u64>> {
        Ok(match membership.state {
            _ if membership.forgotten => None,
            MembershipState::Join => Some(self.app.store.head(&TIMELINE, room).await?),
            MembershipState::Invite | MembershipState::Knock => Some(membership.position),
            _ => with_left.then_some(membership.position),
        })
    }

    /// What came into the inbox after `begin`; `None` if some of it is not there any more.
    async fn changed_since(&self, begin: u64) -> Result<Option<Meanwhile>> {
        let mut meanwhile = Meanwhile {
            end: begin,
            ..Meanwhile::default()
        };
        loop {
            let end = meanwhile.end;
            let entries = self
                .app
                .store
                .after(&INBOX, &self.me.user, end, self.page)
                .await?;
            let last = entries.len() < self.page;
            if !follows(end, &entries) {
                return Ok(None);
            }
            let window = Window::of(end, entries);
            meanwhile.end = window.end;
            for (room, news) in window.rooms {
                let event = meanwhile.rooms.entry(room).or_default();
                *event = news.events.last().copied().or(*event);
            }
            meanwhile.deleted.extend(window.deleted);
            if last {
                return Ok(Some(meanwhile));
            }
        }
    }
}

/// Takes a room out of what is told.
fn untell(rooms: &mut Rooms, room: &OwnedRoomId) {
    rooms.join.remove(room);
    rooms.invite.remove(room);
    rooms.knock.remove(room);
    rooms.leave.remove(room);
}
