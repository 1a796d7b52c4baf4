//! `POST /rooms/{roomId}/upgrade`: a room of another version takes a room's place, all in one commit.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#room-upgrades)

use std::collections::BTreeSet;

use axum::Router;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int, OwnedEventId, OwnedUserId, RoomId, UserId,
    api::client::room::upgrade_room::v3::{Request, Response},
    events::{StateEventType, room::member::MembershipState},
    room_version_rules::AuthorizationRules,
};

use super::{NewRoom, create_in};
use crate::{
    auth::Active,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    rooms::{
        access::{self, Joined},
        aliases,
        append::NewEvent,
        authorise::not_allowed,
        draft::Draft,
        event::TIMELINE,
        named, published,
        state::RoomState,
        version,
    },
    state::App,
    store::Tx,
};

/// What of a room's state holds in the one that follows it, beside its power levels and, of a space, what it lists.
const CARRIED_OVER: [&str; 10] = [
    "m.room.avatar",
    aliases::KIND,
    "m.room.encryption",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.name",
    "m.room.pinned_events",
    "m.room.server_acl",
    "m.room.topic",
];
const POWER_LEVELS: &str = "m.room.power_levels";
const TOMBSTONE: &str = "m.room.tombstone";
/// Nobody but a creator ends a room that has creators.
const TOMBSTONE_OF_CREATORS: i64 = 150;
const ADMIN: i64 = 100;
const MODERATOR: i64 = 50;
/// The most people who may be named as creators beside the one who upgrades.
const MAX_CREATORS: usize = 100;

pub(super) fn router() -> Router<App> {
    endpoint::<Request, _, _, _>(upgrade)
}

async fn upgrade(app: App, me: Active, request: Request) -> Result<Response> {
    let old = access::joined(&app, &me.user, &request.room_id).await?;
    let rules = version::rules(&request.new_version)?.authorization;
    let levels = old.state.power_levels();
    if !levels.user_can_send_state(&me.user, StateEventType::RoomTombstone) {
        return Err(not_allowed());
    }
    let creators = creators(&app, &old, &request, &rules).await?;
    let (app, me, request) = (&app, &me.user, &request);
    let (rules, creators) = (&rules, &creators);
    let mut committed = app
        .store
        .transact(|mut tx: Tx| async move {
            let mut draft = Draft::open(&mut tx, app, &request.room_id).await?;
            let successor = Successor {
                state: draft.state(),
                user: me,
                rules,
                creators,
            };
            let room = NewRoom {
                version: Some(request.new_version.clone()),
                ..successor.room(last_event(app, &request.room_id).await?)?
            };
            let replacement = create_in(&mut tx, app, me, room).await?;
            aliases::move_in(&mut tx, &request.room_id, &replacement).await?;
            published::move_in(&mut tx, &request.room_id, &replacement).await?;
            close_down(&mut tx, app, &mut draft, me, &replacement).await?;
            let written = draft.close(&mut tx)?;
            Ok::<_, Error>((tx, (replacement, Some(written))))
        })
        .await?;
    if let Some(written) = committed.value.1.take() {
        written.settle(app, &committed);
    }
    Ok(Response::new(committed.value.0))
}

/// Says in the old room where it goes on, that its addresses lead there, and lets only moderators write, as far as this user
/// may say so.
async fn close_down(
    tx: &mut Tx,
    app: &App,
    draft: &mut Draft<'_>,
    user: &UserId,
    replacement: &RoomId,
) -> Result<()> {
    let body = match gate::guards(&app.config, draft.state().is_therapy()) {
        true => "",
        false => "This room has been replaced.",
    };
    let tombstone = [
        ("body".to_owned(), body.to_owned().into()),
        (
            "replacement_room".to_owned(),
            replacement.to_string().into(),
        ),
    ];
    let tombstone = NewEvent::state(TOMBSTONE, "", tombstone.into());
    draft.push(tx, user, tombstone).await?;
    if draft.state().get(aliases::KIND, "").is_some() && aliases::may_say(draft.state(), user) {
        let none = NewEvent::state(aliases::KIND, "", CanonicalJsonObject::new());
        draft.push(tx, user, none).await?;
    }
    let levels = draft.state().power_levels();
    if levels.user_can_send_state(user, StateEventType::RoomPowerLevels)
        && let Some(quiet) = quieted(draft.state())?
    {
        let quiet = NewEvent::state(POWER_LEVELS, "", quiet);
        draft.push(tx, user, quiet).await?;
    }
    Ok(())
}

