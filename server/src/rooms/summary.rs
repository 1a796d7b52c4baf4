//! What a room is, for somebody who need not be in it: only rooms that they could enter or read are told of.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#get_matrixclientv1room_summaryroomidoralias)

use axum::Router;
use ruma::{
    UInt, UserId,
    api::client::room::get_summary::v1::{Request, Response},
    events::room::{
        guest_access::GuestAccess, history_visibility::HistoryVisibility, member::MembershipState,
    },
    room::{JoinRule, JoinRuleKind, JoinRuleSummary, RoomSummary},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    aliases, membership,
    state::{self, RoomState},
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
};

pub(super) fn router() -> Router<App> {
    endpoint::<Request, _, _, _>(summary)
}

async fn summary(app: App, me: Device, request: Request) -> Result<Response> {
    let room = aliases::room_of(&app, request.room_id_or_alias).await?;
    let state = state::current(&app, &room)
        .await?
        .ok_or_else(no_such_room)?;
    if !is_open_to(&app, &state, &me.user).await? {
        return Err(no_such_room());
    }
    let mut response = Response::new(of(&state));
    response.membership = Some(state.membership(&me.user));
    Ok(response)
}

fn no_such_room() -> Error {
    Error::not_found("There is no such room, or it is not open to you.")
}

/// Whether somebody may know what a room is: they are in it or asked into it, they could enter it or knock at it, or
/// everybody may read it.
///
/// # Errors
/// The store's.
pub(super) async fn is_open_to(app: &App, state: &RoomState, user: &UserId) -> Result<bool> {
    let membership = state.membership(user);
    let has_a_part = matches!(
        membership,
        MembershipState::Join | MembershipState::Invite | MembershipState::Knock
    );
    if has_a_part || state.history_visibility() == HistoryVisibility::WorldReadable {
        return Ok(true);
    }
    match state.join_rule() {
        JoinRuleKind::Public | JoinRuleKind::Knock | JoinRuleKind::KnockRestricted => Ok(true),
        JoinRuleKind::Restricted => membership::is_in_allowed_room(app, state, user).await,
        _ => Ok(false),
    }
}

/// The room in a few words. What the gate has blanked is not there.
pub(super) fn of(state: &RoomState) -> RoomSummary {
    let join_rule = match state.content::<JoinRule>("m.room.join_rules") {
        Some(JoinRule::Restricted(restricted)) => JoinRuleSummary::Restricted(restricted.into()),
        Some(JoinRule::KnockRestricted(restricted)) => {
            JoinRuleSummary::KnockRestricted(restricted.into())
        }
        Some(JoinRule::Public) => JoinRuleSummary::Public,
        Some(JoinRule::Knock) => JoinRuleSummary::Knock,
        // Nobody can enter by a rule that this server does not know.
        _ => JoinRuleSummary::Invite,
    };
    let guests: Option<Guests> = state.content("m.room.guest_access");
    let mut summary = RoomSummary::new(
        state.room_id().to_owned(),
        join_rule,
        guests.is_some_and(|guests| guests.guest_access == GuestAccess::CanJoin),
        UInt::new_saturating(state.joined().len() as u64),
        state.history_visibility() == HistoryVisibility::WorldReadable,
    );
    summary.name = text(state, "m.room.name", |name: Name| name.name);
    summary.topic = text(state, "m.room.topic", |topic: Topic| topic.topic);
    summary.avatar_url = text(state, "m.room.avatar", |avatar: Avatar| avatar.url);
    summary.canonical_alias = text(state, "m.room.canonical_alias", |alias: Canonical| {
        alias.alias
    });
    summary.room_type = text(state, "m.room.create", |create: Create| create.kind);
    summary.encryption = text(state, "m.room.encryption", |encryption: Encryption| {
        encryption.algorithm
    });
    summary.room_version = Some(state.version().clone());
    summary
}

/// A field of a state event, unless it is empty or not what it should be.
fn text<C: DeserializeOwned, T: for<'a> TryFrom<&'a str>>(
    state: &RoomState,
    kind: &str,
    field: impl Fn(C) -> Option<String>,
) -> Option<T> {
    let found = state.content(kind).and_then(field)?;
    T::try_from(&found).ok().filter(|_| !found.is_empty())
}

#[derive(Deserialize)]
struct Guests {
    guest_access: GuestAccess,
}

#[derive(Deserialize)]
struct Name {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Topic {
    topic: Option<String>,
}

#[derive(Deserialize)]
struct Avatar {
    url: Option<String>,
}

#[derive(Deserialize)]
struct Canonical {
    alias: Option<String>,
}

#[derive(Deserialize)]
struct Create {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Encryption {
    algorithm: Option<String>,
}
