//! Releasing what is due.

use std::time::Duration;

use super::{DUE, Fate, SCHEDULED, Scheduled, forget_in};
use crate::{
    error::{Error, Result},
    gate,
    rooms::{
        append::{self, NewEvent},
        event::TIMELINE,
        later,
    },
    state::App,
    store::{Page, Store, Tx},
};

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(250);
/// How many are looked up at once.
const BATCH: usize = 64;
/// How far back it is looked whether the addressee has written.
const LOOK_BACK: usize = 2_000;
const LOOK_BACK_PAGE: usize = 100;

/// Releases what becomes due until the server stops. What became due while the server was not running is released at once,
/// or dropped if it has expired.
pub async fn run(app: App) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let released = match release_due(&app).await {
            Ok(_) => later::release_due(&app).await,
            failed => failed,
        };
        if let Err(error) = released {
            tracing::warn!(
                ?error,
                "something that is due could not be released; it is tried again"
            );
        }
    }
}

/// Releases or drops everything that is due now, and forgets what ended long ago; returns how much that was. What cannot be
/// released does not hold up the others.
///
/// # Errors
/// The store's, the first of them; what was not yet released stays scheduled.
pub async fn release_due(app: &App) -> Result<usize> {
    let (mut done, mut failed) = (0, None);
    let mut after = (0, String::new());
    loop {
        let now = app.clock.millis();
        let page = Page::first(BATCH);
        let due = app.store.scan_after(&DUE, (), &after, page).await?;
        let due: Vec<_> = due
            .into_iter()
            .filter(|((time, _), ())| *time <= now)
            .collect();
        let Some((last, ())) = due.last() else {
            return failed.map_or(Ok(done), Err);
        };
        after.clone_from(last);
        for ((time, id), ()) in due {
            match release(app, (time, &id), now).await {
                Ok(()) => done += 1,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
}

async fn release(app: &App, due: (u64, &String), now: u64) -> Result<()> {
    match settle(app, due, now, true).await {
        // The sender may not write there any more: nobody would ever be able to release it.
        Err(Error::Matrix { status, .. }) if status.is_client_error() => {
            settle(app, due, now, false).await
        }
        settled => settled,
    }
}

/// Takes one item off the schedule, and releases it in the same commit if it is to be released. What was taken off long ago
/// is forgotten.
async fn settle(app: &App, (time, id): (u64, &String), now: u64, may_release: bool) -> Result<()> {
    app.store
        .transact(|mut tx: Tx| async move {
            tx.delete(&DUE, (time, id));
            let Some(mut item) = tx.get(&SCHEDULED, id).await? else {
                return Ok((tx, ()));
            };
            if item.turn() > now {
                return Ok((tx, ()));
            }
            if !item.waits() {
                forget_in(&mut tx, id, &item);
                return Ok((tx, ()));
            }
            let event = item.event.take();
            let fate = match event {
                Some((kind, content)) if may_release && wanted(&app.store, &item, now).await? => {
                    let event = NewEvent {
                        kind,
                        content: gate::canonical(&content)?,
                        state_key: None,
                        redacts: None,
                        timestamp: None,
                    };
                    append::append_in(&mut tx, app, &item.sender, &item.room, event).await?;
                    Fate::Released
                }
                _ => Fate::Dropped,
            };
            item.end(fate, now);
            tx.put(&DUE, (item.turn(), id), &())?;
            tx.put(&SCHEDULED, id, &item)?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

async fn wanted(store: &Store, item: &Scheduled, now: u64) -> Result<bool> {
    if item.expires.is_some_and(|expires| expires <= now) {
        return Ok(false);
    }
    match item.unless_written_since {
        Some(since) => Ok(!has_written_since(store, item, since).await?),
        None => Ok(true),
    }
}

/// Looks back from the room's newest event to the time in question: costs what happened since.
async fn has_written_since(store: &Store, item: &Scheduled, since: u64) -> Result<bool> {
    let mut before = u64::MAX;
    let mut seen = 0;
    while seen < LOOK_BACK {
        let page = store
            .before(&TIMELINE, &item.room, before, LOOK_BACK_PAGE)
            .await?;
        let Some((oldest, _)) = page.last() else {
            return Ok(false);
        };
        before = *oldest;
        seen += page.len();
        for (_, event) in page {
            if event.origin_server_ts < since {
                return Ok(false);
            }
            if event.sender == item.addressee && event.state_key.is_none() {
                return Ok(true);
            }
        }
    }
    // So much has been written since that a reminder would only be noise.
    Ok(true)
}
