//! `POST /createRoom`

use axum::Router;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomVersionId, UserId,
    api::client::room::{
        Visibility,
        create_room::v3::{Request, Response, RoomPreset},
    },
    events::room::{
        guest_access::GuestAccess, history_visibility::HistoryVisibility, member::MembershipState,
    },
    room::JoinRuleKind,
};
use serde::Deserialize;

use super::{MEGOLM, NewRoom, create_in};
use crate::{
    auth::Active,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    rooms::{aliases, append::NewEvent, named, version},
    state::App,
    store::Tx,
};
use respite_protocol::{
    ciphertext::{StateContext, state_event},
    therapy,
};

/// The most people that may be invited by a room's creation.
pub(super) const MAX_INVITED: usize = 100;
/// The most state events that a client may begin a room with.
pub(super) const MAX_INITIAL_STATE: usize = 100;

pub(super) fn router() -> Router<App> {
    endpoint::<Request, _, _, _>(create_room)
}

async fn create_room(app: App, me: Active, request: Request) -> Result<Response> {
    refuse_what_is_not_there(&request)?;
    let version = request
        .room_version
        .as_ref()
        .unwrap_or(&app.config.rooms.default_version);
    version::rules(version)?;
    let room = new_room(&app, &me.user, version.clone(), &request)?;
    if gate::guards(&app.config, false) {
        names_somebody(&app, &room).await?;
    }
    let room = &room;
    let (app, me) = (&app, &me);
    let made = app
        .store
        .transact(|mut tx: Tx| async move {
            let room_id = create_in(&mut tx, app, &me.user, room.clone()).await?;
            Ok::<_, Error>((tx, room_id))
        })
        .await?;
    Ok(Response::new(made.value))
}

async fn names_somebody(app: &App, room: &NewRoom) -> Result<()> {
    named::exist(&app.store, "m.room.create", &room.creation, None).await?;
    named::exist(&app.store, "m.room.power_levels", &room.power_levels, None).await?;
    for event in &room.state {
        named::exist(&app.store, &event.kind, &event.content, None).await?;
    }
    Ok(())
}

fn refuse_what_is_not_there(request: &Request) -> Result<()> {
    if !request.invite_3pid.is_empty() {
        return Err(Error::new(
            http::StatusCode::FORBIDDEN,
            ruma::api::error::ErrorKind::ThreepidDenied,
            "This server knows no e-mail addresses or phone numbers. Invite people by their user id.",
        ));
    }
    if !matches!(
        request.preset,
        None | Some(
            RoomPreset::PrivateChat | RoomPreset::PublicChat | RoomPreset::TrustedPrivateChat
        )
    ) {
        return Err(Error::invalid_param("There is no such preset for rooms."));
    }
    if request.invite.len() > MAX_INVITED {
        return Err(Error::too_large(
            "Invite 100 people at most with the creation of a room.",
        ));
    }
    if request.initial_state.len() > MAX_INITIAL_STATE {
        return Err(Error::too_large(
            "A room may begin with 100 state events at most.",
        ));
    }
    Ok(())
}

fn new_room(app: &App, me: &UserId, version: RoomVersionId, request: &Request) -> Result<NewRoom> {
    let guarded = gate::guards(&app.config, false);
    let public = request.visibility == Visibility::Public;
    let preset = request.preset.clone();
    let preset = preset.unwrap_or(if public {
        RoomPreset::PublicChat
    } else {
        RoomPreset::PrivateChat
    });
    let trusted = preset == RoomPreset::TrustedPrivateChat;
    let mut room = NewRoom {
        creation: creation(request, guarded)?,
        power_levels: power_levels(request, guarded)?,
        members: request
            .invite
            .iter()
            .filter(|user| *user != me)
            .map(|user| (user.clone(), MembershipState::Invite))
            .collect(),
        is_direct: request.is_direct,
        state: initial_state(request, guarded)?,
        alias: request
            .room_alias_name
            .as_deref()
            .map(|name| aliases::chosen(app, name))
            .transpose()?,
        published: public,
        ..NewRoom::default()
    };
    leads_here(&room)?;
    names_creators(&room, &version)?;
    if preset == RoomPreset::PublicChat {
        room.join_rule = JoinRuleKind::Public;
        room.history_visibility = HistoryVisibility::Shared;
    } else {
        room.guest_access = GuestAccess::CanJoin;
    }
    if trusted {
        trust_invited(&mut room, &version)?;
    }
    room.version = Some(version);
    Ok(room)
}

/// A room that is not there yet goes by no address but the one that it is given with its creation.
fn leads_here(room: &NewRoom) -> Result<()> {
    let given = room.alias.as_ref().map(|alias| alias.as_str());
    let mut named = room
        .state
        .iter()
        .filter(|event| event.kind == aliases::KIND)
        .flat_map(|event| aliases::named(&event.content));
    match named.all(|alias| Some(&*alias) == given) {
        true => Ok(()),
        false => Err(aliases::bad_alias()),
    }
}

