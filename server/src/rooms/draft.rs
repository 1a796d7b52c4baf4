//! A room as it will be once a transaction is committed: events are allowed, signed and written one after the other.

use std::{collections::BTreeSet, sync::Arc};

use respite_protocol::ciphertext;
use ruma::{
    OwnedEventId, OwnedUserId, RoomId, RoomVersionId, UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
    state_res::{
        auth_types_for_event, check_state_dependent_auth_rules, check_state_independent_auth_rules,
    },
};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    append::{Appended, NewEvent},
    event::{EVENT_POSITIONS, Replaced, StoredEvent, TIMELINE},
    membership, not_in_room,
    pdu::{Pdu, Unsealed},
    redaction::Redaction,
    relations,
    state::{self, ROOMS, Room, RoomState, STATE, StateEntry},
};
use crate::{
    error::{Error, Result},
    gate, inbox,
    push::{NOTIFICATIONS, Notification},
    state::App,
    store::{Committed, Numbered, Slot, Tx},
};

/// The most people that may be in a room: every event is told to each of them.
pub const MAX_MEMBERS: usize = 1_000;

/// How many random letters name a room whose id is not a hash.
const ROOM_ID_LENGTH: usize = 18;

/// A room in the course of a transaction.
pub struct Draft<'a> {
    app: &'a App,
    /// The state after the events so far.
    state: Arc<RoomState>,
    /// The row as it was; `None` for a new room.
    row: Option<Numbered<Room>>,
    /// The event that the next one follows, and its depth.
    latest: Option<(OwnedEventId, u64)>,
    /// The state events so far.
    changes: Vec<Change>,
    /// Whether a state event of the past was emptied.
    rewritten: bool,
}

struct Change {
    kind: String,
    key: String,
    position: Slot,
}

/// What a draft changed in the room's state.
pub struct Changed {
    state: Arc<RoomState>,
    changes: Vec<Change>,
}

impl<'a> Draft<'a> {
    /// Opens a room. The transaction holds as long as the room's state does not change; messages may come in between.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN` if there is no such room.
    pub async fn open(tx: &mut Tx, app: &'a App, room_id: &RoomId) -> Result<Self> {
        let row = tx.get(&ROOMS, room_id).await?.ok_or_else(not_in_room)?;
        let state = state::of_row(app, room_id, &row).await?;
        let latest = tx
            .store()
            .before(&TIMELINE, room_id, u64::MAX, 1)
            .await?
            .pop();
        let latest = latest.map(|(_, event)| (event.event_id, event.seal.depth));
        Ok(Self {
            app,
            state,
            row: Some(row),
            latest,
            changes: Vec::new(),
            rewritten: false,
        })
    }

    /// Founds a room with its `m.room.create` event.
    pub(super) async fn found(
        tx: &mut Tx,
        app: &'a App,
        version: RoomVersionId,
        creator: &UserId,
        create: NewEvent,
    ) -> Result<Self> {
        let rules = super::version::rules(&version)?;
        let named_by_hash = rules.authorization.room_create_event_id_as_room_id;
        let mut timestamp = create.timestamp.unwrap_or_else(|| app.clock.millis());
        let event = loop {
            let random = app.random.text(ROOM_ID_LENGTH);
            let room_id = RoomId::parse(format!("!{random}:{}", app.server_name()))
                .map_err(|_| Error::internal("a room id that is none"))?;
            let event = Unsealed {
                room_id: (!named_by_hash).then_some(&*room_id),
                sender: creator,
                kind: &create.kind,
                state_key: Some(""),
                content: create.content.clone(),
                redacts: None,
                origin_server_ts: timestamp,
                auth_events: Vec::new(),
                prev_events: Vec::new(),
                depth: 1,
            }
            .seal(app, &rules)?;
            if tx.get(&ROOMS, &event.room_id).await?.is_none() {
                break event;
            }
            // The same person founded the same room in the same millisecond, and it is named by its hash.
            timestamp += 1;
        };
        let state = Arc::new(RoomState::new(&event.room_id, version)?);
        let mut draft = Self {
            app,
            state,
            row: None,
            latest: None,
            changes: Vec::new(),
            rewritten: false,
        };
        let pdu = Pdu::new(event)?;
        draft.authorise(&pdu)?;
        draft.write(tx, pdu)?;
        Ok(draft)
    }

