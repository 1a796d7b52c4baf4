//! A room as it will be once a transaction is committed: events are allowed, signed and written one after the other.

mod latest;
mod standing;
mod telling;

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId, events::TimelineEventType,
    state_res::auth_types_for_event,
};
use serde_json::value::{RawValue, to_raw_value};

pub(super) use self::latest::Latest;
use self::standing::{Standing, standing};
use super::{
    append::{Appended, NewEvent},
    authorise::{authorise, not_allowed},
    event::{EVENT_POSITIONS, Replaced, StoredEvent, TIMELINE},
    later, membership, not_in_room,
    pdu::{Pdu, Unsealed},
    redaction::Redaction,
    relations,
    sketch::{self, SKETCHES, Sketch},
    state::{self, ROOMS, Room, RoomState, STATE, StateEntry},
};
use crate::{
    error::{Error, Result},
    inbox::{self, recency},
    state::App,
    store::{Committed, Numbered, Slot, Tx},
};

/// The most pieces of state that a room may have: the whole state is in memory while the room is in use.
pub const MAX_STATE_ENTRIES: usize = 5_000;

/// How many random letters name a room whose id is not a hash.
const ROOM_ID_LENGTH: usize = 18;

/// A room in the course of a transaction.
pub struct Draft<'a> {
    app: &'a App,
    /// The state after the events so far.
    state: Arc<RoomState>,
    /// The row as it was; `None` for a new room.
    row: Option<Numbered<Room>>,
    /// The event that the next one follows.
    latest: Option<Latest>,
    /// Where the last event will be.
    written: Option<Slot>,
    /// The position that whoever sends a message has seen.
    read_up_to: Option<u64>,
    /// The state events so far.
    changes: Vec<Change>,
    /// Whether a state event of the past was emptied.
    rewritten: bool,
    /// Who is invited and comes in by this same transaction.
    entering: BTreeSet<OwnedUserId>,
}

struct Change {
    kind: String,
    key: String,
    position: Slot,
}

