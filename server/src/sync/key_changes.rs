//! `GET /keys/changes`: whose devices a client must ask for again, for clients that have lost track between two syncs.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#get_matrixclientv3keyschanges)

use std::collections::BTreeSet;

use axum::Router;
use ruma::{
    OwnedRoomId,
    api::client::keys::get_key_changes::v3::{Request, Response},
    events::room::member::MembershipState,
};

use super::{
    devices::People,
    window::{News, Window, follows},
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    inbox::{
        INBOX,
        token::{Position, Tokens},
    },
    rooms::{event::TIMELINE, membership, state},
    state::App,
};

/// How many entries of an inbox are read at once.
const PAGE: u64 = 1_000;
/// How many entries of an inbox are looked through. Of a longer time, everybody one shares a room with counts as changed.
const MAX_ENTRIES: u64 = 20_000;

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(changes)
}

async fn changes(app: App, me: Device, request: Request) -> Result<Response> {
    let tokens = Tokens::of(&app, &me);
    let from = tokens.read(&request.from)?.inbox;
    let to = tokens.read(&request.to)?.inbox;
    if from == Position::NOWHERE.inbox {
        let everybody = membership::neighbours(&app, &me.user).await?;
        return Ok(Response::new(everybody.into_iter().collect(), Vec::new()));
    }
    if from > to {
        return Err(Error::invalid_param(
            "The token in \"from\" is later than the one in \"to\".",
        ));
    }
    let mut people = People::default();
    let mut changed = BTreeSet::new();
    let mut seen = from;
    while seen < to {
        let limit = usize::try_from(PAGE.min(to - seen)).unwrap_or(usize::MAX);
        let entries = app.store.after(&INBOX, &me.user, seen, limit).await?;
        let is_whole = !entries.is_empty() && follows(seen, &entries);
        if !is_whole || to - from > MAX_ENTRIES {
            let everybody = membership::neighbours(&app, &me.user).await?;
            return Ok(Response::new(everybody.into_iter().collect(), Vec::new()));
        }
        let window = Window::of(seen, entries);
        seen = window.end;
        for (room, news) in &window.rooms {
            look(&app, &me, room, news, &mut people).await?;
        }
        changed.extend(window.devices);
    }
    let lists = people.tell(&app, &me.user, changed).await?;
    Ok(Response::new(lists.changed, lists.left))
}

/// Who came into view in a room, and who went out of it.
pub(super) async fn look(
    app: &App,
    me: &Device,
    room: &OwnedRoomId,
    news: &News,
    people: &mut People,
) -> Result<()> {
    let events = app.store.entries(&TIMELINE, room, &news.events).await?;
    people.see(&me.user, events.iter().flatten(), false);
    let mut own = news
        .events
        .iter()
        .zip(&events)
        .filter_map(|(position, event)| {
            let event = event
                .as_ref()
                .filter(|event| event.target().as_deref() == Some(&*me.user))?;
            Some((*position, event.membership()?))
        });
    match own.next_back() {
        Some((_, MembershipState::Join)) => {
            if let Some(state) = state::current(app, room).await? {
                people.came.extend(state.joined().iter().cloned());
            }
        }
        Some((position, MembershipState::Leave | MembershipState::Ban)) => {
            people.lose(&me.user, state::at(app, room, position).await?.joined());
        }
        _ => {}
    }
    Ok(())
}
