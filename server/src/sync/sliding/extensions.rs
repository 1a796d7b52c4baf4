//! What is told beside rooms: messages to the device, keys, account data, receipts, and who is typing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use ruma::{
    OwnedRoomId, RoomId, api::client::sync::sync_events::v5::response::ToDevice,
    events::room::member::MembershipState,
};

use super::{
    answer::AT_ONCE,
    wanted::{ACCOUNT_DATA, RECEIPTS, TYPING},
    wire::{self, AccountData, Devices, E2ee, Ephemeral, Threads, ThreadsAsked},
};
use crate::{
    account_data,
    auth::Device,
    ephemeral::typing,
    error::Result,
    inbox::token::{Position, Tokens},
    keys,
    rooms::membership,
    state::App,
    sync::{
        answer::MAX_TO_DEVICE,
        devices::People,
        key_changes, notices,
        threads::{MAX_UPDATES, Search},
        window::{News, Window},
    },
    to_device::TO_DEVICE,
};

/// How many bytes of messages to a device one answer has; the first message comes whatever its size.
const MAX_TO_DEVICE_BYTES: usize = 1024 * 1024;

/// How many rooms' further receipts wait for the next answer. Of others they are left out: the receipt that was told has more
/// in it, as one that is of no thread is the first.
const MAX_LATE: usize = 8;

/// A room that extensions may say something of.
pub(super) struct Subject<'a> {
    pub(super) room: &'a OwnedRoomId,
    /// Which extensions, as bits.
    pub(super) extensions: u8,
    /// Whether they say everything, or what is new.
    pub(super) whole: bool,
    pub(super) news: Option<&'a News>,
}

impl Subject<'_> {
    fn has(&self, extension: u8) -> bool {
        self.extensions & extension != 0
    }
}

/// The messages to a device after a token of this extension, and the token after them.
pub(super) async fn to_device(
    app: &App,
    me: &Device,
    tokens: &Tokens,
    since: u64,
    limit: Option<u64>,
) -> Result<ToDevice> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(MAX_TO_DEVICE).clamp(1, MAX_TO_DEVICE);
    let of = (&*me.user, &*me.device);
    let (mut events, mut bytes, mut last) = (Vec::new(), 0, since);
    for (number, message) in app.store.after(&TO_DEVICE, of, since, limit).await? {
        bytes += message.content.len();
        if bytes > MAX_TO_DEVICE_BYTES && !events.is_empty() {
            break;
        }
        events.push(notices::to_device(&message)?);
        last = number;
    }
    let mut told = ToDevice::default();
    told.next_batch = tokens.write(Position {
        to_device: last,
        ..Position::default()
    });
    told.events = events;
    Ok(told)
}

/// Whose devices have changed, if the client knew any, and which keys are left.
pub(super) async fn e2ee(app: &App, me: &Device, window: Option<&Window>) -> Result<E2ee> {
    let mut told = E2ee::default();
    if let Some(window) = window {
        let mut people = People::default();
        for (room, news) in &window.rooms {
            key_changes::look(app, me, room, news, &mut people).await?;
        }
        let lists = people.tell(app, &me.user, window.devices.clone()).await?;
        told.device_lists = Some(Devices {
            changed: lists.changed,
            left: lists.left,
        });
    }
    let counts = keys::counts(&app.store, &me.user, &me.device).await?;
    told.device_one_time_keys_count = counts.one_time_key_counts();
    told.device_unused_fallback_key_types = counts.unused_fallback_types();
    Ok(told)
}

