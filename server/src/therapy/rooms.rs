//! Therapy rooms: encrypted, invite only, never federated, of an unchangeable kind.

use axum::Router;
use respite_protocol::api::{MAX_INVITED_AT_CREATION, create_room};
use ruma::{RoomId, UserId, events::room::member::MembershipState};

use crate::{
    auth::Therapist,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::{
        access::{self, Joined},
        create::{self, NewRoom},
    },
    state::App,
    store::Tx,
};

pub(super) fn router() -> Router<App> {
    endpoint(create)
}

async fn create(
    app: App,
    Therapist(me): Therapist,
    request: create_room::Request,
) -> Result<create_room::Response> {
    if request.invite.len() > MAX_INVITED_AT_CREATION {
        return Err(Error::invalid_param(
            "Too many people at once. Open the room, then invite the others.",
        ));
    }
    let members: Vec<_> = request
        .invite
        .into_iter()
        .filter(|user| *user != me.user)
        .map(|user| (user, MembershipState::Invite))
        .collect();
    let room = &NewRoom::therapy(request.kind, members);
    let (app, me) = (&app, &me);
    let committed = app
        .store
        .transact(|mut tx: Tx| async move {
            let room_id = create::create_in(&mut tx, app, &me.user, room.clone()).await?;
            Ok::<_, Error>((tx, room_id))
        })
        .await?;
    Ok(create_room::Response::new(committed.value))
}

/// Finds out whether a user is in a room that is a therapy room.
///
/// # Errors
/// 403 `M_FORBIDDEN` if not in it, 400 `M_INVALID_PARAM` if it is an ordinary room.
pub(super) async fn therapy_room(app: &App, user: &UserId, room_id: &RoomId) -> Result<Joined> {
    let room = access::joined(app, user, room_id).await?;
    if room.state.is_therapy() {
        Ok(room)
    } else {
        Err(Error::invalid_param("This is not a therapy room."))
    }
}
