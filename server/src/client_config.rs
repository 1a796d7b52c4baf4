//! The endpoints of what a user keeps about themselves: account data and tags.
//!
//! [Client config](https://spec.matrix.org/v1.18/client-server-api/#client-config),
//! [room tagging](https://spec.matrix.org/v1.18/client-server-api/#room-tagging)

mod account_data;
mod tags;

use axum::Router;
use ruma::{RoomId, UserId};

use crate::{
    auth::Device,
    error::{Error, Result},
    gate,
    rooms::{access, membership::MEMBERSHIPS, not_in_room},
    state::App,
    store::Tx,
};

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(account_data::router())
        .merge(tags::router())
}

/// The gate for a room's account data is the room's: it is open where the operator runs plain Matrix beside. Only who is
/// in a room keeps anything about it.
async fn guarded(app: &App, me: &Device, room: &RoomId) -> Result<bool> {
    let room = access::joined(app, &me.user, room).await?;
    Ok(gate::guards(&app.config, room.state.is_therapy()))
}

/// Makes a transaction depend on there still being a room that this is about: it may be deleted meanwhile.
async fn of_room_in(tx: &mut Tx, me: &Device, room: &RoomId) -> Result<()> {
    match tx.get(&MEMBERSHIPS, (&*me.user, room)).await? {
        Some(_) => Ok(()),
        None => Err(not_in_room()),
    }
}

fn own(me: &Device, user: &UserId) -> Result<()> {
    if me.user == user {
        Ok(())
    } else {
        Err(Error::forbidden("This account data is somebody else's."))
    }
}
