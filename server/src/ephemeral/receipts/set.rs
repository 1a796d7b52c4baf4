//! Setting receipts and read markers.

use axum::Router;
use ruma::{
    OwnedEventId,
    api::client::{
        read_marker::set_read_marker,
        receipt::create_receipt::{self, v3::ReceiptType as Asked},
    },
    events::receipt::{ReceiptThread, ReceiptType},
};
use serde::{Deserialize, Serialize};

use super::{MAX_RECEIPTS_OF_USER, RECEIPTS, Receipt, key};
use crate::{
    account_data,
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    inbox::{self, Entry},
    push::{self, Within},
    rooms::{
        access::{self, Joined},
        event::EVENT_POSITIONS,
        membership::MEMBERSHIPS,
        not_in_room, relations,
    },
    state::App,
    store::{Page, Tx},
};

const FULLY_READ: &str = "m.fully_read";

/// What `m.fully_read` holds.
#[derive(Serialize, Deserialize)]
struct FullyRead {
    event_id: OwnedEventId,
}

/// Where somebody has read up to.
#[derive(Clone)]
struct Mark {
    kind: Kind,
    event_id: OwnedEventId,
    position: u64,
}

#[derive(Clone)]
enum Kind {
    Receipt(ReceiptType, ReceiptThread),
    FullyRead,
}

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(set_receipt))
        .merge(endpoint::<_, _, _, _>(set_markers))
}

async fn set_receipt(
    app: App,
    me: Device,
    request: create_receipt::v3::Request,
) -> Result<create_receipt::v3::Response> {
    let kind = match request.receipt_type {
        Asked::Read => Kind::Receipt(ReceiptType::Read, request.thread.clone()),
        Asked::ReadPrivate => Kind::Receipt(ReceiptType::ReadPrivate, request.thread.clone()),
        Asked::FullyRead if request.thread == ReceiptThread::Unthreaded => Kind::FullyRead,
        Asked::FullyRead => {
            return Err(Error::invalid_param(
                "Only read receipts can be of a thread.",
            ));
        }
        _ => return Err(Error::invalid_param("There is no such type of receipt.")),
    };
    let room = access::joined(&app, &me.user, &request.room_id).await?;
    let readable = access::readable(&app, &me.user, &request.room_id).await?;
    let (position, event) = readable.event(&app, &request.event_id).await?;
    let within = match &request.thread {
        ReceiptThread::Unthreaded => true,
        ReceiptThread::Main => relations::is_within(&app.store, &event, None).await?,
        ReceiptThread::Thread(root) => relations::is_within(&app.store, &event, Some(root)).await?,
        _ => {
            return Err(Error::invalid_param(
                "A thread is \"main\" or the id of the event that it began with.",
            ));
        }
    };
    if !within {
        return Err(Error::invalid_param("This event is not in that thread."));
    }
    set(
        &app,
        &room,
        &[Mark {
            kind,
            event_id: request.event_id,
            position,
        }],
    )
    .await?;
    Ok(create_receipt::v3::Response::new())
}

async fn set_markers(
    app: App,
    me: Device,
    request: set_read_marker::v3::Request,
) -> Result<set_read_marker::v3::Response> {
    let room = access::joined(&app, &me.user, &request.room_id).await?;
    let readable = access::readable(&app, &me.user, &request.room_id).await?;
    let receipt = |kind| Kind::Receipt(kind, ReceiptThread::Unthreaded);
    let mut marks = Vec::new();
    for (kind, event_id) in [
        (Kind::FullyRead, request.fully_read),
        (receipt(ReceiptType::Read), request.read_receipt),
        (
            receipt(ReceiptType::ReadPrivate),
            request.private_read_receipt,
        ),
    ] {
        if let Some(event_id) = event_id {
            let (position, _) = readable.event(&app, &event_id).await?;
            marks.push(Mark {
                kind,
                event_id,
                position,
            });
        }
    }
    set(&app, &room, &marks).await?;
    Ok(set_read_marker::v3::Response::new())
}

async fn set(app: &App, room: &Joined, marks: &[Mark]) -> Result<()> {
    let now = app.clock.millis();
    app.store
        .transact(async |mut tx| {
            // Read anew, so that nothing is noted of a room that is deleted meanwhile.
            let membership = tx.get(&MEMBERSHIPS, (&*room.user, &*room.room_id)).await?;
            if membership.is_none() {
                return Err(not_in_room());
            }
            for mark in marks {
                set_in(&mut tx, now, room, mark).await?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

async fn set_in(tx: &mut Tx, now: u64, room: &Joined, mark: &Mark) -> Result<()> {
    match &mark.kind {
        Kind::FullyRead => set_fully_read_in(tx, room, mark).await,
        Kind::Receipt(kind, thread) => set_receipt_in(tx, now, room, mark, kind, thread).await,
    }
}

/// Receipts only move forward: an older one that arrives late is no error, and changes nothing.
async fn set_receipt_in(
    tx: &mut Tx,
    now: u64,
    room: &Joined,
    mark: &Mark,
    kind: &ReceiptType,
    thread: &ReceiptThread,
) -> Result<()> {
    let of = key(kind, thread);
    let place = (&*room.room_id, &*room.user, &*of);
    match tx.get(&RECEIPTS, place).await? {
        Some(before) if before.position >= mark.position => return Ok(()),
        Some(_) => {}
        None => {
            let own = (&*room.room_id, &*room.user);
            let kept = tx
                .store()
                .scan(&RECEIPTS, own, Page::first(MAX_RECEIPTS_OF_USER))
                .await?;
            if kept.len() >= MAX_RECEIPTS_OF_USER {
                return Err(Error::invalid_param(
                    "You have receipts in too many threads here.",
                ));
            }
        }
    }
    let receipt = Receipt {
        event_id: mark.event_id.clone(),
        position: mark.position,
        ts: now,
    };
    tx.put(&RECEIPTS, place, &receipt)?;
    let entry = Entry::Receipt(room.room_id.clone(), room.user.clone(), of.clone());
    if *kind == ReceiptType::Read {
        for member in room.state.joined() {
            inbox::deliver(tx, member, entry.clone())?;
        }
    } else {
        inbox::deliver(tx, &room.user, entry)?;
    }
    let within = match thread {
        ReceiptThread::Thread(root) => Within::Thread(root.clone()),
        ReceiptThread::Main => Within::Main,
        _ => Within::Room,
    };
    let read = (&within, mark.position);
    push::read_up_to_in(tx, &room.user, &room.room_id, read, now).await?;
    Ok(())
}

async fn set_fully_read_in(tx: &mut Tx, room: &Joined, mark: &Mark) -> Result<()> {
    let place = (&*room.user, room.room_id.as_str(), FULLY_READ);
    let before = tx.get(&account_data::ACCOUNT_DATA, place).await?;
    let before = before.and_then(|json| serde_json::from_str::<FullyRead>(&json).ok());
    if let Some(before) = before
        && let Some(place) = tx.store().get(&EVENT_POSITIONS, before.event_id).await?
        && place.number() >= mark.position
    {
        return Ok(());
    }
    let json = serde_json::to_string(&FullyRead {
        event_id: mark.event_id.clone(),
    })
    .map_err(|_| Error::internal("a read marker that is not JSON"))?;
    account_data::set_in(tx, &room.user, Some(&room.room_id), FULLY_READ, &json).await
}

#[cfg(test)]
mod tests;