impl<'a> Draft<'a> {
    /// Opens a room. The transaction holds as long as the room's state does not change; messages may come in between.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN` if there is no such room.
    pub async fn open(tx: &mut Tx, app: &'a App, room_id: &RoomId) -> Result<Self> {
        let row = tx.get(&ROOMS, room_id).await?.ok_or_else(not_in_room)?;
        let state = state::of_row(app, room_id, &row).await?;
        let latest = Latest::of(app, room_id).await?;
        let read_up_to = latest.as_ref().map(|latest| latest.position);
        Ok(Self {
            app,
            state,
            row: Some(row),
            latest,
            written: None,
            read_up_to,
            changes: Vec::new(),
            rewritten: false,
            entering: BTreeSet::new(),
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
            written: None,
            read_up_to: None,
            changes: Vec::new(),
            rewritten: false,
            entering: BTreeSet::new(),
        };
        let pdu = Pdu::new(event)?;
        authorise(app, &draft.state, &pdu)?;
        draft.write(tx, pdu).await?;
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

    /// Says that somebody is invited and comes in by this same transaction: there is no invitation to tell them of.
    pub fn lets_in(&mut self, user: &UserId) {
        self.entering.insert(user.to_owned());
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
        mut event: NewEvent,
    ) -> Result<Appended> {
        if event.kind == "m.room.create" {
            // The authorisation rules of state would let it pass.
            return Err(not_allowed());
        }
        if let Some(key) = &event.state_key
            && self.state.get(&event.kind, key).is_none()
            && self.state.count() >= MAX_STATE_ENTRIES
        {
            return Err(Error::forbidden("This room holds no more state."));
        }
        if event.kind == "m.room.member" {
            self.is_somebody(event.state_key.as_deref())?;
            self.vouch(tx, sender, &mut event).await?;
        }
        let redaction = match &event.redacts {
            Some(target) => Some(Redaction::of(tx.store(), &self.state, sender, target).await?),
            None => None,
        };
        let pdu = Pdu::new(self.seal(sender, event)?)?;
        authorise(self.app, &self.state, &pdu)?;
        if let Some(redaction) = redaction {
            self.rewritten |= redaction.write(tx, &self.state, &pdu.event).await?;
        }
        self.write(tx, pdu).await
    }

    /// Writes the room's row, if its state has changed.
    ///
    /// # Errors
    /// The row cannot be encoded.
    pub fn close(self, tx: &mut Tx) -> Result<Written> {
        let mut written = Written {
            room_id: self.room_id().to_owned(),
            latest: self.latest.zip(self.written),
            state: None,
        };
        let last = self.changes.last().map(|change| change.position);
        if last.is_none() && !self.rewritten {
            return Ok(written);
        }
        let revision = self.row.as_ref().map_or(0, |row| row.value.revision) + 1;
        let room = Room {
            version: self.state.version().clone(),
            revision,
        };
        match (last, self.row) {
            (Some(position), _) => tx.put_numbered(&ROOMS, &written.room_id, room, position)?,
            (None, Some(row)) => {
                tx.put(&ROOMS, &written.room_id, &Numbered::new(room, row.number()))?;
            }
            (None, None) => return Err(Error::internal("a room without a beginning")),
        }
        let shaping = |change: &Change| sketch::SHAPING.contains(&&*change.kind);
        if self.changes.iter().any(shaping) {
            tx.put(&SKETCHES, &written.room_id, &Sketch::of(&self.state))?;
        }
        if !self.rewritten {
            let mut state = self.state;
            Arc::make_mut(&mut state).set_revision(revision);
            written.state = Some((state, self.changes));
        }
        Ok(written)
    }

    /// A user id is a place for words, and those of old grammars for any words.
    fn is_somebody(&self, state_key: Option<&str>) -> Result<()> {
        state_key
            .and_then(|key| <&UserId>::try_from(key).ok())
            .filter(|user| user.server_name() == self.app.server_name())
            .filter(|user| user.validate_strict().is_ok())
            .map(|_| ())
            .ok_or_else(|| Error::invalid_param("Only users of this server are in its rooms."))
    }

    /// Who lets somebody into a room that is open to the members of another one is found out here, whatever the event
    /// says: the authorisation rules believe it.
    async fn vouch(&self, tx: &mut Tx, sender: &UserId, event: &mut NewEvent) -> Result<()> {
        const FIELD: &str = "join_authorised_via_users_server";
        event.content.remove(FIELD);
        let membership = event.content.get("membership");
        let joins = membership.and_then(|membership| membership.as_str()) == Some("join");
        if joins
            && event.state_key.as_deref() == Some(sender.as_str())
            && let Some(by) = membership::authorised_by(tx, &self.state, sender).await?
        {
            event
                .content
                .insert(FIELD.to_owned(), by.to_string().into());
        }
        Ok(())
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
        let latest = self.latest.as_ref();
        let depth = latest.map_or(0, |latest| latest.depth);
        let mut sealed = Unsealed {
            room_id: Some(self.room_id()),
            sender,
            kind: &event.kind,
            state_key: event.state_key.as_deref(),
            content,
            redacts: event.redacts.as_deref(),
            origin_server_ts: event.timestamp.unwrap_or_else(|| self.app.clock.millis()),
            auth_events,
            prev_events: latest
                .map(|latest| latest.event_id.clone())
                .into_iter()
                .collect(),
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

    async fn write(&mut self, tx: &mut Tx, pdu: Pdu) -> Result<Appended> {
        let event = &pdu.event;
        let event_id = event.event_id.clone();
        let room_id = event.room_id.clone();
        let position = tx.append(&TIMELINE, &room_id, event)?;
        tx.put_numbered(&EVENT_POSITIONS, &event_id, room_id.clone(), position)?;
        relations::write(tx, event, position).await?;
        let depth = event.seal.depth;
        self.latest = Some(Latest {
            position: 0,
            event_id: event_id.clone(),
            depth,
        });
        self.written = Some(position);
        let mut concerned = self.state.joined().clone();
        if let (Some(target), Some(membership)) = (event.target(), event.membership()) {
            concerned.insert(target.clone());
            membership::write(tx, &target, &room_id, membership, position)?;
        }
        for user in &concerned {
            let entry = inbox::deliver_event(tx, user, &room_id, position)?;
            match standing(event, user) {
                Standing::Out => recency::forget(tx, user, &room_id),
                standing => {
                    let proper = standing == Standing::New || recency::is_proper(&event.kind);
                    recency::note(tx, user, &room_id, proper, entry)?;
                }
            }
        }
        self.notify(tx, event, &concerned, position).await?;
        if let Some(key) = event.state_key.clone() {
            let kind = event.kind.clone();
            tx.put_at(&STATE, (&room_id, &kind, &key), position, &())?;
            later::supersede_in(tx, &room_id, (&kind, &key), &pdu.event.sender).await?;
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
        }
        Ok(Appended { event_id, position })
    }
}

/// What a draft wrote.
pub struct Written {
    room_id: OwnedRoomId,
    latest: Option<(Latest, Slot)>,
    state: Option<(Arc<RoomState>, Vec<Change>)>,
}

impl Written {
    /// Keeps what is new in memory, now that the transaction is committed and the positions are known. Who leaves this
    /// out makes the next reader read it from the store.
    pub fn settle<T>(self, app: &App, committed: &Committed<T>) {
        if let Some((latest, slot)) = self.latest {
            let position = committed.number(slot);
            app.rooms.came(&self.room_id, Latest { position, ..latest });
        }
        if let Some((mut state, changes)) = self.state {
            for change in &changes {
                let position = committed.number(change.position);
                Arc::make_mut(&mut state).place(&change.kind, &change.key, position);
            }
            app.rooms.keep(state);
        }
    }
}

fn unwritable(_: serde_json::Error) -> Error {
    Error::internal("JSON that cannot be written")
}
