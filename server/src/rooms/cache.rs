//! What is kept in memory about rooms: states that were used lately, and which device sent which event. Bounded, and
//! never needed: everything but the transaction ids can be read again.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use ruma::{
    DeviceId, EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedTransactionId, RoomId,
    TransactionId, UserId,
};

use super::{draft::Latest, event::StoredEvent, state::RoomState};

/// How many room states each of the two generations keeps.
const STATES: usize = 1_024;
/// How many transaction ids each of the two generations keeps.
const ECHOES: usize = 8_192;

/// Room states that were used lately, and transaction ids that may still have to be told to the device they came from.
#[derive(Default)]
pub struct RoomCache {
    states: Mutex<Generations<OwnedRoomId, Arc<RoomState>, STATES>>,
    latest: Mutex<Generations<OwnedRoomId, Latest, STATES>>,
    echoes: Mutex<Generations<OwnedEventId, (OwnedDeviceId, OwnedTransactionId), ECHOES>>,
}

impl RoomCache {
    /// The room's state, if it is known at exactly this revision.
    pub(super) fn state(&self, room: &RoomId, revision: u64) -> Option<Arc<RoomState>> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states
            .get(room)
            .filter(|state| state.revision() == revision)
    }

    /// Keeps a state, unless a newer one of the room is known.
    pub(super) fn keep(&self, state: Arc<RoomState>) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let known = states
            .get(state.room_id())
            .map_or(0, |known| known.revision());
        if known <= state.revision() {
            states.insert(state.room_id().to_owned(), state);
        }
    }

    /// The newest event of the room that this process knows.
    pub(super) fn latest(&self, room: &RoomId) -> Option<Latest> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.get(room)
    }

    /// An event has come.
    pub(super) fn came(&self, room: &RoomId, event: Latest) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest
            .get(room)
            .is_none_or(|known| known.position < event.position)
        {
            latest.insert(room.to_owned(), event);
        }
    }

    /// Remembers which device sent an event, and its name for it.
    pub(super) fn remember(&self, event: &EventId, device: &DeviceId, txn: &TransactionId) {
        let mut echoes = self.echoes.lock().unwrap_or_else(PoisonError::into_inner);
        echoes.insert(event.to_owned(), (device.to_owned(), txn.to_owned()));
    }

    /// The transaction id of an event, for the device that sent it.
    pub(super) fn echo(
        &self,
        event: &StoredEvent,
        user: &UserId,
        device: &DeviceId,
    ) -> Option<String> {
        if event.sender != user {
            return None;
        }
        let mut echoes = self.echoes.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, txn) = echoes.get(&*event.event_id)?;
        (sender == device).then(|| txn.to_string())
    }
}

/// A map that forgets what was not used while `LIMIT` others were added: two generations, the older of which is dropped
/// when the younger is full.
struct Generations<K, V, const LIMIT: usize> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V, const LIMIT: usize> Default for Generations<K, V, LIMIT> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash, V: Clone, const LIMIT: usize> Generations<K, V, LIMIT> {
    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= LIMIT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn get<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let mut map = Generations::<u32, u32, 4>::default();
        map.insert(0, 0);
        for key in 1..100 {
            map.insert(key, key);
            assert_eq!(map.get(&0), Some(0));
            assert!(map.young.len() + map.old.len() <= 8);
        }
        assert_eq!(map.get(&1), None);
    }
}