/// Where a room has further creators, they are a list of user ids.
fn names_creators(room: &NewRoom, version: &RoomVersionId) -> Result<()> {
    let rules = version::rules(version)?.authorization;
    let named = room.creation.get("additional_creators");
    let Some(named) = named.filter(|_| rules.additional_room_creators) else {
        return Ok(());
    };
    let is_user = |it: &CanonicalJsonValue| {
        let user = it.as_str().and_then(|it| UserId::parse(it).ok());
        user.is_some_and(|user| user.validate_strict().is_ok())
    };
    match named.as_array() {
        Some(users) if users.iter().all(is_user) => Ok(()),
        _ => Err(Error::invalid_param(
            "The additional creators of a room are a list of user ids.",
        )),
    }
}

/// "All initial invitees get the same power level as the creator."
fn trust_invited(room: &mut NewRoom, version: &RoomVersionId) -> Result<()> {
    let invited = || room.members.iter().map(|(user, _)| user.clone());
    if !version::rules(version)?
        .authorization
        .additional_room_creators
    {
        room.powers = invited().map(|user| (user, 100)).collect();
        return Ok(());
    }
    let mut creators: Vec<CanonicalJsonValue> =
        invited().map(|user| user.to_string().into()).collect();
    if let Some(more) = room
        .creation
        .get("additional_creators")
        .and_then(|more| more.as_array())
    {
        let others = more.iter().filter(|user| !creators.contains(user)).cloned();
        let others: Vec<_> = others.collect();
        creators.extend(others);
    }
    room.creation
        .insert("additional_creators".to_owned(), creators.into());
    Ok(())
}

fn creation(request: &Request, guarded: bool) -> Result<CanonicalJsonObject> {
    let Some(content) = &request.creation_content else {
        return Ok(CanonicalJsonObject::new());
    };
    let content = gate::canonical(content.json().get())?;
    let kind = content.get("type").and_then(|kind| kind.as_str());
    if kind == Some(therapy::ROOM_TYPE) || content.contains_key(therapy::KIND_KEY) {
        return Err(Error::forbidden(
            "Therapists open therapy rooms, through the therapy extension.",
        ));
    }
    gated(guarded, "m.room.create", "", content)
}

fn power_levels(request: &Request, guarded: bool) -> Result<CanonicalJsonObject> {
    match &request.power_level_content_override {
        Some(content) => gated(
            guarded,
            "m.room.power_levels",
            "",
            gate::canonical(content.json().get())?,
        ),
        None => Ok(CanonicalJsonObject::new()),
    }
}

#[derive(Deserialize)]
struct InitialState<'a> {
    r#type: String,
    #[serde(default)]
    state_key: String,
    #[serde(borrow)]
    content: &'a serde_json::value::RawValue,
}

fn initial_state(request: &Request, guarded: bool) -> Result<Vec<NewEvent>> {
    let mut events: Vec<NewEvent> = Vec::new();
    for raw in &request.initial_state {
        let event: InitialState<'_> = serde_json::from_str(raw.json().get()).map_err(|_| {
            Error::bad_json("A state event in initial_state lacks a type or a content.")
        })?;
        if matches!(event.r#type.as_str(), "m.room.create" | "m.room.member") {
            return Err(Error::invalid_param(
                "A room's creation and its members are not initial state.",
            ));
        }
        let content = gate::canonical(event.content.get())?;
        let content = gated(guarded, &event.r#type, &event.state_key, content)?;
        // What the gate blanks would be an empty name or topic: better none.
        if guarded && content.values().all(|value| value.as_str() == Some("")) {
            continue;
        }
        events.push(NewEvent::state(event.r#type, event.state_key, content));
    }
    if guarded {
        if !events.iter().any(|event| event.kind == "m.room.encryption") {
            let content = [("algorithm".to_owned(), MEGOLM.to_owned().into())].into();
            events.push(NewEvent::state("m.room.encryption", "", content));
        }
    } else {
        if let Some(name) = &request.name {
            let content = [("name".to_owned(), name.clone().into())].into();
            events.push(NewEvent::state("m.room.name", "", content));
        }
        if let Some(topic) = &request.topic {
            events.push(NewEvent::state("m.room.topic", "", topic_content(topic)));
        }
    }
    Ok(events)
}

/// What a topic says, in words and in the form that has room for other forms.
///
/// [`m.room.topic`](https://spec.matrix.org/v1.18/client-server-api/#mroomtopic)
fn topic_content(topic: &str) -> CanonicalJsonObject {
    let plain = CanonicalJsonObject::from([
        ("body".to_owned(), topic.to_owned().into()),
        ("mimetype".to_owned(), "text/plain".to_owned().into()),
    ]);
    let forms = CanonicalJsonValue::Array(vec![plain.into()]);
    let block = CanonicalJsonObject::from([("m.text".to_owned(), forms)]);
    [
        ("topic".to_owned(), topic.to_owned().into()),
        ("m.topic".to_owned(), block.into()),
    ]
    .into()
}

fn gated(
    guarded: bool,
    kind: &str,
    key: &str,
    content: CanonicalJsonObject,
) -> Result<CanonicalJsonObject> {
    if !guarded {
        return Ok(content);
    }
    Ok(state_event(
        kind,
        key,
        content,
        StateContext {
            at_creation: true,
            encrypted: true,
        },
    )?)
}
