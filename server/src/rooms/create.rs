//! How rooms begin.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#creation)

mod endpoint;
mod upgrade;

use std::collections::BTreeMap;

use axum::Router;
use respite_protocol::{TherapyKind, therapy};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedRoomId, OwnedUserId,
    RoomVersionId, UserId,
    events::room::{
        guest_access::GuestAccess, history_visibility::HistoryVisibility, member::MembershipState,
    },
    int,
    room::JoinRuleKind,
    room_version_rules::AuthorizationRules,
};

use super::{aliases, append::NewEvent, draft::Draft, membership, published, version};
use crate::{
    error::{Error, Result},
    state::App,
    store::Tx,
};

/// The endpoints.
pub(super) fn router() -> Router<App> {
    endpoint::router().merge(upgrade::router())
}

/// A room that is to be made.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Its version; `None` takes the configuration's.
    pub version: Option<RoomVersionId>,
    /// What the create event says beyond what the server puts there.
    pub creation: CanonicalJsonObject,
    /// Who may join.
    pub join_rule: JoinRuleKind,
    /// Who may read what was said.
    pub history_visibility: HistoryVisibility,
    /// Whether guests may join.
    pub guest_access: GuestAccess,
    /// Power levels of others than the creator.
    pub powers: BTreeMap<OwnedUserId, i64>,
    /// Fields of the power levels that are not the default.
    pub power_levels: CanonicalJsonObject,
    /// Further state; takes the place of what the fields above say.
    pub state: Vec<NewEvent>,
    /// What comes after all of this.
    pub afterwards: Vec<NewEvent>,
    /// Who is invited (`invite`) or in the room from the beginning (`join`).
    pub members: Vec<(OwnedUserId, MembershipState)>,
    /// Whether the invitations say that this is a conversation between two.
    pub is_direct: bool,
    /// The address that it goes by.
    pub alias: Option<OwnedRoomAliasId>,
    /// Whether it is in the directory.
    pub published: bool,
}

impl Default for NewRoom {
    fn default() -> Self {
        Self {
            version: None,
            creation: CanonicalJsonObject::new(),
            join_rule: JoinRuleKind::Invite,
            history_visibility: HistoryVisibility::Shared,
            guest_access: GuestAccess::Forbidden,
            powers: BTreeMap::new(),
            power_levels: CanonicalJsonObject::new(),
            state: Vec::new(),
            afterwards: Vec::new(),
            members: Vec::new(),
            is_direct: false,
            alias: None,
            published: false,
        }
    }
}

impl NewRoom {
    /// A therapy room. Its creator is the therapist; `members` are invited, or in it from the beginning.
    pub fn therapy(kind: TherapyKind, members: Vec<(OwnedUserId, MembershipState)>) -> Self {
        let number = |number: i64| CanonicalJsonValue::from(ruma::Int::new_saturating(number));
        let therapist = || number(therapy::THERAPIST_POWER);
        let rotation = |value: u64| number(i64::try_from(value).unwrap_or(i64::MAX));
        let only_therapists = ["ban", "invite", "kick", "redact", "state_default"];
        let mut power_levels: CanonicalJsonObject = only_therapists
            .into_iter()
            .map(|field| (field.to_owned(), therapist()))
            .collect();
        power_levels.insert("users_default".to_owned(), number(therapy::CLIENT_POWER));
        let encryption = CanonicalJsonObject::from([
            ("algorithm".to_owned(), MEGOLM.to_owned().into()),
            (
                "rotation_period_ms".to_owned(),
                rotation(therapy::ROTATION_PERIOD_MS),
            ),
            (
                "rotation_period_msgs".to_owned(),
                rotation(therapy::ROTATION_PERIOD_MSGS),
            ),
        ]);
        Self {
            creation: CanonicalJsonObject::from([
                ("type".to_owned(), therapy::ROOM_TYPE.to_owned().into()),
                (
                    therapy::KIND_KEY.to_owned(),
                    kind.as_str().to_owned().into(),
                ),
            ]),
            history_visibility: HistoryVisibility::Invited,
            powers: members
                .iter()
                .map(|(user, _)| (user.clone(), therapy::CLIENT_POWER))
                .collect(),
            power_levels,
            state: vec![NewEvent::state("m.room.encryption", "", encryption)],
            members,
            ..Self::default()
        }
    }
}

