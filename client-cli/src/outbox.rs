//! Sending, through matrix-sdk's send queue: what cannot go now stays in the store, encrypted, and
//! goes out on the next run.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use matrix_sdk::{
    Client, Room,
    send_queue::{LocalEcho, LocalEchoContent, RoomSendQueueUpdate, SendHandle, SendQueueUpdate},
};
use respite_protocol::events::Outgoing;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedTransactionId, RoomId, events::AnyMessageLikeEventContent,
    serde::Raw,
};
use serde_json::value::to_raw_value;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, timeout_at},
};

use crate::failure;

/// How long a command waits for its message to go out, unless told otherwise.
pub const SEND_WAIT: Duration = Duration::from_secs(20);

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The server has it.
    Sent(OwnedEventId),
    /// It waits in the queue for the next run.
    Queued {
        /// Why it could not go now.
        why: String,
    },
}

/// What became of the messages that waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Messages that went out.
    pub sent: usize,
    /// Messages that still wait.
    pub waiting: usize,
    /// Messages that the server refused. They are out of the queue.
    pub refused: Vec<Refused>,
}

/// A message that the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it should have gone.
    pub room_id: OwnedRoomId,
    /// Its readable text.
    pub body: String,
    /// The server's sentence.
    pub why: String,
}

/// Sends an event, waiting at most `wait` for the server to take it.
///
/// # Errors
///
/// If the server refuses it; it is then not in the queue. (A server that cannot be reached is no
/// error: the message is queued.)
pub async fn send(room: &Room, message: &Outgoing, wait: Duration) -> Result<Delivery> {
    let client = room.client();
    let mut updates = client.send_queue().subscribe();
    let content: Raw<AnyMessageLikeEventContent> = Raw::from_json(to_raw_value(&message.content)?);
    let event_type = message.event_type.to_owned();
    let handle = room
        .send_queue()
        .send_raw(content, event_type)
        .await
        .context("the message cannot be queued")?;
    match outcome(room.room_id(), &mut updates, Instant::now() + wait).await {
        Outcome::Sent(event_id) => Ok(Delivery::Sent(event_id)),
        Outcome::Later(why) => Ok(Delivery::Queued { why }),
        Outcome::Refused(why) => {
            handle
                .abort()
                .await
                .context("the refused message cannot be taken out of the queue")?;
            Err(anyhow!(why))
        }
    }
}

/// Sends what waits from earlier runs, for at most `wait`.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn flush(client: &Client, wait: Duration) -> Result<Flushed> {
    let mut open = waiting_requests(client).await?;
    let mut flushed = Flushed::default();
    if open.is_empty() {
        return Ok(flushed);
    }
    let deadline = Instant::now() + wait;
    let mut updates = client.send_queue().subscribe();
    client.send_queue().set_enabled(true).await;
    while let Some(SendQueueUpdate { room_id, update }) = next(&mut updates, deadline).await {
        match update {
            RoomSendQueueUpdate::SentEvent { transaction_id, .. } => {
                flushed.sent += 1;
                open.retain(|(_, open)| *open != transaction_id);
            }
            RoomSendQueueUpdate::SendError {
                transaction_id,
                error,
                is_recoverable: false,
            } => {
                let why = failure::sdk_sentence(&error);
                flushed
                    .refused
                    .extend(withdraw(client, &room_id, &transaction_id, why).await?);
                open.retain(|(_, open)| *open != transaction_id);
                // An error stops the room's queue; what comes after may still be welcome.
                client.send_queue().set_enabled(true).await;
            }
            // The connection is gone: everything else of this room waits too.
            RoomSendQueueUpdate::SendError { .. } => {
                let before = open.len();
                open.retain(|(open, _)| *open != room_id);
                flushed.waiting += before - open.len();
            }
            _ => {}
        }
        if open.is_empty() {
            break;
        }
    }
    flushed.waiting += open.len();
    Ok(flushed)
}

/// How many messages wait, by room.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn waiting(client: &Client) -> Result<usize> {
    Ok(waiting_requests(client).await?.len())
}

async fn waiting_requests(client: &Client) -> Result<Vec<(OwnedRoomId, OwnedTransactionId)>> {
    let store = client.state_store();
    let mut waiting = Vec::new();
    for room_id in store.load_rooms_with_unsent_requests().await? {
        for request in store.load_send_queue_requests(&room_id).await? {
            if request.error.is_none() {
                waiting.push((room_id.clone(), request.transaction_id));
            }
        }
    }
    Ok(waiting)
}

enum Outcome {
    Sent(OwnedEventId),
    Later(String),
    Refused(String),
}

/// What becomes of the message that was just queued in this room: the first new one.
async fn outcome(
    room_id: &RoomId,
    updates: &mut Receiver<SendQueueUpdate>,
    deadline: Instant,
) -> Outcome {
    let mut mine = None;
    while let Some(SendQueueUpdate {
        room_id: of,
        update,
    }) = next(updates, deadline).await
    {
        match update {
            _ if of != room_id => {}
            RoomSendQueueUpdate::NewLocalEvent(LocalEcho { transaction_id, .. })
                if mine.is_none() =>
            {
                mine = Some(transaction_id);
            }
            RoomSendQueueUpdate::SentEvent {
                transaction_id,
                event_id,
            } if mine.as_ref() == Some(&transaction_id) => {
                return Outcome::Sent(event_id);
            }
            RoomSendQueueUpdate::SendError {
                transaction_id,
                error,
                is_recoverable,
            } => {
                let why = failure::sdk_sentence(&error);
                if mine.as_ref() == Some(&transaction_id) && !is_recoverable {
                    return Outcome::Refused(why);
                }
                return Outcome::Later(why);
            }
            _ => {}
        }
    }
    Outcome::Later("the server has not taken it yet".to_owned())
}

async fn next(
    updates: &mut Receiver<SendQueueUpdate>,
    deadline: Instant,
) -> Option<SendQueueUpdate> {
    loop {
        match timeout_at(deadline, updates.recv()).await {
            Ok(Ok(update)) => return Some(update),
            Ok(Err(RecvError::Lagged(_))) => {}
            Ok(Err(RecvError::Closed)) | Err(_) => return None,
        }
    }
}

/// Takes a refused message out of the queue, keeping its text.
async fn withdraw(
    client: &Client,
    room_id: &RoomId,
    transaction_id: &OwnedTransactionId,
    why: String,
) -> Result<Option<Refused>> {
    let Some(room) = client.get_room(room_id) else {
        return Ok(None);
    };
    let (echoes, _) = room
        .send_queue()
        .subscribe()
        .await
        .context("the queue cannot be read")?;
    for LocalEcho {
        transaction_id: id,
        content,
    } in echoes
    {
        if let LocalEchoContent::Event {
            serialized_event,
            send_handle,
            ..
        } = content
            && id == *transaction_id
        {
            let body = serialized_event
                .raw()
                .0
                .get_field("body")
                .ok()
                .flatten()
                .unwrap_or_default();
            abort(&send_handle).await?;
            return Ok(Some(Refused {
                room_id: room_id.to_owned(),
                body,
                why,
            }));
        }
    }
    Ok(None)
}

async fn abort(handle: &SendHandle) -> Result<()> {
    handle
        .abort()
        .await
        .context("a refused message cannot be taken out of the queue")?;
    Ok(())
}
