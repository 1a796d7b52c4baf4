//! The rooms of a session: finding one by name, and what they are.

use anyhow::{Context as _, Result, bail};
use matrix_sdk::{
    Client, Room, RoomMemberships, RoomState, deserialized_responses::RawAnySyncOrStrippedState,
};
use respite_protocol::{TherapyKind, therapy};
use ruma::{
    OwnedRoomId, OwnedUserId, UserId,
    events::{StateEventType, room::member::MembershipState},
};
use serde::Serialize;

use crate::{
    names::{Named, resolve},
    terminal,
};

/// Another person in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Their account.
    pub user_id: OwnedUserId,
    /// The pseudonym that they chose, if any.
    pub name: Option<String>,
    /// They are invited and have not come in yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invited: bool,
}

/// What a list of rooms tells about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Whether we are in it or only invited.
    pub membership: &'static str,
    /// What kind of therapy room it is, if one.
    pub kind: Option<TherapyKind>,
    /// The other people.
    pub people: Vec<Person>,
}

impl Person {
    /// The pseudonym, else the account's local part; safe to print.
    pub fn shown(&self) -> String {
        let name = self
            .name
            .as_deref()
            .map(terminal::line)
            .filter(|name| !name.is_empty());
        name.unwrap_or_else(|| terminal::line(self.user_id.localpart()))
    }
}

impl Summary {
    /// The people, or the room's id if it is empty; safe to print.
    pub fn shown(&self) -> String {
        let people: Vec<_> = self.people.iter().map(Person::shown).collect();
        if people.is_empty() {
            terminal::line(self.room_id.as_str())
        } else {
            people.join(", ")
        }
    }
}

/// The room that `name` stands for: one that we are in.
///
/// # Errors
///
/// If none or several fit.
pub async fn joined(client: &Client, name: &str) -> Result<Room> {
    let room = find(client, name).await?;
    if room.state() == RoomState::Invited {
        bail!(
            "you are invited to that room but not in it yet; run `respite room join {}`",
            room.room_id()
        );
    }
    Ok(room)
}

/// The room that `name` stands for: one that we are in or invited to.
///
/// # Errors
///
/// If none or several fit.
pub async fn find(client: &Client, name: &str) -> Result<Room> {
    let mut all = Vec::new();
    for room in own(client) {
        let summary = summary(&room).await?;
        let aliases = summary.people.iter().flat_map(|person| {
            let ids = [
                person.user_id.to_string(),
                person.user_id.localpart().to_owned(),
            ];
            ids.into_iter().chain(person.name.clone())
        });
        all.push(Named {
            id: room.room_id().to_string(),
            label: format!(
                "{} ({})",
                summary.shown(),
                terminal::line(room.room_id().as_str())
            ),
            aliases: aliases.collect(),
            thing: room,
        });
    }
    Ok(resolve("room", name, &all)?.thing.clone())
}

/// Every room that we are in or invited to, by the people in it.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn summaries(client: &Client) -> Result<Vec<Summary>> {
    let mut all = Vec::new();
    for room in own(client) {
        all.push(summary(&room).await?);
    }
    all.sort_by_cached_key(|summary| (summary.membership, summary.shown().to_lowercase()));
    Ok(all)
}

/// What there is to tell about a room.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn summary(room: &Room) -> Result<Summary> {
    Ok(Summary {
        room_id: room.room_id().to_owned(),
        membership: if room.state() == RoomState::Invited {
            "invited"
        } else {
            "joined"
        },
        kind: kind(room).await?,
        people: people(room).await?,
    })
}

/// The other people in a room, from what is known on this device.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn people(room: &Room) -> Result<Vec<Person>> {
    let own = room.own_user_id();
    let members = room
        .members_no_sync(RoomMemberships::JOIN | RoomMemberships::INVITE)
        .await?;
    let mut people: Vec<_> = members
        .iter()
        .filter(|member| member.user_id() != own)
        .map(|member| Person {
            user_id: member.user_id().to_owned(),
            name: member.display_name().map(ToOwned::to_owned),
            invited: *member.membership() == MembershipState::Invite,
        })
        .collect();
    // Members are told only once they speak; the room's summary names those who have not yet.
    for hero in room.heroes() {
        if hero.user_id != own && !people.iter().any(|person| person.user_id == hero.user_id) {
            people.push(Person {
                user_id: hero.user_id,
                name: hero.display_name,
                invited: false,
            });
        }
    }
    people.sort_by(|a, b| a.user_id.cmp(&b.user_id));
    Ok(people)
}

/// The one other person in the room, or the one that `name` stands for.
///
/// # Errors
///
/// If there is nobody else, or a choice and no name.
pub async fn addressee(room: &Room, name: Option<&str>) -> Result<OwnedUserId> {
    room.sync_members().await?;
    let mut people = people(room).await?;
    people.retain(|person| !person.invited);
    match (name, people.as_slice()) {
        (Some(name), people) => {
            let all: Vec<_> = people
                .iter()
                .map(|person| Named {
                    thing: person.user_id.clone(),
                    id: person.user_id.to_string(),
                    label: format!(
                        "{} ({})",
                        person.shown(),
                        terminal::line(person.user_id.as_str())
                    ),
                    aliases: [
                        Some(person.user_id.localpart().to_owned()),
                        person.name.clone(),
                    ]
                    .into_iter()
                    .flatten()
                    .collect(),
                })
                .collect();
            Ok(resolve("person in this room", name, &all)?.thing.clone())
        }
        (None, [only]) => Ok(only.user_id.clone()),
        (None, []) => bail!("nobody else is in this room yet"),
        (None, many) => {
            let names: Vec<_> = many.iter().map(Person::shown).collect();
            bail!("name the one who is asked with --to: {}", names.join(", "))
        }
    }
}

/// How a member is shown, from what is known on this device.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn pseudonym(room: &Room, user_id: &UserId) -> Result<String> {
    let member = room.get_member_no_sync(user_id).await?;
    let name = member.and_then(|member| member.display_name().map(ToOwned::to_owned));
    Ok(Person {
        user_id: user_id.to_owned(),
        name,
        invited: false,
    }
    .shown())
}

async fn kind(room: &Room) -> Result<Option<TherapyKind>> {
    if room
        .room_type()
        .is_none_or(|room_type| room_type.as_str() != therapy::ROOM_TYPE)
    {
        return Ok(None);
    }
    let create = room.get_state_event(StateEventType::RoomCreate, "").await?;
    let kind = match create {
        Some(RawAnySyncOrStrippedState::Sync(event)) => {
            event.get_field::<serde_json::Value>("content")
        }
        Some(RawAnySyncOrStrippedState::Stripped(event)) => event.get_field("content"),
        None => return Ok(None),
    };
    let content = kind.context("the room's creation event is damaged")?;
    Ok(content
        .and_then(|content| serde_json::from_value(content.get(therapy::KIND_KEY)?.clone()).ok()))
}

fn own(client: &Client) -> impl Iterator<Item = Room> {
    client
        .joined_rooms()
        .into_iter()
        .chain(client.invited_rooms())
}
