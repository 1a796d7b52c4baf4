//! Giving, looking up and taking addresses.

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    RoomAliasId,
    api::client::{
        alias::{create_alias, delete_alias, get_alias},
        room::aliases,
    },
    events::room::history_visibility::HistoryVisibility,
};

use super::{ALIASES, ALIASES_OF, add_in, canonical, no_such_alias, of_this_server, remove_in};
use crate::{
    auth::{Active, Device},
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    limits::Rate,
    rooms::{
        access,
        append::NewEvent,
        draft::{Draft, Written},
        not_in_room, state,
    },
    state::App,
    store::Tx,
};

/// What lookups by people who are not logged in are counted as.
const LOOKUPS: &str = "aliases";

pub(in crate::rooms) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(create))
        .merge(endpoint::<_, _, _, _>(look_up))
        .merge(endpoint::<_, _, _, _>(delete))
        .merge(endpoint::<_, _, _, _>(list))
}

async fn create(
    app: App,
    me: Active,
    request: create_alias::v3::Request,
) -> Result<create_alias::v3::Response> {
    let localpart = of_this_server(&app, &request.room_alias)?;
    let room = access::joined(&app, &me.user, &request.room_id).await?;
    if room.state.is_therapy() {
        return Err(Error::forbidden(
            "A therapy room has no address: one comes in by invitation or with a code.",
        ));
    }
    if gate::guards(&app.config, false) {
        ciphertext::room_address(localpart)?;
    }
    app.store
        .transact(|mut tx: Tx| async {
            // The room must be there when the address is given, or it would lead to a deleted one for ever.
            let state = state::current_in(&mut tx, &app, &request.room_id).await?;
            if !state.is_some_and(|state| state.is_joined(&me.user)) {
                return Err(not_in_room());
            }
            add_in(&mut tx, localpart, &request.room_id, &me.user).await?;
            Ok((tx, ()))
        })
        .await?;
    Ok(create_alias::v3::Response::new())
}

async fn look_up(
    app: App,
    me: Option<Device>,
    request: get_alias::v3::Request,
) -> Result<get_alias::v3::Response> {
    if me.is_none() {
        app.limiter
            .take(&app.clock, Rate::lookups(&app.config.limits), LOOKUPS)?;
    }
    let room = super::resolve(&app, &request.room_alias).await?;
    let servers = vec![app.server_name().clone()];
    Ok(get_alias::v3::Response::new(room, servers))
}

/// Who has given an address may take it back; so may whoever says which addresses the room goes by.
async fn delete(
    app: App,
    me: Active,
    request: delete_alias::v3::Request,
) -> Result<delete_alias::v3::Response> {
    let (app, me, alias) = (&app, &me, &*request.room_alias);
    let localpart = of_this_server(app, alias).map_err(|_| no_such_alias())?;
    let mut committed = app
        .store
        .transact(|mut tx: Tx| async move {
            let written = delete_in(&mut tx, app, me, alias, localpart).await?;
            Ok::<_, Error>((tx, written))
        })
        .await?;
    if let Some(written) = committed.value.take() {
        written.settle(app, &committed);
    }
    Ok(delete_alias::v3::Response::new())
}

async fn delete_in(
    tx: &mut Tx,
    app: &App,
    me: &Device,
    alias: &RoomAliasId,
    localpart: &str,
) -> Result<Option<Written>> {
    let found = tx.get(&ALIASES, localpart).await?;
    let found = found.ok_or_else(no_such_alias)?;
    let mut draft = Draft::open(tx, app, &found.room).await?;
    if found.by != me.user && !canonical::may_say(draft.state(), &me.user) {
        return Err(Error::forbidden(
            "Only who gave the room this address, or a moderator of the room, can remove it.",
        ));
    }
    remove_in(tx, localpart, &found.room).await?;
    let Some(content) = canonical::without(draft.state(), &me.user, alias.as_str())? else {
        return Ok(None);
    };
    let event = NewEvent::state(canonical::KIND, "", content);
    draft.push(tx, &me.user, event).await?;
    Ok(Some(draft.close(tx)?))
}

async fn list(
    app: App,
    me: Device,
    request: aliases::v3::Request,
) -> Result<aliases::v3::Response> {
    let state = state::current(&app, &request.room_id).await?;
    let state = state.ok_or_else(not_in_room)?;
    let open = state.history_visibility() == HistoryVisibility::WorldReadable;
    if !open && !state.is_joined(&me.user) {
        return Err(not_in_room());
    }
    let all = app.store.get(&ALIASES_OF, &*request.room_id).await?;
    let whole = |localpart: String| {
        RoomAliasId::parse(format!("#{localpart}:{}", app.server_name())).map_err(Error::internal)
    };
    let all = all.unwrap_or_default().into_iter().map(whole);
    Ok(aliases::v3::Response::new(all.collect::<Result<_>>()?))
}