/// Who is named as creators beside the one who upgrades; nobody, where rooms of that version have one creator only.
async fn creators(
    app: &App,
    old: &Joined,
    request: &Request,
    rules: &AuthorizationRules,
) -> Result<BTreeSet<OwnedUserId>> {
    if !rules.additional_room_creators {
        return Ok(BTreeSet::new());
    }
    if request.additional_creators.len() > MAX_CREATORS {
        return Err(Error::too_large("A room has 100 creators at most."));
    }
    let mut creators: BTreeSet<_> = request.additional_creators.iter().cloned().collect();
    creators.remove(&old.user);
    let content = named_as_creators(&creators);
    named::exist(&app.store, "m.room.create", &content, Some(&old.state)).await?;
    Ok(creators)
}

fn named_as_creators(creators: &BTreeSet<OwnedUserId>) -> CanonicalJsonObject {
    let names: Vec<CanonicalJsonValue> = creators
        .iter()
        .map(|user| user.to_string().into())
        .collect();
    [("additional_creators".to_owned(), names.into())].into()
}

async fn last_event(app: &App, room: &RoomId) -> Result<Option<OwnedEventId>> {
    let last = app.store.before(&TIMELINE, room, u64::MAX, 1).await?.pop();
    Ok(last.map(|(_, event)| event.event_id))
}

/// A room that is to take another one's place.
struct Successor<'a> {
    state: &'a RoomState,
    user: &'a UserId,
    rules: &'a AuthorizationRules,
    creators: &'a BTreeSet<OwnedUserId>,
}

