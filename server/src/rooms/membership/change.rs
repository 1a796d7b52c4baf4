//! How people come and go: each is one member event, or none if it is so already.

use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::room::member::MembershipState, room::JoinRuleKind,
};
use serde::Deserialize;

use super::{MEMBERSHIPS, Row};
use crate::{
    account_data,
    auth::PASSWORDS,
    error::{Error, Result},
    inbox::{self, Entry, recency},
    profiles,
    rooms::{
        access, append::NewEvent, deletion, draft::Draft, membership, not_in_room, state::RoomState,
    },
    state::App,
    store::{Numbered, Store, Tx},
};

/// Invites somebody.
///
/// # Errors
/// 403 `M_FORBIDDEN` if the inviter may not, or the invitee is in the room or banned; 403 `M_INVITE_BLOCKED` if the invitee
/// wants no invitations; 404 `M_NOT_FOUND` if there is no such user here.
pub async fn invite(app: &App, sender: &UserId, room: &RoomId, target: &UserId) -> Result<()> {
    // Strangers to the room do not find out here who has an account.
    access::joined(app, sender, room).await?;
    wants_invitations(&app.store, target).await?;
    let content = invitation(app, sender, target).await?;
    change(app, sender, room, target, |state| {
        match state.membership(target) {
            MembershipState::Invite => Ok(None),
            MembershipState::Join if state.is_joined(sender) => {
                Err(Error::forbidden("They are in this room already."))
            }
            MembershipState::Ban if state.is_joined(sender) => Err(Error::forbidden(
                "They are banned from this room. Lift the ban first.",
            )),
            _ => Ok(Some(content.clone())),
        }
    })
    .await
}

/// Joins a room; nothing happens if one is in it.
///
/// # Errors
/// 403 `M_FORBIDDEN` if the user is not invited and the room is not open to them, or does not exist.
pub async fn join(app: &App, user: &UserId, room: &RoomId) -> Result<()> {
    let content = content(app, user, &MembershipState::Join).await?;
    change(app, user, room, user, |state| {
        Ok((!state.is_joined(user)).then(|| content.clone()))
    })
    .await
}

/// Leaves a room, or declines an invitation; nothing happens if one has left.
///
/// # Errors
/// 403 `M_FORBIDDEN` if one has never had to do with it, or is banned.
pub async fn leave(app: &App, user: &UserId, room: &RoomId) -> Result<()> {
    let content = bare(&MembershipState::Leave);
    change(app, user, room, user, |state| {
        match state.membership(user) {
            MembershipState::Leave if state.get("m.room.member", user.as_str()).is_some() => {
                Ok(None)
            }
            _ => Ok(Some(content.clone())),
        }
    })
    .await
}

/// Puts somebody out of a room, or takes an invitation back.
///
/// # Errors
/// 403 `M_FORBIDDEN` if the sender may not, or the target is not in the room.
pub async fn kick(app: &App, sender: &UserId, room: &RoomId, target: &UserId) -> Result<()> {
    let content = bare(&MembershipState::Leave);
    change(app, sender, room, target, |state| {
        match state.membership(target) {
            MembershipState::Join | MembershipState::Invite | MembershipState::Knock => {
                Ok(Some(content.clone()))
            }
            _ if state.is_joined(sender) => Err(Error::forbidden("They are not in this room.")),
            _ => Err(not_in_room()),
        }
    })
    .await
}

/// Bans somebody from a room.
///
/// # Errors
/// 403 `M_FORBIDDEN` if the sender may not.
pub async fn ban(app: &App, sender: &UserId, room: &RoomId, target: &UserId) -> Result<()> {
    access::joined(app, sender, room).await?;
    exists(&app.store, target).await?;
    let content = bare(&MembershipState::Ban);
    change(app, sender, room, target, |state| {
        let banned = state.membership(target) == MembershipState::Ban && state.is_joined(sender);
        Ok((!banned).then(|| content.clone()))
    })
    .await
}

/// Lifts a ban.
///
/// # Errors
/// 403 `M_FORBIDDEN` if the sender may not, or the target is not banned.
pub async fn unban(app: &App, sender: &UserId, room: &RoomId, target: &UserId) -> Result<()> {
    let content = bare(&MembershipState::Leave);
    change(app, sender, room, target, |state| {
        match state.membership(target) {
            MembershipState::Ban => Ok(Some(content.clone())),
            _ if state.is_joined(sender) => Err(Error::forbidden("They are not banned.")),
            _ => Err(not_in_room()),
        }
    })
    .await
}

