//! PDUs: events in the form that is hashed, signed and checked by the authorisation rules.
//!
//! [Specification](https://spec.matrix.org/v1.18/server-server-api/#pdus)

use respite_protocol::ciphertext::{MAX_EVENT_BYTES, MAX_ID_BYTES};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, Int, MilliSecondsSinceUnixEpoch,
    OwnedEventId, RoomId, UInt, UserId,
    canonical_json::redact_content_in_place,
    event_id,
    events::TimelineEventType,
    room_id,
    room_version_rules::{RedactionRules, RoomVersionRules},
    signatures::{hash_and_sign_event, reference_hash},
    state_res,
};
use serde_json::value::RawValue;

use super::event::{Seal, StoredEvent};
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
        Ok(Self {
            kind: event.kind.as_str().into(),
            content,
            event,
        })
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
#[derive(Debug)]
pub(super) struct Unsealed<'a> {
    /// The room; `None` for the create event of a room whose id is that event's hash.
    pub(super) room_id: Option<&'a RoomId>,
    pub(super) sender: &'a UserId,
    pub(super) kind: &'a str,
    pub(super) state_key: Option<&'a str>,
    pub(super) content: CanonicalJsonObject,
    pub(super) redacts: Option<&'a EventId>,
    pub(super) origin_server_ts: u64,
    pub(super) auth_events: Vec<OwnedEventId>,
    pub(super) prev_events: Vec<OwnedEventId>,
    pub(super) depth: u64,
}

impl Unsealed<'_> {
    /// Hashes and signs; the event's id is its reference hash.
    ///
    /// # Errors
    /// 413 `M_TOO_LARGE` if the PDU or one of its ids is too large.
    pub(super) fn seal(self, app: &App, rules: &RoomVersionRules) -> Result<StoredEvent> {
        let too_long = |text: &str| text.len() > MAX_ID_BYTES;
        if too_long(self.kind) || self.state_key.is_some_and(too_long) {
            return Err(Error::too_large(
                "An event type or a state key may have 255 bytes at most.",
            ));
        }
        let content = text(&self.content)?;
        let mut event = StoredEvent {
            // Stand there until the hash is known; nothing is called so.
            event_id: event_id!("$unknown").to_owned(),
            room_id: self.room_id.unwrap_or(room_id!("!unknown")).to_owned(),
            sender: self.sender.to_owned(),
            kind: self.kind.to_owned(),
            state_key: self.state_key.map(ToOwned::to_owned),
            origin_server_ts: self.origin_server_ts,
            content,
            redacts: self.redacts.map(ToOwned::to_owned),
            redacted_because: None,
            replaced: None,
            seal: Seal {
                auth_events: self.auth_events,
                prev_events: self.prev_events,
                depth: self.depth,
                hash: String::new(),
                key_id: String::new(),
                signature: String::new(),
            },
        };
        let mut pdu = event.unsigned_pdu(rules, self.content);
        hash_and_sign_event(
            app.server_name().as_str(),
            &app.signing_key,
            &mut pdu,
            &rules.redaction,
        )
        .map_err(|_| event_too_large())?;
        if text(&pdu)?.len() > MAX_EVENT_BYTES {
            return Err(event_too_large());
        }
        let hash = reference_hash(&pdu, rules).map_err(|_| event_too_large())?;
        event.event_id = EventId::new_v2_or_v3(&hash).map_err(|_| unnameable())?;
        if self.room_id.is_none() {
            event.room_id = RoomId::new_v2(&hash).map_err(|_| unnameable())?;
        }
        event.seal.take_from(pdu).ok_or_else(unnameable)?;
        Ok(event)
    }
}

impl Seal {
    /// Takes over the hash and the signature.
    fn take_from(&mut self, mut pdu: CanonicalJsonObject) -> Option<()> {
        let object = |value| match value {
            CanonicalJsonValue::Object(object) => Some(object),
            _ => None,
        };
        let string = |value| match value {
            CanonicalJsonValue::String(string) => Some(string),
            _ => None,
        };
        self.hash = string(object(pdu.remove("hashes")?)?.remove("sha256")?)?;
        let (_, of_server) = object(pdu.remove("signatures")?)?.pop_first()?;
        let (key_id, signature) = object(of_server)?.pop_first()?;
        self.key_id = key_id;
        self.signature = string(signature)?;
        Some(())
    }
}

