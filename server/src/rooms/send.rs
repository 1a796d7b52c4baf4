//! The endpoints with which clients put events into rooms.

use axum::Router;
use respite_protocol::ciphertext::{self, StateContext};
use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, RoomId, TransactionId, UserId,
    api::client::{message::send_message_event, redact::redact_event, state::send_state_event},
    events::room::member::MembershipState,
    room::JoinRuleKind,
};

use super::{
    access, aliases,
    append::{NewEvent, send},
    later::{self, Delayable, MaybeDelayed, delay_of},
    membership, named, not_in_room,
    state::{self, RoomState},
};
use crate::{
    auth::{Active, Device, suspended},
    endpoint::{endpoint, endpoint_at},
    error::{Error, Result},
    gate,
    state::App,
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(send_message))
        .merge(endpoint_at::<_, _, _, _>(
            send_state,
            &super::WITHOUT_STATE_KEY,
        ))
        .merge(endpoint::<_, _, _, _>(redact))
}

async fn send_message(
    app: App,
    me: Active,
    Delayable { request, delay }: Delayable<send_message_event::v3::Request>,
) -> Result<MaybeDelayed<send_message_event::v3::Response>> {
    let delay = delay.as_deref().map(delay_of).transpose()?;
    let kind = request.event_type.to_string();
    let mut content = gate::canonical(request.body.json().get())?;
    if guarded(&app, &me, &request.room_id).await? {
        ciphertext::transaction_id(request.txn_id.as_str())?;
        content = gate::message(&me, &kind, content)?;
    }
    let event = match kind.as_str() {
        "m.room.redaction" => redaction(content)?,
        _ => NewEvent::message(kind, content),
    };
    if let Some(delay) = delay {
        let room = access::joined(&app, &me.user, &request.room_id).await?;
        let txn = Some((&*me.device, &*request.txn_id));
        let id = later::schedule(&app, &me.user, &room.room_id, (event, delay), txn).await?;
        return Ok(MaybeDelayed::Waits(id));
    }
    let event_id = sent(&app, &me, &request.room_id, event, &request.txn_id).await?;
    let response = send_message_event::v3::Response::new(event_id);
    Ok(MaybeDelayed::Sent(response))
}

async fn redact(
    app: App,
    me: Device,
    request: redact_event::v3::Request,
) -> Result<redact_event::v3::Response> {
    if me.suspended {
        takes_back_own(&app, &me, &request.room_id, &request.event_id).await?;
    }
    let mut event = NewEvent::redaction(request.event_id);
    if guarded(&app, &me, &request.room_id).await? {
        ciphertext::transaction_id(request.txn_id.as_str())?;
    } else if let Some(reason) = request.reason {
        event.content.insert("reason".to_owned(), reason.into());
    }
    let event_id = sent(&app, &me, &request.room_id, event, &request.txn_id).await?;
    Ok(redact_event::v3::Response::new(event_id))
}

/// Somebody who is suspended may take back what they wrote, and nothing else.
async fn takes_back_own(app: &App, me: &Device, room: &RoomId, event: &EventId) -> Result<()> {
    let room = access::readable(app, &me.user, room).await?;
    match room.event(app, event).await? {
        (_, event) if event.sender == me.user => Ok(()),
        _ => Err(suspended()),
    }
}

async fn send_state(
    app: App,
    me: Active,
    Delayable { request, delay }: Delayable<send_state_event::v3::Request>,
) -> Result<MaybeDelayed<send_state_event::v3::Response>> {
    let delay = delay.as_deref().map(delay_of).transpose()?;
    let room = &request.room_id;
    let kind = request.event_type.to_string();
    let key = request.state_key;
    let mut content = gate::canonical(request.body.json().get())?;
    let state = state::current(&app, room).await?.ok_or_else(not_in_room)?;
    let own = kind == "m.room.member" && key == me.user.as_str();
    let has_a_part = state.is_joined(&me.user) || (own && may_come_in(&state, &me.user));
    // Before the gate, whose answer depends on the room.
    if !has_a_part {
        return Err(not_in_room());
    }
    if gate::guards(&app.config, state.is_therapy()) {
        let context = StateContext {
            at_creation: false,
            encrypted: state.is_encrypted(),
        };
        content = ciphertext::state_event(&kind, &key, content, context)?;
        named::exist(&app.store, &kind, &content, Some(&state)).await?;
        if kind == "m.room.member" {
            content = with_pseudonym(&app, &me, &key, content).await?;
        }
    }
    never_fits(&state, &kind, &content)?;
    aliases::check(&app, &state, &kind, &content).await?;
    if let Some(invited) = invited(&kind, &key, &content) {
        membership::wants_invitations(&app.store, invited).await?;
    }
    if let Some(delay) = delay {
        let event = NewEvent::state(kind, key, content);
        let id = later::schedule(&app, &me.user, room, (event, delay), None).await?;
        return Ok(MaybeDelayed::Waits(id));
    }
    let sent = send_state_event::v3::Response::new;
    if let Some(same) = already(&state, &me.user, &kind, &key, &content)? {
        return Ok(MaybeDelayed::Sent(sent(same)));
    }
    let event = NewEvent::state(kind, key, content);
    let event_id = send(&app, &me.user, room, event, None).await?;
    Ok(MaybeDelayed::Sent(sent(event_id)))
}

