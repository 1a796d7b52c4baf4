//! Removing a room that is being deleted, whose members have been told already: first what its members keep of it, then
//! what belongs to it, its events last.

use ruma::RoomId;

use super::STEP;
use crate::{
    account_data::ACCOUNT_DATA,
    ephemeral::receipts::RECEIPTS,
    error::Result,
    media, push,
    rooms::{
        deletion::{self, DELETIONS, Deletion},
        later,
    },
    scheduler,
    state::App,
};

/// One step of a room that is being deleted; `false` if there is none.
pub(super) async fn step(app: &App) -> Result<bool> {
    let Some((room, deletion)) = deletion::next(&app.store).await? else {
        return Ok(false);
    };
    remove_some(app, &room, deletion).await?;
    Ok(true)
}

/// Deletes a room to the end.
///
/// # Errors
/// 404 `M_NOT_FOUND` if there is no such room; the store's or the disk's, then what is left is removed by [`super::run`].
pub async fn erase(app: &App, room: &RoomId) -> Result<()> {
    deletion::begin(app, room).await?;
    while let Some(deletion) = app.store.get(&DELETIONS, room).await? {
        remove_some(app, room, deletion).await?;
    }
    Ok(())
}

async fn remove_some(app: &App, room: &RoomId, deletion: Deletion) -> Result<()> {
    let store = &app.store;
    if let Some(member) = deletion::next_member(store, room).await? {
        if deletion::clear_inbox(store, (room, &deletion), &member, STEP).await?
            && !push::forget_room(store, &member, room, STEP).await?
            && store
                .erase(&ACCOUNT_DATA, (&member, room.as_str()), STEP)
                .await?
                == 0
        {
            deletion::forget_member(store, room, &member, STEP).await?;
        }
        return Ok(());
    }
    let done = !scheduler::forget_room(store, room, STEP).await?
        && !later::forget_room(store, room, STEP).await?
        && store.erase(&RECEIPTS, (room,), STEP).await? == 0
        && !remove_documents(app, room).await?
        && !deletion::erase_events(store, room, STEP).await?;
    if done {
        deletion::finish(store, room).await?;
    }
    Ok(())
}

/// The bytes go first: what is still written down is tried again, and nobody can ask for it any more.
async fn remove_documents(app: &App, room: &RoomId) -> Result<bool> {
    let documents = media::in_room(&app.store, room, None, STEP).await?;
    for (id, _) in &documents {
        media::remove_blob(app, id).await?;
        media::delete(app, room, id).await?;
    }
    Ok(!documents.is_empty())
}
