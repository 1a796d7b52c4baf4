//! Places in a room's timeline, as clients carry them around: `t` and a position, meaning right after that event.

use ruma::{RoomId, UserId};

use crate::{
    auth::Device,
    error::{Error, Result},
    inbox::{Entry, INBOX, token::Tokens},
    state::App,
    store::Store,
};

/// How far back an inbox is searched for the place that a sync token means in a room.
const MAX_SEARCHED: usize = 10_000;
const PAGE: usize = 500;

/// The place right after a position; 0 is the beginning.
pub fn token(position: u64) -> String {
    format!("t{position}")
}

/// The position that a token of this room, or a sync token of this device, means.
///
/// # Errors
/// 400 `M_INVALID_PARAM` for anything else.
pub async fn parse(app: &App, me: &Device, room_id: &RoomId, token: &str) -> Result<u64> {
    match token.strip_prefix('t') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_| unknown_token())
        }
        Some(_) => Err(unknown_token()),
        None => {
            let synced = Tokens::of(app, me)
                .read(token)
                .map_err(|_| unknown_token())?;
            in_inbox(&app.store, &me.user, room_id, synced.inbox).await
        }
    }
}

/// The room's newest event that was in somebody's inbox by then. Where that is not in the inbox any more, it is the one
/// before the room's next event there; the room's end, if there is none, or all that is too far away to be found.
async fn in_inbox(store: &Store, user: &UserId, room_id: &RoomId, until: u64) -> Result<u64> {
    let is_of_room = |entry: &Entry| matches!(entry, Entry::Event(room) if room == room_id);
    let mut before = until.saturating_add(1);
    for _ in 0..MAX_SEARCHED / PAGE {
        let page = store.before(&INBOX, user, before, PAGE).await?;
        if let Some((_, entry)) = page.iter().find(|(_, entry)| is_of_room(&entry.value)) {
            return Ok(entry.number());
        }
        let Some((oldest, _)) = page.last() else {
            break;
        };
        before = *oldest;
    }
    let mut after = until;
    for _ in 0..MAX_SEARCHED / PAGE {
        let page = store.after(&INBOX, user, after, PAGE).await?;
        if let Some((_, entry)) = page.iter().find(|(_, entry)| is_of_room(&entry.value)) {
            return Ok(entry.number().saturating_sub(1));
        }
        let Some((newest, _)) = page.last() else {
            break;
        };
        after = *newest;
    }
    Ok(store.head(&super::event::TIMELINE, room_id).await?)
}

fn unknown_token() -> Error {
    Error::invalid_param("That is not a token of this room's history.")
}
