//! A room's state: what holds in it now, and what held at any position of its timeline.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use respite_protocol::therapy;
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId,
    events::{
        StateEventType,
        room::{
            history_visibility::HistoryVisibility,
            member::MembershipState,
            power_levels::{RoomPowerLevels, RoomPowerLevelsEventContent, UserPowerLevel},
        },
    },
    room::JoinRuleKind,
    room_version_rules::RoomVersionRules,
    state_res::events::RoomCreateEvent,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    event::{StoredEvent, TIMELINE},
    pdu::Pdu,
    version,
};
use crate::{
    error::Result,
    state::App,
    store::{Numbered, Page, Store, StoreError, Table, Tx},
};

/// The rooms. The number is the position of the room's last state event; only what changes the state rewrites the row,
/// so that a transaction that read it holds exactly as long as the state.
pub const ROOMS: Table<OwnedRoomId, Numbered<Room>> = Table::new(0x0403, "rooms");

/// Which positions of a room's timeline hold state: room, type, state key, position.
pub const STATE: Table<(OwnedRoomId, String, String, u64), ()> = Table::new(0x0404, "state");

/// How many rows of state are read at once.
const STATE_PAGE: usize = 1_000;

/// What is kept about a room beside its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Its version.
    pub version: RoomVersionId,
    /// How often its state has changed.
    pub revision: u64,
}

/// The state of a room at one point of its timeline. Never changes; shared.
#[derive(Clone)]
pub struct RoomState {
    room_id: OwnedRoomId,
    version: RoomVersionId,
    rules: Arc<RoomVersionRules>,
    revision: u64,
    entries: BTreeMap<String, BTreeMap<String, Arc<StateEntry>>>,
    joined: BTreeSet<OwnedUserId>,
}

/// A state event and where it is.
#[derive(Clone, Debug)]
pub struct StateEntry {
    /// Its position in the room's timeline.
    pub position: u64,
    /// The event.
    pub pdu: Pdu,
}

impl StateEntry {
    /// The event.
    pub fn event(&self) -> &StoredEvent {
        &self.pdu.event
    }

    /// The content as a type, if it has that shape.
    pub fn content<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.pdu.event.content).ok()
    }
}

/// The room's state now; `None` if there is no such room.
///
/// # Errors
/// The store's.
pub async fn current(app: &App, room_id: &RoomId) -> Result<Option<Arc<RoomState>>> {
    match app.store.get(&ROOMS, room_id).await? {
        Some(room) => of_row(app, room_id, &room).await.map(Some),
        None => Ok(None),
    }
}

/// The room's state as the transaction will find it at its commit: if it has changed by then, the transaction runs again.
///
/// # Errors
/// The store's.
pub async fn current_in(
    tx: &mut Tx,
    app: &App,
    room_id: &RoomId,
) -> Result<Option<Arc<RoomState>>> {
    match tx.get(&ROOMS, room_id).await? {
        Some(room) => of_row(app, room_id, &room).await.map(Some),
        None => Ok(None),
    }
}

/// The state that the room had when its row was this.
pub(super) async fn of_row(
    app: &App,
    room_id: &RoomId,
    room: &Numbered<Room>,
) -> Result<Arc<RoomState>> {
    if let Some(state) = app.rooms.state(room_id, room.value.revision) {
        return Ok(state);
    }
    let state = Arc::new(load(&app.store, room_id, &room.value, room.number()).await?);
    app.rooms.keep(state.clone());
    Ok(state)
}

/// The room's state right after the event at this position.
///
/// # Errors
/// 403 `M_FORBIDDEN` if there is no such room.
pub async fn at(app: &App, room_id: &RoomId, position: u64) -> Result<Arc<RoomState>> {
    let room = app
        .store
        .get(&ROOMS, room_id)
        .await?
        .ok_or_else(super::not_in_room)?;
    if position >= room.number() {
        return of_row(app, room_id, &room).await;
    }
    let past = Room {
        revision: 0,
        ..room.value
    };
    load(&app.store, room_id, &past, position)
        .await
        .map(Arc::new)
}

async fn load(store: &Store, room_id: &RoomId, room: &Room, until: u64) -> Result<RoomState> {
    let mut newest = BTreeMap::new();
    let mut page = store
        .scan(&STATE, (room_id,), Page::first(STATE_PAGE))
        .await?;
    while let Some((last, ())) = page.last().cloned() {
        let whole = page.len() < STATE_PAGE;
        // Within one type and key the positions ascend, so the last one that counts stays.
        for ((_, kind, key, position), ()) in page {
            if position <= until {
                newest.insert((kind, key), position);
            }
        }
        if whole {
            break;
        }
        page = store
            .scan_after(&STATE, (room_id,), last, Page::first(STATE_PAGE))
            .await?;
    }
    let positions: Vec<u64> = newest.into_values().collect();
    let mut state = RoomState::new(room_id, room.version.clone())?;
    state.revision = room.revision;
    for chunk in positions.chunks(STATE_PAGE) {
        let events = store.entries(&TIMELINE, room_id, chunk).await?;
        for (position, event) in chunk.iter().zip(events) {
            let event =
                event.ok_or_else(|| StoreError::Damaged("state without its event".into()))?;
            state.set(StateEntry {
                position: *position,
                pdu: Pdu::new(event)?,
            });
        }
    }
    Ok(state)
}

