//! Sending what has waited long enough.

use ruma::UserId;

use super::{DELAYED, DELAYED_DUE, endpoints::waiting, remove_in};
use crate::{
    auth,
    error::{Error, Result},
    rooms::append,
    state::App,
    store::{Page, Tx},
};

/// How many are sent before it is looked again what is due first.
const BATCH: usize = 64;

/// Whose an event must be, if that matters.
pub(super) type Whose<'a> = Option<&'a UserId>;

/// Sends everything that is due now; returns how much that was. What may not be sent any more is dropped.
///
/// # Errors
/// The store's; what was not yet sent still waits.
pub async fn release_due(app: &App) -> Result<usize> {
    let mut done = 0;
    loop {
        let now = app.clock.millis();
        let due = app.store.scan(&DELAYED_DUE, (), Page::first(BATCH)).await?;
        let due = due.into_iter().take_while(|((time, _), ())| *time <= now);
        let due: Vec<_> = due.collect();
        if due.is_empty() {
            return Ok(done);
        }
        for ((time, id), ()) in due {
            match settle(app, (time, &id), true).await {
                Err(Error::Matrix { status, .. }) if status.is_client_error() => {
                    // The sender may not send it any more: nobody would ever be able to.
                    settle(app, (time, &id), false).await?;
                }
                settled => settled?,
            }
            done += 1;
        }
    }
}

async fn settle(app: &App, (time, id): (u64, &str), may_send: bool) -> Result<()> {
    app.store
        .transact(|mut tx: Tx| async move {
            tx.delete(&DELAYED_DUE, (time, id));
            let item = tx.get(&DELAYED, id).await?;
            // It may have been restarted meanwhile.
            if let Some(item) = item.filter(|item| item.due() == time) {
                remove_in(&mut tx, id, &item);
                let may = auth::restriction(tx.store(), &item.sender).await?;
                if may_send && may.is_none() {
                    let (sender, room) = (item.sender.clone(), item.room.clone());
                    append::append_in(&mut tx, app, &sender, &room, item.event()?).await?;
                }
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Sends something before it is due.
///
/// # Errors
/// 404 `M_NOT_FOUND` if nothing waits under this id; 403 `M_FORBIDDEN` if its sender may not send it any more: it is dropped
/// when it is due.
pub(super) async fn send(app: &App, of: Whose<'_>, id: &str) -> Result<()> {
    app.store
        .transact(|mut tx: Tx| async move {
            let item = waiting(&mut tx, of, id).await?;
            if !auth::restriction(tx.store(), &item.sender).await?.is_none() {
                return Err(auth::suspended());
            }
            remove_in(&mut tx, id, &item);
            let (sender, room) = (item.sender.clone(), item.room.clone());
            append::append_in(&mut tx, app, &sender, &room, item.event()?).await?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}
