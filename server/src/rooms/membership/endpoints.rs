//! The endpoints of membership. Reasons are people's words: they are not kept.

use axum::Router;
use ruma::api::client::{
    knock::knock_room,
    membership::{
        ban_user, forget_room, invite_user, join_room_by_id, join_room_by_id_or_alias,
        joined_rooms, kick_user, leave_room, unban_user,
    },
};

use super::change;
use crate::{
    auth::{Active, Device},
    endpoint::endpoint,
    error::{Error, Result},
    rooms::aliases,
    state::App,
};

pub(in crate::rooms) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(joined_rooms))
        .merge(endpoint::<_, _, _, _>(invite))
        .merge(endpoint::<_, _, _, _>(join))
        .merge(endpoint::<_, _, _, _>(join_by_id_or_alias))
        .merge(endpoint::<_, _, _, _>(knock))
        .merge(endpoint::<_, _, _, _>(leave))
        .merge(endpoint::<_, _, _, _>(forget))
        .merge(endpoint::<_, _, _, _>(kick))
        .merge(endpoint::<_, _, _, _>(ban))
        .merge(endpoint::<_, _, _, _>(unban))
}

async fn joined_rooms(
    app: App,
    me: Device,
    _: joined_rooms::v3::Request,
) -> Result<joined_rooms::v3::Response> {
    let rooms = super::joined_rooms(&app.store, &me.user).await?;
    Ok(joined_rooms::v3::Response::new(rooms))
}

async fn invite(
    app: App,
    me: Active,
    request: invite_user::v3::Request,
) -> Result<invite_user::v3::Response> {
    let invite_user::v3::InvitationRecipient::UserId(recipient) = request.recipient else {
        return Err(Error::new(
            http::StatusCode::FORBIDDEN,
            ruma::api::error::ErrorKind::ThreepidDenied,
            "This server knows no e-mail addresses or phone numbers. Invite people by their user id.",
        ));
    };
    change::invite(&app, &me.user, &request.room_id, &recipient.user_id).await?;
    Ok(invite_user::v3::Response::new())
}

async fn join(
    app: App,
    me: Active,
    request: join_room_by_id::v3::Request,
) -> Result<join_room_by_id::v3::Response> {
    change::join(&app, &me.user, &request.room_id).await?;
    Ok(join_room_by_id::v3::Response::new(request.room_id))
}

async fn join_by_id_or_alias(
    app: App,
    me: Active,
    request: join_room_by_id_or_alias::v3::Request,
) -> Result<join_room_by_id_or_alias::v3::Response> {
    let room = aliases::room_of(&app, request.room_id_or_alias).await?;
    change::join(&app, &me.user, &room).await?;
    Ok(join_room_by_id_or_alias::v3::Response::new(room))
}

async fn knock(
    app: App,
    me: Active,
    request: knock_room::v3::Request,
) -> Result<knock_room::v3::Response> {
    let room = aliases::room_of(&app, request.room_id_or_alias).await?;
    change::knock(&app, &me.user, &room).await?;
    Ok(knock_room::v3::Response::new(room))
}

async fn leave(
    app: App,
    me: Device,
    request: leave_room::v3::Request,
) -> Result<leave_room::v3::Response> {
    change::leave(&app, &me.user, &request.room_id).await?;
    Ok(leave_room::v3::Response::new())
}

async fn forget(
    app: App,
    me: Device,
    request: forget_room::v3::Request,
) -> Result<forget_room::v3::Response> {
    change::forget(&app, &me.user, &request.room_id).await?;
    Ok(forget_room::v3::Response::new())
}

async fn kick(
    app: App,
    me: Active,
    request: kick_user::v3::Request,
) -> Result<kick_user::v3::Response> {
    change::kick(&app, &me.user, &request.room_id, &request.user_id).await?;
    Ok(kick_user::v3::Response::new())
}

async fn ban(
    app: App,
    me: Active,
    request: ban_user::v3::Request,
) -> Result<ban_user::v3::Response> {
    change::ban(&app, &me.user, &request.room_id, &request.user_id).await?;
    Ok(ban_user::v3::Response::new())
}

async fn unban(
    app: App,
    me: Active,
    request: unban_user::v3::Request,
) -> Result<unban_user::v3::Response> {
    change::unban(&app, &me.user, &request.room_id, &request.user_id).await?;
    Ok(unban_user::v3::Response::new())
}