/// The one algorithm that rooms are encrypted with.
pub(super) const MEGOLM: &str = "m.megolm.v1.aes-sha2";

/// Makes a room, inside a transaction.
///
/// # Errors
/// 400 `M_INVALID_ROOM_STATE` if what is asked for does not go together, 400 `M_UNSUPPORTED_ROOM_VERSION`, 400
/// `M_ROOM_IN_USE` if its address is taken, 404 `M_NOT_FOUND` if somebody is invited who has no account here, 403
/// `M_INVITE_BLOCKED` if they want no invitations.
pub async fn create_in(
    tx: &mut Tx,
    app: &App,
    creator: &UserId,
    room: NewRoom,
) -> Result<OwnedRoomId> {
    // Somebody who is in the room from the beginning may get their account in this very transaction.
    let invited = |(_, state): &&(_, MembershipState)| *state == MembershipState::Invite;
    for (user, _) in room.members.iter().filter(invited) {
        membership::wants_invitations(tx.store(), user).await?;
    }
    let version = room
        .version
        .clone()
        .unwrap_or_else(|| app.config.rooms.default_version.clone());
    let rules = version::rules(&version)?.authorization;
    let create = NewEvent::state(
        "m.room.create",
        "",
        creation(&room, &version, creator, &rules),
    );
    let mut draft = Draft::found(tx, app, version, creator, create).await?;
    let own = membership::content(app, creator, &MembershipState::Join).await?;
    draft
        .push(
            tx,
            creator,
            NewEvent::state("m.room.member", creator.as_str(), own),
        )
        .await?;
    let further = room.afterwards.iter().cloned();
    for event in beginning(&room, creator, &rules).into_iter().chain(further) {
        draft.push(tx, creator, event).await.map_err(unfitting)?;
    }
    for (user, state) in &room.members {
        let mut content = membership::invitation(app, creator, user).await?;
        if room.is_direct {
            content.insert("is_direct".to_owned(), true.into());
        }
        if *state == MembershipState::Join {
            draft.lets_in(user);
        }
        draft
            .push(
                tx,
                creator,
                NewEvent::state("m.room.member", user.as_str(), content),
            )
            .await?;
        if *state == MembershipState::Join {
            let content = membership::content(app, user, state).await?;
            draft
                .push(
                    tx,
                    user,
                    NewEvent::state("m.room.member", user.as_str(), content),
                )
                .await?;
        }
    }
    let room_id = draft.room_id().to_owned();
    if let Some(old) = membership::predecessor(draft.state()) {
        membership::follow_in(tx, creator, &old, &room_id).await?;
    }
    let _ = draft.close(tx)?;
    if let Some(alias) = &room.alias {
        aliases::add_in(tx, alias.alias(), &room_id, creator)
            .await
            .map_err(in_use)?;
    }
    if room.published {
        published::publish_in(tx, &room_id).await?;
    }
    Ok(room_id)
}

fn creation(
    room: &NewRoom,
    version: &RoomVersionId,
    creator: &UserId,
    rules: &AuthorizationRules,
) -> CanonicalJsonObject {
    let mut content = room.creation.clone();
    content.insert(
        "room_version".to_owned(),
        version.as_str().to_owned().into(),
    );
    content.insert("m.federate".to_owned(), false.into());
    content.remove("creator");
    if !rules.use_room_create_sender {
        content.insert("creator".to_owned(), creator.to_string().into());
    }
    if !rules.additional_room_creators {
        content.remove("additional_creators");
    }
    content
}

