//! Events as they are kept, and as they are shown.

use std::collections::BTreeSet;

use ruma::{
    DeviceId, EventId, OwnedEventId, OwnedRoomId, OwnedUserId, UserId,
    events::room::member::MembershipState, room_version_rules::RoomVersionRules, serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    auth::Device,
    error::{Error, Result},
    state::App,
    store::{List, Numbered, Table, packed},
};

/// The rooms' timelines: one line of events each, numbered from 1 on (the event's position).
pub const TIMELINE: List<OwnedRoomId, StoredEvent> = List::new(0x0401, "timeline");

/// Where an event is: its room, and its position there.
pub const EVENT_POSITIONS: Table<OwnedEventId, Numbered<OwnedRoomId>> =
    Table::new(0x0402, "event_positions");

/// An event as it is kept: everything that its PDU is made of, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Its id: the reference hash of its PDU.
    #[serde(with = "packed::event_id")]
    pub event_id: OwnedEventId,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: String,
    /// The state key, if it is a state event.
    pub state_key: Option<String>,
    /// Milliseconds since 1970.
    pub origin_server_ts: u64,
    /// The content, as canonical JSON.
    #[serde(with = "packed::text")]
    pub content: String,
    /// The event that this one redacts.
    pub redacts: Option<OwnedEventId>,
    /// The redaction that emptied this event, as clients are shown it (JSON).
    pub redacted_because: Option<String>,
    /// What this state event took the place of.
    pub replaced: Option<Replaced>,
    /// The PDU's remaining parts.
    pub seal: Seal,
}

/// The state event whose place another one took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its id.
    pub event_id: OwnedEventId,
    /// Its sender.
    pub sender: OwnedUserId,
    /// Its content (JSON); emptied when it is redacted.
    pub content: String,
}

fn membership_in(content: &str) -> Option<MembershipState> {
    #[derive(Deserialize)]
    struct Content {
        membership: MembershipState,
    }
    let content: Content = serde_json::from_str(content).ok()?;
    Some(content.membership)
}

/// What a PDU says about its place and its maker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The events that allow it.
    #[serde(with = "packed::event_ids")]
    pub auth_events: Vec<OwnedEventId>,
    /// The events that it follows.
    #[serde(with = "packed::event_ids")]
    pub prev_events: Vec<OwnedEventId>,
    /// How far from the room's creation it is.
    pub depth: u64,
    /// The SHA-256 of the content as it was when it was sent, in base64.
    #[serde(with = "packed::text")]
    pub hash: String,
    /// Which of the server's keys signed it.
    pub key_id: String,
    /// The signature, in base64.
    #[serde(with = "packed::text")]
    pub signature: String,
}

/// Who is shown an event: decides what `unsigned` says.
#[derive(Clone, Copy)]
pub struct Viewer<'a> {
    /// Who.
    pub user: &'a UserId,
    /// On which of their devices; the one that sent an event is told its transaction id.
    pub device: &'a DeviceId,
    /// Milliseconds since 1970.
    pub now: u64,
    /// Their membership at the time of the event.
    pub membership: &'a MembershipState,
    /// Whether they may know what a state event took the place of.
    knew: bool,
    /// Whose words they see only if they were in the room at that time.
    erased: Option<&'a BTreeSet<OwnedUserId>>,
    /// What refers to the event, as JSON.
    relations: Option<&'a RawValue>,
    app: &'a App,
}

/// What somebody was in a room at the time of an event.
#[derive(Clone, Copy, Debug)]
pub struct Then<'a> {
    pub(super) membership: &'a MembershipState,
    /// Whether they may read what was right before it.
    pub(super) knew: bool,
    pub(super) erased: &'a BTreeSet<OwnedUserId>,
}

impl<'a> Viewer<'a> {
    /// A device that asks now, of somebody who was in the room when the event was sent, and right before.
    pub fn new(app: &'a App, device: &'a Device) -> Self {
        Self {
            user: &device.user,
            device: &device.device,
            now: app.clock.millis(),
            membership: &MembershipState::Join,
            knew: true,
            erased: None,
            relations: None,
            app,
        }
    }

    /// The same, who is told what refers to the event.
    pub fn with(self, relations: Option<&'a RawValue>) -> Self {
        Self { relations, ..self }
    }

    /// The same, of somebody who was something else then.
    pub fn as_of(self, then: Then<'a>) -> Self {
        Self {
            membership: then.membership,
            knew: then.knew,
            erased: Some(then.erased),
            ..self
        }
    }

    /// Whether what this event says is kept from them. State says nothing that is not needed, and redactions nothing.
    fn may_not_see(&self, event: &StoredEvent) -> bool {
        event.state_key.is_none()
            && event.redacts.is_none()
            && *self.membership != MembershipState::Join
            && self
                .erased
                .is_some_and(|erased| erased.contains(&event.sender))
    }
}

/// How much of an event is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// With its room.
    Full,
    /// As in `/sync`, where the room is known.
    InRoom,
}

#[derive(Serialize)]
struct ClientEvent<'a> {
    content: &'a RawValue,
    event_id: &'a EventId,
    origin_server_ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a ruma::RoomId>,
    sender: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    r#type: &'a str,
    unsigned: Unsigned<'a>,
}

#[derive(Default, Serialize)]
struct Unsigned<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_content: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_sender: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces_state: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted_because: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    relations: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct StrippedEvent<'a> {
    content: &'a RawValue,
    sender: &'a UserId,
    state_key: &'a str,
    r#type: &'a str,
}

