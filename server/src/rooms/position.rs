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

/// The room's newest event that was in somebody's inbox by then; the room's end, if that is too long ago to be found.
async fn in_inbox(store: &Store, user: &UserId, room_id: &RoomId, until: u64) -> Result<u64> {
    let mut before = until.saturating_add(1);
    for _ in 0..MAX_SEARCHED / PAGE {
        let page = store.before(&INBOX, user, before, PAGE).await?;
        let found = page
            .iter()
            .find(|(_, entry)| matches!(&entry.value, Entry::Event(room) if room == room_id));
        if let Some((_, entry)) = found {
            return Ok(entry.number());
        }
        match page.last() {
            Some((number, _)) if page.len() == PAGE => before = *number,
            _ => return Ok(0),
        }
    }
    Ok(store.head(&super::event::TIMELINE, room_id).await?)
}

fn unknown_token() -> Error {
    Error::invalid_param("That is not a token of this room's history.")
}
