//! What is not needed any more goes away: beside the requests, in small steps, with a pause after each.
//!
//! Two kinds of work. What somebody has ended (a room that is deleted, an account that is given up, requests of past weeks)
//! stands at the beginning of a table of its own and is found by looking there. What time alone makes superfluous (an inbox
//! that all devices have passed, notifications that nobody reads, codes that no longer work) is found by going round: a few
//! accounts at a time, a round at most every [`ROUND`]. Notes of what is to be trimmed would be found faster, but every
//! message would have to write some, and a phone that is never switched on again leaves none; a round costs reads, at a rate
//! that does not depend on how many accounts there are, and the hot path nothing.
//!
//! Every step can be repeated, and does no harm when another server does the same at the same time: what is removed is
//! removed whoever does it, and what must happen once is one commit with a check.

mod account;
mod people;
mod room;

use std::time::Duration;

use self::people::Round;
use crate::{error::Result, media, rooms, state::App};

pub use self::{account::erase as erase_account, room::erase as erase_room};

/// Most entries that one step reads and removes.
pub const STEP: usize = 500;
/// How long nothing is done after a step that has removed something, so that requests come first.
const PAUSE: Duration = Duration::from_millis(100);
/// How long nothing is done after a step that has found nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long nothing is done after a failure: most of them last, and each is a line in the log.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// How much time passes at least between the beginnings of two rounds through all accounts.
pub const ROUND: Duration = Duration::from_secs(60 * 60);

/// Trims until the server stops.
pub async fn run(app: App) {
    let mut round = Round::default();
    loop {
        let pause = match step(&app, &mut round).await {
            Ok(true) => PAUSE,
            Ok(false) => LOOK_AGAIN,
            Err(error) => {
                tracing::warn!(?error, "trimming failed; it is tried again");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One step of whatever is to be done; whether anything was. What fails does not keep the rest from being done.
async fn step(app: &App, round: &mut Round) -> Result<bool> {
    let mut failed = None;
    let mut did = |step: Result<bool>| {
        step.unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    };
    let done = did(room::step(app).await)
        || did(account::step(app).await)
        || did(rooms::append::forget_requests(app, STEP)
            .await
            .map_err(Into::into))
        || did(round.step(app).await)
        || did(media::trim_step(app).await);
    match failed {
        Some(error) if !done => Err(error),
        _ => Ok(done),
    }
}

#[cfg(test)]
mod tests;