impl Successor<'_> {
    fn room(&self, last: Option<OwnedEventId>) -> Result<NewRoom> {
        let mut state = Vec::new();
        for kind in CARRIED_OVER {
            if let Some(entry) = self.state.get(kind, "") {
                let content = entry.event().parsed_content()?;
                state.push(NewEvent::state(kind, "", content));
            }
        }
        for entry in self.state.of_type("m.space.child") {
            let event = entry.event();
            let content = event.parsed_content()?;
            if content.contains_key("via") {
                let key = event.state_key.clone().unwrap_or_default();
                state.push(NewEvent::state(&event.kind, key, content));
            }
        }
        let levels = self.power_levels()?;
        let mut afterwards: Vec<NewEvent> = self.bans().collect();
        let at_the_end = |levels| NewEvent::state(POWER_LEVELS, "", levels);
        afterwards.extend(levels.clone().map(at_the_end));
        Ok(NewRoom {
            creation: self.creation(last)?,
            power_levels: self.at_first(levels.as_ref()),
            state,
            afterwards,
            ..NewRoom::default()
        })
    }

    fn creation(&self, last: Option<OwnedEventId>) -> Result<CanonicalJsonObject> {
        let mut content = match self.state.create() {
            Some(create) => create.parsed_content()?,
            None => CanonicalJsonObject::new(),
        };
        content.remove("additional_creators");
        if !self.creators.is_empty() {
            content.extend(named_as_creators(self.creators));
        }
        let mut predecessor = CanonicalJsonObject::from([(
            "room_id".to_owned(),
            self.state.room_id().to_string().into(),
        )]);
        // From version 12 on, a room's id says which room it was as surely as an event would.
        if let Some(last) = last.filter(|_| !self.rules.room_create_event_id_as_room_id) {
            predecessor.insert("event_id".to_owned(), last.to_string().into());
        }
        content.insert("predecessor".to_owned(), predecessor.into());
        Ok(content)
    }

    /// Who was banned stays banned.
    fn bans(&self) -> impl Iterator<Item = NewEvent> {
        let banned = self
            .state
            .members()
            .filter(|(_, membership)| *membership == MembershipState::Ban);
        banned.map(|(user, membership)| {
            let content = [(
                "membership".to_owned(),
                membership.as_str().to_owned().into(),
            )];
            NewEvent::state("m.room.member", user.as_str(), content.into())
        })
    }

    /// The old room's power levels as a room of the new version says them: where creators stand above all levels, they have
    /// none, and elsewhere those who had such a place have that of an administrator.
    fn power_levels(&self) -> Result<Option<CanonicalJsonObject>> {
        let Some(entry) = self.state.get(POWER_LEVELS, "") else {
            return Ok(None);
        };
        let mut content = entry.event().parsed_content()?;
        let old = &self.state.rules().authorization;
        let mut users = object(&content, "users");
        let mut events = object(&content, "events");
        let tombstone = events.get(TOMBSTONE).and_then(level);
        if self.rules.explicitly_privilege_room_creators {
            users.retain(|user, _| {
                user != self.user.as_str()
                    && !self.creators.iter().any(|creator| creator.as_str() == user)
            });
            if tombstone.is_none_or(|level| level <= ADMIN) {
                events.insert(TOMBSTONE.to_owned(), number(TOMBSTONE_OF_CREATORS));
            }
        } else if old.explicitly_privilege_room_creators {
            for creator in self.old_creators()? {
                users.insert(creator, number(ADMIN));
            }
            if tombstone.is_some_and(|level| level > ADMIN) {
                events.insert(TOMBSTONE.to_owned(), number(ADMIN));
            }
        }
        content.insert("events".to_owned(), events.into());
        content.insert("users".to_owned(), users.into());
        Ok(Some(content))
    }

    fn old_creators(&self) -> Result<Vec<String>> {
        let Some(create) = self.state.create() else {
            return Ok(Vec::new());
        };
        let content = create.parsed_content()?;
        let more = content
            .get("additional_creators")
            .and_then(|creators| creators.as_array())
            .into_iter()
            .flatten()
            .filter_map(|creator| creator.as_str());
        let creators = std::iter::once(create.sender.as_str()).chain(more);
        Ok(creators.map(ToOwned::to_owned).collect())
    }

    /// Whoever makes the room needs the power to give everybody theirs, until they have only their own again.
    fn at_first(&self, levels: Option<&CanonicalJsonObject>) -> CanonicalJsonObject {
        let Some(levels) = levels.filter(|_| !self.rules.explicitly_privilege_room_creators) else {
            return CanonicalJsonObject::new();
        };
        let (users, events) = (object(levels, "users"), object(levels, "events"));
        let all = levels.values().chain(users.values()).chain(events.values());
        let highest = all.filter_map(level).max().unwrap_or(ADMIN);
        let own = (self.user.to_string(), number(highest.max(ADMIN)));
        [("users".to_owned(), CanonicalJsonObject::from([own]).into())].into()
    }
}

/// The old room's power levels so that only moderators write in it and invite to it; `None` if that is so already.
fn quieted(state: &RoomState) -> Result<Option<CanonicalJsonObject>> {
    let Some(entry) = state.get(POWER_LEVELS, "") else {
        return Ok(None);
    };
    let before = entry.event().parsed_content()?;
    let mut content = before.clone();
    let everybody = content.get("users_default").and_then(level).unwrap_or(0);
    let least = MODERATOR.max(everybody.saturating_add(1));
    for (field, default) in [("events_default", 0), ("invite", 0)] {
        let now = content.get(field).and_then(level).unwrap_or(default);
        if now < least {
            content.insert(field.to_owned(), number(least));
        }
    }
    Ok((content != before).then_some(content))
}

fn object(content: &CanonicalJsonObject, field: &str) -> CanonicalJsonObject {
    let found = content.get(field).and_then(|value| value.as_object());
    found.cloned().unwrap_or_default()
}

fn level(value: &CanonicalJsonValue) -> Option<i64> {
    value.as_integer().map(i64::from)
}

fn number(value: i64) -> CanonicalJsonValue {
    Int::new_saturating(value).into()
}
