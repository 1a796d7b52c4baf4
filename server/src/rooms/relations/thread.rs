//! Threads: the list of a room's, newest reply first.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#threading)

mod asked;

use axum::Router;
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, RoomId,
    api::client::threads::get_threads::v1::{IncludeThreads, Response},
};

use self::asked::Asked;
use super::{AGGREGATES, Aggregate, BY_TYPE, Bundler, RELATORS, THREAD};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::{
        access::{self, Readable},
        event::{EVENT_POSITIONS, StoredEvent, TIMELINE},
        pdu::redacted_content,
        position,
    },
    state::App,
    store::{Numbered, Page, Slot, StoreError, Table, Tx},
};

/// A room's threads in the order of their newest replies: room, position of that reply; the thread's root.
pub const THREAD_ORDER: Table<(OwnedRoomId, u64), OwnedEventId> =
    Table::new(0x0413, "threads_by_reply");

/// How many threads one request is answered with, if it does not say.
const DEFAULT_THREADS: usize = 20;
/// The most threads that one request is answered with.
const MAX_THREADS: usize = 100;
/// The most threads that one request looks at; who may see few of them gets a token to go on with.
const MAX_SCANNED: usize = 1_000;

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(threads)
}

/// A reply has come: the thread moves to the front.
pub(super) fn replied(
    tx: &mut Tx,
    (room, root): (&RoomId, &EventId),
    before: u64,
    position: Slot,
) -> Result<(), StoreError> {
    if before > 0 {
        tx.delete(&THREAD_ORDER, (room, before));
    }
    tx.put_at(&THREAD_ORDER, (room,), position, &root.to_owned())
}

/// A reply was redacted: the thread goes to where its newest remaining one puts it, or is none any more.
pub(super) async fn withdrawn(tx: &mut Tx, of: (&RoomId, &EventId), position: u64) -> Result<()> {
    let Some(row) = tx.get(&AGGREGATES, of).await? else {
        return Ok(());
    };
    let replies = row.value.replies.saturating_sub(1);
    let (room, root) = of;
    let mut newest = row.number();
    if newest == position {
        // Whoever replies meanwhile changes the row, and this is done again.
        let key = (room, root, THREAD);
        let earlier = (room, root, THREAD, position);
        let found = tx
            .store()
            .scan_after(&BY_TYPE, key, earlier, Page::last(1))
            .await?;
        newest = found.first().map_or(0, |((.., at), _)| *at);
        tx.delete(&THREAD_ORDER, (room, position));
        if newest > 0 {
            tx.put(&THREAD_ORDER, (room, newest), &root.to_owned())?;
        }
    }
    let aggregate = Aggregate {
        replies,
        ..row.value
    };
    tx.put(&AGGREGATES, of, &Numbered::new(aggregate, newest))?;
    Ok(())
}

async fn threads(app: App, me: Device, Asked(request): Asked) -> Result<Response> {
    let own = match request.include {
        IncludeThreads::All => false,
        IncludeThreads::Participated => true,
        _ => {
            return Err(Error::invalid_param(
                "Ask for all threads, or for those that you have participated in.",
            ));
        }
    };
    let room = &*request.room_id;
    let readable = access::readable(&app, &me.user, room).await?;
    let limit = request.limit.map_or(DEFAULT_THREADS, |limit| {
        usize::try_from(u64::from(limit))
            .unwrap_or(MAX_THREADS)
            .clamp(1, MAX_THREADS)
    });
    let mut at = match &request.from {
        Some(token) => position::parse(&app, &me, room, token)
            .await?
            .saturating_add(1),
        None => u64::MAX,
    };
    let mut roots = Vec::new();
    let mut scanned = 0;
    let mut next = None;
    'reading: loop {
        let page = app
            .store
            .scan_after(&THREAD_ORDER, (room,), (room, at), Page::last(limit + 1))
            .await?;
        let last = page.len() <= limit;
        scanned += page.len();
        for ((_, newest), root) in page {
            if roots.len() == limit {
                next = Some(at - 1);
                break 'reading;
            }
            at = newest;
            roots.extend(shown(&app, &readable, &root, own).await?);
        }
        if last {
            break;
        }
        if scanned >= MAX_SCANNED {
            next = Some(at - 1);
            break;
        }
    }
    let bundler = Bundler::new(&app, &me, &readable);
    let mut response = Response::new(bundler.show(&roots).await?);
    response.next_batch = next.map(position::token);
    Ok(response)
}

/// A thread's root, if this user is told of the thread. What somebody said whom they ignore is left out of it.
async fn shown(
    app: &App,
    readable: &Readable,
    root: &EventId,
    own: bool,
) -> Result<Option<(u64, StoredEvent)>> {
    let room = &*readable.room_id;
    let place = app.store.get(&EVENT_POSITIONS, root).await?;
    let Some(position) = place
        .map(|place| place.number())
        .filter(|position| readable.sees(*position))
    else {
        return Ok(None);
    };
    let found = app.store.entries(&TIMELINE, room, &[position]).await?;
    let Some(mut event) = found.into_iter().next().flatten() else {
        return Ok(None);
    };
    if own && event.sender != readable.user {
        let replied = (room, root, &*readable.user, THREAD);
        if app.store.get(&RELATORS, replied).await?.is_none() {
            return Ok(None);
        }
    }
    if readable.ignores(&event) {
        let state = readable.state(app).await?;
        event.content = redacted_content(&event.content, &state.rules().redaction, &event.kind)?;
    }
    Ok(Some((position, event)))
}
