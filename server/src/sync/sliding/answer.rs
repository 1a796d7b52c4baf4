//! Puts an answer together: what is said of which room, and what the client knows then.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use ruma::{OwnedRoomId, OwnedUserId};

use super::{
    case::Case,
    extensions::{self, Subject},
    plan::Plan,
    pos::Pos,
    room::{Said, Teller},
    wanted,
    wire::{Answered, Body, Counted, Room},
};
use crate::{
    account_data,
    auth::Device,
    ephemeral::typing,
    error::Result,
    inbox::{
        INBOX,
        connection::{Ledger, Name, Told},
        token::Tokens,
    },
    push,
    state::App,
    sync::{deleted, window::Window},
};

/// How many rooms are read at the same time.
pub(super) const AT_ONCE: usize = 16;

/// What the parts of one answer have in common.
pub(super) struct Answerer<'a> {
    pub(super) app: &'a App,
    pub(super) me: &'a Device,
    pub(super) tokens: &'a Tokens,
    pub(super) body: &'a Body,
    /// How far the device has its messages.
    pub(super) to_device: u64,
}

/// An answer without its position, the position, and whether it says anything.
pub(super) struct Answer {
    pub(super) response: Answered,
    pub(super) pos: Pos,
    pub(super) says_something: bool,
}

/// What is said of rooms.
#[derive(Default)]
struct Rooms {
    rooms: BTreeMap<OwnedRoomId, Room>,
    /// The rooms of which the extensions are to tell everything.
    whole: BTreeSet<OwnedRoomId>,
    /// From which position on all of a room's timeline is told.
    from: BTreeMap<OwnedRoomId, u64>,
}