impl StoredEvent {
    /// The whole PDU, as other servers would see it.
    ///
    /// # Errors
    /// What is stored is not JSON.
    pub fn pdu(&self, rules: &RoomVersionRules) -> Result<CanonicalJsonObject> {
        let mut pdu = self.unsigned_pdu(rules, self.parsed_content()?);
        let hashes = [("sha256".to_owned(), self.seal.hash.clone().into())];
        let of_server = [(self.seal.key_id.clone(), self.seal.signature.clone().into())];
        let signatures = [(
            self.sender.server_name().to_string(),
            CanonicalJsonObject::from(of_server).into(),
        )];
        pdu.insert(
            "hashes".to_owned(),
            CanonicalJsonObject::from(hashes).into(),
        );
        pdu.insert(
            "signatures".to_owned(),
            CanonicalJsonObject::from(signatures).into(),
        );
        Ok(pdu)
    }

    /// The content as an object.
    ///
    /// # Errors
    /// What is stored is not JSON.
    pub fn parsed_content(&self) -> Result<CanonicalJsonObject> {
        serde_json::from_str(&self.content)
            .map_err(|_| Error::internal("a stored event's content is not a JSON object"))
    }

    /// Empties the event as its room's version says.
    ///
    /// # Errors
    /// What is stored is not JSON.
    pub(super) fn redact(&mut self, rules: &RedactionRules, because: String) -> Result<()> {
        self.content = redacted_content(&self.content, rules, &self.kind)?;
        self.redacted_because = Some(because);
        if let Some(replaced) = &mut self.replaced {
            replaced.content = redacted_content(&replaced.content, rules, &self.kind)?;
        }
        if !rules.keep_room_redaction_redacts {
            self.redacts = None;
        }
        Ok(())
    }

    /// The create event of a room that is named after it cannot name the room.
    fn names_its_room(&self) -> bool {
        self.kind == "m.room.create" && self.room_id.server_name().is_none()
    }

    fn unsigned_pdu(
        &self,
        rules: &RoomVersionRules,
        content: CanonicalJsonObject,
    ) -> CanonicalJsonObject {
        let ids = |ids: &[OwnedEventId]| -> CanonicalJsonValue {
            ids.iter()
                .map(|id| id.to_string().into())
                .collect::<Vec<CanonicalJsonValue>>()
                .into()
        };
        let mut pdu = CanonicalJsonObject::from([
            ("auth_events".to_owned(), ids(&self.seal.auth_events)),
            ("content".to_owned(), content.into()),
            (
                "depth".to_owned(),
                Int::new_saturating(self.seal.depth.cast_signed()).into(),
            ),
            (
                "origin_server_ts".to_owned(),
                Int::new_saturating(self.origin_server_ts.cast_signed()).into(),
            ),
            ("prev_events".to_owned(), ids(&self.seal.prev_events)),
            ("sender".to_owned(), self.sender.to_string().into()),
            ("type".to_owned(), self.kind.clone().into()),
        ]);
        if !self.names_its_room() {
            pdu.insert("room_id".to_owned(), self.room_id.to_string().into());
        }
        if let Some(state_key) = &self.state_key {
            pdu.insert("state_key".to_owned(), state_key.clone().into());
        }
        if let Some(redacts) = &self.redacts
            && !rules.redaction.content_field_redacts
        {
            pdu.insert("redacts".to_owned(), redacts.to_string().into());
        }
        pdu
    }
}

/// What remains of a content when its event is redacted.
pub(super) fn redacted_content(
    content: &str,
    rules: &RedactionRules,
    kind: &str,
) -> Result<String> {
    let mut content: CanonicalJsonObject = serde_json::from_str(content)
        .map_err(|_| Error::internal("a stored event's content is not a JSON object"))?;
    redact_content_in_place(&mut content, rules, kind);
    text(&content)
}

fn text(object: &CanonicalJsonObject) -> Result<String> {
    serde_json::to_string(object).map_err(|_| Error::internal("JSON that cannot be written"))
}

fn event_too_large() -> Error {
    Error::too_large("The message is too large: an event may have 65,536 bytes at most.")
}

fn unnameable() -> Error {
    Error::internal("an event that cannot be hashed and signed")
}
