//! Which rooms a request is about: the lists of a user's rooms, filtered, sorted by when something last happened, and cut
//! to the places that are wanted.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use ruma::{OwnedRoomId, RoomId, UserId, events::room::member::MembershipState};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{Filters, List};
use crate::{
    account_data,
    error::Result,
    inbox::recency::{self, Recency},
    rooms::{
        membership::{self, MEMBERSHIPS, Membership},
        sketch::{self, Sketch},
        state,
    },
    state::App,
};

/// A room of a user.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) room: OwnedRoomId,
    pub(super) membership: Membership,
    pub(super) recency: Recency,
    sketch: Sketch,
}

/// What filters ask of a user's rooms beyond what is in the rooms themselves.
#[derive(Default)]
pub(super) struct Facts {
    /// The conversations of two.
    pub(super) direct: BTreeSet<OwnedRoomId>,
    tags: BTreeMap<OwnedRoomId, BTreeSet<String>>,
    /// The rooms that each space names.
    spaces: BTreeMap<String, BTreeSet<String>>,
}

/// In which lists a room is wanted, by their place in the request.
pub(super) type Places = BTreeMap<OwnedRoomId, Vec<usize>>;

impl Entry {
    /// Whether the user is in the room.
    pub(super) fn is_joined(&self) -> bool {
        self.membership.state == MembershipState::Join
    }

    /// Whether it is in the user's lists at all: who was taken out of a room sees that, who left does not.
    pub(super) fn is_listed(&self) -> bool {
        !self.membership.forgotten
            && match self.membership.state {
                MembershipState::Join | MembershipState::Invite | MembershipState::Knock => true,
                _ => self.recency.anything > 0,
            }
    }

    /// All rooms of a user that may be in a list.
    pub(super) async fn all(app: &App, user: &UserId) -> Result<Vec<Self>> {
        let rooms = membership::rooms_of(&app.store, user).await?;
        let mut recency = recency::of_user(&app.store, user).await?;
        let entries = rooms.into_iter().map(|(room, membership)| Self {
            recency: recency.remove(&room).unwrap_or_default(),
            membership,
            room,
            sketch: Sketch::default(),
        });
        with_sketches(app, entries.filter(Self::is_listed).collect()).await
    }

    /// These rooms of a user, whether they may be in a list or not.
    pub(super) async fn some(
        app: &App,
        user: &UserId,
        rooms: &BTreeSet<OwnedRoomId>,
    ) -> Result<Vec<Self>> {
        let keys = rooms.iter().map(|room| (user, room));
        let memberships = app.store.get_many(&MEMBERSHIPS, keys).await?;
        let ids: Vec<&RoomId> = rooms.iter().map(|room| &**room).collect();
        let recency = recency::of_rooms(&app.store, user, &ids).await?;
        let found = rooms.iter().zip(memberships).zip(recency);
        let entries = found.filter_map(|((room, membership), recency)| {
            Some(Self {
                room: room.clone(),
                membership: membership?.into(),
                recency,
                sketch: Sketch::default(),
            })
        });
        with_sketches(app, entries.collect()).await
    }

    fn fits(&self, filters: &Filters, facts: &Facts) -> bool {
        let invited = self.membership.state == MembershipState::Invite;
        let is_of = |kinds: &Vec<Option<String>>| {
            kinds
                .iter()
                .any(|kind| self.sketch.is_of_type(kind.as_deref()))
        };
        let has_tag = |tags: &Vec<String>| {
            let own = facts.tags.get(&self.room);
            own.is_some_and(|own| tags.iter().any(|tag| own.contains(tag)))
        };
        let in_space = |spaces: &Vec<String>| {
            spaces.iter().any(|space| {
                let rooms = facts.spaces.get(space);
                rooms.is_some_and(|rooms| rooms.contains(self.room.as_str()))
            })
        };
        let is = |wanted: Option<bool>, so: bool| wanted.is_none_or(|wanted| wanted == so);
        is(filters.is_dm, facts.direct.contains(&self.room))
            && is(filters.is_encrypted, self.sketch.encrypted)
            && is(filters.is_invite, invited)
            && filters.room_types.as_ref().is_none_or(is_of)
            && !filters.not_room_types.as_ref().is_some_and(is_of)
            && filters.tags.as_ref().is_none_or(has_tag)
            && !filters.not_tags.as_ref().is_some_and(has_tag)
            && filters.spaces.as_ref().is_none_or(in_space)
    }
}

