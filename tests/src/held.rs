//! What the server holds, as it is kept: for what no client can see.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use respite_server::{
    auth::PASSWORDS,
    blobs::Blob,
    invites,
    rooms::event::{EVENT_POSITIONS, StoredEvent, TIMELINE},
    scheduler,
    state::App,
};
use ruma::{EventId, MxcUri, RoomId, UserId};

/// Something that the server keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The hash of a secret.
    Hash(String),
    /// An event: its type, and its content as JSON.
    Event {
        /// The type.
        kind: String,
        /// The content.
        content: String,
    },
    /// An event that waits for its time.
    Waiting {
        /// When it is due, milliseconds since 1970.
        due: u64,
        /// The content.
        content: String,
    },
    /// A blob.
    Blob {
        /// Its size in bytes.
        size: u64,
        /// All of its bytes.
        bytes: Vec<u8>,
    },
}

/// What is kept of a password.
pub async fn password(app: &App, user: &UserId) -> Result<Held> {
    let hash = app.store.get(&PASSWORDS, user).await?;
    hash.map(Held::Hash).context("no password is kept")
}

/// What is kept of a code.
pub async fn code(app: &App, code: &str) -> Result<Held> {
    let hash = invites::hash(code).context("this is no code")?;
    app.store
        .get(&invites::INVITES, hash)
        .await?
        .context("the code is not kept under its hash")?;
    Ok(Held::Hash(
        hash.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}

/// What is kept of an event.
pub async fn event(app: &App, event_id: &EventId) -> Result<Held> {
    let place = app
        .store
        .get(&EVENT_POSITIONS, event_id)
        .await?
        .context("no such event is kept")?;
    let found = app
        .store
        .entries(&TIMELINE, &place.value, &[place.number()])
        .await?;
    let event: StoredEvent = found
        .into_iter()
        .flatten()
        .next()
        .context("the event is not where it should be")?;
    Ok(Held::Event {
        kind: event.kind,
        content: event.content,
    })
}

/// What is kept of the room's encryption setting.
pub async fn encryption(app: &App, room: &RoomId) -> Result<Held> {
    let timeline = app.store.after(&TIMELINE, room, 0, 20).await?;
    let setting = timeline
        .into_iter()
        .map(|(_, event)| event)
        .find(|event| event.kind == "m.room.encryption");
    let StoredEvent { kind, content, .. } = setting.context("the room is not encrypted")?;
    Ok(Held::Event { kind, content })
}

/// What is kept of the prompt that waits in a room.
pub async fn prompt(app: &App, room: &RoomId, id: &str) -> Result<Held> {
    let all = scheduler::of_room(&app.store, room).await?;
    let (_, item) = all
        .into_iter()
        .find(|(kept, _)| kept == id)
        .context("no such prompt is kept")?;
    let (_, content) = item.event.context("the prompt does not wait any more")?;
    Ok(Held::Waiting {
        due: item.release,
        content,
    })
}

/// What is kept of a file.
pub async fn blob(app: &App, uri: &MxcUri) -> Result<Held> {
    let Blob { size, stream } = app.blobs.read(uri.media_id()?, None).await?;
    let pieces: Vec<_> = stream.try_collect().await?;
    Ok(Held::Blob {
        size,
        bytes: pieces.concat(),
    })
}