/// The state of a new room, after its creator has joined.
fn beginning(room: &NewRoom, creator: &UserId, rules: &AuthorizationRules) -> Vec<NewEvent> {
    let says = |kind: &str, key: &str, value: &str| {
        NewEvent::state(kind, "", [(key.to_owned(), value.to_owned().into())].into())
    };
    let mut events = vec![
        NewEvent::state(
            "m.room.power_levels",
            "",
            power_levels(room, creator, rules),
        ),
        says("m.room.join_rules", "join_rule", room.join_rule.as_str()),
        says(
            "m.room.history_visibility",
            "history_visibility",
            room.history_visibility.as_str(),
        ),
        says(
            "m.room.guest_access",
            "guest_access",
            room.guest_access.as_str(),
        ),
    ];
    let alias = room.alias.iter().map(|alias| {
        let content = [("alias".to_owned(), alias.to_string().into())];
        NewEvent::state(aliases::KIND, "", content.into())
    });
    events.extend(alias);
    for event in &room.state {
        let same =
            |other: &&mut NewEvent| other.kind == event.kind && other.state_key == event.state_key;
        match events.iter_mut().find(same) {
            Some(other) => *other = event.clone(),
            None => events.push(event.clone()),
        }
    }
    events
}

fn power_levels(
    room: &NewRoom,
    creator: &UserId,
    rules: &AuthorizationRules,
) -> CanonicalJsonObject {
    let number = |value: i64| CanonicalJsonValue::from(ruma::Int::new_saturating(value));
    let creators_are_beyond = rules.explicitly_privilege_room_creators;
    let mut users: CanonicalJsonObject = room
        .powers
        .iter()
        .map(|(user, power)| (user.to_string(), number(*power)))
        .collect();
    if creators_are_beyond {
        let additional = room
            .creation
            .get("additional_creators")
            .and_then(|list| list.as_array());
        for user in additional
            .into_iter()
            .flatten()
            .filter_map(|user| user.as_str())
        {
            users.remove(user);
        }
        users.remove(creator.as_str());
    } else {
        users.insert(creator.to_string(), number(100));
    }
    let events = [
        ("m.room.avatar", 50),
        ("m.room.canonical_alias", 50),
        ("m.room.encryption", 100),
        ("m.room.history_visibility", 100),
        ("m.room.name", 50),
        ("m.room.power_levels", 100),
        ("m.room.server_acl", 100),
        (
            "m.room.tombstone",
            if creators_are_beyond { 150 } else { 100 },
        ),
    ];
    let events: CanonicalJsonObject = events
        .into_iter()
        .map(|(kind, power)| (kind.to_owned(), number(power)))
        .collect();
    let defaults = [
        ("ban", 50),
        ("events_default", 0),
        ("invite", 0),
        ("kick", 50),
        ("redact", 50),
        ("state_default", 50),
        ("users_default", 0),
    ];
    let mut content: CanonicalJsonObject = defaults
        .into_iter()
        .map(|(field, power)| (field.to_owned(), number(power)))
        .collect();
    content.insert("events".to_owned(), events.into());
    content.insert("users".to_owned(), users.into());
    content.insert(
        "notifications".to_owned(),
        CanonicalJsonObject::from([("room".to_owned(), int!(50).into())]).into(),
    );
    content.extend(room.power_levels.clone());
    content
}

/// The creator may do everything, so what is not allowed at creation contradicts itself.
fn unfitting(error: Error) -> Error {
    match error {
        Error::Matrix { kind, .. } if matches!(*kind, ruma::api::error::ErrorKind::Forbidden) => {
            Error::new(
                http::StatusCode::BAD_REQUEST,
                ruma::api::error::ErrorKind::InvalidRoomState,
                "The room's initial state does not go together.",
            )
        }
        error => error,
    }
}

fn in_use(error: Error) -> Error {
    match error {
        Error::Matrix { status, .. } if status == http::StatusCode::CONFLICT => Error::new(
            http::StatusCode::BAD_REQUEST,
            ruma::api::error::ErrorKind::RoomInUse,
            "The address of this room is taken. Choose another one.",
        ),
        error => error,
    }
}