async fn with_sketches(app: &App, entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let rooms: Vec<&RoomId> = entries.iter().map(|entry| &*entry.room).collect();
    let sketches = sketch::of_rooms(app, &rooms).await?;
    Ok(entries
        .into_iter()
        .zip(sketches)
        .filter_map(|(entry, sketch)| {
            Some(Entry {
                sketch: sketch?,
                ..entry
            })
        })
        .collect())
}

impl Facts {
    /// What these lists ask for.
    pub(super) async fn read<'l>(
        app: &App,
        user: &UserId,
        lists: impl Iterator<Item = &'l List>,
    ) -> Result<Self> {
        let filters: Vec<&Filters> = lists.filter_map(|list| list.filters.as_ref()).collect();
        let mut facts = Self {
            direct: direct(app, user).await?,
            ..Self::default()
        };
        let by_tags = |filters: &&Filters| filters.tags.is_some() || filters.not_tags.is_some();
        if filters.iter().any(by_tags) {
            facts.tags = tags(app, user).await?;
        }
        let spaces: Vec<&String> = filters
            .iter()
            .filter_map(|filters| filters.spaces.as_ref())
            .flatten()
            .collect();
        for space in spaces {
            if !facts.spaces.contains_key(space) {
                let rooms = rooms_of_space(app, user, space).await?;
                facts.spaces.insert(space.clone(), rooms);
            }
        }
        Ok(facts)
    }
}

/// Sorts rooms, the one in which something happened last first.
pub(super) fn sort(entries: &mut [Entry], last: impl Fn(&Entry) -> u64) {
    entries.sort_by(|a, b| (Reverse(last(a)), &a.room).cmp(&(Reverse(last(b)), &b.room)));
}

/// Where sorted rooms are wanted, and how many of them each list has.
pub(super) fn place<'l>(
    entries: &[Entry],
    facts: &Facts,
    lists: impl Iterator<Item = &'l List>,
) -> (Places, Vec<u32>) {
    let mut places = Places::new();
    let mut counts = Vec::new();
    let none = Filters::default();
    for (number, list) in lists.enumerate() {
        let filters = list.filters.as_ref().unwrap_or(&none);
        let mut count = 0_u32;
        for entry in entries.iter().filter(|entry| entry.fits(filters, facts)) {
            if is_within(list.ranges.as_deref(), u64::from(count)) {
                places.entry(entry.room.clone()).or_default().push(number);
            }
            count = count.saturating_add(1);
        }
        counts.push(count);
    }
    (places, counts)
}

fn is_within(ranges: Option<&[(u64, u64)]>, place: u64) -> bool {
    ranges.is_none_or(|ranges| {
        ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&place))
    })
}

async fn direct(app: &App, user: &UserId) -> Result<BTreeSet<OwnedRoomId>> {
    let json = account_data::get(&app.store, user, None, "m.direct").await?;
    let people: BTreeMap<String, Vec<OwnedRoomId>> = json
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    Ok(people.into_values().flatten().collect())
}

async fn tags(app: &App, user: &UserId) -> Result<BTreeMap<OwnedRoomId, BTreeSet<String>>> {
    #[derive(Deserialize)]
    struct Tags {
        tags: BTreeMap<String, Box<RawValue>>,
    }
    let found = account_data::of_rooms(&app.store, user).await?;
    let found = found.into_iter().filter(|(_, kind, _)| kind == "m.tag");
    Ok(found
        .map(|(room, _, json)| {
            let tags = serde_json::from_str(&json).map_or_else(
                |_| BTreeSet::new(),
                |tags: Tags| tags.tags.into_keys().collect(),
            );
            (room, tags)
        })
        .collect())
}

/// The rooms that a space names, if the user is in it.
async fn rooms_of_space(app: &App, user: &UserId, space: &str) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Child {
        via: Vec<String>,
    }
    let Ok(space) = OwnedRoomId::try_from(space) else {
        return Ok(BTreeSet::new());
    };
    let state = state::current(app, &space).await?;
    let Some(state) = state.filter(|state| state.is_joined(user)) else {
        return Ok(BTreeSet::new());
    };
    Ok(state
        .of_type("m.space.child")
        .filter(|entry| {
            entry
                .content::<Child>()
                .is_some_and(|child| !child.via.is_empty())
        })
        .filter_map(|entry| entry.event().state_key.clone())
        .collect())
}