async fn sent(
    app: &App,
    me: &Device,
    room: &RoomId,
    event: NewEvent,
    txn: &TransactionId,
) -> Result<OwnedEventId> {
    send(app, &me.user, room, event, Some((&me.device, txn))).await
}

/// Whether the gate guards the room. Looks at the room only where that decides.
async fn guarded(app: &App, me: &Device, room: &RoomId) -> Result<bool> {
    if gate::guards(&app.config, false) {
        return Ok(true);
    }
    let room = access::joined(app, &me.user, room).await?;
    Ok(gate::guards(&app.config, room.state.is_therapy()))
}

/// Whether somebody who is not in the room has a part in it all the same.
fn may_come_in(state: &RoomState, user: &UserId) -> bool {
    let invited = matches!(
        state.membership(user),
        MembershipState::Invite | MembershipState::Knock
    );
    invited
        || !matches!(
            state.join_rule(),
            JoinRuleKind::Invite | JoinRuleKind::Private
        )
}

/// Refuses what no power in the room would allow.
fn never_fits(state: &RoomState, kind: &str, content: &CanonicalJsonObject) -> Result<()> {
    if kind == "m.room.create" {
        return Err(Error::invalid_param("A room is created only once."));
    }
    let users = content.get("users").and_then(|users| users.as_object());
    if let Some(users) = users.filter(|_| kind == "m.room.power_levels")
        && let Some(creators) = state.power_levels().rules.privileged_creators
        && creators
            .iter()
            .any(|user| users.contains_key(user.as_str()))
    {
        return Err(Error::invalid_param(
            "Who created this room has all powers in it: leave them out of its power levels.",
        ));
    }
    Ok(())
}

/// Whom a state event would invite.
fn invited<'k>(kind: &str, key: &'k str, content: &CanonicalJsonObject) -> Option<&'k UserId> {
    let membership = content.get("membership").and_then(|it| it.as_str());
    (kind == "m.room.member" && membership == Some("invite"))
        .then(|| <&UserId>::try_from(key).ok())
        .flatten()
}

/// A redaction that was sent as an ordinary message.
fn redaction(mut content: CanonicalJsonObject) -> Result<NewEvent> {
    let redacts = content.remove("redacts");
    let redacts = redacts.as_ref().and_then(|redacts| redacts.as_str());
    let redacts = redacts.and_then(|redacts| OwnedEventId::try_from(redacts).ok());
    let redacts = redacts
        .ok_or_else(|| Error::missing_param("A redaction names the event that it redacts."))?;
    Ok(NewEvent {
        content,
        ..NewEvent::redaction(redacts)
    })
}

/// A member event says what its user is called, and nothing that a client would like to say instead.
async fn with_pseudonym(
    app: &App,
    me: &Device,
    key: &str,
    mut content: CanonicalJsonObject,
) -> Result<CanonicalJsonObject> {
    let user = <&UserId>::try_from(key)
        .map_err(|_| Error::invalid_param("The state key of a member event is a user id."))?;
    membership::exists(&app.store, user).await?;
    let membership = content
        .get("membership")
        .and_then(|membership| membership.as_str());
    let named = match membership {
        Some("invite") => membership::invitation(app, &me.user, user).await?,
        Some("join" | "knock") => membership::content(app, user, &MembershipState::Join).await?,
        _ => CanonicalJsonObject::new(),
    };
    content.remove("displayname");
    content.extend(named.into_iter().filter(|(key, _)| key == "displayname"));
    Ok(content)
}

/// The state event that says the same already.
fn already(
    state: &RoomState,
    user: &UserId,
    kind: &str,
    key: &str,
    content: &CanonicalJsonObject,
) -> Result<Option<OwnedEventId>> {
    let Some(entry) = state.get(kind, key).filter(|_| state.is_joined(user)) else {
        return Ok(None);
    };
    let event = entry.event();
    let same = event.sender == user && event.parsed_content()? == *content;
    Ok(same.then(|| event.event_id.clone()))
}