    /// The room.
    pub fn room_id(&self) -> &RoomId {
        self.state.room_id()
    }

    /// The state after the events so far.
    pub fn state(&self) -> &RoomState {
        &self.state
    }

    /// Adds an event.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN` if the sender is not in the room or may not send this, 413 `M_TOO_LARGE`, 404 `M_NOT_FOUND` if
    /// what it redacts is not in the room.
    pub async fn push(
        &mut self,
        tx: &mut Tx,
        sender: &UserId,
        event: NewEvent,
    ) -> Result<Appended> {
        let redaction = match &event.redacts {
            Some(target) => Some(Redaction::of(tx.store(), &self.state, sender, target).await?),
            None => None,
        };
        let pdu = Pdu::new(self.seal(sender, event)?)?;
        self.authorise(&pdu)?;
        if let Some(redaction) = redaction {
            self.rewritten |= redaction.write(tx, &self.state, &pdu.event)?;
        }
        self.write(tx, pdu)
    }

    /// Writes the room's row, if its state has changed.
    ///
    /// # Errors
    /// The row cannot be encoded.
    pub fn close(self, tx: &mut Tx) -> Result<Option<Changed>> {
        let last = self.changes.last().map(|change| change.position);
        if last.is_none() && !self.rewritten {
            return Ok(None);
        }
        let revision = self.row.as_ref().map_or(0, |row| row.value.revision) + 1;
        let room = Room {
            version: self.state.version().clone(),
            revision,
        };
        match (last, &self.row) {
            (Some(position), _) => tx.put_numbered(&ROOMS, self.room_id(), room, position)?,
            (None, Some(row)) => {
                tx.put(&ROOMS, self.room_id(), &Numbered::new(room, row.number()))?;
            }
            (None, None) => return Err(Error::internal("a room without a beginning")),
        }
        if self.rewritten {
            return Ok(None);
        }
        let mut state = self.state;
        Arc::make_mut(&mut state).set_revision(revision);
        Ok(Some(Changed {
            state,
            changes: self.changes,
        }))
    }

    fn seal(&self, sender: &UserId, event: NewEvent) -> Result<StoredEvent> {
        let rules = self.state.rules();
        let mut content = event.content;
        if let Some(redacts) = &event.redacts
            && rules.redaction.content_field_redacts
        {
            content.insert("redacts".to_owned(), redacts.to_string().into());
        }
        let is_member = event.kind == "m.room.member";
        let for_auth = is_member
            .then(|| to_raw_value(&content))
            .transpose()
            .map_err(unwritable)?;
        let auth_types = auth_types_for_event(
            &TimelineEventType::from(event.kind.as_str()),
            sender,
            event.state_key.as_deref(),
            for_auth.as_deref().unwrap_or(RawValue::NULL),
            &rules.authorization,
        )
        .map_err(|_| Error::bad_json("The membership has the wrong form."))?;
        let auth_events = auth_types
            .iter()
            .filter_map(|(kind, key)| self.state.fetch(kind, key))
            .map(|pdu| pdu.event.event_id.clone())
            .collect();
        let (latest, depth) = self
            .latest
            .as_ref()
            .map_or((None, 0), |(id, depth)| (Some(id), *depth));
        let mut sealed = Unsealed {
            room_id: Some(self.room_id()),
            sender,
            kind: &event.kind,
            state_key: event.state_key.as_deref(),
            content,
            redacts: event.redacts.as_deref(),
            origin_server_ts: event.timestamp.unwrap_or_else(|| self.app.clock.millis()),
            auth_events,
            prev_events: latest.into_iter().cloned().collect(),
            depth: depth.saturating_add(1),
        }
        .seal(self.app, rules)?;
        sealed.replaced = self.replaced_by(&sealed);
        Ok(sealed)
    }

    fn replaced_by(&self, event: &StoredEvent) -> Option<Replaced> {
        let old = self
            .state
            .get(&event.kind, event.state_key.as_deref()?)?
            .event();
        Some(Replaced {
            event_id: old.event_id.clone(),
            sender: old.sender.clone(),
            content: old.content.clone(),
        })
    }