impl StoredEvent {
    /// Whether it is a state event of this type.
    pub fn is_state(&self, kind: &str) -> bool {
        self.kind == kind && self.state_key.is_some()
    }

    /// The membership that it sets, if it is an `m.room.member` event.
    pub fn membership(&self) -> Option<MembershipState> {
        self.is_state("m.room.member")
            .then(|| membership_in(&self.content))
            .flatten()
    }

    /// Whether it is the membership of somebody who was not in the room before it, and is now.
    pub fn joins(&self) -> bool {
        self.membership() == Some(MembershipState::Join)
            && self.membership_before() != Some(MembershipState::Join)
    }

    /// The membership whose place it took, if it is an `m.room.member` event that took another one's.
    pub fn membership_before(&self) -> Option<MembershipState> {
        let before = self.replaced.as_ref()?;
        self.is_state("m.room.member")
            .then(|| membership_in(&before.content))
            .flatten()
    }

    /// The user that it is about, if it is an `m.room.member` event.
    pub fn target(&self) -> Option<OwnedUserId> {
        self.is_state("m.room.member")
            .then_some(self.state_key.as_deref())??
            .try_into()
            .ok()
    }

    /// The event with its room, as most endpoints answer it.
    ///
    /// # Errors
    /// What is stored is not JSON.
    pub fn to_client<T>(&self, viewer: Viewer<'_>) -> Result<Raw<T>> {
        self.show(viewer, Form::Full)
    }

    /// The event without its room, as `/sync` answers it.
    ///
    /// # Errors
    /// What is stored is not JSON.
    pub fn to_sync<T>(&self, viewer: Viewer<'_>) -> Result<Raw<T>> {
        self.show(viewer, Form::InRoom)
    }

    /// The event as servers exchange it, as far as this viewer may see it.
    ///
    /// # Errors
    /// What is stored is not JSON.
    pub fn to_exchanged<T>(&self, rules: &RoomVersionRules, viewer: Viewer<'_>) -> Result<Raw<T>> {
        let mut pdu = self.pdu(rules)?;
        if viewer.may_not_see(self) {
            let nothing = ruma::CanonicalJsonObject::new();
            pdu.insert("content".to_owned(), nothing.into());
        }
        raw(&pdu)
    }

    /// A state event without ids and times, for people who are invited or knock.
    ///
    /// # Errors
    /// What is stored is not JSON.
    pub fn to_stripped<T>(&self) -> Result<Raw<T>> {
        raw(&StrippedEvent {
            content: json(&self.content)?,
            sender: &self.sender,
            state_key: self.state_key.as_deref().unwrap_or_default(),
            r#type: &self.kind,
        })
    }

    fn show<T>(&self, viewer: Viewer<'_>, form: Form) -> Result<Raw<T>> {
        let own = self
            .membership()
            .filter(|_| self.state_key.as_deref() == Some(viewer.user.as_str()));
        // What people are in a room themselves they always know.
        let replaced = self.replaced.as_ref();
        let replaced = replaced.filter(|_| viewer.knew || own.is_some());
        let unsigned = Unsigned {
            age: Some(viewer.now.saturating_sub(self.origin_server_ts)),
            membership: Some(own.as_ref().unwrap_or(viewer.membership).as_str()),
            prev_content: replaced
                .map(|replaced| json(&replaced.content))
                .transpose()?,
            prev_sender: replaced.map(|replaced| &*replaced.sender),
            replaces_state: replaced.map(|replaced| &*replaced.event_id),
            redacted_because: self.redacted_because.as_deref().map(json).transpose()?,
            transaction_id: viewer.app.rooms.echo(self, viewer.user, viewer.device),
            relations: viewer.relations,
        };
        let content = viewer.may_not_see(self).then_some("{}");
        self.shown(unsigned, form, content)
    }

    /// The event with its room, as nobody in particular sees it.
    pub(super) fn as_json(&self) -> Result<String> {
        self.shown::<()>(Unsigned::default(), Form::Full, None)
            .map(|raw| raw.json().get().to_owned())
    }

    fn shown<T>(
        &self,
        unsigned: Unsigned<'_>,
        form: Form,
        instead: Option<&str>,
    ) -> Result<Raw<T>> {
        let with_redacts = self.content_with_redacts()?;
        raw(&ClientEvent {
            content: json(instead.or(with_redacts.as_deref()).unwrap_or(&self.content))?,
            event_id: &self.event_id,
            origin_server_ts: self.origin_server_ts,
            redacts: self.redacts.as_deref(),
            room_id: (form == Form::Full).then_some(&*self.room_id),
            sender: &self.sender,
            state_key: self.state_key.as_deref(),
            r#type: &self.kind,
            unsigned,
        })
    }

    /// Redactions show their target at the top and in the content, whatever the room version.
    fn content_with_redacts(&self) -> Result<Option<String>> {
        let Some(redacts) = &self.redacts else {
            return Ok(None);
        };
        let mut content: ruma::CanonicalJsonObject =
            serde_json::from_str(&self.content).map_err(damaged)?;
        content.insert("redacts".to_owned(), redacts.as_str().to_owned().into());
        serde_json::to_string(&content).map(Some).map_err(damaged)
    }
}

fn json(text: &str) -> Result<&RawValue> {
    serde_json::from_str(text).map_err(damaged)
}

fn raw<T>(value: &impl Serialize) -> Result<Raw<T>> {
    to_raw_value(value).map(Raw::from_json).map_err(damaged)
}

fn damaged(_: serde_json::Error) -> Error {
    Error::internal("a stored event is not JSON")
}
