//! PDUs: events in the form that is hashed, signed and checked by the authorisation rules.
//!
//! [Specification](https://spec.matrix.org/v1.18/server-server-api/#pdus)

use respite_protocol::ciphertext::{MAX_EVENT_BYTES, MAX_ID_BYTES};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, Int, MilliSecondsSinceUnixEpoch, OwnedEventId,
    OwnedRoomId, RoomId, UInt, UserId,
    events::TimelineEventType,
    room_version_rules::{RedactionRules, RoomVersionRules},
    signatures::{hash_and_sign_event, reference_hash},
    state_res,
};
use serde_json::value::RawValue;

use super::event::{Replaced, Seal, StoredEvent};
use crate::{
    error::{Error, Result},
    state::App,
};

/// An event with what the authorisation rules want to see of it.
#[derive(Clone, Debug)]
pub struct Pdu {
    /// The event.
    pub event: StoredEvent,
    kind: TimelineEventType,
    content: Box<RawValue>,
}

impl Pdu {
    /// Prepares an event for the authorisation rules.
    ///
    /// # Errors
    /// Its content is not JSON.
    pub fn new(event: StoredEvent) -> Result<Self> {
        let content = RawValue::from_string(event.content.clone())
            .map_err(|_| Error::internal("an event's content is not JSON"))?;
        Ok(Self { kind: event.kind.as_str().into(), content, event })
    }
}

impl state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        (!self.event.names_its_room()).then_some(&*self.event.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.event.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.event.origin_server_ts))
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.event.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.event.seal.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.event.seal.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.event.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        false
    }
}

/// What goes into a PDU before it is hashed and signed.
#[derive(Clone, Debug)]
pub(super) struct Unsealed<'a> {
    /// The room; `None` for the create event of a room whose id is that event's hash.
    pub room_id: Option<&'a RoomId>,
    pub sender: &'a UserId,
    pub kind: &'a str,
    pub state_key: Option<String>,
    pub content: CanonicalJsonObject,
    pub redacts: Option<OwnedEventId>,
    pub origin_server_ts: u64,
    pub auth_events: Vec<OwnedEventId>,
    pub prev_events: Vec<OwnedEventId>,
    pub depth: u64,
    pub replaced: Option<Replaced>,
}

impl Unsealed<'_> {
    /// Hashes and signs; the event's id is its reference hash.
    ///
    /// # Errors
    /// 413 `M_TOO_LARGE` if the PDU or one of its ids is too large.
    pub(super) fn seal(self, app: &App, rules: &RoomVersionRules) -> Result<StoredEvent> {
        let too_long = |text: &str| text.len() > MAX_ID_BYTES;
        if too_long(self.kind) || self.state_key.as_deref().is_some_and(too_long) {
            return Err(Error::too_large("An event type or a state key may have 255 bytes at most."));
        }
        let content = serde_json::to_string(&self.content).map_err(unwritable)?;
        let mut pdu = self.object(rules);
        hash_and_sign_event(app.server_name().as_str(), &app.signing_key, &mut pdu, &rules.redaction)
            .map_err(|_| event_too_large())?;
        if serde_json::to_string(&pdu).map_err(unwritable)?.len() > MAX_EVENT_BYTES {
            return Err(event_too_large());
        }
        let hash = reference_hash(&pdu, rules).map_err(|_| event_too_large())?;
        let event_id = EventId::new_v2_or_v3(&hash).map_err(unwritable)?;
        let room_id = match self.room_id {
            Some(room_id) => room_id.to_owned(),
            None => RoomId::new_v2(&hash).map_err(unwritable)?,
        };
        let (key_id, signature) = signature(&pdu, app.server_name().as_str())?;
        Ok(StoredEvent {
            event_id,
            room_id,
            sender: self.sender.to_owned(),
            kind: self.kind.to_owned(),
            state_key: self.state_key,
            origin_server_ts: self.origin_server_ts,
            content,
            redacts: self.redacts,
            redacted_because: None,
            replaced: self.replaced,
            seal: Seal {
                auth_events: self.auth_events,
                prev_events: self.prev_events,
                depth: self.depth,
                hash: content_hash(&pdu)?,
                key_id,
                signature,
            },
        })
    }
}
