//! Sliding sync: a client says which rooms it has on its screen, and is told of those.
//!
//! What is new is read from the user's inbox, as for `/sync`. What the client knows of which room is kept for each
//! connection ([`crate::inbox::connection`]); all else that an answer goes on from is in its position. So an answer costs
//! what has happened in the meantime, and what the client asks for newly, however many rooms its user has.
//!
//! See `docs/decisions/0007-sliding-sync.md`.
//! [MSC4186](https://github.com/matrix-org/matrix-spec-proposals/pull/4186)

mod answer;
mod case;
mod extensions;
mod lists;
mod plan;
mod pos;
mod reach;
mod room;
#[cfg(test)]
mod tests;
mod wanted;
mod wire;

use axum::Router;
use http::StatusCode;
use ruma::api::error::ErrorKind;
use tokio::time::Instant;

use self::{
    answer::Answerer,
    pos::Pos,
    wire::{Answered, Asked, Body, Details},
};
use super::{Changes, MAX_WAIT, delivered, note};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    inbox::{
        connection::{Failure, Ledger, Of},
        token::{Position, Tokens},
    },
    state::App,
    store::StoreError,
};

/// How many lists a request may have.
pub const MAX_LISTS: usize = 100;
/// How many ranges a list may have.
pub const MAX_RANGES: usize = 100;
/// How many pieces of state, and of each filter's values, may be named.
pub const MAX_NAMED: usize = 200;
/// How many rooms may be subscribed to.
pub const MAX_SUBSCRIPTIONS: usize = 1_000;
/// How many bytes the names of lists and connections may have.
pub const MAX_NAME_BYTES: usize = 255;

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(sync)
}

async fn sync(app: App, me: Device, asked: Asked) -> Result<Answered> {
    let Asked { pos, timeout, body } = asked;
    check(&body)?;
    let tokens = Tokens::of(&app, &me);
    let name = tokens.name("connection", body.conn_id.as_deref().unwrap_or_default());
    let of = Of {
        user: &me.user,
        device: &me.device,
        name,
    };
    let mut since = match pos {
        Some(text) => {
            let pos = Pos::read(&text, &tokens, name).filter(|pos| pos.epoch == app.epoch);
            Some(pos.ok_or_else(gone)?)
        }
        None => None,
    };
    let mut ledger = match &since {
        Some(pos) => Ledger::after(&app.store, &app.clock, of, pos.answer).await?,
        None => Ledger::empty(&app.store, &app.clock, of),
    };
    if since.as_ref().is_some_and(|pos| pos.unkept) && ledger.keeps_again().await {
        return Err(gone());
    }
    let to_device = messages_since(&app, &me, &tokens, &body).await?;
    let answerer = Answerer {
        app: &app,
        me: &me,
        tokens: &tokens,
        body: &body,
        to_device,
    };
    let until = Instant::now() + timeout.min(MAX_WAIT);
    let begins = since.is_none();
    let mut changes = Changes::of(&app, &me);
    let mut noted = false;
    loop {
        // What it takes to put an answer together is on the heap, and gone while the poll waits.
        let answer = Box::pin(answerer.answer(since.as_ref(), &mut ledger)).await?;
        if let Some(pos) = since.as_ref().filter(|_| !noted) {
            let position = Position {
                inbox: pos.inbox,
                ..Position::default()
            };
            note(&app, &me, position).await;
        }
        noted = true;
        let waits = !begins && !answer.says_something;
        let mut pos = answer.pos;
        if waits && ledger.is_behind() && ledger.is_unchanged() {
            keep(&mut ledger, &mut pos).await?;
        }
        if !waits || !changes.within(&app, until).await {
            keep(&mut ledger, &mut pos).await?;
            let mut response = answer.response;
            response.pos = pos.write(&tokens, name)?;
            return Ok(response);
        }
        me.stays(&app).await?;
        // Nothing was left unsaid up to here.
        since = Some(pos);
    }
}

/// Keeps what an answer has told. While the store takes nothing, the client goes on without: what it was told is told to it
/// again if it happens to matter, and once the store takes something again, it begins anew.
async fn keep(ledger: &mut Ledger<'_>, pos: &mut Pos) -> Result<()> {
    match ledger.save().await {
        Ok(answer) => pos.answer = answer,
        Err(Failure::Store(StoreError::Unavailable(_))) if ledger.can_be_lost() => {
            pos.unkept |= !ledger.is_unchanged();
        }
        Err(failure) => return Err(failure.into()),
    }
    Ok(())
}

/// How far the device has its messages; those up to there are not kept any longer.
async fn messages_since(app: &App, me: &Device, tokens: &Tokens, body: &Body) -> Result<u64> {
    let asked = &body.extensions.to_device;
    let Some(token) = asked
        .since
        .as_deref()
        .filter(|_| asked.enabled == Some(true))
    else {
        return Ok(0);
    };
    let position = tokens.read(token)?;
    if position == Position::NOWHERE {
        return Ok(0);
    }
    delivered(app, me, position).await;
    Ok(position.to_device)
}

/// When an answer was put together, by its position: of whatever device and connection.
pub(super) fn time_of(pos: &str) -> Option<u64> {
    Pos::peek(pos).map(|pos| pos.threads)
}

/// 400 `M_UNKNOWN_POS`: clients begin anew when they are told so.
fn gone() -> Error {
    Error::new(
        StatusCode::BAD_REQUEST,
        ErrorKind::UnknownPos,
        "This position is no longer known. Sync again without it.",
    )
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Gone => gone(),
            Failure::Store(error) => error.into(),
        }
    }
}

fn check(body: &Body) -> Result<()> {
    let named = |names: &Option<Vec<String>>| names.as_ref().map_or(0, Vec::len) <= MAX_NAMED;
    let typed =
        |kinds: &Option<Vec<Option<String>>>| kinds.as_ref().map_or(0, Vec::len) <= MAX_NAMED;
    let modest = |details: &Details| details.required_state.len() <= MAX_NAMED;
    let lists_fit = body.lists.len() <= MAX_LISTS
        && body.lists.iter().all(|(name, list)| {
            name.len() <= MAX_NAME_BYTES
                && modest(&list.details)
                && list.ranges.as_ref().map_or(0, Vec::len) <= MAX_RANGES
                && list.filters.as_ref().is_none_or(|filters| {
                    named(&filters.spaces)
                        && named(&filters.tags)
                        && named(&filters.not_tags)
                        && typed(&filters.room_types)
                        && typed(&filters.not_room_types)
                })
        });
    let fits = lists_fit
        && body.room_subscriptions.len() <= MAX_SUBSCRIPTIONS
        && body.room_subscriptions.values().all(modest)
        && body.conn_id.as_ref().map_or(0, String::len) <= MAX_NAME_BYTES;
    if !fits {
        return Err(Error::invalid_param(
            "This asks for more lists, ranges, rooms or state than one request may.",
        ));
    }
    let ranges = body.lists.values().filter_map(|list| list.ranges.as_ref());
    if ranges.flatten().any(|(first, last)| first > last) {
        return Err(Error::invalid_param(
            "A range ends before it begins. Its two numbers are the first and the last place.",
        ));
    }
    Ok(())
}