impl RoomState {
    /// The state of a room in which nothing has happened.
    pub(super) fn new(room_id: &RoomId, version: RoomVersionId) -> Result<Self> {
        let rules = Arc::new(version::rules(&version)?);
        Ok(Self {
            room_id: room_id.to_owned(),
            version,
            rules,
            revision: 0,
            entries: BTreeMap::new(),
            joined: BTreeSet::new(),
        })
    }

    /// Puts a state event into its place.
    pub(super) fn set(&mut self, entry: StateEntry) {
        let event = entry.event();
        let Some(key) = event.state_key.clone() else {
            return;
        };
        if let Some(user) = event.target() {
            match event.membership() {
                Some(MembershipState::Join) => self.joined.insert(user),
                _ => self.joined.remove(&user),
            };
        }
        self.entries
            .entry(event.kind.clone())
            .or_default()
            .insert(key, Arc::new(entry));
    }

    /// Says where a state event is.
    pub(super) fn place(&mut self, kind: &str, key: &str, position: u64) {
        if let Some(entry) = self
            .entries
            .get_mut(kind)
            .and_then(|keys| keys.get_mut(key))
        {
            Arc::make_mut(entry).position = position;
        }
    }

    pub(super) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// The room.
    pub fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// Its version.
    pub fn version(&self) -> &RoomVersionId {
        &self.version
    }

    /// Its version's rules.
    pub fn rules(&self) -> &RoomVersionRules {
        &self.rules
    }

    /// How often the state had changed by then; 0 for a state of the past.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The state event of this type with this key.
    pub fn get(&self, kind: &str, key: &str) -> Option<&Arc<StateEntry>> {
        self.entries.get(kind)?.get(key)
    }

    /// The content of the state event of this type with an empty key, if it has the shape asked for.
    pub fn content<T: DeserializeOwned>(&self, kind: &str) -> Option<T> {
        self.get(kind, "")?.content()
    }

    /// Every state event, ordered by type and key.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<StateEntry>> {
        self.entries.values().flat_map(BTreeMap::values)
    }

    /// How many state events there are.
    pub fn count(&self) -> usize {
        self.entries.values().map(BTreeMap::len).sum()
    }

    /// The state events of a type, ordered by key.
    pub fn of_type(&self, kind: &str) -> impl Iterator<Item = &Arc<StateEntry>> {
        self.entries
            .get(kind)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// Everybody who has, or had, something to do with the room, with their membership.
    pub fn members(&self) -> impl Iterator<Item = (OwnedUserId, MembershipState)> {
        self.of_type("m.room.member").filter_map(|entry| {
            let event = entry.event();
            Some((event.target()?, event.membership()?))
        })
    }

    /// Who is in the room.
    pub fn joined(&self) -> &BTreeSet<OwnedUserId> {
        &self.joined
    }

    /// Whether somebody is in the room.
    pub fn is_joined(&self, user: &UserId) -> bool {
        self.joined.contains(user)
    }

    /// Somebody's membership; `leave` for whoever was never there.
    pub fn membership(&self, user: &UserId) -> MembershipState {
        self.get("m.room.member", user.as_str())
            .and_then(|entry| entry.event().membership())
            .unwrap_or(MembershipState::Leave)
    }

    /// The create event.
    pub fn create(&self) -> Option<&StoredEvent> {
        self.get("m.room.create", "").map(|entry| entry.event())
    }

    /// Who may do what.
    pub fn power_levels(&self) -> RoomPowerLevels {
        let content: Option<RoomPowerLevelsEventContent> = self.content("m.room.power_levels");
        let rules = &self.rules.authorization;
        let creators = self
            .get("m.room.create", "")
            .and_then(|create| RoomCreateEvent::new(&create.pdu).creators(rules).ok())
            .unwrap_or_default();
        RoomPowerLevels::new(content.into(), rules, creators)
    }

    /// Somebody's power level.
    pub fn power_level(&self, user: &UserId) -> UserPowerLevel {
        self.power_levels().for_user(user)
    }

    /// Whether it is a therapy room.
    pub fn is_therapy(&self) -> bool {
        #[derive(Deserialize)]
        struct Create {
            r#type: Option<String>,
        }
        self.content("m.room.create")
            .is_some_and(|create: Create| create.r#type.as_deref() == Some(therapy::ROOM_TYPE))
    }

    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.get("m.room.encryption", "").is_some()
    }

    /// Who may read what was said; `shared` if the room does not say.
    pub fn history_visibility(&self) -> HistoryVisibility {
        self.get("m.room.history_visibility", "")
            .map_or(HistoryVisibility::Shared, |entry| {
                visibility_of(entry.event())
            })
    }

    /// Who may join; `invite` if the room does not say.
    pub fn join_rule(&self) -> JoinRuleKind {
        #[derive(Deserialize)]
        struct JoinRules {
            join_rule: JoinRuleKind,
        }
        self.content("m.room.join_rules")
            .map_or(JoinRuleKind::Invite, |rules: JoinRules| rules.join_rule)
    }

    /// As the authorisation rules ask for it.
    pub(super) fn fetch(&self, kind: &StateEventType, key: &str) -> Option<&Pdu> {
        self.get(&kind.to_string(), key).map(|entry| &entry.pdu)
    }
}

/// What an `m.room.history_visibility` event says; `shared` if it says nothing.
pub(super) fn visibility_of(event: &StoredEvent) -> HistoryVisibility {
    #[derive(Deserialize)]
    struct Visibility {
        history_visibility: HistoryVisibility,
    }
    serde_json::from_str::<Visibility>(&event.content)
        .map_or(HistoryVisibility::Shared, |content| {
            content.history_visibility
        })
}
