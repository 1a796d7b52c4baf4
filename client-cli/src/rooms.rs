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
    names::{NameError, Named, resolve},
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

impl Summary {
    /// Whether it is meant for more than two people, even if not all of them are there (yet).
    fn is_for_many(&self) -> bool {
        let for_two = self.kind.is_none_or(|kind| kind == TherapyKind::Individual);
        !for_two || self.people.len() > 1
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
/// A person's name means the room for that person alone; only if there is none, a room where
/// they are among others. A room also goes by its kind.
///
/// # Errors
///
/// If none or several fit.
pub async fn find(client: &Client, name: &str) -> Result<Room> {
    let mut all = Vec::new();
    for room in own(client) {
        all.push((summary(&room).await?, room));
    }
    Ok(choose(name, all)?)
}

fn choose<T: Clone>(name: &str, all: Vec<(Summary, T)>) -> Result<T, NameError> {
    let (groups, alone): (Vec<_>, Vec<_>) = all
        .into_iter()
        .map(|(summary, room)| (summary.is_for_many(), named(&summary, room)))
        .partition(|(is_for_many, _)| *is_for_many);
    let of = |rooms: Vec<(bool, Named<T>)>| {
        rooms
            .into_iter()
            .map(|(_, named)| named)
            .collect::<Vec<_>>()
    };
    let mut all = of(alone);
    match resolve("room", name, &all) {
        Err(NameError::Unknown { .. }) => {}
        found => return found.map(|named| named.thing.clone()),
    }
    all.extend(of(groups));
    resolve("room", name, &all).map(|named| named.thing.clone())
}

fn named<T>(summary: &Summary, room: T) -> Named<T> {
    let people = summary.people.iter().flat_map(|person| {
        let ids = [
            person.user_id.to_string(),
            person.user_id.localpart().to_owned(),
        ];
        ids.into_iter().chain(person.name.clone())
    });
    let kind = summary.kind.map(|kind| kind.as_str().to_owned());
    let shown_kind = summary
        .kind
        .map(|kind| format!("{kind}, "))
        .unwrap_or_default();
    Named {
        id: summary.room_id.to_string(),
        label: format!(
            "{} ({shown_kind}{})",
            summary.shown(),
            terminal::line(summary.room_id.as_str())
        ),
        aliases: people.chain(kind).collect(),
        thing: room,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn room(id: &str, kind: TherapyKind, people: &[&str]) -> (Summary, String) {
        let person = |name: &&str| Person {
            user_id: format!("@{name}:clinic").try_into().unwrap(),
            name: None,
            invited: false,
        };
        let people = people.iter().map(person).collect();
        let summary = Summary {
            room_id: id.try_into().unwrap(),
            membership: "joined",
            kind: Some(kind),
            people,
        };
        (summary, id.to_owned())
    }

    #[test]
    fn a_name_means_the_room_with_that_person_alone() {
        let rooms = || {
            vec![
                room(
                    "!group:clinic",
                    TherapyKind::Group,
                    &["heron", "owl", "wren"],
                ),
                room("!heron:clinic", TherapyKind::Individual, &["heron"]),
                room("!owl:clinic", TherapyKind::Individual, &["owl"]),
                room("!couple:clinic", TherapyKind::Couple, &["owl"]),
            ]
        };
        assert_eq!(choose("heron", rooms()).as_deref(), Ok("!heron:clinic"));
        assert_eq!(choose("owl", rooms()).as_deref(), Ok("!owl:clinic"));
        assert_eq!(choose("wren", rooms()).as_deref(), Ok("!group:clinic"));
        assert_eq!(choose("group", rooms()).as_deref(), Ok("!group:clinic"));
        assert!(matches!(
            choose("individual", rooms()),
            Err(NameError::Ambiguous { .. })
        ));
        assert!(matches!(
            choose("ghost", rooms()),
            Err(NameError::Unknown { .. })
        ));
    }
}