/// Asks to be let in.
///
/// # Errors
/// 403 `M_FORBIDDEN` if the room does not take knocks, or does not exist.
pub async fn knock(app: &App, user: &UserId, room: &RoomId) -> Result<()> {
    let content = content(app, user, &MembershipState::Knock).await?;
    change(app, user, room, user, |state| {
        Ok((state.membership(user) != MembershipState::Knock).then(|| content.clone()))
    })
    .await
}

/// Forgets a room that one has left: it is out of one's lists and its history can no longer be read. When the last one
/// forgets it, it is deleted.
///
/// # Errors
/// 400 `M_UNKNOWN` while one is in the room or invited, 403 `M_FORBIDDEN` if one never had to do with it.
pub async fn forget(app: &App, user: &UserId, room: &RoomId) -> Result<()> {
    app.store
        .transact(|mut tx: Tx| async move {
            let row = tx
                .get(&MEMBERSHIPS, (user, room))
                .await?
                .ok_or_else(not_in_room)?;
            if !matches!(
                row.value.state,
                MembershipState::Leave | MembershipState::Ban
            ) {
                return Err(Error::new(
                    http::StatusCode::BAD_REQUEST,
                    ruma::api::error::ErrorKind::Unknown,
                    "Leave the room before you forget it.",
                ));
            }
            if !row.value.forgotten {
                let number = row.number();
                let forgotten = Row {
                    forgotten: true,
                    ..row.value
                };
                tx.put(
                    &MEMBERSHIPS,
                    (user, room),
                    &Numbered::new(forgotten, number),
                )?;
                recency::forget(&mut tx, user, room);
                inbox::deliver(&mut tx, user, Entry::Forgotten(room.to_owned()))?;
            }
            Ok((tx, ()))
        })
        .await?;
    deletion::begin_if_abandoned(app, room).await
}

/// Tells the rooms that somebody is in what they are called now.
///
/// # Errors
/// The store's; the rooms so far have been told.
pub async fn announce_profile(app: &App, user: &UserId) -> Result<()> {
    let name = pseudonym(app, user).await?;
    for room in membership::joined_rooms(&app.store, user).await? {
        let told = change(app, user, &room, user, |state| {
            let Some(entry) = state.get("m.room.member", user.as_str()) else {
                return Ok(None);
            };
            let mut content = entry.event().parsed_content()?;
            let known = content.remove("displayname");
            if !state.is_joined(user)
                || known.as_ref().and_then(|name| name.as_str()) == name.as_deref()
            {
                return Ok(None);
            }
            content.extend(
                name.clone()
                    .map(|name| ("displayname".to_owned(), name.into())),
            );
            Ok(Some(content))
        });
        told.await?;
    }
    Ok(())
}

/// A member event's content, with the user's pseudonym.
pub(in crate::rooms) async fn content(
    app: &App,
    user: &UserId,
    state: &MembershipState,
) -> Result<CanonicalJsonObject> {
    let mut content = bare(state);
    if let Some(name) = pseudonym(app, user).await? {
        content.insert("displayname".to_owned(), name.into());
    }
    Ok(content)
}

/// An invitation's content. It says what the invitee is called only to somebody who is in a room with them already.
pub(in crate::rooms) async fn invitation(
    app: &App,
    sender: &UserId,
    target: &UserId,
) -> Result<CanonicalJsonObject> {
    let state = MembershipState::Invite;
    let rooms = membership::joined_rooms(&app.store, sender).await?;
    let keys = rooms.iter().map(|room| (target, &**room));
    let theirs = app.store.get_many(&MEMBERSHIPS, keys).await?;
    let joined = |row: Numbered<Row>| row.value.state == MembershipState::Join;
    if theirs.into_iter().flatten().any(joined) {
        content(app, target, &state).await
    } else {
        Ok(bare(&state))
    }
}

fn bare(state: &MembershipState) -> CanonicalJsonObject {
    [("membership".to_owned(), state.as_str().to_owned().into())].into()
}

async fn pseudonym(app: &App, user: &UserId) -> Result<Option<String>> {
    Ok(profiles::get(&app.store, user).await?.displayname)
}