/// The account data; all of the global one, if the client has none.
pub(super) async fn account_data(
    app: &App,
    me: &Device,
    changed: Option<&BTreeSet<String>>,
    subjects: &[Subject<'_>],
) -> Result<AccountData> {
    let user = &*me.user;
    let mut told = AccountData {
        global: notices::account_data(app, user, None, changed, |_| true).await?,
        ..AccountData::default()
    };
    if changed.is_none_or(|changed| changed.contains("m.push_rules")) {
        told.global.push(notices::push_rules(app, user).await?);
    }
    let subjects = subjects.iter().filter(|subject| subject.has(ACCOUNT_DATA));
    let (whole, some): (Vec<_>, Vec<_>) = subjects.partition(|subject| subject.whole);
    if whole.len() > AT_ONCE {
        let wanted: BTreeSet<&OwnedRoomId> = whole.iter().map(|subject| subject.room).collect();
        for (room, kind, json) in account_data::of_rooms(&app.store, user).await? {
            if wanted.contains(&room) {
                let datum = notices::datum(&kind, &json)?;
                told.rooms.entry(room).or_default().push(datum);
            }
        }
    } else {
        for subject in whole {
            let room = Some(&**subject.room);
            let events = notices::account_data(app, user, room, None, |_| true).await?;
            told.rooms.insert(subject.room.clone(), events);
        }
    }
    for subject in some {
        if let Some(news) = subject.news {
            let (room, types) = (Some(&**subject.room), Some(&news.account_data));
            let events = notices::account_data(app, user, room, types, |_| true).await?;
            told.rooms.insert(subject.room.clone(), events);
        }
    }
    told.rooms.retain(|_, events| !events.is_empty());
    Ok(told)
}

/// Who has read how far. There is a place for one event for each room, in which a person has read a message in one way;
/// what there is no place for is told by the next answer: which rooms that are, and how many of their events were told.
pub(super) async fn receipts(
    app: &App,
    me: &Device,
    subjects: &[Subject<'_>],
    late: Vec<(OwnedRoomId, u8)>,
) -> Result<(Ephemeral, Vec<(OwnedRoomId, u8)>)> {
    let user = &*me.user;
    let (mut told, mut rest) = (Ephemeral::default(), Vec::new());
    let subjects = subjects.iter().filter(|subject| subject.has(RECEIPTS));
    let reading: Vec<_> = subjects
        .filter(|subject| subject.whole || subject.news.is_some())
        .map(|subject| {
            let events = match subject.news.filter(|_| !subject.whole) {
                Some(news) => {
                    notices::some_receipts(app, user, subject.room, &news.receipts).boxed()
                }
                None => notices::all_receipts(app, user, subject.room).boxed(),
            };
            events.map_ok(|events| (subject.room, events)).boxed()
        })
        .collect();
    let read: Vec<_> = stream::iter(reading)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    for (room, events) in read {
        if events.len() > 1 {
            rest.push((room.clone(), 1));
        }
        if let Some(event) = events.into_iter().next() {
            told.rooms.insert(room.clone(), event);
        }
    }
    for (room, before) in late {
        let has_place = !told.rooms.contains_key(&room);
        if !is_in(app, me, &room).await? {
            continue;
        }
        let mut events = notices::all_receipts(app, user, &room).await?;
        let events: Vec<_> = events
            .drain(usize::from(before).min(events.len())..)
            .collect();
        if events.len() > usize::from(has_place) && rest.iter().all(|(other, _)| *other != room) {
            rest.push((room.clone(), before.saturating_add(u8::from(has_place))));
        }
        if let Some(event) = events.into_iter().next().filter(|_| has_place) {
            told.rooms.insert(room, event);
        }
    }
    rest.truncate(MAX_LATE);
    Ok((told, rest))
}

/// Threads with new replies, in all rooms: since a time, or all threads. `told` says from which position on the client is
/// told all of a room's timeline.
pub(super) async fn threads(
    (app, me): (&App, &Device),
    asked: &ThreadsAsked,
    since: Option<(&Window, u64)>,
    told: &BTreeMap<OwnedRoomId, u64>,
) -> Result<Option<Threads>> {
    let limit = asked.limit.and_then(|limit| usize::try_from(limit).ok());
    let search = Search {
        app,
        me,
        since: since.map_or(0, |(_, since)| since),
        with_roots: asked.include_roots,
        told,
        limit: limit.unwrap_or(MAX_UPDATES).clamp(1, MAX_UPDATES),
    };
    let (updates, prev_batch) = match since {
        None => search.everywhere(None).await?,
        Some((window, _)) => {
            let mut stretches = Vec::new();
            for (room, news) in &window.rooms {
                if let Some((first, last)) = news.bounds()
                    && is_in(app, me, room).await?
                {
                    stretches.push((
                        room.clone(),
                        first.saturating_sub(1),
                        last.saturating_add(1),
                    ));
                }
            }
            search.within(stretches.into_iter()).await?
        }
    };
    Ok(
        (!updates.is_empty() || prev_batch.is_some()).then_some(Threads {
            updates,
            prev_batch,
        }),
    )
}

async fn is_in(app: &App, me: &Device, room: &RoomId) -> Result<bool> {
    let member = membership::of(&app.store, &me.user, room).await?;
    Ok(member.is_some_and(|member| member.state == MembershipState::Join))
}

/// Who is typing, in the rooms in which that has changed.
pub(super) async fn typing(
    app: &App,
    changed: &BTreeSet<OwnedRoomId>,
    subjects: &[Subject<'_>],
) -> Result<Ephemeral> {
    let mut told = Ephemeral::default();
    for subject in subjects.iter().filter(|subject| subject.has(TYPING)) {
        if !changed.contains(subject.room) {
            continue;
        }
        let typists = typing::in_room(&app.store, subject.room).await?;
        if !(typists.is_empty() && subject.whole) {
            let event = notices::typing(typists)?;
            told.rooms.insert(subject.room.clone(), event);
        }
    }
    Ok(told)
}

impl wire::Told {
    /// Whether there is anything in it that a client waits for.
    pub(super) fn says_something(&self) -> bool {
        let is_empty = |told: &Ephemeral| told.rooms.is_empty();
        let quiet = self
            .to_device
            .as_ref()
            .is_none_or(|told| told.events.is_empty())
            && self.e2ee.as_ref().is_none_or(|told| {
                let lists = told.device_lists.as_ref();
                lists.is_none_or(|lists| lists.changed.is_empty() && lists.left.is_empty())
            })
            && self
                .account_data
                .as_ref()
                .is_none_or(|told| told.global.is_empty() && told.rooms.is_empty())
            && self.receipts.as_ref().is_none_or(is_empty)
            && self.typing.as_ref().is_none_or(is_empty)
            && self.threads.is_none();
        !quiet
    }
}