    fn authorise(&self, pdu: &Pdu) -> Result<()> {
        let state = &*self.state;
        let rules = &state.rules().authorization;
        if pdu.event.state_key.is_some() {
            let find = |id: &ruma::EventId| {
                let mut entries = state.entries();
                entries
                    .find(|entry| entry.event().event_id == id)
                    .map(|entry| &entry.pdu)
            };
            check_state_independent_auth_rules(rules, pdu, find).map_err(|_| not_allowed())?;
        }
        let fetch = |kind: &StateEventType, key: &str| state.fetch(kind, key);
        check_state_dependent_auth_rules(rules, pdu, fetch).map_err(|_| {
            if state.is_joined(&pdu.event.sender) {
                not_allowed()
            } else {
                not_in_room()
            }
        })?;
        self.keeps_its_promises(&pdu.event)
    }

    /// What a room promises beyond the specification's rules.
    fn keeps_its_promises(&self, event: &StoredEvent) -> Result<()> {
        if event.membership() == Some(MembershipState::Join)
            && self.state.joined().len() >= MAX_MEMBERS
        {
            return Err(Error::forbidden("This room is full."));
        }
        if let Some(old) = self.state.get("m.room.encryption", "")
            && event.is_state("m.room.encryption")
            && event.state_key.as_deref() == Some("")
            && gate::guards(&self.app.config, self.state.is_therapy())
        {
            let old = old.event().parsed_content()?;
            ciphertext::encryption_change(&old, &event.parsed_content()?)?;
        }
        Ok(())
    }

    fn write(&mut self, tx: &mut Tx, pdu: Pdu) -> Result<Appended> {
        let event = &pdu.event;
        let event_id = event.event_id.clone();
        let room_id = event.room_id.clone();
        let position = tx.append(&TIMELINE, &room_id, event)?;
        tx.put_numbered(&EVENT_POSITIONS, &event_id, room_id.clone(), position)?;
        relations::write(tx, event, position)?;
        self.latest = Some((event_id.clone(), event.seal.depth));
        let mut concerned = BTreeSet::new();
        if let Some(key) = event.state_key.clone() {
            let kind = event.kind.clone();
            tx.put_at(&STATE, (&room_id, &kind, &key), position, &())?;
            if let (Some(target), Some(state)) = (event.target(), event.membership()) {
                membership::write(tx, &target, &room_id, state, position)?;
                concerned.insert(target);
            }
            self.changes.push(Change {
                kind,
                key,
                position,
            });
            // Where it is, is known when the transaction is committed.
            Arc::make_mut(&mut self.state).set(StateEntry {
                position: u64::MAX,
                pdu,
            });
        } else {
            self.notify(tx, event, position)?;
        }
        self.deliver(tx, concerned, position)?;
        Ok(Appended { event_id, position })
    }

    /// One entry for everybody in the room, and for whom the event is about.
    fn deliver(&self, tx: &mut Tx, mut to: BTreeSet<OwnedUserId>, position: Slot) -> Result<()> {
        to.extend(self.state.joined().iter().cloned());
        for user in &to {
            inbox::deliver_event(tx, user, self.room_id(), position)?;
        }
        Ok(())
    }

    fn notify(&self, tx: &mut Tx, event: &StoredEvent, position: Slot) -> Result<()> {
        if !relations::notifies(event) {
            return Ok(());
        }
        for user in self
            .state
            .joined()
            .iter()
            .filter(|user| **user != event.sender)
        {
            let notification = Notification { highlight: false };
            tx.append_numbered(
                &NOTIFICATIONS,
                (user, self.room_id()),
                notification,
                position,
            )?;
        }
        Ok(())
    }
}

impl Changed {
    /// Keeps the new state in memory, now that the transaction is committed and the positions are known.
    pub fn settle<T>(self, app: &App, committed: &Committed<T>) {
        let mut state = self.state;
        for change in &self.changes {
            let position = committed.number(change.position);
            Arc::make_mut(&mut state).place(&change.kind, &change.key, position);
        }
        app.rooms.keep(state);
    }
}

fn not_allowed() -> Error {
    Error::forbidden("You do not have the power to do this in this room.")
}

fn unwritable(_: serde_json::Error) -> Error {
    Error::internal("JSON that cannot be written")
}