/// A user id is a place for words, so that only those of accounts come into rooms. An account in use has a password.
pub(in crate::rooms) async fn exists(store: &Store, user: &UserId) -> Result<()> {
    if store.get(&PASSWORDS, user).await?.is_none() {
        return Err(Error::not_found("There is no such user on this server."));
    }
    Ok(())
}

/// Whether somebody can be invited: they have an account, and have not said that they want no invitations.
pub(in crate::rooms) async fn wants_invitations(store: &Store, user: &UserId) -> Result<()> {
    exists(store, user).await?;
    if account_data::refuses_invitations(store, user).await? {
        return Err(Error::new(
            http::StatusCode::FORBIDDEN,
            ruma::api::error::ErrorKind::InviteBlocked,
            "This person wants no invitations. Ask them to let you in another way.",
        ));
    }
    Ok(())
}

/// Appends what `decide` wants of the room as it is, if anything.
async fn change(
    app: &App,
    sender: &UserId,
    room: &RoomId,
    target: &UserId,
    decide: impl Fn(&RoomState) -> Result<Option<CanonicalJsonObject>> + Send + Sync,
) -> Result<()> {
    let decide = &decide;
    let mut committed = app
        .store
        .transact(|mut tx: Tx| async move {
            let mut draft = Draft::open(&mut tx, app, room).await?;
            let Some(content) = decide(draft.state())? else {
                return Ok::<_, Error>((tx, None));
            };
            let event = NewEvent::state("m.room.member", target.as_str(), content);
            let was_in = draft.state().is_joined(target);
            draft.push(&mut tx, sender, event).await?;
            if !was_in
                && draft.state().is_joined(target)
                && let Some(old) = membership::predecessor(draft.state())
            {
                membership::follow_in(&mut tx, target, &old, room).await?;
            }
            let written = draft.close(&mut tx)?;
            Ok((tx, Some(written)))
        })
        .await?;
    if let Some(written) = committed.value.take() {
        written.settle(app, &committed);
    }
    Ok(())
}

#[derive(Deserialize)]
struct Restricted {
    #[serde(default)]
    allow: Vec<Allow>,
}

#[derive(Deserialize)]
struct Allow {
    room_id: Option<OwnedRoomId>,
}

/// Who lets somebody into a room that is open to the members of another one.
pub(in crate::rooms) async fn authorised_by(
    tx: &mut Tx,
    state: &RoomState,
    user: &UserId,
) -> Result<Option<OwnedUserId>> {
    let restricted = matches!(
        state.join_rule(),
        JoinRuleKind::Restricted | JoinRuleKind::KnockRestricted
    );
    let membership = state.membership(user);
    if !restricted || matches!(membership, MembershipState::Join | MembershipState::Invite) {
        return Ok(None);
    }
    for room in allowed_rooms(state) {
        let member = tx.get(&MEMBERSHIPS, (user, &room)).await?;
        if member.is_some_and(|member| member.value.state == MembershipState::Join) {
            let powers = state.power_levels();
            return Ok(state
                .joined()
                .iter()
                .find(|user| powers.user_can_invite(user))
                .cloned());
        }
    }
    Ok(None)
}

/// Whether somebody is in one of the rooms whose members may enter a room.
pub(in crate::rooms) async fn is_in_allowed_room(
    app: &App,
    state: &RoomState,
    user: &UserId,
) -> Result<bool> {
    let rooms: Vec<OwnedRoomId> = allowed_rooms(state).collect();
    let keys = rooms.iter().map(|room| (user, room));
    let found = app.store.get_many(&MEMBERSHIPS, keys).await?;
    let joined = |row: Numbered<Row>| row.value.state == MembershipState::Join;
    Ok(found.into_iter().flatten().any(joined))
}

fn allowed_rooms(state: &RoomState) -> impl Iterator<Item = OwnedRoomId> {
    let allow = state
        .content("m.room.join_rules")
        .map_or_else(Vec::new, |rules: Restricted| rules.allow);
    let rooms = allow.into_iter().filter_map(|allow| allow.room_id);
    rooms.take(MAX_ALLOWED_ROOMS)
}

/// How many rooms of a join rule are looked at.
const MAX_ALLOWED_ROOMS: usize = 50;