impl Answerer<'_> {
    /// What is new since a position, or what the client asks for newly; everything that it asks for, if there is none.
    pub(super) async fn answer(
        &self,
        since: Option<&Pos>,
        ledger: &mut Ledger<'_>,
    ) -> Result<Answer> {
        let (app, user) = (self.app, &*self.me.user);
        let typed = typing::changes(&app.store, user, since.map_or(0, |pos| pos.typing)).await?;
        let mut came = match since {
            Some(pos) => Some(self.came(pos).await?),
            None => None,
        };
        if let Some(came) = &mut came {
            for room in &typed.rooms {
                let news = came.window.rooms.entry(room.clone()).or_default();
                news.typing = true;
            }
        }
        let inbox = match &came {
            Some(came) => came.window.end,
            None => app.store.head(&INBOX, user).await?,
        };
        let plan = self.plan(since, came.as_ref(), ledger).await?;
        let mut pos = Pos {
            epoch: app.epoch,
            inbox,
            typing: typed.last,
            lists: self.digest_of_lists(),
            subscriptions: self.digest_of_subscriptions(),
            counts: plan.counts.clone(),
            ..since.cloned().unwrap_or_default()
        };
        let window = came.as_ref().map(|came| &came.window);
        let mut rooms = self.rooms(&plan, window, ledger, &mut pos).await?;
        if let Some(window) = window {
            self.deleted(window, ledger, &mut rooms.rooms).await?;
        }
        let subjects = self.subjects(&plan, window, &rooms.whole);
        let mut response = Answered {
            txn_id: self.body.txn_id.clone(),
            rooms: rooms.rooms,
            ..Answered::default()
        };
        let late = std::mem::take(&mut pos.receipts);
        pos.receipts = self
            .extend(
                &mut response,
                (since, late),
                window,
                &subjects,
                &typed.rooms,
            )
            .await?;
        let threads = &self.body.extensions.threads;
        pos.threads = 0;
        if threads.enabled == Some(true) {
            let since = since.map_or(0, |since| since.threads);
            let since = window.filter(|_| since > 0).map(|window| (window, since));
            let told = extensions::threads((app, self.me), threads, since, &rooms.from).await?;
            response.extensions.threads = told;
            pos.threads = app.clock.millis();
        }
        pos.account_data |= self.body.extensions.account_data.is_on();
        let names = self.body.lists.keys().cloned();
        let counted = plan.counts.iter().map(|count| Counted { count: *count });
        response.lists = names.zip(counted).collect();
        let says_something = !response.rooms.is_empty()
            || response.extensions.says_something()
            || since.is_none_or(|since| since.counts != pos.counts);
        Ok(Answer {
            response,
            pos,
            says_something,
        })
    }

    /// What is said of rooms.
    async fn rooms(
        &self,
        plan: &Plan,
        window: Option<&Window>,
        ledger: &mut Ledger<'_>,
        pos: &mut Pos,
    ) -> Result<Rooms> {
        if plan.rooms.is_empty() && plan.others.is_empty() {
            return Ok(Rooms::default());
        }
        let user = std::iter::once(&*self.me.user);
        let ignored: BTreeSet<OwnedUserId> = account_data::ignored_by(&self.app.store, user)
            .await?
            .pop()
            .unwrap_or_default();
        let seen = pos.seen.clone();
        let teller = Teller {
            app: self.app,
            me: self.me,
            tokens: self.tokens,
            ignored: &ignored,
            seen: &seen,
        };
        let mut cases = Vec::new();
        for candidate in &plan.rooms {
            let room = &candidate.entry.room;
            let told = candidate.told.clone();
            let before = told.as_ref().and_then(|told| ledger.terms(told.terms));
            let case = Case {
                entry: &candidate.entry,
                wanted: &candidate.wanted,
                direct: plan.direct.contains(room),
                before: before.cloned(),
                news: window.and_then(|window| window.rooms.get(room)),
                told,
            };
            if !case.is_known() {
                cases.push(case);
            }
        }
        let telling: Vec<_> = cases.iter().map(|case| teller.tell(case).boxed()).collect();
        let said: Vec<Option<Said>> = stream::iter(telling)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut rooms = Rooms {
            rooms: self.read_here(plan, window).await?,
            ..Rooms::default()
        };
        for (case, said) in cases.iter().zip(said) {
            let Some(said) = said else { continue };
            let room = &case.entry.room;
            if said.whole {
                rooms.whole.insert(room.clone());
            }
            if let Some(from) = said.from {
                rooms.from.insert(room.clone(), from);
            }
            if let Some(told) = said.told {
                // The members are with the room then.
                pos.forgets(teller.room_hash(room));
                ledger.add(self.name(case.entry), told, Some(&case.wanted.terms));
            }
            pos.sees(said.seen);
            rooms.rooms.insert(room.clone(), said.room);
        }
        self.fall_behind(plan, window, ledger);
        Ok(rooms)
    }

    /// Rooms in which the user has read something, perhaps at another device: how much is unread.
    async fn read_here(
        &self,
        plan: &Plan,
        window: Option<&Window>,
    ) -> Result<BTreeMap<OwnedRoomId, Room>> {
        let has_read = |room: &OwnedRoomId| {
            let news = window.and_then(|window| window.rooms.get(room));
            news.is_some_and(|news| news.receipts.iter().any(|(user, _)| *user == self.me.user))
        };
        let chosen = plan.rooms.iter();
        let chosen = chosen.filter_map(|one| Some((&one.entry.room, one.told.as_ref()?)));
        let read: Vec<&OwnedRoomId> = chosen
            .chain(&plan.others)
            .filter(|(room, told)| told.live && has_read(room))
            .map(|(room, _)| room)
            .collect();
        let mut rooms = BTreeMap::new();
        for room in read {
            let unread = push::unread(&self.app.store, &self.me.user, room).await?;
            let (notification_count, highlight_count) = unread;
            let counts = Room {
                notification_count,
                highlight_count,
                ..Room::default()
            };
            rooms.insert(room.clone(), counts);
        }
        Ok(rooms)
    }

    /// Rooms that are no longer wanted, and in which something has come: the client is told of it when they are again.
    fn fall_behind(&self, plan: &Plan, window: Option<&Window>, ledger: &mut Ledger<'_>) {
        for (room, told) in &plan.others {
            let news = window.and_then(|window| window.rooms.get(room));
            let Some(first) = news.and_then(|news| {
                let mut events = news.events.iter();
                events.find(|position| **position > told.up_to)
            }) else {
                continue;
            };
            if told.live {
                let behind = Told {
                    up_to: first - 1,
                    live: false,
                    ..told.clone()
                };
                ledger.add(self.tokens.name("room", room.as_str()), behind, None);
            }
        }
    }

    /// Rooms that were deleted: the client is told that its user has left them.
    async fn deleted(
        &self,
        window: &Window,
        ledger: &Ledger<'_>,
        rooms: &mut BTreeMap<OwnedRoomId, Room>,
    ) -> Result<()> {
        let names: Vec<Name> = window
            .deleted
            .keys()
            .map(|room| self.tokens.name("room", room.as_str()))
            .collect();
        let told = ledger.told(&names).await?;
        for ((room, when), told) in window.deleted.iter().zip(told) {
            if told.is_none() {
                continue;
            }
            let left = deleted::left(&self.me.user, room, *when)?;
            let events = left.timeline.events;
            rooms.insert(
                room.clone(),
                Room {
                    required_state: events
                        .iter()
                        .map(|event| event.clone().cast_unchecked())
                        .collect(),
                    timeline: events,
                    membership: Some("leave".to_owned()),
                    ..Room::default()
                },
            );
        }
        Ok(())
    }

    fn subjects<'s>(
        &self,
        plan: &'s Plan,
        window: Option<&'s Window>,
        whole: &BTreeSet<OwnedRoomId>,
    ) -> Vec<Subject<'s>> {
        let news = |room| window.and_then(|window| window.rooms.get(room));
        let mut subjects: Vec<Subject<'_>> = plan
            .rooms
            .iter()
            .filter(|candidate| candidate.entry.is_joined())
            .map(|candidate| Subject {
                room: &candidate.entry.room,
                extensions: candidate.wanted.terms.extensions,
                whole: whole.contains(&candidate.entry.room),
                news: news(&candidate.entry.room),
            })
            .collect();
        let scopes = &self.body.extensions;
        for (room, told) in &plan.others {
            let mut extensions = 0;
            for (scope, bit) in [
                (&scopes.account_data, wanted::ACCOUNT_DATA),
                (&scopes.receipts, wanted::RECEIPTS),
                (&scopes.typing, wanted::TYPING),
            ] {
                if told.live && scope.covers_known(room.as_str()) {
                    extensions |= bit;
                }
            }
            subjects.push(Subject {
                room,
                extensions,
                whole: false,
                news: news(room),
            });
        }
        subjects
    }

    /// What is told beside rooms. Returns of which rooms there are more receipts.
    async fn extend(
        &self,
        response: &mut Answered,
        (since, late): (Option<&Pos>, Vec<(OwnedRoomId, u8)>),
        window: Option<&Window>,
        subjects: &[Subject<'_>],
        typed: &BTreeSet<OwnedRoomId>,
    ) -> Result<Vec<(OwnedRoomId, u8)>> {
        let (app, me, asked) = (self.app, self.me, &self.body.extensions);
        let (told, mut rest) = (&mut response.extensions, Vec::new());
        if asked.to_device.enabled == Some(true) {
            let limit = asked.to_device.limit;
            let messages = extensions::to_device(app, me, self.tokens, self.to_device, limit);
            told.to_device = Some(messages.await?);
        }
        if asked.e2ee.enabled == Some(true) {
            told.e2ee = Some(extensions::e2ee(app, me, window).await?);
        }
        if asked.account_data.is_on() {
            let has_some = since.is_some_and(|since| since.account_data);
            let changed = window
                .filter(|_| has_some)
                .map(|window| &window.account_data);
            let data = extensions::account_data(app, me, changed, subjects).await?;
            told.account_data = Some(data);
        }
        if asked.receipts.is_on() {
            let (receipts, more) = extensions::receipts(app, me, subjects, late).await?;
            (told.receipts, rest) = (Some(receipts), more);
        }
        if asked.typing.is_on() {
            told.typing = Some(extensions::typing(app, typed, subjects).await?);
        }
        Ok(rest)
    }
}
